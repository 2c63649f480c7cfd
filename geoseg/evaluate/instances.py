"""Objects found and missed: panoptic quality, and average precision."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "THRESHOLDS",
    "Matches",
    "ObjectScores",
    "Overlaps",
    "match_objects",
    "object_scores",
    "object_sums",
    "panoptic_quality",
]

THRESHOLDS: Final = np.round(np.arange(0.5, 1.0, 0.05), 2)
"""Of intersection over union, at which an object counts as found: 0.5, 0.55 and so on to 0.95."""
_RECALLS: Final = np.linspace(0, 1, 101)
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
    """What became of the objects of one class in one or more scenes."""

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

    def __add__(self, other: "Matches") -> "Matches":
        return Matches(
            n_reference=self.n_reference + other.n_reference,
            found_iou=np.concatenate([self.found_iou, other.found_iou]),
            score=np.concatenate([self.score, other.score]),
            size=np.concatenate([self.size, other.size]),
            right=np.concatenate([self.right, other.right]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectScores:
    """Of one class; NaN where neither side has an object of it."""

    pq: float
    """Panoptic quality (Kirillov et al. 2019): ``sq`` times ``rq``."""
    sq: float
    """Mean intersection over union of the objects that have a counterpart; 0 where none has."""
    rq: float
    """F1 of finding them: a counterpart has an intersection over union of more than 0.5."""
    n_reference: int
    """Objects of the reference."""
    n_mapped: int
    """Objects of the prediction."""
    n_found: int
    """Objects that have a counterpart."""
    ap: float
    """Average precision, mean over `THRESHOLDS`; NaN where the reference has none."""
    ap50: float
    """Average precision at 0.5."""
    ap75: float
    """Average precision at 0.75."""


def match_objects(overlaps: Overlaps, k: int) -> Matches:
    """What became of the objects of a class.

    Pixels of which the reference says nothing belong to no object of the prediction; one that lies there for more than
    half is left out. For average precision the objects of the prediction are taken by their scores, the larger first
    where these are equal, and each takes the object of the reference that it overlaps most of those not yet taken.

    Args:
        overlaps: All objects of a scene.
        k: Their class.
    """
    void = overlaps.mapped_unknown_px > overlaps.mapped_px
    mine = (overlaps.mapped_class == k) & ~void
    theirs = overlaps.reference_class == k
    i, j = overlaps.pairs.T
    of_class = theirs[i] & mine[j]
    i, j, common = i[of_class], j[of_class], overlaps.common_px[of_class]
    iou = common / (overlaps.reference_px[i] + overlaps.mapped_px[j] - common)
    objects = np.flatnonzero(mine)
    score = np.nan_to_num(overlaps.score[objects], nan=1.0)
    size = overlaps.mapped_px[objects]
    return Matches(
        n_reference=int(theirs.sum()),
        found_iou=iou[iou > 0.5],
        score=score,
        size=size,
        right=_taken(objects, np.lexsort((-size, -score)), i, j, iou),
    )


def _taken(
    objects: NDArray[np.int64],
    order: NDArray[np.int64],
    reference: NDArray[np.int64],
    mapped: NDArray[np.int64],
    iou: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """(m, 10) whether each object is right at each threshold."""
    right = np.zeros((len(objects), len(THRESHOLDS)), dtype=np.bool_)
    by_object = np.argsort(mapped, kind="stable")
    ends = np.searchsorted(mapped[by_object], [objects, objects + 1])
    for t, threshold in enumerate(THRESHOLDS):
        taken: set[int] = set()
        enough = iou >= threshold - _HAIR
        for o in order:
            candidates = by_object[ends[0, o] : ends[1, o]]
            free = [(iou[c], -int(reference[c])) for c in candidates if enough[c] and int(reference[c]) not in taken]
            if free:
                taken.add(-max(free)[1])
                right[o, t] = True
    return right


def object_scores(matches: Matches) -> ObjectScores:
    """Scores of a class."""
    found, n, m = len(matches.found_iou), matches.n_reference, len(matches.score)
    rq = 2 * found / (n + m) if n + m else float("nan")
    sq = float(matches.found_iou.mean()) if found else (0.0 if n + m else float("nan"))
    aps = _average_precisions(matches)
    return ObjectScores(
        pq=sq * rq,
        sq=sq,
        rq=rq,
        n_reference=n,
        n_mapped=m,
        n_found=found,
        ap=float(np.mean(aps)),
        ap50=aps[0],
        ap75=aps[5],
    )


def object_sums(matches: Matches) -> NDArray[np.float64]:
    """(4,) objects found, their summed intersection over union, objects of the reference and of the prediction."""
    found = matches.found_iou
    return np.array([len(found), found.sum(), matches.n_reference, len(matches.score)], dtype=np.float64)


def panoptic_quality(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) from sums (..., 4) of one class: `ObjectScores.pq`."""
    _, iou, n, m = np.moveaxis(sums, -1, 0)
    quality = np.full(n.shape, np.nan)
    # mean of the overlaps times F1: the number of those found falls out
    np.divide(2 * iou, n + m, out=quality, where=n + m > 0)
    return quality


def _average_precisions(matches: Matches) -> Sequence[float]:
    """At each threshold the mean over 101 recalls of the best precision at that recall or above (Lin et al. 2014)."""
    if not matches.n_reference:
        return [float("nan")] * len(THRESHOLDS)
    order = np.lexsort((-matches.size, -matches.score))
    aps = []
    for right in matches.right[order].T:
        hits = np.cumsum(right)
        recall = hits / matches.n_reference
        precision = hits / np.arange(1, len(hits) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(recall, _RECALLS - _HAIR, side="left")
        aps.append(float(np.where(at < len(best), np.append(best, 0.0)[np.minimum(at, len(best))], 0.0).mean()))
    return aps
