"""What a confusion matrix says of the whole map and of each class. Counts are divided once, at the end."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError

__all__ = ["MEASURES", "ClassScores", "Margins", "Scores", "class_scores", "scores"]

MEASURES = ("accuracy", "miou", "mf1", "mprecision", "mrecall", "fwiou", "kappa")
"""Of a whole map, in the order in which they are shown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Margins:
    """All that the scores need of a confusion matrix, or of many: leading axes are those of several matrices."""

    agreed: NDArray[np.float64]
    """(..., K) of each class in both: the diagonal."""
    reference: NDArray[np.float64]
    """(..., K) of each class in the reference: sums over rows."""
    predicted: NDArray[np.float64]
    """(..., K) of each class in the prediction: sums over columns."""

    @classmethod
    def of(cls, matrix: NDArray[np.int64] | NDArray[np.float64]) -> Self:
        """Of a matrix (..., K, K): rows are the reference, columns the prediction.

        Raises:
            ParameterError: If it is not square.
        """
        if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
            raise ParameterError(
                f"a confusion matrix of shape {matrix.shape}: give rows and columns for the same classes"
            )
        counts = np.asarray(matrix, dtype=np.float64)
        return cls(
            agreed=np.diagonal(counts, axis1=-2, axis2=-1).copy(),
            reference=counts.sum(axis=-1),
            predicted=counts.sum(axis=-2),
        )

    @property
    def total(self) -> NDArray[np.float64]:
        """(...) of all classes."""
        total: NDArray[np.float64] = self.reference.sum(axis=-1)
        return total


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassScores:
    """Of each class, NaN where there is nothing to divide by."""

    iou: NDArray[np.float64]
    """Intersection over union; NaN for a class that neither side has."""
    f1: NDArray[np.float64]
    """Dice, which is the same: twice the intersection over the sum of both."""
    precision: NDArray[np.float64]
    """Share of what is mapped as the class that is it; NaN where nothing is mapped as it."""
    recall: NDArray[np.float64]
    """Share of what is the class that is mapped as it; NaN where the reference has none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Of a whole map, or of many; NaN where nothing was compared.

    Means are over the classes that the reference or the prediction has. A class that only one of them has counts 0 in
    all of them.
    """

    accuracy: NDArray[np.float64]
    """Share of pixels with the right class."""
    miou: NDArray[np.float64]
    """Mean intersection over union."""
    mf1: NDArray[np.float64]
    """Mean F1, which is Dice."""
    mprecision: NDArray[np.float64]
    """Mean precision."""
    mrecall: NDArray[np.float64]
    """Mean recall."""
    fwiou: NDArray[np.float64]
    """Intersection over union, weighted by the classes' shares of the reference."""
    kappa: NDArray[np.float64]
    """Cohen's kappa; NaN where one class is all there is. For those who ask: see `geoseg.area.agreement.kappa`."""


def class_scores(margins: Margins) -> ClassScores:
    """Scores of each class.

    Example:
        >>> found = class_scores(Margins.of(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])))
        >>> found.iou.round(2).tolist(), found.precision.round(2).tolist()
        ([0.75, 0.8, nan], [1.0, 0.8, nan])
    """
    hit, either = margins.agreed, margins.reference + margins.predicted
    return ClassScores(
        iou=_ratio(hit, either - hit),
        f1=_ratio(2 * hit, either),
        precision=_ratio(hit, margins.predicted),
        recall=_ratio(hit, margins.reference),
    )


def scores(margins: Margins) -> Scores:
    """Scores of the whole map.

    Example:
        >>> found = scores(Margins.of(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])))
        >>> float(found.accuracy), round(float(found.miou), 3)
        (0.875, 0.775)
    """
    each = class_scores(margins)
    there = margins.reference + margins.predicted > 0
    total = margins.total
    share = _ratio(margins.reference, total[..., None])
    by_chance = _ratio((margins.reference * margins.predicted).sum(axis=-1), total * total)
    accuracy = _ratio(margins.agreed.sum(axis=-1), total)
    return Scores(
        accuracy=accuracy,
        miou=_mean(each.iou, there),
        mf1=_mean(each.f1, there),
        mprecision=_mean(each.precision, there),
        mrecall=_mean(each.recall, there),
        fwiou=np.where(total > 0, np.nansum(share * np.nan_to_num(each.iou), axis=-1), np.nan),
        kappa=_ratio(accuracy - by_chance, 1 - by_chance),
    )


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _mean(values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over the classes that are there; a score that has nothing to divide by is 0."""
    return _ratio(np.where(there, np.nan_to_num(values), 0.0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))
