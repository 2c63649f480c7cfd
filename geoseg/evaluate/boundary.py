"""How well borders lie: boundary IoU, boundary F1, surface distance; counts that add up over blocks, with a halo.

What lies beyond the map, or was not observed on either side, is unknown: it is no background, and its edge no border.
Distances are true ones: a step on the grid is as long as the metric tensor of the map says where it is.
"""

import math
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from geoseg.area.metric import Metric, tensor_at
from geoseg.change.block_change import with_margin
from geoseg.change.index import NONE
from geoseg.errors import ParameterError
from geoseg.evaluate.plan import Plan
from geoseg.inference.lattice import Block, blocks
from geoseg.vector.simplify import Distance

__all__ = [
    "BORDER_BLOCK_PX",
    "N_BORDER_SUMS",
    "BorderRule",
    "BorderScores",
    "Ruler",
    "border_blocks",
    "border_scores",
    "borders_of",
    "count_borders",
    "in_metres",
]

BORDER_BLOCK_PX: Final = 1024
"""Side of a block: some 30 bytes a pixel in each that is in work, with its halo."""
_REACH_PX: Final = 64
_MOST_PX: Final = 512
_MOST_SUM: Final = 61  # bits
N_BORDER_SUMS: Final = 13
"""Numbers that are summed for each class: pixels of bands and edges, lengths, and lengths times distances."""
(
    _BAND_BOTH, _BAND_REF, _BAND_MAP, _EDGE_REF, _EDGE_REF_HIT, _EDGE_MAP, _EDGE_MAP_HIT,
    _LENGTH_REF, _LENGTH_MAP, _AWAY_REF, _AWAY_MAP, _NEAR, _LOST,
) = range(N_BORDER_SUMS)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BorderRule:
    """What counts as a border, and as the right place."""

    tolerance: Distance = field(default_factory=lambda: Distance(kind="px", amount=2))
    """Within which a border is in the right place."""
    band_px: int = 7
    """Width of the band inside a class for boundary IoU: 2 % of the diagonal of a window of 256 px."""

    def __post_init__(self) -> None:
        if not 1 <= self.band_px <= _MOST_PX:
            raise ParameterError(f"a band of {self.band_px} px for boundary IoU: choose 1 to {_MOST_PX}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ruler:
    """A rule on the grid of a map; travels to workers."""

    nodes: NDArray[np.float64]
    """Of the metric tensor, see `geoseg.area.metric.Metric`."""
    shape: tuple[int, int]
    """Rows and columns of the map."""
    tolerance: float
    """In metres, or in pixels."""
    in_px: bool
    """Whether it is in pixels: sides of a square with the area of a pixel."""
    reach_px: float
    """How far the nearest border is looked for; what is further counts as that far."""
    band_px: int
    """Width of the band for boundary IoU."""
    halo: int
    """Pixels around a block that are read for it."""
    scale: float
    """Units of length in a metre, and of length times distance in a square metre."""

    @classmethod
    def of(cls, metric: Metric, rule: BorderRule) -> Self:
        """A rule on the grid of a map.

        Raises:
            ParameterError: If the tolerance is more pixels than borders are looked for.
        """
        e, f, g = (metric.nodes[..., k] for k in range(3))
        side_m = np.sqrt(np.sqrt(np.maximum(e * g - f * f, 0)))
        in_px, amount = rule.tolerance.kind == "px", rule.tolerance.amount
        # in the longest direction of the grid, a pixel being as narrow as it gets
        tolerance_px = amount if in_px else amount / float(side_m.min())
        reach = max(float(_REACH_PX), tolerance_px)
        with np.errstate(divide="ignore", invalid="ignore"):
            narrow = side_m / np.sqrt(np.minimum(e - f * f / g, g - f * f / e))
        halo = math.ceil(reach * float(np.nanmax(narrow[np.isfinite(narrow)], initial=1.0))) + 1
        if tolerance_px > _MOST_PX / 2:
            raise ParameterError(
                f"a tolerance of {amount:g} {rule.tolerance.kind} is {tolerance_px:.0f} pixels of this map: give at "
                f"most {_MOST_PX // 2}"
            )
        longest = math.sqrt(2 * float(np.maximum(e, g).max()))
        most = 4 * metric.shape[0] * metric.shape[1] * longest * max(reach * float(side_m.max()), 1.0)
        return cls(
            nodes=metric.nodes,
            shape=metric.shape,
            tolerance=amount,
            in_px=in_px,
            reach_px=reach,
            band_px=rule.band_px,
            halo=max(min(halo, _MOST_PX), rule.band_px + 1),
            scale=math.ldexp(1.0, _MOST_SUM - math.frexp(most)[1]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BorderScores:
    """Of each class; NaN where there is nothing to divide by."""

    iou: NDArray[np.float64]
    """Boundary IoU: of the bands inside the class along its border (Cheng et al. 2021)."""
    precision: NDArray[np.float64]
    """Share of the mapped border within the tolerance of the true one."""
    recall: NDArray[np.float64]
    """Share of the true border within the tolerance of the mapped one."""
    f1: NDArray[np.float64]
    """Boundary F1 (Csurka et al. 2013); 0 where one side only has a border."""
    asd_m: NDArray[np.float64]
    """Average surface distance in metres, both ways together; what is beyond reach counts as at its end. NaN where
    either side has no border."""
    surface_dice: NDArray[np.float64]
    """Share of the length of both borders within the tolerance of the other (Nikolov et al. 2018)."""
    beyond: NDArray[np.float64]
    """Share of the length of both borders for which there was none of the other within reach."""


def in_metres(sums: NDArray[np.int64], ruler: Ruler) -> NDArray[np.float64]:
    """Sums (K, 13) with lengths in metres, and lengths times distances in square metres: those of scenes add up."""
    out = sums.astype(np.float64)
    out[:, _LENGTH_REF:] /= ruler.scale
    return out


def border_scores(sums: NDArray[np.float64]) -> BorderScores:
    """Scores from sums (K, 13) in metres."""
    s = sums.T
    either = (s[_EDGE_REF] > 0) | (s[_EDGE_MAP] > 0)
    precision, recall = _ratio(s[_EDGE_MAP_HIT], s[_EDGE_MAP]), _ratio(s[_EDGE_REF_HIT], s[_EDGE_REF])
    length = s[_LENGTH_REF] + s[_LENGTH_MAP]
    surfaces = (s[_LENGTH_REF] > 0) & (s[_LENGTH_MAP] > 0)
    return BorderScores(
        iou=_ratio(s[_BAND_BOTH], s[_BAND_REF] + s[_BAND_MAP] - s[_BAND_BOTH]),
        precision=precision,
        recall=recall,
        f1=np.where(either, np.nan_to_num(_ratio(2 * precision * recall, precision + recall)), np.nan),
        asd_m=np.where(surfaces, _ratio(s[_AWAY_REF] + s[_AWAY_MAP], length), np.nan),
        surface_dice=np.where(surfaces, _ratio(s[_NEAR], length), np.nan),
        beyond=np.where(surfaces, _ratio(s[_LOST], length), np.nan),
    )


def border_blocks(plan: Plan) -> list[Block]:
    """The blocks of the common grid for borders."""
    return list(blocks(*plan.shape, block_height=BORDER_BLOCK_PX, block_width=BORDER_BLOCK_PX))


def count_borders(plan: Plan, ruler: Ruler, block: Block) -> NDArray[np.int64]:
    """Sums (K, 13) of a block, integers that add up over blocks; borders beyond it are looked for in its halo."""
    inner, outer = with_margin(block, plan.geobox, ruler.halo)
    both = plan.pixels(outer)
    return borders_of(both.truth, both.mapped, inner, ruler, len(plan.legend), (outer.row_off, outer.col_off))


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


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
