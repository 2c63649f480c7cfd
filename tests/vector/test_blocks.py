"""Polygons do not depend on the cut into blocks."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage

from geoseg.errors import ParameterError
from geoseg.inference.lattice import Block, blocks
from geoseg.vector import blocks as blocks_module
from geoseg.vector.blocks import polygonize_blocks
from geoseg.vector.measure import Pixels
from geoseg.vector.shapes import Shapes
from geoseg.vector.unite import Grid

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "connected_components.json"
TRANSFORM = Affine(10, 0, 500, 0, -10, 80)


def polygons_of(
    classes: NDArray[np.uint8], block_height: int, block_width: int, *, connectivity: int = 4, threads: int = 1
) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.int64]]:
    """Geometry, class and pixels of all features, by first pixel."""
    grid = Grid.of(list(blocks(*classes.shape, block_height=block_height, block_width=block_width)))

    def read(block: Block) -> Pixels:
        return Pixels(classes=classes[block.row_off : block.row_end, block.col_off : block.col_end])

    with ThreadPoolExecutor(threads) as pool:
        options: Any = {"connectivity": connectivity, "at_once": threads}
        found = list(polygonize_blocks(grid, read, lambda *both: both, pool, nodata=255, **options))
    if not found:
        return np.empty(0, object), np.empty(0, np.uint8), np.empty(0, np.int64)
    shapes = [Shapes.of(rings).on_map(TRANSFORM).geometries() for rings, _ in found]
    order = np.argsort(np.concatenate([rings.first_pixels for rings, _ in found]))
    return (
        np.concatenate(shapes)[order],
        np.concatenate([m.class_id for _, m in found])[order],
        np.concatenate([m.sums.pixels for _, m in found])[order],
    )


@st.composite
def class_maps(draw: st.DrawFn) -> NDArray[np.uint8]:
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    n_classes = draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    classes = np.random.default_rng(seed).integers(0, n_classes + 1, shape).astype(np.uint8)
    if draw(st.booleans()):  # larger regions, with holes in them
        classes = np.repeat(np.repeat(classes, 2, axis=0), 2, axis=1)
    classes[classes == n_classes] = 255
    return classes


@settings(max_examples=300, deadline=None)
@given(classes=class_maps(), cut=st.tuples(st.integers(1, 9), st.integers(1, 9)), connectivity=st.sampled_from([4, 8]))
def test_the_same_features_for_every_cut(classes: NDArray[np.uint8], cut: tuple[int, int], connectivity: int) -> None:
    whole = polygons_of(classes, *classes.shape, connectivity=connectivity)
    in_blocks = polygons_of(classes, *cut, connectivity=connectivity)
    np.testing.assert_array_equal(shapely.to_wkb(whole[0]), shapely.to_wkb(in_blocks[0]))
    np.testing.assert_array_equal(whole[1], in_blocks[1])
    np.testing.assert_array_equal(whole[2], in_blocks[2])


@settings(max_examples=150, deadline=None)
@given(classes=class_maps(), cut=st.tuples(st.integers(1, 9), st.integers(1, 9)), connectivity=st.sampled_from([4, 8]))
def test_features_in_blocks_are_a_valid_coverage_and_the_class_map_again(
    classes: NDArray[np.uint8], cut: tuple[int, int], connectivity: int
) -> None:
    geometry, class_id, pixels = polygons_of(classes, *cut, connectivity=connectivity)
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    np.testing.assert_array_equal(shapely.area(geometry), 100 * pixels)
    structure = np.ones((3, 3)) if connectivity == 8 else None
    n_expected = sum(ndimage.label(classes == v, structure)[1] for v in np.unique(classes[classes != 255]))
    assert len(geometry) == n_expected
    again = np.full(classes.shape, 255, dtype=np.uint8)
    if len(geometry):
        shapes = list(zip(geometry, class_id.tolist(), strict=True))
        again = rasterize(shapes, out_shape=classes.shape, transform=TRANSFORM, fill=255, dtype="uint8")
    np.testing.assert_array_equal(again, classes)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_threads_change_nothing(connectivity: int) -> None:
    classes = np.random.default_rng(5).integers(0, 3, (90, 110)).astype(np.uint8)
    one = polygons_of(classes, 16, 16, connectivity=connectivity)
    four = polygons_of(classes, 16, 16, connectivity=connectivity, threads=4)
    np.testing.assert_array_equal(shapely.to_wkb(one[0]), shapely.to_wkb(four[0]))


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("most", [0, 1000])
def test_it_is_all_one_whether_runs_are_kept_or_found_again(
    most: int, connectivity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = np.random.default_rng(7).integers(0, 3, (60, 70)).astype(np.uint8)
    found: list[Any] = []
    find_runs = blocks_module.find_runs  # type: ignore[attr-defined]

    def counted(*pixels: Any, **options: Any) -> Any:
        found.append(pixels[0])
        return find_runs(*pixels, **options)

    monkeypatch.setattr(blocks_module, "find_runs", counted)
    kept = polygons_of(classes, 16, 16, connectivity=connectivity)
    n_kept = len(found)
    monkeypatch.setattr(blocks_module, "_KEPT_RUNS", most)
    again = polygons_of(classes, 16, 16, connectivity=connectivity)
    assert (n_kept, len(found) - n_kept > n_kept) == (20, True)
    np.testing.assert_array_equal(shapely.to_wkb(kept[0]), shapely.to_wkb(again[0]))


def test_a_ring_around_many_blocks_and_what_lies_in_it() -> None:
    classes = np.zeros((40, 40), dtype=np.uint8)
    classes[5:35, 5:35] = 1
    classes[6:34, 6:34] = 0
    classes[20, 20] = 2
    geometry, class_id, pixels = polygons_of(classes, 8, 8)
    assert class_id.tolist() == [0, 1, 0, 2]
    assert pixels.tolist() == [1600 - 900, 900 - 784, 783, 1]
    assert [len(g.interiors) for g in geometry] == [1, 1, 1, 0]


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference examples are not here")
@pytest.mark.parametrize(("connectivity", "key"), [(4, "conn4"), (8, "conn8")])
def test_the_published_labelling(connectivity: int, key: str) -> None:
    (example,) = json.loads(REFERENCE.read_text("utf-8"))["examples"]
    classes = np.array(example["inputs"]["a"], dtype=np.uint8)
    classes[classes == 0] = 255
    geometry, _, _ = polygons_of(classes, 2, 3, connectivity=connectivity)
    assert len(geometry) == example["expected"][f"{key}_count"]
    labels = rasterize(
        [(g, i + 1) for i, g in enumerate(geometry)], out_shape=classes.shape, transform=TRANSFORM, dtype="int32"
    )
    np.testing.assert_array_equal(labels, example["expected"][key])


@pytest.mark.parametrize(
    "cut",
    [
        [(0, 0, 2, 2), (2, 1, 2, 2)],  # not above each other
        [(0, 0, 2, 2), (3, 0, 2, 2)],  # a row between them is missing
        [(0, 0, 2, 2), (0, 2, 2, 2), (2, 0, 2, 2)],  # the last is missing
        [],
    ],
)
def test_blocks_that_leave_gaps_are_refused(cut: list[tuple[int, int, int, int]]) -> None:
    with pytest.raises(ParameterError, match="rows and columns"):
        Grid.of([Block(row_off=r, col_off=c, height=h, width=w) for r, c, h, w in cut])


def published(raster: list[list[int]], connectivity: int, nodata: int = 255) -> tuple[Any, Any]:
    """Geometry and class of a raster's features with pixels of 1, in blocks of 2 x 3."""
    classes = np.where(np.array(raster) == nodata, 255, raster).astype(np.uint8)
    geometry, class_id, _ = polygons_of(classes, 2, 3, connectivity=connectivity)
    return geometry, class_id


