"""Sample sizes and allocations against the papers; draws from real rasters, however they are stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.area.design import (
    ALLOCATIONS,
    Allocation,
    allocate,
    allocate_for,
    design_points,
    draw,
    expected_se,
    sample_size,
    shares,
)
from geoseg.area.pixel_area import PixelAreas
from geoseg.area.population import MapTotals, map_totals
from geoseg.errors import ParameterError, SceneError
from geoseg.scene.class_raster import open_class_raster

UTM = Affine(10, 0, 600_000, 0, -10, 5_000_000)
DEGREES = Affine(0.5, 0, 5, 0, -0.5, 60)
SEAM = Affine(1, 0, 170, 0, -1, 9)
WriteMap = Callable[..., Path]


@pytest.fixture
def write_map(tmp_path: Path) -> WriteMap:
    """A function that writes a class map and gives its path."""

    def write(name: str, pixels: NDArray[np.uint8], **changes: Any) -> Path:
        profile = {"crs": "EPSG:32633", "transform": UTM, "nodata": 255, "dtype": "uint8", "count": 1} | changes
        height, width = pixels.shape
        with rasterio.open(tmp_path / name, "w", driver="GTiff", height=height, width=width, **profile) as dataset:
            dataset.write(pixels, 1)
        return tmp_path / name

    return write


def some_classes(height: int = 150, width: int = 260) -> NDArray[np.uint8]:
    rng = np.random.default_rng(9)
    return rng.choice(np.array([1, 4, 7, 255], dtype=np.uint8), (height, width), p=[0.6, 0.3, 0.002, 0.098])


@pytest.mark.parametrize("example", ["sample_size/olofsson2014_n641"], indirect=True)
def test_sample_size_and_shares_of_the_paper(example: dict[str, Any]) -> None:
    inputs, expected = example["inputs"], example["expected"]
    weights, users = inputs["W"], inputs["anticipated_users_accuracy"]
    n = sample_size(weights, users, target_se=inputs["target_se"])
    assert n == pytest.approx(expected["n_exact"], rel=1e-9)
    assert np.ceil(n) == expected["n"] == example["published"]["n"]
    np.testing.assert_allclose(n * shares("proportional", weights, users), expected["proportional"], rtol=1e-9)
    np.testing.assert_allclose(n * shares("neyman", weights, users), expected["neyman"], rtol=1e-9)
    # the paper gives the rare strata 75 each and rounds the others to fives
    sizes = [round(w * 10_000_000) for w in weights]
    allocated = allocate(640, sizes, users=users, minimum=75)
    np.testing.assert_allclose(allocated, example["published"]["allocation_used_of_640"], atol=3)


@pytest.mark.parametrize("example", ["sample_size/openmrv_srs_n400"], indirect=True)
def test_one_stratum_is_a_simple_random_sample_for_a_variance(example: dict[str, Any]) -> None:
    inputs = example["inputs"]
    n = sample_size([1], [inputs["p"]], target_se=inputs["target_variance"] ** 0.5)
    assert n == pytest.approx(example["expected"]["n"], rel=1e-9)


@pytest.mark.parametrize("example", ["sample_size/acatama_srs_306"], indirect=True)
def test_one_stratum_is_a_simple_random_sample_for_an_interval(example: dict[str, Any]) -> None:
    """The tool of the example rounds 306.13 to 306; `geoseg areas` rounds up, so that the target is met."""
    inputs = example["inputs"]
    n = sample_size([1], [inputs["p"]], target_se=inputs["half_width"] / inputs["z"])
    assert n == pytest.approx(example["expected"]["n_exact"], rel=1e-9)


@pytest.mark.parametrize("method", ALLOCATIONS)
@pytest.mark.parametrize("target", [0.004, 0.02, 0.3])
def test_the_points_for_a_target_are_the_fewest_that_meet_it(method: Allocation, target: float) -> None:
    sizes, users = [700, 0, 40_000, 900], [0.5, 0.8, 0.98, 0.7]
    points = allocate_for(target, sizes, method=method, users=users, minimum=3)
    assert (points >= np.minimum(sizes, 3)).all()
    assert expected_se(points.tolist(), sizes, users) <= target * 1.001
    n = int(points.sum())
    if n > 9:
        fewer = allocate(n - 1, sizes, method=method, users=users, minimum=3)
        assert expected_se(fewer.tolist(), sizes, users) > target


def test_the_error_expected_is_that_of_samples_drawn() -> None:
    rng, sizes, users, points = np.random.default_rng(4), [400, 1600], [0.6, 0.9], [40, 90]
    right = [np.arange(size) < user * size for size, user in zip(sizes, users, strict=True)]
    drawn = [
        sum(rng.choice(r, n, replace=False).mean() * len(r) for r, n in zip(right, points, strict=True)) / sum(sizes)
        for _ in range(3000)
    ]
    assert np.std(drawn) == pytest.approx(expected_se(points, sizes, users), rel=0.05)


def test_a_small_population_needs_fewer_points() -> None:
    free = sample_size([1], [0.5], target_se=0.05)
    assert sample_size([1], [0.5], target_se=0.05, population=1000) == pytest.approx(free / (1 + free / 1000))


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) > 0),
    st.sampled_from(ALLOCATIONS),
    st.integers(2, 60),
    st.integers(1, 5000),
    st.floats(0, 1),
)
def test_allocations_keep_to_the_number_the_minimum_and_the_pixels(
    sizes: list[int], method: Any, minimum: int, n: int, accuracy: float
) -> None:
    users = [accuracy] * len(sizes)
    least = [min(minimum, size) for size in sizes]
    if n > sum(sizes) or sum(least) > n:
        with pytest.raises(ParameterError, match=r"cannot be drawn|do not give each"):
            allocate(n, sizes, method=method, users=users, minimum=minimum)
        return
    points = allocate(n, sizes, method=method, users=users, minimum=minimum)
    assert points.sum() == n
    assert (points >= least).all()
    assert (points <= sizes).all()


def test_allocations_by_rule() -> None:
    sizes, users = [1000, 9000, 90_000], [0.5, 0.8, 0.98]
    assert allocate(300, sizes, method="equal", users=users).tolist() == [100, 100, 100]
    assert allocate(300, sizes, method="proportional", users=users).tolist() == [3, 27, 270]
    assert allocate(300, sizes, method="compromise", users=users).tolist() == [50, 50, 200]
    neyman = allocate(300, sizes, method="neyman", users=users)
    spread = np.array(sizes) * np.sqrt(np.array(users) * (1 - np.array(users)))
    np.testing.assert_allclose(neyman, 300 * spread / spread.sum(), atol=1)
    # what a small stratum cannot take goes to the others; an empty one gets nothing
    assert allocate(300, [20, 0, 90_000, 90_000], method="equal", users=[0.8] * 4).tolist() == [20, 0, 140, 140]
    # where nothing is expected to be wrong, size is all there is to go by
    assert allocate(100, [100, 300], method="neyman", users=[1.0, 1.0]).tolist() == [25, 75]
    # the default minimum gives way, one that was asked for does not
    assert allocate(30, sizes, users=users).tolist() == [10, 10, 10]
    with pytest.raises(ParameterError, match="30 points do not give each of 3 strata 50: ask for 150 points or more"):
        allocate(30, sizes, users=users, minimum=50)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: sample_size([1], [0.8], target_se=0), "standard error of 0 cannot be aimed at"),
        (lambda: sample_size([1], [1.8], target_se=0.1), "expected accuracies 1.8: give shares from 0 to 1"),
        (lambda: shares(cast("Any", "fair"), [1], [0.8]), "no allocation 'fair': choose one of compromise"),
        (lambda: allocate_for(0.1, [9], users=[float("nan")]), "expected accuracies nan: give shares from 0 to 1"),
        (lambda: allocate(11, [4, 6], users=[0.8, 0.8]), "11 points cannot be drawn from 10 pixels"),
    ],
)
def test_designs_that_cannot_be_are_refused(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        call()


def test_totals_by_blocks_are_those_of_the_whole(write_map: WriteMap) -> None:
    classes = some_classes()
    held = map_totals(open_class_raster(write_map("a.tif", classes, tiled=True, blockxsize=16, blockysize=16)))
    assert held.legend.values == (1, 4, 7)
    assert held.pixels.tolist() == [(classes == v).sum() for v in (1, 4, 7)]
    areas = PixelAreas.of(held.raster.geobox)
    by_pixel = areas.units(0, 0, *classes.shape) * areas.unit_m2
    np.testing.assert_allclose(held.areas_m2, [by_pixel[classes == v].sum() for v in (1, 4, 7)], rtol=1e-12)
    assert held.index_of(np.array([7, 255, 1], dtype=np.uint8)).tolist() == [2, -1, 0]


def test_a_map_of_nothing_has_nothing_to_count(write_map: WriteMap) -> None:
    path = write_map("a.tif", np.full((20, 20), 255, dtype=np.uint8))
    with pytest.raises(SceneError, match=r"no class|all pixels are nodata"):
        map_totals(open_class_raster(path))


def pixels_of(held: MapTotals, points: list[int], seed: int = 0) -> NDArray[np.int64]:
    drawn = draw(held, points, seed=seed)
    return np.stack([drawn.value.astype(np.int64), drawn.row, drawn.col], axis=1)


def test_a_draw_does_not_depend_on_how_the_file_is_stored(write_map: WriteMap, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = some_classes()
    whole = map_totals(open_class_raster(write_map("strips.tif", classes, blockysize=7)))
    tiled = map_totals(open_class_raster(write_map("tiles.tif", classes, tiled=True, blockxsize=32, blockysize=48)))
    points = [60, 30, 10]
    drawn = pixels_of(whole, points)
    monkeypatch.setattr("geoseg.area.design._STRIP_PIXELS", 1)
    for held in (whole, tiled):
        np.testing.assert_array_equal(pixels_of(held, points), drawn)
    assert len(np.unique(drawn, axis=0)) == 100  # without replacement
    np.testing.assert_array_equal(classes[drawn[:, 1], drawn[:, 2]], drawn[:, 0])
    assert np.bincount(drawn[:, 0])[[1, 4, 7]].tolist() == points
    # another seed, other pixels; more points of one class, the same of the others
    assert not np.array_equal(pixels_of(whole, points, seed=1), drawn)
    np.testing.assert_array_equal(pixels_of(whole, [60, 99, 10])[-10:], drawn[-10:])


def test_all_pixels_of_a_class_may_be_drawn(write_map: WriteMap) -> None:
    classes = some_classes(30, 40)
    held = map_totals(open_class_raster(write_map("a.tif", classes)))
    drawn = pixels_of(held, held.pixels.tolist())
    np.testing.assert_array_equal(drawn[:, 1:], np.concatenate([np.argwhere(classes == v) for v in (1, 4, 7)]))
    with pytest.raises(ParameterError, match="points of class 7 are wanted and it has"):
        draw(held, [0, 0, int(held.pixels[2]) + 1], seed=0)


def test_every_pixel_of_a_class_is_drawn_equally_often(write_map: WriteMap) -> None:
    """4000 draws of 5 of 40 pixels: each is expected 500 times, with a standard deviation of 21."""
    classes = np.full((8, 10), 3, dtype=np.uint8)
    classes[::2] = 6
    held = map_totals(open_class_raster(write_map("a.tif", classes)))
    times = np.zeros((8, 10))
    for seed in range(4000):
        drawn = draw(held, [5, 0], seed=seed)
        times[drawn.row, drawn.col] += 1
    assert (times[::2] == 0).all()
    assert np.abs(times[1::2] - 500).max() < 4.5 * 21


def test_a_map_that_changes_meanwhile_is_said(write_map: WriteMap) -> None:
    classes = some_classes(40, 40)
    held = map_totals(open_class_raster(write_map("a.tif", classes)))
    write_map("a.tif", np.flip(np.where(classes == 1, np.uint8(4), classes), axis=0))
    with pytest.raises(SceneError, match="changed while points were drawn"):
        draw(held, [10, 5, 1], seed=0)


def test_points_lie_on_pixel_centres_and_carry_their_weights(write_map: WriteMap) -> None:
    classes = some_classes(40, 60)
    held = map_totals(open_class_raster(write_map("a.tif", classes, crs="EPSG:4326", transform=DEGREES, nodata=255)))
    points = design_points(held, draw(held, [20, 20, 2], seed=3), seed=3)
    assert list(points.columns) == [
        "id", "truth", "stratum", "class_name", "stratum_px", "stratum_m2", "lon", "lat", "geometry",
    ]  # fmt: skip
    col, row = (points.geometry.x - 5) / 0.5 - 0.5, (60 - points.geometry.y) / 0.5 - 0.5
    np.testing.assert_array_equal(classes[row.astype(int), col.astype(int)], points.stratum)
    np.testing.assert_allclose(col % 1, 0, atol=1e-9)
    assert points.truth.isna().all()
    assert points.id.tolist() == list(range(1, 43))
    assert points.crs.to_epsg() == 4326
    np.testing.assert_allclose(points.lon, points.geometry.x)
    sizes = points.groupby("stratum")[["stratum_px", "stratum_m2"]].first()
    assert sizes.stratum_px.tolist() == held.pixels.tolist()
    assert sizes.stratum_m2.tolist() == held.areas_m2.tolist()
    assert not points.stratum.is_monotonic_increasing  # the order tells nothing


def test_the_longitudes_of_points_are_those_of_every_map(write_map: WriteMap) -> None:
    held = map_totals(open_class_raster(write_map("a.tif", some_classes(20, 40), transform=SEAM, crs=4326)))
    points = design_points(held, draw(held, [40, 40, 0], seed=1), seed=1)
    assert points.lon.max() < 180 < points.geometry.x.max() < 210
    np.testing.assert_allclose((points.geometry.x - points.lon) % 360, 0, atol=1e-9)


def test_blind_points_do_not_tell_the_class_of_the_map(write_map: WriteMap) -> None:
    held = map_totals(open_class_raster(write_map("a.tif", some_classes(40, 60))))
    drawn = draw(held, [20, 20, 2], seed=3)
    told, blind = (design_points(held, drawn, seed=3, blind=b) for b in (False, True))
    assert "class_name" not in blind
    assert set(blind.stratum) == {1, 2, 3}  # codes: the classes are 1, 4 and 7
    assert (blind.geometry == told.geometry).all()
    # the same partition, with the same weights
    assert len(set(zip(told.stratum, blind.stratum, strict=True))) == 3
    assert blind.stratum_px.tolist() == told.stratum_px.tolist()
