"""Runs the command line in children forked from one process that has imported everything; may kill them.

A child starts in no time, so that a test can afford many, and is killed at work rather than while it starts. Each line
on stdin is one thing to do, as JSON, and has one line of JSON for an answer.

``words`` of a command, with an ``env`` for it and a file ``err`` for its stderr, start a child: the answer is its
``pid``. ``wait`` for a pid, for as many seconds as ``kill`` says before it is killed: the answer is its exit ``code``,
which is negative after a signal.
"""

import json
import os
import signal
import sys
import time
from typing import Any


def start(asked: dict[str, Any]) -> int:
    """A child at work, by its number."""
    import geoseg.cli.main

    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        err = os.open(asked["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(err, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 0)
        os.environ.update(asked["env"])
        try:
            geoseg.cli.main.main(asked["words"])
        except SystemExit as end:
            os._exit(end.code if isinstance(end.code, int) else 1)
        os._exit(0)
    return child


def wait(child: int, kill: float | None) -> int:
    """Exit code of a child at its end."""
    ends = time.monotonic() + kill if kill is not None else float("inf")
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > ends:
            os.killpg(child, signal.SIGKILL)
            ends = float("inf")
        time.sleep(0.005)


def serve() -> None:
    """Until stdin ends."""
    # imports only: no thread may be there at a fork
    import geoseg.cli.batch
    import geoseg.cli.change
    import geoseg.cli.main
    import geoseg.cli.run
    import geoseg.inference.rows
    import geoseg.jobs.batch
    import geoseg.jobs.change_run
    import geoseg.jobs.run
    import geoseg.models.load
    import geoseg.outputs.vectors  # noqa: F401 - for the children

    for line in sys.stdin:
        asked = json.loads(line)
        answer = {"code": wait(asked["wait"], asked["kill"])} if "wait" in asked else {"pid": start(asked)}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
