"""A scene whose pixels are not those of the model is resampled as it is read; what is told, and what is refused."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from rasterio.features import rasterize

from geoseg.scene.open import open_scene
from geoseg.scene.reader import reader_of
from geoseg.scene.resample import resampled
from tests.conftest import UTM, Command, WriteScene, blobs, read


@pytest.fixture
def at_20_m(random_unet: Path) -> Path:
    card = yaml.safe_load(random_unet.read_text())
    random_unet.write_text(yaml.safe_dump(card | {"gsd_m": 20.0, "window": 64}))
    return random_unet


def test_the_map_is_that_of_the_resampled_file_whatever_the_cut(
    write_scene: WriteScene, at_20_m: Path, geoseg_command: Command, tmp_path: Path
) -> None:
    scene = write_scene(pixels=blobs(1060, 120), nodata=0)
    words = ["-m", at_20_m, "--no-polygons"]
    ended = geoseg_command("run", scene, "-o", tmp_path / "out", *words)
    assert ended.code == 0, ended.err
    assert "pixels of 10 m are averaged to the 20 m of model random as they are read" in ended.err
    assert "120 x 1060 px become 60 x 530" in ended.err
    there = resampled(open_scene(scene), 20)
    with reader_of(there) as reader:
        pixels, valid = reader.read(0, 0, there.height, there.width)
    assert valid.all()
    ready = write_scene("in/ready.tif", pixels=pixels, transform=there.geobox.transform)
    assert geoseg_command("run", ready, "-o", tmp_path / "out", *words).code == 0
    found, expected = (tmp_path / f"out/{n}/{n}_classes.tif" for n in ("scene", "ready"))
    np.testing.assert_array_equal(read(found), read(expected))
    cut = geoseg_command("run", scene, "-o", tmp_path / "cut", *words, "--block-size", 512)
    assert cut.code == 0
    np.testing.assert_array_equal(read(tmp_path / "cut/scene/scene_classes.tif"), read(found))
    with rasterio.open(found) as dataset, rasterio.open(scene) as source:
        assert dataset.bounds == pytest.approx(source.bounds)
        assert dataset.res == pytest.approx((20, 20), rel=0.01)
    made = json.loads((tmp_path / "out/scene/scene.json").read_text())["properties"]["geoseg:parameters"]
    assert made["resampled_from_m"] == pytest.approx(10, rel=0.01)


def test_force_gives_pixels_as_they_are_and_what_is_too_coarse_is_refused(
    write_scene: WriteScene, at_20_m: Path, geoseg_command: Command, tmp_path: Path
) -> None:
    words = ["run", write_scene(), "-o", tmp_path / "out", "-m", at_20_m, "--no-polygons", "--force"]
    forced = geoseg_command(*words)
    assert "pixels of 10 m given to a model for 20 m, because of --force" in forced.err
    assert read(tmp_path / "out/scene/scene_classes.tif").shape == (70, 90)
    card = yaml.safe_load(at_20_m.read_text())
    at_20_m.write_text(yaml.safe_dump(card | {"gsd_m": 2.0}))
    coarse = geoseg_command("check", write_scene(), "-m", at_20_m, "--json")
    assert coarse.code == 1
    (verdict,) = json.loads(coarse.out)["scenes"]
    assert "pixels of 10 m, but model random was trained at 2 m" in verdict["why"][0]


def test_with_native_grid_all_results_are_on_the_scene_s_own_whatever_the_cut(
    write_scene: WriteScene, at_20_m: Path, geoseg_command: Command, tmp_path: Path
) -> None:
    pixels = blobs(1060, 120)
    pixels[:, 1000:, :30] = 0
    scene = write_scene(pixels=pixels, nodata=0)
    words = ["run", scene, "-m", at_20_m, "--native-grid", "--probabilities", "-o"]
    ended = geoseg_command(*words, tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "120 x 1060 px become 60 x 530, and probabilities are brought back to the former" in ended.err
    folder = tmp_path / "out/scene"
    with rasterio.open(scene) as source:
        for kind in ("classes", "confidence", "probabilities"):
            with rasterio.open(folder / f"scene_{kind}.tif") as dataset:
                assert (dataset.crs, dataset.transform, dataset.shape) == (source.crs, source.transform, source.shape)
    classes = read(folder / "scene_classes.tif")
    np.testing.assert_array_equal(classes != 255, pixels[0] != 0)
    polygons = gpd.read_file(folder / "scene_polygons.gpkg", layer="landcover")
    drawn = rasterize(zip(polygons.geometry, polygons.class_id, strict=True), classes.shape, 255, transform=UTM)
    np.testing.assert_array_equal(drawn, classes)
    areas = pd.read_csv(folder / "scene_areas.csv")
    assert areas.pixels.sum() == (classes != 255).sum()
    assert areas.area_ha.sum() == pytest.approx((classes != 255).sum() / 100, rel=0.002)
    item = json.loads((folder / "scene.json").read_text())["properties"]
    assert item["proj:shape"] == [1060, 120]
    assert item["geoseg:parameters"]["native_grid"] is True
    assert geoseg_command(*words, tmp_path / "cut", "--block-size", 512).code == 0
    for kind in ("classes", "confidence", "probabilities"):
        found = rasterio.open(tmp_path / f"cut/scene/scene_{kind}.tif").read()
        np.testing.assert_array_equal(found, rasterio.open(folder / f"scene_{kind}.tif").read())
    plan = geoseg_command(*words, tmp_path / "out", "--dry-run").out.splitlines()[1]
    assert plan.split(",")[:3] == ["scene", "done", "120 x 1060"]
    other = geoseg_command("run", scene, "-m", at_20_m, "-o", tmp_path / "out")
    assert "holds results of another input, model or options" in other.err
