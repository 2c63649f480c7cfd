"""`geoseg run` from files to files: every output against the scene, and against each other."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Geod, Transformer
from rasterio.features import rasterize
from rio_cogeo.cogeo import cog_validate

from tests.conftest import UTM, Command, WriteScene, blobs, read

CUSTOM = (
    'PROJCS["made up",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Lambert_Azimuthal_Equal_Area"],'
    'PARAMETER["latitude_of_center",47.3],PARAMETER["longitude_of_center",11.1],PARAMETER["false_easting",1234],'
    'PARAMETER["false_northing",-77],UNIT["metre",1]]'
)
GRIDS: dict[str, tuple[str, Affine]] = {
    "UTM": ("EPSG:32633", UTM),
    "rotated": ("EPSG:32633", Affine.translation(500_000, 5_300_000) @ Affine.rotation(31) @ Affine.scale(10, -10)),
    "south up": ("EPSG:32733", Affine(10, 0, 500_000, 0, 10, 9_000_000)),
    "Web Mercator": ("EPSG:3857", Affine(20, 0, 1_100_000, 0, -20, 8_400_000)),
    "geographic": ("EPSG:4326", Affine(0.0001, 0, 11.25, 0, -0.0001, 60.1)),
    "custom": (CUSTOM, Affine(10, 0, 0, 0, -10, 0)),
}
NAMES = {
    "scene_classes.tif", "scene_classes.qml", "scene_confidence.tif", "scene_polygons.gpkg", "scene_areas.csv",
    "scene.json",
}  # fmt: skip


def polygons_of(path: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(path, layer="landcover")


@pytest.mark.parametrize("kind", GRIDS)
def test_every_output_fits_the_scene_and_the_others(
    kind: str, write_scene: WriteScene, geoseg_command: Command
) -> None:
    crs, transform = GRIDS[kind]
    pixels = blobs(75, 110)
    pixels[:, :20, :30] = 0
    path = write_scene(pixels=pixels, crs=crs, transform=transform, nodata=0)
    out = path.parents[1] / "out"
    ended = geoseg_command("run", path.parent, "-o", out, "-m", "kmeans:3")
    assert ended.code == 0, ended.err
    assert {p.name for p in out.iterdir()} == {"scene", "areas.csv", "report.html", "run.json"}
    folder = out / "scene"
    assert {p.name for p in folder.iterdir()} - {"scene_classes.tif.aux.xml", "scene_confidence.tif.aux.xml"} == NAMES

    with rasterio.open(path) as scene:
        for name in ("classes", "confidence"):
            with rasterio.open(folder / f"scene_{name}.tif") as made:
                assert made.transform == scene.transform
                assert made.crs == scene.crs
                assert made.shape == scene.shape
                assert (made.nodata, made.dtypes) == (255, ("uint8",))
                np.testing.assert_array_equal(made.read(1) == 255, scene.dataset_mask() == 0)
            assert cog_validate(str(folder / f"scene_{name}.tif"), strict=True)[0]
    _check_polygons(folder, transform)
    _check_records(out)


def _check_polygons(folder: Path, transform: Affine) -> None:
    classes = read(folder / "scene_classes.tif")
    polygons = polygons_of(folder / "scene_polygons.gpkg")
    table = pd.read_csv(folder / "scene_areas.csv")
    assert shapely.is_valid(polygons.geometry.values).all()
    shapes = zip(polygons.geometry, polygons.class_id, strict=True)
    again = rasterize(shapes, out_shape=classes.shape, transform=transform, fill=255, dtype="uint8")
    np.testing.assert_array_equal(again, classes)
    assert list(table.columns) == ["class_id", "class_name", "pixels", "area_m2", "area_ha", "percent", "mean_conf"]
    for row in table.itertuples():
        assert row.pixels == (classes == row.class_id).sum()
        # the table's sum is made of integers: adding floating-point polygons may differ in the last digits
        mine = polygons[polygons.class_id == row.class_id]
        assert mine.area_m2.sum() == pytest.approx(row.area_m2, rel=1e-13)
        assert set(mine.class_name) <= {row.class_name}
    assert table.percent.sum() == pytest.approx(100, abs=1e-9)
    assert table.area_ha.to_numpy() == pytest.approx(table.area_m2.to_numpy() / 1e4, rel=1e-15)


def _check_records(out: Path) -> None:
    folder = out / "scene"
    item = pystac.Item.from_file(str(folder / "scene.json"))
    assert item.id == "scene"
    assert set(item.assets) == {"classes", "confidence", "polygons", "areas"}
    for asset in item.assets.values():
        assert (folder / asset.href).stat().st_size == asset.extra_fields["file:size"]
    combined = pd.read_csv(out / "areas.csv")
    alone = pd.read_csv(folder / "scene_areas.csv")
    pd.testing.assert_frame_equal(combined.drop(columns="scene"), alone)
    record = json.loads((out / "run.json").read_text("utf-8"))
    assert [(s["id"], s["status"], s["error"]) for s in record["scenes"]] == [("scene", "done", None)]
    assert record["model"]["name"] == "kmeans"
    page = (out / "report.html").read_text("utf-8")
    assert "1 done" in page
    assert page.count("data:image/png") == 2
    assert all(f"{100 * n / alone.pixels.sum():.1f} %" in page for n in alone.pixels)


def test_areas_in_web_mercator_at_60_degrees_are_those_of_the_geodesic(
    write_scene: WriteScene, geoseg_command: Command
) -> None:
    crs, transform = GRIDS["Web Mercator"]
    path = write_scene(crs=crs, transform=transform, shape=(60, 80))
    out = path.parents[1] / "out"
    assert geoseg_command("run", path, "-o", out, "-m", "kmeans:3").code == 0
    classes = read(out / "scene" / "scene_classes.tif")
    table = pd.read_csv(out / "scene" / "scene_areas.csv").set_index("class_id")
    to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    geod = Geod(ellps="WGS84")
    rows = np.empty(classes.shape[0])
    for row in range(classes.shape[0]):
        # Web Mercator is the same along a row, so one pixel stands for all; its parallel sides are densified
        step = np.linspace(0, 1, 33)
        cols = np.concatenate([step, step[::-1]])
        down = np.repeat([row, row + 1], 33)
        x, y = transform.c + transform.a * cols, transform.f + transform.e * down
        lon, lat = to_lonlat.transform(x, y)
        rows[row] = abs(geod.polygon_area_perimeter(lon, lat)[0])
    assert to_lonlat.transform(transform.c, transform.f)[1] == pytest.approx(60, abs=0.5)
    for value in table.index:
        expected = ((classes == value).sum(axis=1) * rows).sum()
        assert table.area_m2[value] == pytest.approx(expected, rel=1e-6)


def nan_pixels() -> Any:
    pixels = blobs(60, 70).astype(np.float32)
    pixels[1, 10:30, 5:25] = np.nan
    return pixels


@pytest.mark.parametrize("kind", ["NaN", "declared NaN", "alpha", "one nodata value for each band"])
def test_nodata_of_any_kind_stays_where_it_was(kind: str, write_scene: WriteScene, geoseg_command: Command) -> None:
    hole = np.zeros((60, 70), np.bool_)
    hole[10:30, 5:25] = True
    if kind == "alpha":
        colors = np.concatenate([blobs(60, 70, n_bands=4) // 20, np.full((1, 60, 70), 255)]).astype(np.uint8)
        colors[4, hole] = 0
        path = write_scene(pixels=colors, photometric="MINISBLACK", alpha=5)
    elif kind == "one nodata value for each band":
        pixels = blobs(60, 70)
        pixels[2, hole] = 7
        path = write_scene(pixels=pixels, nodata=7)
    else:
        path = write_scene(pixels=nan_pixels(), nodata=np.nan if kind == "declared NaN" else None)
    out = path.parents[1] / "out"
    ended = geoseg_command("run", path, "-o", out, "-m", "kmeans:3")
    assert ended.code == 0, ended.err
    np.testing.assert_array_equal(read(out / "scene" / "scene_classes.tif") == 255, hole)
    np.testing.assert_array_equal(read(out / "scene" / "scene_confidence.tif") == 255, hole)


def test_a_scene_without_any_valid_pixel_is_all_nodata_and_has_no_polygons(
    write_scene: WriteScene, geoseg_command: Command
) -> None:
    path = write_scene(pixels=np.zeros((3, 40, 50), np.uint16), nodata=0)
    out = path.parents[1] / "out"
    ended = geoseg_command("run", path, "-o", out, "-m", "kmeans:3")
    assert ended.code == 0, ended.err
    assert (read(out / "scene" / "scene_classes.tif") == 255).all()
    assert len(polygons_of(out / "scene" / "scene_polygons.gpkg")) == 0
    assert pd.read_csv(out / "scene" / "scene_areas.csv").pixels.sum() == 0


def test_an_output_folder_inside_the_input_folder_is_not_searched(
    write_scene: WriteScene, geoseg_command: Command
) -> None:
    folder = write_scene().parent
    for expected in ("scene: done", "scene: unchanged"):
        ended = geoseg_command("run", folder, "-o", folder / "out", "-m", "kmeans:3")
        assert ended.code == 0
        assert expected in ended.err
        assert "1 of 1 scenes done" in ended.err


def test_one_bad_file_is_named_and_the_others_are_done(write_scene: WriteScene, geoseg_command: Command) -> None:
    folder = write_scene("in/a good one.tif").parent
    write_scene("in/z.tif", seed=2)
    (folder / "m broken.tif").write_bytes(b"II*\0 not much of a TIFF")
    out = folder.parent / "out"
    ended = geoseg_command("run", folder, "-o", out, "-m", "kmeans:3")
    assert ended.code == 1
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "m broken.tif: cannot be opened as GTiff" in errors[0]
    assert "check with gdalinfo" in errors[0]
    assert "2 of 3 scenes done" in ended.err
    assert sorted(p.name for p in out.iterdir()) == ["a good one", "areas.csv", "report.html", "run.json", "z"]
    scenes = json.loads((out / "run.json").read_text("utf-8"))["scenes"]
    assert [s["status"] for s in scenes] == ["done", "failed", "done"]
    assert set(pd.read_csv(out / "areas.csv").scene) == {"a good one", "z"}


def test_names_that_are_the_same_or_unsafe_stay_apart_and_inside(
    write_scene: WriteScene, geoseg_command: Command
) -> None:
    names = ["x.tif", "x.tiff", "X.tif", "a/x.tif", "areas.csv.tif", "-o.tif", "a\x1b[2J\nb.tif", "x_2.tif"]
    folder = write_scene("in/x.tif", shape=(20, 20)).parent
    for seed, name in enumerate(names[1:], 1):
        write_scene(f"in/{name}", shape=(20, 20), seed=seed)
    out = folder.parent / "out"
    ended = geoseg_command("run", folder, "-o", out, "-m", "kmeans:2", "--no-polygons")
    assert ended.code == 0, ended.err
    assert "\x1b" not in ended.err + ended.out
    assert f"{len(names)} of {len(names)} scenes done" in ended.err
    record = json.loads((out / "run.json").read_text("utf-8"))["scenes"]
    ids = [s["id"] for s in record]
    assert len({i.casefold() for i in ids}) == len(names)
    for scene in record:
        made = out / scene["id"] / f"{scene['id']}_classes.tif"
        assert made.resolve().is_relative_to(out.resolve())
        assert read(made).shape == (20, 20)
    assert (out / "areas.csv").is_file()


def test_a_file_that_fails_does_not_shift_the_names_of_others(write_scene: WriteScene, geoseg_command: Command) -> None:
    b = write_scene("in/b/x.tif", seed=1)
    a = b.parents[1] / "a" / "x.tif"
    a.parent.mkdir()
    a.write_bytes(b"broken")
    out = b.parents[2] / "out"
    assert geoseg_command("run", b.parents[1], "-o", out, "-m", "kmeans:2").code == 1
    write_scene("in/a/x.tif", seed=2)
    ended = geoseg_command("run", b.parents[1], "-o", out, "-m", "kmeans:2")
    assert ended.code == 0, ended.err
    assert "x: done" in ended.err
    assert "x_2: unchanged" in ended.err


def test_one_file_named_twice_is_one_scene(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene()
    words = [path, path.parent, f"{path.parent}/../in/scene.tif", f"{path.parent}/*.tif"]
    ended = geoseg_command("run", *words, "-o", path.parents[1] / "out", "-m", "kmeans:2", "--no-polygons")
    assert ended.code == 0
    assert "1 of 1 scenes done" in ended.err


def test_a_map_without_a_single_class_is_told(write_scene: WriteScene, geoseg_command: Command) -> None:
    pixels = np.random.default_rng(0).random((3, 40, 50), dtype=np.float32)
    pixels[0] = np.nan
    path = write_scene("in/hollow.tif", pixels=pixels)
    write_scene("in/whole.tif", seed=1)
    out = path.parents[1] / "out"
    ended = geoseg_command("run", path.parent, "-o", out, "-m", "kmeans:2")
    assert ended.code == 0, ended.err
    assert "hollow: warning: no pixel got a class, so the map is nodata everywhere" in ended.err
    assert "whole: warning" not in ended.err
