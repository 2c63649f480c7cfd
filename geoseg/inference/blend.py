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

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.inference.lattice import Axis

__all__ = ["BLENDS", "Blend", "blend_across", "blend_down", "shares", "weights"]

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


def blend_across(
    strip: torch.Tensor, window: torch.Tensor, share: torch.Tensor, *, at: int, skip: int, width: int, n_old: int
) -> None:
    """Blend a window into the running means of a lattice row, in place.

    Args:
        strip: (row, col, class) running means, contiguous.
        window: (row, col, class) what the window says, contiguous, with as many rows.
        share: (col,) of the window.
        at: Column of the strip where the window's part begins.
        skip: Column of the window where that part begins.
        width: Columns of the part.
        n_old: How many of them, from the left, hold a mean of earlier windows; the others are set.
    """
    n_classes = strip.shape[2]
    if strip.device.type == "cpu":
        _blend_across_cpu(
            strip.flatten(1).numpy(),
            window.flatten(1).numpy(),
            np.repeat(share.numpy(), n_classes),
            at * n_classes,
            skip * n_classes,
            width * n_classes,
            n_old * n_classes,
        )
        return
    mean, value = strip[:, at : at + width], window[:, skip : skip + width]
    mean[:, n_old:] = value[:, n_old:]
    step = value[:, :n_old] - mean[:, :n_old]
    step *= share[skip : skip + n_old, None]
    mean[:, :n_old] += step


def blend_down(value: torch.Tensor, mean: torch.Tensor, share: torch.Tensor) -> None:
    """Blend the top of a lattice row with the running means of the rows above it; the result replaces ``value``.

    Args:
        value: (row, col, class) of the lattice row, contiguous.
        mean: What the lattice rows above say there, of the same shape, contiguous.
        share: (row,) the lattice row's shares.
    """
    if value.device.type == "cpu":
        _blend_down_cpu(value.flatten(1).numpy(), mean.flatten(1).numpy(), share.numpy())
        return
    step = value - mean
    step *= share[:, None, None]
    torch.add(mean, step, out=value)


# Without fastmath every operation is rounded by itself, alike in the vectorized body of a loop and in its tail, so that
# the result does not depend on where a row begins.


@nb.njit(nogil=True, cache=True)
def _blend_across_cpu(
    strip: NDArray[np.float32],
    window: NDArray[np.float32],
    share: NDArray[np.float32],
    at: int,
    skip: int,
    width: int,
    n_old: int,
) -> None:
    for row in range(len(strip)):
        mean, value = strip[row, at : at + width], window[row, skip : skip + width]
        for i in range(n_old):
            mean[i] = mean[i] + share[skip + i] * (value[i] - mean[i])
        mean[n_old:] = value[n_old:]


@nb.njit(nogil=True, cache=True)
def _blend_down_cpu(value: NDArray[np.float32], mean: NDArray[np.float32], share: NDArray[np.float32]) -> None:
    rows, length = mean.shape
    for row in range(rows):
        t = share[row]
        for i in range(length):
            value[row, i] = mean[row, i] + t * (value[row, i] - mean[row, i])
