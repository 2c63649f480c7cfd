"""Seconds and memory of one piece of work in this process."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psutil

__all__ = ["Cost", "measured"]

T = TypeVar("T")
_EVERY_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a piece of work took."""

    seconds: float
    """On the clock."""
    cpu_s: float
    """Of all threads of the process: where other work takes the cores, this tells more than the clock."""
    added_bytes: int
    """Resident memory at its peak, sampled 200 times a second, less what the process held when the work began."""


def measured(run: Callable[[], T]) -> tuple[T, Cost]:
    """What a function gives, and what it took in this process."""
    process = psutil.Process()
    ready = peak = process.memory_info().rss
    stopping = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not stopping.wait(_EVERY_S):
            peak = max(peak, process.memory_info().rss)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    began, busy = time.perf_counter(), time.process_time()
    try:
        found = run()
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - busy
    finally:
        stopping.set()
        sampler.join()
    return found, Cost(seconds=seconds, cpu_s=cpu_s, added_bytes=peak - ready)
