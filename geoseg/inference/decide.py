"""Blended logits -> class and confidence, as bytes.

The class is the one with the highest logit, the lowest class index when equal. Confidence is its softmax probability in
percent, rounded to the nearest whole number. On the CPU a compiled kernel does both in one pass beside the network; on
an accelerator torch does, so that only bytes come back.
"""

from collections.abc import Sequence

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.errors import ModelError

__all__ = ["decide"]


@nb.njit(nogil=True, cache=True, inline="always")
def _exp(x: np.float32) -> np.float32:
    """exp(x) for x <= 0 with a relative error below 3e-6, in operations that vectorize; 0 below -87 to rounding."""
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


@nb.njit(nogil=True, cache=True)
def _decide_cpu(
    logits: NDArray[np.float32],
    values: NDArray[np.uint8],
    sharpness: np.float32,
    valid: NDArray[np.bool_],
    nodata: np.uint8,
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
) -> bool:
    """Fill classes and confidence; False if a valid pixel has a logit that is not a number."""
    n_classes, rows, cols = logits.shape
    best = np.empty(cols, np.float32)
    total = np.empty(cols, np.float32)
    good = True
    for row in range(rows):
        for col in range(cols):
            best[col] = logits[0, row, col]
            classes[row, col] = values[0]
            total[col] = np.float32(0)
        for k in range(1, n_classes):
            value = values[k]
            for col in range(cols):
                x = logits[k, row, col]
                top = best[col]
                classes[row, col] = value if x > top else classes[row, col]
                best[col] = max(top, x)
        for k in range(n_classes):
            for col in range(cols):
                total[col] += _exp((logits[k, row, col] - best[col]) * sharpness)
        for col in range(cols):
            # a NaN logit survives the subtraction into the total; +inf gives inf - inf = NaN as well
            number = total[col] >= np.float32(0)
            good &= number | (not valid[row, col])
            seen = valid[row, col] & number
            percent = np.float32(100) / total[col] + np.float32(0.5)
            classes[row, col] = classes[row, col] if seen else nodata
            confidence[row, col] = np.uint8(percent) if seen else nodata
    return good


def _decide_device(
    logits: torch.Tensor, values: torch.Tensor, sharpness: float, valid: torch.Tensor, nodata: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    best, index = logits.max(dim=0)
    total = torch.exp((logits - best) * sharpness).sum(dim=0)
    good = ((total >= 0) | ~valid).all()
    classes = torch.where(valid, values[index], nodata)
    percent = (100 / total + 0.5).clamp_(0, 100).to(torch.uint8)
    return classes, torch.where(valid, percent, nodata), good


def decide(
    logits: torch.Tensor,
    valid: NDArray[np.bool_],
    *,
    values: Sequence[int],
    nodata: int,
    temperature: float = 1.0,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Class values and confidence in percent, each (row, col) uint8.

    Args:
        logits: Blended logits (class, row, col), float32, on any device.
        valid: Where there are observations (row, col); elsewhere both results are ``nodata``.
        values: Class value of each logit.
        nodata: Value where there is no observation.
        temperature: Logits are divided by it before the softmax; above 1 means less confident.

    Raises:
        ModelError: If the model gave logits that are not numbers on valid pixels.
    """
    n_classes, rows, cols = logits.shape
    if len(values) != n_classes:
        raise ModelError(f"the model gives {n_classes} outputs for {len(values)} classes: mend the classes in its card")
    if logits.device.type == "cpu":
        classes = np.empty((rows, cols), np.uint8)
        confidence = np.empty((rows, cols), np.uint8)
        good = _decide_cpu(
            logits.numpy(),
            np.asarray(values, np.uint8),
            np.float32(1 / temperature),
            valid,
            np.uint8(nodata),
            classes,
            confidence,
        )
    else:
        device = logits.device
        table = torch.tensor(values, dtype=torch.uint8, device=device)
        on_device = _decide_device(logits, table, 1 / temperature, torch.from_numpy(valid).to(device), nodata)
        classes, confidence = (t.cpu().numpy() for t in on_device[:2])
        good = bool(on_device[2])
    if not good:
        raise ModelError(
            "the model gives values that are not numbers (NaN or infinite) on valid pixels: "
            "check its weights and the normalisation in its card"
        )
    return classes, confidence
