"""geoseg run --aoi and --bbox: what is inside is what it is without, and only that is computed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer

from geoseg.area.aoi import file_aoi
from geoseg.scene.open import open_scene
from tests.conftest import Command, WriteScene, blobs, read

FAR = Affine(10, 0, 600_000, 0, -10, 5_000_040)


@pytest.fixture
def area(tmp_path: Path) -> Path:
    """A disc and a box in the north-west of the scene, drawn on another map."""
    parts = [shapely.Point(400_600, 4_999_000).buffer(300), shapely.box(400_900, 4_999_700, 401_300, 4_999_900)]
    path = tmp_path / "area.gpkg"
    frame = gpd.GeoDataFrame({"n": [1, 2]}, geometry=parts, crs=32633).to_crs(3035)
    frame.to_file(path, layer="wanted")
    frame.iloc[:1].to_file(path, layer="other")
    return path


def test_inside_every_raster_is_that_of_the_whole_run_and_outside_is_nodata(
    write_scene: WriteScene, random_unet: Path, geoseg_command: Command, tmp_path: Path, area: Path
) -> None:
    scene = write_scene(pixels=blobs(300, 320), nodata=0)
    words = ["run", scene, "-m", random_unet, "--probabilities", "--no-polygons", "--block-size", 512]
    whole = geoseg_command(*words, "-o", tmp_path / "whole")
    part = geoseg_command(*words, "-o", tmp_path / "part", "--aoi", f"{area}:wanted")
    assert (whole.code, part.code) == (0, 0), part.err
    inside = file_aoi(f"{area}:wanted").inside(open_scene(scene).geobox)
    assert inside is not None
    mask = inside.mask(0, 0, 300, 320)
    assert 0.03 < mask.mean() < 0.5
    for kind in ("classes", "confidence", "probabilities"):
        with (
            rasterio.open(tmp_path / f"whole/scene/scene_{kind}.tif") as expected,
            rasterio.open(tmp_path / f"part/scene/scene_{kind}.tif") as found,
        ):
            np.testing.assert_array_equal(found.read()[:, mask], expected.read()[:, mask])
            assert (found.read()[:, ~mask] == 255).all()
            assert found.transform == expected.transform
    made = json.loads((tmp_path / "part/scene/scene.json").read_text())["properties"]["geoseg:parameters"]
    assert made["aoi"] == "area.gpkg:wanted"
    record = json.loads((tmp_path / "part/run.json").read_text())["options"]
    assert record["aoi_digest"] == made["aoi_digest"]
    again = geoseg_command(*words, "-o", tmp_path / "part", "--aoi", f"{area}:wanted")
    assert "unchanged since it was finished" in again.err
    other = geoseg_command(*words, "-o", tmp_path / "part", "--aoi", f"{area}:other")
    assert other.code == 1
    assert "holds results of another input, model or options" in other.err


def test_an_area_that_holds_all_of_a_scene_changes_nothing(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    words = ["run", write_scene(), "-m", "kmeans:3", "-o", tmp_path / "out", "--no-polygons"]
    assert geoseg_command(*words).code == 0
    assert "unchanged since it was finished" in geoseg_command(*words, "--bbox", "10,40,20,50").err


def test_a_dry_run_counts_only_the_windows_that_touch_the_area(
    write_scene: WriteScene, random_unet: Path, geoseg_command: Command, tmp_path: Path
) -> None:
    scene = write_scene(pixels=blobs(300, 320))
    words = ["run", scene, "-m", random_unet, "-o", tmp_path / "out", "--dry-run", "--overlap", 0]

    def windows(*more: object) -> tuple[str, str]:
        header, row = geoseg_command(*words, *more).out.splitlines()
        told = dict(zip(header.split(","), row.split(","), strict=True))
        return told["windows"], told["forward passes"]

    assert windows() == ("9", "9")
    # 1280 m are 128 pixels, one window; columns 128 to 191 are of the second only, those after it of the third, too
    corner = ["--bbox-crs", "EPSG:32633", "--bbox"]
    assert windows(*corner, "399960,4999000,401240,5000040") == ("1", "1")
    assert windows(*corner, "399960,4999000,401250,5000040") == ("2", "2")


def test_a_scene_outside_is_skipped_with_its_reason_and_no_scene_at_all_is_an_error(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    near, far = write_scene("in/near.tif"), write_scene("in/far.tif", transform=FAR)
    west, south, east, north = Transformer.from_crs(32633, 4326, always_xy=True).transform_bounds(
        400_000, 4_999_500, 400_300, 5_000_000
    )
    box = f"{west},{south},{east},{north}"
    words = ["run", "-m", "kmeans:3", "--no-polygons", "--bbox", box, "-o", tmp_path / "out"]
    both = geoseg_command(*words, near, far)
    assert both.code == 0
    assert f"far.tif: lies outside of the area of interest (box {west:.10g}," in both.err
    assert "1 of 2 scenes done, 1 outside of the area of interest" in both.err
    assert (tmp_path / "out/near").is_dir()
    assert not (tmp_path / "out/far").exists()
    assert 0 < (read(tmp_path / "out/near/near_classes.tif") != 255).mean() < 0.5
    scenes = json.loads((tmp_path / "out/run.json").read_text())["scenes"]
    assert [s["status"] for s in scenes] == ["done", "outside"]
    alone = geoseg_command(*words, far)
    assert alone.code == 2
    assert "none of the 1 scenes touches the area of interest" in alone.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bbox", "1,2,3"], "write west,south,east,north"),
        (["--bbox", "500000,0,600000,10"], "is not in degrees"),
        (["--bbox", "5,3,6,2"], "encloses nothing"),
        (["--bbox", "1,2,3,4", "--bbox-crs", "EPSG:1"], "is not known"),
        (["--bbox-crs", "EPSG:32633"], "of no use without --bbox"),
        (["--aoi", "no.gpkg"], "cannot be read: no such file"),
        (["--aoi", "no.gpkg", "--bbox", "1,2,3,4"], "exclude one another"),
    ],
)
def test_an_area_that_cannot_be_used_is_refused(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path, words: list[str], said: str
) -> None:
    ended = geoseg_command("run", write_scene(), "-o", tmp_path / "out", "-m", "kmeans:3", *words)
    assert ended.code == 2
    assert said in ended.err
    assert not (tmp_path / "out").exists()


def test_a_layer_must_be_named_where_a_file_has_several(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path, area: Path
) -> None:
    ended = geoseg_command("run", write_scene(), "-o", tmp_path / "out", "-m", "kmeans:3", "--aoi", area)
    assert ended.code == 2
    assert f"name one, for example {area}:" in ended.err


def test_a_pipeline_has_an_area_of_interest_too(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path, area: Path
) -> None:
    write_scene(shape=(150, 160)), write_scene("in/far.tif", transform=FAR)
    pipeline = tmp_path / "pipeline.yaml"

    def text(segment: str) -> str:
        return f"version: 1\nname: aoi\ninputs: [in]\nmodel: kmeans:3\noutput: out\nsteps:\n  segment: {{{segment}}}\n"

    pipeline.write_text(text(f"aoi: {area.name}:wanted"))
    first = geoseg_command("batch", "run", pipeline)
    assert first.code == 0, first.err
    assert (read(tmp_path / "out/scene/scene_classes.tif") == 255).any()
    became = {s["id"]: s["became"] for s in json.loads((tmp_path / "out/batch.json").read_text())["scenes"]}
    assert became == {"scene": "done", "far": "outside"}
    pipeline.write_text(text("bbox: [13.5, 45.0, 14.0, 45.3]"))
    assert geoseg_command("batch", "run", pipeline).code == 0
    assert (read(tmp_path / "out/scene/scene_classes.tif") != 255).all()
    for segment, said in (
        ("bbox: [13.5, 45.0, 14.0, 45.3], aoi: x.gpkg", "exclude one another"),
        ("bbox: [15, 45, 14]", "steps.segment.bbox"),
        ("aoi: x.gpkg", "steps.segment.aoi"),
    ):
        pipeline.write_text(text(segment))
        refused = geoseg_command("batch", "run", pipeline)
        assert refused.code == 2
        assert said in refused.err


def test_a_box_may_cross_the_antimeridian(write_scene: Callable[..., Any]) -> None:
    from geoseg.area.aoi import bbox_aoi

    degrees = Affine(0.01, 0, 179.6, 0, -0.01, -16)
    beyond = open_scene(write_scene("in/fiji.tif", crs="EPSG:4326", transform=degrees))
    inside = bbox_aoi((179.9, -16.5, -179.8, -16.2)).inside(beyond.geobox)
    assert inside is not None
    rows, cols = np.nonzero(inside.mask(0, 0, beyond.height, beyond.width))
    assert (rows.min(), rows.max() + 1, cols.min(), cols.max() + 1) == (20, 50, 30, 60)
