"""Strata around change: against plain loops, and in pieces as in one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoseg.change.codes import ChangeCodes
from geoseg.change.strata import strata_legend, strata_of
from geoseg.errors import ParameterError
from geoseg.legend import Legend

NEAR = 7
CODES = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 0, 0, 1, 255])
)


def plainly(codes: Any, buffer: int) -> Any:
    out = codes.copy()
    for r, c in np.ndindex(codes.shape):
        around = codes[max(r - buffer, 0) : r + buffer + 1, max(c - buffer, 0) : c + buffer + 1]
        if codes[r, c] == 0 and ((around != 0) & (around != 255)).any():
            out[r, c] = NEAR
    return out


@given(CODES, st.integers(1, 3))
def test_no_change_near_change_is_a_stratum_and_nothing_else_is_touched(codes: Any, buffer: int) -> None:
    np.testing.assert_array_equal(strata_of(codes, nodata=255, near=NEAR, buffer=buffer), plainly(codes, buffer))


@given(CODES, st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_it_does_not_depend_on_the_cut(codes: Any, buffer: int, down: int, across: int) -> None:
    pieces = np.empty_like(codes)
    for row in range(0, codes.shape[0], down):
        for col in range(0, codes.shape[1], across):
            top, left = max(0, row - buffer), max(0, col - buffer)
            height, width = min(down, codes.shape[0] - row), min(across, codes.shape[1] - col)
            inside = slice(row - top, row - top + height), slice(col - left, col - left + width)
            part = codes[top : row + height + buffer, left : col + width + buffer]
            pieces[row : row + height, col : col + width] = strata_of(
                part, nodata=255, near=NEAR, buffer=buffer, inside=inside
            )
    np.testing.assert_array_equal(pieces, plainly(codes, buffer))


def test_the_stratum_has_the_number_behind_the_codes() -> None:
    legend = strata_legend(ChangeCodes.of(Legend.unnamed((1, 2, 3))))
    assert legend.values == (0, 1, 2, 3, 4, 5, 6, 7)
    assert legend.names[-1] == "no change near change"


def test_too_many_kinds_of_change_leave_no_number() -> None:
    pairs = [(i, j) for i in range(17) for j in range(17) if i != j][:254]
    with pytest.raises(ParameterError, match="254 kinds of change leave no number"):
        strata_legend(ChangeCodes.of(Legend.unnamed(tuple(range(1, 18))), pairs))


@pytest.mark.parametrize("buffer", [0, 65])
def test_a_buffer_that_is_none_is_refused(buffer: int) -> None:
    with pytest.raises(ParameterError, match="from 1 to 64"):
        strata_of(np.zeros((2, 2), np.uint8), nodata=255, near=NEAR, buffer=buffer)
