"""Named places where a test kills the process: ``GEOSEG_CRASH_AT=name:n`` dies at the n-th passage of that name."""

import os
import signal
from collections import Counter
from typing import Final

__all__ = ["CRASH_POINTS", "RUN_CRASH_POINTS", "crash_point"]

CRASH_POINTS: Final = (
    "begin", "written", "verified", "synced", "side_renamed", "renamed", "folder_synced",
    "staged", "old_aside", "stage_renamed", "old_removed", "stage_synced",
)  # fmt: skip
"""Places of the write path, in the order they are passed."""
RUN_CRASH_POINTS: Final = ("block_done", "block_journaled", "scene_published", "scene_forgotten")
"""Places of a run between its writes, in the order they are passed. ``block_512_0`` is the begin of the block at row
512, column 0, which then kills whatever process computes it."""

_passed: Counter[str] = Counter()


def crash_point(name: str) -> None:
    """Die here without any clean-up, as by kill -9 or a power cut, if the environment asks for it."""
    wanted = os.environ.get("GEOSEG_CRASH_AT")
    if not wanted:
        return
    _passed[name] += 1
    at, _, count = wanted.partition(":")
    if at == name and _passed[name] == int(count or 1):
        if hasattr(signal, "SIGKILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(137)
