"""Between two datums the ground does not jump within a scene, whatever operation is chosen."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from pyproj import CRS, Geod, Transformer

from geoseg.area.aoi import bbox_aoi
from geoseg.area.metric import Metric
from geoseg.area.operation import lattice, steady
from geoseg.area.pixel_area import PixelAreas
from geoseg.area.zone_areas import zone_areas
from geoseg.area.zones import zones_of

# CRS, longitude and latitude of a place where PROJ goes over from one operation to another
SEAMS = [(5514, 16.6374, 49.0), (23032, 10.4468, 44.1), (26710, -125.3, 49.0)]


def grid(epsg: int, lon: float, lat: float, side: int = 400) -> GeoBox:
    """10 m pixels about a place."""
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    return GeoBox((side, side), Affine(10, 0, round(x) - side * 5, 0, -10, round(y) + side * 5), f"EPSG:{epsg}")


@pytest.mark.parametrize(("epsg", "lon", "lat"), SEAMS)
def test_pixels_have_the_areas_of_their_own_ellipsoid_nearly(epsg: int, lon: float, lat: float) -> None:
    box = grid(epsg, lon, lat)
    areas = PixelAreas.of(box)
    found = areas.units(0, 0, *box.shape)[::50, ::50] * areas.unit_m2
    assert areas.nodes.shape == (4, 4)
    # the projection alone, without a datum; ellipsoids differ by some 1e-5
    crs = CRS.from_epsg(epsg)
    back = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    assert crs.ellipsoid is not None
    geod = Geod(a=crs.ellipsoid.semi_major_metre, rf=crs.ellipsoid.inverse_flattening)
    for i, j in ((0, 0), (3, 4), (7, 7)):
        corners = [box.transform @ (50 * j + dc, 50 * i + dr) for dc, dr in ((0, 0), (1, 0), (1, 1), (0, 1))]
        expected, _ = geod.polygon_area_perimeter(*back.transform(*np.transpose(corners)))
        assert found[i, j] == pytest.approx(abs(expected), rel=1e-4)
    assert np.ptp(found) < 0.01
    assert Metric.of(box).error < 1e-9


@pytest.mark.parametrize(("epsg", "lon", "lat"), SEAMS)
def test_a_zone_across_the_line_is_placed_and_measured(epsg: int, lon: float, lat: float) -> None:
    box = grid(epsg, lon, lat)
    corners = lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01
    zones = gpd.GeoDataFrame({"name": ["a"]}, geometry=[shapely.box(*corners)], crs=4326)
    table = zone_areas(wrap_xr(np.ones(box.shape, np.uint8), box, nodata=255), zones_of(zones, "name")).table
    dense = shapely.segmentize(zones.geometry[0], 1e-4)  # parallels are no geodesics
    expected = abs(Geod(ellps="WGS84").geometry_area_perimeter(dense)[0])
    assert table.zone_area_m2[0] == pytest.approx(expected, rel=1e-6)
    assert table.area_m2[0] == pytest.approx(expected, rel=1e-6)
    inside = bbox_aoi(corners).inside(box)
    assert inside is not None
    assert inside.n_pixels == pytest.approx(expected / 100, rel=2e-3)


def test_the_operation_is_that_of_the_region() -> None:
    # NAD27 has one for Canada and one for the United States
    names = [steady(4267, 4326, np.array([lon]), np.array([lat])).description for lon, lat in ((-110, 53), (-95, 35))]
    assert names[0] != names[1]
    there = steady(4326, 4267, np.array([-110.0]), np.array([53.0]), of_target=True)
    x, y = there.transform(-110.0, 53.0)
    assert steady(4267, 4326, np.array([-110]), np.array([53])).transform(x, y) == pytest.approx((-110, 53), abs=1e-8)


def test_places_that_are_nowhere_do_not_count() -> None:
    x, y = lattice(GeoBox((2, 2), Affine(2e7, 0, -2e7, 0, -2e7, 2e7), "ESRI:54009"))
    assert np.isinf(Transformer.from_crs("ESRI:54009", 4326, always_xy=True).transform(x, y)[0]).any()
    assert steady("ESRI:54009", 4326, x, y).transform(0.0, 0.0) == pytest.approx((0, 0))
    nowhere = np.array([np.inf])
    assert np.isfinite(steady(4267, 4326, nowhere, nowhere).transform(-100.0, 40.0)).all()


@pytest.mark.parametrize(
    ("epsg", "transform"),
    [
        (4272, Affine(0.01, 0, 183, 0, -0.01, -44)),
        (4267, Affine(0.01, 0, 190, 0, -0.01, 60)),
        (3857, Affine.translation(2.0037e7, 6e6) @ Affine.rotation(55) @ Affine.scale(300, -300)),
    ],
    ids=["New Zealand from 0 to 360", "Alaska from 0 to 360", "turned Web Mercator across the antimeridian"],
)
def test_a_turn_further_areas_are_the_same(epsg: int, transform: Affine) -> None:
    turn = 360.0 if epsg != 3857 else 2e7
    here, there = (
        PixelAreas.of(GeoBox((30, 30), Affine.translation(dx, 0) @ transform, f"EPSG:{epsg}")) for dx in (0.0, -turn)
    )
    for areas in (here, there):
        assert areas.error < 1e-9
    found, expected = (a.units(0, 0, 30, 30) * a.unit_m2 for a in (here, there))
    np.testing.assert_allclose(found, expected, rtol=1e-7)
