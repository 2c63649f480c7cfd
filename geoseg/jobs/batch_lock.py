"""One batch at a time in an output folder, and who that is."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from geoseg.errors import GeosegError, OutputError, printable

__all__ = ["BusyError", "Holder", "alone", "holder_of"]

_NAME = ".batch.lock"


class BusyError(GeosegError, RuntimeError):
    """Another batch works in the output folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds an output folder."""

    pid: int
    """Its process."""
    host: str
    """The machine it runs on."""
    since: str
    """When it began, in ISO 8601."""

    def __str__(self) -> str:
        return f"process {self.pid} on {printable(self.host)} since {printable(self.since)}"


@contextmanager
def alone(output: Path) -> Iterator[None]:
    """Hold an output folder, which is made if missing.

    The kernel frees the lock whatever the end of the process, so one that is left behind by a dead process holds
    nobody up. The file is removed at a good end.

    Raises:
        BusyError: If another process holds it, with which and since when.
        OutputError: If the folder cannot be written into.
    """
    path = output / _NAME
    try:
        output.mkdir(parents=True, exist_ok=True)
        handle = _locked(path)
        os.ftruncate(handle, 0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        os.write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now}).encode())
    except OSError as error:
        if isinstance(error, GeosegError):
            raise
        raise OutputError(
            f"cannot write into {printable(output)}: {(error.strerror or str(error)).lower()}; mend that, or name "
            "another output in the pipeline"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before it is let go: whoever waited on this very file sees that it went
        os.close(handle)


def holder_of(output: Path) -> Holder | None:
    """Who holds an output folder now, if anybody."""
    try:
        handle = os.open(output / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(handle)
    finally:
        os.close(handle)
    return None


def _locked(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(handle)
            os.close(handle)
            raise BusyError(
                f"{printable(path.parent)} is in use by {holder}: this run does nothing; wait for the other to end"
            ) from error
        try:
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        # it was removed between opening and locking: the lock is on a file that nobody sees any more
        os.close(handle)


def _holder(handle: int) -> Holder:
    try:
        said = json.loads(os.pread(handle, 4096, 0))
        return Holder(pid=int(said["pid"]), host=str(said["host"]), since=str(said["since"]))
    except (ValueError, KeyError, TypeError):  # it has the lock and has not yet said so
        return Holder(pid=0, host="an unknown machine", since="this moment")
