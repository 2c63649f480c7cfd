"""geoseg run --mosaic: files that touch or overlap are one scene, and no seam is left where they meet."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.merge import merge
from rasterio.windows import Window

from geoseg.scene.open import open_scene
from tests.conftest import Command, WriteScene, read
from tests.products import write_safe

SAMPLES = sorted((Path(__file__).parents[2] / "sample_data" / "scenes").glob("*_20230908.tif"))


@pytest.mark.filterwarnings("ignore:Use .@. matmul:PendingDeprecationWarning")
def test_the_map_of_the_three_sample_scenes_is_that_of_one_merged_raster_to_the_bit(
    geoseg_command: Command, tmp_path: Path
) -> None:
    # a band of rows through all three: their borders, and the strip in which two of them overlap
    rows = Window(0, 400, 1000, 180)
    for path in SAMPLES:
        with rasterio.open(path) as dataset:
            profile = dataset.profile | {"height": 180, "transform": dataset.window_transform(rows)}
            with rasterio.open(tmp_path / path.name, "w", **profile) as out:
                out.write(dataset.read(window=rows))
                out.descriptions, out.scales = dataset.descriptions, dataset.scales
    files = [tmp_path / path.name for path in SAMPLES]
    pixels, transform = merge(files)
    merged = tmp_path / "merged.tif"
    with rasterio.open(merged, "w", **profile | {"width": pixels.shape[2], "transform": transform}) as out:
        out.write(pixels)
        with rasterio.open(files[0]) as dataset:
            out.descriptions, out.scales = dataset.descriptions, dataset.scales
    words = ["-m", "landcover-unet", "--no-polygons", "--overlap", 0.125, "-o", tmp_path / "out"]
    together = geoseg_command("run", *files, *words, "--mosaic", "order")
    assert together.code == 0, together.err
    assert "valley_mosaic: one scene of 3 files, 2960 x 180 px" in together.err
    assert "1 of 1 scenes done" in together.err
    scenes = json.loads((tmp_path / "out/run.json").read_text())["scenes"]
    assert [(s["id"], s["status"]) for s in scenes] == [
        ("valley_mosaic", "done"), ("valley_mosaic", "joined"), ("valley_mosaic", "joined"),
    ]  # fmt: skip
    assert geoseg_command("run", merged, *words).code == 0
    for kind in ("classes", "confidence"):
        found, expected = (tmp_path / f"out/{n}/{n}_{kind}.tif" for n in ("valley_mosaic", "merged"))
        np.testing.assert_array_equal(read(found), read(expected))


def test_a_file_that_cannot_be_read_fails_alone_and_other_grids_stay_scenes(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    a = write_scene("in/a1.tif", seed=1)
    with rasterio.open(a) as dataset:
        beside = dataset.transform @ dataset.transform.translation(90, 0)
    b = write_scene("in/a2.tif", seed=2, transform=beside)
    other = write_scene("in/other.tif", crs="EPSG:32634")
    broken = tmp_path / "in/broken.tif"
    broken.write_bytes(b"no raster")
    ended = geoseg_command(
        "run", tmp_path / "in", "-m", "kmeans:3", "--no-polygons", "-o", tmp_path / "out", "--mosaic", "newest"
    )
    assert ended.code == 1
    assert "broken.tif: cannot be opened" in ended.err
    assert "2 of 3 scenes done" in ended.err
    assert read(tmp_path / "out/a_mosaic/a_mosaic_classes.tif").shape == (70, 180)
    assert read(tmp_path / "out/other/other_classes.tif").shape == (70, 90)
    table = geoseg_command(
        "run", a, b, other, "-m", "kmeans:3", "-o", tmp_path / "new", "--mosaic", "order", "--dry-run"
    ).out
    assert [line.split(",")[:3] for line in table.splitlines()[1:]] == [
        ["a_mosaic", "new", "180 x 70"], ["other", "new", "90 x 70"],
    ]  # fmt: skip


def test_sentinel_2_products_of_two_baselines_are_one_scene_in_the_order_asked_for(
    geoseg_command: Command, tmp_path: Path
) -> None:
    old = write_safe(tmp_path / "old", baseline="03.01", add=None)
    new = write_safe(tmp_path / "new", baseline="05.09")
    for safe, cloud, year in ((old, "8.25", 2021), (new, "61.0", 2023)):
        main, tile = safe / "MTD_MSIL2A.xml", next(safe.glob("GRANULE/*/MTD_TL.xml"))
        text = main.read_text().replace("</n1:Level-2A_User", f"<Cloud_Coverage_Assessment>{cloud}"
                                        "</Cloud_Coverage_Assessment></n1:Level-2A_User")  # fmt: skip
        main.write_text(text)
        tile.write_text(tile.read_text().replace("2023-", f"{year}-"))
    assert [open_scene(safe).cloud_percent for safe in (old, new)] == [8.25, 61.0]
    assert "cloudy     8.25 %" in geoseg_command("info", old).out
    words = ["-m", "spectral", "--no-polygons", "--dry-run", "-o", tmp_path / "out"]
    said = (("order", new, ","), ("newest", new, " (2023-06-05),"), ("least-cloud", old, " (8.25 % cloud),"))
    for priority, first, why in said:
        ended = geoseg_command("run", new, old, *words, "--mosaic", priority)
        assert ended.code == 0, ended.err
        assert f"one scene of 2 files, 96 x 96 px, those that go first first: {open_scene(first).id}{why}" in ended.err


@pytest.mark.parametrize("how", ["plain", "coarser", "native"])
def test_results_of_each_file_are_cut_from_the_map_of_all_without_a_seam(
    write_scene: WriteScene, random_unet: Path, geoseg_command: Command, tmp_path: Path, how: str
) -> None:
    if how in ("coarser", "native"):
        random_unet.write_text(yaml.safe_dump(yaml.safe_load(random_unet.read_text()) | {"gsd_m": 20.0, "window": 64}))
    a = write_scene("in/a1.tif", seed=1)
    with rasterio.open(a) as dataset:
        places = [dataset.transform @ dataset.transform.translation(*at) for at in ((80, 10), (170, 6))]
    b, c = (write_scene(f"in/a{i}.tif", seed=i, transform=place) for i, place in enumerate(places, 2))
    words = ["-m", random_unet, "--probabilities", "--no-polygons", "--mosaic", "order"]
    if how == "native":
        words += ["--native-grid", "--bbox", "399990,4999400,402000,4999900", "--bbox-crs", "EPSG:32633"]
    assert geoseg_command("run", a, b, c, *words, "-o", tmp_path / "whole").code == 0
    ended = geoseg_command("run", a, b, c, *words, "-o", tmp_path / "each", "--mosaic-outputs", "each")
    assert ended.code == 0, ended.err
    assert "a_mosaic: one scene of 3 files" in ended.err
    assert "3 of 3 scenes done" in ended.err
    record = json.loads((tmp_path / "each/run.json").read_text())["scenes"]
    assert [(s["id"], s["input"], s["status"]) for s in record] == [
        (p.stem, str(p), "done") for p in (a, b, c)
    ]  # fmt: skip
    step = 2 if how == "coarser" else 1
    for path, (col, row) in zip((a, b, c), ((0, 0), (80, 10), (170, 6)), strict=True):
        rows, cols = slice(row // step, (row + 70) // step), slice(col // step, (col + 90) // step)
        for kind in ("classes", "confidence", "probabilities"):
            found = rasterio.open(tmp_path / f"each/{path.stem}/{path.stem}_{kind}.tif")
            whole = rasterio.open(tmp_path / f"whole/a_mosaic/a_mosaic_{kind}.tif").read()
            np.testing.assert_array_equal(found.read(), whole[:, rows, cols])
        with rasterio.open(path) as source:
            assert found.bounds == pytest.approx(source.bounds)
            assert found.crs == source.crs
        item = json.loads((tmp_path / f"each/{path.stem}/{path.stem}.json").read_text())
        assert item["properties"]["geoseg:source"] == path.name
    again = geoseg_command("run", a, b, c, *words, "-o", tmp_path / "each", "--mosaic-outputs", "each")
    assert again.code == 0
    record = json.loads((tmp_path / "each/run.json").read_text())["scenes"]
    assert [s["status"] for s in record] == ["unchanged"] * 3
    refused = geoseg_command("run", a, "-o", tmp_path / "x", "--mosaic-outputs", "each")
    assert (refused.code, "--mosaic-outputs is of no use without --mosaic" in refused.err) == (2, True)
