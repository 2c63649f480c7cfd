from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.area import PixelAreas
from geoseg.errors import ParameterError, ResourceError
from geoseg.vector.mapping_unit import apply, merge_small, merge_small_components
from geoseg.vector.min_area import parse_min_area
from geoseg.vector.regions import RegionGraph, join_regions

from .test_regions import cuts, regions_of_cut

Map = NDArray[np.uint8]

shapes = array_shapes(min_dims=2, max_dims=2, max_side=12)
VALUES = np.array([255, 7, 2, 9, 0], dtype=np.uint8)


@st.composite
def patchy(draw: st.DrawFn) -> Map:
    """Random pixels stretched along rows and columns, so that regions of many sizes and shapes lie side by side."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    height, width = draw(shapes)
    classes = VALUES[rng.integers(draw(st.integers(0, 1)), draw(st.integers(2, 5)), (height, width))]
    rows, cols = np.sort(rng.integers(0, height, height)), np.sort(rng.integers(0, width, width))
    return classes[rows][:, cols] if draw(st.booleans()) else classes


few_values = st.integers(1, 4).flatmap(
    lambda n: arrays(np.uint8, shapes, elements=st.sampled_from(VALUES[: n + 1].tolist()))
)
maps = few_values | patchy()
thresholds = st.integers(0, 40) | st.just(200)


def components_by_scipy(classes: Map, nodata: int) -> tuple[NDArray[np.int64], int]:
    labels, n = np.zeros(classes.shape, dtype=np.int64), 0
    for value in np.unique(classes[classes != nodata]):
        found, count = ndimage.label(classes == value)
        labels[found > 0] = found[found > 0] + n
        n += count
    return labels, n


def borders_of(labels: NDArray[np.int64], k: int) -> Counter[int]:
    """Pixel edges of component k with each of the others, nodata aside."""
    found: Counter[int] = Counter()
    framed = np.pad(labels, 1)
    for r, c in np.argwhere(framed == k):
        found.update(int(framed[r + dr, c + dc]) for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0)))
    return Counter({other: n for other, n in found.items() if other not in (0, k)})


def merged_slowly(classes: Map, at_least: int, *, nodata: int = 255, units: NDArray[np.int64] | None = None) -> Map:
    """The rule word by word: one merge, then everything is labelled anew."""
    classes = classes.copy()
    areas = np.ones(classes.shape, dtype=np.int64) if units is None else units
    while True:
        labels, n = components_by_scipy(classes, nodata)
        size = {k: int(areas[labels == k].sum()) for k in range(1, n + 1)}
        first = {k: int(np.flatnonzero(labels == k)[0]) for k in size}
        kind = {k: int(classes.ravel()[first[k]]) for k in size}
        for k in sorted((k for k in size if size[k] < at_least), key=lambda k: (size[k], first[k])):
            shared = borders_of(labels, k)
            if shared:
                into = min(shared, key=lambda j: (-shared[j], -size[j], kind[j], first[j]))
                classes[labels == k] = kind[into]
                break
        else:
            return classes


def merged_by_blocks(
    classes: Map, at_least: int, cut: Any, *, nodata: int = 255, units: NDArray[np.int64] | None = None
) -> Map:
    graph, regions = join_regions(regions_of_cut(classes, cut, nodata=nodata, units=units))
    new_class = merge_small(graph, at_least)
    out = np.empty_like(classes)
    for where, region in zip(cut, regions, strict=True):
        out[where] = apply(classes[where], region, new_class, nodata=nodata)
    return out


@settings(max_examples=300)
@given(maps, thresholds, st.sampled_from([255, 7]))
def test_merging_follows_the_rule_word_by_word(classes: Map, at_least: int, nodata: int) -> None:
    merged = merge_small_components(classes, at_least=at_least, nodata=nodata)
    np.testing.assert_array_equal(merged, merged_slowly(classes, at_least, nodata=nodata))


@given(maps, st.integers(0, 300), st.data())
def test_merging_by_area_follows_the_rule_word_by_word(classes: Map, at_least: int, data: st.DataObject) -> None:
    units = data.draw(arrays(np.int64, classes.shape, elements=st.integers(1, 9)))
    merged = merge_small_components(classes, at_least=at_least, units=units)
    np.testing.assert_array_equal(merged, merged_slowly(classes, at_least, units=units))


@given(maps, thresholds, st.sampled_from([255, 7]), st.data())
def test_merging_does_not_depend_on_the_cut_into_blocks(
    classes: Map, at_least: int, nodata: int, data: st.DataObject
) -> None:
    cut = data.draw(cuts(classes.shape))
    units = data.draw(st.none() | arrays(np.int64, classes.shape, elements=st.integers(1, 2**40)))
    scaled = at_least if units is None else at_least * 2**40
    whole = merge_small_components(classes, at_least=scaled, nodata=nodata, units=units)
    np.testing.assert_array_equal(merged_by_blocks(classes, scaled, cut, nodata=nodata, units=units), whole)


@given(maps, thresholds)
def test_nothing_small_is_left_but_what_has_no_neighbour_and_nodata_stays(classes: Map, at_least: int) -> None:
    merged = merge_small_components(classes, at_least=at_least)
    np.testing.assert_array_equal(merged == 255, classes == 255)
    labels, n = components_by_scipy(merged, 255)
    small = [k for k in range(1, n + 1) if (labels == k).sum() < at_least]
    assert not any(borders_of(labels, k) for k in small)
    for k in small:  # it has nowhere to go, so all around its pixels was nodata from the beginning
        inside = labels == k
        around = ndimage.binary_dilation(inside) & ~inside
        assert (classes[around] == 255).all()


@given(maps, thresholds)
def test_merging_twice_is_merging_once(classes: Map, at_least: int) -> None:
    merged = merge_small_components(classes, at_least=at_least)
    np.testing.assert_array_equal(merge_small_components(merged, at_least=at_least), merged)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("at_least", [2, 9, 60])
def test_a_map_of_blobs_and_specks_follows_the_rule_in_odd_blocks(seed: int, at_least: int) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, (8, 9)).repeat(5, axis=0).repeat(4, axis=1).astype(np.uint8)
    specks = rng.random(classes.shape) < 0.1
    classes[specks] = rng.choice([0, 1, 2, 255], int(specks.sum()))
    cut = [(slice(r, min(r + 17, 40)), slice(c, min(c + 11, 36))) for r in range(0, 40, 17) for c in range(0, 36, 11)]
    expected = merged_slowly(classes, at_least)
    np.testing.assert_array_equal(merged_by_blocks(classes, at_least, cut), expected)
    assert (expected != classes).any()


@pytest.mark.parametrize("example", ["sieve/gdal_sieve_7"], indirect=True)
def test_the_published_example_of_gdal_is_reproduced(example: dict[str, Any]) -> None:
    inputs, expected = example["inputs"], example["expected"]
    classes = np.array(inputs["raster"], dtype=np.uint8)
    merged = merge_small_components(classes, at_least=inputs["threshold"], nodata=inputs["nodata"])
    assert merged.tolist() == expected["result"]
    # without nodata all values are classes
    all_classes = merge_small_components(classes, at_least=inputs["threshold"], nodata=255)
    assert all_classes.tolist() == expected["result_if_nodata_not_masked"]


NESTED = np.full((7, 7), 3, dtype=np.uint8)
NESTED[2:5, 2:5] = 2
NESTED[3, 3] = 1


@pytest.mark.parametrize("example", ["sieve/nested_small"], indirect=True)
def test_a_speck_in_a_ring_in_a_field_is_as_in_the_worked_example_but_for_one_size(example: dict[str, Any]) -> None:
    """All but 9, the size of ring and speck together.

    GDAL, by which the example was made, goes from speck to ring to field with the sizes there were at first, so the
    ring of 8 px goes too. Here sizes are updated: the speck makes it a ring of 9 px, which is not below 9.
    """
    classes = np.array(example["inputs"]["raster"], dtype=np.uint8)
    np.testing.assert_array_equal(classes, NESTED)
    results = {int(size): result for size, result in example["expected"]["results"].items()}
    assert sorted(results) == [2, 8, 9, 10]
    for at_least in (2, 8, 10):
        assert merge_small_components(classes, at_least=at_least).tolist() == results[at_least]
    assert (np.array(results[9]) == 3).all()


def test_a_speck_makes_its_ring_larger_before_the_ring_is_judged() -> None:
    filled = np.where(NESTED == 1, np.uint8(2), NESTED)
    for at_least, expected in {1: NESTED, 2: filled, 8: filled, 9: filled, 10: np.full_like(NESTED, 3)}.items():
        np.testing.assert_array_equal(merge_small_components(NESTED, at_least=at_least), expected)


def merged_row(*values: int, at_least: int) -> list[int]:
    merged: list[list[int]] = merge_small_components(np.array([values], dtype=np.uint8), at_least=at_least).tolist()
    return merged[0]


def test_a_tie_of_borders_goes_to_the_larger_neighbour() -> None:
    assert merged_row(1, 1, 9, 2, 2, 2, at_least=2) == [1, 1, 2, 2, 2, 2]
    assert merged_row(2, 2, 2, 9, 1, 1, at_least=2) == [2, 2, 2, 2, 1, 1]


def test_a_tie_of_borders_and_sizes_goes_to_the_smaller_class() -> None:
    assert merged_row(4, 4, 9, 3, 3, at_least=2) == [4, 4, 3, 3, 3]
    assert merged_row(3, 3, 9, 4, 4, at_least=2) == [3, 3, 3, 4, 4]


def test_of_equally_small_components_the_first_goes_first() -> None:
    # 8 goes first, into 1, which is larger than 9; then 9 has 3 px of class 1 on its left and 2 px on its right
    assert merged_row(1, 1, 8, 9, 2, 2, at_least=2) == [1, 1, 1, 1, 2, 2]


def test_the_longest_border_wins_over_the_largest_neighbour() -> None:
    classes = np.array([[1, 1, 1, 1, 1], [2, 2, 9, 1, 1], [2, 2, 9, 2, 1], [2, 2, 2, 2, 1]], dtype=np.uint8)
    merged = merge_small_components(classes, at_least=3)
    assert (merged[1, 2], merged[2, 2]) == (2, 2)
    np.testing.assert_array_equal(merged[classes != 9], classes[classes != 9])


def test_neighbours_of_the_same_class_become_one_with_what_is_merged() -> None:
    # the 9 joins the two pieces of 2, which together are large enough to stay
    assert merged_row(7, 7, 7, 7, 2, 2, 9, 2, 2, 7, 7, 7, 7, at_least=4) == [7, 7, 7, 7, 2, 2, 2, 2, 2, 7, 7, 7, 7]


def test_what_was_merged_still_knows_all_its_neighbours() -> None:
    # 4 goes into 5; 1 and 2, then 1 and 3, make 8 px, which border on that
    pieces = [[1, 2], [1, 1], *[[3, 3]] * 2, *[[4, 4]] * 3, *[[5, 5]] * 5]
    for at_least, expected in {5: [3, 4, 5], 8: [3, 5], 9: [5]}.items():
        merged = merge_small_components(np.array(pieces, dtype=np.uint8), at_least=at_least)
        assert np.unique(merged).tolist() == expected


def test_what_has_only_nodata_around_it_stays() -> None:
    assert merged_row(5, 255, 1, 2, 2, 255, 3, at_least=4) == [5, 255, 2, 2, 2, 255, 3]


def test_a_map_of_one_small_component_stays() -> None:
    assert merged_row(5, 5, at_least=100) == [5, 5]


def test_area_decides_where_it_is_the_measure() -> None:
    """Rows of a geographic grid: two pixels at 80 degrees north are smaller than one at the equator."""
    from odc.geo.geobox import GeoBox

    areas = PixelAreas.of(GeoBox.from_bbox((0, -0.5, 3, 80.5), "EPSG:4326", resolution=1))
    units = areas.units(0, 0, *areas.shape)
    classes = np.ones(areas.shape, dtype=np.uint8)
    classes[0, :2] = 2
    classes[-1, 0] = 3
    at_least = parse_min_area("10000 km2").threshold(areas.unit_m2)
    assert units[0, :2].sum() < at_least < units[-1, 0]
    merged = merge_small_components(classes, at_least=at_least, units=units)
    assert (merged[0, :2].tolist(), merged[-1, 0]) == ([1, 1], 3)
    by_pixels = merge_small_components(classes, at_least=2)
    assert (by_pixels[0, :2].tolist(), by_pixels[-1, 0]) == ([2, 2], 1)


def test_nothing_is_changed_in_place() -> None:
    classes = np.array([[1, 2, 2]], dtype=np.uint8)
    (block,) = regions_of_cut(classes, [(slice(0, 1), slice(0, 3))])
    graph, (regions,) = join_regions([block])
    new_class = merge_small(graph, 2)
    apply(classes, regions, new_class)
    assert (classes.tolist(), graph.class_id.tolist(), graph.size.tolist()) == ([[1, 2, 2]], [1, 2], [1, 2])
    assert new_class.tolist() == [2, 2]


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ParameterError, match="give a number from 0"):
        merge_small_components(np.ones((2, 2), np.uint8), at_least=-1)


def test_regions_of_another_map_are_refused() -> None:
    with pytest.raises(ParameterError, match="give the class map and the nodata value that the regions were made of"):
        apply(np.array([[1, 2]], np.uint8), np.zeros(1, np.int32), np.ones(1, np.uint8))


def test_more_borders_than_32_bits_can_number_are_refused() -> None:
    n = 2**30
    graph = RegionGraph(
        class_id=np.zeros(1, np.uint8),
        size=np.zeros(1, np.int64),
        first=np.zeros(1, np.int64),
        edges=np.broadcast_to(np.zeros((1, 2), np.int32), (n, 2)),
        length=np.broadcast_to(np.ones(1, np.int64), n),
    )
    with pytest.raises(ResourceError, match="smooth the map"):
        merge_small(graph, 2)
