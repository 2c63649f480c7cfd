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


_CHUNK = 512  # columns at a time: their logits, class by class, stay in the first-level cache


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
    """Fill classes and confidence from logits (row, col, class); False if a valid pixel has a logit NaN or +inf."""
    rows, cols, n_classes = logits.shape
    planes = np.empty((n_classes, _CHUNK), np.float32)
    best = np.empty(_CHUNK, np.float32)
    total = np.empty(_CHUNK, np.float32)
    found = np.empty(_CHUNK, np.uint8)
    n_bad = 0
    for row in range(rows):
        for first in range(0, cols, _CHUNK):
            n = min(_CHUNK, cols - first)
            for k in range(n_classes):
                for i in range(n):
                    planes[k, i] = logits[row, first + i, k]
            best[:] = planes[0]
            found[:] = values[0]
            for k in range(1, n_classes):
                value = values[k]
                for i in range(n):
                    x, top = planes[k, i], best[i]
                    found[i] = value if x > top else found[i]
                    best[i] = max(top, x)
            total[:] = np.float32(0)
            for k in range(n_classes):
                for i in range(n):
                    total[i] += _exp((planes[k, i] - best[i]) * sharpness)
            for i in range(n):
                # a NaN logit stays in the total, and so does +inf, as inf - inf; -inf rules a class out, which is fine
                number = total[i] >= np.float32(0)
                seen = valid[row, first + i]
                n_bad += seen and not number
                percent = np.float32(100) / total[i] + np.float32(0.5)
                good = seen and number
                classes[row, first + i] = found[i] if good else nodata
                confidence[row, first + i] = np.uint8(percent if good else np.float32(0)) if good else nodata
    return n_bad == 0


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
            logits.permute(1, 2, 0).contiguous().numpy(),  # no copy: so it lies in memory
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
            "the model gives values that are not numbers (NaN or +inf) on valid pixels: "
            "check its weights and the normalisation in its card"
        )
    return classes, confidence
