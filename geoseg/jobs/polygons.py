"""The polygons of a scene's finished class map, block by block on the workers of the cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from geoseg.errors import OutputError
from geoseg.inference.lattice import Block
from geoseg.jobs.block import pixel_areas
from geoseg.legend import Legend
from geoseg.vector.measure import Pixels
from geoseg.vector.vectorizer import Outlines, Vectorizer, blocks_over

__all__ = ["Patches", "patches_only", "scene_vectorizer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rasters:
    """Reads the pixels of a block from the rasters of a scene; travels to the workers that do so."""

    geobox: GeoBox
    classes: Path
    confidence: Path | None
    probabilities: Path | None

    def __call__(self, block: Block) -> Pixels:
        confidence = None if self.confidence is None else _window(self.confidence, block)[0]
        probabilities = None if self.probabilities is None else _window(self.probabilities, block)
        return Pixels(
            classes=_window(self.classes, block)[0],
            areas=pixel_areas(self.geobox),
            confidence=confidence,
            probabilities=probabilities,
        )


def scene_vectorizer(
    geobox: GeoBox,
    legend: Legend,
    outlines: Outlines,
    *,
    classes: Path,
    confidence: Path | None = None,
    probabilities: Path | None = None,
) -> Vectorizer:
    """What makes the polygons of a scene's rasters.

    Args:
        geobox: Of the scene.
        legend: Of its class map.
        outlines: How polygons are drawn.
        classes: The finished class map.
        confidence: Percent on the same grid.
        probabilities: Of each class of the legend, a band for each.
    """
    return Vectorizer(
        geobox=geobox,
        legend=legend,
        grid=blocks_over(*geobox.shape),
        read=_Rasters(geobox=geobox, classes=classes, confidence=confidence, probabilities=probabilities),
        outlines=outlines,
        areas=pixel_areas(geobox),
        with_probabilities=probabilities is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """Reads what changed: no change and nodata are nothing."""

    read: Any
    """Reads the pixels of a raster in which 0 is no change."""
    nodata: int
    """Of that raster."""

    def __call__(self, block: Block) -> Pixels:
        """The pixels of a block, 0 where there is nothing."""
        pixels: Pixels = self.read(block)
        return replace(pixels, classes=np.where(pixels.classes == self.nodata, np.uint8(0), pixels.classes))


def patches_only(whole: Vectorizer) -> Vectorizer:
    """What makes the polygons of a change map, in which 0 is no change: of that there are none."""
    kinds = tuple(c for c in whole.legend if c.value)
    # where nothing changed there is no polygon, and a legend has a class at least
    legend = replace(whole.legend, classes=kinds, nodata=0) if kinds else Legend.unnamed((1,), nodata=0)
    return replace(whole, legend=legend, read=Patches(read=whole.read, nodata=whole.legend.nodata))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            yield dataset
    except rasterio.errors.RasterioError as error:
        raise OutputError(f"{path.name} does not read back: {error}; check the disk, then run again") from error


def _window(path: Path, block: Block) -> NDArray[np.uint8]:
    """(band, row, col) of a block."""
    with _opened(path) as dataset:
        pixels = dataset.read(window=Window(block.col_off, block.row_off, block.width, block.height))
    return np.asarray(pixels)
