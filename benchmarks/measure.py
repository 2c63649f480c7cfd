"""Seconds and memory of one piece of work in this process."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

__all__ = ["measured"]

T = TypeVar("T")
_EVERY_S = 0.005


def measured(run: Callable[[], T]) -> tuple[T, float, int]:
    """What a function gives, its wall time in seconds, and how many bytes the process took more at its peak.

    Memory is resident, sampled 200 times a second, less what the process held when it began.
    """
    process = psutil.Process()
    ready = peak = process.memory_info().rss
    stopping = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not stopping.wait(_EVERY_S):
            peak = max(peak, process.memory_info().rss)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    began = time.perf_counter()
    try:
        found = run()
        seconds = time.perf_counter() - began
    finally:
        stopping.set()
        sampler.join()
    return found, seconds, peak - ready
