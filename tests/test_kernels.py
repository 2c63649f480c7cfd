"""Kernels whose files are damaged or cannot be kept are compiled anew: real files, real processes."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODULE = """
from geoseg.kernels import njit

@njit(cache=True)
def kept(x):
    return x + 1

@njit(cache=True)
def short(x):
    return x + 2

@njit(cache=True)
def empty(x):
    return x + 3

@njit(cache=True)
def garbage(x):
    return x + 4

@njit(cache=True)
def index_garbage(x):
    return x + 5

@njit(cache=True)
def index_short(x):
    return x + 6
"""
RUN = """
import json, logging, pathlib, sys
logging.basicConfig()
import some_kernels
if len(sys.argv) > 1:  # what could be written when the module was imported cannot any more
    folder = pathlib.Path(some_kernels.kept.stats.cache_path)
    folder.rmdir()
    folder.write_text("")
names = ("kept", "short", "empty", "garbage", "index_garbage", "index_short")
found = {n: [getattr(some_kernels, n)(10), sum(getattr(some_kernels, n).stats.cache_hits.values())] for n in names}
print(json.dumps(found))
"""
RESULTS = {"kept": 11, "short": 12, "empty": 13, "garbage": 14, "index_garbage": 15, "index_short": 16}


def run(folder: Path, *args: str, **environment: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Results and loads from files by kernel, and what was said."""
    (folder / "some_kernels.py").write_text(MODULE)
    # the cache of the modules of geoseg itself stays where it is
    path = os.pathsep.join([str(folder), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", RUN, *args], env={**os.environ, "PYTHONPATH": path, **environment}, cwd=folder,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {n: f[0] for n, f in found.items()}, {n: f[1] for n, f in found.items()}, done.stderr


def test_damaged_files_are_compiled_anew_once_and_said_in_one_line(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert run(tmp_path, NUMBA_CACHE_DIR=str(kept)) == (RESULTS, dict.fromkeys(RESULTS, 0), "")

    def file(kernel: str, suffix: str) -> Path:
        (path,) = kept.rglob(f"*.{kernel}-*{suffix}")
        return path

    for kernel, suffix, damage in (
        ("short", "nbc", lambda b: b[: len(b) // 2]),
        ("empty", "nbc", lambda _: b""),
        ("garbage", "nbc", lambda b: b[:-200] + bytes(x ^ 0x55 for x in b[-200:])),  # in what would be run
        ("index_garbage", "nbi", lambda b: bytes(len(b))),
        ("index_short", "nbi", lambda b: b[:20]),
    ):
        path = file(kernel, suffix)
        path.write_bytes(damage(path.read_bytes()))
    results, loads, said = run(tmp_path, NUMBA_CACHE_DIR=str(kept))
    assert results == RESULTS
    assert loads == {**dict.fromkeys(RESULTS, 0), "kept": 1}
    assert said.count("\n") == 1
    assert "do not read back: they are compiled anew" in said

    assert run(tmp_path, NUMBA_CACHE_DIR=str(kept)) == (RESULTS, dict.fromkeys(RESULTS, 1), "")


@pytest.mark.parametrize("when", ["at import", "later"])
def test_where_no_folder_can_be_written_kernels_work_all_the_same(tmp_path: Path, when: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "__pycache__").write_text("")  # beside the module
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "kept"), "XDG_CACHE_HOME": str(tmp_path / "file")}
    if when == "later":
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "kept")
    results, _, said = run(tmp_path, *["later"] * (when == "later"), **environment)
    assert results == RESULTS
    assert said.count("\n") == 1
    assert "cannot be kept" in said
    assert "set NUMBA_CACHE_DIR to a folder" in said


def test_every_kernel_releases_the_lock_and_is_kept_on_the_disk() -> None:
    found: dict[str, str] = {}
    for file in sorted((Path(__file__).parents[1] / "geoseg").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and file.name != "kernels.py":
                how = [ast.unparse(d) for d in node.decorator_list]
                found |= {f"{file.name}: {node.name}": d for d in how if "njit" in d}
    assert len(found) > 50
    assert {name for name, how in found.items() if "nogil=True" not in how or "cache=True" not in how} == set()
