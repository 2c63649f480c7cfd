"""A hidden Markov model of land cover: what a place was on every date, by what all dates say together.

States are the true classes. ``T[t][i, j]`` is the probability that a place of class i is of class j a date later,
``e[t, k]`` how likely what was seen on date t is if the class is k, on any scale; without an observation it is 1 for
all classes: no evidence, not a class. With posteriors p of a classifier ``e = p / prior``: it was trained with shares
of the classes, which would count once for every date otherwise (Abercrombie and Friedl 2016, IEEE Trans. Geosci. Remote
Sens. 54(2):703-713).

- Forward: ``f[t] = e[t] * (f[t-1] @ T)``, each date divided by its sum, whose product is the likelihood of all.
- Backward, from 1 on the last date: ``b[t] = T @ (e[t+1] * b[t+1])``. The smoothed posterior is ``f * b``.
- Viterbi: the one path that is most probable as a whole; it never takes a transition that cannot be.

Smoothed posteriors have the fewest wrong classes, each date for itself; the path is the likeliest history. They differ.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.kernels import njit

__all__ = ["Decoded", "decode_sequence", "filter_and_smooth", "most_probable_path", "path_share"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """What is known of the states of D dates."""

    filtered: Floats
    """(D, K) posterior by this date and those before."""
    smoothed: Floats
    """(D, K) posterior by all dates."""
    log_likelihood: float
    """Of all that was seen, on the scale of the emissions."""
    path: NDArray[np.int64]
    """(D,) the most probable sequence of states."""
    log_joint: float
    """Log of its probability together with what was seen."""


def decode_sequence(initial: Floats, transitions: Floats, emission: Floats) -> Decoded:
    """The states behind a sequence of observations.

    Args:
        initial: (K,) share of each state on the first date.
        transitions: (K, K) probabilities from a date to the next, rows are from, or (D - 1, K, K), one for each step.
        emission: (D, K) likelihood of what was seen on each date, by state, on any scale.

    Raises:
        ParameterError: If shapes do not fit, or no sequence of states can have led to what was seen.

    Example:
        >>> stay = np.array([[0.9, 0.1], [0.1, 0.9]])
        >>> seen = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]])
        >>> decode_sequence(np.array([0.5, 0.5]), stay, seen).path.tolist()
        [0, 0, 0]
    """
    d, k = emission.shape
    steps = np.broadcast_to(transitions, (d - 1, k, k)) if transitions.ndim == 2 else transitions
    if initial.shape != (k,) or steps.shape != (d - 1, k, k):
        raise ParameterError(
            f"{d} dates of {k} states with shares of shape {initial.shape} and transitions of {transitions.shape}: "
            f"give ({k},) and ({d - 1}, {k}, {k})"
        )
    steps, seen = np.ascontiguousarray(steps, dtype=np.float64), np.ascontiguousarray(emission, dtype=np.float64)
    filtered, smoothed, scale = np.empty((d, k)), np.empty((d, k)), np.empty(d)
    if not filter_and_smooth(initial, steps, seen, filtered, smoothed, scale):
        raise ParameterError("no sequence of states can have led to these observations: mend what has probability 0")
    path, best, came = np.empty(d, np.int64), np.empty((2, k)), np.empty((d, k), np.int64)
    most_probable_path(initial, steps, seen, path, best, came)
    log_likelihood = float(np.log(scale).sum())
    dates = np.arange(d)
    # added up, not multiplied: the probability of a long sequence is below the least number
    logs = np.log([initial[path[0]], *steps[dates[:-1], path[:-1], path[1:]], *seen[dates, path]])
    return Decoded(
        filtered=filtered,
        smoothed=smoothed,
        log_likelihood=log_likelihood,
        path=path,
        log_joint=float(logs.sum()),
    )


@njit(nogil=True, cache=True)
def filter_and_smooth(
    initial: Floats, transitions: Floats, emission: Floats, filtered: Floats, smoothed: Floats, scale: Floats
) -> bool:
    """Forward and backward; False if nothing can have led to what was seen.

    Args:
        initial: (K,) share of each state on the first date.
        transitions: (D - 1, K, K), rows are from.
        emission: (D, K) likelihoods.
        filtered: (D, K) result.
        smoothed: (D, K) result.
        scale: (D,) what each date was divided by; their product is the likelihood.
    """
    if not _forward(initial, transitions, emission, filtered, scale):
        return False
    _backward(transitions, emission, filtered, scale, smoothed)
    for t in range(len(emission)):
        smoothed[t] *= filtered[t]
        smoothed[t] /= smoothed[t].sum()
    return True


@njit(nogil=True, cache=True)
def _forward(initial: Floats, transitions: Floats, emission: Floats, filtered: Floats, scale: Floats) -> bool:
    d, k = emission.shape
    for t in range(d):
        total = 0.0
        for j in range(k):
            ahead = initial[j] if t == 0 else 0.0
            if t > 0:
                for i in range(k):
                    ahead += filtered[t - 1, i] * transitions[t - 1, i, j]
            filtered[t, j] = ahead * emission[t, j]
            total += filtered[t, j]
        if not total > 0:
            return False
        scale[t] = total
        for j in range(k):
            filtered[t, j] /= total
    return True


@njit(nogil=True, cache=True)
def _backward(transitions: Floats, emission: Floats, filtered: Floats, scale: Floats, back: Floats) -> None:
    d, k = emission.shape
    back[d - 1] = 1.0
    for t in range(d - 2, -1, -1):
        for i in range(k):
            total = 0.0
            if filtered[t, i] == 0:  # no matter what comes then, and it may be beyond the largest number
                back[t, i] = 0.0
                continue
            for j in range(k):
                total += transitions[t, i, j] * emission[t + 1, j] * back[t + 1, j]
            back[t, i] = total / scale[t + 1]


@njit(nogil=True, cache=True)
def most_probable_path(
    initial: Floats,
    transitions: Floats,
    emission: Floats,
    path: NDArray[np.int64],
    best: Floats,
    came: NDArray[np.int64],
) -> None:
    """Viterbi; of paths that are as probable, the one that stays, and else the first state.

    Each date is divided by its largest value instead of taking logarithms: only the order counts.

    Args:
        initial: (K,) share of each state on the first date.
        transitions: (D - 1, K, K), rows are from.
        emission: (D, K) likelihoods.
        path: (D,) result.
        best: (2, K) room to work in.
        came: (D, K) likewise.
    """
    d, k = emission.shape
    for t in range(d):
        now, was, largest = t % 2, (t + 1) % 2, 0.0
        for j in range(k):
            if t == 0:
                best[now, j] = initial[j] * emission[t, j]
            else:
                came[t, j] = j
                most = best[was, j] * transitions[t - 1, j, j]
                for i in range(k):
                    x = best[was, i] * transitions[t - 1, i, j]
                    if x > most:
                        most, came[t, j] = x, i
                best[now, j] = most * emission[t, j]
            largest = max(largest, best[now, j])
        if largest > 0:
            for j in range(k):
                best[now, j] /= largest
    last = (d - 1) % 2
    at = 0
    for j in range(k):
        if best[last, j] > best[last, at]:
            at = j
    path[d - 1] = at
    for t in range(d - 1, 0, -1):
        at = came[t, at]
        path[t - 1] = at


@njit(nogil=True, cache=True)
def path_share(initial: Floats, transitions: Floats, emission: Floats, path: NDArray[np.int64], scale: Floats) -> float:
    """Posterior of a sequence of states: its probability with what was seen, of that of all sequences.

    Args:
        initial: (K,) share of each state on the first date.
        transitions: (D - 1, K, K), rows are from.
        emission: (D, K) likelihoods.
        path: (D,) the sequence.
        scale: (D,) of `filter_and_smooth`.
    """
    share = initial[path[0]] * emission[0, path[0]] / scale[0]
    for t in range(1, len(path)):
        share *= transitions[t - 1, path[t - 1], path[t]] * emission[t, path[t]] / scale[t]
    return float(share)
