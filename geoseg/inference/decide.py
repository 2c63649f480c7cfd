"""Blended logits -> class, confidence and, when asked, the probability of every class, as bytes.

The class is the one with the highest logit, the lowest class index when equal, unless a `Decision` weighs the costs of
mistakes or leaves doubtful pixels undecided. Confidence is the softmax probability of the class in percent, rounded to
the nearest whole number; where a pixel is left undecided, that of its most likely class. On the CPU a compiled kernel
does all in one pass beside the network; on an accelerator torch does, so that only bytes come back.

Probabilities are in steps of 1/254, rounded down or up such that those of a pixel add up to 254 exactly: what is lost
by rounding down goes, one step each, to the classes that lost most, the lowest class index when equal (the method of
largest remainders). So the most likely class never has less than another, and sums over classes stay whole.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.errors import ModelError
from geoseg.inference.decision import Decision
from geoseg.inference.risk import exp, least_risk, least_risk_device, leave_undecided
from geoseg.kernels import njit
from geoseg.legend import NODATA, PROBABILITY_STEPS

__all__ = ["decide", "refuse_no_numbers"]


_LIKELIEST = Decision()
_CHUNK = 512  # columns at a time: their logits, class by class, stay in the first-level cache


@njit(nogil=True, cache=True)
def _round_shares(shares: NDArray[np.float32], n: int, whole: NDArray[np.float32], rank: NDArray[np.float32]) -> None:
    """Whole numbers for shares (class, col) of 254, by the largest remainder, in place; the first n columns.

    ``whole`` and ``rank`` are scratch of the same shape. A class gets one more when fewer classes come before it, by
    their remainder, than there is left to give: loops over columns without a branch, which vectorize.
    """
    n_classes = len(shares)
    left = np.full(n, np.float32(PROBABILITY_STEPS))
    for k in range(n_classes):
        share, floor, before = shares[k], whole[k], rank[k]
        for i in range(n):
            floor[i] = np.floor(share[i])
            left[i] -= floor[i]
            share[i] -= floor[i]
            before[i] = np.float32(0)
    for k in range(1, n_classes):
        share, before = shares[k], rank[k]
        for j in range(k):
            other, other_before = shares[j], rank[j]
            for i in range(n):
                first = np.float32(1) if other[i] >= share[i] else np.float32(0)
                before[i] += first
                other_before[i] += np.float32(1) - first
    for k in range(n_classes):
        share, floor, before = shares[k], whole[k], rank[k]
        for i in range(n):
            share[i] = floor[i] + (np.float32(1) if before[i] < left[i] else np.float32(0))


@njit(nogil=True, cache=True)
def _share_out(
    planes: NDArray[np.float32],
    best: NDArray[np.float32],
    total: NDArray[np.float32],
    sharpness: np.float32,
    valid: NDArray[np.bool_],
    scratch: NDArray[np.float32],
    probabilities: NDArray[np.uint8],
) -> None:
    """Probabilities (class, col) of a piece of a row; its logits, in ``planes``, and ``total`` are used up."""
    n_classes, n = probabilities.shape
    for i in range(n):
        total[i] = np.float32(PROBABILITY_STEPS) / total[i] if total[i] >= np.float32(0) else np.float32(-1)
    for k in range(n_classes):
        for i in range(n):
            planes[k, i] = exp((planes[k, i] - best[i]) * sharpness) * total[i]
    _round_shares(planes, n, scratch[0], scratch[1])
    for k in range(n_classes):
        for i in range(n):
            good = valid[i] and total[i] >= np.float32(0)
            probabilities[k, i] = np.uint8(planes[k, i]) if good else np.uint8(NODATA)


@njit(nogil=True, cache=True)
def _by_class(line: NDArray[np.float32], planes: NDArray[np.float32]) -> None:
    """Logits (col, class) of a piece of a row into (class, col)."""
    n, n_classes = line.shape
    for k in range(0, n_classes - 1, 2):  # two at a time: half as many passes over the logits
        one, other = planes[k], planes[k + 1]
        for i in range(n):
            one[i] = line[i, k]
            other[i] = line[i, k + 1]
    if n_classes % 2:
        one = planes[n_classes - 1]
        for i in range(n):
            one[i] = line[i, n_classes - 1]


@njit(nogil=True, cache=True)
def _most_likely(
    planes: NDArray[np.float32], values: NDArray[np.uint8], n: int, best: NDArray[np.float32], found: NDArray[np.uint8]
) -> None:
    """The highest logit of each pixel of a piece of a row, and the value of its class."""
    best[:] = planes[0]
    found[:] = values[0]
    for k in range(1, len(planes)):
        value, plane = values[k], planes[k]
        for i in range(n):
            x, top = plane[i], best[i]
            found[i] = value if x > top else found[i]
            best[i] = max(top, x)


@njit(nogil=True, cache=True)
def _decide_cpu(
    logits: NDArray[np.float32],
    values: NDArray[np.uint8],
    sharpness: np.float32,
    valid: NDArray[np.bool_],
    nodata: np.uint8,
    costs: NDArray[np.float32],
    least: np.float32,
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    probabilities: NDArray[np.uint8],
) -> bool:
    """Fill classes and confidence from logits (row, col, class); False if a valid pixel has a logit NaN or +inf.

    And the probabilities (class, row, col), unless they have no class. ``costs`` without a row are none; where the most
    likely class is less probable than ``least``, the class is the value after those of the classes.
    """
    rows, cols, n_classes = logits.shape
    planes = np.empty((n_classes, _CHUNK), np.float32)
    scratch = np.empty((2, n_classes if len(probabilities) else 0, _CHUNK), np.float32)
    weighed = np.empty((n_classes + 2 if len(costs) else 0, _CHUNK), np.float32)
    percent = np.empty(_CHUNK, np.float32)
    best = np.empty(_CHUNK, np.float32)
    total = np.empty(_CHUNK, np.float32)
    found = np.empty(_CHUNK, np.uint8)
    n_bad = np.int64(0)
    for row in range(rows):
        for first in range(0, cols, _CHUNK):
            n = min(_CHUNK, cols - first)
            _by_class(logits[row, first : first + n], planes)
            _most_likely(planes, values, n, best, found)
            total[:] = np.float32(0)
            for k in range(n_classes):
                plane = planes[k]
                for i in range(n):
                    total[i] += exp((plane[i] - best[i]) * sharpness)
            for i in range(n):
                percent[i] = np.float32(100) / total[i]
            if len(costs):
                least_risk(planes, best, total, sharpness, costs, values, weighed, found[:n], percent[:n])
            elif least > np.float32(0):
                leave_undecided(total, least, np.uint8(values[n_classes]), found[:n])
            seen, to_class, to_percent = valid[row, first:], classes[row, first:], confidence[row, first:]
            for i in range(n):
                # a NaN logit stays in the total, and so does +inf, as inf - inf; -inf rules a class out, which is fine
                n_bad += np.int64(seen[i]) & np.int64(not total[i] >= np.float32(0))
            for i in range(n):
                # no `and`: a branch would keep the loop from being vectorized
                good = seen[i] & (total[i] >= np.float32(0))
                rounded = percent[i] + np.float32(0.5)
                to_class[i] = found[i] if good else nodata
                to_percent[i] = np.uint8(np.int32(rounded if good else np.float32(0))) if good else nodata
            if len(probabilities):
                end = first + n
                _share_out(
                    planes, best, total, sharpness, valid[row, first:end], scratch, probabilities[:, row, first:end]
                )
    return bool(n_bad == 0)


def _decide_device(
    logits: torch.Tensor,
    values: torch.Tensor,
    sharpness: float,
    valid: torch.Tensor,
    nodata: int,
    decision: Decision = _LIKELIEST,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    best, index = logits.max(dim=0)
    powers = torch.exp((logits - best) * sharpness)
    total = powers.sum(dim=0)
    good = ((total >= 0) | ~valid).all()
    sure = 1 / total
    if decision.costs is not None:
        index, sure = least_risk_device(powers / total, sure, decision.costs)
    elif decision.min_confidence is not None:
        index = torch.where(sure < decision.min_confidence, len(logits), index)
    classes = torch.where(valid, values[index], nodata)
    percent = (100 * sure + 0.5).clamp_(0, 100).to(torch.uint8)
    return classes, torch.where(valid, percent, nodata), good


def _probabilities_device(logits: torch.Tensor, sharpness: float, valid: torch.Tensor) -> torch.Tensor:
    """(class, row, col) probabilities, by torch what `_decide_cpu` and `_round_shares` do."""
    shares = PROBABILITY_STEPS * torch.softmax((logits - logits.amax(dim=0)) * sharpness, dim=0)
    whole = shares.floor()
    order = torch.argsort(shares - whole, dim=0, descending=True, stable=True)
    more = torch.arange(len(logits), device=logits.device)[:, None, None] < PROBABILITY_STEPS - whole.sum(dim=0)
    shares = whole + torch.zeros_like(whole).scatter_(0, order, more.to(whole.dtype))
    return torch.where(valid, shares, NODATA).to(torch.uint8)


def refuse_no_numbers(good: bool) -> None:
    """Refuse logits that are not numbers on valid pixels.

    Raises:
        ModelError: If they are not good.
    """
    if not good:
        raise ModelError(
            "the model gives values that are not numbers (NaN or +inf, or -inf where windows overlap) on valid pixels: "
            "check its weights and the normalisation in its card; to rule a class out, give it -10000, not -inf"
        )


def decide(
    logits: torch.Tensor,
    valid: NDArray[np.bool_],
    *,
    values: Sequence[int],
    nodata: int,
    temperature: float = 1.0,
    probabilities: bool = False,
    decision: Decision = _LIKELIEST,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Class values and confidence in percent, each (row, col) uint8, and the probabilities or None.

    Args:
        logits: Blended logits (class, row, col), float32, on any device.
        valid: Where there are observations (row, col); elsewhere both results are ``nodata``.
        values: Class value of each logit, and, where the decision leaves pixels undecided, last the value of those.
        nodata: Value where there is no observation.
        temperature: Logits are divided by it before the softmax; above 1 means less confident.
        probabilities: Whether to give those of all classes, too: (class, row, col) uint8 in steps of 1/254 that add up
            to 254, less than a step from the softmax; 255 where there is no observation, whatever ``nodata``. Where
            pixels can be undecided, there is one more, for that: it has no probability, 0.
        decision: How the class is chosen; the most likely one by default.

    Raises:
        ModelError: If the model gave logits that are not numbers on valid pixels.
    """
    n_classes, rows, cols = logits.shape
    shares = None
    if len(values) - decision.rejects != n_classes:
        n_named = len(values) - decision.rejects
        raise ModelError(f"the model gives {n_classes} outputs for {n_named} classes: mend the classes in its card")
    if logits.device.type == "cpu":
        classes = np.empty((rows, cols), np.uint8)
        confidence = np.empty((rows, cols), np.uint8)
        filled = np.empty((len(values) if probabilities else 0, rows, cols), np.uint8)
        shares = filled if probabilities else None
        good = _decide_cpu(
            logits.permute(1, 2, 0).contiguous().numpy(),  # no copy: so it lies in memory
            np.asarray(values, np.uint8),
            np.float32(1 / temperature),
            valid,
            np.uint8(nodata),
            np.asarray(decision.costs or np.empty((0, n_classes)), np.float32),
            np.float32(decision.min_confidence or 0),
            classes,
            confidence,
            filled[:n_classes],
        )
    else:
        device = logits.device
        table = torch.tensor(values, dtype=torch.uint8, device=device)
        seen = torch.from_numpy(valid).to(device)
        on_device = _decide_device(logits, table, 1 / temperature, seen, nodata, decision)
        classes, confidence = (t.cpu().numpy() for t in on_device[:2])
        good = bool(on_device[2])
        if probabilities and good:
            shares = np.empty((len(values), rows, cols), np.uint8)
            shares[:n_classes] = _probabilities_device(logits, 1 / temperature, seen).cpu().numpy()
    if shares is not None and decision.rejects:
        shares[n_classes] = np.where(valid, np.uint8(0), np.uint8(NODATA))
    refuse_no_numbers(good)
    return classes, confidence, shares
