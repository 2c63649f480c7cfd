"""Interpolation of pixel areas from the nodes of a coarse lattice, the same for a pixel in every block."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import njit

__all__ = [
    "TAPS",
    "Lattice",
    "Stencil",
    "fill_units",
    "filled",
    "lagrange",
    "lattice_of",
    "place_units",
    "row_units",
    "stencil",
]

TAPS = 4
"""Nodes that make up a pixel along each axis."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stencil:
    """How the pixels of one axis are interpolated from its nodes."""

    first: NDArray[np.int64]
    """(n,) first of the four nodes of each pixel."""
    weights: NDArray[np.float64]
    """(4, n) their weights, those of a node side by side: many pixels are done at a time."""


def stencil(length: int, n_nodes: int, pixels: NDArray[np.int64]) -> Stencil:
    """Cubic Lagrange weights of pixels; at the ends of the axis the four nodes are the last ones there are."""
    x = _places(pixels, length, n_nodes)
    taps = min(TAPS, n_nodes)
    first = _first(x, n_nodes)
    weights = np.zeros((TAPS, len(pixels)))
    weights[:taps] = lagrange(x - first, taps)
    return Stencil(first=first, weights=weights)


def lagrange(t: NDArray[np.float64], taps: int = TAPS) -> NDArray[np.float64]:
    """(taps, n) weights of the nodes at 0, 1, 2 ... for places between them."""
    one, nodes = np.ones_like(t), range(taps)
    return np.stack([np.prod([one, *((t - j) / (i - j) for j in nodes if j != i)], axis=0) for i in nodes])


def _places(pixels: NDArray[np.int64], length: int, n_nodes: int) -> NDArray[np.float64]:
    """Places of pixels along an axis, in nodes."""
    return np.asarray(pixels * _step(length, n_nodes), dtype=np.float64)


def _step(length: int, n_nodes: int) -> float:
    """Nodes per pixel."""
    return (n_nodes - 1) / max(length - 1, 1)


def _first(x: NDArray[np.float64], n_nodes: int) -> NDArray[np.int64]:
    """First of the four nodes of places along an axis, which are counted in nodes."""
    return np.clip(np.floor(x).astype(np.int64) - 1, 0, n_nodes - min(TAPS, n_nodes))


