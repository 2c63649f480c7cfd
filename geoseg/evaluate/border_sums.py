"""Where borders are, and how far from those of the other side: integers that add up over blocks."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.area.interpolate import TAPS, lagrange
from geoseg.area.metric import along_first
from geoseg.change.index import NONE
from geoseg.evaluate.ruler import Ruler
from geoseg.kernels import njit

__all__ = ["N_BORDER_SUMS", "borders_of"]

N_BORDER_SUMS: Final = 13
"""Numbers that are summed for each class: pixels of bands and edges, lengths, and lengths times distances."""
_FAR: Final = 1 << 14  # rows; as many again fit int16, and no block has more


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
    present = np.flatnonzero(
        np.bincount(sides[0].ravel(), minlength=256) + np.bincount(sides[1].ravel(), minlength=256)
    )
    up, down = np.empty((2, *truth.shape), dtype=np.int16)
    rule = np.array([ruler.tolerance, float(ruler.in_px), ruler.reach_px, ruler.scale])
    edges, crossings = [_edges(side) for side in sides], [_crossings(side) for side in sides]
    # by kind of border: corners for surfels, middles of pixels for edges
    lines = {surface: _lines(ruler, truth.shape, offset, 0.0 if surface else 0.5) for surface in (False, True)}
    for k in present[present < n_classes]:
        here = [side == k for side in sides]
        for surface, line in lines.items():
            if surface:
                marks = [_surfels(own, crossing) for own, crossing in zip(here, crossings, strict=True)]
            else:
                marks = [(own & edge).view(np.uint8) for own, edge in zip(here, edges, strict=True)]
            for i in range(2):
                if marks[i][inner].any():
                    _nearest(marks[1 - i], up, down)
                    _measure(marks[i], up, down, window, *line, rule, surface, i == 0, sums[k])
    return sums


def _lines(
    ruler: Ruler, shape: tuple[int, ...], offset: tuple[int, int], place: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """The metric at the nodes along each row of a block, at a place in each pixel, and how columns come from them.

    Returns:
        (rows, nodes, 3) E, F and G; (cols,) the first of four nodes; (cols, 4) their weights.
    """
    down, across = ((np.arange(o, o + n) + place) / m for o, n, m in zip(offset, shape, ruler.shape, strict=True))
    x = across * (ruler.nodes.shape[1] - 1)
    first = np.clip(x.astype(np.int64) - 1, 0, ruler.nodes.shape[1] - TAPS)
    lines = along_first(ruler.nodes[:, first[0] : first[-1] + TAPS], down)
    return np.ascontiguousarray(lines), first - first[0], np.ascontiguousarray(lagrange(x - first).T)


def _band(side: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Pixels that have another class, not the unknown, within so many rows and columns."""
    unknown = side == NONE
    most, least = np.where(unknown, np.uint8(0), side), side  # NONE is the largest
    for axis in (0, 1):
        most, least = (_over(pick, v, width, axis) for pick, v in ((np.maximum, most), (np.minimum, least)))
    found: NDArray[np.bool_] = (most > least) & ~unknown
    return found


def _over(pick: np.ufunc, values: NDArray[np.uint8], width: int, axis: int) -> NDArray[np.uint8]:
    """Largest or smallest value within so many pixels along an axis.

    Of 1, 2, 4 and so on values side by side, and at last of two such stretches, which make up the whole one: numpy
    takes many bytes at a time, a running filter takes one.
    """
    padded = np.pad(values, [(width, width) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
    padded = padded if axis == 0 else padded.T
    size, n, reach = 2 * width + 1, values.shape[axis], 1
    while 2 * reach <= size:
        padded = pick(padded[:-reach], padded[reach:])
        reach *= 2
    found: NDArray[np.uint8] = pick(padded[:n], padded[size - reach : size - reach + n])
    return found if axis == 0 else found.T


def _edges(side: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels with another class, not the unknown, above, below or beside them."""
    found = np.zeros(side.shape, dtype=np.bool_)
    first, last, every = slice(None, -1), slice(1, None), slice(None)
    for one, other in (((last, every), (first, every)), ((every, last), (every, first))):
        differs = side[one] != side[other]
        found[one] |= differs & (side[other] != NONE)
        found[other] |= differs & (side[one] != NONE)
    return found


def _crossings(side: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Corners of pixels, at the pixel below and to the right, that have several classes around them, all known."""
    above_left, above, left, here = side[:-1, :-1], side[:-1, 1:], side[1:, :-1], side[1:, 1:]
    found = np.zeros(side.shape, dtype=np.bool_)
    most = np.maximum(np.maximum(above_left, above), np.maximum(left, here))
    least = np.minimum(np.minimum(above_left, above), np.minimum(left, here))
    found[1:, 1:] = (most != least) & (most != NONE)
    return found


def _surfels(own: NDArray[np.bool_], crossings: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Corners that have the class on one side and not on the other.

    The mark says which of the four pixels around have it: 8 above left, 4 above, 2 left, 1 the pixel itself.
    """
    one = own.view(np.uint8)
    marks = np.zeros(own.shape, dtype=np.uint8)
    code = marks[1:, 1:]
    code += one[:-1, :-1]
    for pixel in (one[:-1, 1:], one[1:, :-1], one[1:, 1:]):
        code += code
        code += pixel
    marks *= crossings
    return marks


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
def _nearest(marks: NDArray[np.uint8], up: NDArray[np.int16], down: NDArray[np.int16]) -> None:
    """Rows to the nearest mark at or above each pixel, and at or below it; `_FAR` or more where there is none."""
    rows, cols = marks.shape
    for c in range(cols):
        up[0, c] = _FAR * (marks[0, c] == 0)
        down[rows - 1, c] = _FAR * (marks[rows - 1, c] == 0)
    for r in range(1, rows):
        for c in range(cols):  # a product, no branch: many are done at a time
            up[r, c] = (up[r - 1, c] + 1) * (marks[r, c] == 0)
    for r in range(rows - 2, -1, -1):
        for c in range(cols):
            down[r, c] = (down[r + 1, c] + 1) * (marks[r, c] == 0)


@njit(nogil=True, cache=True)
def _measure(
    marks: NDArray[np.uint8],
    up: NDArray[np.int16],
    down: NDArray[np.int16],
    window: NDArray[np.int64],
    lines: NDArray[np.float64],
    first: NDArray[np.int64],
    weights: NDArray[np.float64],
    rule: NDArray[np.float64],
    surface: bool,
    of_reference: bool,
    sums: NDArray[np.int64],
) -> None:
    """Distance from each mark in a window to the nearest one of the other side, added to the sums of its class."""
    for r in range(window[0], window[1]):
        for c in range(window[2], window[3]):
            if marks[r, c] == 0:
                continue
            e, f, g = 0.0, 0.0, 0.0
            for j in range(4):
                weight, at = weights[c, j], first[c] + j
                e += weight * lines[r, at, 0]
                f += weight * lines[r, at, 1]
                g += weight * lines[r, at, 2]
            side2 = np.sqrt(max(e * g - f * f, 0.0))
            limit = rule[2] * rule[2] * side2
            best = _closest(up, down, r, c, e, f, g, limit)
            allowed = rule[0] * rule[0] * (side2 if rule[1] > 0 else 1.0)
            near = best < limit and best <= allowed * (1 + 1e-9)
            if not surface:
                of = 3 if of_reference else 5
                sums[of] += 1
                if near:
                    sums[of + 1] += 1
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
                if above > -_FAR:
                    best = min(best, e * step * step + 2 * f * step * above + g * above * above)
                if below < _FAR:
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
