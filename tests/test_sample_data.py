"""The committed sample data is what its README says, and the generator makes it."""

import hashlib
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from geoseg.scene.class_raster import open_class_raster
from sample_data.classes import BANDS, DATES, LEGEND
from sample_data.make import SIZE, write
from sample_data.noise import cells, fractal, hash01, nearest_on_line, parcels
from sample_data.place import NO_TRUTH, canvas_shape, make_place, quads
from sample_data.score import SCENES, TRUTH, confusion, iou

FOLDER = SCENES.parent
NAMES = sorted(f"valley_{quad}_{date}" for quad in ("west", "centre", "east") for date in DATES)
SMALL = 96


def digest(folder: Path) -> str:
    """Of the pixels and tables, not of the bytes: compression may differ between GDAL versions."""
    state = hashlib.sha256()
    for path in sorted(folder.rglob("*.tif")):
        with rasterio.open(path) as dataset:
            state.update(dataset.read().tobytes())
            state.update(repr((dataset.transform, dataset.tags(), dataset.scales)).encode())
    for path in sorted(folder.glob("*.gpkg")):
        state.update(gpd.read_file(path).to_wkt().to_csv().encode())
    return state.hexdigest()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write(folder, seed=7, size=SMALL)
    return folder


def test_six_scenes_with_truth_and_nothing_else() -> None:
    assert sorted(path.name for path in SCENES.iterdir()) == [f"{name}.tif" for name in NAMES]
    assert sorted(path.name for path in TRUTH.iterdir()) == [f"{name}.tif" for name in NAMES]


def test_all_data_stay_below_fifteen_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.suffix in (".tif", ".gpkg")) < 15_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_says_what_its_pixels_mean(name: str) -> None:
    with rasterio.open(SCENES / f"{name}.tif") as scene:
        assert scene.crs.to_epsg() == 32632
        assert scene.shape == (SIZE, SIZE)
        assert scene.res == (10.0, 10.0)
        assert scene.descriptions == BANDS
        assert set(scene.dtypes) == {"uint16"}
        assert scene.nodata == 0
        assert scene.scales == (0.0001,) * len(BANDS)
        assert scene.block_shapes == [(256, 256)] * len(BANDS)
        date = name[-8:]
        assert scene.tags()["TIFFTAG_DATETIME"].startswith(f"{date[:4]}:{date[4:6]}:{date[6:]}")
        pixels = scene.read()
    empty = pixels == 0
    assert (empty.all(axis=0) == empty.any(axis=0)).all(), "nodata is the same in every band"
    assert np.percentile(pixels[:, ~empty[0]], 99.9) < 10_000, "reflectance below 1"


@pytest.mark.parametrize("name", NAMES)
def test_truth_lies_on_its_scene(name: str) -> None:
    with rasterio.open(SCENES / f"{name}.tif") as scene, rasterio.open(TRUTH / f"{name}.tif") as truth:
        assert (truth.crs, truth.transform, truth.shape) == (scene.crs, scene.transform, scene.shape)
        assert truth.nodata == NO_TRUTH
        classes = truth.read(1)
        np.testing.assert_array_equal(classes == NO_TRUTH, scene.read(1) == 0)
        assert set(np.unique(classes)) - {NO_TRUTH} == set(LEGEND.values), "every class is in every scene"
        palette = truth.colormap(1)
        for each in LEGEND:
            assert palette[each.value][:3] == each.rgb
    assert open_class_raster(TRUTH / f"{name}.tif").legend.names == LEGEND.names