@pytest.mark.parametrize("example", ["polygonize/gdal_polygonize_in"], indirect=True)
def test_gdals_own_raster_with_8_connectivity_is_valid_here(example: dict[str, Any]) -> None:
    geometry, class_id = published(example["inputs"]["raster"], 8)
    expected = example["expected"]["unmasked_8conn"]
    assert len(geometry) == expected["features"]
    assert sorted(class_id.tolist()) == expected["values"]
    assert shapely.is_valid(geometry).all()  # of GDAL's, one is not
    cell = example["inputs"]["cellsize"] ** 2 / 100
    for value, area in expected["area_by_value"].items():
        assert shapely.area(geometry[class_id == int(value)]).sum() * cell == area


@pytest.mark.parametrize("example", ["polygonize/gdal_ring_of_ones"], indirect=True)
def test_a_ring_of_ones_joined_at_corners_is_a_multipolygon(example: dict[str, Any]) -> None:
    geometry, class_id = published(example["inputs"]["raster"], 8)
    (ring,) = geometry[class_id == example["inputs"]["keep_value"]]
    assert ring.area == 100 * example["expected"]["conn8"]["area"]
    assert len(ring.geoms) == 4
    assert ring.is_valid


@pytest.mark.parametrize("example", ["polygonize/xrspatial_small"], indirect=True)
def test_two_diagonals_cross_with_8_connectivity(example: dict[str, Any]) -> None:
    geometry, _ = published(example["inputs"]["r2"], 8)
    assert (shapely.area(geometry) / 100).tolist() == example["expected"]["r2_conn8_areas"]
