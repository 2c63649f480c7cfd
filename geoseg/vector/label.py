"""Connected components of a class map: which pixels belong to one polygon.

A row is a list of runs, stretches of one class. Runs are what is labelled and united, not pixels: where regions are
large there are few of them, and eight pixels at a time are seen to begin none.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError, ResourceError
from geoseg.kernels import njit
from geoseg.legend import NODATA

__all__ = ["OUTSIDE", "Components", "Runs", "features_of", "find_runs", "label_components"]

OUTSIDE = -1
"""Label of the one pixel wide frame around the map. Nodata pixels have label 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """The runs of a class map, with the components that they are part of: see `Components`."""

    shape: tuple[int, int]
    """Rows and columns of the map."""
    rows: NDArray[np.int64]
    """(rows + 1,) first run of each row."""
    cols: NDArray[np.int32]
    """(n,) first column of each run."""
    labels: NDArray[np.int32]
    """(n,) its label."""
    class_id: NDArray[np.uint8]
    """(n components,) class value; component ``k`` is at index ``k - 1``."""
    pixels: NDArray[np.int64]
    """(n components,) number of pixels."""

    def row(self, r: int) -> NDArray[np.int32]:
        """(cols,) the labels along a row."""
        runs = slice(self.rows[r], self.rows[r + 1])
        lengths = np.diff(self.cols[runs], append=np.int32(self.shape[1]))
        return np.repeat(self.labels[runs], lengths)

    @property
    def sides(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """The labels along the top, the bottom, the left and the right."""
        return self.row(0), self.row(self.shape[0] - 1), self.labels[self.rows[:-1]], self.labels[self.rows[1:] - 1]

    def trimmed(self) -> "Runs":
        """The same without the room that was held for more."""
        return replace(self, cols=self.cols.copy())

    def painted(self) -> "Components":
        """The components as pixels."""
        rows, cols = self.shape
        padded = np.empty((rows + 2, cols + 2), dtype=np.int32)
        padded[0] = padded[-1] = OUTSIDE
        padded[:, 0] = padded[:, -1] = OUTSIDE
        _paint(self.rows, self.cols, self.labels, padded)
        return Components(padded=padded, class_id=self.class_id, pixels=self.pixels)


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

    Memory: 4 bytes per pixel for the labels, and 13 bytes per run, which are freed at the end.

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
    return find_runs(classes, nodata=nodata).painted()


def find_runs(classes: NDArray[np.uint8], *, nodata: int = NODATA) -> Runs:
    """The runs of a class map and the components that they make, as for `label_components`.

    Union-find over runs that touch in neighbouring rows (Rosenfeld and Pfaltz 1966). Memory: 13 bytes per run.
    """
    if classes.ndim != 2 or classes.dtype != np.uint8 or classes.size == 0:
        raise ParameterError(
            f"cannot label an array of {classes.dtype} with shape {classes.shape}: "
            "give class values as uint8 with rows and columns, at least one pixel"
        )
    classes = np.ascontiguousarray(classes)
    shape = classes.shape[0], classes.shape[1]
    # room for one run per pixel, of which only what is written takes memory
    rows, cols = np.empty(shape[0] + 1, dtype=np.int64), np.empty(classes.size + 8, dtype=np.int32)
    # eight pixels at a time beside those to their left, wherever they lie
    words = shape[0], (shape[1] - 1) // 8
    left, here = (np.ndarray(words, np.int64, classes, offset, (shape[1], 8)) for offset in (0, 1))
    n = _find(classes, left, here, rows, cols)
    if n >= np.iinfo(np.int32).max:
        raise ResourceError(
            f"{n} runs of equal class do not fit 32-bit labels: smooth the map or cut the scene into parts first"
        )
    values, labels, parent = np.empty(n, np.uint8), np.empty(n, np.int32), np.empty(n + 1, np.int32)
    n_labels = _label(classes, nodata, rows, cols[:n], values, labels, parent)
    class_id, pixels = np.empty(n_labels, np.uint8), np.zeros(n_labels, np.int64)
    n_components = _number(parent[: n_labels + 1], shape[1], rows, cols, values, labels, class_id, pixels)
    class_id, pixels = class_id[:n_components].copy(), pixels[:n_components].copy()
    return Runs(shape=shape, rows=rows, cols=cols[:n], labels=labels, class_id=class_id, pixels=pixels)


@njit(nogil=True, cache=True)
def _find(
    classes: NDArray[np.uint8],
    left: NDArray[np.int64],
    here: NDArray[np.int64],
    rows: NDArray[np.int64],
    cols: NDArray[np.int32],
) -> int:
    """Where runs begin, row by row; returns their number. ``cols`` has room for some more than there are pixels."""
    n_rows, n_cols = classes.shape
    n_words = here.shape[1]
    n = 0
    for r in range(n_rows):
        rows[r] = n
        cols[n] = 0
        n += 1
        for w in range(n_words):
            differs = here[r, w] ^ left[r, w]
            if differs != 0:
                for k in range(8):
                    cols[n] = 8 * w + 1 + k
                    n += int((differs >> 8 * k) & 255 != 0)
        for c in range(8 * n_words + 1, n_cols):
            cols[n] = c
            n += int(classes[r, c] != classes[r, c - 1])
    rows[n_rows] = n
    return n


@njit(nogil=True, cache=True)
def _root(parent: NDArray[np.int32], i: Any) -> Any:
    """Root of a tree, with path halving."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = np.int64(parent[i])
    return i


@njit(nogil=True, cache=True)
def _label(
    classes: NDArray[np.uint8],
    nodata: int,
    rows: NDArray[np.int64],
    cols: NDArray[np.int32],
    values: NDArray[np.uint8],
    labels: NDArray[np.int32],
    parent: NDArray[np.int32],
) -> int:
    """First pass: labels in row-major order, trees of labels that touch; a parent is never above its child."""
    n_rows, n_cols = classes.shape
    n = 0
    parent[0] = 0
    above = end_above = rows[0]  # nothing is above the first row
    for r in range(n_rows):
        past_row = rows[r + 1]
        for k in range(rows[r], past_row):
            end = np.int64(cols[k + 1] if k + 1 < past_row else n_cols)
            v = classes[r, cols[k]]
            values[k] = v
            label: Any = np.int64(0)
            # runs above it: the last of them may lie above the next one, too
            while above < end_above:
                if values[above] == v and v != nodata:
                    other = np.int64(labels[above])
                    if label == 0:
                        label = other
                    elif other != label:
                        i, j = _root(parent, label), _root(parent, other)
                        if i < j:
                            parent[j] = i
                        else:
                            parent[i] = j
                past = np.int64(cols[above + 1] if above + 1 < end_above else n_cols)
                if past > end:
                    break
                above += 1
                if past == end:
                    break
            if label == 0 and v != nodata:
                n += 1
                parent[n] = n
                label = n
            labels[k] = label
        above, end_above = rows[r], past_row
    return n


@njit(nogil=True, cache=True)
def _number(
    parent: NDArray[np.int32],
    n_cols: int,
    rows: NDArray[np.int64],
    cols: NDArray[np.int32],
    values: NDArray[np.uint8],
    labels: NDArray[np.int32],
    class_id: NDArray[np.uint8],
    pixels: NDArray[np.int64],
) -> int:
    """Second pass: final labels, with class and size of each component; returns their number.

    Roots are counted in order, which is that of first pixels.
    """
    n = 0
    for i in range(1, len(parent)):
        if parent[i] == i:
            n += 1
            parent[i] = n
        else:
            parent[i] = parent[parent[i]]  # below i, so final already
    for r in range(len(rows) - 1):
        past_row = rows[r + 1]
        for k in range(rows[r], past_row):
            label = parent[labels[k]]
            labels[k] = label
            if label > 0:
                class_id[label - 1] = values[k]
                pixels[label - 1] += (cols[k + 1] if k + 1 < past_row else n_cols) - cols[k]
    return n


@njit(nogil=True, cache=True)
def _paint(
    rows: NDArray[np.int64], cols: NDArray[np.int32], labels: NDArray[np.int32], padded: NDArray[np.int32]
) -> None:
    n_cols = padded.shape[1] - 2
    for r in range(len(rows) - 1):
        line = padded[r + 1]
        for k in range(rows[r], rows[r + 1]):
            end = cols[k + 1] if k + 1 < rows[r + 1] else n_cols
            for c in range(cols[k], end):
                line[c + 1] = labels[k]


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
                    i, j = _root(parent, np.int64(a)), _root(parent, np.int64(b))
                    if i < j:
                        parent[j] = i
                    else:
                        parent[i] = j
    for i in range(1, len(parent)):
        parent[i] = parent[parent[i]]  # never above its child, so final already
