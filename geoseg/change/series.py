"""A series of class maps: the rules, and the plan that the work on blocks follows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.change.history import believed_ends
from geoseg.change.legends import CrosswalkRow
from geoseg.change.maps import ClassSource
from geoseg.change.plausible import PlausibleRow, implausible_pairs
from geoseg.change.stack import Stack
from geoseg.change.temporal import TemporalModel, TemporalRule, temporal_model
from geoseg.change.tolerance import check_tolerance
from geoseg.change.trajectory import MOST_DATES
from geoseg.errors import InputError, ParameterError
from geoseg.inference.lattice import TILE, Block, blocks
from geoseg.legend import Legend, LegendClass

__all__ = ["LEAST_DATES", "Series", "SeriesRules", "Timeline"]

LEAST_DATES: Final = 3
"""Dates of a series at least."""
_YEAR_S: Final = 365.25 * 86_400
_MOST_MARGIN: Final = 256
_BLOCK_BYTES: Final = 32 << 20
_LARGEST: Final = 4 * TILE
_STABLE: Final = "#e8e8e4"
_RAMP: Final = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""From dark to light, told apart by those who see few colours, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRules:
    """What counts as change in a series, and what classes count as."""

    crosswalk: tuple[CrosswalkRow, ...] = ()
    """Classes that count as others."""
    tolerance: int = 0
    """Pixels of misregistration that are no change."""
    plausible: tuple[PlausibleRow, ...] = ()
    """Which transitions can be; what cannot is no change."""
    align: bool = False
    """Whether maps are moved by the shift that their class borders show against the first."""
    temporal: TemporalRule | None = None
    """How all dates decide together; None where each map stands for itself."""

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    @property
    def is_plain(self) -> bool:
        """Whether every difference of the maps is change."""
        return self.tolerance == 0 and not self.plausible and self.temporal is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The dates of a series, in their order."""

    labels: tuple[str, ...]
    """What each is called: its day, or the name of the map where days are not known."""
    times: tuple[datetime, ...] | None
    """When, in UTC; None where that is not known of all."""

    def __post_init__(self) -> None:
        if not LEAST_DATES <= len(self.labels) <= MOST_DATES:
            raise ParameterError(
                f"{len(self.labels)} dates of one place: a series has {LEAST_DATES} to {MOST_DATES}; for two there is "
                "geoseg change"
            )

    @classmethod
    def of(cls, names: Sequence[str], times: Sequence[datetime | None]) -> Self:
        """The dates of maps that are in their order.

        Args:
            names: Of the maps.
            times: When each was taken, where that is known.

        Raises:
            ParameterError: If two are of one time, one is before the one ahead of it, or they are too few or too many.
        """
        known = [t for t in times if t is not None]
        if len(known) < len(times):
            labels = [n if names.count(n) == 1 else f"{n} ({i})" for i, n in enumerate(names, 1)]
            return cls(labels=tuple(labels), times=None)
        for i in range(1, len(known)):
            if known[i] <= known[i - 1]:
                what = "at one time" if known[i] == known[i - 1] else "in another order"
                raise ParameterError(
                    f"{names[i - 1]} ({known[i - 1]:%Y-%m-%d}) and {names[i]} ({known[i]:%Y-%m-%d}) were taken {what}: "
                    "give one map for each date, by date"
                )
        days = [f"{t:%Y-%m-%d}" for t in known]
        same_day = len(set(days)) < len(days)
        return cls(
            labels=tuple(f"{t:%Y-%m-%dT%H:%M:%SZ}" if same_day else d for t, d in zip(known, days, strict=True)),
            times=tuple(known),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def years(self) -> tuple[float, ...] | None:
        """Length of each interval; None where dates are not known."""
        if self.times is None:
            return None
        pairs = zip(self.times[:-1], self.times[1:], strict=True)
        return tuple((b - a).total_seconds() / _YEAR_S for a, b in pairs)

    def date_legend(self, which: str = "first") -> Legend:
        """The dates on which a change can be seen as classes of a map, "no change" first.

        Args:
            which: The ``first`` or ``last`` change of a pixel.
        """
        n = len(self) - 1
        kinds = (
            LegendClass(value=i, name=f"{which} seen {self.labels[i]}", color=_ramp((i - 1) / max(n - 1, 1)))
            for i in range(1, n + 1)
        )
        return Legend(classes=(LegendClass(value=0, name="no change", color=_STABLE), *kinds))

    def count_legend(self) -> Legend:
        """Numbers of changes as classes of a map."""
        n = len(self) - 1
        kinds = (
            LegendClass(value=i, name="1 change" if i == 1 else f"{i} changes", color=_ramp((i - 1) / max(n - 1, 1)))
            for i in range(1, n + 1)
        )
        return Legend(classes=(LegendClass(value=0, name="no change", color=_STABLE), *kinds))


def _ramp(share: float) -> str:
    at = share * (len(_RAMP) - 1)
    i = min(math.floor(at), len(_RAMP) - 2)
    rgb = (round(a + (at - i) * (b - a)) for a, b in zip(_RAMP[i], _RAMP[i + 1], strict=True))
    return "#{:02x}{:02x}{:02x}".format(*rgb)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """All that the work on a block has to know; travels to workers."""

    stack: Stack
    """The maps."""
    timeline: Timeline
    """Their dates."""
    tolerance: int
    """Pixels of misregistration that are no change."""
    implausible: NDArray[np.bool_] | None
    """(256, 256) pairs of places that are no change."""
    model: TemporalModel | None
    """What decides in place of each map for itself."""

    @classmethod
    def of(cls, sources: Sequence[ClassSource], timeline: Timeline, rules: SeriesRules) -> Self:
        """How a series is gone through.

        Raises:
            InputError: If the maps have no area in common, or one lacks the probabilities that are to decide.
            ParameterError: If legends or rules do not fit each other.
        """
        by_shares = rules.temporal is not None and rules.temporal.accuracy is None
        for source in sources if by_shares else ():
            if source.shares is None:
                raise InputError(
                    f"{source.name} comes without class probabilities: map it with geoseg run --probabilities, or let "
                    "the classes decide, with --accuracy"
                )
        if rules.tolerance * (len(timeline) - 1) > _MOST_MARGIN:
            raise ParameterError(
                f"a tolerance of {rules.tolerance} px over {len(timeline)} dates reaches "
                f"{rules.tolerance * (len(timeline) - 1)} px around a block: at most {_MOST_MARGIN} px; give a smaller "
                "one, or fewer dates"
            )
        stack = Stack.of(sources, crosswalk=rules.crosswalk, align=rules.align)
        implausible = implausible_pairs(stack.legend, rules.plausible) if rules.plausible else None
        model = None
        if rules.temporal is not None:
            years = timeline.years or (1.0,) * (len(timeline) - 1)
            model = temporal_model(stack.legend, rules.temporal, years, implausible)
        return cls(stack=stack, timeline=timeline, tolerance=rules.tolerance, implausible=implausible, model=model)

    @property
    def geobox(self) -> GeoBox:
        """The common grid."""
        return self.stack.geobox

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided, and what a user would want to know of the rules."""
        if self.model is None:
            return self.stack.notes
        labels = self.timeline.labels
        ends = zip(believed_ends(self.model), (labels[0], labels[-1]), strict=True)
        lost = " and ".join(label for believed, label in ends if not believed)
        said = f"with this accuracy and prior, a change that {lost} alone shows is never believed" if lost else ""
        return (*self.stack.notes, *([said] if said else []))

    @property
    def legend(self) -> Legend:
        """Of all dates."""
        return self.stack.legend

    @property
    def by_shares(self) -> bool:
        """Whether class probabilities decide."""
        return self.model is not None and self.model.by_class is None

    @property
    def is_plain(self) -> bool:
        """Whether every difference of the maps is change."""
        return self.tolerance == 0 and self.implausible is None and self.model is None

    @property
    def margin(self) -> int:
        """Pixels around a block that what happens in it depends on: each date on those around it the date before."""
        return self.tolerance * (len(self.timeline) - 1)

    def cut(self) -> list[Block]:
        """The blocks of the common grid; edges lie on multiples of the output tile.

        The more dates, the smaller: a task holds a few bytes a pixel for each date.
        """
        side = _LARGEST
        while side > TILE and side * side * len(self.timeline) > _BLOCK_BYTES:
            side //= 2
        height, width = (int(n) for n in self.geobox.shape)
        return list(blocks(height, width, block_height=side, block_width=side))
