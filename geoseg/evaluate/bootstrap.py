"""Intervals of scores: what else they could have been, had other scenes, or other parts of the scene, been there.

Pixels beside each other are right or wrong together, so pixels are never drawn one by one: whole scenes are, or, where
there is one scene only, square parts of it (Efron and Tibshirani 1993, chapter 6; Lahiri 2003 for blocks in space).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.evaluate.scores import Margins

__all__ = ["Interval", "intervals", "intervals_of_draws", "intervals_of_sums"]

_DRAWS: Final = 2000
_AT_ONCE: Final = 1 << 22  # numbers that are held at once, for each of three margins


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interval:
    """Between which values a score lies in the share of draws that was asked for; NaN where it is not defined."""

    low: NDArray[np.float64]
    """Lower end."""
    high: NDArray[np.float64]
    """Upper end."""


def intervals(
    units: Margins,
    scores_of: Callable[[Margins], NDArray[np.float64]],
    *,
    level: float = 0.95,
    draws: int = _DRAWS,
    seed: int = 0,
) -> Interval:
    """Percentile intervals of scores, by drawing units again with replacement.

    The same units and seed give the same interval. A class that a draw lacks altogether leaves that draw out for it.

    Args:
        units: (n, K) margins of n scenes or parts of one.
        scores_of: What is asked for, (...) or (..., K) from margins (..., K).
        level: Share of the draws between the ends.
        draws: How often all units are drawn.
        seed: Of the random draws.

    Returns:
        NaN ends where there are fewer than two units: they say nothing of others.

    Raises:
        ParameterError: If the level is no share.
    """
    n, k = units.agreed.shape
    return _between(lambda counts: scores_of(_drawn(units, counts)), n, k, level, draws, seed)


def intervals_of_sums(
    units: NDArray[np.float64],
    scores_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    level: float = 0.95,
    draws: int = _DRAWS,
    seed: int = 0,
) -> Interval:
    """As `intervals`, of scores that are made of any sums which add up over units.

    Args:
        units: (n, ...) sums of n scenes.
        scores_of: What is asked for, (d, ...) from sums of d draws (d, ...).
        level: Share of the draws between the ends.
        draws: How often all units are drawn.
        seed: Of the random draws.
    """
    n, flat = len(units), units.reshape(len(units), -1)

    def drawn(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return scores_of((counts @ flat).reshape(len(counts), *units.shape[1:]))

    return _between(drawn, n, max(1, flat.shape[1]), level, draws, seed)


def intervals_of_draws(
    scores_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    n: int,
    *,
    level: float = 0.95,
    draws: int = _DRAWS,
    seed: int = 0,
) -> Interval:
    """As `intervals`, of scores that are no function of sums over units.

    Args:
        scores_of: What is asked for, (d, ...) from how often each unit is drawn in each of d draws (d, n).
        n: Units.
        level: Share of the draws between the ends.
        draws: How often all units are drawn.
        seed: Of the random draws.
    """
    return _between(scores_of, n, 1, level, draws, seed)


def _between(
    scores_of: Callable[[NDArray[np.float64]], NDArray[np.float64]], n: int, k: int, level: float, draws: int, seed: int
) -> Interval:
    """Intervals of scores from how often each of n units, of k numbers each, is drawn (d, n)."""
    if not 0 < level < 1:
        raise ParameterError(f"an interval of level {level}: give a share above 0 and below 1, such as 0.95")
    if n < 2:
        none = np.full_like(scores_of(np.ones((1, n)))[0], np.nan)
        return Interval(low=none, high=none)
    found = np.concatenate([scores_of(counts) for counts in _draws(n, k, draws, seed)])
    tail = (1 - level) / 2
    known = np.isfinite(found).any(axis=0)
    safe = np.where(known, found, 0.0)
    low, high = (np.where(known, np.nanquantile(safe, q, axis=0), np.nan) for q in (tail, 1 - tail))
    return Interval(low=low, high=high)


def _draws(n: int, k: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """(draws, n) how often each unit is drawn, some draws at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // max(n, k))
    for first in range(0, draws, step):
        m = min(step, draws - first)
        # in a tenth of the time that multinomial takes
        drawn = rng.integers(0, n, size=(m, n)) + n * np.arange(m)[:, None]
        yield np.bincount(drawn.ravel(), minlength=m * n).reshape(m, n).astype(np.float64)


def _drawn(units: Margins, counts: NDArray[np.float64]) -> Margins:
    return Margins(agreed=counts @ units.agreed, reference=counts @ units.reference, predicted=counts @ units.predicted)
