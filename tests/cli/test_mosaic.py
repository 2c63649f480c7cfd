"""geoseg run --mosaic: files that touch or overlap are one scene, and no seam is left where they meet."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
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
    words = ["-m", "spectral", "--no-polygons", "--dry-run", "-o", tmp_path / "out"]
    for priority, first in (("order", new), ("newest", new), ("least-cloud", old)):
        ended = geoseg_command("run", new, old, *words, "--mosaic", priority)
        assert ended.code == 0, ended.err
        assert f"one scene of 2 files, 96 x 96 px, those that go first first: {open_scene(first).id}," in ended.err
