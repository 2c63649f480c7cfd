from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from geoseg.area.metric import Metric
from geoseg.area.perimeter import perimeters_m

UTM = GeoBox((1000, 1000), Affine(10, 0, 600_000, 0, -10, 5_000_040), "EPSG:32633")
UTM_METRIC = Metric.of(UTM)
E2 = 0.0066943799901413165
GEOD_M = 1e-7
"""What the lengths of a ring's edges by geodesics may be off together, each by some 15 nanometres."""


def dense_m(grid: GeoBox, ring: NDArray[np.float64]) -> float:
    """Length of straight lines on the grid by geodesics between points some 500 m apart: Karney's method, not ours."""
    to_lonlat = Transformer.from_crs(grid.crs.proj, 4326, always_xy=True)  # type: ignore[union-attr]
    geod, a = Geod(ellps="WGS84"), grid.transform
    total = 0.0
    for start, end in pairwise(ring):
        n = 16
        for _ in range(2):  # first to see how long the edge is: more points than needed would add their rounding
            t = np.linspace(0, 1, n + 1)[:, None]
            cols, rows = (start + t * (end - start)).T
            lon, lat = to_lonlat.transform(a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f)
            metres = geod.line_length(lon, lat)
            n = max(8, round(metres / 500)) if metres > 100 else 1
        total += metres
    return total


def perimeter_m(ring: NDArray[np.int32] | NDArray[np.float64], metric: Metric) -> float:
    return float(perimeters_m(ring, np.array([0, len(ring)]), np.array([0, 1]), metric)[0])


def closed(points: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.append(points, points[:1], axis=0).astype(np.float64)


def test_rings_of_all_sizes_have_the_length_of_dense_geodesics_on_every_kind_of_grid(grid: GeoBox) -> None:
    metric = Metric.of(grid)
    rows, cols = metric.shape
    rng = np.random.default_rng(11)
    for size in (1.0, 10.0, 300.0, 1e9):
        size_cols, size_rows = min(size, cols), min(size, rows)
        for _ in range(6):
            origin = rng.uniform(0, 1, 2) * (cols - size_cols, rows - size_rows)
            ring = closed(origin + rng.uniform(0, 1, (5, 2)) * (size_cols, size_rows))
            assert perimeter_m(ring, metric) == pytest.approx(dense_m(grid, ring), rel=1e-6, abs=GEOD_M)


def test_pixels_and_their_long_straight_borders_come_out_true_on_every_kind_of_grid(grid: GeoBox) -> None:
    metric = Metric.of(grid)
    rows, cols = metric.shape
    rng = np.random.default_rng(3)
    for _ in range(8):
        col, row = int(rng.integers(cols)), int(rng.integers(rows))
        for width, height in ((1, 1), (cols - col, 1), (1, rows - row)):
            pixels = np.array([[0, 0], [width, 0], [width, height], [0, height]])
            ring = closed(pixels + np.array([col, row]))
            expected = dense_m(grid, ring)
            assert perimeter_m(ring.astype(np.int32), metric) == pytest.approx(expected, rel=1e-6, abs=GEOD_M)


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:3995"])
def test_a_ring_through_the_pole_is_as_long_as_its_dense_twin(crs: str) -> None:
    grid = GeoBox((800, 800), Affine(250, 0, -1e5, 0, -250, 1e5), crs)
    ring = closed(np.array([[400, 0], [400, 800], [0, 800], [0, 0]]))  # its first edge passes the pole
    metric = Metric.of(grid)
    assert perimeter_m(ring.astype(np.int32), metric) == pytest.approx(dense_m(grid, ring), rel=1e-6)
    halves = closed(np.array([[400, 0], [400, 400], [400, 800], [0, 800], [0, 0]]))
    assert perimeter_m(halves, metric) == pytest.approx(perimeter_m(ring, metric), rel=1e-9)


@pytest.mark.parametrize("degrees", [30.0, 1.0, 0.1])
def test_a_quarter_of_a_meridian_is_ten_million_metres(degrees: float) -> None:
    n = round(90 / degrees)
    metric = Metric.of(GeoBox((n, 4), Affine(degrees, 0, 7, 0, -degrees, 90), "EPSG:4326"))
    ring = np.array([[2, 0], [2, n], [2, 0]], dtype=np.int32)
    assert perimeter_m(ring, metric) == pytest.approx(2 * 10_001_965.7293, rel=1e-8)


@pytest.mark.parametrize("degrees", [10.0, 1.0, 0.05])
def test_a_belt_around_the_earth_follows_its_parallels(degrees: float) -> None:
    rows, cols = round(180 / degrees), round(360 / degrees)
    metric = Metric.of(GeoBox((rows, cols), Affine(degrees, 0, -180, 0, -degrees, 90), "EPSG:4326"))
    for share in (0.0, 0.1, 0.25, 0.5):
        row = round(share * rows)
        lat = np.radians(90 - row * degrees)
        ring = np.array([[0, row], [cols, row], [0, row]], dtype=np.int32)
        parallel = 2 * np.pi * 6378137 * np.cos(lat) / np.sqrt(1 - E2 * np.sin(lat) ** 2)
        # the pole is a point; 1 m is 2e-8 of the equator
        assert perimeter_m(ring, metric) == pytest.approx(2 * parallel, rel=1e-6, abs=1.0)


def test_a_grid_with_pixels_centred_on_the_poles_is_no_worse() -> None:
    # half a pixel of such a grid is beyond each pole
    metric = Metric.of(GeoBox((721, 1440), Affine(0.25, 0, -180.125, 0, -0.25, 90.125), "EPSG:4326"))
    assert metric.error < 1e-6
    lat = np.radians(90.125 - 30 * 0.25)
    expected = 2 * np.pi * 6378137 * np.cos(lat) / np.sqrt(1 - E2 * np.sin(lat) ** 2)
    ring = np.array([[0, 30], [1440, 30], [0, 30]], dtype=np.int32)
    assert perimeter_m(ring, metric) == pytest.approx(2 * expected, rel=1e-6)


def test_holes_count_and_polygons_of_a_feature_add_up() -> None:
    squares = [
        np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) * k + o for k, o in ((9, 0), (1, 3), (2, 20), (5, 40))
    ]
    vertices = np.concatenate(squares).astype(np.int32)
    offsets = np.arange(5) * 5
    alone = perimeters_m(vertices, offsets, np.arange(5), UTM_METRIC)
    assert alone.tolist() == pytest.approx([4 * k * 10 / 0.9997 for k in (9, 1, 2, 5)], rel=1e-3)
    polygons = perimeters_m(vertices, offsets, np.array([0, 2, 3, 4]), UTM_METRIC)
    assert polygons.tolist() == [alone[0] + alone[1], alone[2], alone[3]]
    assert perimeters_m(vertices, offsets, np.array([0, 2, 4]), UTM_METRIC).tolist() == [
        alone[0] + alone[1],
        alone[2] + alone[3],
    ]


