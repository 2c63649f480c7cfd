"""49 odd and broken rasters that other projects keep because something once broke on them; see the corpus' README."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

CORPUS = Path(__file__).parents[3] / "shared" / "data-odd"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of odd rasters is not beside this repository")
def test_good_files_are_processed_and_broken_ones_are_refused_by_name(tmp_path: Path) -> None:
    with (CORPUS / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # each file costs a start of the program, so a few stand for all unless all are asked for
    chosen = [r["id"] for r in rows]
    if os.environ.get("GEOSEG_ODD") != "all":
        chosen = [r["id"] for r in rows if r["category"] == "control"][:1]
        chosen += [r["id"] for r in rows if r["expected"] == "reject"][::6]
    program = Path(sys.executable).with_name("geoseg")
    words = ["--corpus", str(CORPUS), "--cmd", f"{program} run {{input}} -o {{out}} --model kmeans --no-polygons"]
    words += [
        "--deep",
        sys.executable,
        "--only",
        f"^({'|'.join(chosen)})$",
        "--time-scale",
        "5",
        "--work",
        str(tmp_path),
    ]
    ended = subprocess.run([sys.executable, CORPUS / "run_odd.py", *words], capture_output=True, text=True, check=False)
    print(ended.stdout)  # noqa: T201 - the count, for who looks
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(chosen)} passed, 0 failed" in ended.stdout
