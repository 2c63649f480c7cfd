"""Counts of a prediction against a reference: integers that add up over blocks, whatever the cut."""

import heapq
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.area.interpolate import Lattice, row_units
from geoseg.area.pixel_area import PixelAreas
from geoseg.evaluate.plan import Plan
from geoseg.evaluate.scores import Margins
from geoseg.inference.lattice import Block
from geoseg.kernels import njit

__all__ = ["BlockCounts", "MapCounts", "Window", "count_block"]

_N_PERCENT: Final = 101
_WORST: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Window:
    """A square part of the common grid, cut at its edge; those with more wrong pixels come first."""

    n_right: int
    """Minus the wrong pixels, so that the worst is the least."""
    row_off: int
    """First row."""
    col_off: int
    """First column."""
    n: int
    """Pixels that were compared."""

    @property
    def n_wrong(self) -> int:
        """Pixels with another class."""
        return -self.n_right


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockCounts:
    """What a block leaves."""

    block: Block
    """Where it is."""
    pixels: NDArray[np.int64]
    """(K + 1, K + 1) pixels: rows are the reference, columns the prediction, the last of each without a class."""
    units: NDArray[np.int64]
    """(K + 1, K + 1) area in units of `PixelAreas.unit_m2`."""
    margins: NDArray[np.int64]
    """(rows, cols, 3, K) of its windows: agreed, reference and predicted pixels, where both have a class."""
    by_percent: NDArray[np.int64] | None
    """(K, 101, 2) pixels of each predicted class and percent of confidence that are wrong and right."""
    lacking: tuple[tuple[int, ...], tuple[int, ...]]
    """Class values that the legends of reference and prediction lack."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapCounts:
    """What a map leaves; blocks are added to it."""

    pixels: NDArray[np.int64]
    """As in `BlockCounts`."""
    units: NDArray[np.int64]
    """As in `BlockCounts`."""
    unit_margins: NDArray[np.int64]
    """(n, 3, K) of the parts from which an interval of one map is drawn."""
    by_percent: NDArray[np.int64] | None
    """As in `BlockCounts`; None where there is no confidence."""
    worst: tuple[Window, ...]
    """The windows with the most wrong pixels, the worst first."""
    lacking: tuple[frozenset[int], frozenset[int]]
    """As in `BlockCounts`."""

    @classmethod
    def zero(cls, plan: Plan) -> Self:
        """Of no block."""
        k = len(plan.legend)
        n = [-(-length // plan.unit_px) for length in plan.shape]
        return cls(
            pixels=np.zeros((k + 1, k + 1), dtype=np.int64),
            units=np.zeros((k + 1, k + 1), dtype=np.int64),
            unit_margins=np.zeros((n[0] * n[1], 3, k), dtype=np.int64),
            by_percent=None,
            worst=(),
            lacking=(frozenset(), frozenset()),
        )

    def plus(self, plan: Plan, found: BlockCounts) -> "MapCounts":
        """With a block added; this value is used up."""
        self.pixels[:] += found.pixels
        self.units[:] += found.units
        rows, cols = found.margins.shape[:2]
        row = found.block.row_off + plan.window_px * np.arange(rows)
        col = found.block.col_off + plan.window_px * np.arange(cols)
        across = -(-plan.shape[1] // plan.unit_px)
        unit = row[:, None] // plan.unit_px * across + col // plan.unit_px
        np.add.at(self.unit_margins, unit, found.margins)
        percent = self.by_percent
        if found.by_percent is not None:
            percent = found.by_percent if percent is None else percent + found.by_percent
        n = found.margins[:, :, 1].sum(axis=-1)
        wrong = n - found.margins[:, :, 0].sum(axis=-1)
        windows = [
            Window(n_right=-int(wrong[i, j]), row_off=int(row[i]), col_off=int(col[j]), n=int(n[i, j]))
            for i, j in np.argwhere(wrong)
        ]
        return replace(
            self,
            by_percent=percent,
            worst=tuple(heapq.nsmallest(_WORST, [*self.worst, *windows])),
            lacking=(self.lacking[0].union(found.lacking[0]), self.lacking[1].union(found.lacking[1])),
        )

    @property
    def compared(self) -> NDArray[np.int64]:
        """(K, K) pixels where both have a class."""
        return self.pixels[:-1, :-1]

    @property
    def n_unmapped(self) -> int:
        """Pixels of the reference for which the prediction has no class."""
        return int(self.pixels[:-1, -1].sum())

    @property
    def parts(self) -> Margins:
        """(n, K) of the parts of the map that hold anything."""
        used = self.unit_margins[self.unit_margins[:, 1].sum(axis=-1) > 0].astype(np.float64)
        return Margins(agreed=used[:, 0], reference=used[:, 1], predicted=used[:, 2])


def count_block(plan: Plan, areas: PixelAreas, block: Block) -> BlockCounts:
    """The counts of a block.

    Memory: three bytes a pixel, and 24 bytes for each class in a window.
    """
    both = plan.pixels(block)
    k, side = len(plan.legend), plan.window_px
    n_rows, n_cols = -(-block.height // side), -(-block.width // side)
    pixels, units = np.zeros((2, k + 1, k + 1), dtype=np.int64)
    margins = np.zeros((n_rows, n_cols, 3, k), dtype=np.int64)
    lattice = areas.lattice(block.row_off, block.col_off, block.height, block.width)
    _count(both.truth, both.mapped, side, lattice, pixels, units, margins)
    by_percent = None
    if both.confidence is not None:
        by_percent = np.zeros((k, _N_PERCENT, 2), dtype=np.int64)
        _count_percent(both.truth, both.mapped, both.confidence, by_percent)
    return BlockCounts(
        block=block, pixels=pixels, units=units, margins=margins, by_percent=by_percent, lacking=both.lacking
    )


@njit(nogil=True, cache=True)
def _count(
    truth: NDArray[np.uint8],
    mapped: NDArray[np.uint8],
    side: int,
    lattice: Lattice,
    pixels: NDArray[np.int64],
    units: NDArray[np.int64],
    margins: NDArray[np.int64],
) -> None:
    """Row by row; pixels of the windows that a row crosses are kept until the last row of these windows."""
    height, width = truth.shape
    k = margins.shape[3]
    n_cols = margins.shape[1]
    area = np.empty(width, dtype=np.int64)
    place = np.full(256, k, dtype=np.int64)
    place[:k] = np.arange(k)
    here = np.zeros((n_cols, (k + 1) * (k + 1), 2), dtype=np.int64)
    for r in range(height):
        row_units(lattice, r, area)
        for j in range(n_cols):
            sums = here[j]
            for c in range(j * side, min((j + 1) * side, width)):
                at = place[truth[r, c]] * (k + 1) + place[mapped[r, c]]
                sums[at, 0] += 1
                sums[at, 1] += area[c]
        if (r + 1) % side == 0 or r == height - 1:
            for j in range(n_cols):
                for t in range(k + 1):
                    for m in range(k + 1):
                        n = here[j, t * (k + 1) + m, 0]
                        if n == 0:
                            continue
                        pixels[t, m] += n
                        units[t, m] += here[j, t * (k + 1) + m, 1]
                        if t < k and m < k:
                            margins[r // side, j, 1, t] += n
                            margins[r // side, j, 2, m] += n
                            if t == m:
                                margins[r // side, j, 0, t] += n
            here[:] = 0


@njit(nogil=True, cache=True)
def _count_percent(
    truth: NDArray[np.uint8], mapped: NDArray[np.uint8], percent: NDArray[np.uint8], out: NDArray[np.int64]
) -> None:
    k = len(out)
    for r in range(truth.shape[0]):
        for c in range(truth.shape[1]):
            t, m, p = truth[r, c], mapped[r, c], percent[r, c]
            if t < k and m < k and p <= 100:
                out[m, p, 1 if t == m else 0] += 1