def test_quads_overlap_or_touch_and_agree_where_they_overlap() -> None:
    for date in DATES:
        bounds, strips = [], []
        for quad in ("west", "centre", "east"):
            with rasterio.open(SCENES / f"valley_{quad}_{date}.tif") as scene:
                bounds.append(scene.bounds)
                strips.append(scene.read())
        shared = [int((a.right - b.left) / 10) for a, b in pairwise(bounds)]
        assert shared == [SIZE // 25, 0]
        np.testing.assert_array_equal(strips[0][..., -shared[0] :], strips[1][..., : shared[0]])


def test_the_land_changed_but_little() -> None:
    for quad in ("west", "centre", "east"):
        with (
            rasterio.open(TRUTH / f"valley_{quad}_{DATES[0]}.tif") as a,
            rasterio.open(TRUTH / f"valley_{quad}_{DATES[1]}.tif") as b,
        ):
            before, after = a.read(1), b.read(1)
        seen = (before != NO_TRUTH) & (after != NO_TRUTH)
        assert 0.005 < (before != after)[seen].mean() < 0.08
        assert ((before == 4) & (after == 5)).any(), "houses on fields"
        assert ((before == 2) & (after == 6)).any(), "felled forest"


def test_zones_are_a_coverage_of_the_scenes() -> None:
    assert pyogrio.list_layers(FOLDER / "zones.gpkg")[:, 0].tolist() == ["zones"]
    zones = gpd.read_file(FOLDER / "zones.gpkg")
    assert {"zone_id", "name"} <= set(zones.columns)
    assert zones["name"].is_unique
    assert zones.crs.to_epsg() == 32632
    assert zones.geometry.is_valid.all()
    assert shapely.coverage_is_valid(zones.geometry.to_numpy())
    boxes = []
    for path in sorted(SCENES.glob("*.tif")):
        with rasterio.open(path) as scene:
            boxes.append(shapely.box(*scene.bounds))
    assert shapely.union_all(boxes).symmetric_difference(zones.union_all()).area == pytest.approx(0.0, abs=1.0)


def test_reference_points_tell_the_truth() -> None:
    path = FOLDER / "reference_points.gpkg"
    points = gpd.read_file(path)
    assert "Stratified random" in str(pyogrio.read_info(path)["layer_metadata"])
    assert points["point_id"].is_unique
    assert not points.geometry.duplicated().any()
    assert (points.groupby("stratum").size() == points.groupby("stratum")["sample_px"].first()).all()
    for date in DATES:
        found = np.full(len(points), NO_TRUTH)
        for quad in ("west", "centre", "east"):
            with rasterio.open(TRUTH / f"valley_{quad}_{date}.tif") as truth:
                places = zip(points.geometry.x, points.geometry.y, strict=True)
                at = np.array([value[0] for value in truth.sample(places)])
            found = np.where(at != NO_TRUTH, at, found)
        np.testing.assert_array_equal(found, points[f"class_{date}"])
        names = {c.value: c.name for c in LEGEND}
        assert [names[value] for value in points[f"class_{date}"]] == points[f"name_{date}"].tolist()


def test_strata_add_up_to_all_pixels_seen_twice() -> None:
    height, width = canvas_shape(SIZE)
    seen = np.ones((height, width), dtype=bool)
    for date in DATES:
        canvas = np.zeros((height, width), dtype=bool)
        for quad, left in quads(SIZE).items():
            with rasterio.open(TRUTH / f"valley_{quad}_{date}.tif") as truth:
                canvas[:, left : left + SIZE] |= truth.read(1) != NO_TRUTH
        seen &= canvas
    strata = gpd.read_file(FOLDER / "reference_points.gpkg").groupby("stratum")["stratum_px"].first()
    assert strata.sum() == seen.sum()


def test_the_same_seed_makes_the_same_place(small: Path, tmp_path: Path) -> None:
    write(tmp_path, seed=7, size=SMALL)
    assert digest(tmp_path) == digest(small)


def test_another_seed_makes_another_place() -> None:
    here, there = make_place(7, SMALL), make_place(8, SMALL)
    a, b = here.views[0].truth, there.views[0].truth
    assert (a != b).mean() > 0.3
    assert here.transform != there.transform


def test_a_small_place_has_all_its_files(small: Path) -> None:
    assert sorted(path.stem for path in (small / "scenes").iterdir()) == NAMES
    assert len(gpd.read_file(small / "zones.gpkg")) >= 2


def test_a_hash_depends_on_its_keys_alone() -> None:
    draw = hash01(np.arange(20_000), 5)
    np.testing.assert_array_equal(draw, hash01(np.arange(20_000), 5))
    assert (draw != hash01(np.arange(20_000), 6)).mean() > 0.999
    assert draw.min() >= 0.0
    assert draw.max() < 1.0
    assert draw.mean() == pytest.approx(0.5, abs=0.01)


def test_a_fractal_field_is_rougher_with_a_smaller_exponent() -> None:
    rng = np.random.default_rng(0)
    rough, smooth = (fractal(rng, (64, 80), beta=beta, longest_px=40) for beta in (1.0, 3.0))
    for field in (rough, smooth):
        assert field.mean() == pytest.approx(0.0, abs=1e-4)
        assert field.std() == pytest.approx(1.0, abs=1e-4)
    assert np.abs(np.diff(rough)).mean() > 2 * np.abs(np.diff(smooth)).mean()


def test_cells_are_those_of_the_nearest_points_and_parcels_stay_inside_them() -> None:
    rows, cols = (axis.astype(np.float32) for axis in np.mgrid[0:60, 0:90])
    area = cells(rows, cols, cell_px=25.0, seed=3)
    pieces = parcels(rows, cols, area, width_px=(4, 8), length_px=(6, 12), seed=4)
    assert len(np.unique(area.id)) > 4
    # A parcel belongs to one cell.
    assert len(np.unique(pieces.id)) == len(np.unique(np.stack([pieces.id, area.id]).reshape(2, -1), axis=1).T)
    # Where the border is more than a pixel away the neighbour is in the same cell, but for corners where three meet.
    inner = area.edge_px[:, :-1] > 1.0
    assert (area.id[:, :-1] == area.id[:, 1:])[inner].mean() > 0.999


def test_distance_to_a_line_is_that_to_its_nearest_point() -> None:
    points = np.stack([np.linspace(0, 20, 200), np.linspace(3, 28, 200)], axis=1)
    distance, at = nearest_on_line(points, (20, 30))
    row, col = np.mgrid[0:20, 0:30] + 0.5
    exact = np.hypot(row[..., None] - points[:, 0], col[..., None] - points[:, 1]).min(axis=-1)
    # One point stands for each pixel of the line, so the distance may be up to a pixel too long, never too short.
    assert (distance > exact - 1e-3).all()
    np.testing.assert_allclose(distance, exact, atol=1.0)
    assert at.min() >= 0


def test_confusion_counts_by_hand() -> None:
    truth, mapped = np.array([[1, 1, 2, NO_TRUTH]], np.uint8), np.array([[1, 2, 2, 1]], np.uint8)
    counts = confusion(truth, mapped)
    assert counts.sum() == 3
    assert iou(counts)[:2].tolist() == [0.5, 0.5]
    assert np.isnan(iou(counts)[2:]).all()


def test_truth_scores_one_against_itself(small: Path) -> None:
    counts = {}
    for path in (small / "truth").iterdir():
        with rasterio.open(path) as truth:
            counts[path.stem] = confusion(truth.read(1), truth.read(1))
    assert len(counts) == len(NAMES)
    assert np.nanmean(iou(np.sum(list(counts.values()), axis=0))) == 1.0
