"""Objects of a prediction and of its reference: which has a counterpart."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["THRESHOLDS", "Matches", "Overlaps", "match_objects"]

THRESHOLDS: Final = np.round(np.arange(0.5, 1.0, 0.05), 2)
"""Of intersection over union, at which an object counts as found: 0.5, 0.55 and so on to 0.95."""
_HAIR: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overlaps:
    """Objects of a reference and of a prediction, and what they have in common."""

    reference_class: NDArray[np.uint8]
    """(n,) class of each object of the reference."""
    reference_px: NDArray[np.int64]
    """(n,) its pixels."""
    mapped_class: NDArray[np.uint8]
    """(m,) class of each object of the prediction."""
    mapped_px: NDArray[np.int64]
    """(m,) its pixels where the reference says something."""
    mapped_unknown_px: NDArray[np.int64]
    """(m,) its pixels where the reference says nothing."""
    score: NDArray[np.float64]
    """(m,) how sure the prediction is, by which objects are taken in turn; NaN where it does not say."""
    pairs: NDArray[np.int64]
    """(p, 2) objects of reference and prediction that share pixels, each pair once."""
    common_px: NDArray[np.int64]
    """(p,) how many."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matches:
    """What became of the objects of one class in a scene."""

    n_reference: int
    """Objects of the reference."""
    found_iou: NDArray[np.float64]
    """(t,) intersection over union of those that have a counterpart with more than 0.5: each has one at most."""
    score: NDArray[np.float64]
    """(m,) of the objects of the prediction."""
    size: NDArray[np.int64]
    """(m,) their pixels."""
    right: NDArray[np.bool_]
    """(m, 10) whether each is right at each of `THRESHOLDS`."""


def match_objects(overlaps: Overlaps, k: int) -> Matches:
    """What became of the objects of a class.

    Pixels of which the reference says nothing belong to no object of the prediction; one that lies there for more than
    half, and has no counterpart, is left out. Where the prediction says nothing the objects of the reference count in
    full. Both as in panopticapi.
    For average precision the objects of the prediction are taken by their scores, the larger first
    where these are equal, and each takes the object of the reference that it overlaps most of those not yet taken.

    Args:
        overlaps: All objects of a scene.
        k: Their class.
    """
    mine, theirs = overlaps.mapped_class == k, overlaps.reference_class == k
    i, j = overlaps.pairs.T
    of_class = theirs[i] & mine[j]
    i, j, common = i[of_class], j[of_class], overlaps.common_px[of_class]
    iou = common / (overlaps.reference_px[i] + overlaps.mapped_px[j] - common)
    void = overlaps.mapped_unknown_px > overlaps.mapped_px
    void[j[iou > 0.5]] = False
    mine &= ~void
    i, j, iou = i[~void[j]], j[~void[j]], iou[~void[j]]
    objects = np.flatnonzero(mine)
    score = np.nan_to_num(overlaps.score[objects], nan=1.0)
    size = overlaps.mapped_px[objects]
    return Matches(
        n_reference=int(theirs.sum()),
        found_iou=iou[iou > 0.5],
        score=score,
        size=size,
        right=_taken(np.argsort(np.lexsort((-size, -score))), i, np.searchsorted(objects, j), iou),
    )


def _taken(
    rank: NDArray[np.int64], reference: NDArray[np.int64], mapped: NDArray[np.int64], iou: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(m, 10) whether each object is right at each threshold.

    Objects of a map have no pixel in common, so one that overlaps another by more than half is the only one that does.
    Only with exactly a half there can be two, and then it matters whose turn comes first.

    Args:
        rank: (m,) whose turn it is.
        reference: (p,) objects of the reference in the pairs.
        mapped: (p,) places of objects of the prediction among the m.
        iou: (p,) of the pairs.
    """
    best = np.zeros(len(rank))
    np.maximum.at(best, mapped, iou)
    right = best[:, None] >= THRESHOLDS - _HAIR
    half = np.flatnonzero(np.abs(iou - THRESHOLDS[0]) <= _HAIR)
    right[mapped[half], 0] = False
    taken: set[int] = set()
    for pair in half[np.lexsort((reference[half], rank[mapped[half]]))]:
        o, r = int(mapped[pair]), int(reference[pair])
        if not right[o, 0] and r not in taken:
            taken.add(r)
            right[o, 0] = True
    return right
