"""Products of many files through the command line: recognised, named, scaled, masked."""

import json
from pathlib import Path

import numpy as np

from tests.conftest import Command, read
from tests.products import COMMON, numbers, reflectances, write_safe


def test_a_sentinel_2_product_runs_as_one_scene_and_says_what_its_numbers_mean(
    tmp_path: Path, geoseg_command: Command
) -> None:
    scl = np.full((48, 48), 4, np.uint8)
    scl[10:20] = 9
    stored = {b: numbers(r, add=-1000) for b, r in reflectances().items() if b in COMMON}
    safe = write_safe(tmp_path / "in", stored=stored, scl=scl)
    told = json.loads(geoseg_command("info", safe, "--json").out)
    assert told["product"] == "Sentinel-2 L2A, baseline 05.09, quantification 10000, offset -1000 from MTD_MSIL2A.xml"
    assert "--mask-clouds leaves them out" in told["clouds"]
    assert {b["title"]: (b["name"], b["pixels"]) for b in told["bands"]}["B11"] == ("swir16", 2)
    assert {m["model"]: m["fits"] for m in told["models"]}["spectral"] == "yes"
    plain = geoseg_command("run", tmp_path / "in", "-o", tmp_path / "out", "--no-polygons")
    assert (plain.code, plain.err.count("offset -1000 from MTD_MSIL2A.xml")) == (0, 1)
    masked = geoseg_command("run", safe, "-o", tmp_path / "ground", "--no-polygons", "--mask-clouds")
    assert masked.code == 0
    maps = [read(next((tmp_path / out).rglob("*_classes.tif"))) for out in ("out", "ground")]
    assert (maps[1][20:40] == 255).all()
    np.testing.assert_array_equal(np.delete(maps[1], slice(20, 40), 0), np.delete(maps[0], slice(20, 40), 0))
    item = json.loads(next((tmp_path / "ground").glob("*/*.json")).read_text())
    assert item["properties"]["geoseg:parameters"]["masked"].startswith("SCL")
    assert item["properties"]["datetime"].startswith("2023-06-05T10:21:31")
    again = geoseg_command("run", safe, "-o", tmp_path / "ground", "--no-polygons", "--mask-clouds")
    assert again.code == 0
    assert "unchanged" in again.err
