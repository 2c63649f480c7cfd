"""49 odd and broken rasters that other projects keep because something once broke on them; see the corpus' README."""

import importlib.util
import io
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.commands import Forks

CORPUS = Path(__file__).parents[3] / "shared" / "data-odd"


@pytest.fixture
def judge(forked: Forks, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The corpus' own program, which lays out each file and judges what is left; commands start at once here."""
    spec = importlib.util.spec_from_file_location("run_odd", CORPUS / "run_odd.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    # so that nothing is written beside it
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec.loader.exec_module(program)

    def run_one(argv: list[str], cwd: Path, limits: dict[str, Any], _: object, env: dict[str, str]) -> dict[str, Any]:
        (cwd / "tmp").mkdir()
        env |= {"TMPDIR": str(cwd / "tmp"), "LC_ALL": "C.UTF-8", "COLUMNS": "400", "NO_COLOR": "1"}
        began = time.monotonic()
        live = forked.begin(argv, env, folder=cwd, out=cwd / "stdout", memory=limits["mem"])
        died = live.end(limits["wall"])
        wall = time.monotonic() - began
        (cwd / "stderr").write_bytes(live.err.read_bytes())
        left = program.tree(live.pid)
        assert not left, f"{argv}: left processes behind: {left}"
        killed = "memory" if died.peak > limits["mem"] else "time" if wall > limits["wall"] else None
        return {"rc": died.code, "killed": killed, "peak": died.peak, "wall": wall, "left": 0}

    def read_back(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        """What the program's reader of outputs says, without a start of Python for each file."""
        said = io.StringIO()
        with redirect_stdout(said), warnings.catch_warnings(), monkeypatch.context() as patch:
            patch.setattr(sys, "argv", words[2:])
            exec(words[2], {})
        return subprocess.CompletedProcess(words, 0, said.getvalue(), "")

    monkeypatch.setattr(program, "run_one", run_one)
    monkeypatch.setattr(program, "subprocess", SimpleNamespace(run=read_back))
    return program


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of odd rasters is not beside this repository")
def test_good_files_are_processed_and_broken_ones_are_refused_by_name(
    judge: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "run {input} -o {out} --model kmeans --no-polygons"
    code = judge.main(
        ["--corpus", str(CORPUS), "--cmd", command, "--work", str(tmp_path), "--show-tail", "--deep", "here"]
    )
    said = capsys.readouterr()
    print(said.out)  # noqa: T201 - the table, for who looks
    assert code == 0, said.out + said.err
    n_rows = len(judge.load(CORPUS))
    assert f"{n_rows} passed, 0 failed" in said.out
