"""The work on a block of a series, and what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.area.expected import ExpectedTotals, expected_totals
from geoseg.area.pixel_area import PixelAreas
from geoseg.area.sums import ClassTotals, class_totals
from geoseg.change.block_change import map_areas, with_margin
from geoseg.change.codes import ChangeCodes
from geoseg.change.history import decide_history
from geoseg.change.index import NONE
from geoseg.change.series import Series
from geoseg.change.tolerance import without_pairs, without_slivers
from geoseg.change.trajectory import Trajectory, trajectory
from geoseg.change.transitions import Transitions, count_transitions
from geoseg.inference.lattice import Block
from geoseg.legend import NODATA

__all__ = ["SeriesBlock", "SeriesCounts", "series_block"]

Bytes = NDArray[np.uint8]
_STRIP_BYTES: Final = 16 << 20
"""Of probabilities of all dates and classes that are held at once, twice: what was given, and what was decided."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeriesCounts:
    """What is counted of a series; counts of two blocks add up to those of both."""

    intervals: tuple[Transitions, ...]
    """From each date to the next, and last from the first date to the last."""
    plain: tuple[Transitions, ...] | None
    """Likewise of the maps as they are; None where that is the same."""
    expected: tuple[ExpectedTotals, ...] | None
    """For each date the posterior of each class times areas, where all dates decide together."""
    first: ClassTotals
    """By number of the date on which the first change was seen."""
    count: ClassTotals
    """By number of changes."""

    @classmethod
    def zero(cls, series: Series) -> "SeriesCounts":
        """Of no pixels."""
        d, k = len(series.timeline), len(series.legend)
        none = (Transitions.zero(k),) * d
        return cls(
            intervals=none,
            plain=None if series.is_plain else none,
            expected=None if series.model is None else (ExpectedTotals.zero(k),) * d,
            first=ClassTotals.zero(),
            count=ClassTotals.zero(),
        )

    def __add__(self, other: "SeriesCounts") -> "SeriesCounts":
        return SeriesCounts(
            intervals=tuple(a + b for a, b in zip(self.intervals, other.intervals, strict=True)),
            plain=None
            if self.plain is None or other.plain is None
            else tuple(a + b for a, b in zip(self.plain, other.plain, strict=True)),
            expected=None
            if self.expected is None or other.expected is None
            else tuple(a + b for a, b in zip(self.expected, other.expected, strict=True)),
            first=self.first + other.first,
            count=self.count + other.count,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeriesBlock:
    """What comes of a block."""

    trajectory: Trajectory
    """When each pixel changed, how often, and what it is."""
    places: Bytes
    """(D, rows, cols) place in the legend on each date, as it counts."""
    confidence: Bytes | None
    """(rows, cols) percent: the posterior of the whole history, 255 where none was decided or other rules changed it;
    None without a model."""
    counts: SeriesCounts
    """Of the block."""
    lacking: tuple[tuple[int, ...], ...]
    """For each map the class values that its legend lacks."""


def series_block(series: Series, block: Block) -> SeriesBlock:
    """Go through all dates in a block of their common grid.

    Memory: some three bytes a pixel for each date, with a tolerance the margin around the block, and with
    probabilities those of a strip of all dates.
    """
    inner, outer = with_margin(block, series.geobox, series.margin)
    seen, lacking = series.stack.places(outer)
    areas = map_areas(series.geobox)
    places, confidence, expected = seen, None, None
    if series.model is not None:
        places, confidence, expected = _decided(series, outer, seen, inner, areas)
    decided = places[(slice(None), *inner)]
    places = _reconciled(series, places)[(slice(None), *inner)]
    if confidence is not None:
        # of a history that rules changed nothing is known
        confidence = np.where((places == decided).all(axis=0), confidence, np.uint8(NODATA))
    found = trajectory(places)
    at: dict[str, Any] = {"row_off": block.row_off, "col_off": block.col_off}
    counts = SeriesCounts(
        intervals=_intervals(series, places, areas, block),
        plain=None if series.is_plain else _intervals(series, seen[(slice(None), *inner)], areas, block),
        expected=expected,
        first=class_totals(found.first, areas, **at),
        count=class_totals(found.count, areas, **at),
    )
    return SeriesBlock(trajectory=found, places=places, confidence=confidence, counts=counts, lacking=lacking)


def _decided(
    series: Series, outer: Block, seen: Bytes, inner: tuple[slice, slice], areas: PixelAreas
) -> tuple[Bytes, Bytes, tuple[ExpectedTotals, ...]]:
    """Places and confidence by all dates together, strip by strip, and the expected areas of the inner part."""
    assert series.model is not None
    d, k = len(seen), len(series.legend)
    rows = max(1, _STRIP_BYTES // (d * k * outer.width))
    places = np.empty_like(seen)
    confidence = np.empty(seen.shape[1:], dtype=np.uint8)
    expected = [ExpectedTotals.zero(k)] * d
    for row in range(0, outer.height, rows):
        strip = replace(outer, row_off=outer.row_off + row, height=min(rows, outer.height - row))
        at = slice(row, row + strip.height)
        shares = series.stack.probabilities(strip) if series.by_shares else None
        found = decide_history(np.ascontiguousarray(seen[:, at]), shares, series.model)
        places[:, at], confidence[at] = found.places, found.confidence
        first, end = max(row, inner[0].start), min(row + strip.height, inner[0].stop)
        for t in range(d if first < end else 0):
            part = np.ascontiguousarray(found.posterior[t, :, first - row : end - row, inner[1]])
            expected[t] = expected[t] + expected_totals(
                part, areas, row_off=outer.row_off + first, col_off=outer.col_off + inner[1].start
            )
    return places, np.ascontiguousarray(confidence[inner]), tuple(expected)


def _reconciled(series: Series, places: Bytes) -> Bytes:
    """Places without what misregistration and implausible transitions make, date by date.

    Each date is held against what was there before, as it was left: a border that creeps on is change as soon as it is
    further away than the tolerance.
    """
    if series.tolerance == 0 and series.implausible is None:
        return places
    out = np.empty_like(places)
    before = out[0] = places[0]
    for t in range(1, len(places)):
        now = without_slivers(before, places[t], tolerance=series.tolerance) if series.tolerance else places[t]
        if series.implausible is not None:
            now = without_pairs(before, now, series.implausible)
        out[t] = now
        before = np.where(now == NONE, before, now)
    return out


def _intervals(series: Series, places: Bytes, areas: PixelAreas, block: Block) -> tuple[Transitions, ...]:
    codes = ChangeCodes.of(series.legend, [])
    d = len(places)
    pairs: Sequence[tuple[int, int]] = [*((t, t + 1) for t in range(d - 1)), (0, d - 1)]
    layers = [np.ascontiguousarray(p) for p in places]
    at: dict[str, Any] = {"row_off": block.row_off, "col_off": block.col_off}
    return tuple(count_transitions(layers[a], layers[b], areas, codes, **at)[1] for a, b in pairs)
