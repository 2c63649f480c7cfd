"""Two legends as one: classes are the same where their names are, or where a crosswalk says so."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.change.index import MOST_CLASSES, NONE, UNKNOWN
from geoseg.change.table_file import read_rows
from geoseg.errors import InputError, ParameterError, printable
from geoseg.legend import NODATA, Legend, LegendClass

__all__ = ["CommonLegend", "CrosswalkRow", "common_legend", "named_class", "places_named", "read_crosswalk"]

Side = Literal["before", "after", "both"]
_SIDES: Final = ("before", "after", "both")
_ANY: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrosswalkRow:
    """One class of a map, and what it counts as."""

    side: Side
    """Which map it is a class of."""
    source: str
    """The class, by name or value."""
    target: str
    """Name of the class it counts as: one of either map, or a new one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CommonLegend:
    """The classes of two maps in one legend."""

    legend: Legend
    """Classes of the first map, then those that only the second has."""
    before: NDArray[np.uint8]
    """(256,) place of each class value of the first map, see `geoseg.change.index.places`."""
    after: NDArray[np.uint8]
    """(256,) likewise of the second."""
    notes: tuple[str, ...]
    """What a user wants to know: how classes were matched, and which have no counterpart."""


def read_crosswalk(
    path: str | os.PathLike[str], *, sides: tuple[str, str] = ("before", "after")
) -> tuple[CrosswalkRow, ...]:
    """The crosswalk in a CSV file with the columns ``from``, ``to`` and, if it is needed, ``map``.

    ``from`` is a class by name or value, ``to`` the name of the class that it counts as, ``map`` is ``before``,
    ``after`` or ``both`` (which is what an empty cell means).

    Args:
        path: The table.
        sides: What the two maps are called in it, in place of ``before`` and ``after``.

    Raises:
        InputError: If it is no such table.
    """
    rows = []
    meant: dict[str, Side] = {sides[0]: "before", sides[1]: "after", "both": "both", "": "both"}
    for n, row in read_rows(path, needed=("from", "to"), allowed=("map",)):
        side = meant.get(row.get("map", "").lower())
        if side is None or not row["from"] or not row["to"]:
            raise InputError(
                f"{printable(path)}: line {n} is not understood: write a class, what it counts as, and {sides[0]}, "
                f"{sides[1]} or both as its map"
            )
        rows.append(CrosswalkRow(side=side, source=row["from"], target=row["to"]))
    if not rows:
        raise InputError(f"{printable(path)}: has a header and no rows: write a row for each class to be renamed")
    return tuple(rows)


def named_class(legend: Legend, text: str) -> LegendClass | None:
    """The class of a legend with this name, whatever its case, or else with this value."""
    key = _key(text)
    for c in legend:
        if _key(c.name) == key:
            return c
    return next((c for c in legend if text.isascii() and text.isdigit() and c.value == int(text)), None)


def places_named(legend: Legend, text: str, *, table: str) -> list[int]:
    """Places in a legend of the class that a table names, or of all for ``*``.

    Args:
        legend: Of both maps.
        text: A name or value.
        table: What the table is called in messages.

    Raises:
        ParameterError: If there is no such class.
    """
    if text == _ANY:
        return list(range(len(legend)))
    found = named_class(legend, text)
    if found is None:
        raise ParameterError(
            f"the {table} names {printable(text)!r}, which is no class of the two maps ({_listed(legend.names)}): mend "
            "that row"
        )
    return [legend.values.index(found.value)]


