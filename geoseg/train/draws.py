"""Which scenes or blocks are held out, where a share of them is asked for."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["drawn"]

_DRAWS = 200


def drawn(labels: NDArray[np.int64], *, share: float, seed: int, even: bool) -> list[int]:
    """Which of some things are held out: a share of them, at least one and never all.

    Evenly means: the best of 200 draws. A draw is the better, the nearer the share held out of each class's labels, and
    of all labels, is to the share asked for; a class that lies in two things or more should be on both sides, and one
    that lies in a single thing be trained on. Only where labels are decides, so it stays a fair test.

    Args:
        labels: (thing, class) labelled pixels; two things or more.
        share: Of the things.
        seed: Of the draws.
        even: Whether to draw evenly; else the first draw counts.

    Example:
        >>> drawn(np.array([[90, 5], [10, 0], [80, 5], [20, 0]]), share=0.25, seed=0, even=True)
        [2]
    """
    n = len(labels)
    count = min(n - 1, max(1, round(share * n)))
    rng = np.random.default_rng(seed)
    draws = [rng.permutation(n)[:count] for _ in range(_DRAWS if even else 1)]
    best = min(draws, key=lambda draw: _unevenness(labels, draw, share)) if even else draws[0]
    return sorted(best.tolist())


def _unevenness(labels: NDArray[np.int64], draw: NDArray[np.intp], share: float) -> float:
    total = labels.sum(axis=0)
    seen = total > 0
    held = labels[draw].sum(axis=0)[seen] / total[seen]
    single = (labels > 0).sum(axis=0)[seen] == 1
    wrong = (held == 1) | ((held == 0) & ~single)
    of_all = labels[draw].sum() / total.sum()
    return float((np.where(single, 0.0, abs(held - share)) + wrong).mean() + abs(of_all - share))
