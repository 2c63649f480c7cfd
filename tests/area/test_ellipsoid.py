from typing import Any

import numpy as np
import pytest

from geoseg.area.ellipsoid import SEMI_MAJOR_M, authalic_difference, polar_plane, zone_areas_m2


@pytest.mark.parametrize("example", ["geodesic_area/wgs84_total_area"], indirect=True)
def test_all_zones_make_up_the_ellipsoid(example: dict[str, Any]) -> None:
    zones = zone_areas_m2(np.radians(np.linspace(-90, 90, 1801)), 2 * np.pi)
    assert zones.sum() == pytest.approx(example["expected"]["area_m2"], rel=1e-12)


@pytest.mark.parametrize("example", ["geodesic_area/cells_1deg_0_30_45_60"], indirect=True)
def test_cells_of_one_degree_have_the_published_areas(example: dict[str, Any]) -> None:
    for cell in example["expected"]["cells"]:
        edges = np.radians([cell["lat_south"], cell["lat_north"]])
        (found,) = zone_areas_m2(edges, np.radians(cell["dlon"]))
        assert found == pytest.approx(cell["area_m2"], rel=1e-10)


def test_a_strip_of_a_millimetre_is_as_precise_as_a_wide_one() -> None:
    # one millimetre of latitude: the strip's area is its width times the length of its parallel
    for degrees in (0.0, 45.0, 89.9):
        lat, dlat = np.radians(degrees), 1e-3 / SEMI_MAJOR_M
        (found,) = zone_areas_m2(np.array([lat - dlat / 2, lat + dlat / 2]), 1.0)
        e2 = 0.0066943799901413165
        w2 = 1 - e2 * np.sin(lat) ** 2
        # the latitudes themselves are rounded to 1e-16 rad, which is 1e-6 of the strip
        assert found == pytest.approx(SEMI_MAJOR_M**2 * (1 - e2) * np.cos(lat) * dlat / w2**2, rel=2e-6)


def test_beyond_the_poles_there_is_nothing() -> None:
    zones = zone_areas_m2(np.radians([95.0, 92.0, 90.0, 89.0, -89.0, -90.0, -93.0]), 1.0)
    assert (zones[[0, 1, 5]] == 0).all()
    assert zones[2] == zones[4] > 0


def test_the_polar_plane_keeps_area_around_both_poles() -> None:
    for pole in (1.0, -1.0):
        lon = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
        lat = np.full_like(lon, pole * np.radians(60))
        x, y = polar_plane(lon, lat, north=np.full(lon.shape, pole > 0))
        found = abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
        (cap,) = zone_areas_m2(np.sort(np.array([pole * np.pi / 2, pole * np.radians(60)])), 2 * np.pi)
        assert found == pytest.approx(cap, rel=1e-7)


def test_the_difference_is_additive() -> None:
    south, middle, north = (np.radians(np.array([v])) for v in (-33.0, 12.5, 89.0))
    whole = authalic_difference(south, north)
    parts = authalic_difference(south, middle) + authalic_difference(middle, north)
    np.testing.assert_allclose(whole, parts, rtol=1e-14)
