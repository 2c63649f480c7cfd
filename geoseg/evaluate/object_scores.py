"""Objects found and missed: panoptic quality and average precision of one class in several scenes, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.evaluate.bootstrap import Interval, intervals_of_draws
from geoseg.evaluate.instances import THRESHOLDS, Matches
from geoseg.evaluate.ranking import Ranking

__all__ = ["ObjectScores", "object_intervals", "object_scores"]

_AT_50: Final = list(THRESHOLDS).index(0.5)
_AT_75: Final = list(THRESHOLDS).index(0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectScores:
    """Of one class in one or more scenes; NaN where neither side has an object of it."""

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


def object_scores(matches: Sequence[Matches | None]) -> ObjectScores:
    """Scores of a class, all scenes together.

    Args:
        matches: What became of its objects in each scene; None for a scene that does not know the class.
    """
    found, iou, n, m = _sums(matches).sum(axis=0)
    counts = np.ones((1, len(matches)))
    aps = Ranking.of(matches).average_precisions(counts)[0]
    return ObjectScores(
        pq=float(_panoptic_quality(_sums(matches), counts)[0]),
        sq=iou / found if found else (0.0 if n + m else float("nan")),
        rq=2 * found / (n + m) if n + m else float("nan"),
        n_reference=int(n),
        n_mapped=int(m),
        n_found=int(found),
        ap=float(aps.mean()),
        ap50=float(aps[_AT_50]),
        ap75=float(aps[_AT_75]),
    )


def object_intervals(matches: Sequence[Matches | None], *, level: float) -> dict[str, Interval]:
    """Intervals of ``pq``, ``ap``, ``ap50`` and ``ap75``, from scenes drawn again, see `geoseg.evaluate.bootstrap`.

    The objects of all scenes that a draw takes are ranked together, as those of all scenes are: average precision is no
    sum over scenes. Time: a walk through the ranking for each draw.

    Args:
        matches: As in `object_scores`.
        level: Share of the draws between the ends.
    """
    sums, ranking = _sums(matches), Ranking.of(matches)

    def drawn(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        aps = ranking.average_precisions(counts)
        columns = (_panoptic_quality(sums, counts), aps.mean(axis=1), aps[:, _AT_50], aps[:, _AT_75])
        return np.stack(columns, axis=-1)

    found = intervals_of_draws(drawn, len(matches), level=level)
    return {
        name: Interval(low=low, high=high)
        for name, low, high in zip(("pq", "ap", "ap50", "ap75"), found.low, found.high, strict=True)
    }


def _sums(matches: Sequence[Matches | None]) -> NDArray[np.float64]:
    """(n, 4) objects found, their summed intersection over union, objects of the reference and of the prediction."""
    sums = np.zeros((len(matches), 4))
    for row, known in zip(sums, matches, strict=True):
        if known is not None:
            row[:] = len(known.found_iou), known.found_iou.sum(), known.n_reference, len(known.score)
    return sums


def _panoptic_quality(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(d,) `ObjectScores.pq` of scenes that are taken so often (d, n)."""
    _, iou, n, m = (counts @ sums).T
    quality = np.full(len(counts), np.nan)
    # mean of the overlaps times F1: the number of those found falls out
    np.divide(2 * iou, n + m, out=quality, where=n + m > 0)
    return quality
