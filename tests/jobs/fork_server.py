"""Runs the command line in children forked from one process that has imported everything; may kill them.

A child starts in no time, so that a test can afford many, and is killed at work rather than while it starts. Each line
on stdin is one child, as JSON: ``words`` of the command, ``env`` for it, a file ``err`` for its stderr, and after how
many seconds to ``kill`` it, if at all. The answer is a line with its exit code, which is negative after a signal.
"""

import json
import os
import signal
import sys
import time


def serve() -> None:
    """Until stdin ends."""
    # imports only: no thread may be there at a fork
    import geoseg.cli.change
    import geoseg.cli.main
    import geoseg.cli.run
    import geoseg.inference.rows
    import geoseg.jobs.change_run
    import geoseg.jobs.run
    import geoseg.models.load
    import geoseg.outputs.vectors

    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            err = os.open(asked["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(err, 2)
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            os.dup2(1, 0)
            os.environ.update(asked["env"])
            try:
                geoseg.cli.main.main(asked["words"])
            except SystemExit as end:
                os._exit(end.code if isinstance(end.code, int) else 1)
        status = None
        ends = time.monotonic() + asked["kill"] if asked["kill"] is not None else float("inf")
        while status is None:
            pid, found = os.waitpid(child, os.WNOHANG)
            if pid:
                status = found
            elif time.monotonic() > ends:
                os.killpg(child, signal.SIGKILL)
                ends = float("inf")
            time.sleep(0.005)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
