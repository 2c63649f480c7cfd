"""Blend weights: separable, and exact wherever windows agree.

The blended value of a pixel is the weighted mean of what its windows say, the weight being the product of one weight
along rows and one along columns. It is computed as a running mean, window after window: ``m += t * (x - m)``, with the
share ``t = w_i / (w_1 + ... + w_i)``. That is the weighted sum divided by the sum of weights, but where windows
agree, ``x - m`` is zero and the mean is their value to the last bit: a constant model gives a constant map, a
model that returns its input gives its input back, at every edge, for every overlap and shape. Since rows and columns
separate, the windows of one lattice row are first blended along columns, then the rows with one another.
"""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.inference.lattice import Axis

__all__ = ["BLENDS", "Blend", "shares", "weights"]

Blend = Literal["gaussian", "hann", "linear", "flat", "centre"]
BLENDS: tuple[str, ...] = get_args(Blend)
"""Names of the weight shapes."""


def _gaussian(window: int) -> NDArray[np.float64]:
    # sigma of an eighth of the window, as MONAI and nnU-Net have it
    x = np.arange(window) - (window - 1) / 2
    shape: NDArray[np.float64] = np.exp(-(x**2) / (2 * (window / 8) ** 2))
    return shape


def _hann(window: int) -> NDArray[np.float64]:
    # half-sample: never zero, and sums to one at an overlap of a half
    return np.sin(np.pi * (np.arange(window) + 0.5) / window) ** 2


def _linear(window: int) -> NDArray[np.float64]:
    return 1 - np.abs(2 * (np.arange(window) + 0.5) / window - 1)


def _flat(window: int) -> NDArray[np.float64]:
    return np.ones(window)


_SHAPES: dict[str, Callable[[int], NDArray[np.float64]]] = {
    "gaussian": _gaussian,
    "hann": _hann,
    "linear": _linear,
    "flat": _flat,
    "centre": _linear,  # the largest wins alone, see `shares`
}


def weights(blend: str, window: int) -> NDArray[np.float64]:
    """Weights along one axis of a window, all above 0; (window,).

    Raises:
        ParameterError: If the shape has no such name.
    """
    if blend not in _SHAPES:
        raise ParameterError(f"blend {blend!r} is not known: choose one of {', '.join(BLENDS)}")
    shape: NDArray[np.float64] = _SHAPES[blend](window)
    return shape


def shares(axis: Axis, blend: str) -> tuple[NDArray[np.float32], ...]:
    """For each window of an axis, its share in the running mean over the windows up to it; each (window,).

    The share is 1 on pixels that no earlier window covers. With ``centre`` a pixel belongs to the one window in which
    it lies most central (the earlier one when equal), so shares are 0 or 1: the halo of every window is cropped.

    Args:
        axis: Windows along the axis.
        blend: Name of the weight shape.

    Example:
        >>> [s.tolist() for s in shares(Axis(length=6, window=4, stride=2), "flat")]
        [[1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]]
    """
    shape = weights(blend, axis.window)
    total = np.zeros(max(axis.length, axis.window))
    result = []
    for start in axis.starts:
        sofar = total[start : start + axis.window]
        if blend == "centre":
            share = (shape > sofar).astype(np.float32)
            np.maximum(sofar, shape, out=sofar)
        else:
            sofar += shape
            share = (shape / sofar).astype(np.float32)
        result.append(share)
    return tuple(result)
