"""Imagery as a side of a comparison in memory: segmented, and kept at hand to tell how the dates lie on each other."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from geoseg.errors import ParameterError
from geoseg.inference.recipe import Choices
from geoseg.inference.segment import segment
from geoseg.legend import Legend
from geoseg.models.load import Model
from geoseg.scene.open import open_scene
from geoseg.scene.scene import Scene

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ReadyDate", "ready", "years_between"]


_YEAR_S: Final = 365.25 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadyDate:
    """One date as a class map."""

    classes: "xr.DataArray"
    """(rows, cols) class values."""
    legend: Legend | None
    """Its classes, where they are known."""
    confidence: "xr.DataArray | None" = None
    """(rows, cols) percent, where it was segmented."""
    probabilities: "xr.DataArray | None" = None
    """(class, rows, cols), where they were asked for and it was segmented."""
    scene: Scene | None = None
    """What it was made from, where it was segmented."""


def ready(
    name: str, side: Any, legend: Legend | None, model: Model | None, choices: Choices | None, *, probabilities: bool
) -> ReadyDate:
    """One date as a class map; imagery is segmented.

    Args:
        name: What the date is called in messages.
        side: A class map, a scene, or the path of one.
        legend: Classes of a class map.
        model: What segments imagery.
        choices: How it is run.
        probabilities: Whether those of all classes are wanted, too.

    Raises:
        ParameterError: If it is imagery and there is no model.
        GeosegError: If it cannot be segmented.
    """
    if not isinstance(side, Scene | str | os.PathLike):
        return ReadyDate(classes=side, legend=legend)
    if model is None:
        raise ParameterError(f"{name} is imagery, and no model is given to segment it with: pass model, or a class map")
    scene = side if isinstance(side, Scene) else open_scene(side)
    made = segment(scene, model, choices=choices, probabilities=probabilities).compute()
    return ReadyDate(
        classes=made["classes"],
        legend=model.legend,
        confidence=made["confidence"],
        probabilities=made["probabilities"] if probabilities else None,
        scene=scene,
    )


def years_between(before: Scene | None, after: Scene | None) -> float | None:
    """Between two scenes; None where one does not say when it was taken, or both say the same."""
    one, two = (None if scene is None else scene.acquired for scene in (before, after))
    if one is None or two is None or one == two:
        return None
    return abs((two - one).total_seconds()) / _YEAR_S
