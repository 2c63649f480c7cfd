"""Two maps compared block by block: plan, the work on a block, and what comes of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.area.pixel_area import PixelAreas
from geoseg.change.codes import NO_CHANGE, ChangeCodes
from geoseg.change.grids import Alignment, align
from geoseg.change.index import NONE, places
from geoseg.change.legends import CommonLegend, CrosswalkRow, common_legend
from geoseg.change.maps import ClassSource
from geoseg.change.plausible import PlausibleRow, implausible_pairs
from geoseg.change.registration import Shift, border_shift, moved, window_offsets
from geoseg.change.sampling import ReadMap
from geoseg.change.tolerance import check_tolerance, without_pairs, without_slivers
from geoseg.change.transitions import Transitions, count_transitions
from geoseg.inference.lattice import Block

__all__ = ["BlockChange", "Comparison", "Rules", "block_change", "map_areas", "recounted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What counts as change, and what classes count as."""

    crosswalk: tuple[CrosswalkRow, ...] = ()
    """Classes that count as others."""
    tolerance: int = 0
    """Pixels of misregistration that are no change."""
    plausible: tuple[PlausibleRow, ...] = ()
    """Which transitions can be; what cannot is no change."""
    align: bool = False
    """Whether the second map is moved by the shift that its class borders show."""

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    @property
    def is_plain(self) -> bool:
        """Whether every difference of the maps is change."""
        return self.tolerance == 0 and not self.plausible


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """All that the work on a block has to know; travels to workers."""

    before: ReadMap
    """Reads the first map, in its own blocks."""
    after: ReadMap
    """Reads the second."""
    after_nodata: int
    """Of the second map."""
    alignment: Alignment
    """The grid they have in common."""
    common: CommonLegend
    """The legend they have in common."""
    codes: ChangeCodes
    """Of the change map."""
    tolerance: int
    """Pixels of misregistration that are no change."""
    implausible: NDArray[np.bool_] | None
    """(256, 256) pairs of places that are no change."""
    shift: Shift | None = None
    """How far the second map lies from the first, as it is compared; None where that cannot be told."""
    notes: tuple[str, ...] = field(default=())
    """What was decided."""

    @classmethod
    def of(cls, before: ClassSource, after: ClassSource, rules: Rules) -> Self:
        """How two maps are compared.

        Raises:
            InputError: If they do not overlap.
            ParameterError: If their legends have nothing in common, or the rules name a class that neither has.
        """
        names = (before.name, after.name)
        alignment = align(before.geobox, after.geobox, names=names)
        common = common_legend(
            before.legend, after.legend, named=(before.named, after.named), crosswalk=rules.crosswalk, names=names
        )
        implausible = implausible_pairs(common.legend, rules.plausible) if rules.plausible else None
        n = len(common.legend)
        # what cannot be named in bytes gets codes when it is known which pairs occur
        every: list[tuple[int, int]] | None = None if n * (n - 1) < NONE else []
        made = cls(
            before=before.read,
            after=after.read,
            after_nodata=after.legend.nodata,
            alignment=alignment,
            common=common,
            codes=ChangeCodes.of(common.legend, every),
            tolerance=rules.tolerance,
            implausible=implausible,
        )
        shift, said = made.measured_shift(), ""
        if rules.align and shift is not None:
            grid = moved(after.geobox, shift, made.geobox)
            made = replace(made, alignment=align(before.geobox, grid, names=names))
            rest = made.measured_shift()
            said = f"{after.name} is moved back by {shift}" + ("" if rest is None else f"; what is left is {rest}")
            shift = rest
        elif shift is None:
            said = "how well the maps lie on each other cannot be told from their class borders"
        else:
            said = f"by its class borders, {after.name} lies {shift} of {before.name}"
        return replace(made, shift=shift, notes=(*made.alignment.notes, *common.notes, said))

    def measured_shift(self) -> Shift | None:
        """How far the second map lies from the first, by the class borders in windows of both."""

        def windows() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
            shape = int(self.geobox.shape[0]), int(self.geobox.shape[1])
            for row, col, height, width in window_offsets(shape):
                block = Block(row_off=row, col_off=col, height=height, width=width)
                yield self.places_before(block), self.places_after(block)

        return border_shift(windows())

    @property
    def geobox(self) -> GeoBox:
        """The common grid."""
        return self.alignment.geobox

    @property
    def needs_codes(self) -> bool:
        """Whether codes wait for the pairs that occur."""
        return not len(self.codes) and len(self.common.legend) > 1

    def places_before(self, block: Block) -> NDArray[np.uint8]:
        """(rows, cols) places of the first date in the legend, in a block of the common grid."""
        return _before(self, block)[0]

    def places_after(self, block: Block) -> NDArray[np.uint8]:
        """(rows, cols) places of the second date, likewise."""
        values, _ = self.alignment.after.take(block, self.after, self.after_nodata)
        return places(values, self.common.after)[0]

    def with_codes_for(self, counts: Transitions) -> "Comparison":
        """With codes for the pairs that occur."""
        return replace(self, codes=ChangeCodes.of(self.common.legend, counts.occurring()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockChange:
    """What comes of a block."""

    codes: NDArray[Any]
    """(rows, cols) change codes."""
    confidence: NDArray[np.uint8] | None
    """(rows, cols) percent that both labels are right, 255 where it is not known; None where it is nowhere."""
    counts: Transitions
    """Of the change map."""
    plain: Transitions
    """Of the two maps as they are."""
    lacking: tuple[tuple[int, ...], tuple[int, ...]]
    """Class values of either map that its legend lacks."""


@lru_cache(maxsize=4)
def map_areas(geobox: GeoBox) -> PixelAreas:
    """True pixel areas of a grid, made once per process."""
    return PixelAreas.of(geobox)


def block_change(comparison: Comparison, block: Block) -> BlockChange:
    """Compare the two maps in a block of their common grid.

    Memory: some 12 bytes a pixel, and with a tolerance the margin around the block.
    """
    inner, outer = _with_margin(block, comparison.geobox, comparison.tolerance)
    was, was_conf, was_lacking = _before(comparison, outer)
    now_values, now_conf = comparison.alignment.after.take(outer, comparison.after, comparison.after_nodata)
    now, now_lacking = places(now_values, comparison.common.after)
    confidence = None
    if was_conf is not None and now_conf is not None:
        confidence = _joint(was_conf[inner], now_conf[inner])
    areas, at = map_areas(comparison.geobox), {"row_off": block.row_off, "col_off": block.col_off}
    inside = was[inner]
    codes, plain = count_transitions(inside, now[inner], areas, comparison.codes, confidence=confidence, **at)
    counts = plain
    if comparison.tolerance or comparison.implausible is not None:
        real = without_slivers(was, now, tolerance=comparison.tolerance, inside=inner)
        if comparison.implausible is not None:
            real = without_pairs(inside, real, comparison.implausible)
        codes, counts = count_transitions(inside, real, areas, comparison.codes, confidence=confidence, **at)
    lacking = [tuple(np.flatnonzero(values).tolist()) for values in (was_lacking, now_lacking)]
    return BlockChange(codes=codes, confidence=confidence, counts=counts, plain=plain, lacking=(lacking[0], lacking[1]))


def recounted(
    comparison: Comparison, block: Block, codes: NDArray[np.uint8], confidence: NDArray[np.uint8] | None
) -> Transitions:
    """Counts of a block after its codes were changed.

    A pixel counts as its code says; one of no change keeps the class that it had.
    """
    was, _, _ = _before(comparison, block)
    before, after = _as_coded(codes, was, comparison.codes.pairs.astype(np.uint8), comparison.codes.nodata)
    areas, at = map_areas(comparison.geobox), {"row_off": block.row_off, "col_off": block.col_off}
    # nodata stays as it was counted: which date lacks the observation is not in the codes
    seen = codes != comparison.codes.nodata
    now = comparison.places_after(block)
    before, after = np.where(seen, before, was), np.where(seen, after, now)
    return count_transitions(before, after, areas, comparison.codes, confidence=confidence, **at)[1]


def _before(comparison: Comparison, block: Block) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[Any]]:
    """Places and confidence of the first map in a block of the common grid, and what its legend lacks."""
    alignment = comparison.alignment
    own = replace(block, row_off=block.row_off + alignment.row_off, col_off=block.col_off + alignment.col_off)
    values, confidence = comparison.before(own)
    found, lacking = places(values, comparison.common.before)
    return found, confidence, lacking


def _with_margin(block: Block, geobox: GeoBox, margin: int) -> tuple[tuple[slice, slice], Block]:
    """The rows and columns of a block in what is read for it, and what that is: a margin wider, within the map."""
    top, left = max(0, block.row_off - margin), max(0, block.col_off - margin)
    bottom, right = min(int(geobox.shape[0]), block.row_end + margin), min(int(geobox.shape[1]), block.col_end + margin)
    inner = (
        slice(block.row_off - top, block.row_end - top),
        slice(block.col_off - left, block.col_end - left),
    )
    return inner, Block(row_off=top, col_off=left, height=bottom - top, width=right - left)


@njit(nogil=True, cache=True)
def _joint(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Percent that both labels are right, if their errors are independent; 255 where either is not known."""
    out = np.empty(before.shape, dtype=np.uint8)
    for r in range(before.shape[0]):
        for c in range(before.shape[1]):
            b, a = np.int64(before[r, c]), np.int64(after[r, c])
            out[r, c] = 255 if b == 255 or a == 255 else (b * a + 50) // 100
    return out


@njit(nogil=True, cache=True)
def _as_coded(
    codes: NDArray[np.uint8], was: NDArray[np.uint8], pairs: NDArray[np.uint8], nodata: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Places on both dates as codes say."""
    before, after = was.copy(), was.copy()
    for r in range(codes.shape[0]):
        for c in range(codes.shape[1]):
            code = codes[r, c]
            if code != NO_CHANGE and code != nodata:
                before[r, c], after[r, c] = pairs[code - 1, 0], pairs[code - 1, 1]
    return before, after
