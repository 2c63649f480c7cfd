"""Counts of what was held out, and the ratios of their sums."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Confusion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Pixels per pair of classes: rows are the labels, columns what the network says."""

    counts: NDArray[np.int64]
    """(class, class)."""

    @property
    def pixels(self) -> int:
        """All that were compared."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """Share that is right; 0 where nothing was compared."""
        return float(np.trace(self.counts)) / max(1, self.pixels)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each class; NaN for one that neither has.

        Example:
            >>> Confusion(counts=np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]])).iou.round(3).tolist()
            [0.667, 0.5, nan]
        """
        hit = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - hit
        ratio: NDArray[np.float64] = np.divide(hit, union, out=np.full(hit.shape, np.nan), where=union > 0)
        return ratio

    @property
    def miou(self) -> float:
        """Mean IoU of the classes that either has; 0 where nothing was compared."""
        iou = self.iou
        return 0.0 if np.isnan(iou).all() else float(np.nanmean(iou))
