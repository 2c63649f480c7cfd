"""The history of each pixel in a few numbers: when it first and last changed, how often, and what it is."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.change.index import NONE
from geoseg.errors import ParameterError
from geoseg.kernels import njit
from geoseg.legend import NODATA

__all__ = ["MOST_DATES", "NEVER", "Trajectory", "trajectory"]

MOST_DATES: Final = 100
"""Dates of a series at most: what a task holds grows with them."""
NEVER: Final = 0
"""Date of a change where there was none; dates are numbered from 0, and a change is seen on the second at the
earliest."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """Of each pixel of a block, (rows, cols) each."""

    first: NDArray[np.uint8]
    """Number of the date on which its first change was seen, `NEVER` without one; 255 where fewer than two dates were
    observed."""
    last: NDArray[np.uint8]
    """Likewise of its last change."""
    count: NDArray[np.uint8]
    """How many dates have another class than the date observed before; 255 likewise."""
    final: NDArray[np.uint8]
    """Place in the legend on the last date that was observed; `NONE` where none was."""


def trajectory(places: NDArray[np.uint8]) -> Trajectory:
    """What became of each pixel. Dates without an observation are passed over: they are no class, and no change.

    Args:
        places: (D, rows, cols) place in the legend on each date, `NONE` without an observation.

    Raises:
        ParameterError: If there are too many dates.

    Example:
        >>> found = trajectory(np.array([[[0, 0, 0, 3]], [[0, 255, 1, 255]], [[1, 1, 0, 255]]], np.uint8))
        >>> found.first.tolist(), found.last.tolist(), found.count.tolist(), found.final.tolist()
        ([[2, 2, 1, 255]], [[2, 2, 2, 255]], [[1, 1, 2, 255]], [[1, 1, 0, 3]])
    """
    if len(places) > MOST_DATES:
        raise ParameterError(f"{len(places)} dates: give at most {MOST_DATES}, or fewer of each year")
    shape = places.shape[1:]
    found = Trajectory(
        first=np.full(shape, NODATA, np.uint8),
        last=np.full(shape, NODATA, np.uint8),
        count=np.full(shape, NODATA, np.uint8),
        final=np.full(shape, NONE, np.uint8),
    )
    _follow(places, found.first, found.last, found.count, found.final)
    return found


@njit(nogil=True, cache=True)
def _follow(
    places: NDArray[np.uint8],
    first: NDArray[np.uint8],
    last: NDArray[np.uint8],
    count: NDArray[np.uint8],
    final: NDArray[np.uint8],
) -> None:
    """Date by date, so that pixels are gone through as they lie in memory; ``final`` is the class so far."""
    for t in range(places.shape[0]):
        for r in range(places.shape[1]):
            for c in range(places.shape[2]):
                now, was = places[t, r, c], final[r, c]
                if now == NONE:
                    continue
                final[r, c] = now
                if was == NONE:
                    continue
                if count[r, c] == NODATA:
                    first[r, c], last[r, c], count[r, c] = NEVER, NEVER, 0
                if now != was:
                    if count[r, c] == 0:
                        first[r, c] = t
                    last[r, c] = t
                    count[r, c] += 1
