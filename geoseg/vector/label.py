"""Connected components of a class map: which pixels belong to one polygon."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.errors import ParameterError, ResourceError
from geoseg.legend import NODATA

__all__ = ["OUTSIDE", "Components", "features_of", "label_components"]

OUTSIDE = -1
"""Label of the one pixel wide frame around the map. Nodata pixels have label 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Components:
    """The 4-connected components of equal class, counted from 1 in the row-major order of their first pixels."""

    padded: NDArray[np.int32]
    """(rows + 2, cols + 2) labels within a frame of `OUTSIDE`, so that a tracer needs no test for the map's edge."""
    class_id: NDArray[np.uint8]
    """(n,) class value; component ``k`` is at index ``k - 1``."""
    pixels: NDArray[np.int64]
    """(n,) number of pixels."""

    def __len__(self) -> int:
        return len(self.class_id)

    @property
    def labels(self) -> NDArray[np.int32]:
        """(rows, cols) labels from 1, 0 for nodata: a view without the frame."""
        return self.padded[1:-1, 1:-1]


def label_components(classes: NDArray[np.uint8], *, nodata: int = NODATA) -> Components:
    """The 4-connected components of equal class; nodata belongs to none.

    Union-find over rows (Rosenfeld and Pfaltz 1966). Memory: 4 bytes per pixel for the labels, and 4 bytes per pixel
    that has another class than its upper and left neighbours.

    Args:
        classes: (rows, cols) class values.
        nodata: Class value that means "no observation".

    Raises:
        ParameterError: If the map is not a two-dimensional uint8 array with at least one pixel.
        ResourceError: If there are too many components for 32-bit labels.

    Example:
        >>> label_components(np.array([[7, 7, 255], [3, 7, 3]], dtype=np.uint8)).labels
        array([[1, 1, 0],
               [2, 1, 3]], dtype=int32)
    """
    if classes.ndim != 2 or classes.dtype != np.uint8 or classes.size == 0:
        raise ParameterError(
            f"cannot label an array of {classes.dtype} with shape {classes.shape}: "
            "give class values as uint8 with rows and columns, at least one pixel"
        )
    n_starts = _count_starts(classes, nodata)
    if n_starts >= np.iinfo(np.int32).max:
        raise ResourceError(
            f"{n_starts} runs of equal class do not fit 32-bit labels: smooth the map or cut the scene into parts first"
        )
    rows, cols = classes.shape
    padded = np.empty((rows + 2, cols + 2), dtype=np.int32)
    padded[0] = padded[-1] = OUTSIDE
    padded[:, 0] = padded[:, -1] = OUTSIDE
    parent = np.empty(n_starts + 1, dtype=np.int32)
    _label_provisionally(classes, nodata, padded, parent)
    n = _number_roots(parent)
    class_id = np.empty(n, dtype=np.uint8)
    pixels = np.zeros(n, dtype=np.int64)
    _number_pixels(classes, padded, parent, class_id, pixels)
    return Components(padded=padded, class_id=class_id, pixels=pixels)


@njit(nogil=True, cache=True)
def _count_starts(classes: NDArray[np.uint8], nodata: int) -> int:
    """Pixels that differ from their upper and left neighbours: each may start a component."""
    rows, cols = classes.shape
    n = 0
    for r in range(rows):
        for c in range(cols):
            v = classes[r, c]
            if v == nodata or (c > 0 and classes[r, c - 1] == v) or (r > 0 and classes[r - 1, c] == v):
                continue
            n += 1
    return n


@njit(nogil=True, cache=True)
def _root(parent: NDArray[np.int32], i: int) -> int:
    """Root of a tree, with path halving."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(nogil=True, cache=True)
def _label_provisionally(
    classes: NDArray[np.uint8], nodata: int, padded: NDArray[np.int32], parent: NDArray[np.int32]
) -> None:
    """First pass: labels in row-major order, trees of labels that touch; a parent is never above its child."""
    rows, cols = classes.shape
    n = 0
    parent[0] = 0
    for r in range(rows):
        for c in range(cols):
            v = classes[r, c]
            if v == nodata:
                padded[r + 1, c + 1] = 0
                continue
            up = r > 0 and classes[r - 1, c] == v
            if c > 0 and classes[r, c - 1] == v:
                label = padded[r + 1, c]
                padded[r + 1, c + 1] = label
                # where the pixel up left has the class too, both neighbours are one tree already
                if up and classes[r - 1, c - 1] != v:
                    i, j = _root(parent, label), _root(parent, padded[r, c + 1])
                    if i < j:
                        parent[j] = i
                    else:
                        parent[i] = j
            elif up:
                padded[r + 1, c + 1] = padded[r, c + 1]
            else:
                n += 1
                parent[n] = n
                padded[r + 1, c + 1] = n


@njit(nogil=True, cache=True)
def _number_roots(parent: NDArray[np.int32]) -> int:
    """Replace each provisional label by its final one: roots are counted in order, which is that of first pixels."""
    n = 0
    for i in range(1, len(parent)):
        if parent[i] == i:
            n += 1
            parent[i] = n
        else:
            parent[i] = parent[parent[i]]  # below i, so final already
    return n


@njit(nogil=True, cache=True)
def _number_pixels(
    classes: NDArray[np.uint8],
    padded: NDArray[np.int32],
    final: NDArray[np.int32],
    class_id: NDArray[np.uint8],
    pixels: NDArray[np.int64],
) -> None:
    """Second pass: final labels, with class and size of each component."""
    rows, cols = classes.shape
    for r in range(rows):
        for c in range(cols):
            label = final[padded[r + 1, c + 1]]
            padded[r + 1, c + 1] = label
            if label > 0:
                class_id[label - 1] = classes[r, c]
                pixels[label - 1] += 1


def features_of(components: Components) -> NDArray[np.int32]:
    """With 8-connectivity: for each component the lowest label among those it is joined to by corners, itself included.

    Example:
        >>> features_of(label_components(np.array([[7, 3], [3, 7]], dtype=np.uint8)))
        array([1, 2, 2, 1], dtype=int32)
    """
    parent = np.arange(len(components) + 1, dtype=np.int32)
    _unite_diagonals(components.padded, components.class_id, parent)
    return parent[1:]


@njit(nogil=True, cache=True)
def _unite_diagonals(padded: NDArray[np.int32], class_id: NDArray[np.uint8], parent: NDArray[np.int32]) -> None:
    for r in range(1, padded.shape[0] - 2):
        for c in range(1, padded.shape[1] - 2):
            for a, b in ((padded[r, c], padded[r + 1, c + 1]), (padded[r, c + 1], padded[r + 1, c])):
                if a > 0 and b > 0 and a != b and class_id[a - 1] == class_id[b - 1]:
                    i, j = _root(parent, a), _root(parent, b)
                    if i < j:
                        parent[j] = i
                    else:
                        parent[i] = j
    for i in range(1, len(parent)):
        parent[i] = parent[parent[i]]  # never above its child, so final already
