import math
import pickle
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from geoseg.area import PixelAreas
from geoseg.area.interpolate import TAPS, stencil
from geoseg.errors import GeosegWarning, ParameterError

SINUSOIDAL = "+proj=sinu +R=6371007.181 +type=crs"
SCENES = {
    "interpolated": GeoBox((700, 1100), Affine(30, 0, 6e5, 0, -30, 5e6), "EPSG:32633"),
    "by row": GeoBox((700, 1100), Affine(0.01, 0, 10, 0, -0.01, 60), "EPSG:4326"),
    "each pixel a node": GeoBox((3, 4), Affine(30, 0, 6e5, 0, -30, 5e6), "EPSG:32633"),
}


def geodesic_area_m2(grid: GeoBox, row: int, col: int, size: int) -> float:
    """Area of a square of pixels by geodesics between many points of its outline: Karney's method, not ours."""
    n = 20 * size  # more points only add the rounding of shorter edges
    t, zero = np.linspace(0, size, n, endpoint=False), np.zeros(n)
    cols = col + np.concatenate([t, zero + size, size - t, zero])
    rows = row + np.concatenate([zero, t, zero + size, size - t])
    a = grid.transform
    to_lonlat = Transformer.from_crs(grid.crs.proj, 4326, always_xy=True)  # type: ignore[union-attr]
    lon, lat = to_lonlat.transform(a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f)
    return abs(float(Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0]))


def total_m2(areas: PixelAreas, row: int, col: int, height: int, width: int) -> float:
    return float(areas.units(row, col, height, width).sum()) * areas.unit_m2


def at_point(crs: str, lon: float, lat: float, *, gsd: float, size: int) -> GeoBox:
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    return GeoBox((size, size), Affine(gsd, 0, x - gsd * size / 2, 0, -gsd, y + gsd * size / 2), crs)


def test_areas_are_those_of_geodesic_outlines_on_every_kind_of_grid(grid: GeoBox) -> None:
    areas = PixelAreas.of(grid)
    assert areas.error < 1e-6
    height, width = areas.shape
    size = min(100, height, width)
    rng = np.random.default_rng(7)
    corners = [(0, 0), (height - size, width - size), (0, width - size), ((height - size) // 2, (width - size) // 2)]
    corners += [(int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))) for _ in range(4)]
    for row, col in corners:
        expected = geodesic_area_m2(grid, row, col, size)
        assert total_m2(areas, row, col, size, size) == pytest.approx(expected, rel=1e-6)


def test_single_large_pixels_come_out_true_although_their_sides_are_curved() -> None:
    areas = PixelAreas.of(GeoBox((120, 300), Affine(1e5, 0, -15e6, 0, -1e5, 6e6), "EPSG:6933"))
    for row, col in ((0, 0), (60, 150), (119, 299)):
        # an equal-area projection on the ellipsoid: the nominal area is the true one
        assert total_m2(areas, row, col, 1, 1) == pytest.approx(1e10, rel=1e-7)


def test_web_mercator_at_60_degrees_north_is_true_to_a_millionth() -> None:
    grid = at_point("EPSG:3857", 10, 60, gsd=10, size=2)
    e2 = 0.0066943799901413165
    # a 2 x 2 square around 60 degrees: the scale of the point, up to the square of 20 m over the Earth's radius
    scale = (1 - e2 * 0.75) ** 2 * 4 / (1 - e2)
    assert total_m2(PixelAreas.of(grid), 0, 0, 2, 2) == pytest.approx(400 / scale, rel=1e-8)


