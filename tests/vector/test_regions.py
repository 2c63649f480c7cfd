import pickle
from collections import Counter
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from geoseg.errors import ParameterError, ResourceError
from geoseg.vector import regions as module
from geoseg.vector.label import label_components
from geoseg.vector.regions import BlockRegions, RegionGraph, block_regions, join_regions

maps = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 3, 9, 255]))

Cut = list[tuple[slice, slice]]


@st.composite
def cuts(draw: st.DrawFn, shape: tuple[int, int]) -> Cut:
    """Rectangles that make up a map, in any order: bands of rows, each cut into columns in its own way or all alike."""

    def steps(length: int) -> list[slice]:
        inner = draw(st.sets(st.integers(1, length - 1))) if length > 1 else set()
        return [slice(a, b) for a, b in pairwise([0, *sorted(inner), length])]

    bands = steps(shape[0])
    common = steps(shape[1]) if draw(st.booleans()) else None
    found = [(band, cols) for band in bands for cols in common or steps(shape[1])]
    return draw(st.permutations(found))


def regions_of_cut(
    classes: NDArray[np.uint8], cut: Cut, *, nodata: int = 255, units: NDArray[np.int64] | None = None
) -> list[BlockRegions]:
    return [
        block_regions(
            classes[where],
            row_off=where[0].start,
            col_off=where[1].start,
            scene_width=classes.shape[1],
            nodata=nodata,
            units=None if units is None else units[where],
        )
        for where in cut
    ]


def graph_of(classes: NDArray[np.uint8], **options: Any) -> RegionGraph:
    whole = (slice(0, classes.shape[0]), slice(0, classes.shape[1]))
    return join_regions(regions_of_cut(classes, [whole], **options))[0]


def borders_by_hand(labels: NDArray[Any]) -> dict[tuple[int, int], int]:
    """Pixel edges between each two components, by looking at every two neighbouring pixels."""
    found: Counter[tuple[int, int]] = Counter()
    rows, cols = labels.shape
    for r in range(rows):
        for c in range(cols):
            for s, d in ((r + 1, c), (r, c + 1)):
                if s < rows and d < cols and labels[r, c] and labels[s, d] and labels[r, c] != labels[s, d]:
                    a, b = sorted((int(labels[r, c]) - 1, int(labels[s, d]) - 1))
                    found[a, b] += 1
    return dict(found)


def assert_equal_values(one: object, other: object) -> None:
    for field in fields(one):  # type: ignore[arg-type]
        a, b = getattr(one, field.name), getattr(other, field.name)
        np.testing.assert_array_equal(a, b, err_msg=field.name)
        assert not isinstance(a, np.ndarray) or a.dtype == b.dtype, field.name


@given(maps, st.sampled_from([255, 0]), st.data())
def test_the_graph_of_a_map_counts_its_components_and_the_pixel_edges_between_them(
    classes: NDArray[np.uint8], nodata: int, data: st.DataObject
) -> None:
    units = data.draw(st.none() | arrays(np.int64, classes.shape, elements=st.integers(1, 2**50)))
    graph = graph_of(classes, nodata=nodata, units=units)
    labels = label_components(classes, nodata=nodata).labels
    areas = np.ones(classes.shape, dtype=np.int64) if units is None else units
    for k in range(len(graph)):
        inside = labels == k + 1
        assert graph.size[k] == areas[inside].sum()
        assert graph.first[k] == np.flatnonzero(inside)[0]
        assert (classes[inside] == graph.class_id[k]).all()
    assert len(graph) == labels.max()
    expected = borders_by_hand(labels)
    assert [tuple(edge) for edge in graph.edges.tolist()] == sorted(expected)
    assert graph.length.tolist() == [expected[edge] for edge in sorted(expected)]


