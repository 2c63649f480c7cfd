"""Which change misregistration explains: against plain loops, and what it must never touch."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.change.index import NONE
from geoseg.change.tolerance import without_pairs, without_slivers
from geoseg.errors import ParameterError
from tests.change.conftest import pairs


def plainly(before: Any, after: Any, t: int) -> Any:
    """The rule, read aloud."""
    out = after.copy()
    for r, c in np.ndindex(before.shape):
        near = slice(max(r - t, 0), r + t + 1), slice(max(c - t, 0), c + t + 1)
        b, a = before[r, c], after[r, c]
        if NONE in (a, b) or a == b:
            continue
        if (after[near] == b).any() and (before[near] == a).any():
            out[r, c] = b
    return out


@given(pairs(), st.integers(0, 3))
def test_a_change_stays_only_if_a_class_of_it_is_absent_nearby_on_the_other_date(both: Any, t: int) -> None:
    np.testing.assert_array_equal(without_slivers(*both, tolerance=t), plainly(both[0], both[1], t))


@given(pairs(), st.integers(0, 3), st.integers(1, 5), st.integers(1, 5))
def test_it_does_not_depend_on_the_cut(both: Any, t: int, down: int, across: int) -> None:
    before, after = both
    whole, pieces = without_slivers(before, after, tolerance=t), np.empty_like(before)
    for row in range(0, before.shape[0], down):
        for col in range(0, before.shape[1], across):
            top, left = max(0, row - t), max(0, col - t)
            at = slice(top, row + down + t), slice(left, col + across + t)
            height, width = min(down, before.shape[0] - row), min(across, before.shape[1] - col)
            inside = slice(row - top, row - top + height), slice(col - left, col - left + width)
            pieces[row : row + height, col : col + width] = without_slivers(
                before[at], after[at], tolerance=t, inside=inside
            )
    np.testing.assert_array_equal(pieces, whole)


@given(pairs(), st.integers(0, 3))
def test_nothing_but_change_is_touched_and_no_tolerance_touches_nothing(both: Any, t: int) -> None:
    before, after = both
    out = without_slivers(before, after, tolerance=t)
    assert ((out == after) | (out == before)).all()
    np.testing.assert_array_equal(out == NONE, (after == NONE))
    np.testing.assert_array_equal(without_slivers(before, after, tolerance=0), after)


@given(pairs(), st.integers(0, 2))
def test_more_tolerance_keeps_less_change(both: Any, t: int) -> None:
    before = both[0]
    less, more = (without_slivers(*both, tolerance=t + i) != before for i in (1, 0))
    assert not (less & ~more).any()


@given(pairs(), st.integers(1, 3))
def test_the_same_pixels_stay_changed_when_the_dates_are_swapped(both: Any, t: int) -> None:
    before, after = both
    kept = without_slivers(before, after, tolerance=t) != before
    np.testing.assert_array_equal(without_slivers(after, before, tolerance=t) != after, kept)


@pytest.mark.parametrize(("down", "across"), [(1, 0), (0, 1), (1, 1), (-1, 1)])
def test_a_shift_within_the_tolerance_is_no_change_where_patches_are_wider(down: int, across: int) -> None:
    blocks = np.random.default_rng(4).integers(0, 4, (8, 8)).repeat(6, axis=0).repeat(6, axis=1).astype(np.uint8)
    moved = np.roll(blocks, (down, across), axis=(0, 1))
    inside = slice(2, -2), slice(2, -2)  # what came round the edge was not there before
    before, after = blocks[inside], moved[inside]
    assert (before != after).mean() > 0.1
    np.testing.assert_array_equal(without_slivers(before, after, tolerance=1), before)


def test_a_new_patch_stays_however_small_and_a_grown_one_loses_nothing_but_its_corners() -> None:
    before = np.zeros((20, 20), dtype=np.uint8)
    before[:, 14:] = 1
    after = before.copy()
    after[4, 4] = 2  # a new house
    after[8:16, 8:] = 1  # the wood grew
    kept = without_slivers(before, after, tolerance=1)
    assert kept[4, 4] == 2
    lost = np.argwhere(kept != after)
    assert lost.tolist() == [[8, 13], [15, 13]]


def test_pairs_that_cannot_be_keep_the_first_class() -> None:
    never = np.zeros((256, 256), dtype=np.bool_)
    never[0, 1] = True
    before, after = np.array([[0, 0, 1, NONE]], np.uint8), np.array([[1, 2, 0, 1]], np.uint8)
    assert without_pairs(before, after, never).tolist() == [[0, 2, 0, 1]]


@pytest.mark.parametrize("pixels", [-1, 65])
def test_a_tolerance_that_is_none_is_refused(pixels: int) -> None:
    some = np.zeros((2, 2), dtype=np.uint8)
    with pytest.raises(ParameterError, match="from 0 to 64"):
        without_slivers(some, some, tolerance=pixels)


def test_dates_of_different_shape_are_refused() -> None:
    with pytest.raises(ParameterError, match="cut them alike"):
        without_slivers(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), tolerance=1)
