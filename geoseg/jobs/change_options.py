"""What is asked of a comparison, and what becomes of it: plain values."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from geoseg.area.zones import Zones
from geoseg.change.comparison import Rules
from geoseg.change.strata import check_buffer
from geoseg.errors import ParameterError
from geoseg.outputs.change_picture import require_matplotlib
from geoseg.outputs.vectors import FORMATS
from geoseg.scene.scene import Scene
from geoseg.vector.min_area import MinArea
from geoseg.vector.vectorizer import Outlines

__all__ = ["ChangeOptions", "ChangeResult", "MapInput"]

_FORMAT = 1
"""Of the outputs: another one makes finished results others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapInput:
    """One class map, as it is found."""

    classes: str
    """What GDAL opens."""
    confidence: str | None = None
    """Raster of percent on the same grid."""
    probabilities: str | None = None
    """Raster of class probabilities on the same grid."""
    acquired: datetime | None = None
    """When the scene was taken, in UTC; None where nothing says."""
    name: str = ""
    """What outputs are named after."""
    scene: Scene | None = None
    """The imagery that it was made from, where that is at hand."""
    model: str = ""
    """Name and version of the model that made it, where its item says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOptions:
    """What the user may choose of a comparison."""

    rules: Rules = field(default_factory=Rules)
    """Crosswalk, tolerance, plausible transitions, and whether probabilities decide."""
    min_area: MinArea | None = None
    """Smaller patches, of change and of no change, are merged into their neighbours."""
    formats: tuple[str, ...] = ("gpkg",)
    """Of the polygons; none for no polygons."""
    outlines: Outlines = field(default_factory=Outlines)
    """How polygons are drawn."""
    zones: Zones | None = None
    """Where change is wanted for, too."""
    legend: str | None = None
    """A well-known legend to take class names from, for both maps."""
    picture: bool = False
    """Whether to draw before, after, change and flows."""
    strata_buffer: int | None = None
    """Pixels around change that are a stratum of their own in a raster of strata; none is made where it is None."""
    overwrite: bool = False
    """Replace finished outputs."""
    restart: bool = False
    """Compare again what an earlier run had finished of a pair before it died."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.formats if name not in FORMATS]
        if self.strata_buffer is not None:
            check_buffer(self.strata_buffer)
        if self.picture:
            require_matplotlib()
        if unknown:
            raise ParameterError(f"there is no polygon format {unknown[0]!r}: choose one of {', '.join(FORMATS)}")

    @property
    def parameters(self) -> dict[str, Any]:
        """What shapes the outputs, as plain values for the record."""
        return {
            "tolerance": self.rules.tolerance,
            "align": self.rules.align,
            "crosswalk": [asdict(row) for row in self.rules.crosswalk],
            "plausible": [asdict(row) for row in self.rules.plausible],
            "posterior": None if self.rules.posterior is None else asdict(self.rules.posterior),
            "min_area": None if self.min_area is None else asdict(self.min_area),
            "formats": list(self.formats),
            "connectivity": self.outlines.connectivity,
            "smooth": self.outlines.smooth,
            "simplify": None if self.outlines.simplify is None else asdict(self.outlines.simplify),
            "legend": self.legend,
            "picture": self.picture,
            "strata_buffer": self.strata_buffer,
            "zones": None if self.zones is None else self.zones.digest,
        }

    def parts_key(self, fingerprints: tuple[str, ...]) -> str:
        """Hash of all that shapes the codes of a block before patches are merged and anything is made of them.

        Args:
            fingerprints: What identifies the contents of the inputs.
        """
        shaping = ("tolerance", "align", "crosswalk", "plausible", "posterior", "legend")
        content = {"format": _FORMAT, "inputs": fingerprints, **{name: self.parameters[name] for name in shaping}}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def key(self, fingerprints: tuple[str, ...]) -> str:
        """Hash of all that shapes the outputs; the same key, the same outputs.

        Args:
            fingerprints: What identifies the contents of the inputs.
        """
        content = {"format": _FORMAT, "inputs": fingerprints, "parameters": self.parameters}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChangeResult:
    """What became of one comparison."""

    folder: Path
    """Where its outputs are."""
    pairs: Any
    """Table of the pairs of classes that occur, a DataFrame: see `geoseg.change.tables.pair_table`."""
    summary: Any
    """Change of the map, a DataFrame; None where the results were there already."""
    n_polygons: int | None
    """None where polygons were not made."""
    pixels: int
    """Of the common grid."""
    notes: tuple[str, ...] = ()
    """What was decided and found out."""
    unchanged: bool = False
    """Whether the same comparison was finished before."""
