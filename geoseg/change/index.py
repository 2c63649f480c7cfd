"""Class maps as places in one legend: what both dates are counted in."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["MOST_CLASSES", "NONE", "places"]

NONE = 255
"""Place that means "no observation"."""
MOST_CLASSES = 254
"""Classes that a legend of two maps may have: places are bytes."""


@njit(nogil=True, cache=True)
def places(values: NDArray[np.uint8], lookup: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(rows, cols) place in the legend of each class value.

    Args:
        values: (rows, cols) class values.
        lookup: (256,) place of each class value, `NONE` for nodata.

    Example:
        >>> lookup = np.full(256, NONE, np.uint8)
        >>> lookup[[10, 20]] = 0, 1
        >>> places(np.array([[20, 10, 255]], np.uint8), lookup)
        array([[  1,   0, 255]], dtype=uint8)
    """
    out = np.empty(values.shape, dtype=np.uint8)
    for r in range(values.shape[0]):
        for c in range(values.shape[1]):
            out[r, c] = lookup[values[r, c]]
    return out
