"""How much border neighbouring components share, in pixel edges."""

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import njit

__all__ = ["borders_between", "summed"]


def borders_between(padded: NDArray[np.int32], n: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The pairs of components with a common border, and its length in pixel edges.

    Memory, freed at the end: 32 bytes per straight piece of border between two components, of which there are at most
    two per pixel, and 8 per component.

    Args:
        padded: (rows + 2, cols + 2) labels from 1 to ``n``; what is not above 0 has no border.
        n: Number of components.

    Returns:
        Edges (m, 2), indices ``label - 1``, the smaller first, each pair once, in increasing order; and lengths (m,).

    Example:
        >>> borders_between(np.pad(np.array([[1, 1, 2], [3, 0, 2]], dtype=np.int32), 1), 3)
        (array([[0, 1],
               [0, 2]], dtype=int32), array([1, 1]))
    """
    none = np.empty(0, dtype=np.int32)
    n_pieces = _pieces(padded, none, none, np.empty(0, dtype=np.int64))
    a, b = np.empty(n_pieces, dtype=np.int32), np.empty(n_pieces, dtype=np.int32)
    length = np.empty(n_pieces, dtype=np.int64)
    if n_pieces:
        _pieces(padded, a, b, length)
    return summed(n, a, b, length)


def summed(
    n: int, a: NDArray[np.int32], b: NDArray[np.int32], length: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Edges (m, 2) in increasing order, each pair ``a < b`` once, and its lengths added up.

    Sorted in linear time: by ``b``, then by ``a`` with the order among equals kept. Indices are from 0 to ``n - 1``.
    """
    b, a, length = _sorted_by(n, b, a, length)
    a, b, length = _sorted_by(n, a, b, length)
    m = _add_equal(a, b, length)
    return np.stack((a[:m], b[:m]), axis=1), length[:m].copy()


@njit(nogil=True, cache=True)
def _pieces(padded: NDArray[np.int32], a: NDArray[np.int32], b: NDArray[np.int32], length: NDArray[np.int64]) -> int:
    """Straight pieces of border between two components, the smaller index in ``a``; with empty arrays only counted."""
    rows, cols = padded.shape
    fill = len(a) > 0
    going_down = np.empty(cols, dtype=np.int64)  # the piece on the right of each column
    going_right = 0  # the piece below the row
    n = 0
    for r in range(1, rows - 1):
        for c in range(1, cols - 1):
            here, right, below = padded[r, c], padded[r, c + 1], padded[r + 1, c]
            if here <= 0:
                continue
            if right > 0 and right != here:
                if padded[r - 1, c] == here and padded[r - 1, c + 1] == right:
                    if fill:
                        length[going_down[c]] += 1
                else:
                    if fill:
                        a[n], b[n], length[n] = min(here, right) - 1, max(here, right) - 1, 1
                    going_down[c] = n
                    n += 1
            if below > 0 and below != here:
                if padded[r, c - 1] == here and padded[r + 1, c - 1] == below:
                    if fill:
                        length[going_right] += 1
                else:
                    if fill:
                        a[n], b[n], length[n] = min(here, below) - 1, max(here, below) - 1, 1
                    going_right = n
                    n += 1
    return n


@njit(nogil=True, cache=True)
def _sorted_by(
    n: int, key: NDArray[np.int32], other: NDArray[np.int32], length: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Counting sort by a key from 0 to ``n - 1``, stable."""
    place = np.zeros(n + 1, dtype=np.int64)
    for k in range(len(key)):
        place[key[k] + 1] += 1
    for i in range(n):
        place[i + 1] += place[i]
    keys, others, lengths = np.empty_like(key), np.empty_like(other), np.empty_like(length)
    for k in range(len(key)):
        at = place[key[k]]
        place[key[k]] += 1
        keys[at], others[at], lengths[at] = key[k], other[k], length[k]
    return keys, others, lengths


@njit(nogil=True, cache=True)
def _add_equal(a: NDArray[np.int32], b: NDArray[np.int32], length: NDArray[np.int64]) -> int:
    """Add up the lengths of equal pairs, which lie together; the pairs move to the front, their number is returned."""
    m = 0
    for k in range(len(a)):
        if m > 0 and a[k] == a[m - 1] and b[k] == b[m - 1]:
            length[m - 1] += length[k]
        else:
            a[m], b[m], length[m] = a[k], b[k], length[k]
            m += 1
    return m
