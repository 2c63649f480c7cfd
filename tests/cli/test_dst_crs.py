"""geoseg run --dst-crs: scenes of several zones as one map, whole at the border of the zones, and true in its areas."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.features import rasterize

from geoseg.jobs.change_maps import find_maps
from tests.conftest import Command, WriteScene, blobs, read

SIDE = 60


def place(lon: float, lat: float, epsg: int) -> dict[str, Any]:
    """Profile of a scene of 60 x 60 px of 10 m about a place."""
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    left, top = round(x / 10 - SIDE / 2) * 10, round(y / 10 + SIDE / 2) * 10
    return {"crs": f"EPSG:{epsg}", "transform": Affine(10, 0, left, 0, -10, top)}


def sampled(path: Path, crs: Any, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The class of the pixel of a map that positions lie in, 255 outside."""
    with rasterio.open(path) as dataset:
        there = Transformer.from_crs(crs, dataset.crs, always_xy=True).transform(x, y)
        col, row = (np.floor(v + 1e-6).astype(int) for v in ~dataset.transform @ there)
        inside = (row >= 0) & (row < dataset.height) & (col >= 0) & (col < dataset.width)
        found: NDArray[np.uint8] = np.where(
            inside, dataset.read(1)[row.clip(0, dataset.height - 1), col.clip(0, dataset.width - 1)], 255
        )
    return found


@pytest.mark.parametrize(
    ("zones", "dst"),
    [
        (((11.998, 48.0, 32632), (12.002, 48.0, 32633)), "EPSG:3035"),
        (((179.997, 66.0, 32660), (-179.997, 66.0, 32601)), "EPSG:3413"),
        (((-180.0, -75.0, 3031), (179.999, -75.003, 32760)), "EPSG:3031"),
    ],
    ids=["border of zones", "antimeridian", "antarctic"],
)
def test_every_pixel_has_the_class_of_the_first_scene_there_and_none_is_left_out_or_counted_twice(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path, zones: Any, dst: str
) -> None:
    scenes = [
        write_scene(f"in/s{i}.tif", pixels=blobs(SIDE, SIDE, seed=i), **place(*zone)) for i, zone in enumerate(zones)
    ]
    words = ["run", *scenes, "-m", "kmeans:3", "-o", tmp_path / "out", "--dst-crs", dst]
    ended = geoseg_command(*words)
    assert ended.code == 0, ended.err
    name = dst.replace(":", "_")
    assert f"one map of 2 scenes in {dst}, " in ended.err
    folder = tmp_path / "out/whole" / name
    with rasterio.open(folder / f"{name}_classes.tif") as dataset:
        classes, transform, crs = dataset.read(1), dataset.transform, dataset.crs
    assert crs.to_epsg() == int(dst[5:])
    rows, cols = np.mgrid[0 : classes.shape[0], 0 : classes.shape[1]]
    x, y = transform @ (cols.ravel() + 0.5, rows.ravel() + 0.5)
    one, two = (sampled(tmp_path / f"out/s{i}/s{i}_classes.tif", crs, x, y) for i in (0, 1))
    expected = np.where(one != 255, one, two).reshape(classes.shape)
    # a centre within a fiftieth of a pixel of an edge may fall on either side
    assert (classes != expected).mean() < 0.03
    assert ((classes != 255) != (expected != 255)).mean() < 0.003
    assert ((one != 255) & (two != 255)).any()
    assert (classes[:, 1:-1] != 255).any(axis=0).all()

    polygons = gpd.read_file(folder / f"{name}_polygons.gpkg", layer="landcover")
    drawn = rasterize(zip(polygons.geometry, polygons.class_id, strict=True), classes.shape, 255, transform=transform)
    np.testing.assert_array_equal(drawn, classes)
    areas = pd.read_csv(folder / f"{name}_areas.csv")
    outlines = gpd.GeoSeries(
        [gpd.GeoSeries.from_wkt([box], crs=place(*zone)["crs"]).to_crs(dst)[0]
         for zone in zones for box in [_outline(**place(*zone))]], crs=dst
    )  # fmt: skip
    laea = f"+proj=laea +lat_0={zones[0][1]} +lon_0={zones[0][0]}"
    true = outlines.union_all()
    # edges fall between centres: by half a pixel of sixty at most
    assert areas.area_m2.sum() == pytest.approx(gpd.GeoSeries([true], crs=dst).to_crs(laea).area[0], rel=0.012)
    assert polygons.area_m2.sum() == pytest.approx(areas.area_m2.sum())

    item = json.loads((folder / f"{name}.json").read_text())
    assert item["properties"]["geoseg:parameters"]["scenes"] == ["s0", "s1"]
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert (record["whole"]["id"], record["whole"]["status"]) == (name, "done")
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert geoseg_command(*words).code == 0
    assert json.loads((tmp_path / "out/run.json").read_text())["whole"]["status"] == "unchanged"
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


