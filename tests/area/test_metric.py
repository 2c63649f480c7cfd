import pickle

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from geoseg.area.metric import Metric, tensor_at
from geoseg.errors import GeosegWarning, ParameterError


def geodesic_m(grid: GeoBox, cols: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    """Length of geodesics between points of the grid in turn: Karney's method, not ours."""
    to_lonlat = Transformer.from_crs(grid.crs.proj, 4326, always_xy=True)  # type: ignore[union-attr]
    a = grid.transform
    lon, lat = to_lonlat.transform(a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f)
    return float(Geod(ellps="WGS84").line_length(lon, lat))


def test_steps_in_any_direction_have_their_geodesic_length_on_every_kind_of_grid(grid: GeoBox) -> None:
    metric = Metric.of(grid)
    assert metric.error < 1e-6
    rng = np.random.default_rng(5)
    rows, cols = metric.shape
    step = 100 / np.sqrt(metric.nodes[..., ::2].max())  # about 100 m
    for _ in range(60):
        col, row, angle = rng.uniform(0, cols), rng.uniform(0, rows), rng.uniform(0, np.pi)
        dc, dr = step * np.cos(angle), step * np.sin(angle)
        e, f, g = tensor_at(metric.nodes, row / rows, col / cols)
        expected = geodesic_m(grid, col + np.array([-dc, dc]), row + np.array([-dr, dr]))
        assert 2 * np.sqrt(e * dc**2 + 2 * f * dc * dr + g * dr**2) == pytest.approx(expected, rel=1e-6)


def test_in_a_cell_the_metric_is_linear_to_a_hundred_millionth_of_a_length(grid: GeoBox) -> None:
    metric = Metric.of(grid)
    cell, (rows, cols) = metric.cell_px, metric.shape
    if cell == 0:
        pytest.skip("single pixels are too large")
    rng = np.random.default_rng(6)

    def tensor(col: float, row: float) -> NDArray[np.float64]:
        return np.array(tensor_at(metric.nodes, row / rows, col / cols))

    scale = np.array([metric.nodes[..., 0].max(), 1, metric.nodes[..., 2].max()])
    scale[1] = np.sqrt(scale[0] * scale[2])
    for _ in range(60):
        half = min(cell, rows, cols) / 2
        col, row = rng.uniform(half, cols - half), rng.uniform(half, rows - half)
        middle = tensor(col, row)
        across = (tensor(col + half, row) - tensor(col - half, row)) / 2
        down = (tensor(col, row + half) - tensor(col, row - half)) / 2
        for right, below in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            off = tensor(col + right * half, row + below * half) - (middle + right * across + below * down)
            assert np.abs(off / scale).max() / 2 < 2e-8


def test_the_area_of_a_pixel_is_the_root_of_the_determinant() -> None:
    grid = GeoBox((1000, 1000), Affine(8, -6, 4e6, -6, -8, 3e6), "EPSG:3035")  # equal-area
    e, f, g = tensor_at(Metric.of(grid).nodes, 0.3, 0.8)
    assert np.sqrt(e * g - f * f) == pytest.approx(100, rel=1e-7)


def test_a_world_map_is_refined_along_the_axis_it_changes_on() -> None:
    metric = Metric.of(GeoBox((18_000, 36_000), Affine(0.01, 0, -180, 0, -0.01, 90), "EPSG:4326"))
    assert metric.nodes.shape[0] > 200
    assert metric.nodes.shape[1] == 36_000 // 512 + 2
    assert metric.error < 1e-6


@pytest.mark.parametrize("crs", ["ESRI:54009", "+proj=sinu +R=6371007.181 +type=crs"])
def test_a_map_of_the_world_is_good_where_it_is_the_world(crs: str) -> None:
    grid = GeoBox((1020, 2040), Affine(2e4, 0, -20.4e6, 0, -2e4, 10.2e6), crs)
    with pytest.warns(GeosegWarning, match="lengths on this grid are good to .* only"):
        metric = Metric.of(grid)  # off the world's edge nothing is smooth
    for lat in (-60.0, -30.0, 0.0, 45.0):
        for lon in (-120.0, 0.0, 90.0):
            x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
            row, col = (10.2e6 - y) / 2e4, (x + 20.4e6) / 2e4
            e, f, g = tensor_at(metric.nodes, row / 1020, col / 2040)
            for dc, dr in ((0.005, 0), (0, 0.005), (0.004, -0.003)):
                expected = geodesic_m(grid, col + np.array([-dc, dc]), row + np.array([-dr, dr]))
                assert 2 * np.sqrt(e * dc**2 + 2 * f * dc * dr + g * dr**2) == pytest.approx(expected, rel=1e-5)


def test_a_map_whose_lengths_cannot_be_interpolated_says_how_good_they_are() -> None:
    half_globe = GeoBox((3000, 3000), Affine(4300, 0, -6.45e6, 0, -4300, 6.45e6), "+proj=ortho +lat_0=40 +type=crs")
    with pytest.warns(GeosegWarning, match="lengths on this grid are good to .* only"):
        Metric.of(half_globe)


def test_a_metric_travels_to_a_worker_unchanged() -> None:
    metric = Metric.of(GeoBox((700, 1100), Affine(30, 0, 6e5, 0, -30, 5e6), "EPSG:32633"))
    sent = pickle.dumps(metric)
    assert len(sent) < 100_000
    back = pickle.loads(sent)
    np.testing.assert_array_equal(back.nodes, metric.nodes)
    assert (back.shape, back.piece_px, back.unit_m) == (metric.shape, metric.piece_px, metric.unit_m)


def test_a_grid_without_a_crs_is_refused() -> None:
    with pytest.raises(ParameterError, match="has no CRS, so its lengths are not known: assign the CRS of the scene"):
        Metric.of(GeoBox((2, 2), Affine(1, 0, 0, 0, -1, 0), None))


def test_a_grid_off_the_earth_is_refused() -> None:
    with pytest.raises(ParameterError, match="no pixel of the grid is on Earth: check its CRS and transform"):
        Metric.of(GeoBox((10, 10), Affine(1000, 0, 9e7, 0, -1000, 9e7), "ESRI:54009"))


def test_a_local_crs_is_refused() -> None:
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    with pytest.raises(ParameterError, match="has no way to longitude and latitude"):
        Metric.of(GeoBox((10, 10), Affine(1, 0, 0, 0, -1, 0), local))
