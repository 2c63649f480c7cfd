"""Temperature scaling: the one number by which logits are divided so that confidence is what it says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from geoseg.errors import InputError, ParameterError

__all__ = ["Temperature", "fit_temperature", "mean_nll"]

_LEAST, _MOST = 1e-3, 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """What was fitted."""

    value: float
    """Logits are divided by it; above 1 the model had promised too much."""
    nll_before: float
    """Mean negative log-likelihood of the logits as they are."""
    nll_after: float
    """Of the logits divided by the temperature."""
    n: int
    """Pixels it was fitted on."""


def mean_nll(logits: NDArray[np.floating], labels: NDArray[np.integer], temperature: float = 1.0) -> float:
    """Mean negative logarithm of the softmax probability of the true class.

    Args:
        logits: (n, K).
        labels: (n,) true class of each, 0 to K - 1.
        temperature: Logits are divided by it.
    """
    z = np.asarray(logits, dtype=np.float64) / temperature
    return float(np.mean(logsumexp(z, axis=1) - z[np.arange(len(z)), labels]))


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Temperature:
    """The temperature with the least mean negative log-likelihood (Guo et al. 2017).

    The likelihood is convex in the inverse of the temperature, so the least is where its slope is 0: where the mean
    logit of the true class is the mean that the probabilities expect.

    Args:
        logits: (n, K), of pixels that the model was not trained on.
        labels: (n,) true class of each, 0 to K - 1.

    Raises:
        ParameterError: If the shapes do not fit, there are no pixels, a logit is not finite, or a label is no class.
        InputError: If there is no such temperature: every pixel is right, or guessing would be better.

    Example:
        >>> found = fit_temperature(np.array([[4.0, 0.0]] * 10), np.array([0] * 8 + [1] * 2))
        >>> round(found.value, 4), round(found.nll_after, 4)
        (2.8854, 0.5004)
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ParameterError(
            f"logits of shape {logits.shape} with labels of shape {labels.shape}: give (n, K) and (n,), one at least"
        )
    z = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(z).all() or not ((labels >= 0) & (labels < logits.shape[1])).all():
        raise ParameterError(
            f"logits of {logits.shape[1]} classes with labels from {labels.min()} to {labels.max()}: give finite "
            f"logits, and labels from 0 to {logits.shape[1] - 1}"
        )
    true = z[np.arange(len(z)), labels].mean()

    def slope(inverse: float) -> float:
        return float((softmax(z * inverse, axis=1) * z).sum(axis=1).mean() - true)

    if slope(1 / _LEAST) <= 0:
        raise InputError(
            "no temperature fits: every labelled pixel has its highest logit at the true class, so the sharper the "
            "better; fit on scenes that the model was not trained on"
        )
    if slope(1 / _MOST) >= 0:
        raise InputError(
            "no temperature fits: the logits tell less than guessing would, so the flatter the better; check that the "
            "labels are those of the model's classes"
        )
    value = 1 / float(brentq(slope, 1 / _MOST, 1 / _LEAST, xtol=1e-14, rtol=1e-12))
    return Temperature(value=value, nll_before=mean_nll(z, labels), nll_after=mean_nll(z, labels, value), n=len(labels))
