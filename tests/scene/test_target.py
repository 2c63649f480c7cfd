"""One grid for scenes in many CRSs: as gdalwarp's, on round lines, and refused where the map tears scenes apart."""

import math

import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.warp import calculate_default_transform

from geoseg.errors import InputError, ParameterError
from geoseg.scene.target import Target, target_grid


def near(lon: float, lat: float, epsg: int, *, side: int = 500, size: float = 10.0) -> GeoBox:
    """A square scene about a place, its corner on a multiple of its pixels."""
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    left, top = (round(v / size - s * side / 2) * size for v, s in ((x, 1), (y, -1)))
    return GeoBox((side, side), Affine(size, 0, left, 0, -size, top), f"EPSG:{epsg}")


def grid_of(*grids: GeoBox, crs: str, resolution: float | None = None) -> GeoBox:
    return target_grid(grids, Target(crs=crs, resolution=resolution), names=[f"s{i}" for i in range(len(grids))])


@pytest.mark.filterwarnings("ignore:Use .@. matmul:PendingDeprecationWarning")  # rasterio multiplies affines with *
@pytest.mark.parametrize("crs", ["EPSG:3035", "EPSG:4326", "EPSG:32633", "EPSG:3857"])
def test_it_holds_all_scenes_at_the_resolution_that_gdal_would_take(crs: str) -> None:
    scenes = near(11.97, 48, 32632), near(12.03, 48, 32633, size=20)
    grid = grid_of(*scenes, crs=crs)
    suggested = [
        calculate_default_transform(str(s.crs), crs, s.shape[1], s.shape[0], *s.boundingbox.bbox)[0].a for s in scenes
    ]
    assert (grid.affine.a, grid.affine.e) == pytest.approx((min(suggested), -min(suggested)), rel=1e-3)
    assert (grid.affine.c / grid.affine.a) % 1 == pytest.approx(0, abs=1e-6)
    for scene in scenes:
        back = Transformer.from_crs(str(scene.crs), crs, always_xy=True)
        for i in range(0, 501, 50):
            for col, row in ((i, 0), (i, 500), (0, i), (500, i)):
                x, y = back.transform(*(scene.affine @ (col, row)))
                col_there, row_there = ~grid.affine @ (x, y)
                assert -0.01 <= col_there <= grid.shape[1] + 0.01
                assert -0.01 <= row_there <= grid.shape[0] + 0.01


def test_a_scene_in_the_crs_keeps_its_pixels() -> None:
    scene = GeoBox((30, 40), Affine(10, 0, 500_003, 0, -10, 5_000_007), "EPSG:32633")
    assert grid_of(scene, crs="EPSG:32633") == scene
    beside = GeoBox((30, 40), Affine(10, 0, 500_403, 0, -10, 5_000_007), "EPSG:32633")
    assert grid_of(scene, beside, crs="EPSG:32633").shape == (30, 80)
    coarse = grid_of(scene, crs="EPSG:32633", resolution=100)
    assert coarse.affine == Affine(100, 0, 500_000, 0, -100, 5_000_100)


@pytest.mark.parametrize("crs", ["EPSG:32601", "EPSG:32660", "EPSG:3413", "EPSG:3832"])
def test_scenes_on_both_sides_of_the_antimeridian_lie_side_by_side(crs: str) -> None:
    grid = grid_of(near(179.97, 66, 32660), near(-179.97, 66, 32601), crs=crs)
    assert math.prod(grid.shape) < 12 * 500**2


def test_what_the_map_tears_apart_is_refused() -> None:
    with pytest.raises(InputError, match=r"both sides of its antimeridian; choose another CRS"):
        grid_of(near(179.7, 66, 32660, side=2000), near(-179.7, 66, 32601, side=2000), crs="EPSG:4326")
    with pytest.raises(InputError, match=r"s0 lies on both ends of the map of EPSG:4326, which tears it apart"):
        grid_of(near(179.99, 66, 32660), crs="EPSG:4326")
    # far apart is far apart on any map
    with pytest.raises(InputError, match=r"cover .* % of one map"):
        grid_of(near(-60, -5, 32720), near(80, 20, 32644), crs="EPSG:4326")


@pytest.mark.parametrize("pole", [(3413, 90), (3031, -90)])
def test_a_scene_round_a_pole_keeps_its_pixels(pole: tuple[int, float]) -> None:
    scene = near(0, pole[1], pole[0], size=1000)
    assert grid_of(scene, crs=f"EPSG:{pole[0]}") == scene


@pytest.mark.parametrize(
    ("crs", "resolution", "message"),
    [
        ("EPSG:99999", None, "is not known"),
        ("EPSG:5773", None, "no CRS of a map"),
        ("EPSG:4978", None, "no CRS of a map"),
        ("EPSG:3035", 0.0, "above 0"),
        ("EPSG:3035", math.nan, "above 0"),
    ],
)
def test_what_is_no_grid_of_a_map_is_refused(crs: str, resolution: float | None, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Target(crs=crs, resolution=resolution)


def test_it_is_named_after_its_authority() -> None:
    assert Target(crs="EPSG:3035").name == "EPSG_3035"
    assert Target(crs="+proj=laea +lat_0=50 +lon_0=9 +datum=WGS84").name == "own_crs"
