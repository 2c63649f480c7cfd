"""What a user says of likely and costly transitions -> weights of the pairs of classes."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.change.legends import places_named
from geoseg.change.posterior import PairWeights, prior_ratio
from geoseg.change.table_file import read_rows
from geoseg.errors import InputError, ParameterError, printable
from geoseg.legend import Legend

__all__ = [
    "USUAL_PRIOR",
    "PairNumber",
    "PosteriorRule",
    "numbers_of_pairs",
    "pair_weights",
    "parse_prior",
    "read_pair_numbers",
]

USUAL_PRIOR: Final = 0.05
"""Share of the land that changes, if nobody knows better: without any, each of the many kinds of change would be as
likely as no change, and most of what is found is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairNumber:
    """A number for some transitions."""

    source: str
    """Class before, by name or value; ``*`` for every one."""
    target: str
    """Class after, likewise."""
    number: float
    """Share or cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PosteriorRule:
    """How the class probabilities of both dates become change."""

    prior: float | tuple[PairNumber, ...] | None = USUAL_PRIOR
    """Share of the land that changes, all changes alike; or the share of each pair of classes, those that stay
    included, in any unit, where later rows go before earlier ones and a pair that none names has no share. None: every
    pair is as likely."""
    costs: tuple[PairNumber, ...] = ()
    """Of missing a change, and, for a class to itself, of calling a change what is none; 1 where none is named."""

    def __post_init__(self) -> None:
        if isinstance(self.prior, float | int) and not 0 < self.prior < 1:
            raise ParameterError(
                f"{self.prior:g} of the land changes: give a share above 0 and below 1, such as 0.03, or a table"
            )
        wrong = [row for row in self.costs if not (math.isfinite(row.number) and row.number > 0)]
        if wrong:
            raise ParameterError(f"a cost of {wrong[0].number:g}: costs are finite numbers above 0, 1 for the usual")


def parse_prior(text: str) -> float | tuple[PairNumber, ...]:
    """The share of the land that changes, such as ``0.03``, or the table of that name.

    Raises:
        InputError: If it is neither.
    """
    try:
        return float(text)
    except ValueError:
        return read_pair_numbers(text, "share")


def read_pair_numbers(path: str | os.PathLike[str], column: Literal["share", "cost"]) -> tuple[PairNumber, ...]:
    """The table in a CSV file with the columns ``from``, ``to`` and this one.

    Raises:
        InputError: If it is no such table.
    """
    rows = []
    for n, row in read_rows(path, needed=("from", "to", column)):
        try:
            number = float(row[column])
        except ValueError:
            number = math.nan
        if not row["from"] or not row["to"] or not (math.isfinite(number) and number >= 0):
            raise InputError(
                f"{printable(path)}: line {n} is not understood: write two classes (* for any) and their {column}, a "
                "number not below 0"
            )
        rows.append(PairNumber(source=row["from"], target=row["to"], number=number))
    if not rows:
        raise InputError(f"{printable(path)}: has a header and no rows: write a row for each transition")
    return tuple(rows)


def pair_weights(legend: Legend, rule: PosteriorRule, implausible: NDArray[np.bool_] | None = None) -> PairWeights:
    """The weights of all pairs of classes of a legend.

    Args:
        legend: Of both dates.
        rule: What the user said.
        implausible: (256, 256) pairs of places that cannot be.

    Raises:
        ParameterError: If the rule names a class that the legend lacks, or a prior leaves a class without a share.
    """
    k = len(legend)
    ratio = np.ones((k, k))
    if isinstance(rule.prior, tuple):
        joint = numbers_of_pairs(legend, rule.prior, 0.0, table="prior")
        for axis, date in ((1, "before"), (0, "after")):
            empty = np.flatnonzero(joint.sum(axis=axis) <= 0)
            if len(empty):
                raise ParameterError(
                    f"the prior has no share for {printable(legend.names[empty[0]])!r} {date}: give each class of the "
                    "two maps one, those that stay as they are included (*,*,0.001 in the first row does for the rest)"
                )
        ratio = prior_ratio(joint)
    elif rule.prior is not None and k > 1:
        stays = np.eye(k, dtype=np.bool_)
        ratio = prior_ratio(np.where(stays, (1 - rule.prior) / k, rule.prior / (k * (k - 1))))
    if implausible is not None:
        ratio = np.where(implausible[:k, :k], 0.0, ratio)
    return PairWeights(ratio=ratio, cost=numbers_of_pairs(legend, rule.costs, 1.0, table="table of costs"))


def numbers_of_pairs(legend: Legend, rows: Sequence[PairNumber], default: float, *, table: str) -> NDArray[np.float64]:
    """(K, K) the number of each pair; of several rows that name it the last.

    Args:
        legend: Of both dates.
        rows: What a table says.
        default: Of pairs that no row names.
        table: What it is called in messages.

    Raises:
        ParameterError: If a row names a class that the legend lacks.
    """
    numbers = np.full((len(legend), len(legend)), default)
    for row in rows:
        at = np.ix_(*(places_named(legend, text, table=table) for text in (row.source, row.target)))
        numbers[at] = row.number
    return numbers
