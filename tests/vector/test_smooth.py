from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.vector.polygonize import polygonize
from geoseg.vector.smooth import MAX_MOVED_PX, fixed_vertices, smooth_rings

IDENTITY = Affine(1, 0, 0, 0, 1, 0)
unhurried = settings(deadline=None)  # the first call compiles

values = st.sampled_from([0, 3, 9, 255])
noisy = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=values)
blocky = st.tuples(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=values),
    st.integers(1, 5),
    st.integers(1, 3),
).map(lambda t: t[0].repeat(t[1], axis=0).repeat(t[2], axis=1))
slanted = st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.integers(2, 12), st.integers(4, 30)).map(
    lambda t: bands(t[0], t[1], t[2], t[3])
)
maps = st.one_of(noisy, blocky, slanted)
iteration_counts = st.integers(1, 5)


def bands(across: float, down: float, width: int, size: int) -> NDArray[np.uint8]:
    """Slanted stripes, which have steps of every length."""
    row, col = np.indices((size, size + 3))
    stripe = np.floor((col * across + row * down) / width).astype(int) % 4
    return np.array([0, 3, 9, 255], dtype=np.uint8).take(stripe)


def smoothed(
    classes: NDArray[np.uint8], iterations: int = 2
) -> tuple[NDArray[np.object_], NDArray[np.float64], NDArray[np.int64], Any]:
    """Smoothed polygons on the pixel grid, their vertices and ring offsets, and the polygons they were made of."""
    polygons = polygonize(classes, transform=IDENTITY)
    rings = polygons.rings
    fixed = fixed_vertices(np.pad(classes, 1), rings.vertices)
    vertices, offsets = smooth_rings(rings.vertices, rings.ring_offsets, fixed, iterations=iterations)
    geometry = shapely.from_ragged_array(shapely.GeometryType.POLYGON, vertices, (offsets, rings.polygon_offsets))
    return geometry, vertices, offsets, polygons


def edges_of(vertices: NDArray[np.float64], offsets: NDArray[np.int64]) -> list[Any]:
    """Every edge of every ring, whichever way it is walked."""
    starts = np.delete(np.arange(len(vertices)), offsets[1:] - 1)
    return [frozenset((tuple(vertices[i].tolist()), tuple(vertices[i + 1].tolist()))) for i in starts]


@unhurried
@given(maps, iteration_counts)
@case(np.full((1, 1), 7, np.uint8), 2)
@case(np.full((3, 2), 255, np.uint8), 2)
def test_smoothed_polygons_are_a_valid_coverage_that_rasterizes_back(
    classes: NDArray[np.uint8], iterations: int
) -> None:
    geometry, _, _, polygons = smoothed(classes, iterations)
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    back = np.full(classes.shape, 255, dtype=np.uint8)
    if len(geometry):
        pairs = list(zip(geometry, polygons.class_id.tolist(), strict=True))
        back = rasterio.features.rasterize(pairs, classes.shape, fill=255, transform=IDENTITY, dtype="uint8")
    np.testing.assert_array_equal(back, classes)


@unhurried
@given(maps, iteration_counts)
def test_no_border_comes_near_a_pixel_centre(classes: NDArray[np.uint8], iterations: int) -> None:
    geometry, _, _, _ = smoothed(classes, iterations)
    row, col = np.indices(classes.shape)
    centres = shapely.points(col.ravel() + 0.5, row.ravel() + 0.5)
    borders = shapely.union_all(shapely.boundary(geometry))
    if not borders.is_empty:
        assert shapely.distance(centres, borders).min() > 0.3


@unhurried
@given(maps, iteration_counts)
@pytest.mark.parametrize(
    "transform",
    [Affine(10, 0, 399_960, 0, -10, 5_000_040), Affine(0.0173, 0.0061, 4e6, 0.0049, -0.0187, 3e6)],
    ids=["UTM", "rotated, centimetres"],
)
def test_the_coverage_is_valid_on_the_map_too(transform: Affine, classes: NDArray[np.uint8], iterations: int) -> None:
    geometry, _, _, _ = smoothed(classes, iterations)
    a = transform
    on_map = shapely.transform(
        geometry,
        lambda xy: np.stack([a.a * xy[:, 0] + a.b * xy[:, 1] + a.c, a.d * xy[:, 0] + a.e * xy[:, 1] + a.f], axis=1),
    )
    assert shapely.is_valid(on_map).all()
    assert shapely.coverage_is_valid(on_map)


