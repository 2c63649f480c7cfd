"""Where borders are, and how far from those of the other side: integers that add up over blocks."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from geoseg.area.metric import tensor_at
from geoseg.change.index import NONE
from geoseg.evaluate.ruler import Ruler
from geoseg.kernels import njit

__all__ = ["N_BORDER_SUMS", "borders_of"]

N_BORDER_SUMS: Final = 13
"""Numbers that are summed for each class: pixels of bands and edges, lengths, and lengths times distances."""


def borders_of(
    truth: NDArray[np.uint8],
    mapped: NDArray[np.uint8],
    inner: tuple[slice, slice],
    ruler: Ruler,
    n_classes: int,
    offset: tuple[int, int] = (0, 0),
) -> NDArray[np.int64]:
    """Sums (K, 13) of a part of two arrays of places.

    Args:
        truth: (rows, cols) places of the reference, `NONE` where it says nothing.
        mapped: (rows, cols) of the prediction.
        inner: Rows and columns whose borders are counted.
        ruler: The rule, and how long steps are.
        n_classes: Classes of the legend.
        offset: Row and column of the arrays in the map.
    """
    unknown = (truth == NONE) | (mapped == NONE)
    sides = [np.where(unknown, np.uint8(NONE), side) for side in (truth, mapped)]
    sums = np.zeros((n_classes, N_BORDER_SUMS), dtype=np.int64)
    bands = [_band(side, ruler.band_px) for side in sides]
    _count_bands(sides[0][inner], sides[1][inner], bands[0][inner], bands[1][inner], sums)
    del bands
    window = np.array([inner[0].start, inner[0].stop, inner[1].start, inner[1].stop], dtype=np.int64)
    where = np.array([offset[0], offset[1], *ruler.shape], dtype=np.int64)
    present = np.flatnonzero(
        np.bincount(sides[0].ravel(), minlength=256) + np.bincount(sides[1].ravel(), minlength=256)
    )
    up, down = np.empty((2, *truth.shape), dtype=np.int16)
    marks = np.empty((2, *truth.shape), dtype=np.uint8)
    rule = np.array([ruler.tolerance, float(ruler.in_px), ruler.reach_px, ruler.scale])
    for k in present[present < n_classes]:
        for surface in (False, True):
            for i, side in enumerate(sides):
                (_mark_surfels if surface else _mark_edges)(side, k, marks[i])
            for i in range(2):
                if marks[i][inner].any():
                    _nearest(marks[1 - i], up, down)
                    _measure(marks[i], up, down, window, where, ruler.nodes, rule, surface, i == 0, sums[k])
    return sums


def _band(side: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Pixels that have another class, not the unknown, within so many rows and columns."""
    unknown = side == NONE
    size = 2 * width + 1
    most = maximum_filter(np.where(unknown, np.uint8(0), side), size=size, mode="nearest")
    least = minimum_filter(side, size=size, mode="nearest")  # NONE is the largest
    found: NDArray[np.bool_] = (most > least) & ~unknown
    return found


@njit(nogil=True, cache=True)
def _count_bands(
    truth: NDArray[np.uint8],
    mapped: NDArray[np.uint8],
    band_ref: NDArray[np.bool_],
    band_map: NDArray[np.bool_],
    sums: NDArray[np.int64],
) -> None:
    k = len(sums)
    for r in range(truth.shape[0]):
        for c in range(truth.shape[1]):
            t, m = truth[r, c], mapped[r, c]
            if t >= k or m >= k:
                continue
            if band_ref[r, c]:
                sums[t, 1] += 1
            if band_map[r, c]:
                sums[m, 2] += 1
                if band_ref[r, c] and t == m:
                    sums[t, 0] += 1


@njit(nogil=True, cache=True)
def _mark_edges(side: NDArray[np.uint8], k: int, marks: NDArray[np.uint8]) -> None:
    """Pixels of a class with another one, not the unknown, above, below or beside them."""
    rows, cols = side.shape
    for r in range(rows):
        for c in range(cols):
            found = 0
            if side[r, c] == k:
                for dr, dc in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                    y, x = r + dr, c + dc
                    if 0 <= y < rows and 0 <= x < cols and side[y, x] != k and side[y, x] != 255:
                        found = 1
            marks[r, c] = found


