"""What the user named -> series of class maps, each of one place and by date."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from geoseg.change.series import LEAST_DATES
from geoseg.errors import InputError, ParameterError, printable
from geoseg.jobs.change_maps import LEAST_SHARE, find_maps, pair_name, place_of, unique
from geoseg.jobs.change_options import MapInput

__all__ = ["Grouping", "find_series", "parse_dates"]

_FORMS: Final = ("%Y-%m-%d", "%Y-%m", "%Y")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Which maps are of one place."""

    series: tuple[tuple[str, tuple[MapInput, ...]], ...]
    """Name of the outputs, and maps by date."""
    notes: tuple[str, ...]
    """What was decided, and maps that are of no use."""
    failed: tuple[tuple[str, str], ...]
    """Maps that cannot be opened, and why."""


def parse_dates(text: str) -> tuple[datetime, ...]:
    """Dates such as ``2015-06-17``, ``2015-06`` or ``2015``, separated by commas; the first day where none is given.

    Raises:
        ParameterError: If one is none.
    """
    found = []
    for word in text.split(","):
        for form in _FORMS:
            try:
                found.append(datetime.strptime(word.strip(), form).replace(tzinfo=UTC))
                break
            except ValueError:
                continue
        else:
            raise ParameterError(f"{printable(word.strip())!r} is no date: write dates such as 2015-06-17,2018,2023-06")
    return tuple(found)


def find_series(named: Sequence[str], dates: Sequence[datetime] | None = None) -> Grouping:
    """The series that files and folders hold: maps of one place, by date.

    Args:
        named: Class maps, folders of finished scenes, and output folders of ``geoseg run``.
        dates: Of the maps of each, where they do not say, or say wrongly.

    Raises:
        InputError: If one holds no class map, or no place has maps of three dates.
        ParameterError: If there is not a date for each.
    """
    if dates is not None and len(dates) != len(named):
        raise ParameterError(f"{len(dates)} dates for {len(named)} maps: give one for each, in their order")
    lots = [find_maps(name) for name in named]
    if dates is not None:
        lots = [[replace(m, acquired=when) for m in lot] for lot, when in zip(lots, dates, strict=True)]
    every = [(i, m) for i, lot in enumerate(lots) for m in lot]
    failed: list[tuple[str, str]] = []
    # maps that were named one by one are one series, whatever they show: what does not overlap is said later
    groups = [every] if len(every) == len(lots) else _by_place(every, failed)
    series: list[tuple[MapInput, ...]] = []
    notes: list[str] = []
    short: list[str] = []
    for group in groups:
        if len(group) < LEAST_DATES:
            short.extend(m.name for _, m in group)
            continue
        maps, said = _by_date([m for _, m in group])
        series.append(maps)
        notes.extend(said)
    if short:
        notes.append(f"places with fewer than {LEAST_DATES} dates, left out: {', '.join(map(printable, short))}")
    if not series and not failed:
        raise InputError(
            f"no place has maps of {LEAST_DATES} dates in {', '.join(map(printable, named))}: give more dates, or "
            "compare two with geoseg change"
        )
    names = unique(pair_name(maps[0], maps[-1]) for maps in series)
    return Grouping(series=tuple(zip(names, series, strict=True)), notes=tuple(notes), failed=tuple(failed))


_Named = tuple[int, MapInput]
"""Which of the things that the user named a map comes from, and the map."""


def _by_place(every: Sequence[_Named], failed: list[tuple[str, str]]) -> list[list[_Named]]:
    """Maps whose footprints have most in common; each date once in a group.

    A map goes to the group whose first map it has most in common with, relative to both together.
    """
    groups: list[tuple[Any, list[_Named]]] = []
    for named, m in every:
        here = place_of(m, failed)
        if here is None:
            continue
        best, most = None, 0.0
        for there, group in groups:
            if not here.intersects(there) or any(_is_same_date((named, m), other) for other in group):
                continue
            common = here.intersection(there).area
            share = common / here.union(there).area
            if common >= LEAST_SHARE * min(here.area, there.area) and share > most:
                best, most = group, share
        if best is None:
            groups.append((here, [(named, m)]))
        else:
            best.append((named, m))
    return [group for _, group in groups]


def _is_same_date(one: _Named, other: _Named) -> bool:
    """Whether two maps cannot be two dates of a series."""
    if one[1].classes == other[1].classes:
        return True
    if one[1].acquired is not None and other[1].acquired is not None:
        return one[1].acquired == other[1].acquired
    # what was named at once, without a date, is one date
    return one[0] == other[0]


def _by_date(maps: list[MapInput]) -> tuple[tuple[MapInput, ...], list[str]]:
    """Maps by date, where all have one, and what to say of their order."""
    unknown = [m.name for m in maps if m.acquired is None]
    if unknown:
        said = (
            f"when {', '.join(map(printable, unknown))} was taken is not known: maps are in the order in which they "
            "are named, and rates are those from date to date; --dates gives dates"
        )
        return tuple(maps), [said]
    ordered = sorted(maps, key=lambda m: m.acquired or datetime.min.replace(tzinfo=UTC))
    if ordered == maps:
        return tuple(maps), []
    return tuple(ordered), [f"maps are taken by date: {', '.join(printable(m.name) for m in ordered)}"]
