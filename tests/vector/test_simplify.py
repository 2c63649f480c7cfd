from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.vector.polygonize import polygonize
from geoseg.vector.simplify import AreaChange, Distance, area_change, parse_distance, simplify_coverage
from geoseg.vector.smooth import fixed_vertices, smooth_rings

IDENTITY = Affine(1, 0, 0, 0, 1, 0)
NODATA = 255
unhurried = settings(deadline=None)  # the first call compiles

values = st.sampled_from([0, 3, 9, NODATA])
noisy = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=values)
blocky = st.tuples(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=values),
    st.integers(1, 5),
    st.integers(1, 3),
).map(lambda t: t[0].repeat(t[1], axis=0).repeat(t[2], axis=1))
maps = st.one_of(noisy, blocky)
tolerances = st.sampled_from([0.4, 0.8, 1.0, 1.5, 3.0, 100.0])


def covered(classes: NDArray[np.uint8], *, smooth: bool = False) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Polygons of all regions of a map on the pixel grid, those of nodata too, and which have data."""
    polygons = polygonize(classes, transform=IDENTITY, nodata=254)
    keep = polygons.class_id != NODATA
    if not smooth:
        return polygons.geometry, keep
    rings = polygons.rings
    fixed = fixed_vertices(np.pad(classes, 1), rings.vertices)
    vertices, offsets = smooth_rings(rings.vertices, rings.ring_offsets, fixed)
    geometry = shapely.from_ragged_array(shapely.GeometryType.POLYGON, vertices, (offsets, rings.polygon_offsets))
    return geometry, keep


def pieces(geometry: NDArray[np.object_]) -> list[shapely.Geometry]:
    return list(shapely.normalize(geometry))


@unhurried
@given(maps, tolerances, st.booleans())
def test_a_simplified_coverage_is_valid_fills_the_map_and_has_every_polygon(
    classes: NDArray[np.uint8], tolerance: float, smooth: bool
) -> None:
    geometry, _ = covered(classes, smooth=smooth)
    simple = simplify_coverage(geometry, tolerance)
    assert len(simple) == len(geometry)
    assert (shapely.get_type_id(simple) == shapely.GeometryType.POLYGON).all()
    assert shapely.is_valid(simple).all()
    assert (shapely.area(simple) > 0).all()
    assert shapely.coverage_is_valid(simple)
    assert shapely.area(simple).sum() == pytest.approx(classes.size, rel=1e-12)
    assert shapely.union_all(simple).equals(shapely.box(0, 0, *classes.shape[::-1]))
    assert shapely.is_ccw(shapely.get_exterior_ring(simple)).all()


@unhurried
@given(maps, tolerances, st.booleans())
def test_no_vertex_is_new(classes: NDArray[np.uint8], tolerance: float, smooth: bool) -> None:
    geometry, keep = covered(classes, smooth=smooth)
    simple = simplify_coverage(geometry, tolerance, keep=keep)
    for before, after in zip(geometry[keep], simple, strict=True):
        there = {tuple(v) for v in shapely.get_coordinates(before).tolist()}
        assert {tuple(v) for v in shapely.get_coordinates(after).tolist()} <= there


@unhurried
@given(maps, tolerances, st.booleans(), st.integers(0, 2**32 - 1))
def test_neither_the_order_of_polygons_nor_the_way_their_rings_are_written_matters(
    classes: NDArray[np.uint8], tolerance: float, smooth: bool, seed: int
) -> None:
    geometry, _ = covered(classes, smooth=smooth)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(geometry))

    def turned(ring: shapely.LinearRing) -> NDArray[np.float64]:
        xy: NDArray[np.float64] = np.roll(shapely.get_coordinates(ring)[:-1], rng.integers(100), axis=0)
        return xy[:: rng.choice([-1, 1])]

    rewritten = np.array([shapely.Polygon(turned(g.exterior), [turned(h) for h in g.interiors]) for g in geometry])
    expected = simplify_coverage(geometry, tolerance)
    assert pieces(simplify_coverage(rewritten[order], tolerance)) == pieces(expected[order])


def test_borders_along_nodata_are_simplified_and_the_frame_is_not() -> None:
    row, col = np.indices((12, 12))
    classes = np.where(row + col < 12, 1, NODATA).astype(np.uint8)
    geometry, keep = covered(classes)
    (simple,) = simplify_coverage(geometry, 1.5, keep=keep)
    # the stair along nodata is gone; its ends on the frame are kept
    assert shapely.get_num_coordinates(simple) < 8 < shapely.get_num_coordinates(geometry[keep][0])
    for end in ((0, 0), (12, 0), (0, 12)):
        assert simple.exterior.covers(shapely.Point(end))
    (alone,) = simplify_coverage(geometry[keep], 1.5)
    assert alone.equals(geometry[keep][0])  # without nodata its border is the outer one


def test_what_is_too_small_for_the_tolerance_ends_as_a_triangle() -> None:
    classes = np.zeros((9, 9), dtype=np.uint8)
    classes[4, 4] = 1
    _, speck = simplify_coverage(covered(classes)[0], 100.0)
    assert shapely.get_num_coordinates(speck) == 4
    assert speck.area == 0.5


def test_multipolygons_come_back_whole() -> None:
    square = shapely.box(0, 0, 2, 2)
    both = shapely.MultiPolygon([square, shapely.box(2, 2, 4, 4)])
    others = [shapely.box(2, 0, 4, 2), shapely.box(0, 2, 2, 4)]
    simple = simplify_coverage(np.array([others[0], both, others[1]]), 0.5)
    assert [g.area for g in simple] == [4, 8, 4]
    assert simple[1].geom_type == "MultiPolygon"
    assert shapely.is_valid(simple).all()


def test_no_polygons_stay_none() -> None:
    assert len(simplify_coverage(np.array([], dtype=object), 1.0)) == 0


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_length_is_refused(tolerance: float) -> None:
    with pytest.raises(ParameterError, match=r"px is none: give a number above 0"):
        simplify_coverage(np.array([shapely.box(0, 0, 1, 1)]), tolerance)


@pytest.mark.parametrize("example", ["simplify_smooth/staircase_coverage"], indirect=True)
def test_a_staircase_has_the_published_areas_and_vertices(example: dict[str, Any]) -> None:
    # The example's expected values with the outer border simplified too are of a call that this module never makes:
    # the frame of the map must stay. Douglas-Peucker on each polygon is what it must not do.
    raster = np.array(example["inputs"]["raster"], dtype=np.uint8)
    geometry = polygonize(raster, transform=IDENTITY).geometry
    assert shapely.area(geometry).tolist() == example["expected"]["input"]["areas"]
    for tolerance, expected in example["expected"]["boundary_kept"].items():
        simple = simplify_coverage(geometry, float(tolerance))
        rel = example["tolerance"]["expected_relative"]
        assert shapely.area(simple).tolist() == pytest.approx(expected["areas"], rel=rel)
        assert shapely.union_all(simple).area == pytest.approx(expected["union_area"], rel=rel)
        assert (shapely.get_num_coordinates(simple) - 1).tolist() == expected["vertices"]  # rings are closed
        assert shapely.coverage_is_valid(simple) == expected["valid_coverage"]


@pytest.mark.parametrize("example", ["simplify_smooth/postgis_vw_line"], indirect=True)
def test_the_tolerance_is_the_root_of_the_published_area_threshold(example: dict[str, Any]) -> None:
    # PostGIS's threshold is an area. The line is a border whose ends stay, because three regions meet there.
    line = example["inputs"]["line"]
    above = shapely.Polygon([*line, [40, 10], [40, 40], [-9, 40], [-9, 2]])
    below = shapely.Polygon([line[0], line[-1], [40, 10], [40, -9], [-9, -9], [-9, 2]])
    coverage = np.array([above, shapely.Polygon(line), below])
    assert shapely.coverage_is_valid(coverage)
    _, simple, _ = simplify_coverage(coverage, np.sqrt(example["inputs"]["area_threshold"]))
    assert simple.equals(shapely.Polygon(example["expected"]["line"]))


@pytest.mark.parametrize(
    ("text", "pixels"),
    [("10m", 1.0), ("2.5 px", 2.5), ("0.1km", 10.0), (" 1e3 M ", 100.0), (".5PX", 0.5), ("0.07km", 7.0)],
)
def test_a_distance_is_a_number_with_its_unit(text: str, pixels: float) -> None:
    assert parse_distance(text).pixels(gsd_m=10.0) == pixels


@pytest.mark.parametrize("text", ["10", "m", "ten m", "10 ft", "", "nan m", "inf px", "1,5m", "10m2", "1m 2m", "1_0m"])
def test_text_that_is_no_distance_is_refused_with_the_units(text: str) -> None:
    with pytest.raises(ParameterError, match=r"one of px, m, km, such as 10m or 2\.5px"):
        parse_distance(text)


@pytest.mark.parametrize("text", ["-3m", "0 px", "1e999m", "1e-999px"])
def test_a_distance_that_is_not_above_zero_or_endless_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="is not a distance: give a number above 0"):
        parse_distance(text)


def test_text_from_a_user_does_not_reach_the_terminal_as_it_is() -> None:
    with pytest.raises(ParameterError) as refused:
        parse_distance("\x1b[2J5m")
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("gsd_m", [None, float("nan"), 0.0])
def test_metres_without_the_size_of_a_pixel_are_refused(gsd_m: float | None) -> None:
    assert Distance(kind="px", amount=2.0).pixels(gsd_m) == 2.0
    with pytest.raises(ParameterError, match="give a map with a CRS, or the distance in px"):
        Distance(kind="m", amount=10.0).pixels(gsd_m)


@pytest.mark.parametrize(("kind", "amount"), [("ft", 1.0), ("m", 0.0), ("px", float("nan")), ("m", float("inf"))])
def test_a_distance_that_exists_is_one(kind: str, amount: float) -> None:
    with pytest.raises(ParameterError, match=r"a distance (is counted in px or m|of .* is none)"):
        Distance(kind=kind, amount=amount)


@unhurried
@given(maps, tolerances)
def test_the_area_change_is_that_of_the_rasters_classes(classes: NDArray[np.uint8], tolerance: float) -> None:
    geometry, keep = covered(classes)
    class_id = polygonize(classes, transform=IDENTITY, nodata=254).class_id
    pixels = shapely.area(geometry)
    after = shapely.area(simplify_coverage(geometry, tolerance, keep=keep))
    change = area_change(class_id[keep], pixels[keep], after)
    if change is None:
        assert not keep.any()
        return
    assert change.total == pytest.approx((after.sum() - pixels[keep].sum()) / pixels[keep].sum(), abs=1e-12)
    if keep.all():
        assert change.total == pytest.approx(0.0, abs=1e-12)
    shares = {
        v: after[class_id[keep] == v].sum() / (classes == v).sum() - 1 for v in np.unique(class_id[keep]).tolist()
    }
    assert change.largest == pytest.approx(shares[change.largest_class], abs=1e-12)
    assert abs(change.largest) >= max(map(abs, shares.values())) - 1e-12


def test_the_area_change_is_said_in_a_line() -> None:
    said = str(area_change(np.array([5, 5, 7]), np.array([60, 40, 100]), np.array([61.0, 40.5, 98.0])))
    assert said == (
        "area change: -0.2500 % in total, at most -2.00 % (class 7); areas in the tables stay those of the pixels"
    )
    assert "+0.0000 % in total, at most +0.00 %" in str(AreaChange(total=-1e-12, largest=-1e-12, largest_class=1))


def test_a_simplified_map_is_nearly_the_map() -> None:
    row, col = np.indices((60, 60))
    classes = ((row - 30) ** 2 + (col - 30) ** 2 < 400).astype(np.uint8) + (col > 40).astype(np.uint8)
    geometry, _ = covered(classes)
    simple = simplify_coverage(geometry, 1.5)
    class_id = polygonize(classes, transform=IDENTITY).class_id.tolist()
    back = rasterio.features.rasterize(list(zip(simple, class_id, strict=True)), classes.shape, transform=IDENTITY)
    assert (back != classes).mean() < 0.02
    assert shapely.get_num_coordinates(simple).sum() < 0.5 * shapely.get_num_coordinates(geometry).sum()