coordinates = st.integers(0, 1000)


@settings(deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=12), st.integers(0, 11), st.booleans())
def test_start_and_direction_of_a_ring_do_not_change_a_bit(
    points: list[tuple[int, int]], shift: int, turned: bool
) -> None:
    corners = np.array(points)
    other = np.roll(corners, shift, axis=0)[:: -1 if turned else 1]
    expected = perimeter_m(closed(corners), UTM_METRIC)
    assert perimeter_m(closed(other), UTM_METRIC) == expected
    assert perimeter_m(closed(other).astype(np.int32), UTM_METRIC) == expected


def test_the_pixels_of_a_drone_are_not_lost_in_rounding() -> None:
    drone = Metric.of(GeoBox((5000, 7000), Affine(0.02, 0, 1_113_194, 0, -0.02, 8_399_737), "EPSG:3857"))
    one = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], dtype=np.int32)
    hundred = 100 * one
    # Web Mercator's scale changes by 1.4e-7 over a metre
    assert 100 * perimeter_m(one, drone) == pytest.approx(perimeter_m(hundred, drone), rel=3e-7)


def test_the_borders_of_all_pixels_of_a_scene_can_be_one_perimeter() -> None:
    for metric in (UTM_METRIC, Metric.of(GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326"))):
        rows, cols = metric.shape
        longest = np.sqrt(metric.nodes[..., ::2].max())
        assert 2 * (rows + 1) * (cols + 1) * longest / metric.unit_m < 2**63
        assert np.frexp(metric.unit_m)[0] == 0.5
        assert metric.unit_m < 1e-6


def test_no_polygons_have_no_perimeters() -> None:
    empty = perimeters_m(np.empty((0, 2), dtype=np.int32), np.array([0]), np.array([0]), UTM_METRIC)
    assert empty.shape == (0,)
