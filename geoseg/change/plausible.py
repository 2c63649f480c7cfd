"""Transitions that cannot be, from a table: built-up land does not become a lake in a year."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.change.legends import places_named
from geoseg.change.table_file import read_rows
from geoseg.errors import InputError, printable
from geoseg.legend import Legend

__all__ = ["PlausibleRow", "implausible_pairs", "read_plausible"]

_WORDS: Final = {
    **dict.fromkeys(("yes", "true", "1", "plausible", "allowed"), True),
    **dict.fromkeys(("no", "false", "0", "implausible", "forbidden"), False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlausibleRow:
    """Whether some transitions can be."""

    source: str
    """Class before, by name or value; ``*`` for every one."""
    target: str
    """Class after, likewise."""
    plausible: bool
    """Whether it can be."""


def read_plausible(path: str | os.PathLike[str]) -> tuple[PlausibleRow, ...]:
    """The table in a CSV file with the columns ``from``, ``to`` and ``plausible`` (yes or no).

    Later rows go before earlier ones, ``*`` is any class, and a transition that no row names is plausible.

    Raises:
        InputError: If it is no such table.
    """
    rows = []
    for n, row in read_rows(path, needed=("from", "to", "plausible")):
        word = row["plausible"].lower()
        if word not in _WORDS or not row["from"] or not row["to"]:
            raise InputError(
                f"{printable(path)}: line {n} is not understood: write two classes (* for any) and yes or no"
            )
        rows.append(PlausibleRow(source=row["from"], target=row["to"], plausible=_WORDS[word]))
    if not rows:
        raise InputError(f"{printable(path)}: has a header and no rows: write a row for each transition")
    return tuple(rows)


def implausible_pairs(legend: Legend, rows: Sequence[PlausibleRow]) -> NDArray[np.bool_]:
    """(256, 256) whether a change from one place in the legend to another cannot be; never for what stays.

    Raises:
        ParameterError: If a row names a class that the legend lacks.
    """
    pairs = np.zeros((256, 256), dtype=np.bool_)
    k = len(legend)
    for row in rows:
        at = [places_named(legend, text, table="table of plausible transitions") for text in (row.source, row.target)]
        pairs[np.ix_(*at)] = not row.plausible
    pairs[np.arange(k), np.arange(k)] = False
    return pairs
