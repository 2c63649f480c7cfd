"""Decisions of least expected cost (Bayes risk), and the exponential and logarithm that compiled kernels share."""

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.kernels import njit

__all__ = ["exp", "least_risk", "least_risk_device", "leave_undecided", "log"]


@njit(nogil=True, cache=True, inline="always")
def exp(x: np.float32) -> np.float32:
    """The exponential of x <= 0, relative error below 3e-6, in operations that vectorize; 0 below -87 to rounding."""
    t = max(x, np.float32(-87)) * np.float32(1.4426950408889634)
    n = np.floor(t + np.float32(0.5))
    f = (t - n) * np.float32(0.6931471805599453)
    p = np.float32(1 / 720)
    p = p * f + np.float32(1 / 120)
    p = p * f + np.float32(1 / 24)
    p = p * f + np.float32(1 / 6)
    p = p * f + np.float32(0.5)
    p = p * f + np.float32(1)
    p = p * f + np.float32(1)
    # 2**n from its bits: the exponent of a float32 starts at bit 23, biased by 127
    power: np.float32 = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    value: np.float32 = p * power
    return value


@njit(nogil=True, cache=True, inline="always")
def log(x: np.float32) -> np.float32:
    """The logarithm of x from 0 to 1, absolute error below 1e-5, in operations that vectorize; -88 for 0 to rounding.

    x is 2**n times a number from 1 to 2, whose logarithm is 2 artanh((m - 1) / (m + 1)), by its series.
    """
    bits = np.float32(x).view(np.int32)
    n = np.float32((bits >> np.int32(23)) - np.int32(127))
    m = np.int32((bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000)).view(np.float32)
    s = (m - np.float32(1)) / (m + np.float32(1))
    t = s * s
    p = np.float32(1 / 11)
    p = p * t + np.float32(1 / 9)
    p = p * t + np.float32(1 / 7)
    p = p * t + np.float32(1 / 5)
    p = p * t + np.float32(1 / 3)
    p = p * t + np.float32(1)
    value: np.float32 = n * np.float32(0.6931471805599453) + np.float32(2) * s * p
    return value


@njit(nogil=True, cache=True)
def least_risk(
    planes: NDArray[np.float32],
    best: NDArray[np.float32],
    total: NDArray[np.float32],
    sharpness: np.float32,
    costs: NDArray[np.float32],
    values: NDArray[np.uint8],
    scratch: NDArray[np.float32],
    found: NDArray[np.uint8],
    percent: NDArray[np.float32],
) -> None:
    """The decision of least expected cost of a piece of a row, and how probable its class is, of 100.

    ``scratch`` has a row for each class and two more.
    """
    n_decisions, n_classes = costs.shape
    n = len(found)
    risk, lowest = scratch[n_classes], scratch[n_classes + 1]
    for k in range(n_classes):
        plane, share = planes[k], scratch[k]
        for i in range(n):
            share[i] = exp((plane[i] - best[i]) * sharpness) / total[i]
    lowest[:] = np.float32(np.inf)
    for d in range(n_decisions):
        risk[:] = np.float32(0)
        for k in range(n_classes):
            cost, share = costs[d, k], scratch[k]
            for i in range(n):
                risk[i] += cost * share[i]
        sure, value = scratch[min(d, n_classes - 1)], values[d]
        for i in range(n):
            better = risk[i] < lowest[i]
            found[i] = value if better else found[i]
            # undecided: of the most likely class
            of_class = sure[i] if d < n_classes else np.float32(1) / total[i]
            percent[i] = np.float32(100) * of_class if better else percent[i]
            lowest[i] = min(risk[i], lowest[i])


@njit(nogil=True, cache=True)
def leave_undecided(
    total: NDArray[np.float32], least: np.float32, undecided: np.uint8, found: NDArray[np.uint8]
) -> None:
    """Give pixels whose most likely class is less probable than ``least`` the value of no decision, in place."""
    for i in range(len(found)):
        found[i] = undecided if np.float32(1) / total[i] < least else found[i]


def least_risk_device(
    shares: torch.Tensor, highest: torch.Tensor, costs: tuple[tuple[float, ...], ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Index of the decision of least expected cost, and how probable its class is, by torch what `least_risk` does."""
    lowest = torch.full_like(highest, torch.inf)
    index, sure = torch.zeros_like(highest, dtype=torch.int64), highest
    for d, row in enumerate(costs):
        risk = torch.zeros_like(highest)
        for cost, share in zip(row, shares, strict=True):
            risk += cost * share
        better = risk < lowest
        index = torch.where(better, d, index)
        sure = torch.where(better, shares[d] if d < len(shares) else highest, sure)
        lowest = torch.minimum(risk, lowest)
    return index, sure