@unhurried
@given(maps, iteration_counts)
def test_neighbours_have_the_same_bits_along_their_border(classes: NDArray[np.uint8], iterations: int) -> None:
    classes = np.where(classes == 255, 4, classes).astype(np.uint8)  # no nodata: each border has two sides
    _, vertices, offsets, _ = smoothed(classes, iterations)
    rows, cols = classes.shape
    count: dict[Any, int] = {}
    for edge in edges_of(vertices, offsets):
        assert len(edge) == 2, "an edge of no length"
        count[edge] = count.get(edge, 0) + 1
    for edge, n in count.items():
        (x0, y0), (x1, y1) = edge
        on_frame = (x0 == x1 and x0 in (0, cols)) or (y0 == y1 and y0 in (0, rows))
        assert n == (1 if on_frame else 2)


@unhurried
@given(maps, iteration_counts)
def test_a_ring_walked_the_other_way_has_the_same_vertices(classes: NDArray[np.uint8], iterations: int) -> None:
    rings = polygonize(classes, transform=IDENTITY).rings
    fixed = fixed_vertices(np.pad(classes, 1), rings.vertices)
    there, offsets = smooth_rings(rings.vertices, rings.ring_offsets, fixed, iterations=iterations)
    # the whole array reversed: the rings come in reverse order, each from its end
    turned = (len(rings.vertices) - rings.ring_offsets)[::-1]
    back, _ = smooth_rings(rings.vertices[::-1].copy(), turned, fixed[::-1].copy(), iterations=iterations)
    assert edges_of(there, offsets) != [] or len(rings.vertices) == 0
    assert sorted(map(sorted, edges_of(there, offsets))) == sorted(
        map(sorted, edges_of(back, (len(back) - offsets)[::-1]))
    )


@unhurried
@given(maps, st.integers(1, 40))
def test_the_start_of_a_ring_does_not_matter(classes: NDArray[np.uint8], shift: int) -> None:
    rings = polygonize(classes, transform=IDENTITY).rings
    fixed = fixed_vertices(np.pad(classes, 1), rings.vertices)
    for begin, end in zip(rings.ring_offsets[:-1], rings.ring_offsets[1:], strict=True):
        ring, stays = rings.vertices[begin : end - 1], fixed[begin : end - 1]
        shifted = np.roll(ring, shift, axis=0), np.roll(stays, shift)
        one, other = (
            smooth_rings(np.append(v, v[:1], axis=0), np.array([0, len(v) + 1]), np.append(f, f[:1]))[0]
            for v, f in ((ring, stays), shifted)
        )
        assert {tuple(v) for v in one.tolist()} == {tuple(v) for v in other.tolist()}
        assert len(one) == len(other)


@unhurried
@given(maps, iteration_counts)
def test_areas_change_by_less_than_the_bound_and_in_total_along_nodata_only(
    classes: NDArray[np.uint8], iterations: int
) -> None:
    geometry, _, _, polygons = smoothed(classes, iterations)
    fixed = fixed_vertices(np.pad(classes, 1), polygons.rings.vertices)
    first_vertex = polygons.rings.ring_offsets[polygons.rings.polygon_offsets]
    corners = np.diff(np.append(0, np.cumsum(~fixed))[first_vertex])
    change = np.abs(shapely.area(geometry) - polygons.pixels)
    assert (change <= MAX_MOVED_PX * corners).all()
    if not (classes == 255).any():
        assert shapely.area(geometry).sum() == pytest.approx(classes.size, rel=1e-12)


@unhurried
@given(maps)
def test_fixed_are_the_vertices_where_three_borders_meet_and_those_on_the_frame(classes: NDArray[np.uint8]) -> None:
    rings = polygonize(classes, transform=IDENTITY).rings
    fixed = fixed_vertices(np.pad(classes, 1), rings.vertices)
    padded = np.pad(classes.astype(int), 1, constant_values=-1)
    for (col, row), stays in zip(rings.vertices.tolist(), fixed.tolist(), strict=True):
        around = [padded[row, col], padded[row, col + 1], padded[row + 1, col + 1], padded[row + 1, col]]
        meet = sum(around[i] != around[i - 1] for i in range(4))
        assert stays == (meet > 2 or -1 in around)


def test_labels_and_classes_fix_the_same_vertices() -> None:
    classes = np.random.default_rng(0).integers(0, 3, (20, 30), dtype=np.uint8)
    polygons = polygonize(classes, transform=IDENTITY)
    labels = rasterio.features.rasterize(
        [(g, i + 1) for i, g in enumerate(polygons.geometry)], classes.shape, transform=IDENTITY, dtype="int32"
    )
    np.testing.assert_array_equal(
        fixed_vertices(np.pad(labels, 1, constant_values=-1), polygons.rings.vertices),
        fixed_vertices(np.pad(classes, 1), polygons.rings.vertices),
    )


