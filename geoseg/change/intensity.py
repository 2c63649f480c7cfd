"""Intensity analysis: whether a time, a class, a transition changed more than if all had changed alike.

Aldwaik and Pontius (2012), Landscape and Urban Planning 106:103-114. Gains are divided by sizes at the end of the
interval, losses and transitions to a class by sizes at its start, transitions from a class by sizes at its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.change.components import Amounts, checked_matrix
from geoseg.errors import ParameterError

__all__ = ["Intensity", "intensity_analysis"]

Shares = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intensity:
    """Yearly intensities of T intervals and K classes, as shares; NaN where there is nothing to divide by."""

    years: Shares
    """(T,) length of each interval."""
    interval: Shares
    """(T,) S: change of the map per year. Fast if above `uniform`."""
    uniform: float
    """U: the same over the whole time."""
    yearly_gain: Shares
    """(T, K) gain per year, in the unit of the matrix."""
    yearly_loss: Shares
    """(T, K) loss per year."""
    gain: Shares
    """(T, K) G: gain per year of the class at the end. Active if above `interval`."""
    loss: Shares
    """(T, K) L: loss per year of the class at the start. Active if above `interval`."""
    to_class: Shares
    """(T, K, K) R[t, i, n]: what became n per year, of class i at the start. Above W[t, n], n targets i."""
    to_uniform: Shares
    """(T, K) W[t, n]: gain of n per year, of all other classes at the start."""
    from_class: Shares
    """(T, K, K) Q[t, m, j]: what was m per year, of class j at the end. Above V[t, m], j targets m."""
    from_uniform: Shares
    """(T, K) V[t, m]: loss of m per year, of all other classes at the end."""


def intensity_analysis(matrices: Sequence[Amounts], years: Sequence[float]) -> Intensity:
    """Intensities of one interval or several.

    Args:
        matrices: A transition matrix for each interval, (K, K), rows before and columns after, of one area.
        years: Length of each interval.

    Raises:
        ParameterError: If a matrix is none, they differ in classes, or a length is not above 0.
    """
    stack = [checked_matrix(m).astype(np.float64) for m in matrices]
    if not stack or len(stack) != len(years) or len({m.shape for m in stack}) > 1:
        raise ParameterError(
            f"{len(stack)} matrices of shapes {sorted({m.shape for m in stack})} for {len(years)} intervals: "
            "give one of the same classes for each"
        )
    length = np.array(years, dtype=np.float64)
    if not (np.isfinite(length) & (length > 0)).all():
        raise ParameterError(f"intervals of {list(years)} years: give lengths above 0")
    counts = np.stack(stack)  # (T, K, K)
    k = counts.shape[1]
    kept = np.diagonal(counts, axis1=1, axis2=2)
    start, end = counts.sum(axis=2), counts.sum(axis=1)
    area = counts.sum(axis=(1, 2))
    gain, loss = (end - kept) / length[:, None], (start - kept) / length[:, None]
    changed = area - kept.sum(axis=1)
    yearly = counts / length[:, None, None]
    off = ~np.eye(k, dtype=np.bool_)
    return Intensity(
        years=length,
        interval=_share(changed / length, area),
        uniform=float(_share(changed.sum(), area.mean() * length.sum())),
        yearly_gain=gain,
        yearly_loss=loss,
        gain=_share(gain, end),
        loss=_share(loss, start),
        to_class=np.where(off, _share(yearly, start[:, :, None]), np.nan),
        to_uniform=_share(gain, area[:, None] - start),
        from_class=np.where(off, _share(yearly, end[:, None, :]), np.nan),
        from_uniform=_share(loss, area[:, None] - end),
    )


def _share(part: Shares, whole: Shares) -> Shares:
    """Quotients, NaN where there is nothing to divide by."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    shares: Shares = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return shares
