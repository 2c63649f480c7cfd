"""Telling somebody how a batch ended; that nobody could be told never changes how it ended."""

import http.client
import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from geoseg.errors import printable
from geoseg.jobs.duration import parse_duration, said
from geoseg.jobs.pipeline_parts import Notify

__all__ = ["notify"]

_TAIL = 200


def notify(who: Notify, report: dict[str, Any], folder: Path) -> list[str]:
    """Give a report to the program and the address that a pipeline names.

    Args:
        who: To be told.
        report: Plain values.
        folder: Where the program is run.

    Returns:
        What went wrong, a line each.
    """
    data = f"{json.dumps(report)}\n".encode()
    seconds = parse_duration(who.timeout).total_seconds()
    failures = []
    if who.command is not None and (failure := _run(who.command, data, folder, seconds)) is not None:
        failures.append(f"the notification command {printable(who.command[0])} {failure}")
    if who.webhook is not None and (failure := _post(who.webhook, data, seconds)) is not None:
        # the address itself is a secret more often than not
        failures.append(f"the notification webhook {failure}")
    return failures


def _run(command: tuple[str, ...], data: bytes, folder: Path, seconds: float) -> str | None:
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"cannot be started: {printable(error)}"
    try:
        _, complaint = process.communicate(data, timeout=seconds)
    except BaseException as error:
        # with all it has started: one of those may keep the pipe open for ever
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return f"took longer than {said(seconds)} and was ended"
        raise
    finally:
        if process.stderr is not None:
            process.stderr.close()
    if process.returncode:
        tail = " ".join(complaint.decode("utf-8", "replace").split())[-_TAIL:]
        return f"ended with {process.returncode}" + (f": {printable(tail)}" if tail else "")
    return None


def _post(url: str, data: bytes, seconds: float) -> str | None:
    """In a thread, as the timeout of a connection is one for each of its steps, and a server may take many."""
    failure: list[str | None] = []

    def post() -> None:
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=seconds):  # noqa: S310 - http or https, as validated
                failure.append(None)
        except urllib.error.HTTPError as error:
            failure.append(f"answered {error.code}")
            error.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            failure.append(f"cannot be reached: {printable(reason)}")

    thread = threading.Thread(target=post, daemon=True, name="geoseg-notify")
    thread.start()
    thread.join(seconds)
    return failure[0] if failure else f"took longer than {said(seconds)}"
