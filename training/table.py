"""Several ways to make a map, held against the same labels: their scores, and what one gains on the others.

All of them are scored by what `geoseg evaluate` runs. Intervals are from scenes, or from parts of a single one, drawn
again; the difference of two ways is that of the same draws, so that a scene that is hard for both does not blur it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.evaluate.bootstrap import intervals
from geoseg.evaluate.evaluation import Evaluation
from geoseg.evaluate.scores import Margins, class_scores, scores
from geoseg.jobs.evaluate import EvaluateOptions, evaluate_files

__all__ = ["Gain", "gains", "margins_of", "of_classes", "scored", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How much higher the mean IoU of one way is than that of another, with a 95 % interval."""

    value: float
    """Of all scenes together."""
    low: float
    """Lower end."""
    high: float
    """Upper end; below 0 where the other is better in nearly all draws."""

    @classmethod
    def of(cls, ours: Margins, theirs: Margins) -> Self:
        """From the margins (scenes, K) of the same scenes."""
        k = ours.agreed.shape[-1]
        both = Margins(
            agreed=np.concatenate([ours.agreed, theirs.agreed], axis=-1),
            reference=np.concatenate([ours.reference, theirs.reference], axis=-1),
            predicted=np.concatenate([ours.predicted, theirs.predicted], axis=-1),
        )

        def difference(drawn: Margins) -> NDArray[np.float64]:
            first, second = (
                Margins(
                    agreed=drawn.agreed[..., s], reference=drawn.reference[..., s], predicted=drawn.predicted[..., s]
                )
                for s in (slice(0, k), slice(k, 2 * k))
            )
            return np.asarray(scores(first).miou - scores(second).miou)

        between = intervals(both, difference)
        return cls(value=float(difference(_whole(both))), low=float(between.low), high=float(between.high))

    def __str__(self) -> str:
        """As ``0.123 (0.100 to 0.150)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def scored(maps: Path, labels: Path) -> Evaluation:
    """Class maps in a folder against labels in another, by name.

    Raises:
        InputError: If one of them cannot be scored: a table of fewer scenes would look like one of all.
    """
    result = evaluate_files(str(maps), str(labels), EvaluateOptions())
    if result.failed:
        name, why = result.failed[0]
        raise InputError(f"{name} was not scored: {why}")
    return result.evaluation


def margins_of(evaluation: Evaluation, classes: Sequence[str]) -> Margins:
    """(units, K) margins of these classes: units are the scenes or, of a single one, its square parts."""
    k, place = len(classes), [classes.index(c.name) for c in evaluation.legend]
    if len(evaluation.scenes) == 1:
        parts = evaluation.scenes[0].counts.parts
        wide = [np.zeros((len(each), k)) for each in (parts.agreed, parts.reference, parts.predicted)]
        for to, each in zip(wide, (parts.agreed, parts.reference, parts.predicted), strict=True):
            to[:, place] = each
        return Margins(agreed=wide[0], reference=wide[1], predicted=wide[2])
    matrices = np.zeros((len(evaluation.scenes), k, k))
    for i, (scene, inside) in enumerate(zip(evaluation.scenes, evaluation.places, strict=True)):
        there = np.array(place)[inside]
        matrices[i][np.ix_(there, there)] = scene.counts.compared
    return Margins.of(matrices)


def of_classes(units: Margins, kept: Sequence[int]) -> Margins:
    """The margins (units, class) of some classes: of the pixels that are labelled as one of them, and mapped as one."""
    return Margins(agreed=units.agreed[:, kept], reference=units.reference[:, kept], predicted=units.predicted[:, kept])


def table(ways: Mapping[str, Margins], classes: tuple[str, ...]) -> str:
    """A line for each way: accuracy and mean IoU with 95 % intervals, and the IoU of each class."""
    head = ["", "accuracy", "mean IoU", *classes]
    rows = [head]
    for name, units in ways.items():
        iou = class_scores(_whole(units)).iou
        rows.append([name, _shown(units, "accuracy"), _shown(units, "miou"), *(f"{v:.3f}" for v in iou)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = []
    for row in rows:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)


def gains(ways: Mapping[str, Margins], ours: str) -> dict[str, Gain]:
    """What one way gains on each of the others."""
    return {name: Gain.of(ways[ours], units) for name, units in ways.items() if name != ours}


def _whole(units: Margins) -> Margins:
    return Margins(
        agreed=units.agreed.sum(axis=0), reference=units.reference.sum(axis=0), predicted=units.predicted.sum(axis=0)
    )


def _shown(units: Margins, measure: str) -> str:
    between = intervals(units, lambda drawn: np.asarray(getattr(scores(drawn), measure)))
    value = float(np.asarray(getattr(scores(_whole(units)), measure)))
    return f"{value:.3f} ({float(between.low):.3f} to {float(between.high):.3f})"
