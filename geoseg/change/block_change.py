"""The work on a block of a comparison, and what comes of it."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.area.pixel_area import PixelAreas
from geoseg.change.codes import NO_CHANGE
from geoseg.change.comparison import Comparison
from geoseg.change.index import places
from geoseg.change.posterior import Decided, decide_pairs
from geoseg.change.shares import take_shares
from geoseg.change.tolerance import without_pairs, without_slivers
from geoseg.change.transitions import Transitions, count_transitions
from geoseg.inference.lattice import Block
from geoseg.kernels import njit

__all__ = ["BlockChange", "block_change", "map_areas", "recounted", "stable_places", "with_margin"]

_STRIP: Final = 256
"""Rows of probabilities that are held at once: two bytes a pixel for each class."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockChange:
    """What comes of a block."""

    codes: NDArray[Any]
    """(rows, cols) change codes."""
    confidence: NDArray[np.uint8] | None
    """(rows, cols) percent that both labels are right, or, by probabilities, that the code is; 255 where it is not
    known; None where it is nowhere."""
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

    Memory: some 12 bytes a pixel, and with a tolerance the margin around the block; with probabilities 4 more, and
    those of a strip.
    """
    inner, outer = with_margin(block, comparison.geobox, comparison.tolerance)
    was, was_conf, was_lacking = _before(comparison, outer)
    now_values, now_conf = comparison.alignment.after.take(outer, comparison.after, comparison.after_nodata)
    now, now_lacking = places(now_values, comparison.common.after)
    confidence = None
    if was_conf is not None and now_conf is not None:
        confidence = _joint(was_conf[inner], now_conf[inner])
    areas, at = map_areas(comparison.geobox), {"row_off": block.row_off, "col_off": block.col_off}
    codes, plain = count_transitions(was[inner], now[inner], areas, comparison.codes, confidence=confidence, **at)
    counts = plain
    if not comparison.is_plain:
        decided = _decided(comparison, outer, was, now)
        if decided is not None:
            was, now = decided.before, decided.after
        inside, real = was[inner], without_slivers(was, now, tolerance=comparison.tolerance, inside=inner)
        if comparison.implausible is not None:
            real = without_pairs(inside, real, comparison.implausible)
        if decided is not None:
            confidence = np.where(real == inside, decided.same[inner], decided.pair[inner])
        codes, counts = count_transitions(inside, real, areas, comparison.codes, confidence=confidence, **at)
    lacking = [tuple(np.flatnonzero(values).tolist()) for values in (was_lacking, now_lacking)]
    return BlockChange(codes=codes, confidence=confidence, counts=counts, plain=plain, lacking=(lacking[0], lacking[1]))


def stable_places(comparison: Comparison, block: Block) -> NDArray[np.uint8]:
    """(rows, cols) places on the first date in a block, as they count where nothing changed."""
    was = comparison.places_before(block)
    decided = None if comparison.evidence is None else _decided(comparison, block, was, comparison.places_after(block))
    return was if decided is None else decided.before


def recounted(
    comparison: Comparison, block: Block, codes: NDArray[np.uint8], confidence: NDArray[np.uint8] | None
) -> Transitions:
    """Counts of a block after its codes were changed.

    A pixel counts as its code says; one of no change keeps the class that it had.
    """
    was = stable_places(comparison, block)
    before, after = _as_coded(codes, was, comparison.codes.pairs.astype(np.uint8), comparison.codes.nodata)
    areas, at = map_areas(comparison.geobox), {"row_off": block.row_off, "col_off": block.col_off}
    # nodata stays as it was counted: which date lacks the observation is not in the codes
    seen = codes != comparison.codes.nodata
    now = comparison.places_after(block)
    before, after = np.where(seen, before, was), np.where(seen, after, now)
    return count_transitions(before, after, areas, comparison.codes, confidence=confidence, **at)[1]


def _before(comparison: Comparison, block: Block) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[Any]]:
    """Places and confidence of the first map in a block of the common grid, and what its legend lacks."""
    values, confidence = comparison.before(comparison.in_before(block))
    found, lacking = places(values, comparison.common.before)
    return found, confidence, lacking


def _decided(comparison: Comparison, block: Block, was: NDArray[np.uint8], now: NDArray[np.uint8]) -> Decided | None:
    """What the probabilities of a block say, strip by strip; None where they do not decide."""
    evidence = comparison.evidence
    if evidence is None:
        return None
    one, two = evidence.before, evidence.after
    bands = comparison.common.before[list(one.values)], comparison.common.after[list(two.values)]
    strips = []
    for row in range(0, block.height, _STRIP):
        strip = replace(block, row_off=block.row_off + row, height=min(_STRIP, block.height - row))
        shares = (
            one.read(comparison.in_before(strip)),
            take_shares(comparison.alignment.after, strip, two.read, len(two.values)),
        )
        at = slice(row, row + strip.height)
        strips.append(decide_pairs(was[at], now[at], shares, bands, evidence.weights))
    return Decided(
        before=np.concatenate([s.before for s in strips]),
        after=np.concatenate([s.after for s in strips]),
        same=np.concatenate([s.same for s in strips]),
        pair=np.concatenate([s.pair for s in strips]),
    )


def with_margin(block: Block, geobox: GeoBox, margin: int) -> tuple[tuple[slice, slice], Block]:
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
