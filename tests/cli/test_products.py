"""Products of many files through the command line: recognised, named, scaled, masked."""

import json
from pathlib import Path

import numpy as np

from tests.conftest import Command, read
from tests.products import COMMON, numbers, on_10_m, reflectances, write_safe, write_tif
from tests.scene.test_stac import ID, item, write_assets, write_item


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


def test_items_and_files_per_band_run_as_scenes_with_names_of_their_own(
    tmp_path: Path, geoseg_command: Command
) -> None:
    write_assets(tmp_path / "stac")
    write_item(tmp_path / "stac" / "item.json", item())
    for name in ("a", "b"):
        for band in COMMON:
            stored = numbers(reflectances()[band], add=-1000)
            write_tif(tmp_path / "in" / f"{name}_B{band[1:]}.tif", on_10_m(stored), 10, nodata=0)
    written = (
        "-o",
        tmp_path / "out",
        "--no-polygons",
        "--scale",
        0.0001,
        "--offset",
        -0.1,
        "--bands",
        ",".join(COMMON.values()),
    )
    ended = geoseg_command("run", tmp_path / "in", *written, "--band-files", "*_B{band}.tif")
    assert ended.code == 0, ended.err
    ended = geoseg_command("run", tmp_path / "stac" / "item.json", "-o", tmp_path / "out", "--no-polygons")
    assert ended.code == 0, ended.err
    assert {p.name for p in (tmp_path / "out").iterdir() if p.is_dir() and p.name[0] != "."} == {"a", "b", ID}
    maps = [read(tmp_path / "out" / n / f"{n}_classes.tif") for n in ("a", "b")]
    np.testing.assert_array_equal(maps[0], maps[1])
    told = json.loads(geoseg_command("info", tmp_path / "in" / "a_B{band}.tif", "--json").out)
    assert [b["file"] for b in told["bands"]] == [f"a_B{b[1:]}.tif" for b in COMMON]
    checked = geoseg_command("check", tmp_path / "in", *written[3:], "--band-files", "*_B{band}.tif", "--json")
    assert [s["fits"] for s in json.loads(checked.out)["scenes"]] == [True, True], checked.out
    asked = geoseg_command("info", tmp_path / "in", "--band-files", "*_B{band}.tif")
    assert (asked.code, "fits 2 scenes; name one" in asked.err) == (2, True)
    told = json.loads(geoseg_command("info", tmp_path / "stac" / "item.json", "--json").out)
    assert told["product"] == f"STAC item {ID}, scale and offset of the item"
