"""Which change is none: what misregistration explains, and what cannot be."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.change.index import NONE
from geoseg.errors import ParameterError
from geoseg.kernels import njit

__all__ = ["MOST_TOLERANCE", "check_tolerance", "without_pairs", "without_slivers"]

MOST_TOLERANCE: Final = 64
"""Largest tolerance in pixels: blocks are read with a margin this wide on every side."""


def check_tolerance(pixels: int) -> None:
    """Refuse a tolerance that is none.

    Raises:
        ParameterError: If it is not from 0 to `MOST_TOLERANCE`.
    """
    if not 0 <= pixels <= MOST_TOLERANCE:
        raise ParameterError(
            f"a tolerance of {pixels} px: choose one from 0 to {MOST_TOLERANCE}, 1 for most pairs; maps that are "
            "further apart are to be aligned first"
        )


def without_slivers(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    *,
    tolerance: int,
    inside: tuple[slice, slice] | None = None,
) -> NDArray[np.uint8]:
    """The second date, with the first date's class where a shift of some pixels explains the change.

    A pixel that was ``a`` and is ``b`` stays changed only if ``a`` is absent after, or ``b`` was absent before, within
    so many rows and columns. Along a border that moved by a shift both are there: the sliver goes. A patch that is new
    or gone has one class that is not there on the other date: it stays, however small. A patch that grew loses pixels
    only where old and new border are both within reach. Pixels without an observation hold no class.

    Args:
        before: (rows, cols) places in the legend on the first date, with a margin of ``tolerance`` pixels where the map
            goes on.
        after: (rows, cols) on the second.
        tolerance: Rows and columns.
        inside: Rows and columns without the margin; all by default.

    Returns:
        (rows, cols) of the inside. It does not depend on how the map is cut into blocks.

    Raises:
        ParameterError: If the tolerance is none, or the dates differ in shape.

    Example:
        >>> was = np.array([[0, 0, 1, 1, 1, 1]], np.uint8)
        >>> now = np.array([[0, 0, 0, 1, 1, 2]], np.uint8)  # the border moved by a pixel; something new
        >>> without_slivers(was, now, tolerance=1)
        array([[0, 0, 1, 1, 1, 2]], dtype=uint8)
    """
    check_tolerance(tolerance)
    if before.shape != after.shape:
        raise ParameterError(f"dates of {before.shape} and {after.shape} px: cut them alike")
    rows, cols = inside or (slice(0, before.shape[0]), slice(0, before.shape[1]))
    return np.asarray(_reconciled(before, after, tolerance, rows.start, rows.stop, cols.start, cols.stop))


@njit(nogil=True, cache=True)
def _reconciled(
    before: NDArray[np.uint8], after: NDArray[np.uint8], t: int, row: int, row_end: int, col: int, col_end: int
) -> NDArray[np.uint8]:
    height, width = before.shape
    out = np.empty((row_end - row, col_end - col), dtype=np.uint8)
    for r in range(row, row_end):
        for c in range(col, col_end):
            b, a = before[r, c], after[r, c]
            if (
                b != a
                and b != NONE
                and a != NONE
                and _is_near(after, b, max(r - t, 0), min(r + t + 1, height), max(c - t, 0), min(c + t + 1, width))
                and _is_near(before, a, max(r - t, 0), min(r + t + 1, height), max(c - t, 0), min(c + t + 1, width))
            ):
                a = b
            out[r - row, c - col] = a
    return out


@njit(nogil=True, cache=True)
def _is_near(places: NDArray[np.uint8], place: int, row: int, row_end: int, col: int, col_end: int) -> bool:
    for r in range(row, row_end):
        for c in range(col, col_end):
            if places[r, c] == place:
                return True
    return False


@njit(nogil=True, cache=True)
def without_pairs(
    before: NDArray[np.uint8], after: NDArray[np.uint8], implausible: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """The second date, with the first date's class where the change is one that cannot be.

    Args:
        before: (rows, cols) places in the legend on the first date.
        after: (rows, cols) on the second.
        implausible: (256, 256) whether a change from one place to another cannot be.
    """
    out = np.empty(after.shape, dtype=np.uint8)
    for r in range(after.shape[0]):
        for c in range(after.shape[1]):
            b, a = before[r, c], after[r, c]
            out[r, c] = b if implausible[b, a] else a
    return out
