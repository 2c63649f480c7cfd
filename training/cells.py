"""Pixels put together in cells: images and labels of larger pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["averaged", "most"]


def _cells(values: NDArray[Any], n: int) -> NDArray[Any]:
    """(..., row, col) in cells (..., row, n, col, n); rows and columns that are left over are cut off."""
    rows, cols = (size // n for size in values.shape[-2:])
    return values[..., : rows * n, : cols * n].reshape(*values.shape[:-2], rows, n, cols, n)


def averaged(pixels: NDArray[Any], n: int) -> NDArray[Any]:
    """Pixels (band, row, col), whole numbers, of which n along a side are one."""
    found: NDArray[Any] = np.rint(_cells(pixels, n).mean(axis=(-3, -1))).astype(pixels.dtype)
    return found


def most(labels: NDArray[np.uint8], n: int) -> NDArray[np.uint8]:
    """The value (row, col) that most pixels of a cell have; of several the lowest."""
    cells, numbers = _cells(labels, n), np.unique(labels)
    counts = np.stack([(cells == number).sum(axis=(-3, -1)) for number in numbers])
    found: NDArray[np.uint8] = numbers[counts.argmax(axis=0)]
    return found
