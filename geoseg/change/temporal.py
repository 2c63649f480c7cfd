"""What a user says of a series: how often land changes, how right maps are -> its hidden Markov model."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.change.legends import places_named
from geoseg.change.posterior_rule import USUAL_PRIOR, PairNumber, numbers_of_pairs
from geoseg.change.table_file import read_rows
from geoseg.errors import InputError, ParameterError, printable
from geoseg.legend import Legend

__all__ = [
    "ClassShare",
    "TemporalModel",
    "TemporalRule",
    "interval_transitions",
    "parse_accuracy",
    "read_class_shares",
    "temporal_model",
]

Floats = NDArray[np.float64]
Decode = Literal["path", "marginal"]
_STEPS: Final = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShare:
    """A share of one class."""

    name: str
    """The class, by name or value."""
    share: float
    """Above 0, in any unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalRule:
    """How the dates of a series decide together."""

    accuracy: float | tuple[PairNumber, ...] | None = None
    """Evidence are the classes of the maps: the share of pixels that are right, all mistakes alike, or for pairs of the
    true class and the class in the map how frequent they are, in any unit. None: the class probabilities are."""
    prior: float | tuple[PairNumber, ...] = USUAL_PRIOR
    """Share of the land that changes in a year, or from date to date where these are not known, all changes alike; or
    the share of each pair of classes, those that stay included, in any unit, where a pair that none names has none."""
    training: tuple[ClassShare, ...] = ()
    """With probabilities: the share of each class among what the model was trained with; none takes them as alike."""
    decode: Decode = "path"
    """The likeliest history of each pixel as a whole, or the likeliest class of each date for itself."""
    fill: bool = False
    """Whether a date without an observation gets the class that the others speak for, instead of none."""

    def __post_init__(self) -> None:
        if isinstance(self.prior, float | int) and not 0 < self.prior < 1:
            raise ParameterError(
                f"{self.prior:g} of the land changes in a year: give a share above 0 and below 1, such as 0.03, or a "
                "table"
            )
        if isinstance(self.accuracy, float | int) and not 0 < self.accuracy < 1:
            raise ParameterError(
                f"{self.accuracy:g} of the pixels are right: give a share above 0 and below 1, such as 0.85, or a table"
            )
        if self.training and self.accuracy is not None:
            raise ParameterError("shares of classes in training go with probabilities, not with an accuracy of maps")
        if self.decode not in ("path", "marginal"):
            raise ParameterError(f"decode {self.decode!r}: choose path or marginal")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TemporalModel:
    """A rule for the classes and dates of a series."""

    initial: Floats
    """(K,) share of each class on the first date."""
    transitions: Floats
    """(D - 1, K, K) from each date to the next; rows are from and add up to 1."""
    by_class: Floats | None
    """(K, K) likelihood of the class in a map, columns, by the true class, rows; None where probabilities are given."""
    by_share: Floats
    """(256, K) likelihood of a stored probability, by class: divided by the share in training. Half a step for what is
    stored as 0: it may be anything below that."""
    decode: Decode
    """As in the rule."""
    fill: bool
    """Likewise."""


def parse_accuracy(text: str) -> float | tuple[PairNumber, ...]:
    """The share of pixels that are right, such as ``0.85``, or the confusion in the table of that name.

    The table has the columns ``truth``, ``map`` and ``share``.

    Raises:
        InputError: If it is neither.
    """
    try:
        return float(text)
    except ValueError:
        pass
    rows = []
    for n, row in read_rows(text, needed=("truth", "map", "share")):
        number = _number(row["share"])
        if not row["truth"] or not row["map"] or not (math.isfinite(number) and number >= 0):
            raise InputError(
                f"{printable(text)}: line {n} is not understood: write two classes (* for any) and their share, a "
                "number not below 0"
            )
        rows.append(PairNumber(source=row["truth"], target=row["map"], number=number))
    if not rows:
        raise InputError(f"{printable(text)}: has a header and no rows: write a row for each pair of classes")
    return tuple(rows)


