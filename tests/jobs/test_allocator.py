"""Memory that is given back is kept for the next time."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from geoseg.jobs.allocator import memory_environment

_THREADS = """
import ctypes, sys, threading
from geoseg.jobs.allocator import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
all_there = threading.Barrier(4)
def work():
    libc.malloc(ctypes.c_size_t(1000))
    all_there.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def _arenas(manner: str, tmp_path: Path) -> int:
    """How many arenas glibc made for a process with four threads that allocate at the same time."""
    report = tmp_path / f"{manner}.xml"
    subprocess.run([sys.executable, "-c", _THREADS, manner, str(report)], check=True)
    return report.read_text().count("<heap nr=")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="glibc's allocator only")
def test_threads_share_one_arena(tmp_path: Path) -> None:
    assert _arenas("plain", tmp_path) > 1
    assert _arenas("keep", tmp_path) == 1


_GAPS = """
import ctypes, sys
from pathlib import Path
from geoseg.jobs.allocator import give_back, keep_memory
keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20
held = []
for _ in range(40):
    large = libc.malloc(4 << 20)
    ctypes.memset(large, 1, 4 << 20)
    held.append((large, libc.malloc(4096)))  # what stays in use behind each
for large, _ in held:
    libc.free(large)
freed = mib()
give_back()
print(freed - mib())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="glibc's allocator only")
def test_gaps_between_what_is_in_use_go_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", _GAPS], check=True, capture_output=True, text=True)
    assert int(done.stdout) > 100


def test_what_the_user_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    assert "MALLOC_ARENA_MAX" not in memory_environment()
    assert "MALLOC_TRIM_THRESHOLD_" in memory_environment()