@given(maps, st.sampled_from([255, 0]), st.data())
def test_the_graph_of_a_scene_does_not_depend_on_its_cut_into_blocks(
    classes: NDArray[np.uint8], nodata: int, data: st.DataObject
) -> None:
    units = data.draw(st.none() | arrays(np.int64, classes.shape, elements=st.integers(1, 2**50)))
    cut = data.draw(cuts(classes.shape))
    blocks = regions_of_cut(classes, cut, nodata=nodata, units=units)
    graph, regions = join_regions(blocks)
    assert_equal_values(graph, graph_of(classes, nodata=nodata, units=units))

    labels = label_components(classes, nodata=nodata).labels
    for where, region in zip(cut, regions, strict=True):
        inside = label_components(classes[where], nodata=nodata).labels
        np.testing.assert_array_equal(np.append(region, -1)[inside - 1] + 1, labels[where])


@given(maps, st.data())
def test_a_block_that_is_left_out_counts_as_nodata(classes: NDArray[np.uint8], data: st.DataObject) -> None:
    cut = data.draw(cuts(classes.shape))
    gone = data.draw(st.integers(0, len(cut) - 1))
    graph, _ = join_regions(regions_of_cut(classes, cut[:gone] + cut[gone + 1 :]))
    without = classes.copy()
    without[cut[gone]] = 255
    assert_equal_values(graph, graph_of(without))


def test_a_block_knows_its_sides_and_travels_as_it_is() -> None:
    classes = np.array([[5, 5, 255], [7, 5, 2]], dtype=np.uint8)
    block = block_regions(classes, row_off=4, col_off=2, scene_width=10)
    sides = {name: getattr(block, name).tolist() for name in ("top", "bottom", "left", "right")}
    assert sides == {"top": [1, 1, 0], "bottom": [2, 1, 3], "left": [1, 2], "right": [0, 3]}
    assert block.first.tolist() == [42, 52, 54]
    assert (block.height, block.width, len(block)) == (2, 3, 3)
    assert_equal_values(pickle.loads(pickle.dumps(block)), block)


def test_no_block_makes_an_empty_graph() -> None:
    graph, regions = join_regions([])
    assert (len(graph), graph.edges.shape, graph.length.shape, regions) == (0, (0, 2), (0,), [])


def test_a_scene_of_nodata_makes_an_empty_graph() -> None:
    nothing = np.full((4, 3), 255, dtype=np.uint8)
    graph, regions = join_regions(regions_of_cut(nothing, [(slice(0, 4), slice(0, 2)), (slice(0, 4), slice(2, 3))]))
    assert (len(graph), graph.edges.shape, [len(region) for region in regions]) == (0, (0, 2), [0, 0])


def test_first_pixels_of_a_scene_beyond_32_bits_are_told_apart() -> None:
    classes = np.array([[1, 2]], dtype=np.uint8)
    block = block_regions(classes, row_off=100_000, col_off=99_998, scene_width=100_000)
    assert block.first.tolist() == [10_000_099_998, 10_000_099_999]


def test_a_pixel_without_area_counts_one_unit() -> None:
    units = np.array([[0, -1, 8]], dtype=np.int64)
    assert graph_of(np.array([[1, 1, 2]], dtype=np.uint8), units=units).size.tolist() == [2, 8]


@pytest.mark.parametrize("units", [np.ones((2, 3), np.int64), np.ones((2, 2), np.float64)])
def test_areas_that_do_not_fit_the_block_are_refused(units: NDArray[Any]) -> None:
    with pytest.raises(ParameterError, match="give one int64 per pixel"):
        block_regions(np.ones((2, 2), np.uint8), row_off=0, col_off=0, scene_width=2, units=units)


@pytest.mark.parametrize(("row_off", "col_off"), [(-1, 0), (0, 3), (0, -1)])
def test_a_block_that_is_not_in_the_scene_is_refused(row_off: int, col_off: int) -> None:
    with pytest.raises(ParameterError, match="give the block's place in the scene"):
        block_regions(np.ones((2, 2), np.uint8), row_off=row_off, col_off=col_off, scene_width=4)


def test_more_regions_than_32_bits_can_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REGIONS", 2)
    blocks = regions_of_cut(np.array([[1, 2, 1]], dtype=np.uint8), [(slice(0, 1), slice(0, 3))])
    with pytest.raises(ResourceError, match="cut the scene into parts"):
        join_regions(blocks)
