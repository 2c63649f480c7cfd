"""Average precision of objects that are ranked by how sure the prediction is, for any choice of scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.evaluate.instances import THRESHOLDS, Matches
from geoseg.kernels import njit

__all__ = ["Ranking"]

_PARTS: Final = 100.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """The objects of one class in several scenes, the surest first, the larger first where these are equal."""

    scene: NDArray[np.int32]
    """(m,) which scene each object of the prediction is in."""
    hits: NDArray[np.int32]
    """(h,) places in the ranking of the objects that are right, those of each of `THRESHOLDS` after another."""
    first: NDArray[np.int64]
    """(11,) where those of each threshold begin in ``hits``, and the end."""
    n_reference: NDArray[np.float64]
    """(n,) objects of the reference in each scene."""

    @classmethod
    def of(cls, matches: Sequence[Matches | None]) -> Self:
        """Of what became of the objects in each scene; None for a scene that does not know the class.

        Memory: some 100 bytes for each object of the prediction.
        """
        known = [(i, m) for i, m in enumerate(matches) if m is not None]
        scene = np.concatenate([np.full(len(m.score), i, dtype=np.int32) for i, m in known])
        score, size = (np.concatenate([getattr(m, name) for _, m in known]) for name in ("score", "size"))
        order = np.lexsort((-size, -score))
        threshold, hits = np.nonzero(np.concatenate([m.right for _, m in known])[order].T)
        n_reference = np.array([0 if m is None else m.n_reference for m in matches], dtype=np.float64)
        return cls(
            scene=scene[order],
            hits=hits.astype(np.int32),
            first=np.searchsorted(threshold, np.arange(len(THRESHOLDS) + 1)),
            n_reference=n_reference,
        )

    def average_precisions(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(d, 10) at each of `THRESHOLDS`, the mean over 101 recalls of the best precision at that recall or above.

        As for COCO (Lin et al. 2014), but of all objects. NaN where no scene that is taken has an object in the
        reference. A scene that is taken twice counts as two that are alike.

        Args:
            counts: (d, n) how often each scene is taken in each of d draws.
        """
        out = np.empty((len(counts), len(THRESHOLDS)))
        _average(self.scene, self.hits, self.first, self.n_reference, counts, out)
        return out


@njit(nogil=True, cache=True)
def _average(
    scene: NDArray[np.int32],
    hits: NDArray[np.int32],
    first: NDArray[np.int64],
    n_reference: NDArray[np.float64],
    counts: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Each list of hits is walked from its end: the best precision so far is that of all recalls up to the next hit.

    All numbers but precisions are whole, and exact. There is no branch for objects that are not drawn, which would be
    guessed wrong half of the time: at one that is right the list is as good as at the hit before it, or worse.
    """
    n_lists = len(first) - 1
    scene_of_hit = scene[hits]
    by_scene = np.zeros((n_lists, len(n_reference)))
    for t in range(n_lists):
        for h in range(first[t], first[t + 1]):
            by_scene[t, scene_of_hit[h]] += 1.0
    listed = np.empty(len(scene))  # objects up to each place
    for d in range(len(counts)):
        times = counts[d]
        n = (times * n_reference).sum()
        if n == 0.0:
            out[d] = np.nan
            continue
        total = 0.0
        for i in range(len(scene)):
            total += times[scene[i]]
            # before the first that is drawn nothing is found, either: 0
            listed[i] = max(total, 1.0)
        for t in range(n_lists):
            found = (times * by_scene[t]).sum()
            best, area = 0.0, 0.0
            # recalls k / 100 that are reached are those with 100 * found >= k * n
            k = _PARTS * found // n
            need = k * n
            for h in range(first[t + 1] - 1, first[t] - 1, -1):
                best = max(best, found / listed[hits[h]])
                found -= times[scene_of_hit[h]]  # the copies of one hit come together
                if _PARTS * found < need:
                    reached = k
                    while _PARTS * found < need:
                        k -= 1.0
                        need -= n
                    area += best * (reached - k)
            # any list reaches recall 0
            out[d, t] = (area + best) / (_PARTS + 1)
