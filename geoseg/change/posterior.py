"""Change by the class probabilities of both dates: the joint posterior of what was and what is.

If the errors of the two maps are independent given the classes (Bruzzone & Serpico 1997),

    P(i, j | both images)  ~  p1(i) p2(j) w(i, j),    w(i, j) = P(i, j) / (P1(i) P2(j))

where ``p1`` and ``p2`` are the probabilities that the model gives on either date, ``P`` is the prior share of each pair
of classes, and ``P1`` and ``P2`` are its totals. Without a prior ``w`` is 1 everywhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.change.index import NONE
from geoseg.errors import ParameterError
from geoseg.kernels import njit
from geoseg.legend import NODATA

__all__ = ["Decided", "PairWeights", "change_vector", "decide_pairs", "joint_posterior", "prior_ratio"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairWeights:
    """What each pair of classes weighs in the decision."""

    ratio: Floats
    """(K, K) prior share of a pair over what it would be if the dates were independent; 0 where it cannot be."""
    cost: Floats
    """(K, K) what it costs to miss a change from one class to another; on the diagonal, to call change what stayed."""

    def __post_init__(self) -> None:
        k = len(self.ratio)
        if self.ratio.shape != (k, k) or self.cost.shape != (k, k):
            raise ParameterError(
                f"weights of {self.ratio.shape} and costs of {self.cost.shape}: give both for each pair of classes"
            )
        if not (np.isfinite(self.ratio) & (self.ratio >= 0)).all() or not np.isfinite(self.cost).all():
            raise ParameterError("weights and costs of pairs are finite numbers, and no weight is below 0: mend them")
        if not (self.cost > 0).all():
            raise ParameterError(f"a cost of {self.cost.min():g}: costs are above 0, 1 for what is of no concern")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decided:
    """The classes of both dates by the probabilities of both."""

    before: NDArray[np.uint8]
    """(rows, cols) place in the legend on the first date."""
    after: NDArray[np.uint8]
    """(rows, cols) on the second; the same where nothing changed."""
    same: NDArray[np.uint8]
    """(rows, cols) percent: the posterior that nothing changed; 255 where there are no probabilities."""
    pair: NDArray[np.uint8]
    """(rows, cols) percent: the posterior of this very change, 255 where none was decided."""


def prior_ratio(joint: Floats) -> Floats:
    """(K, K) how much more often each pair of classes occurs than if the dates were independent.

    Args:
        joint: (K, K) prior share of each pair, in any unit; rows are the first date.

    Raises:
        ParameterError: If a share is negative or not finite, or a class has none on one of the dates.

    Example:
        >>> prior_ratio(np.array([[0.4, 0.1], [0.0, 0.5]])).round(2).tolist()
        [[2.0, 0.33], [0.0, 1.67]]
    """
    if not (np.isfinite(joint) & (joint >= 0)).all():
        raise ParameterError("shares of pairs of classes are finite numbers, and none is below 0: mend the prior")
    rows, cols = joint.sum(axis=1), joint.sum(axis=0)
    if not (rows > 0).all() or not (cols > 0).all():
        raise ParameterError("a prior has a share of each class on each date: give the ones without any some")
    return np.asarray(joint * joint.sum() / np.outer(rows, cols))


def joint_posterior(before: Floats, after: Floats, ratio: Floats | None = None) -> Floats:
    """(K, K) posterior of each pair of classes, rows the first date; 0 everywhere if no pair can be.

    One minus its trace is the posterior of change.

    Args:
        before: (K,) probabilities of the classes on the first date.
        after: (K,) on the second.
        ratio: (K, K) what `prior_ratio` gives; by default errors are independent and every pair is as likely.

    Example:
        >>> joint_posterior(np.array([0.7, 0.3]), np.array([0.2, 0.8])).round(2).tolist()
        [[0.14, 0.56], [0.06, 0.24]]

    Reference: Bruzzone & Serpico (1997), IEEE Trans. Geosci. Remote Sens. 35(4):858-867.
    """
    joint = np.outer(before, after) * (1.0 if ratio is None else ratio)
    total = joint.sum()
    return np.asarray(joint / total if total > 0 else joint)


def change_vector(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """Change of the probabilities along the first axis, and its length, from 0 to the square root of 2.

    Example:
        >>> vector, length = change_vector(np.array([0.7, 0.3]), np.array([0.2, 0.8]))
        >>> vector.tolist(), round(float(length), 4)
        ([-0.5, 0.5], 0.7071)

    Reference: Chen et al. (2011), IEEE Geosci. Remote Sens. Lett. 8(2):317-321.
    """
    vector = after - before
    return vector, np.asarray(np.sqrt((vector**2).sum(axis=0)))


def decide_pairs(
    was: NDArray[np.uint8],
    now: NDArray[np.uint8],
    shares: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    band_places: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    weights: PairWeights,
) -> Decided:
    """Decide for each pixel whether it changed, and what it was and is.

    A pixel is changed if missing that would cost more than calling it so would if nothing had changed: the sum of
    ``cost * posterior`` over all changes against that over all classes that stay. It then is the change, or else the
    class that stays, of the largest ``cost * posterior``, the first of several. With costs of 1 a pixel is changed if
    that is more likely than not. Where no pair can be, it keeps the class of the first map, without a percentage.

    Where a date has no observation, or no probabilities, classes stay as they are.

    Args:
        was: (rows, cols) places in the legend by the first map.
        now: (rows, cols) by the second.
        shares: Of either date (band, rows, cols) probabilities in bytes, 255 where there are none; of a pixel they are
            divided by their sum.
        band_places: Of either date (band,) the place of each band's class; bands with one place are added.
        weights: Of the pairs.
    """
    places = [(p, s) for p, s in zip(band_places, shares, strict=True)]
    for bands, share in places:
        if share.shape != (len(bands), *was.shape) or now.shape != was.shape:
            raise ParameterError(f"probabilities of {share.shape} for {len(bands)} classes and {was.shape} px")
    out = Decided(
        before=was.copy(),
        after=now.copy(),
        same=np.full(was.shape, 255, np.uint8),
        pair=np.full(was.shape, 255, np.uint8),
    )
    # without costs of its own a pixel that is the likelier to have changed has changed
    risk = weights.ratio if (weights.cost == 1).all() else weights.ratio * weights.cost
    costly = risk is not weights.ratio
    _decide(*shares, *band_places, weights.ratio, risk, costly, out.before, out.after, out.same, out.pair)
    return out


@njit(nogil=True, cache=True)
def _decide(
    one: NDArray[np.uint8],
    two: NDArray[np.uint8],
    one_places: NDArray[np.uint8],
    two_places: NDArray[np.uint8],
    ratio: Floats,
    risk: Floats,
    costly: bool,
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    same: NDArray[np.uint8],
    pair: NDArray[np.uint8],
) -> None:
    """Maps in, decisions out. Only classes with a probability are gone through: of many, mostly two or three."""
    k = len(ratio)
    p, q = np.zeros(k, dtype=np.int64), np.zeros(k, dtype=np.int64)
    p_at, q_at = np.empty(k, dtype=np.int64), np.empty(k, dtype=np.int64)
    for r in range(before.shape[0]):
        for c in range(before.shape[1]):
            if before[r, c] == NONE or after[r, c] == NONE or one[0, r, c] == NODATA or two[0, r, c] == NODATA:
                continue
            n_p, n_q = _gather(one, one_places, r, c, p, p_at), _gather(two, two_places, r, c, q, q_at)
            total, staying, changed = _sums(p, p_at[:n_p], q, q_at[:n_q], ratio, risk, costly)
            if total > 0:
                i, j = _best(p, p_at[:n_p], q, q_at[:n_q], risk, changed)
                before[r, c], after[r, c] = i, j
                same[r, c] = np.uint8(100 * staying / total + 0.5)
                if changed:
                    pair[r, c] = np.uint8(100 * (p[i] * q[j] * ratio[i, j]) / total + 0.5)
            else:
                after[r, c] = before[r, c]
            p[p_at[:n_p]] = 0
            q[q_at[:n_q]] = 0


@njit(nogil=True, cache=True)
def _sums(
    p: NDArray[np.int64],
    p_at: NDArray[np.int64],
    q: NDArray[np.int64],
    q_at: NDArray[np.int64],
    ratio: Floats,
    risk: Floats,
    costly: bool,
) -> tuple[float, float, bool]:
    """Of a pixel the sum over all pairs, that over those that stay, and whether it changed.

    Posteriors are on the scale of the first. Without a branch in the loop over pairs: which one is the largest is asked
    later, and of pixels that stay, which are most, only of the classes.
    """
    total, staying, every, stays = 0.0, 0.0, 0.0, 0.0
    for i in p_at:
        row = 0.0
        for j in q_at:
            row += q[j] * ratio[i, j]
        total += p[i] * row
        staying += p[i] * (q[i] * ratio[i, i])
    if not costly:
        return total, staying, total - staying > staying
    for i in p_at:
        row = 0.0
        for j in q_at:
            row += q[j] * risk[i, j]
        every += p[i] * row
        stays += p[i] * (q[i] * risk[i, i])
    return total, staying, every - stays > stays


@njit(nogil=True, cache=True)
def _best(
    p: NDArray[np.int64],
    p_at: NDArray[np.int64],
    q: NDArray[np.int64],
    q_at: NDArray[np.int64],
    risk: Floats,
    changed: bool,
) -> tuple[int, int]:
    """The pair of the largest cost times posterior, of those that change or of those that stay."""
    most, best_i, best_j = 0.0, 0, 0
    if not changed:
        for i in p_at:
            x = p[i] * q[i] * risk[i, i]
            # bands come in any order: of equals the first by place
            if x > most or (x == most and x > 0 and i < best_i):
                most, best_i = x, i
        return best_i, best_i
    for i in p_at:
        for j in q_at:
            x = p[i] * q[j] * risk[i, j] if i != j else 0.0
            earlier = i < best_i or (i == best_i and j < best_j)
            if x > most or (x == most and x > 0 and earlier):
                most, best_i, best_j = x, i, j
    return best_i, best_j


@njit(nogil=True, cache=True)
def _gather(
    shares: NDArray[np.uint8], places: NDArray[np.uint8], r: int, c: int, sums: NDArray[np.int64], at: NDArray[np.int64]
) -> int:
    """Probabilities of a pixel by class, in the order of the bands: how many classes have one, and which."""
    n = 0
    for band in range(len(places)):
        share = np.int64(shares[band, r, c])
        if share > 0:
            if sums[places[band]] == 0:
                at[n] = places[band]
                n += 1
            sums[places[band]] += share
    return n