def common_legend(
    before: Legend,
    after: Legend,
    *,
    named: tuple[bool, bool] = (True, True),
    crosswalk: Sequence[CrosswalkRow] = (),
    names: tuple[str, str] = ("the first map", "the second map"),
) -> CommonLegend:
    """One legend for two maps.

    Classes with the same name, whatever its case, are one, whatever their values. A class keeps its value in the first
    map; one that only the second has keeps its own where it is free. Without a crosswalk, maps of which no class has a
    counterpart are refused: a comparison would call everything change.

    Args:
        before: Of the first map.
        after: Of the second.
        named: Whether each map has names of its own. Without a crosswalk, classes are matched by value where one has
            none, and its classes take the names of the other.
        crosswalk: Classes that count as others.
        names: What the maps are called in messages.

    Raises:
        ParameterError: If the crosswalk names a class that no map has, or one twice; if no class has a counterpart; or
            if there are too many classes.

    Example:
        >>> one = Legend(classes=(LegendClass(value=1, name="Water", color="#0000ff"),))
        >>> two = Legend(classes=(LegendClass(value=8, name="water", color="#0000ff"),))
        >>> common_legend(one, two).after[8]
        np.uint8(0)
    """
    sides = (before, after)
    by_value = not all(named) and not crosswalk
    renamed = _renamed(sides, crosswalk, names)
    keys: dict[str, LegendClass] = {}
    lookups, own = [], []
    for side, legend in enumerate(sides):
        lookup = np.full(256, UNKNOWN, dtype=np.uint8)
        mine: dict[str, LegendClass] = {}
        for c in legend:
            target = renamed[side].get(c.value)
            key = _key(target) if target is not None else f"={c.value}" if by_value else _key(c.name)
            meant = c if target is None else LegendClass(value=c.value, name=target, color=c.color)
            mine.setdefault(key, meant)
            keys.setdefault(key, meant)
            lookup[c.value] = min(list(keys).index(key), NONE)
        # a class named as the target of others gives them its own value and colour
        for c in legend:
            if c.value not in renamed[side] and _key(c.name) in mine and not by_value:
                mine[_key(c.name)] = c
        lookup[legend.nodata] = NONE
        lookups.append(lookup)
        own.append(mine)
    if len(keys) > MOST_CLASSES:
        raise ParameterError(
            f"{names[0]} and {names[1]} have {len(keys)} classes together: change is told between at most "
            f"{MOST_CLASSES}; unite some with a crosswalk"
        )
    shared = [k for k in keys if all(k in mine for mine in own)]
    # the classes of a map without names are the values that occur: two may well have none in common
    if not shared and not by_value:
        raise ParameterError(
            f"no class of {names[0]} ({_listed(before.names)}) is one of {names[1]} ({_listed(after.names)}): "
            "say which is which with a crosswalk"
        )
    classes = _classes([(own[1] if named == (False, True) else own[0]).get(k) or (own[0] | own[1])[k] for k in keys])
    notes = []
    if by_value and any(named):
        notes.append(f"classes are matched by value: {names[named.index(False)]} has no names for them")
    for mine, name in zip(own, names, strict=True):
        alone = [c.name for k, c in mine.items() if k not in shared]
        if alone and shared:
            notes.append(f"only {name} has: {_listed(alone)}")
    return CommonLegend(
        legend=Legend(classes=classes, nodata=_free_nodata(classes)),
        before=lookups[0],
        after=lookups[1],
        notes=tuple(notes),
    )


def _renamed(
    sides: tuple[Legend, Legend], crosswalk: Sequence[CrosswalkRow], names: tuple[str, str]
) -> tuple[dict[int, str], dict[int, str]]:
    """For each map the class values that count as another class, with its name."""
    renamed: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for row in crosswalk:
        wanted = (0, 1) if row.side == "both" else (_SIDES.index(row.side),)
        found = [(side, c) for side in wanted if (c := named_class(sides[side], row.source)) is not None]
        if not found:
            where = " or ".join(names[side] for side in wanted)
            known = "; ".join(f"{names[side]}: {_listed(sides[side].names)}" for side in wanted)
            raise ParameterError(
                f"the crosswalk names {printable(row.source)!r}, which is no class of {where} ({known}): mend that row"
            )
        for side, c in found:
            if renamed[side].get(c.value, row.target) != row.target:
                raise ParameterError(
                    f"the crosswalk names {printable(row.source)!r} twice: as {printable(renamed[side][c.value])!r} "
                    f"and as {printable(row.target)!r}; leave one"
                )
            renamed[side][c.value] = row.target
    return renamed


def _classes(meant: Sequence[LegendClass]) -> tuple[LegendClass, ...]:
    """The classes in their order, each with a value of its own."""
    taken: set[int] = set()
    values: list[int | None] = []
    for c in meant:
        values.append(None if c.value in taken else c.value)
        taken.add(c.value)
    free = (v for v in range(1, NODATA) if v not in taken)
    names = [c.name for c in meant]
    return tuple(
        LegendClass(
            value=next(free, 0) if v is None else v,
            name=c.name if names.count(c.name) == 1 else f"{c.name} ({i + 1})",
            color=c.color,
        )
        for i, (v, c) in enumerate(zip(values, meant, strict=True))
    )


def _free_nodata(classes: Iterable[LegendClass]) -> int:
    taken = {c.value for c in classes}
    return next(v for v in range(NODATA, -1, -1) if v not in taken)


def _key(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _listed(texts: Iterable[str]) -> str:
    every = [printable(t) for t in texts]
    return ", ".join(every[:10]) + (f" and {len(every) - 10} more" if len(every) > 10 else "")
