"""NAIP quarter quads: four bands whose order the program lays down, in files that do not say it."""

import re
from pathlib import Path

from geoseg.scene.guard import without_query
from geoseg.scene.scene import Scene

__all__ = ["ORDER", "is_unnamed_quad"]

ORDER = ("red", "green", "blue", "nir")
"""Of the bands of every quad; GDAL takes the fourth for transparency where a file was written so."""
_QUAD = re.compile(r"m_\d{7}_(?:ne|nw|se|sw)_\d{1,2}_(?:h|\d{1,3})_\d{8}(?:_\d{8})?$", re.IGNORECASE)


def is_unnamed_quad(scene: Scene) -> bool:
    """Whether a raster is called like a quad of NAIP and does not name its bands itself."""
    name = Path(without_query(scene.href)).stem
    return _QUAD.match(name) is not None and not any(b.title for b in scene.bands)
