"""Legends of several maps as one: classes are the same where their names are, or where a crosswalk says so."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.change.index import MOST_CLASSES, NONE, UNKNOWN
from geoseg.change.table_file import read_rows
from geoseg.errors import InputError, ParameterError, printable
from geoseg.legend import NODATA, Legend, LegendClass

__all__ = [
    "CommonLegend",
    "CrosswalkRow",
    "common_legend",
    "legend_of_all",
    "named_class",
    "places_named",
    "read_crosswalk",
]

_SIDES: Final = ("before", "after")
_ALL: Final = ("both", "all")
_ANY: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrosswalkRow:
    """One class of a map, and what it counts as."""

    side: str
    """Which map it is a class of: ``before``, ``after`` or ``both``; of a series its number, from ``1`` on, or
    ``all``."""
    source: str
    """The class, by name or value."""
    target: str
    """Name of the class it counts as: one of either map, or a new one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CommonLegend:
    """The classes of several maps in one legend."""

    legend: Legend
    """Classes of the first map, then those that only later ones have."""
    lookups: tuple[NDArray[np.uint8], ...]
    """For each map (256,) place of each of its class values, see `geoseg.change.index.places`."""
    notes: tuple[str, ...]
    """What a user wants to know: how classes were matched, and which have no counterpart."""

    @property
    def before(self) -> NDArray[np.uint8]:
        """(256,) place of each class value of the first map."""
        return self.lookups[0]

    @property
    def after(self) -> NDArray[np.uint8]:
        """(256,) likewise of the second."""
        return self.lookups[1]


def read_crosswalk(
    path: str | os.PathLike[str], *, sides: tuple[str, str] = ("before", "after")
) -> tuple[CrosswalkRow, ...]:
    """The crosswalk in a CSV file with the columns ``from``, ``to`` and, if it is needed, ``map``.

    ``from`` is a class by name or value, ``to`` the name of the class that it counts as, ``map`` is ``before``,
    ``after`` or ``both`` (which is what an empty cell means), of a series the number of a map, by date from 1 on, or
    ``all``.

    Args:
        path: The table.
        sides: What the two maps are called in it, in place of ``before`` and ``after``.

    Raises:
        InputError: If it is no such table.
    """
    rows = []
    meant = {sides[0]: "before", sides[1]: "after", "both": "both", "all": "all", "": "both"}
    for n, row in read_rows(path, needed=("from", "to"), allowed=("map",)):
        word = row.get("map", "").lower()
        side = word if word.isascii() and word.isdigit() else meant.get(word)
        if side is None or not row["from"] or not row["to"]:
            raise InputError(
                f"{printable(path)}: line {n} is not understood: write a class, what it counts as, and {sides[0]}, "
                f"{sides[1]} or both as its map (of a series its number or all)"
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
            f"the {table} names {printable(text)!r}, which is no class of the maps ({_listed(legend.names)}): mend "
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
    """One legend for two maps: `legend_of_all` of both.

    Args:
        before: Of the first map.
        after: Of the second.
        named: Whether each map has names of its own.
        crosswalk: Classes that count as others.
        names: What the maps are called in messages.

    Raises:
        ParameterError: Likewise.

    Example:
        >>> one = Legend(classes=(LegendClass(value=1, name="Water", color="#0000ff"),))
        >>> two = Legend(classes=(LegendClass(value=8, name="water", color="#0000ff"),))
        >>> common_legend(one, two).after[8]
        np.uint8(0)
    """
    return legend_of_all((before, after), named=named, crosswalk=crosswalk, names=names)


def legend_of_all(
    legends: Sequence[Legend],
    *,
    named: Sequence[bool],
    crosswalk: Sequence[CrosswalkRow] = (),
    names: Sequence[str],
) -> CommonLegend:
    """One legend for several maps.

    Classes with the same name, whatever its case, are one, whatever their values. A class keeps its value in the first
    map that has it, where it is free. Without a crosswalk, a map of which no class has a counterpart in another is
    refused: a comparison would call everything change.

    Args:
        legends: Of the maps, in their order.
        named: Whether each map has names of its own. Without a crosswalk, classes are matched by value where one has
            none, and take the names of the first map that has some.
        crosswalk: Classes that count as others.
        names: What the maps are called in messages.

    Raises:
        ParameterError: If the crosswalk names a map or class that is not there, or one twice; if no class has a
            counterpart; or if there are too many classes.
    """
    by_value = not all(named) and not crosswalk
    renamed = _renamed(legends, crosswalk, names)
    keys: dict[str, LegendClass] = {}
    lookups, own = [], []
    for side, legend in enumerate(legends):
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
            f"{' and '.join(names)} have {len(keys)} classes together: change is told between at most "
            f"{MOST_CLASSES}; unite some with a crosswalk"
        )
    shared = {k for k in keys if sum(k in mine for mine in own) > 1}
    _refuse_strangers(legends, own, shared, names, by_value=by_value)
    # the first that has names of its own tells what a class is called
    order = sorted(range(len(own)), key=lambda i: not named[i]) if by_value else range(len(own))
    classes = _classes([next(own[i][k] for i in order if k in own[i]) for k in keys])
    notes = []
    if by_value and any(named):
        nameless = [name for name, has in zip(names, named, strict=True) if not has]
        notes.append(f"classes are matched by value: {_listed(nameless)} has no names for them")
    if by_value:
        strangers = [i for i in _strangers(own, shared) if not named[i]]
        # of two maps without names that have nothing in common, one is told of
        notes += [
            f"warning: no value of {names[i]} ({_listed(str(v) for v in legends[i].values)}) is one of another map: "
            "if they mean the same in other numbers, say which is which with a crosswalk"
            for i in (strangers if len(own) > 2 or any(named) else strangers[:1])
        ]
    alone = [[c.name for k, c in mine.items() if k not in shared] for mine in own]
    if shared:
        notes += [f"only {name} has: {_listed(its)}" for name, its in zip(names, alone, strict=True) if its]
    if shared and not crosswalk and sum(map(bool, alone)) > 1:
        notes.append("if some of these mean the same, say which with a crosswalk")
    return CommonLegend(
        legend=Legend(classes=classes, nodata=_free_nodata(classes)), lookups=tuple(lookups), notes=tuple(notes)
    )