def test_a_checkerboard_stays_as_it_is() -> None:
    classes = (np.indices((5, 6)).sum(axis=0) % 2).astype(np.uint8)
    geometry, _, _, polygons = smoothed(classes)
    assert shapely.equals_exact(geometry, polygons.geometry, 0).all()


def test_a_square_inside_loses_two_thirds_of_a_pixel_in_the_limit() -> None:
    classes = np.zeros((9, 9), dtype=np.uint8)
    classes[2:7, 2:7] = 1
    for iterations in range(1, 6):
        geometry, _, _, _ = smoothed(classes, iterations)
        moved = 4 * MAX_MOVED_PX * (1 - 4.0**-iterations)
        np.testing.assert_allclose(shapely.area(geometry), [81 - 25 + moved, 25 - moved], rtol=1e-14)


def test_sides_stay_straight_further_than_a_pixel_from_their_corners() -> None:
    classes = np.zeros((14, 30), dtype=np.uint8)
    classes[2:12, 2:28] = 1
    geometry, _, _, polygons = smoothed(classes, iterations=5)
    sides = polygons.geometry[1].exterior.difference(shapely.MultiPoint([(2, 2), (28, 2), (28, 12), (2, 12)]).buffer(1))
    assert sides.length == pytest.approx(2 * (26 + 10) - 8)
    assert geometry[1].exterior.buffer(1e-12).covers(sides)


def test_a_stair_of_single_steps_becomes_a_slope() -> None:
    row, col = np.indices((20, 80))
    classes = (col < 4 * row).astype(np.uint8)
    geometry, _, _, _ = smoothed(classes, iterations=3)
    border = shapely.intersection(*shapely.boundary(geometry))
    x, y = shapely.get_coordinates(shapely.line_merge(border)).T
    inner = (x > 6) & (x < 70)
    away = (x - 4 * y) / np.hypot(1, 4)
    assert np.ptp(away[inner]) < 0.51 * 4 / np.hypot(1, 4)  # half of what it is on the stair


@pytest.mark.parametrize("example", ["simplify_smooth/chaikin_square"], indirect=True)
def test_with_arms_of_any_length_it_is_chaikins_corner_cutting(example: dict[str, Any]) -> None:
    ring = np.array(example["inputs"]["ring"], dtype=np.int32)
    offsets, fixed = np.array([0, len(ring)]), np.zeros(len(ring), dtype=bool)
    expected = example["expected"]
    for k, (area, n) in enumerate(zip(expected["area"], expected["vertices"], strict=True), start=1):
        vertices, _ = smooth_rings(ring, offsets, fixed, iterations=k, reach_px=np.inf, step_reach_px=np.inf)
        assert len(vertices) == n + 1
        assert shapely.Polygon(vertices).area == pytest.approx(area, rel=example["tolerance"]["expected_relative"])
        if k == 1:
            assert shapely.Polygon(vertices).normalize() == shapely.Polygon(expected["after_1"]).normalize()


def chaikin(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """One round of cutting the corners of a closed ring, without its last point, at 1/4 and 3/4."""
    following = np.roll(points, -1, axis=0)
    return np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=1).reshape(-1, 2)


@unhurried
@given(maps, iteration_counts)
def test_rings_without_fixed_vertices_are_those_of_repeated_cutting(
    classes: NDArray[np.uint8], iterations: int
) -> None:
    rings = polygonize(classes, transform=IDENTITY).rings
    none = np.zeros(len(rings.vertices), dtype=bool)
    vertices, offsets = smooth_rings(
        rings.vertices, rings.ring_offsets, none, iterations=iterations, reach_px=np.inf, step_reach_px=np.inf
    )
    for ring in range(len(offsets) - 1):
        corners = rings.vertices[rings.ring_offsets[ring] : rings.ring_offsets[ring + 1] - 1].astype(float)
        turns = (corners != np.roll(corners, 1, axis=0)) == (corners != np.roll(corners, -1, axis=0))
        if turns.any():
            continue  # a vertex on a straight run is no corner to cut
        for _ in range(iterations):
            corners = chaikin(corners)
        found = vertices[offsets[ring] : offsets[ring + 1] - 1]
        assert sorted(found.tolist()) == sorted(corners.tolist())


@pytest.mark.parametrize("iterations", [0, 6])
def test_too_few_or_too_many_iterations_are_refused(iterations: int) -> None:
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], dtype=np.int32)
    with pytest.raises(ParameterError, match=f"{iterations} iterations of corner cutting: give a number from 1 to 5"):
        smooth_rings(square, np.array([0, 5]), np.zeros(5, dtype=bool), iterations=iterations)
