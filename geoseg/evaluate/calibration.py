"""Whether confidence is what it says: of pixels with 80 percent, 80 of 100 should be right."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError

__all__ = ["BINS", "Reliability", "reliability"]

BINS = 15
"""Bins of equal width between 0 and 1, as in Guo et al. (2017)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reliability:
    """Confidence and accuracy in bins of confidence."""

    edges: NDArray[np.float64]
    """(n + 1,) of the bins; one takes its upper edge in, not its lower."""
    pixels: NDArray[np.int64]
    """(n,) in each bin."""
    confidence: NDArray[np.float64]
    """(n,) mean confidence, NaN in a bin without pixels."""
    accuracy: NDArray[np.float64]
    """(n,) share that is right, NaN in a bin without pixels."""

    @property
    def _gaps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        used = self.pixels > 0
        return np.abs(self.confidence - self.accuracy)[used], (self.pixels / max(self.pixels.sum(), 1))[used]

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of confidence and accuracy, bins weighted by their pixels."""
        gaps, shares = self._gaps
        return float(gaps @ shares) if len(gaps) else float("nan")

    @property
    def rms(self) -> float:
        """The root of the mean of the squared distances."""
        gaps, shares = self._gaps
        return float(np.sqrt(gaps**2 @ shares)) if len(gaps) else float("nan")

    @property
    def largest(self) -> float:
        """The largest distance in any bin."""
        gaps, _ = self._gaps
        return float(gaps.max()) if len(gaps) else float("nan")

    @property
    def overconfidence(self) -> float:
        """Mean confidence less accuracy of all pixels: above 0, the model promises too much."""
        used = self.pixels > 0
        n = max(int(self.pixels.sum()), 1)
        return float((self.pixels * (self.confidence - self.accuracy))[used].sum() / n) if used.any() else float("nan")


def reliability(
    confidence: NDArray[np.float64], wrong: NDArray[np.int64], right: NDArray[np.int64], *, bins: int = BINS
) -> Reliability:
    """Confidence and accuracy by bins of confidence.

    Args:
        confidence: (n,) values from 0 to 1.
        wrong: (n,) pixels that have this confidence and are wrong.
        right: (n,) pixels that have it and are right.
        bins: Of equal width; a value on an edge belongs to the bin below it.

    Raises:
        ParameterError: If a confidence is no share.

    Example:
        >>> found = reliability(np.array([0.6, 0.9]), np.array([5, 1]), np.array([5, 9]), bins=10)
        >>> round(found.ece, 9)
        0.05
    """
    if len(confidence) and not (confidence.min() >= 0 and confidence.max() <= 1):
        raise ParameterError(f"confidence from {confidence.min()} to {confidence.max()}: give shares from 0 to 1")
    # less by a hair: 0.6 * 10 is 6, and 6.000000000000001 would be another bin
    place = np.clip(np.ceil(confidence * bins - 1e-9).astype(np.int64) - 1, 0, bins - 1)
    n = np.bincount(place, weights=wrong + right, minlength=bins)
    hit = np.bincount(place, weights=right, minlength=bins)
    said = np.bincount(place, weights=(wrong + right) * confidence, minlength=bins)
    mean = [np.divide(part, n, out=np.full(bins, np.nan), where=n > 0) for part in (said, hit)]
    return Reliability(
        edges=np.linspace(0, 1, bins + 1), pixels=n.astype(np.int64), confidence=mean[0], accuracy=mean[1]
    )
