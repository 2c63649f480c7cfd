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
from geoseg.vector import Polygons, label_components, polygonize
from geoseg.vector.smooth import fixed_vertices

NORTH_UP = Affine(10, 0, 500_000, 0, -10, 4_000_000)
ROTATED = Affine(8, -6, 1234.5, 6, 8, -77.25)
TRANSFORMS = {
    "north-up": NORTH_UP,
    "south-up": Affine(10, 0, 500_000, 0, 10, 4_000_000),
    "east to west": Affine(-10, 0, 500_000, 0, -10, 4_000_000),
    "rotated": ROTATED,
    "rotated and mirrored": Affine(0.7, 0.3, 0.1, 0.2, -0.9, 55.0),
    "geographic": Affine(1 / 3600, 0, 10.1, 0, -1 / 3600, 60.3),
}

unhurried = settings(deadline=None)  # the first call compiles
values = st.sampled_from([0, 3, 9, 255])
noisy = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=values)
blocky = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=values).map(
    lambda a: a.repeat(3, axis=0).repeat(2, axis=1)
)
speckled = st.tuples(blocky, st.randoms(use_true_random=False)).map(lambda t: with_specks(*t))
maps = st.one_of(noisy, blocky, speckled)


def with_specks(classes: NDArray[np.uint8], random: Any) -> NDArray[np.uint8]:
    out = classes.copy()
    for _ in range(out.size // 8):
        out[random.randrange(out.shape[0]), random.randrange(out.shape[1])] = random.choice([0, 3, 255])
    return out


def rasterized(polygons: Polygons, shape: tuple[int, ...], transform: Affine) -> NDArray[np.uint8]:
    if len(polygons) == 0:
        return np.full(shape, 255, dtype=np.uint8)
    pairs = list(zip(polygons.geometry, polygons.class_id.tolist(), strict=True))
    return np.asarray(rasterio.features.rasterize(pairs, shape, fill=255, transform=transform, dtype="uint8"))


def ring_key(ring: shapely.LinearRing) -> tuple[tuple[float, float], ...]:
    """Corners of a ring from the smallest on, counter-clockwise, without vertices on straight runs."""
    xy = shapely.get_coordinates(ring)[:-1]
    before, after = xy - np.roll(xy, 1, axis=0), np.roll(xy, -1, axis=0) - xy
    corners = xy[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    if not shapely.is_ccw(ring):
        corners = corners[::-1]
    points = [tuple(p) for p in corners.tolist()]
    start = points.index(min(points))
    return tuple(points[start:] + points[:start])


def polygon_key(polygon: shapely.Polygon) -> tuple[Any, ...]:
    return ring_key(polygon.exterior), frozenset(ring_key(hole) for hole in polygon.interiors)


def keys(geometry: Any, class_id: Any) -> set[tuple[Any, int]]:
    return {(polygon_key(g), int(v)) for g, v in zip(geometry, class_id, strict=True)}


def keys_of_gdal(classes: NDArray[np.uint8], transform: Affine, nodata: int = 255) -> set[tuple[Any, int]]:
    shapes = list(rasterio.features.shapes(classes, mask=classes != nodata, connectivity=4, transform=transform))
    return keys([shapely.geometry.shape(g) for g, _ in shapes], [v for _, v in shapes])


def corners_that_need_a_vertex(classes: NDArray[np.uint8], labels: NDArray[np.int32]) -> set[tuple[int, int]]:
    """Pixel corners on a polygon where regions are not split by one straight line, nodata and outside being regions."""
    padded = np.pad(labels, 1, constant_values=-1).tolist()
    found = set()
    for row in range(labels.shape[0] + 1):
        for col in range(labels.shape[1] + 1):
            (a, b), (c, d) = padded[row][col : col + 2], padded[row + 1][col : col + 2]
            is_straight = (a == b and c == d) or (a == c and b == d)
            if not is_straight and max(a, b, c, d) > 0:
                found.add((col, row))
    return found


@unhurried
@given(maps)
@case(np.full((1, 1), 7, np.uint8))
@case(np.full((3, 2), 255, np.uint8))
@case(np.array([[3, 0, 0, 3, 255, 9]], np.uint8))
@case(np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], np.uint8))
def test_polygons_rasterize_back_to_the_class_map(classes: NDArray[np.uint8]) -> None:
    polygons = polygonize(classes, transform=NORTH_UP)
    np.testing.assert_array_equal(rasterized(polygons, classes.shape, NORTH_UP), classes)


