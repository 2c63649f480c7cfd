"""Interpolation of pixel areas from the nodes of a coarse lattice, the same for a pixel in every block."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["TAPS", "Stencil", "fill_units", "filled", "place_units", "row_units", "stencil"]

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
    x = pixels * ((n_nodes - 1) / max(length - 1, 1))
    taps = min(TAPS, n_nodes)
    first = np.clip(np.floor(x).astype(np.int64) - 1, 0, n_nodes - taps)
    t = x - first
    weights = np.zeros((TAPS, len(pixels)))
    for i in range(taps):
        weights[i] = np.prod([(t - j) / (i - j) for j in range(taps) if j != i], axis=0)
    return Stencil(first=first, weights=weights)


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


@njit(nogil=True, cache=True)
def row_units(
    nodes: NDArray[np.float64],
    row_first: int,
    row_weights: NDArray[np.float64],
    col_first: NDArray[np.int64],
    col_weights: NDArray[np.float64],
    line: NDArray[np.float64],
    out: NDArray[np.int64],
) -> None:
    """Areas of the pixels of one row of a block, in units: the one place where they are made.

    Args:
        nodes: As in `PixelAreas`.
        row_first: First node of the row.
        row_weights: (4,) weights of the row.
        col_first: (width,) first node of each column.
        col_weights: (4, width) weights of each column.
        line: (node columns,) scratch: the nodes interpolated to the row.
        out: (width,) the result.
    """
    for j in range(col_first[0], col_first[-1] + 4):
        line[j] = (
            row_weights[0] * nodes[row_first, j]
            + row_weights[1] * nodes[row_first + 1, j]
            + row_weights[2] * nodes[row_first + 2, j]
            + row_weights[3] * nodes[row_first + 3, j]
        )
    # columns between the same nodes are done together: nothing but the weights changes along them
    begin = 0
    while begin < len(out):
        j = col_first[begin]
        end = begin + 1
        while end < len(out) and col_first[end] == j:
            end += 1
        a, b, c, d = line[j], line[j + 1], line[j + 2], line[j + 3]
        of_a, of_b = col_weights[0, begin:end], col_weights[1, begin:end]
        of_c, of_d = col_weights[2, begin:end], col_weights[3, begin:end]
        areas = out[begin:end]
        for k in range(end - begin):
            area = of_a[k] * a + of_b[k] * b + of_c[k] * c + of_d[k] * d
            areas[k] = np.int64(np.rint(max(area, 0.0)))
        begin = end


@njit(nogil=True, cache=True)
def fill_units(
    nodes: NDArray[np.float64],
    row_first: NDArray[np.int64],
    row_weights: NDArray[np.float64],
    col_first: NDArray[np.int64],
    col_weights: NDArray[np.float64],
    out: NDArray[np.int64],
) -> None:
    """All rows of a block into ``out``, (height, width); see `row_units`."""
    line = np.empty(nodes.shape[1])
    for r in range(out.shape[0]):
        row_units(nodes, row_first[r], row_weights[:, r], col_first, col_weights, line, out[r])


@njit(nogil=True, cache=True)
def place_units(
    nodes: NDArray[np.float64],
    row_first: NDArray[np.int64],
    row_weights: NDArray[np.float64],
    col_first: NDArray[np.int64],
    col_weights: NDArray[np.float64],
    out: NDArray[np.int64],
) -> None:
    """The pixels at pairs of rows and columns into ``out``, (n,); see `row_units`."""
    line = np.empty(nodes.shape[1])
    for i in range(len(out)):
        at = slice(i, i + 1)
        row_units(nodes, row_first[i], row_weights[:, i], col_first[at], col_weights[:, at], line, out[at])
