"""The finished blocks of series that are not finished: the journal of runs, with the counts of a series."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.area.expected import ExpectedTotals
from geoseg.area.sums import N_VALUES, ClassTotals, Sums
from geoseg.change.series_block import SeriesCounts
from geoseg.change.transitions import Transitions
from geoseg.jobs.change_journal import sums_from_dict, sums_to_dict
from geoseg.jobs.journal import PartJournal
from geoseg.outputs.parts import Part

__all__ = ["FollowedBlock", "SeriesJournal"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FollowedBlock:
    """What a finished block of a series leaves."""

    layers: dict[str, Part]
    """For each raster its part on disk."""
    counts: SeriesCounts
    """Of the block."""
    lacking: tuple[tuple[int, ...], ...]
    """For each map the class values that its legend lacks."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """All files of the block."""
        return tuple(self.layers.values())


class SeriesJournal(PartJournal[FollowedBlock]):
    """Of one series."""

    @staticmethod
    def to_dict(result: FollowedBlock) -> dict[str, Any]:
        """A result as plain values; of pairs of classes those that occur."""
        counts = result.counts
        return {
            "layers": {kind: part.to_dict() | {"path": part.path.name} for kind, part in result.layers.items()},
            "classes": counts.intervals[0].n_classes,
            "intervals": [sums_to_dict(t.sums) for t in counts.intervals],
            "plain": None if counts.plain is None else [sums_to_dict(t.sums) for t in counts.plain],
            "expected": None if counts.expected is None else [list(e.weighted_units) for e in counts.expected],
            "first": sums_to_dict(counts.first),
            "count": sums_to_dict(counts.count),
            "lacking": result.lacking,
        }

    @staticmethod
    def from_dict(values: dict[str, Any], folder: Path) -> FollowedBlock:
        """The way back."""
        plain, expected = values["plain"], values["expected"]

        def transitions(rows: list[dict[str, list[int]]]) -> tuple[Transitions, ...]:
            n: int = values["classes"]
            return tuple(Transitions(n_classes=n, sums=sums_from_dict(row, (n + 1) ** 2)) for row in rows)

        counts = SeriesCounts(
            intervals=transitions(values["intervals"]),
            plain=None if plain is None else transitions(plain),
            expected=None if expected is None else tuple(ExpectedTotals(weighted_units=tuple(e)) for e in expected),
            first=_totals(sums_from_dict(values["first"], N_VALUES)),
            count=_totals(sums_from_dict(values["count"], N_VALUES)),
        )
        return FollowedBlock(
            layers={
                kind: Part.from_dict(part | {"path": str(folder / part["path"])})
                for kind, part in values["layers"].items()
            },
            counts=counts,
            lacking=tuple(tuple(each) for each in values["lacking"]),
        )


def _totals(sums: Sums) -> ClassTotals:
    return ClassTotals(pixels=sums.pixels, units=sums.units, conf_sum=sums.conf_sum, conf_pixels=sums.conf_pixels)
