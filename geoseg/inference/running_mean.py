"""Steps of the running mean in which windows are blended: compiled on the CPU, torch elsewhere.

Why a running mean, and what a share is: see `blend`.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.kernels import njit

__all__ = ["blend_across", "blend_down"]


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


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def _blend_down_cpu(value: NDArray[np.float32], mean: NDArray[np.float32], share: NDArray[np.float32]) -> None:
    rows, length = mean.shape
    for row in range(rows):
        t = share[row]
        for i in range(length):
            value[row, i] = mean[row, i] + t * (value[row, i] - mean[row, i])