def filled(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nodes; those off the map (NaN) have the value of the nearest one on it, in their row where there is one.

    In the row, because on cylindrical and pseudocylindrical maps of the world, which are the ones seen with their
    edges, area depends on the latitude alone and latitude on the row alone: the pixels up to the edge come out true.
    """
    missing = ~np.isfinite(nodes)
    if not missing.any():
        return nodes
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(missing, sampling=(1e6, 1), return_distances=False, return_indices=True)
    return np.asarray(nodes[tuple(nearest)])


class Lattice(NamedTuple):
    """What gives the areas of the pixels of a block.

    Along a row the area is a cubic of the column between two nodes, and the area of all pixels up to a column a
    quartic: a run of pixels is the difference of two of its values, however long it is. Memory: 40 bytes per row and
    stretch of columns between two nodes.
    """

    begin: NDArray[np.int64]
    """(m + 1,) columns, counted in the block, where other nodes begin to count, and where the last ones end; the first
    may lie before the block, and the last beyond it."""
    before: NDArray[np.int64]
    """(height, m + 1) area in front of each of these columns, in units."""
    terms: NDArray[np.float64]
    """(height, m, 4) terms of the quartics from there on."""


@njit(nogil=True, cache=True)
def area_beyond(terms: NDArray[np.float64], r: int, k: int, n: int) -> np.int64:
    """Area of ``n`` pixels from the beginning of stretch ``k`` of a row on, in units; for kernels, see `Lattice`."""
    t = float(n)
    return np.int64(np.rint(t * (terms[r, k, 0] + t * (terms[r, k, 1] + t * (terms[r, k, 2] + t * terms[r, k, 3])))))


def lattice_of(
    nodes: NDArray[np.float64], n_nodes: tuple[int, int], shape: tuple[int, int], rows: NDArray[np.int64], cols: slice
) -> Lattice:
    """The lattice of some rows of a scene and of a range of its columns, the same for a pixel in every block."""
    down = stencil(shape[0], n_nodes[0], rows)
    x, first, begin = _stretches(shape[1], n_nodes[1])
    used = slice(*np.searchsorted(begin, [cols.start + 1, cols.stop]) - [1, 0])
    spans, begin = begin[:-1][used], begin[used.start : used.stop + 1] - cols.start
    at, taps = first[spans], min(TAPS, n_nodes[1])
    near = nodes[:, at.min() : at.max() + taps]
    terms = np.empty((len(rows), len(spans), TAPS))
    for k in range(0, len(rows), _ROWS):  # some rows at a time: this takes several times the memory of the result
        some = slice(k, k + _ROWS)
        line = sum(w[:, None] * near[down.first[some] + i] for i, w in enumerate(down.weights[:, some]))
        values = [line[:, at - at.min() + j] for j in range(taps)]
        terms[some] = _terms(values, x[spans] - at, _step(shape[1], n_nodes[1]))
    before = np.zeros((len(rows), len(begin)), dtype=np.int64)
    np.cumsum(_quartic(terms, np.diff(begin)), axis=1, out=before[:, 1:])
    return Lattice(begin=begin, before=before, terms=terms)


def _stretches(length: int, n_nodes: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Places of the pixels of an axis, in nodes; the first node of each; and where other nodes begin, and the end."""
    x = _places(np.arange(length), length, n_nodes)
    first = _first(x, n_nodes)
    return x, first, np.flatnonzero(np.diff(first, prepend=-1, append=-1))


_ROWS = 1024


def _terms(values: "list[Any]", x: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """(..., 4) terms of quartics from the values of up to four nodes, from a place behind the first, in nodes, on.

    Args:
        values: Areas of a pixel at the nodes.
        x: The place.
        step: Nodes per column.
    """
    at = [np.maximum(v, 0.0) for v in values]
    # differences of the nodes, which give the cubic in the place behind the first of them: Newton's form
    one = at[1] - at[0] if len(at) > 1 else 0.0
    two = at[2] - 2 * at[1] + at[0] if len(at) > 2 else 0.0
    three = at[3] - 3 * (at[2] - at[1]) - at[0] if len(at) > 3 else 0.0
    linear, square, cube = one - two / 2 + three / 3, (two - three) / 2, three / 6
    # the same in columns behind the beginning
    p0 = at[0] + x * (linear + x * (square + x * cube))
    p1 = step * (linear + x * (2 * square + 3 * x * cube))
    p2 = step * step * (square + 3 * x * cube)
    p3 = step * step * step * cube
    # and added up over columns: by the sums of whole numbers, of their squares and of their cubes
    terms = p0 - p1 / 2 + p2 / 6, p1 / 2 - p2 / 2 + p3 / 4, p2 / 3 - p3 / 2, p3 / 4
    return np.stack(np.broadcast_arrays(*terms), axis=-1)


def _quartic(terms: NDArray[np.float64], t: NDArray[np.int64]) -> NDArray[np.int64]:
    """Units of so many columns. Whole numbers, so the areas of runs that follow one another add up."""
    a, b, c, d = np.moveaxis(terms, -1, 0)
    return np.asarray(np.rint(t * (a + t * (b + t * (c + t * d)))).astype(np.int64))


@njit(nogil=True, cache=True)
def row_units(lattice: Lattice, r: Any, out: NDArray[np.int64]) -> None:
    """Areas of the pixels of one row of a block into ``out``, (width,), in units."""
    begin, _, terms = lattice
    for k in range(len(begin) - 1):
        a, b, c, d = terms[r, k, 0], terms[r, k, 1], terms[r, k, 2], terms[r, k, 3]
        then = np.int64(0)
        for col in range(max(begin[k] - 1, -1), min(begin[k + 1], len(out))):
            t, before = float(col + 1 - begin[k]), then
            then = np.int64(np.rint(t * (a + t * (b + t * (c + t * d)))))
            if col >= max(begin[k], 0):
                out[col] = then - before


@njit(nogil=True, cache=True)
def fill_units(lattice: Lattice, out: NDArray[np.int64]) -> None:
    """All rows of a block into ``out``, (height, width); see `row_units`."""
    for r in range(len(out)):
        row_units(lattice, r, out[r])


def place_units(
    nodes: NDArray[np.float64],
    n_nodes: tuple[int, int],
    shape: tuple[int, int],
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
) -> NDArray[np.int64]:
    """(n,) areas of the pixels at pairs of rows and columns of the scene, in units."""
    down = stencil(shape[0], n_nodes[0], rows)
    x, first, begin = _stretches(shape[1], n_nodes[1])
    start = begin[np.searchsorted(begin, cols, side="right") - 1]
    values = [
        sum(w * nodes[down.first + i, first[start] + j] for i, w in enumerate(down.weights))
        for j in range(min(TAPS, n_nodes[1]))
    ]
    terms = _terms(values, x[start] - first[start], _step(shape[1], n_nodes[1]))
    return _quartic(terms, cols - start + 1) - _quartic(terms, cols - start)
