"""Gain, loss, net and swap of classes, and what the change of a map is made of.

Pontius, Shusas and McEachern (2004), Agriculture, Ecosystems and Environment 101:251-268; Pontius and Santacruz (2014),
International Journal of Remote Sensing 35:7543-7554.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError

__all__ = ["ChangeComponents", "change_components", "checked_matrix"]

Amounts = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChangeComponents:
    """Of each class, and of the whole map; in the unit of the matrix."""

    before: Amounts
    """(K,) size of each class on the first date."""
    after: Amounts
    """(K,) on the second."""
    persistence: Amounts
    """(K,) what kept its class."""
    gain: Amounts
    """(K,) what became this class."""
    loss: Amounts
    """(K,) what was this class and is no more."""
    exchange: Amounts
    """(K,) what pairs of classes gave each other in equal amounts."""

    @property
    def total(self) -> Amounts:
        """(K,) gain and loss."""
        return self.gain + self.loss

    @property
    def net(self) -> Amounts:
        """(K,) gain less loss."""
        return self.gain - self.loss

    @property
    def quantity(self) -> Amounts:
        """(K,) the net change without its sign."""
        return np.abs(self.net)

    @property
    def swap(self) -> Amounts:
        """(K,) what was lost in one place and gained in another: total less quantity."""
        return 2 * np.minimum(self.gain, self.loss)

    @property
    def shift(self) -> Amounts:
        """(K,) the part of the swap that is no exchange between two classes."""
        return self.swap - self.exchange

    @property
    def map_change(self) -> Any:
        """What changed on the map: quantity and allocation together, and so the disagreement of the two dates."""
        return self.loss.sum()

    @property
    def map_quantity(self) -> Any:
        """Of that, what the sizes of the classes account for: quantity disagreement."""
        return self.quantity.sum() / 2

    @property
    def map_allocation(self) -> Any:
        """Of that, the rest, change of place only: allocation disagreement, exchange and shift together."""
        return self.map_change - self.map_quantity

    @property
    def map_exchange(self) -> Any:
        """Of the allocation, what pairs of classes gave each other in equal amounts."""
        return self.exchange.sum() / 2

    @property
    def map_shift(self) -> Any:
        """Of the allocation, the rest."""
        return self.map_allocation - self.map_exchange


def change_components(matrix: Amounts) -> ChangeComponents:
    """The components of change of a transition matrix.

    Args:
        matrix: (K, K) pixels or area by class before (rows) and after (columns), without "no observation".

    Raises:
        ParameterError: If the matrix is not square, or has a negative amount or one that is no number.

    Example:
        >>> parts = change_components(np.array([[5, 3], [1, 1]]))
        >>> parts.gain.tolist(), parts.loss.tolist(), parts.swap.tolist(), int(parts.map_quantity)
        ([1, 3], [3, 1], [2, 2], 2)
    """
    matrix = checked_matrix(matrix)
    kept = np.diag(matrix)
    before, after = matrix.sum(axis=1), matrix.sum(axis=0)
    moved = matrix.copy()
    np.fill_diagonal(moved, 0)
    return ChangeComponents(
        before=before,
        after=after,
        persistence=kept.copy(),
        gain=after - kept,
        loss=before - kept,
        # areas in units go up to 2**62: twice what moved still fits
        exchange=2 * np.minimum(moved, moved.T).sum(axis=1),
    )


def checked_matrix(matrix: Amounts) -> Amounts:
    """The matrix, if it is one of transitions.

    Raises:
        ParameterError: If it is not.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ParameterError(f"a transition matrix of shape {matrix.shape}: give a square one, a row for each class")
    if matrix.dtype.kind not in "iuf" or not np.isfinite(matrix).all() or (matrix < 0).any():
        raise ParameterError("a transition matrix holds amounts from 0: give numbers that are finite and not negative")
    return matrix.astype(np.int64) if matrix.dtype.kind == "u" else matrix
