"""Whether a COG on disk is what was meant: header, every tile, every overview."""

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree as ET

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_validate

from geoseg.errors import OutputError
from geoseg.inference.lattice import TILE
from geoseg.kernels import njit
from geoseg.outputs.parts import Kind, Part, tile_checksums

__all__ = ["Expected", "check_cog", "kept_crs", "same_crs"]

_THREADS = min(4, os.cpu_count() or 1)  # decoding, checksums and comparisons leave the interpreter free
_SPAN = 2 * TILE  # overview columns looked at together: memory does not grow with the scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the header of a raster must say."""

    geobox: GeoBox
    """CRS, transform and shape."""
    nodata: int
    """Nodata value, of every band."""
    descriptions: tuple[str, ...]
    """Of each band."""
    scale: float = 1.0
    """What a stored unit means, in every band."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the file; others may be there."""
    colormap: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)
    """Colour of each class value; others do not matter."""


def check_cog(path: Path, parts: Sequence[Part], kind: Kind, expected: Expected) -> None:
    """Compare a COG with the parts it was made from.

    Raises:
        OutputError: With the first thing that is not as it was meant.
    """
    valid, errors, _ = cog_validate(path, quiet=True)
    if not valid:
        raise OutputError(f"{path.name} is not a valid COG: {'; '.join(errors)}")
    with rasterio.open(path, driver="GTiff") as dataset:
        _check_header(dataset, expected)
        shapes = _level_shapes(dataset)
    with _Reader(path) as reader:
        strips = [(part, i) for part in parts for i in range(-(-part.block.height // TILE))]
        # the bands of a tile lie together and are decoded together: narrower pieces of many bands take no more memory
        span = max(TILE, _SPAN // len(expected.descriptions) // TILE * TILE)
        reader.each(strips, lambda read, item: _check_strip(read, item[0], item[1], kind))
        for level in range(1, len(shapes)):
            height, width = shapes[level]
            corners = [(row, col) for row in range(0, height, TILE) for col in range(0, width, span)]
            reader.each(corners, lambda read, at: _check_overview(read, level, at, span, shapes, expected.nodata))  # noqa: B023 each() waits


def kept_crs(path: Path, geobox: GeoBox) -> bool:
    """Whether a raster says the CRS of the grid, in its keys or in the ``.aux.xml`` that goes before them.

    rasterio cannot hold every CRS that GDAL can, so a CRS beside the file is compared by PROJ.
    """
    meant = None if geobox.crs is None else geobox.crs.proj
    pam = path.with_name(f"{path.name}.aux.xml")
    beside = ET.parse(pam).findtext("SRS") if pam.exists() else None  # noqa: S314 written a moment ago
    if beside is not None and meant is not None:
        found = pyproj.CRS.from_wkt(beside)
        return bool(found == meant or found.equals(meant, ignore_axis_order=True))
    with rasterio.open(path, driver="GTiff") as dataset:
        return same_crs(dataset.crs, None if meant is None else CRS.from_wkt(meant.to_wkt()))


def same_crs(a: CRS | None, b: CRS | None) -> bool:
    """Whether two CRSs mean the same; names and the order of axes do not matter, transforms count x before y."""
    if a is None or b is None or a == b:
        return a == b
    return bool(_proj(a).equals(_proj(b), ignore_axis_order=True))


class _Reader:
    """Windows of one file from several threads: a dataset serves one thread only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._datasets = ExitStack()
        self._pool = ThreadPoolExecutor(_THREADS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # threads first: after an error others are still reading, and closing under them ends the process
        self._pool.shutdown(cancel_futures=True)
        self._datasets.close()

    def each(self, items: Sequence[Any], check: Any) -> None:
        """Run ``check(read, item)`` for all items; the first error wins."""
        for _ in self._pool.map(lambda item: check(self.read, item), items):
            pass

    def read(self, level: int, window: Window) -> NDArray[np.uint8]:
        """Pixels (band, row, col) at full resolution (level 0) or of overview ``level``."""
        datasets = self._local.__dict__.setdefault("datasets", {})
        if level not in datasets:
            options = {"overview_level": level - 1} if level else {}
            datasets[level] = rasterio.open(self._path, driver="GTiff", **options)
            self._datasets.callback(datasets[level].close)
        pixels: NDArray[np.uint8] = datasets[level].read(window=window)
        return pixels


def _check_header(dataset: Any, expected: Expected) -> None:
    geobox = expected.geobox
    tags = dataset.tags()
    colors = dataset.colormap(1) if expected.colormap else {}
    found = {
        "shape": (dataset.shape == tuple(geobox.shape), dataset.shape),
        "type": (set(dataset.dtypes) == {"uint8"}, dataset.dtypes),
        "transform": (dataset.transform.almost_equals(geobox.affine, precision=0), dataset.transform),
        "CRS": (kept_crs(Path(dataset.name), geobox), dataset.crs),
        "nodata value": (set(dataset.nodatavals) == {expected.nodata}, dataset.nodatavals),
        "band description": (dataset.descriptions == expected.descriptions, dataset.descriptions),
        "scale": (set(dataset.scales) == {expected.scale} and not any(dataset.offsets), dataset.scales),
        # a fourth band that is taken for transparency would hide pixels
        "kind of band": (ColorInterp.alpha not in dataset.colorinterp, dataset.colorinterp),
        "tags": (all(tags.get(k) == v for k, v in expected.tags.items()), tags),
        "palette": (all(colors.get(k) == v for k, v in expected.colormap.items()), "other colours"),
    }
    for what, (right, value) in found.items():
        if not right:
            raise OutputError(f"the {what} did not read back as it was meant, but as {value}")


def _check_strip(read: Any, part: Part, strip: int, kind: Kind) -> None:
    block, row = part.block, strip * TILE
    height = min(TILE, block.height - row)
    pixels = read(0, Window(block.col_off, block.row_off + row, block.width, height))
    for band, found in zip(part.bands_of(kind), pixels, strict=True):
        if tile_checksums(found) != part.crcs_of(band, strip):
            first = block.row_off + row
            raise OutputError(f"pixels of rows {first} to {first + height} read back otherwise")


def _check_overview(
    read: Any, level: int, at: tuple[int, int], span: int, shapes: Sequence[tuple[int, int]], nodata: int
) -> None:
    """An overview pixel lies between the least and the greatest of the valid pixels it stands for.

    This sees tiles that were lost or zeroed, for the most frequent class as for averages. Looks at one row of tiles
    from ``at``, (row, col), on: memory is 5 bytes per pixel of ``512 * span`` and band.
    """
    (row, col), (height, width), (below_height, below_width) = at, shapes[level], shapes[level - 1]
    n_rows, n_cols = min(TILE, height - row), min(span, width - col)
    top, bottom, rows = _sources(row, n_rows, height, below_height)
    left, right, cols = _sources(col, n_cols, width, below_width)
    overview = read(level, Window(col, row, n_cols, n_rows))
    below = read(level - 1, Window(left, top, right - left, bottom - top))
    for found, source in zip(overview, below, strict=True):
        if _lies_outside(found, source, rows, cols, np.uint8(nodata)):
            raise OutputError(f"overview {level} does not show the pixels it stands for, near its row {row}")


@njit(nogil=True, cache=True)
def _lies_outside(
    found: NDArray[np.uint8],
    source: NDArray[np.uint8],
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    nodata: np.uint8,
) -> bool:
    """Whether a pixel of an overview's band is none that the pixels below it can give.

    ``rows`` and ``cols``, (candidate, pixel), say where in ``source`` these are. Candidates along a column are
    looked at first, for a whole row at once: loops that vectorize.
    """
    width = source.shape[1]
    least, most, empty = np.empty(width, np.uint8), np.empty(width, np.uint8), np.empty(width, np.bool_)
    for row in range(len(found)):
        least[:] = np.uint8(255)
        most[:] = np.uint8(0)
        empty[:] = False
        for k in range(len(rows)):
            line = source[rows[k, row]]
            for i in range(width):
                none = line[i] == nodata
                least[i] = min(least[i], np.uint8(255) if none else line[i])
                most[i] = max(most[i], np.uint8(0) if none else line[i])
                empty[i] = empty[i] | none
        for col in range(found.shape[1]):
            value = found[row, col]
            low, high, some_empty = np.uint8(255), np.uint8(0), False
            for k in range(len(cols)):
                i = cols[k, col]
                low, high, some_empty = min(low, least[i]), max(high, most[i]), some_empty | empty[i]
            # nodata only where some of the pixels below are nodata
            if (value == nodata and not some_empty) or (value != nodata and (value < low or value > high)):
                return True
    return False


def _sources(first: int, n: int, length: int, below: int) -> tuple[int, int, NDArray[np.int64]]:
    """Which pixels of the level below, along one axis, overview pixels ``first`` to ``first + n`` may stand for.

    Returns:
        First pixel, end pixel, and (candidate, pixel) their places, counted from the first. Two candidates, or, where
        an odd length below makes GDAL's factor other than 2, three.
    """
    n_candidates = 2 if below == 2 * length else 3
    start = np.arange(first, first + n) * below // length
    begin, end = int(start[0]), min(int(start[-1]) + n_candidates, below)
    return begin, end, np.minimum(start + np.arange(n_candidates)[:, None], below - 1) - begin


def _level_shapes(dataset: Any) -> list[tuple[int, int]]:
    """(rows, cols) of the full resolution and of each overview."""
    shapes = [dataset.shape]
    for level in range(len(dataset.overviews(1))):
        with rasterio.open(dataset.name, driver="GTiff", overview_level=level) as overview:
            shapes.append(overview.shape)
    return shapes


def _proj(crs: CRS) -> pyproj.CRS:
    return pyproj.CRS.from_wkt(crs.to_wkt(version="WKT2_2019"))
