"""How two classifications disagree, from a matrix of shares: quantity and allocation, and kappa for those who ask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError

__all__ = ["Disagreement", "disagreement", "kappa"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """The share of the area where map and reference differ, in its parts; they sum to one minus overall accuracy."""

    quantity: float
    """Because the classes have other totals."""
    exchange: float
    """Because pairs of classes are swapped, one place for another."""
    shift: float
    """Because of swaps among three or more classes."""

    @property
    def allocation(self) -> float:
        """Because classes of the right totals are in the wrong places: exchange and shift."""
        return self.exchange + self.shift


def disagreement(cells: NDArray[np.float64]) -> Disagreement:
    """Quantity disagreement, exchange and shift of a matrix.

    Args:
        cells: (k, k) shares, or counts of a simple random sample; rows by map class, columns by reference class.

    Raises:
        ParameterError: If the matrix is not square, or holds nothing.

    Example:
        >>> parts = disagreement(np.array([[4.0, 2.0], [1.0, 3.0]]))
        >>> round(parts.quantity, 9), round(parts.exchange, 9), round(parts.shift, 9)
        (0.1, 0.2, 0.0)

    Reference: Pontius and Millones (2011), Int. J. Remote Sens. 32(15):4407-4429; the parts of allocation: Pontius and
    Santacruz (2014), Int. J. Remote Sens. 35(21):7543-7554.
    """
    p = _shares(cells)
    quantity = float(np.abs(p.sum(axis=1) - p.sum(axis=0)).sum() / 2)
    swapped = np.minimum(p, p.T)
    exchange = float(swapped.sum() - np.trace(swapped))
    return Disagreement(quantity=quantity, exchange=exchange, shift=float(1 - np.trace(p)) - quantity - exchange)


def kappa(cells: NDArray[np.float64]) -> float:
    """Cohen's kappa of a matrix; NaN where one class is all there is.

    Olofsson et al. (2014, section 4.4) advise against it: it says nothing that overall, user's and producer's accuracy
    do not, and its correction for chance has no bearing on a map. It is here because it is still asked for.

    Args:
        cells: As for `disagreement`.

    Raises:
        ParameterError: If the matrix is not square, or holds nothing.
    """
    p = _shares(cells)
    by_chance = float(p.sum(axis=1) @ p.sum(axis=0))
    return float((np.trace(p) - by_chance) / (1 - by_chance)) if by_chance < 1 else float("nan")


def _shares(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    if cells.ndim != 2 or cells.shape[0] != cells.shape[1] or not cells.sum() > 0:
        raise ParameterError(f"a matrix of shape {cells.shape} without agreement to look at: give (k, k) shares")
    return np.asarray(cells / cells.sum())
