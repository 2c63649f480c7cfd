"""Scene: named bands on one pixel grid, with validity and acquisition time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

__all__ = ["Band", "Member", "Pixels", "Quality", "Reader", "Sampling", "Scene"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Where a file's own pixels lie under those of its scene, which has another grid.

    Every pixel of the scene takes the value of the file's pixel that its centre lies in: the value that was measured
    there, whatever window is read. Rows and columns are independent of each other.
    """

    height: int
    """Rows of the file."""
    width: int
    """Columns of the file."""
    row_step: float
    """Rows of the file per row of the scene: 0.5 for pixels twice as large."""
    row_start: float
    """Row of the file, with its fraction, at the upper edge of the scene."""
    col_step: float
    """Columns of the file per column of the scene."""
    col_start: float
    """Column of the file at the left edge of the scene."""


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
    sampling: Sampling | None = None
    """How its file lies under the scene; None where they have one grid."""
    title: str = ""
    """What the file or the product calls it, such as ``B8A``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A band that says where pixels are no observations of the ground, and which of its values say so."""

    band: Band
    """Its pixels, integers."""
    values: tuple[int, ...] = ()
    """These are no observations."""
    bits: int = 0
    """Nor are those with any of these bits set."""


class Pixels(Protocol):
    """Pixels that are no file: an array, held or lazy. It is pickled to workers and read by several threads at once."""

    def read(self, indexes: Sequence[int], row: int, col: int, height: int, width: int) -> NDArray[Any]:
        """Stored values (band, row, col) of bands, counted from 1, in a window."""


class Reader(Protocol):
    """Reads windows of a scene; for one thread."""

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Stored values (band, row, col) of a window inside the scene, and where they are valid (row, col)."""

    def close(self) -> None:
        """Let go of files."""


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
    cloud_percent: float | None = None
    """How much of it is cloud, where the metadata say so."""
    masks: tuple[Quality, ...] = ()
    """What makes pixels invalid beside their own values."""
    clouds: str = ""
    """What the scene's own mask of clouds is, in words; empty where it has none."""
    product: str = ""
    """What it is a product of, in words, and which scale and offset that gave; empty for a plain raster."""
    files: tuple[str, ...] = ()
    """All that shapes it, where that is more than the file it is named by: rasters and metadata."""
    pixels: "Pixels | None" = None
    """Where its pixels are, if not in files."""
    source: "Scene | None" = None
    """The scene whose pixels are resampled onto this one's grid; None where the files' own are read."""
    members: "tuple[Member, ...]" = ()
    """The scenes of a mosaic, those that go first first; none where this is not one."""
    fingerprint: str = ""
    """Hash of what identifies the content: size, times, head and tail of the files."""
    notes: tuple[str, ...] = ()
    """What was decided when it was put together and should be said aloud."""

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        """From when to when it was taken, where it is made of several and all say so."""
        times = sorted(s.acquired for s in self.sources if s.acquired is not None)
        return (times[0], times[-1]) if times and len(times) == len(self.sources) else None

    @property
    def sources(self) -> "tuple[Scene, ...]":
        """The scenes that it is made of, one for each date, where it is made of several; none for any other."""
        return ()

    def reader(self, bands: Sequence[Band] | None = None) -> Reader:
        """What reads windows of these bands, in this order; all by default. For one thread."""
        from geoseg.scene.reader import reader_of

        return reader_of(self, bands)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.geobox.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.geobox.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A scene of a mosaic, on its grid."""

    scene: Scene
    """Its pixels."""
    row_off: int
    """Its first row in the mosaic."""
    col_off: int
    """Its first column."""
