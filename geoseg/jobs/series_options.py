"""What is asked of a series, and what becomes of it: plain values."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from geoseg.change.series import SeriesRules
from geoseg.errors import ParameterError
from geoseg.outputs.change_picture import require_matplotlib
from geoseg.outputs.vectors import FORMATS
from geoseg.vector.vectorizer import Outlines

__all__ = ["SeriesOptions", "SeriesResult"]

_FORMAT = 1
"""Of the outputs: another one makes finished results others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesOptions:
    """What the user may choose of a series."""

    rules: SeriesRules = field(default_factory=SeriesRules)
    """Crosswalk, tolerance, plausible transitions, and how dates decide together."""
    formats: tuple[str, ...] = ("gpkg",)
    """Of the polygons of first change; none for no polygons."""
    outlines: Outlines = field(default_factory=Outlines)
    """How polygons are drawn."""
    legend: str | None = None
    """A well-known legend to take class names from, for all maps."""
    maps: bool = False
    """Whether to leave the class map of each date, too, as it counts."""
    picture: bool = False
    """Whether to draw first change, number of changes and areas over time."""
    overwrite: bool = False
    """Replace finished outputs."""
    restart: bool = False
    """Go through blocks again that a run that died had finished."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.formats if name not in FORMATS]
        if self.picture:
            require_matplotlib()
        if unknown:
            raise ParameterError(f"there is no polygon format {unknown[0]!r}: choose one of {', '.join(FORMATS)}")

    @property
    def by_shares(self) -> bool:
        """Whether class probabilities decide."""
        return self.rules.temporal is not None and self.rules.temporal.accuracy is None

    @property
    def parameters(self) -> dict[str, Any]:
        """What shapes the outputs, as plain values for the record."""
        return {
            "tolerance": self.rules.tolerance,
            "align": self.rules.align,
            "crosswalk": [asdict(row) for row in self.rules.crosswalk],
            "plausible": [asdict(row) for row in self.rules.plausible],
            "temporal": None if self.rules.temporal is None else asdict(self.rules.temporal),
            "formats": list(self.formats),
            "connectivity": self.outlines.connectivity,
            "smooth": self.outlines.smooth,
            "simplify": None if self.outlines.simplify is None else asdict(self.outlines.simplify),
            "legend": self.legend,
            "maps": self.maps,
            "picture": self.picture,
        }

    def parts_key(self, fingerprints: tuple[str, ...]) -> str:
        """Hash of all that shapes the parts of a block.

        Args:
            fingerprints: What identifies the contents and dates of the inputs.
        """
        shaping = ("tolerance", "align", "crosswalk", "plausible", "temporal", "legend", "maps")
        content = {"format": _FORMAT, "inputs": fingerprints, **{name: self.parameters[name] for name in shaping}}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def key(self, fingerprints: tuple[str, ...]) -> str:
        """Hash of all that shapes the outputs; the same key, the same outputs.

        Args:
            fingerprints: What identifies the contents and dates of the inputs.
        """
        content = {"format": _FORMAT, "kind": "series", "inputs": fingerprints, "parameters": self.parameters}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeriesResult:
    """What became of one series."""

    folder: Path
    """Where its outputs are."""
    n_polygons: int | None
    """None where polygons were not made."""
    pixels: int
    """Of the common grid."""
    notes: tuple[str, ...] = ()
    """What was decided and found out."""
    unchanged: bool = False
    """Whether the same series was finished before."""
