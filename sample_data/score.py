"""Confusion of class maps with truth, plainly, for tests; `geoseg evaluate` is for users."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import Legend
from sample_data.classes import LEGEND

__all__ = ["SCENES", "TRUTH", "confusion", "iou"]

SCENES: Final = Path(__file__).parent / "scenes"
TRUTH: Final = Path(__file__).parent / "truth"

Counts = NDArray[np.int64]


def confusion(truth: NDArray[np.uint8], mapped: NDArray[np.uint8], legend: Legend = LEGEND) -> Counts:
    """Pixels per pair of classes: rows are truth, columns the map; counted where both have a class of the legend.

    Example:
        >>> confusion(np.array([1, 1, 2, 255], np.uint8), np.array([1, 2, 2, 1], np.uint8))[:2, :2].tolist()
        [[1, 1], [0, 1]]
    """
    n = len(legend)
    index = np.full(256, n, dtype=np.int64)
    index[list(legend.values)] = np.arange(n)
    t, m = index[truth].ravel(), index[mapped].ravel()
    both = (t < n) & (m < n)
    return np.bincount(t[both] * n + m[both], minlength=n * n).reshape(n, n)


def iou(counts: Counts) -> NDArray[np.float64]:
    """Intersection over union of each class; NaN for a class that neither truth nor map has."""
    hit = np.diag(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hit
    ratio: NDArray[np.float64] = np.divide(hit, union, out=np.full(hit.shape, np.nan), where=union > 0)
    return ratio