@njit(nogil=True, cache=True)
def _mark_surfels(side: NDArray[np.uint8], k: int, marks: NDArray[np.uint8]) -> None:
    """Corners of pixels, at the pixel below and to the right, that have the class on one side and not on the other.

    The mark says which of the four pixels around have it: 8 above left, 4 above, 2 left, 1 the pixel itself.
    """
    rows, cols = side.shape
    marks[0] = 0
    marks[:, 0] = 0
    for r in range(1, rows):
        for c in range(1, cols):
            a, b, d, e = side[r - 1, c - 1], side[r - 1, c], side[r, c - 1], side[r, c]
            code = 8 * (a == k) + 4 * (b == k) + 2 * (d == k) + (e == k)
            known = a != 255 and b != 255 and d != 255 and e != 255
            marks[r, c] = code if known and code != 15 else 0


@njit(nogil=True, cache=True)
def _nearest(marks: NDArray[np.uint8], up: NDArray[np.int16], down: NDArray[np.int16]) -> None:
    """Rows to the nearest mark at or above each pixel, and at or below it; 32767 where there is none."""
    rows, cols = marks.shape
    for c in range(cols):
        up[0, c] = 0 if marks[0, c] else 32767
        down[rows - 1, c] = 0 if marks[rows - 1, c] else 32767
    for r in range(1, rows):
        for c in range(cols):
            before = up[r - 1, c]
            up[r, c] = 0 if marks[r, c] else (32767 if before == 32767 else before + 1)
    for r in range(rows - 2, -1, -1):
        for c in range(cols):
            after = down[r + 1, c]
            down[r, c] = 0 if marks[r, c] else (32767 if after == 32767 else after + 1)


@njit(nogil=True, cache=True)
def _measure(
    marks: NDArray[np.uint8],
    up: NDArray[np.int16],
    down: NDArray[np.int16],
    window: NDArray[np.int64],
    where: NDArray[np.int64],
    nodes: NDArray[np.float64],
    rule: NDArray[np.float64],
    surface: bool,
    of_reference: bool,
    sums: NDArray[np.int64],
) -> None:
    """Distance from each mark in a window to the nearest one of the other side, added to the sums of its class."""
    half = 0.0 if surface else 0.5  # where a mark lies in its pixel
    for r in range(window[0], window[1]):
        for c in range(window[2], window[3]):
            if marks[r, c] == 0:
                continue
            e, f, g = tensor_at(nodes, (r + where[0] + half) / where[2], (c + where[1] + half) / where[3])
            side2 = np.sqrt(max(e * g - f * f, 0.0))
            limit = rule[2] * rule[2] * side2
            best = _closest(up, down, r, c, e, f, g, limit)
            allowed = rule[0] * rule[0] * (side2 if rule[1] > 0 else 1.0)
            near = best < limit and best <= allowed * (1 + 1e-9)
            if not surface:
                at = 3 if of_reference else 5
                sums[at] += 1
                if near:
                    sums[at + 1] += 1
                continue
            length = _surfel_m(marks[r, c], e, f, g)
            units = np.int64(np.round(length * rule[3]))
            sums[7 if of_reference else 8] += units
            sums[9 if of_reference else 10] += np.int64(np.round(length * np.sqrt(best) * rule[3]))
            if near:
                sums[11] += units
            if best >= limit:
                sums[12] += units


@njit(nogil=True, cache=True)
def _closest(
    up: NDArray[np.int16], down: NDArray[np.int16], r: int, c: int, e: float, f: float, g: float, limit: float
) -> float:
    """Square of the distance to the nearest mark, at most the limit: columns further and further away are looked at."""
    best = limit
    across = e - f * f / g
    for dc in range(up.shape[1]):
        if across * dc * dc >= best:
            break
        for side in (-1, 1):
            step = side * dc
            x = c + step
            if 0 <= x < up.shape[1]:
                above, below = -np.int64(up[r, x]), np.int64(down[r, x])
                if above > -32767:
                    best = min(best, e * step * step + 2 * f * step * above + g * above * above)
                if below < 32767:
                    best = min(best, e * step * step + 2 * f * step * below + g * below * below)
    return best


@njit(nogil=True, cache=True)
def _surfel_m(code: int, e: float, f: float, g: float) -> float:
    """Length of the border through a corner: straight on, or from the middle of one side of a pixel to the next."""
    if code == 12 or code == 3:
        return float(np.sqrt(e))
    if code == 10 or code == 5:
        return float(np.sqrt(g))
    # a corner is cut off: above left and below right one way, above right and below left the other
    falling, rising = np.sqrt(max(e + 2 * f + g, 0.0)) / 2, np.sqrt(max(e - 2 * f + g, 0.0)) / 2
    if code == 9:
        return float(2 * rising)
    if code == 6:
        return float(2 * falling)
    return float(rising if code in (1, 8, 7, 14) else falling)
