"""Metres of ground per pixel, whatever the units of the CRS."""

import math

import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from geoseg.scene.gsd import gsd_m


def grid(crs: str, x: float, y: float, step_x: float, step_y: float) -> GeoBox:
    """100 x 100 px around a place."""
    return GeoBox((100, 100), Affine(step_x, 0, x - 50 * step_x, 0, -step_y, y + 50 * step_y), crs)


def test_a_utm_pixel_is_its_step_times_the_scale_of_the_projection() -> None:
    assert gsd_m(grid("EPSG:32633", 500_000, 5_000_000, 10, 10)) == pytest.approx(10 / 0.9996, rel=1e-6)


@pytest.mark.parametrize("latitude", [0, 45, 60, -60])
def test_a_web_mercator_pixel_shrinks_with_the_cosine_of_latitude(latitude: float) -> None:
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(10, latitude)
    assert gsd_m(grid("EPSG:3857", x, y, 10, 10)) == pytest.approx(10 * math.cos(math.radians(latitude)), rel=0.007)


def test_a_geographic_pixel_is_the_mean_of_its_two_sides() -> None:
    geod = Geod(ellps="WGS84")
    across = geod.inv(10, 50, 10.001, 50)[2]
    down = geod.inv(10, 50, 10, 49.999)[2]
    assert gsd_m(grid("EPSG:4326", 10, 50, 0.001, 0.001)) == pytest.approx(math.sqrt(across * down), rel=1e-6)


def test_feet_are_no_metres() -> None:
    assert gsd_m(grid("EPSG:2263", 990_000, 200_000, 10, 10)) == pytest.approx(3.048, rel=1e-3)


def test_a_rotated_grid_has_the_same_gsd() -> None:
    turned = GeoBox((100, 100), Affine(6, 8, 500_000, 8, -6, 5_000_000), "EPSG:32633")
    assert gsd_m(turned) == pytest.approx(10 / 0.9996, rel=1e-4)


def test_a_place_outside_the_earth_has_no_gsd() -> None:
    assert math.isnan(gsd_m(grid("EPSG:32633", 1e12, 1e12, 10, 10)))