@pytest.mark.parametrize("dst", ["EPSG:3832", "EPSG:32601"])
def test_files_in_longitude_and_latitude_that_touch_at_the_antimeridian_leave_no_gap(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path, dst: str
) -> None:
    step = 1e-4
    for name, left in (("a", 180 - SIDE * step), ("b", -180.0)):
        write_scene(
            f"in/{name}.tif",
            pixels=blobs(SIDE, SIDE),
            crs="EPSG:4326",
            transform=Affine(step, 0, left, 0, -step, 10),
        )
    words = ["run", tmp_path / "in", "-m", "kmeans:3", "--no-polygons", "-o", tmp_path / "out", "--dst-crs", dst]
    assert geoseg_command(*words).code == 0
    name = dst.replace(":", "_")
    classes = read(tmp_path / f"out/whole/{name}/{name}_classes.tif")
    assert 2 * SIDE - 4 < classes.shape[1] < 2 * SIDE + 6
    assert (classes[4:-4, 4:-4] != 255).all()


def _outline(*, crs: str, transform: Affine) -> str:
    """A scene as WKT, with points along its edges."""
    del crs
    steps = np.linspace(0, SIDE, 61)
    zeros, ends = np.zeros_like(steps), np.full_like(steps, SIDE)
    col, row = np.concatenate([steps, ends, steps[::-1], zeros]), np.concatenate([zeros, steps, ends, steps[::-1]])
    x, y = transform.c + transform.a * col, transform.f + transform.e * row
    return f"POLYGON (({', '.join(f'{a} {b}' for a, b in zip(x, y, strict=True))}))"


def test_one_map_of_scenes_on_its_grid_is_their_pixels_and_follows_them(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    a = write_scene("in/a.tif", seed=1)
    with rasterio.open(a) as dataset:
        beside = dataset.transform @ dataset.transform.translation(90, 0)
    write_scene("in/b.tif", seed=2, transform=beside)
    broken = tmp_path / "in/broken.tif"
    broken.write_bytes(b"no raster")
    words = ["run", tmp_path / "in", "-m", "kmeans:3", "-o", tmp_path / "out", "--dst-crs", "EPSG:32633",
             "--min-area", "4px", "-f", "fgb"]  # fmt: skip
    ended = geoseg_command(*words)
    assert ended.code == 1
    assert "without " in ended.err
    assert "broken.tif, which failed: run again when it is mended" in ended.err
    whole = tmp_path / "out/whole/EPSG_32633"
    parts = [read(tmp_path / f"out/{n}/{n}_classes.tif") for n in "ab"]
    found = read(whole / "EPSG_32633_classes.tif")
    assert found.shape == (70, 180)
    same = found == np.hstack(parts)
    assert same.mean() > 0.99  # regions that the border of files cut are merged as one
    assert (whole / "EPSG_32633_polygons.fgb").is_file()
    # what is mended joins the map, which is made of nothing but scenes: no --overwrite is needed
    write_scene("in/broken.tif", seed=3, transform=beside @ dataset.transform.translation(0, 0).translation(90, 0))
    assert geoseg_command(*words).code == 0
    assert read(whole / "EPSG_32633_classes.tif").shape == (70, 270)
    # and it is no scene of its own for those who look for scenes in the folder
    assert {m.name for m in find_maps(tmp_path / "out")} == {"a", "b", "broken"}


def test_what_cannot_be_one_map_is_told_and_the_scenes_stand(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    scene = write_scene(pixels=blobs(SIDE, SIDE), **place(180.0, 66.0, 32660))
    words = ["run", scene, "-m", "kmeans:3", "--no-polygons", "-o", tmp_path / "out"]
    torn = geoseg_command(*words, "--dst-crs", "EPSG:4326")
    assert torn.code == 1
    assert "EPSG_4326: scene lies on both ends of the map of EPSG:4326, which tears it apart" in torn.err
    assert "1 of 1 scenes done" in torn.err
    assert (tmp_path / "out/scene/scene_classes.tif").is_file()
    unknown = geoseg_command(*words, "--dst-crs", "EPSG:99999")
    assert (unknown.code, "the CRS 'EPSG:99999' is not known" in unknown.err) == (2, True)
    alone = geoseg_command(*words, "--dst-res", "10")
    assert (alone.code, "--dst-res is of no use without --dst-crs" in alone.err) == (2, True)
    planned = geoseg_command(*words, "--dst-crs", "EPSG:32660", "--dst-res", "20", "--dry-run")
    assert "one map of 1 scene in EPSG:32660: 30 x 31 px of 20 units" in planned.err