def read_class_shares(path: str | os.PathLike[str]) -> tuple[ClassShare, ...]:
    """The table in a CSV file with the columns ``class`` and ``share``.

    Raises:
        InputError: If it is no such table.
    """
    rows = []
    for n, row in read_rows(path, needed=("class", "share")):
        number = _number(row["share"])
        if not row["class"] or not (math.isfinite(number) and number > 0):
            raise InputError(
                f"{printable(path)}: line {n} is not understood: write a class (* for any) and its share, above 0"
            )
        rows.append(ClassShare(name=row["class"], share=number))
    if not rows:
        raise InputError(f"{printable(path)}: has a header and no rows: write a row for each class")
    return tuple(rows)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def interval_transitions(yearly: Floats, years: float) -> Floats:
    """(K, K) transitions over an interval of any length, from those of a year.

    Whole years are steps of a year, one after the other; in a part of a year the step is taken with that probability.
    So rows add up to 1 and nothing is negative for every length, which a root of the matrix does not promise.

    Args:
        yearly: (K, K) probabilities, rows add up to 1.
        years: Not below 0.

    Example:
        >>> interval_transitions(np.array([[0.9, 0.1], [0.2, 0.8]]), 0.5).tolist()
        [[0.95, 0.05], [0.1, 0.9]]
    """
    whole = math.floor(years)
    stays = np.eye(len(yearly))
    rest = years - whole
    return np.asarray(np.linalg.matrix_power(yearly, whole) @ ((1 - rest) * stays + rest * yearly))


def temporal_model(
    legend: Legend, rule: TemporalRule, years: Sequence[float], implausible: NDArray[np.bool_] | None = None
) -> TemporalModel:
    """The model of a series.

    Args:
        legend: Of all dates.
        rule: What the user said.
        years: Length of each interval; 1 for all where dates are not known.
        implausible: (256, 256) pairs of places that cannot follow each other, however long it takes.

    Raises:
        ParameterError: If the rule names a class that the legend lacks, or leaves a class without a share.
    """
    k = len(legend)
    initial, yearly = _prior(legend, rule)
    steps = []
    for length in years:
        step = interval_transitions(yearly, length)
        if implausible is not None:
            # what stays can always be, so no row is left without any
            step = np.where(implausible[:k, :k], 0.0, step)
            empty = step.sum(axis=1) <= 0
            step[empty, empty] = 1.0
        steps.append(step / step.sum(axis=1, keepdims=True))
    bytes_ = np.maximum(np.arange(256), 0.5) / _STEPS
    return TemporalModel(
        initial=initial,
        transitions=np.array(steps).reshape(-1, k, k),
        by_class=None if rule.accuracy is None else _confusion(legend, rule.accuracy),
        by_share=bytes_[:, None] / _training(legend, rule)[None, :],
        decode=rule.decode,
        fill=rule.fill,
    )


def _prior(legend: Legend, rule: TemporalRule) -> tuple[Floats, Floats]:
    """Shares of the classes, and what they become in a year."""
    k = len(legend)
    if not isinstance(rule.prior, tuple):
        change = rule.prior if k > 1 else 0.0
        off = np.full((k, k), change / max(k - 1, 1))
        np.fill_diagonal(off, 1 - change)
        return np.full(k, 1 / k), off
    joint = numbers_of_pairs(legend, rule.prior, 0.0, table="prior")
    totals = joint.sum(axis=1)
    if not (totals > 0).all():
        raise ParameterError(
            f"the prior has no share for {printable(legend.names[int(np.argmin(totals))])!r} before: give each class "
            "one, those that stay as they are included (*,*,0.001 in the first row does for the rest)"
        )
    return totals / totals.sum(), joint / totals[:, None]


def _confusion(legend: Legend, accuracy: float | tuple[PairNumber, ...]) -> Floats:
    k = len(legend)
    if not isinstance(accuracy, tuple):
        wrong = np.full((k, k), (1 - accuracy) / max(k - 1, 1))
        np.fill_diagonal(wrong, accuracy if k > 1 else 1.0)
        return wrong
    table = numbers_of_pairs(legend, accuracy, 0.0, table="table of accuracy")
    totals = table.sum(axis=1)
    if not (totals > 0).all():
        raise ParameterError(
            f"the table of accuracy has no share for {printable(legend.names[int(np.argmin(totals))])!r} as the truth: "
            "give each class of the maps one"
        )
    return np.asarray(table / totals[:, None])


def _training(legend: Legend, rule: TemporalRule) -> Floats:
    """(K,) share of each class in training, 1 on average."""
    k = len(legend)
    if not rule.training:
        return np.ones(k)
    shares = np.zeros(k)
    for row in rule.training:
        shares[places_named(legend, row.name, table="table of shares in training")] = row.share
    if not (shares > 0).all():
        raise ParameterError(
            f"the table of shares in training has none for {printable(legend.names[int(np.argmin(shares))])!r}: give "
            "each class of the maps one"
        )
    return np.asarray(shares * k / shares.sum())