def _refuse_strangers(
    legends: Sequence[Legend],
    own: Sequence[dict[str, LegendClass]],
    shared: set[str],
    names: Sequence[str],
    *,
    by_value: bool,
) -> None:
    """Refuse a map of which no class is one of another."""
    # the classes of a map without names are the values that occur: two may well have none in common
    strangers = [] if by_value else _strangers(own, shared)
    if strangers:
        at = strangers[0]
        rest = [i for i in range(len(own)) if i != at]
        others = " or ".join(f"{names[i]} ({_listed(legends[i].names)})" for i in rest[:2])
        more = f" or {len(rest) - 2} more" if len(rest) > 2 else ""
        raise ParameterError(
            f"no class of {names[at]} ({_listed(legends[at].names)}) is one of {others}{more}: "
            "say which is which with a crosswalk"
        )


def _strangers(own: Sequence[dict[str, LegendClass]], shared: set[str]) -> list[int]:
    """The maps of which no class is one of another."""
    return [i for i, mine in enumerate(own) if not shared & set(mine)] if len(own) > 1 else []


def _renamed(
    sides: Sequence[Legend], crosswalk: Sequence[CrosswalkRow], names: Sequence[str]
) -> tuple[dict[int, str], ...]:
    """For each map the class values that count as another class, with its name."""
    renamed: tuple[dict[int, str], ...] = tuple({} for _ in sides)
    for row in crosswalk:
        wanted = _wanted(row, len(sides))
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


def _wanted(row: CrosswalkRow, n: int) -> Sequence[int]:
    """Which maps a row of a crosswalk is about."""
    if row.side in _ALL:
        return range(n)
    if row.side in _SIDES and n == len(_SIDES):
        return (_SIDES.index(row.side),)
    if row.side.isdigit() and 1 <= int(row.side) <= n:
        return (int(row.side) - 1,)
    raise ParameterError(
        f"the crosswalk says {printable(row.side)!r} of {printable(row.source)!r}: write "
        + ("before, after or both" if n == len(_SIDES) else f"the number of a map by date, 1 to {n}, or all")
    )


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
