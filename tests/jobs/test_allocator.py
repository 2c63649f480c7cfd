"""Memory that is given back is kept for the next time."""

import subprocess
import sys

import pytest

from geoseg.jobs.allocator import memory_environment

_ALLOCATE = """
import resource, sys, threading
import torch
from geoseg.jobs.allocator import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
def layers():
    for _ in range(50):
        torch.ones(20 << 20, dtype=torch.uint8)
thread = threading.Thread(target=layers)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(manner: str) -> int:
    done = subprocess.run([sys.executable, "-c", _ALLOCATE, manner], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator only")
def test_arrays_of_one_size_are_mapped_once_in_a_thread() -> None:
    # 50 arrays of 20 MiB are 256,000 pages of 4 KiB
    assert _page_faults("keep") * 5 < _page_faults("plain")


def test_what_the_user_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    assert "MALLOC_ARENA_MAX" not in memory_environment()
    assert "MALLOC_TRIM_THRESHOLD_" in memory_environment()
