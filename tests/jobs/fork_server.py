"""Runs the command line in children forked from one process that has imported everything; may kill them.

A child starts in no time, so that a test can afford many, and is killed at work rather than while it starts. Each line
on stdin is one thing to do, as JSON, and has one line of JSON for an answer.

``words`` of a command, with an ``env`` for it and a file ``err`` for its stderr, start a child: the answer is its
``pid``. It may have a file ``out`` for its stdout, a ``folder`` to work in, and a limit ``memory`` in bytes to what it
takes beside what it had at the fork. ``wait`` for a pid, for as many seconds as ``kill`` says before it is killed: the
answer is its exit ``code``, which is negative after a signal, and the most memory that it had, ``peak`` in bytes.
"""

import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

IMPORTED = (
    "geoseg.change.pair_scene",
    "geoseg.cli.batch",
    "geoseg.cli.change",
    "geoseg.cli.main",
    "geoseg.cli.run",
    "geoseg.cli.show",
    "geoseg.cli.talk",
    "geoseg.inference.rows",
    "geoseg.jobs.batch",
    "geoseg.jobs.change_run",
    "geoseg.jobs.run",
    "geoseg.jobs.run_records",
    "geoseg.models.adapt",
    "geoseg.models.load",
    "geoseg.models.weightless",
    "geoseg.outputs.run_page",
    "geoseg.outputs.stac",
    "geoseg.outputs.vectors",
    "distributed.http.scheduler.info",
    "distributed.http.worker.prometheus",
    "pandas",
    "pystac",
    "rich.live",
)
"""What children need, most of which commands import late."""


def start(asked: dict[str, Any]) -> int:
    """A child at work, by its number."""
    import geoseg.cli.main

    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        err = os.open(asked["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(err, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(os.open(asked.get("out", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.environ.update(asked["env"])
        os.chdir(asked.get("folder", "."))
        if "memory" in asked:
            limit = data_bytes() + asked["memory"]
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        try:
            geoseg.cli.main.main(asked["words"])
        except SystemExit as end:
            os._exit(end.code if isinstance(end.code, int) else 1)
        os._exit(0)
    return child


def data_bytes() -> int:
    """What counts for ``RLIMIT_DATA`` of this process."""
    status = Path("/proc/self/status").read_text("utf-8")
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:"))


def wait(child: int, kill: float | None) -> dict[str, int]:
    """Exit code and peak of memory of a child at its end."""
    ends = time.monotonic() + kill if kill is not None else float("inf")
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid:
            return {"code": os.waitstatus_to_exitcode(status), "peak": used.ru_maxrss << 10}
        if time.monotonic() > ends:
            with suppress(ProcessLookupError):  # it may not lead a session of its own yet
                os.killpg(child, signal.SIGKILL)
                ends = float("inf")
        time.sleep(0.005)


def serve() -> None:
    """Until stdin ends."""
    # imports only: no thread may be there at a fork
    for module in IMPORTED:
        import_module(module)
    # what numba imports when a compiled function is called for the first time
    import_module("numba.core.registry").cpu_target.target_context.refresh()

    for line in sys.stdin:
        asked = json.loads(line)
        answer = wait(asked["wait"], asked["kill"]) if "wait" in asked else {"pid": start(asked)}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
