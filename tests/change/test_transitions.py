"""Counts and codes of change: exact sums, symmetry, independence of the cut."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.area.sums import class_totals
from geoseg.change import ChangeCodes, Transitions, count_transitions
from geoseg.change.index import NONE
from geoseg.errors import ParameterError
from geoseg.legend import Legend
from tests.change.conftest import CLASSES, areas_of, examples, pairs

LEGEND = Legend.unnamed(tuple(range(CLASSES)))
CODES = ChangeCodes.of(LEGEND)


def count(before: Any, after: Any, **more: Any) -> tuple[Any, Transitions]:
    return count_transitions(before, after, areas_of(before.shape), CODES, **more)


@given(pairs())
def test_rows_and_columns_add_up_to_the_totals_of_each_date(both: Any) -> None:
    before, after = both
    _, counts = count(before, after)
    for date, axis in ((before, 1), (after, 0)):
        totals = class_totals(date, areas_of(date.shape))
        at = [*range(CLASSES), NONE]
        assert counts.pixels.sum(axis=axis).tolist() == totals.pixels[at].tolist()
        assert counts.units.sum(axis=axis).tolist() == totals.units[at].tolist()
    assert counts.n_compared == ((before != NONE) & (after != NONE)).sum()


@given(pairs())
def test_swapped_dates_transpose_the_counts(both: Any) -> None:
    before, after = both
    forth, back = count(before, after)[1], count(after, before)[1].transposed()
    np.testing.assert_array_equal(forth.units, back.units)
    np.testing.assert_array_equal(forth.pixels, back.pixels)


@given(pairs(n=1))
def test_a_map_against_itself_has_nothing_off_the_diagonal(one: Any) -> None:
    codes, counts = count(one[0], one[0])
    assert counts.n_changed == 0
    assert not len(counts.occurring())
    assert set(np.unique(codes)) <= {0, 255}
    np.testing.assert_array_equal(codes == 255, one[0] == NONE)


@given(pairs(n=3), st.integers(1, 8), st.integers(1, 8))
def test_codes_and_counts_do_not_depend_on_the_cut(three: Any, down: int, across: int) -> None:
    before, after, some = three
    percent = np.where(some == NONE, 255, some * 40).astype(np.uint8)
    whole, counts = count(before, after, confidence=percent)
    areas, parts, pieces = areas_of(before.shape), Transitions.zero(CLASSES), np.zeros_like(whole)
    for row in range(0, before.shape[0], down):
        for col in range(0, before.shape[1], across):
            at = slice(row, row + down), slice(col, col + across)
            pieces[at], found = count_transitions(
                before[at], after[at], areas, CODES, row_off=row, col_off=col, confidence=percent[at]
            )
            parts = parts + found
    np.testing.assert_array_equal(pieces, whole)
    for name in ("pixels", "units", "conf_sum", "conf_pixels"):
        np.testing.assert_array_equal(getattr(parts.sums, name), getattr(counts.sums, name))


@given(pairs(n=3))
def test_the_counts_are_those_of_plain_loops(three: Any) -> None:
    before, after, some = three
    percent = np.where(some == NONE, 255, some * 40).astype(np.uint8)
    codes, counts = count(before, after, confidence=percent)
    units = areas_of(before.shape).units(0, 0, *before.shape)
    expected = np.zeros((4, CLASSES + 1, CLASSES + 1), dtype=np.int64)
    for at in np.ndindex(before.shape):
        b, a = min(int(before[at]), CLASSES), min(int(after[at]), CLASSES)
        known = percent[at] != 255
        expected[:, b, a] += np.array([1, units[at], percent[at] * known, known], dtype=np.int64)
        want = 255 if CLASSES in (b, a) else 0 if a == b else 1 + CODES.pairs.tolist().index([b, a])
        assert codes[at] == want
    found = [counts.sums.pixels, counts.sums.units, counts.sums.conf_sum, counts.sums.conf_pixels]
    np.testing.assert_array_equal(np.reshape(found, expected.shape), expected)


@pytest.mark.parametrize("example", [e for e in examples("change_components") if getattr(e, "id", "") == "differ_4x4"])
def test_the_matrix_is_that_of_the_worked_maps(example: dict[str, Any]) -> None:
    before, after = (np.array(example["inputs"][n], dtype=np.uint8) - 1 for n in ("rows_map", "cols_map"))
    assert count(before, after)[1].pixels[:-1, :-1].tolist() == example["inputs"]["matrix"]


def test_dates_of_different_shape_are_refused() -> None:
    some = np.zeros((2, 2), dtype=np.uint8)
    with pytest.raises(ParameterError, match=r"second date of \(3, 2\) px and the first date of \(2, 2\)"):
        count(some, np.zeros((3, 2), dtype=np.uint8))
    with pytest.raises(ParameterError, match="confidence"):
        count(some, some, confidence=np.zeros((2, 3), dtype=np.uint8))


def test_counts_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ParameterError, match="give 16"):
        Transitions(n_classes=3, sums=Transitions.zero(2).sums)


@pytest.mark.parametrize(
    ("n", "dtype", "nodata"), [(1, np.uint8, 255), (16, np.uint8, 255), (17, np.uint16, 65535), (254, np.uint16, 65535)]
)
def test_codes_are_as_small_as_they_can_be(n: int, dtype: Any, nodata: int) -> None:
    codes = ChangeCodes.of(Legend.unnamed(tuple(range(n))))
    assert (codes.dtype, codes.nodata, len(codes)) == (dtype, nodata, n * (n - 1))
    places = np.arange(n, dtype=np.uint8)[None]
    found, _ = count_transitions(places, places[:, ::-1].copy(), areas_of((1, n)), codes)
    assert found.dtype == dtype
    for i, code in enumerate(found[0].tolist()):
        assert code == 0 if i == n - 1 - i else codes.pairs[code - 1].tolist() == [i, n - 1 - i]


def test_a_pair_without_a_code_is_counted_and_shown_as_no_change() -> None:
    codes = ChangeCodes.of(LEGEND, [(0, 2)])
    assert len(codes) == 1
    before, after = np.array([[0, 1]], np.uint8), np.array([[2, 2]], np.uint8)
    found, counts = count_transitions(before, after, areas_of((1, 2)), codes)
    assert found.tolist() == [[1, 0]]
    assert counts.occurring().tolist() == [[0, 2], [1, 2]]


def test_more_classes_than_bytes_are_refused() -> None:
    with pytest.raises(ParameterError, match="at most 254"):
        ChangeCodes.of(Legend.unnamed(tuple(range(255))))


def test_the_legend_of_change_names_pairs_and_colours_them_by_what_they_became() -> None:
    from geoseg.legend import LegendClass

    classes = (("water", "#0000ff"), ("forest", "#00ff00"))
    legend = Legend(classes=tuple(LegendClass(value=i, name=n, color=c) for i, (n, c) in enumerate(classes)))
    codes = ChangeCodes.of(legend)
    change = codes.change_legend()
    assert change.names == ("no change", "water to forest", "forest to water")
    assert (change.values, change.nodata) == ((0, 1, 2), 255)
    assert change.classes[1].color == "#00bf40"
    only = codes.polygon_legend()
    assert only is not None
    assert (only.values, only.nodata) == ((1, 2), 0)
    assert ChangeCodes.of(Legend.unnamed((1,))).polygon_legend() is None


def test_pairs_of_confusing_names_stay_apart() -> None:
    from geoseg.legend import LegendClass

    names = ("a", "b to a", "a to b")  # a to b to a, twice
    legend = Legend(classes=tuple(LegendClass(value=i, name=n, color="#000000") for i, n in enumerate(names)))
    found = ChangeCodes.of(legend).change_legend().names
    assert len(set(found)) == 7


def test_a_legend_of_too_many_kinds_is_refused() -> None:
    with pytest.raises(ParameterError, match="272 kinds of change"):
        ChangeCodes.of(Legend.unnamed(tuple(range(17)))).change_legend()