def test_a_geographic_world_is_the_whole_ellipsoid() -> None:
    areas = PixelAreas.of(GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326"))
    assert total_m2(areas, 0, 0, 180, 360) == pytest.approx(510065621724088.4, rel=1e-13)


def test_rows_beyond_the_poles_of_a_geographic_grid_have_no_area() -> None:
    areas = PixelAreas.of(GeoBox((190, 10), Affine(1, 0, 0, 0, -1, 95), "EPSG:4326"))
    units = areas.units(0, 0, 190, 10)
    assert (units[:5] == 0).all()
    assert (units[-5:] == 0).all()
    assert (units[5:-5] > 0).all()


@pytest.mark.parametrize("crs", ["ESRI:54009", SINUSOIDAL])
def test_pixels_of_a_world_map_are_true_up_to_its_edge(crs: str) -> None:
    grid = GeoBox((1020, 2040), Affine(2e4, 0, -20.4e6, 0, -2e4, 10.2e6), crs)
    areas = PixelAreas.of(grid)
    assert areas.error < 1e-6
    to_map = Transformer.from_crs(4326, crs, always_xy=True)
    for lat in (-75.0, -45.0, 0.0, 30.0, 60.0):
        for lon in (-178.5, 0.0, 178.5):
            x, y = to_map.transform(lon, lat)
            row, col = int((10.2e6 - y) / 2e4), int((x + 20.4e6) / 2e4)
            assert total_m2(areas, row, col, 1, 1) == pytest.approx(geodesic_area_m2(grid, row, col, 1), rel=1e-6)


@pytest.mark.parametrize("example", ["projected_area_error/utm_equator"], indirect=True)
def test_utm_has_the_published_areal_scale(example: dict[str, Any]) -> None:
    for point in example["expected"]["points"]:
        lon = 15 + point["dlon_from_central_meridian"]
        grid = at_point(f"EPSG:{example['inputs']['epsg']}", lon, point["lat"], gsd=10, size=2)
        scale = 400 / total_m2(PixelAreas.of(grid), 0, 0, 2, 2)
        assert scale - 1 == pytest.approx(point["areal_scale_minus_1"], abs=example["tolerance"]["absolute"])


@pytest.mark.parametrize(
    "example",
    ["projected_area_error/webmercator_true_scale", "projected_area_error/modis_sinusoidal_true_scale"],
    indirect=True,
)
def test_projections_on_a_sphere_have_their_true_areal_scale(example: dict[str, Any]) -> None:
    for point in example["expected"]["points"]:
        grid = at_point(example["inputs"]["crs"], point["lon"], point["lat"], gsd=30, size=2)
        scale = 3600 / total_m2(PixelAreas.of(grid), 0, 0, 2, 2)
        assert scale == pytest.approx(point["true_areal_scale"], rel=example["tolerance"]["finite_difference_relative"])


@pytest.mark.parametrize("example", ["geodesic_area/cell_vs_geodesic_45"], indirect=True)
def test_a_cell_between_parallels_is_not_a_geodesic_quadrilateral(example: dict[str, Any]) -> None:
    south, north = example["inputs"]["lat_south"], example["inputs"]["lat_north"]
    areas = PixelAreas.of(GeoBox((1, 1), Affine(1, 0, 7, 0, south - north, north), "EPSG:4326"))
    assert total_m2(areas, 0, 0, 1, 1) == pytest.approx(example["expected"]["cell_area_m2"], rel=1e-10)


@settings(deadline=None)
@given(st.sampled_from(sorted(SCENES)), st.data())
def test_the_units_of_a_pixel_do_not_depend_on_the_block(kind: str, data: st.DataObject) -> None:
    areas = PixelAreas.of(SCENES[kind])
    row, row_end = sorted(data.draw(st.tuples(*[st.integers(0, areas.shape[0])] * 2).filter(lambda t: t[0] != t[1])))
    col, col_end = sorted(data.draw(st.tuples(*[st.integers(0, areas.shape[1])] * 2).filter(lambda t: t[0] != t[1])))
    part = areas.units(row, col, row_end - row, col_end - col)
    whole: NDArray[np.int64] = areas.units(0, 0, *areas.shape)
    np.testing.assert_array_equal(part, whole[row:row_end, col:col_end])
    rows, cols = np.random.default_rng(row).integers(0, [[areas.shape[0]], [areas.shape[1]]], (2, 50))
    np.testing.assert_array_equal(areas.units_at(rows, cols), whole[rows, cols])


@pytest.mark.parametrize("kind", sorted(SCENES))
def test_pixels_are_the_cubics_through_the_nodes_around_them(kind: str) -> None:
    areas = PixelAreas.of(SCENES[kind])
    x, y = (stencil(n, m, np.arange(n)) for n, m in zip(areas.shape[::-1], areas.n_nodes[::-1], strict=True))
    expected = np.zeros(areas.shape)
    for i in range(TAPS):
        for j in range(TAPS):
            expected += y.weights[i, :, None] * x.weights[j] * areas.nodes[np.ix_(y.first + i, x.first + j)]
    np.testing.assert_allclose(areas.units(0, 0, *areas.shape), expected, rtol=1e-11)


def test_the_unit_is_a_power_of_two_and_the_scene_fits_an_int64(grid: GeoBox) -> None:
    areas = PixelAreas.of(grid)
    assert math.frexp(areas.unit_m2)[0] == 0.5
    assert areas.nodes.max() * areas.shape[0] * areas.shape[1] < 2**62
    smallest = areas.nodes[: areas.n_nodes[0], : areas.n_nodes[1]].min()
    assert 0.5 / smallest < 1e-8


def test_pixel_areas_travel_to_a_worker_unchanged() -> None:
    areas = PixelAreas.of(SCENES["interpolated"])
    sent = pickle.dumps(areas)
    assert len(sent) < 100_000
    np.testing.assert_array_equal(pickle.loads(sent).units(3, 5, 70, 80), areas.units(3, 5, 70, 80))


@pytest.mark.parametrize("block", [(-1, 0, 1, 1), (0, 0, 701, 1), (0, 1099, 1, 2)])
def test_a_block_outside_the_scene_is_refused(block: tuple[int, int, int, int]) -> None:
    with pytest.raises(ParameterError, match=r"is not within the scene of 700 x 1100 px: cut it at the scene's edge"):
        PixelAreas.of(SCENES["interpolated"]).units(*block)


def test_a_grid_without_a_crs_is_refused() -> None:
    with pytest.raises(ParameterError, match="has no CRS, so its areas are not known: assign the CRS of the scene"):
        PixelAreas.of(GeoBox((2, 2), Affine(1, 0, 0, 0, -1, 0), None))


def test_a_grid_off_the_earth_is_refused() -> None:
    with pytest.raises(ParameterError, match="no pixel of the grid is on Earth: check its CRS and transform"):
        PixelAreas.of(GeoBox((10, 10), Affine(1, 0, 0, 0, -1, 100), "EPSG:4326"))
    with pytest.raises(ParameterError, match="no pixel of the grid is on Earth: check its CRS and transform"):
        PixelAreas.of(GeoBox((10, 10), Affine(1000, 0, 9e7, 0, -1000, 9e7), "ESRI:54009"))


def test_a_local_crs_is_refused() -> None:
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    with pytest.raises(ParameterError, match="has no way to longitude and latitude"):
        PixelAreas.of(GeoBox((10, 10), Affine(1, 0, 0, 0, -1, 0), local))


def test_a_map_whose_areas_cannot_be_interpolated_says_how_good_they_are() -> None:
    half_globe = GeoBox((3000, 3000), Affine(4300, 0, -6.45e6, 0, -4300, 6.45e6), "+proj=ortho +lat_0=40 +type=crs")
    with pytest.warns(GeosegWarning, match="pixel areas of this grid are good to .* only"):
        PixelAreas.of(half_globe)
