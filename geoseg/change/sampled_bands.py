"""Bands of a second map or scene on another grid: linear between pixels, the same however they are cut."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.change.sampling import MOST_PIXELS, NUDGE, Sampled, Shifted, along, halves_of
from geoseg.inference.lattice import Block
from geoseg.kernels import njit

__all__ = ["take_bands"]

T = TypeVar("T", np.uint8, np.float32)


def take_bands(
    placed: Shifted | Sampled,
    block: Block,
    read: Callable[[Block], NDArray[T]],
    n_bands: int,
    *,
    missing: T,
    least: float = 0.0,
) -> NDArray[T]:
    """(band, row, col) values of a second map in a block of a common grid.

    On another grid they are linear between the centres of the four pixels around, of those that are observed; or, where
    the pixels of the second map are smaller by half or more, the mean over points spread evenly over the pixel.

    Args:
        placed: Where the common grid lies in the second map.
        block: Of the common grid.
        read: Gives a block of the second map.
        n_bands: Bands that it gives.
        missing: Where there is no observation: NaN, or a number in the first band. Its type is that of the values.
        least: Share of a pixel that has to be observed; with 0 any part of it will do.
    """
    if isinstance(placed, Shifted):
        return read(placed.moved(block))
    nodes, first, window = placed.reach(block)
    out: NDArray[T] = np.full((n_bands, block.height, block.width), missing)
    if window is None:
        return out
    if window.height * window.width * n_bands * out.itemsize > MOST_PIXELS and block.height * block.width > 1:
        one, two, axis = halves_of(block)
        halves = [take_bands(placed, b, read, n_bands, missing=missing, least=least) for b in (one, two)]
        return np.concatenate(halves, axis=axis + 1)
    offsets = np.array([block.row_off - first[0], block.col_off - first[1], window.row_off, window.col_off])
    rounding = 0.5 if out.dtype.kind == "u" else 0.0
    values = np.ascontiguousarray(read(window))
    _sample_bands(values, missing, nodes, offsets, placed.spacing, placed.points, least, rounding, out)
    return out


@njit(nogil=True, cache=True)
def _sample_bands(
    values: NDArray[Any],
    missing: Any,
    nodes: NDArray[np.float64],
    offsets: NDArray[np.int64],
    spacing: int,
    points: int,
    least: float,
    rounding: float,
    out: NDArray[Any],
) -> None:
    """Values of a block; arguments as those of `geoseg.change.sampling._sample`."""
    sums = np.empty(len(values))
    for r in range(out.shape[1]):
        for c in range(out.shape[2]):
            i, j = (r + offsets[0]) // spacing, (c + offsets[1]) // spacing
            sums[:] = 0
            weight = 0.0
            for p in range(points):
                t = (r + offsets[0] - i * spacing + (p + 0.5) / points) / spacing
                for q in range(points):
                    u = (c + offsets[1] - j * spacing + (q + 0.5) / points) / spacing
                    y, x = along(nodes[0], i, j, t, u) - offsets[2], along(nodes[1], i, j, t, u) - offsets[3]
                    if np.isfinite(y) and np.isfinite(x):
                        weight += _add(values, missing, y, x, points == 1, sums)
            if weight > 0 and weight >= least * points * points - NUDGE:
                for band in range(len(sums)):
                    out[band, r, c] = sums[band] / weight + rounding


@njit(nogil=True, cache=True)
def _add(values: NDArray[Any], missing: Any, y: float, x: float, linear: bool, sums: NDArray[np.float64]) -> float:
    """Add the pixels at a position, four around it or the one it lies in, where observed; their weight, at most 1."""
    y, x = (y - 0.5, x - 0.5) if linear else (np.floor(y + NUDGE), np.floor(x + NUDGE))
    top, left = int(np.floor(y)), int(np.floor(x))
    weight = 0.0
    for a in range(2):
        for b in range(2):
            row, col = top + a, left + b
            w = (1 - abs(y - row)) * (1 - abs(x - col))
            if w <= 0 or row < 0 or row >= values.shape[1] or col < 0 or col >= values.shape[2]:
                continue
            one = values[0, row, col]
            if one == missing or np.isnan(one):
                continue
            weight += w
            for band in range(len(sums)):
                sums[band] += w * values[band, row, col]
    return weight
