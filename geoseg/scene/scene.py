"""Scene: named bands on one pixel grid, with validity and acquisition time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from odc.geo.geobox import GeoBox

__all__ = ["Band", "Scene"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One band of a scene: where its pixels are and what they mean."""

    name: str
    """Common name where known (``blue``, ``nir``, ``swir16``), else ``band 3``; unique in its scene."""
    href: str
    """What GDAL opens: a path or a ``/vsi`` name."""
    index: int
    """Band in the file, counted from 1."""
    dtype: str
    """Of the stored pixels, a numpy name."""
    scale: float = 1.0
    """Physical value = stored value times ``scale`` plus ``offset``."""
    offset: float = 0.0
    """See ``scale``."""
    nodata: float | None = None
    """Stored value that means "no observation"; NaN for floats even when None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Named bands on one pixel grid, as plain values: it pickles to a worker, which opens the files itself."""

    id: str
    """Name of the outputs; safe as a file name, unique in a run."""
    href: str
    """What the user named."""
    geobox: GeoBox
    """The pixel grid: CRS, affine, shape."""
    bands: tuple[Band, ...]
    """Spectral bands, without alpha."""
    driver: str
    """The one GDAL driver that may open the files."""
    validity: Literal["values", "mask"]
    """``values``: nodata values and NaN decide alone. ``mask``: an alpha band or a mask (internal, side-car) too."""
    block_shape: tuple[int, int]
    """Rows and columns of the files' internal blocks."""
    scaled: bool
    """Whether scale and offset were stated, by the file or by the user; else stored values have no known unit."""
    acquired: datetime | None = None
    """When it was taken, where the metadata says so."""
    fingerprint: str = ""
    """Hash of what identifies the content: size, times, head and tail of the files."""

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.geobox.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.geobox.shape[1])
