"""Interpolation of pixel areas from the nodes of a coarse lattice, the same for a pixel in every block."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "TAPS",
    "Lattice",
    "Stencil",
    "area_before",
    "fill_units",
    "filled",
    "lattice_of",
    "place_units",
    "row_sums",
    "row_units",
    "stencil",
    "stretch",
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
    t = x - first
    weights = np.zeros((TAPS, len(pixels)))
    for i in range(taps):
        weights[i] = np.prod([(t - j) / (i - j) for j in range(taps) if j != i], axis=0)
    return Stencil(first=first, weights=weights)


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
    """How the areas of the pixels of a block come from the nodes around them.

    Rows are interpolated by weights. Along a row the area is a cubic of the column between two nodes, and the area of
    all pixels up to a column a quartic: a run of pixels is the difference of two of its values, however long it is.
    """

    nodes: NDArray[np.float64]
    """As in `PixelAreas`."""
    row_first: NDArray[np.int64]
    """(height,) first of the four nodes of each row."""
    row_weights: NDArray[np.float64]
    """(4, height) their weights."""
    begin: NDArray[np.int64]
    """(m + 1,) columns, counted in the block, where other nodes begin to count, and where the last ones end; the first
    may lie before the block, and the last beyond it."""
    first: NDArray[np.int64]
    """(m,) first of the nodes from there on."""
    at: NDArray[np.float64]
    """(m,) how far behind that node, in nodes."""
    step: float
    """Nodes per column."""
    taps: int
    """Nodes that make up a pixel: 4, or fewer where there are no more."""


def lattice_of(
    nodes: NDArray[np.float64], n_nodes: tuple[int, int], shape: tuple[int, int], rows: NDArray[np.int64], cols: slice
) -> Lattice:
    """The lattice of some rows of a scene and of a range of its columns, the same for a pixel in every block."""
    down = stencil(shape[0], n_nodes[0], rows)
    x = _places(np.arange(shape[1]), shape[1], n_nodes[1])
    first = _first(x, n_nodes[1])
    begin = np.flatnonzero(np.diff(first, prepend=-1, append=-1))
    used = slice(*np.searchsorted(begin, [cols.start + 1, cols.stop]) - [1, 0])
    spans = begin[:-1][used]
    return Lattice(
        nodes=nodes,
        row_first=down.first,
        row_weights=down.weights,
        begin=begin[used.start : used.stop + 1] - cols.start,
        first=first[spans],
        at=x[spans] - first[spans],
        step=_step(shape[1], n_nodes[1]),
        taps=min(TAPS, n_nodes[1]),
    )


RowSums = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Of a row: `Lattice.begin`, the area in front of each of these columns in units, and (m, 4) the terms of the quartics
from there on."""
Stretch = tuple[Any, Any, Any, Any, Any, Any]
"""Of a row between two of these columns: the first, the area in front of it, and the terms."""


@njit(nogil=True, cache=True)
def row_sums(lattice: Lattice, r: Any) -> RowSums:
    """What gives the area of any run of pixels of a row of a block."""
    begin, step = lattice.begin, lattice.step
    m = len(lattice.first)
    before, terms = np.zeros(m + 1, dtype=np.int64), np.empty((m, 4))
    values, row = np.zeros(TAPS), lattice.row_first[r]
    for k in range(m):
        for j in range(lattice.taps):
            value = 0.0
            for i in range(TAPS):
                value += lattice.row_weights[i, r] * lattice.nodes[row + i, lattice.first[k] + j]
            values[j] = max(value, 0.0)
        # differences of the nodes, which give the cubic in the place behind the first of them: Newton's form
        one = values[1] - values[0] if lattice.taps > 1 else 0.0
        two = values[2] - 2 * values[1] + values[0] if lattice.taps > 2 else 0.0
        three = values[3] - 3 * (values[2] - values[1]) - values[0] if lattice.taps > 3 else 0.0
        linear, square, cube = one - two / 2 + three / 3, (two - three) / 2, three / 6
        # the same in columns behind the beginning
        x = lattice.at[k]
        p0 = values[0] + x * (linear + x * (square + x * cube))
        p1 = step * (linear + x * (2 * square + 3 * x * cube))
        p2 = step * step * (square + 3 * x * cube)
        p3 = step * step * step * cube
        # and added up over columns: by the sums of whole numbers, of their squares and of their cubes
        terms[k, 0] = p0 - p1 / 2 + p2 / 6
        terms[k, 1] = p1 / 2 - p2 / 2 + p3 / 4
        terms[k, 2] = p2 / 3 - p3 / 2
        terms[k, 3] = p3 / 4
        before[k + 1] = area_before(stretch((begin, before, terms), k), begin[k + 1])
    return begin, before, terms


@njit(nogil=True, cache=True, inline="always")
def stretch(sums: RowSums, k: Any) -> Stretch:
    """The columns ``begin[k]`` to ``begin[k + 1]`` of a row."""
    begin, before, terms = sums
    return begin[k], before[k], terms[k, 0], terms[k, 1], terms[k, 2], terms[k, 3]


@njit(nogil=True, cache=True, inline="always")
def area_before(of: Stretch, col: Any) -> Any:
    """Units of the pixels of a row in front of a column in a stretch or at its end, from a place left of the block on.

    Whole numbers, so the areas of runs that follow one another add up.
    """
    first, before, a, b, c, d = of
    t = float(col - first)
    return before + np.int64(np.rint(t * (a + t * (b + t * (c + t * d)))))


@njit(nogil=True, cache=True)
def row_units(lattice: Lattice, r: Any, out: NDArray[np.int64]) -> None:
    """Areas of the pixels of one row of a block into ``out``, (width,), in units."""
    sums = row_sums(lattice, r)
    begin = sums[0]
    for k in range(len(begin) - 1):
        col = max(begin[k], 0)
        here = stretch(sums, k)
        before = area_before(here, col)
        for c in range(col, min(begin[k + 1], len(out))):
            then = area_before(here, c + 1)
            out[c] = then - before
            before = then


@njit(nogil=True, cache=True)
def fill_units(lattice: Lattice, out: NDArray[np.int64]) -> None:
    """All rows of a block into ``out``, (height, width); see `row_units`."""
    for r in range(len(out)):
        row_units(lattice, r, out[r])


@njit(nogil=True, cache=True)
def place_units(lattice: Lattice, cols: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """One pixel of each row into ``out``, (n,)."""
    for i in range(len(out)):
        sums = row_sums(lattice, i)
        here = stretch(sums, np.searchsorted(sums[0], cols[i], side="right") - 1)
        out[i] = area_before(here, cols[i] + 1) - area_before(here, cols[i])
