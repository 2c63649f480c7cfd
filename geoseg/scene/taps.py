"""The pixels of one axis as weighted sums of those of another with the same ends.

A pixel that is larger than those it is made of is their mean, each weighted by how much of it is covered; a smaller one
lies between two of them, weighted by distance. Weights follow from the pixel's place along the whole axis.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Taps"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taps:
    """Source pixels that new pixels along one axis are made of."""

    index: NDArray[np.int64]
    """(new pixel, tap) of the whole source axis."""
    weight: NDArray[np.float32]
    """(new pixel, tap); those of a pixel add up to 1."""

    @classmethod
    def of(cls, first: int, end: int, *, length: int, new_length: int) -> "Taps":
        """Taps of the new pixels ``[first, end)``."""
        factor = length / new_length
        at = np.arange(first, end, dtype=np.float64)
        if factor > 1:
            left, right = at * factor, (at + 1) * factor
            index = np.floor(left).astype(np.int64)[:, None] + np.arange(math.ceil(factor) + 1)
            weight = (np.minimum(right[:, None], index + 1) - np.maximum(left[:, None], index)).clip(0) / factor
        else:
            centre = (at + 0.5) * factor - 0.5
            low = np.floor(centre)
            index = low.astype(np.int64)[:, None] + np.arange(2)
            weight = np.column_stack((1 - (centre - low), centre - low))
        return cls(index=index.clip(0, length - 1), weight=weight.astype(np.float32))

    @property
    def span(self) -> tuple[int, int]:
        """Source pixels ``[first, end)`` that are needed."""
        used = self.index[self.weight > 0]
        return int(used.min()), int(used.max()) + 1

    def sums(self, values: NDArray[np.float32], start: int, axis: int) -> NDArray[np.float32]:
        """Weighted sums along an axis of values that begin at source pixel ``start``."""
        index = (self.index - start).clip(0, values.shape[axis] - 1)
        shape = [1] * values.ndim
        shape[axis] = len(index)
        total = values.take(index[:, 0], axis=axis) * self.weight[:, 0].reshape(shape)
        for tap in range(1, index.shape[1]):
            total += values.take(index[:, tap], axis=axis) * self.weight[:, tap].reshape(shape)
        return total
