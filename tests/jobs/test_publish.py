"""What a run leaves beside the plain class map: the minimum mapping unit, zones, other outlines."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.features import rasterize
from scipy import ndimage

from geoseg.area.pixel_area import PixelAreas
from geoseg.vector.mapping_unit import merge_small_components
from tests.conftest import Command, WriteScene, read

KMEANS = ["-m", "kmeans:3"]


def polygons(folder: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(folder / f"{folder.name}_polygons.gpkg", layer="landcover")


@pytest.mark.parametrize("words", [[], ["--block-size", "512"], ["-j", "2"]], ids=str)
def test_the_mapping_unit_is_one_for_map_polygons_and_areas_whatever_the_blocks(
    write_scene: WriteScene, geoseg_command: Command, words: list[str]
) -> None:
    path = write_scene(shape=(600, 640))
    out = path.parents[1] / "out"
    assert geoseg_command("run", path, "-o", out / "plain", *KMEANS, "--no-polygons").code == 0
    ended = geoseg_command("run", path, "-o", out / "unit", *KMEANS, "--min-area", "0.2ha", *words)
    assert ended.code == 0, ended.err
    folder = out / "unit" / "scene"
    plain, merged = read(out / "plain" / "scene" / "scene_classes.tif"), read(folder / "scene_classes.tif")
    with rasterio.open(path) as dataset:
        from odc.geo.geobox import GeoBox

        areas = PixelAreas.of(GeoBox(dataset.shape, dataset.transform, str(dataset.crs)))
    threshold = int(np.ceil(2000 / areas.unit_m2))
    expected = merge_small_components(plain, at_least=threshold, units=areas.units(0, 0, *plain.shape))
    np.testing.assert_array_equal(merged, expected)
    assert (merged != plain).any()
    found = polygons(folder)
    assert found.area_m2.min() >= 2000
    assert len(found) == sum(ndimage.label(merged == v)[1] for v in np.unique(merged))
    table = pd.read_csv(folder / "scene_areas.csv").set_index("class_id")
    by_class = found.groupby("class_id").area_m2.sum()
    np.testing.assert_allclose(by_class, table.area_m2[by_class.index], rtol=1e-9)
    assert table.pixels.tolist() == [int((merged == v).sum()) for v in table.index]
    # confidence is the model's own
    np.testing.assert_array_equal(
        read(folder / "scene_confidence.tif"), read(out / "plain" / "scene" / "scene_confidence.tif")
    )


def test_polygons_are_the_same_from_processes(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene(shape=(300, 2300))  # two blocks side by side
    out = path.parents[1] / "out"
    assert geoseg_command("run", path, "-o", out / "one", *KMEANS).code == 0
    assert geoseg_command("run", path, "-o", out / "two", *KMEANS, "-j", 2).code == 0
    one, two = polygons(out / "one" / "scene"), polygons(out / "two" / "scene")
    assert one.equals(two)
    classes = read(out / "one" / "scene" / "scene_classes.tif")
    with rasterio.open(path) as dataset:
        transform = dataset.transform
    shapes = zip(one.geometry, one.class_id, strict=True)
    np.testing.assert_array_equal(rasterize(shapes, out_shape=classes.shape, transform=transform, fill=255), classes)


def test_other_outlines_and_other_zones_are_other_results(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene()
    out = path.parents[1] / "out"
    zones = path.parent / "zones.gpkg"
    square = shapely.box(400_100, 4_999_500, 400_500, 4_999_900)
    gpd.GeoDataFrame({"name": ["here"]}, geometry=[square], crs=32633).to_file(zones)
    made = ["--smooth", "--min-area", "3px", "--zones", zones, "--zone-id", "name"]
    assert geoseg_command("run", path, "-o", out, *KMEANS, *made).code == 0
    assert "unchanged" in geoseg_command("run", path, "-o", out, *KMEANS, *made).err
    for others in (
        ["--min-area", "3px", *made[3:]],
        ["--smooth", "--min-area", "4px", *made[3:]],
        [*made, "--connectivity", "8"],
    ):
        ended = geoseg_command("run", path, "-o", out, *KMEANS, *others)
        assert ended.code == 1, others
        assert "pass --overwrite" in ended.err
    gpd.GeoDataFrame({"name": ["there"]}, geometry=[square], crs=32633).to_file(zones)
    assert "pass --overwrite" in geoseg_command("run", path, "-o", out, *KMEANS, *made).err
    assert geoseg_command("run", path, "-o", out, *KMEANS, *made, "--overwrite").code == 0
    assert set(pd.read_csv(out / "scene" / "scene_zones.csv").zone) == {"there"}


def test_probabilities_of_polygons_are_the_mean_of_their_pixels(
    write_scene: WriteScene, geoseg_command: Command, random_unet: Path
) -> None:
    path = write_scene(shape=(150, 190))
    out = path.parents[1] / "out"
    ended = geoseg_command("run", path, "-o", out, "-m", random_unet, "--probabilities", "-f", "gpkg", "-f", "shp")
    assert ended.code == 0, ended.err
    folder = out / "scene"
    found = polygons(folder)
    with rasterio.open(folder / "scene_probabilities.tif") as dataset:
        probabilities, transform = dataset.read(), dataset.transform
    ids = pd.read_csv(folder / "scene_areas.csv").class_id
    number = rasterize(
        [(g, i + 1) for i, g in enumerate(found.geometry)],
        out_shape=probabilities.shape[1:],
        transform=transform,
        dtype="int32",
    )
    for band, value in zip(probabilities, ids, strict=True):
        mean = ndimage.mean(band, number, np.arange(1, len(found) + 1)) / 254
        np.testing.assert_allclose(found[f"p_{value}"], mean, rtol=1e-9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--zones", "zones.gpkg"], "--zone-id"),
        (["--zone-id", "name"], "--zones"),
        (["--zones", "missing.gpkg", "--zone-id", "name"], "missing.gpkg"),
        (["--min-area", "lots"], "lots"),
        (["--simplify", "2 furlongs"], "furlongs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_said_before_anything_runs(
    write_scene: WriteScene, geoseg_command: Command, words: list[str], message: str
) -> None:
    path = write_scene()
    out = path.parents[1] / "out"
    ended = geoseg_command("run", path, "-o", out, *KMEANS, *words)
    assert ended.code == 2
    assert message in ended.err
    assert not out.exists()


@pytest.mark.parametrize(
    "words", [["--smooth"], ["--simplify", "10m"], ["--connectivity", "8"], ["-f", "shp"]], ids=str
)
def test_how_polygons_are_drawn_is_of_no_use_without_them(
    write_scene: WriteScene, geoseg_command: Command, words: list[str]
) -> None:
    path = write_scene()
    ended = geoseg_command("run", path, "-o", path.parents[1] / "out", *KMEANS, "--no-polygons", *words)
    assert ended.code == 2
    assert "of no use with --no-polygons" in ended.err
