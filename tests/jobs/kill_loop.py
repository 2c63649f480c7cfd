"""Runs the command line in a child that is killed again and again, until one comes to its end; prints what happened.

The children are forked from a process that has imported everything, so that they are killed at work and not while they
start.
"""

import json
import os
import random
import select
import signal
import sys
import time


def main(seed: int, n_kills: int, longest: float, words: list[str]) -> None:
    """Kill ``n_kills`` children, each after up to ``longest`` seconds, then let one end.

    Prints one JSON line for each child: its exit code and the events that it told on stderr.
    """
    # imports only: no thread is started before the fork
    import geoseg.cli.main
    import geoseg.cli.run
    import geoseg.inference.rows
    import geoseg.jobs.run
    import geoseg.models.load

    rng = random.Random(seed)
    left = n_kills
    while True:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            os.dup2(writing, 2)
            os.setsid()
            geoseg.cli.main.main([*words, "-v", "--log-format", "json"])
        os.close(writing)
        ends = time.monotonic() + rng.uniform(0, longest) if left else float("inf")
        said = b""
        while True:
            if time.monotonic() > ends:
                os.killpg(child, signal.SIGKILL)
                ends = float("inf")
            if select.select([reading], [], [], 0.01)[0]:
                piece = os.read(reading, 1 << 16)
                if not piece:
                    break
                said += piece
        os.close(reading)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        # the last line of a killed process may be cut
        events = [json.loads(line) for line in said.split(b"\n")[:-1] if line.startswith(b"{")]
        print(json.dumps({"code": code, "events": events}), flush=True)  # noqa: T201
        if code != -signal.SIGKILL:
            if left and code == 0:
                return
            sys.exit(0 if code == 0 else 1)
        left -= 1


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
