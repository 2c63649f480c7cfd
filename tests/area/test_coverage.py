"""Fractions of pixels, against worked examples and against the intersection with every pixel."""

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import wkt

from geoseg.area.coverage import edges_of, fractions, polygonal, trace

ROWS, COLS = 13, 11


def true_fractions(zone: Any, height: int, width: int) -> NDArray[np.float64]:
    """The intersection with every pixel."""
    col, row = np.meshgrid(np.arange(width), np.arange(height))
    return np.asarray(shapely.area(shapely.intersection(zone, shapely.box(col, -row - 1, col + 1, -row))))


numbers = st.one_of(
    st.integers(-2, 14).map(float),  # along the edges of pixels
    st.integers(-8, 56).map(lambda n: n / 4),
    st.floats(-3, 15, allow_nan=False).map(lambda x: round(x, 3)),
)
points = st.tuples(numbers, numbers.map(lambda y: -y))


@st.composite
def polygons(draw: st.DrawFn) -> Any:
    """Polygons with holes, multi-polygons and slivers, valid, in (column, -row)."""
    shape = shapely.MultiPolygon()
    for _ in range(draw(st.integers(1, 3))):
        ring = draw(st.lists(points, min_size=3, max_size=6))
        part = shapely.make_valid(shapely.Polygon(ring), method="structure", keep_collapsed=False)
        shape = shape.union(part) if draw(st.booleans()) else shape.symmetric_difference(part)
    # of polygons thinner than 1e-15 GEOS itself gives wrong intersections, and it is to be the reference
    return polygonal(np.array([shapely.set_precision(shape, 2**-30)], dtype=object))[0]


@given(polygons())
def test_fractions_are_those_of_the_intersection_with_every_pixel(zone: Any) -> None:
    found = fractions(zone, ROWS, COLS)
    np.testing.assert_allclose(found, true_fractions(zone, ROWS, COLS), rtol=0, atol=1e-9)


@given(polygons(), st.integers(-3, 14), st.integers(-3, 14))
def test_a_pixel_has_the_same_fraction_in_every_block(zone: Any, row_off: int, col_off: int) -> None:
    whole = fractions(zone, 40, 40)
    edges = edges_of(np.array([zone], dtype=object))
    change = np.zeros((6, 5))
    trace(edges.x, edges.y, edges.goes_on, 0, len(edges.x), row_off, col_off, change, np.zeros((6, 2), dtype=np.int64))
    found = np.cumsum(change, axis=1)[:, :-1]
    for (r, c), fraction in np.ndenumerate(found):
        if row_off + r >= 0 and col_off + c >= 0:
            assert fraction == pytest.approx(whole[row_off + r, col_off + c], abs=2e-10)


def test_only_what_was_touched_is_told() -> None:
    zone = shapely.Polygon([(3.5, -2.5), (6.5, -2.5), (5, -5.5)])
    edges = edges_of(np.array([zone], dtype=object))
    change, touched = np.zeros((9, 12)), np.zeros((9, 2), dtype=np.int64)
    rows = trace(edges.x, edges.y, edges.goes_on, 0, len(edges.x), 0, 0, change, touched)
    assert rows == (2, 6)
    for r, row in enumerate(change):
        changed = np.flatnonzero(row)
        assert (len(changed) > 0) == (2 <= r < 6)
        if len(changed):
            assert touched[r, 0] <= changed[0]
            assert changed[-1] <= touched[r, 1]


def test_a_polygon_through_the_corners_of_pixels_keeps_the_pixel_between() -> None:
    """exactextract 0.3 gives nothing for the pixel in row 4, column 1, which is covered as a whole."""
    zone = shapely.Polygon(
        [(1.4000000000000001, -6), (0.33333333333333337, -6), (1.3333333333333335, -3), (2.24, -3), (2, -5)]
    )
    found = fractions(zone, ROWS, COLS)
    assert found[4, 1] == 1
    assert found.sum() == pytest.approx(zone.area, rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_exactextract_agrees_to_the_precision_of_its_float32(seed: int) -> None:
    """On outlines that keep clear of the corners of pixels, where exactextract 0.3 can go wrong or crash."""
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource

    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 30, endpoint=False) + rng.random()
    radius = rng.uniform(1.5, 5, 30)
    shell = np.column_stack([5.5 + radius * np.cos(angle), -6.5 + radius * np.sin(angle)])
    hole = np.column_stack([5.5 + np.cos(angle), -6.5 + np.sin(angle)])
    zone = shapely.Polygon(shell, [hole])
    grid = NumPyRasterSource(np.ones((ROWS, COLS)), 0, -ROWS, COLS, 0)
    feature = {"type": "Feature", "geometry": shapely.geometry.mapping(zone), "properties": {}}
    (told,) = exact_extract(grid, [feature], ["cell_id", "coverage"])
    found = np.zeros(ROWS * COLS)
    found[told["properties"]["cell_id"]] = told["properties"]["coverage"]
    np.testing.assert_allclose(fractions(zone, ROWS, COLS).ravel(), found, rtol=0, atol=3e-7)


@given(st.lists(st.booleans(), min_size=ROWS * COLS, max_size=ROWS * COLS))
def test_a_zone_of_whole_pixels_has_fractions_of_exactly_one(chosen: list[bool]) -> None:
    mask = np.array(chosen).reshape(ROWS, COLS)
    row, col = np.nonzero(mask)
    zone = shapely.union_all(shapely.box(col, -row - 1, col + 1, -row))
    found = fractions(zone, ROWS, COLS)
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize(
    "example",
    [
        "zonal_coverage/rectangle",
        "zonal_coverage/l_shape",
        "zonal_coverage/diamond",
        "zonal_coverage/polygon_touching_bottom_corner",
    ],
    indirect=True,
)
def test_published_fractions(example: dict[str, Any]) -> None:
    rows, cols = example["inputs"]["shape"]
    zone = shapely.transform(wkt.loads(example["inputs"]["polygon_wkt"]), lambda xy: xy - [0, rows])  # row 0 is at 0
    found = fractions(zone, rows, cols)
    np.testing.assert_allclose(found, example["expected"]["coverage"], rtol=0, atol=example["tolerance"]["absolute"])
    assert found.sum() == pytest.approx(example["expected"]["sum_of_coverage"], abs=1e-6)


def test_only_the_polygons_of_a_collection_are_kept() -> None:
    square = shapely.box(0, 0, 1, 1)
    two = shapely.MultiPolygon([shapely.box(2, 0, 3, 1), shapely.box(4, 0, 5, 1)])
    mixed = shapely.GeometryCollection([square, shapely.LineString([(5, 5), (6, 6)]), two])
    found = polygonal(np.array([square, mixed, shapely.Point(1, 1), shapely.GeometryCollection()], dtype=object))
    assert shapely.area(found).tolist() == [1, 3, 0, 0]
    assert set(shapely.get_type_id(found)) <= {3, 6}
