"""How much each class counts in a loss, by how often it occurs."""

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError

__all__ = ["effective_weights", "inverse_weights"]

_CAP = 10.0
"""No class weighs more than this many times the average: a handful of mislabelled pixels must not rule."""


def inverse_weights(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Class weights by inverse frequency, 1 on average over the classes that occur, capped at 10.

    Args:
        counts: Labelled pixels of each class; a class without any gets weight 1, which nothing uses.

    Example:
        >>> inverse_weights(np.array([300, 100])).tolist()
        [0.5, 1.5]
    """
    return _scaled(1.0 / np.maximum(counts, 1), counts)


def effective_weights(counts: NDArray[np.int64], beta: float = 0.999) -> NDArray[np.float32]:
    """Class weights by the effective number of samples, (1 - beta) / (1 - beta^n), scaled as `inverse_weights`.

    Cui et al. (2019), CVPR. Their n counts images. Neighbouring pixels repeat each other, so count places here (the
    cells of 32 px that have a class), not pixels: with a million of them, all classes would weigh the same.

    Args:
        counts: Samples of each class.
        beta: From 0 (no weighting) towards 1 (inverse frequency).

    Example:
        >>> effective_weights(np.array([1, 2]), beta=0.5).tolist()
        [1.2000000476837158, 0.800000011920929]
    """
    if not 0 <= beta < 1:
        raise ParameterError(f"beta {beta} is no weighting by effective number: choose from 0 to below 1")
    return _scaled((1.0 - beta) / (1.0 - beta ** np.maximum(counts, 1).astype(np.float64)), counts)


def _scaled(raw: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    seen = counts > 0
    if not seen.any():
        raise ParameterError("no class has a labelled pixel, so none can be weighted: label some")
    weights = np.where(seen, raw / raw[seen].mean(), 1.0)
    return np.minimum(weights, _CAP).astype(np.float32)
