"""What is asked of a run, what happens in it, and what becomes of it: plain values."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from geoseg.area.aoi import Aoi
from geoseg.area.zones import Zones
from geoseg.errors import ParameterError
from geoseg.inference.recipe import Choices
from geoseg.jobs.plan import check_block_size
from geoseg.outputs.tables import read_areas
from geoseg.scene.mosaic_order import Priority
from geoseg.scene.target import Target
from geoseg.vector.min_area import MinArea
from geoseg.vector.vectorizer import Outlines

__all__ = ["Event", "Listener", "Options", "SceneOutcome", "Summary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user may choose of a run."""

    choices: Choices = field(default_factory=Choices)
    """How the model is run."""
    bands: tuple[str, ...] | None = None
    """Names for the bands of the files, in file order."""
    scale: float | None = None
    """Physical value per stored unit."""
    offset: float | None = None
    """Physical value of a stored 0."""
    mask_clouds: bool = False
    """Whether what a product's own mask calls cloud or shadow is no observation."""
    align: bool = False
    """For pairs of scenes: whether the second date is moved back by the shift that the images show."""
    block_size: int | None = None
    """Pixels along a side of a block; None lets the planner choose."""
    formats: tuple[str, ...] = ("gpkg",)
    """Of the polygons; none for no polygons."""
    probabilities: bool = False
    """Whether to leave the probability of every class, too."""
    outlines: Outlines = field(default_factory=Outlines)
    """How polygons are drawn."""
    min_area: MinArea | None = None
    """Smaller regions are merged into their neighbours, in the class map, the polygons and the areas."""
    zones: Zones | None = None
    """Where areas are wanted for, too."""
    mosaic: Priority | None = None
    """Whether files that touch or overlap are one scene, and which of them goes first."""
    mosaic_outputs: Literal["whole", "each"] = "whole"
    """Whether a mosaic has one result, or one for each of its files, cut from it."""
    aoi: Aoi | None = None
    """What of the scenes is wanted; all by default."""
    target: Target | None = None
    """The grid on which the maps of all scenes are wanted as one, too."""
    overwrite: bool = False
    """Replace finished outputs."""
    restart: bool = False
    """Compute again what an earlier run had finished of a scene before it died."""

    def __post_init__(self) -> None:
        if self.block_size is not None:
            check_block_size(self.block_size)
        for what, value in (("scale", self.scale), ("offset", self.offset)):
            if value is not None and (not math.isfinite(value) or (what == "scale" and value == 0)):
                raise ParameterError(f"{what} {value} gives no physical values: give a finite number, as scale not 0")

    @property
    def parameters(self) -> dict[str, Any]:
        """What shapes the outputs beside the recipe, as plain values for the record of a scene."""
        outlines = {
            "connectivity": self.outlines.connectivity,
            "smooth": self.outlines.smooth,
            "simplify": None if self.outlines.simplify is None else asdict(self.outlines.simplify),
        }
        return {
            "min_area": None if self.min_area is None else asdict(self.min_area),
            **(outlines if self.formats else {}),
            **({} if self.zones is None else {"zones": self.zones.digest}),
        }

    @property
    def as_asked(self) -> dict[str, Any]:
        """All that was asked for, as plain values for the record of a run."""
        plain = asdict(replace(self, zones=None, aoi=None)) | self.parameters
        return plain if self.aoi is None else plain | {"aoi": self.aoi.label, "aoi_digest": self.aoi.zones.digest}


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOutcome:
    """What became of one input."""

    href: str
    """What the user named or what was found in a folder."""
    id: str
    """Name of its outputs."""
    status: Literal["done", "failed", "unchanged", "outside", "joined"]
    """``unchanged``: the same scene, model and options were finished before. ``outside``: no pixel is wanted.
    ``joined``: it is part of a mosaic, whose outcome is that of the file that goes first in it."""
    error: str | None = None
    """Reason and mend, where it failed; the reason, where it is outside."""
    seconds: float = 0.0
    """From its first block to its outputs."""
    pixels: int = 0
    """Of the scene."""
    n_blocks: int = 0
    """Blocks of the scene."""
    n_resumed: int = 0
    """Blocks that an earlier run had finished."""
    n_polygons: int | None = None
    """None where polygons were not made."""
    notes: tuple[str, ...] = ()
    """What was decided and said aloud."""
    table: Path | None = None
    """CSV file of its areas, where there are any."""
    without: tuple[str, ...] = ()
    """Columns of it that were not asked for now."""

    @property
    def areas(self) -> Any:
        """Area table, a DataFrame, read anew from its file each time; None where there is none."""
        return None if self.table is None else read_areas(self.table, without=self.without)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened that a progress bar or a log wants to know."""

    kind: Literal["planned", "note", "resumed", "block", "publishing", "done", "failed", "unchanged", "outside"]
    """What happened."""
    scene: str
    """Id of the scene, or what was named where there is no scene."""
    text: str = ""
    """The note or the error."""
    n_blocks: int = 0
    """Blocks of the scene, or those that were finished before."""
    pixels: int = 0
    """Pixels that are finished with this event, or of the scene that is planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of a run."""

    output: Path
    """The folder of all outputs."""
    outcomes: tuple[SceneOutcome, ...]
    """One per input, in their order."""
    seconds: float
    """Of the whole run, planning included."""
    whole: SceneOutcome | None = None
    """What became of the one map of all scenes, where it was asked for."""

    @property
    def n_failed(self) -> int:
        """Inputs that failed."""
        return self._count("failed")

    @property
    def is_complete(self) -> bool:
        """Whether nothing failed: no input, and not the one map of all."""
        return not self.n_failed and (self.whole is None or self.whole.status != "failed")

    @property
    def n_outside(self) -> int:
        """Inputs of which nothing is wanted."""
        return self._count("outside")

    @property
    def n_scenes(self) -> int:
        """Inputs, the files of a mosaic counted as one."""
        return len(self.outcomes) - self._count("joined")

    def _count(self, status: str) -> int:
        return sum(o.status == status for o in self.outcomes)


Listener = Callable[[Event], None]
"""Told what happens, in the thread of whoever started the run."""
