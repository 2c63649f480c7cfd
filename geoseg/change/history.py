"""The classes of all dates of a block, decided together by a hidden Markov model."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.change.hidden import filter_and_smooth, most_probable_path, path_share
from geoseg.change.index import NONE
from geoseg.change.temporal import TemporalModel
from geoseg.errors import ParameterError
from geoseg.kernels import njit
from geoseg.legend import NODATA, PROBABILITY_STEPS

__all__ = ["History", "believed_ends", "decide_history"]

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
_KEPT: Final = 4096
"""Sequences of classes whose answers are kept, each in the place of its number's remainder."""
_MOST_BITS: Final = 62.0
"""Of a number of a sequence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """What all dates say of a block together."""

    places: Bytes
    """(D, rows, cols) place in the legend on each date."""
    confidence: Bytes
    """(rows, cols) percent: the posterior of these places as a whole; 255 where nothing was decided."""
    posterior: Bytes
    """(D, K, rows, cols) smoothed posterior of each class in steps of 1/254, 255 where there is no class."""


def decide_history(seen: Bytes, shares: Bytes | None, model: TemporalModel) -> History:
    """The places of all dates of a block.

    A pixel that was never observed has no place. One of which no history is possible keeps those of the maps.

    Args:
        seen: (D, rows, cols) places by the maps, `NONE` without an observation.
        shares: (D, K, rows, cols) probabilities of the classes in steps of 1/254, where the model is one for them.
        model: Decides.

    Raises:
        ParameterError: If shapes do not fit the model.
    """
    d, k = len(model.transitions) + 1, len(model.initial)
    shape = (d, k, *seen.shape[1:])
    by_class = model.by_class is not None
    if len(seen) != d or (not by_class and (shares is None or shares.shape != shape)):
        found = None if shares is None else shares.shape
        raise ParameterError(f"maps of {seen.shape} and probabilities of {found}: give {d} dates and {k} classes")
    out = History(
        places=seen.copy(),
        confidence=np.full(seen.shape[1:], NODATA, np.uint8),
        posterior=np.full(shape, NODATA, np.uint8),
    )
    _decide(
        seen,
        np.zeros((0, 0, 0, 0), np.uint8) if by_class or shares is None else shares,
        np.zeros((0, 0)) if model.by_class is None else model.by_class,
        model.by_share,
        model.initial,
        model.transitions,
        model.decode == "marginal",
        model.fill,
        out.places,
        out.confidence,
        out.posterior,
    )
    return out


def believed_ends(model: TemporalModel) -> tuple[bool, bool]:
    """Whether a change that the first date alone shows, and one that the last alone shows, can be believed.

    By the classes of maps: one date against all others is a mistake of its map unless that is less likely than a
    change. By probabilities it depends on these, and both are True.
    """
    if model.by_class is None:
        return True, True
    d, k = len(model.transitions) + 1, len(model.initial)
    one, other = (p.astype(np.uint8) for p in np.indices((k, k)))
    found = []
    for at in (0, d - 1):
        seen = np.stack([one] * d)
        seen[at] = other
        places = decide_history(seen, None, model).places
        found.append(bool((places[0] != places[1]).any() if at == 0 else (places[-2] != places[-1]).any()))
    return found[0], found[1]


@njit(nogil=True, cache=True)
def _decide(
    seen: Bytes,
    shares: Bytes,
    by_class: Floats,
    by_share: Floats,
    initial: Floats,
    transitions: Floats,
    marginal: bool,
    fill: bool,
    places: Bytes,
    confidence: Bytes,
    posterior: Bytes,
) -> None:
    """Pixel by pixel. By classes, what was seen alike has the same answer, which is kept: there are few sequences."""
    d, height, width = seen.shape
    k = len(initial)
    emission, room, scale, best = np.empty((d, k)), np.empty((2, d, k)), np.empty(d), np.empty((2, k))
    came = np.empty((d, k), np.int64)
    by_classes = by_class.size > 0
    # a sequence of which the number does not fit is computed anew for every pixel, as all are by probabilities
    n_kept = _KEPT if by_classes and d * np.log2(k + 1.0) < _MOST_BITS else 1
    numbers = np.full(n_kept, -1, np.int64)
    paths, all_steps = np.empty((n_kept, d), np.int64), np.empty((n_kept, d, k), np.uint8)
    percents = np.full(n_kept, NODATA, np.uint8)
    for r in range(height):
        for c in range(width):
            if _is_none(seen, r, c):
                continue
            number = _number(seen, r, c, k) if n_kept > 1 else -1
            at = number % n_kept if n_kept > 1 else 0
            path, steps = paths[at], all_steps[at]
            if number < 0 or numbers[at] != number:
                for t in range(d):
                    _likelihoods(seen[t, r, c], shares, by_class, by_share, t, r, c, emission[t])
                numbers[at], percents[at] = number, NODATA
                if filter_and_smooth(initial, transitions, emission, room[0], room[1], scale):
                    if not marginal:
                        most_probable_path(initial, transitions, emission, path, best, came)
                    for t in range(d):
                        if marginal:
                            path[t] = room[1, t].argmax()
                        _round(room[1, t], steps[t])
                    share = path_share(initial, transitions, emission, path, scale)
                    percents[at] = np.uint8(min(100.0, 100 * share) + 0.5)
            confidence[r, c] = percents[at]
            _put(seen, path, steps, percents[at] != NODATA, fill, r, c, places, posterior)


@njit(nogil=True, cache=True)
def _number(seen: Bytes, r: int, c: int, k: int) -> int:
    """The number of a sequence of places: its digits, the largest of which is no observation."""
    number = 0
    for t in range(len(seen)):
        number = number * (k + 1) + (k if seen[t, r, c] == NONE else seen[t, r, c])
    return number


@njit(nogil=True, cache=True)
def _is_none(seen: Bytes, r: int, c: int) -> bool:
    found = False
    for t in range(len(seen)):
        found |= seen[t, r, c] != NONE
    return not found


@njit(nogil=True, cache=True)
def _put(
    seen: Bytes,
    path: NDArray[np.int64],
    steps: Bytes,
    possible: bool,
    fill: bool,
    r: int,
    c: int,
    places: Bytes,
    posterior: Bytes,
) -> None:
    """The answer of a pixel where it counts; the map's class where there is none."""
    for t in range(len(seen)):
        if possible and (fill or seen[t, r, c] != NONE):
            places[t, r, c] = path[t]
            for j in range(steps.shape[1]):
                posterior[t, j, r, c] = steps[t, j]
        elif seen[t, r, c] != NONE:
            for j in range(steps.shape[1]):
                posterior[t, j, r, c] = PROBABILITY_STEPS if j == seen[t, r, c] else 0


@njit(nogil=True, cache=True)
def _likelihoods(
    place: int, shares: Bytes, by_class: Floats, by_share: Floats, t: int, r: int, c: int, out: Floats
) -> None:
    """Of what was seen of a pixel on a date; 1 for all where nothing was."""
    none = place == NONE or (by_class.size == 0 and shares[t, 0, r, c] == NODATA)
    for j in range(len(out)):
        if none:
            out[j] = 1.0
        elif by_class.size > 0:
            out[j] = by_class[j, place]
        else:
            out[j] = by_share[shares[t, j, r, c], j]


@njit(nogil=True, cache=True)
def _round(shares: Floats, out: Bytes) -> None:
    """Shares in steps of 1/254 that add up to 254: the ends of their sums are rounded."""
    sums, before = 0.0, 0
    for j in range(len(shares)):
        sums += shares[j]
        end = PROBABILITY_STEPS if j == len(shares) - 1 else min(PROBABILITY_STEPS, int(PROBABILITY_STEPS * sums + 0.5))
        out[j] = end - before
        before = end
