"""How good class probabilities are: Brier score and negative log-likelihood, from integers that add up over blocks."""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.change.shares import ClassShares, take_shares
from geoseg.evaluate.plan import Plan
from geoseg.inference.lattice import Block
from geoseg.kernels import njit
from geoseg.legend import PROBABILITY_STEPS

__all__ = ["ShareCounts", "count_shares"]

_STRIP: Final = 256
"""Rows of probabilities that are held at once: two bytes a pixel for each class."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShareCounts:
    """Of pixels with a true class and probabilities; those of two blocks add up to those of both."""

    squares: int
    """Sum over pixels and classes of the squared distance of a probability from what is true, in steps of 1/254."""
    of_truth: NDArray[np.int64]
    """(255,) pixels by the probability that their true class had, in steps of 1/254."""

    @classmethod
    def zero(cls) -> Self:
        """Of no pixel."""
        return cls(squares=0, of_truth=np.zeros(PROBABILITY_STEPS + 1, dtype=np.int64))

    def __add__(self, other: "ShareCounts") -> "ShareCounts":
        return ShareCounts(squares=self.squares + other.squares, of_truth=self.of_truth + other.of_truth)

    @property
    def n(self) -> int:
        """Pixels."""
        return int(self.of_truth.sum())

    @property
    def brier(self) -> float:
        """Mean over pixels of the squared distances, all classes added (Brier 1950): 0 is best, 2 worst."""
        return self.squares / PROBABILITY_STEPS**2 / self.n if self.n else float("nan")

    @property
    def nll(self) -> float:
        """Mean negative logarithm of the probability of the true class.

        Where that was stored as 0, it was less than a step; half a step is taken.
        """
        steps = np.arange(PROBABILITY_STEPS + 1, dtype=np.float64)
        steps[0] = 0.5
        return float(self.of_truth @ -np.log(steps / PROBABILITY_STEPS)) / self.n if self.n else float("nan")


def count_shares(plan: Plan, shares: ClassShares, block: Block) -> ShareCounts:
    """The probabilities of a block against what is true there.

    Args:
        plan: How the prediction is held against the reference.
        shares: The probabilities of the prediction's classes, on its grid.
        block: Of the common grid.
    """
    bands = plan.common.after[list(shares.values)]
    found = ShareCounts.zero()
    for row in range(0, block.height, _STRIP):
        strip = replace(block, row_off=block.row_off + row, height=min(_STRIP, block.height - row))
        truth = plan.pixels(strip).truth
        values = take_shares(plan.alignment.after, strip, shares.read, len(shares.values))
        of_truth = np.zeros(PROBABILITY_STEPS + 1, dtype=np.int64)
        squares = _count(truth, values, bands, len(plan.legend), of_truth)
        found = found + ShareCounts(squares=int(squares), of_truth=of_truth)
    return found


@njit(nogil=True, cache=True)
def _count(
    truth: NDArray[np.uint8], shares: NDArray[np.uint8], bands: NDArray[np.uint8], k: int, of_truth: NDArray[np.int64]
) -> int:
    steps = len(of_truth) - 1
    by_class = np.empty(k, dtype=np.int64)
    squares = 0
    for r in range(truth.shape[0]):
        for c in range(truth.shape[1]):
            t = truth[r, c]
            if t >= k or shares[0, r, c] == 255:
                continue
            by_class[:] = 0
            for band in range(len(bands)):
                if bands[band] < k:
                    by_class[bands[band]] += shares[band, r, c]
            of_truth[min(by_class[t], steps)] += 1
            by_class[t] -= steps
            for j in range(k):
                squares += by_class[j] * by_class[j]
    return squares