@unhurried
@given(maps, st.sampled_from(sorted(TRANSFORMS)))
def test_polygons_are_a_valid_coverage_on_every_kind_of_grid(classes: NDArray[np.uint8], kind: str) -> None:
    transform = TRANSFORMS[kind]
    polygons = polygonize(classes, transform=transform)
    assert shapely.is_valid(polygons.geometry).all()
    assert shapely.coverage_is_valid(polygons.geometry)
    assert shapely.is_ccw(shapely.get_exterior_ring(polygons.geometry)).all()
    area = shapely.area(polygons.geometry) / abs(transform.determinant)
    np.testing.assert_allclose(area, polygons.pixels, rtol=1e-6)


@unhurried
@given(maps)
def test_polygons_are_those_of_gdal_as_sets_of_rings(classes: NDArray[np.uint8]) -> None:
    polygons = polygonize(classes, transform=NORTH_UP)
    assert keys(polygons.geometry, polygons.class_id) == keys_of_gdal(classes, NORTH_UP)


@unhurried
@given(maps)
def test_vertices_are_where_rings_turn_or_regions_meet_and_nowhere_else(classes: NDArray[np.uint8]) -> None:
    polygons = polygonize(classes, transform=NORTH_UP)
    found = {(int(col), int(row)) for col, row in polygons.rings.vertices}
    assert found == corners_that_need_a_vertex(classes, polygons.labels)


@unhurried
@given(maps, st.sampled_from([0, 3]))
def test_any_class_value_can_be_nodata(classes: NDArray[np.uint8], nodata: int) -> None:
    polygons = polygonize(classes, transform=NORTH_UP, nodata=nodata)
    assert nodata not in polygons.class_id
    assert keys(polygons.geometry, polygons.class_id) == keys_of_gdal(classes, NORTH_UP, nodata)


@unhurried
@given(maps)
def test_a_polygon_covers_the_pixels_of_its_label(classes: NDArray[np.uint8]) -> None:
    polygons = polygonize(classes, transform=NORTH_UP)
    for k, geometry in enumerate(polygons.geometry, start=1):
        covered = rasterio.features.rasterize([geometry], classes.shape, transform=NORTH_UP, dtype="uint8") == 1
        np.testing.assert_array_equal(covered, polygons.labels == k)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_larger_map_of_patches_and_noise_agrees_with_gdal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, (30, 40), dtype=np.uint8).repeat(7, axis=0).repeat(5, axis=1)
    noise = rng.random(classes.shape)
    classes[noise < 0.05] = 255
    classes[noise > 0.9] = 2
    polygons = polygonize(classes, transform=NORTH_UP)
    assert keys(polygons.geometry, polygons.class_id) == keys_of_gdal(classes, NORTH_UP)
    assert shapely.is_valid(polygons.geometry).all()
    assert shapely.coverage_is_valid(polygons.geometry)
    np.testing.assert_array_equal(rasterized(polygons, classes.shape, NORTH_UP), classes)


def test_a_checkerboard_has_one_square_per_pixel() -> None:
    classes = (np.indices((50, 60)).sum(axis=0) % 2).astype(np.uint8)
    polygons = polygonize(classes, transform=NORTH_UP)
    assert len(polygons) == classes.size
    assert (shapely.get_num_coordinates(polygons.geometry) == 5).all()


def test_a_map_of_nodata_has_no_polygons() -> None:
    polygons = polygonize(np.full((4, 5), 255, dtype=np.uint8), transform=NORTH_UP)
    assert len(polygons) == len(polygons.geometry) == 0
    assert (polygons.labels == 0).all()


