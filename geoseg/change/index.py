"""Class maps as places in one legend: what both dates are counted in."""

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import njit

__all__ = ["MOST_CLASSES", "NONE", "UNKNOWN", "places"]

NONE = 255
"""Place that means "no observation"."""
UNKNOWN = 254
"""What a lookup has for values that the legend lacks; no map of places has it."""
MOST_CLASSES = 254
"""Classes that a legend of two maps may have: places are bytes."""


@njit(nogil=True, cache=True)
def places(values: NDArray[np.uint8], lookup: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(rows, cols) place in the legend of each class value, and (256,) which values the legend lacks.

    What it lacks becomes `NONE`.

    Args:
        values: (rows, cols) class values.
        lookup: (256,) place of each class value, `NONE` for nodata, `UNKNOWN` for what is no class.

    Example:
        >>> lookup = np.full(256, UNKNOWN, np.uint8)
        >>> lookup[[10, 20, 255]] = 0, 1, NONE
        >>> found, lacking = places(np.array([[20, 10, 255, 7]], np.uint8), lookup)
        >>> found.tolist(), np.flatnonzero(lacking).tolist()
        ([[1, 0, 255, 255]], [7])
    """
    out = np.empty(values.shape, dtype=np.uint8)
    lacking = np.zeros(256, dtype=np.bool_)
    for r in range(values.shape[0]):
        for c in range(values.shape[1]):
            place = lookup[values[r, c]]
            if place == UNKNOWN:
                lacking[values[r, c]] = True
                place = NONE
            out[r, c] = place
    return out, lacking