def test_a_grid_without_area_is_refused() -> None:
    with pytest.raises(ParameterError, match="give one whose pixels have an area"):
        polygonize(np.zeros((2, 2), dtype=np.uint8), transform=Affine(10, 0, 0, 0, 0, 0))


@pytest.mark.parametrize("example", ["polygonize/gdal_polygonize_in"], indirect=True)
@pytest.mark.parametrize(("nodata", "which"), [(132, "masked_4conn"), (0, "unmasked_4conn")])
def test_the_raster_of_gdals_own_test_comes_out_as_published(example: dict[str, Any], nodata: int, which: str) -> None:
    given_, expected = example["inputs"], example["expected"]
    classes = np.array(given_["raster"], dtype=np.uint8)
    top = given_["yll"] + given_["cellsize"] * len(classes)
    transform = Affine(given_["cellsize"], 0, given_["xll"], 0, -given_["cellsize"], top)
    polygons = polygonize(classes, transform=transform, nodata=nodata)
    assert sorted(polygons.class_id.tolist()) == expected[which]["values"]
    assert len(polygons) == expected[which]["features"]
    assert int((~shapely.is_valid(polygons.geometry)).sum()) == expected[which]["invalid"]
    area = dict.fromkeys(expected[which]["area_by_value"], 0.0)
    for value, geometry in zip(polygons.class_id, polygons.geometry, strict=True):
        area[str(value)] += geometry.area
    assert area == expected[which]["area_by_value"]
    (with_hole,) = polygons.geometry[polygons.class_id == 156]
    assert polygon_key(with_hole) == polygon_key(shapely.from_wkt(expected["polygon_156_wkt"]))


@pytest.mark.parametrize("example", ["polygonize/gdal_two_holes_touching"], indirect=True)
def test_two_holes_that_touch_at_a_corner_stay_two_rings(example: dict[str, Any]) -> None:
    classes = np.array(example["inputs"]["raster"], dtype=np.uint8)
    polygons = polygonize(classes, transform=Affine(1, 0, 0, 0, -1, 4))
    expected = {
        (polygon_key(shapely.from_wkt(wkt)), int(value))
        for value, wkts in example["expected"]["wkt_by_value"].items()
        for wkt in wkts
    }
    assert keys(polygons.geometry, polygons.class_id) == expected
    assert shapely.is_valid(polygons.geometry).all()


@pytest.mark.parametrize("example", ["polygonize/gdal_ring_of_ones"], indirect=True)
def test_pixels_that_touch_at_a_corner_are_polygons_apart(example: dict[str, Any]) -> None:
    classes = np.array(example["inputs"]["raster"], dtype=np.uint8)
    polygons = polygonize(classes, transform=Affine(1, 0, 0, 0, -1, 4))
    ones = polygons.geometry[polygons.class_id == example["inputs"]["keep_value"]]
    expected = example["expected"]["conn4"]
    assert shapely.area(ones).tolist() == expected["areas"]
    assert shapely.is_valid(ones).all() == expected["all_valid"]


@pytest.mark.parametrize("example", ["polygonize/xrspatial_small"], indirect=True)
def test_the_small_published_rasters_come_out_as_published(example: dict[str, Any]) -> None:
    two, three = (
        polygonize(np.array(example["inputs"][k], dtype=np.uint8), transform=Affine.identity()) for k in ("r2", "r3")
    )
    assert shapely.area(two.geometry).tolist() == example["expected"]["r2_conn4_areas"]
    area = {str(v): g.area for v, g in zip(three.class_id, three.geometry, strict=True)}
    assert area == example["expected"]["r3_areas_by_value"]


@settings(max_examples=100, deadline=None)
@given(classes=maps)
def test_the_tracer_knows_the_vertices_that_must_stay(classes: NDArray[np.uint8]) -> None:
    rings = polygonize(classes, transform=Affine.identity()).rings
    labels = label_components(classes).padded
    np.testing.assert_array_equal(rings.fixed, fixed_vertices(labels, rings.vertices))
