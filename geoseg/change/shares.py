"""The class probabilities of the two dates, as what is read block by block, on the common grid."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geoseg.area.model_based import band_places
from geoseg.change.sampled_bands import take_bands
from geoseg.change.sampling import Sampled, Shifted
from geoseg.errors import InputError, SceneError, printable
from geoseg.inference.lattice import Block
from geoseg.legend import NODATA
from geoseg.scene.class_raster import ClassRaster
from geoseg.scene.guard import open_raster

__all__ = ["ClassShares", "ShareArray", "ShareFile", "shares_of_file", "take_shares"]

Shares = NDArray[np.uint8]
ReadShares = Callable[[Block], Shares]
"""Probabilities (band, row, col) of a block of a map, in bytes, 255 where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareFile:
    """Reads probabilities of a block from a file; travels to workers, which open it."""

    href: str
    """Raster of bytes with a band for each class."""

    def __call__(self, block: Block) -> Shares:
        """(band, row, col) of a block of the map."""
        window = Window(block.col_off, block.row_off, block.width, block.height)
        try:
            with open_raster(self.href) as dataset:
                shares: Shares = dataset.read(window=window)
        except RasterioError as error:
            raise SceneError(
                f"{printable(self.href)}: cannot be read at row {block.row_off}, column {block.col_off}; the file is "
                "damaged or truncated: make or copy it again"
            ) from error
        return shares


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShareArray:
    """Gives blocks of an array in memory."""

    shares: Shares
    """(band, row, col)."""

    def __call__(self, block: Block) -> Shares:
        """(band, row, col) of a block of the map."""
        return self.shares[:, block.row_off : block.row_end, block.col_off : block.col_end]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShares:
    """The probabilities of the classes of one map."""

    read: ReadShares
    """Gives a block of them."""
    values: tuple[int, ...]
    """The class value of each band."""


def shares_of_file(raster: ClassRaster, probabilities: str | os.PathLike[str]) -> ClassShares:
    """The probabilities that belong to a class map.

    Args:
        raster: The class map.
        probabilities: Raster on its grid, as ``geoseg run --probabilities`` leaves it.

    Raises:
        InputError: If it has not a band of bytes for each class on the grid of the map.
    """
    href, name = os.fspath(probabilities), printable(probabilities)
    with open_raster(href) as dataset:
        fits = dataset.shape == tuple(raster.geobox.shape) and dataset.transform.almost_equals(
            raster.geobox.affine, precision=1e-9
        )
        if set(dataset.dtypes) != {"uint8"} or not fits:
            raise InputError(
                f"{name} is not the probabilities of {printable(raster.href)}: it has bands of "
                f"{dataset.dtypes[0]} with {dataset.height} x {dataset.width} px; give one of bytes on its grid"
            )
        values = tuple(raster.legend.values[place] for place in band_places(dataset, raster.legend, name))
    return ClassShares(read=ShareFile(href=href), values=values)


def take_shares(placed: Shifted | Sampled, block: Block, read: ReadShares, n_bands: int) -> Shares:
    """(band, row, col) probabilities of the second map in a block of the common grid, which lies inside it.

    On another grid they are linear between the centres of the four pixels around, of those that have any; or, where the
    pixels of the second map are smaller by half or more, the mean over points spread evenly over the pixel. They then
    add up to 254 only nearly.
    """
    return take_bands(placed, block, read, n_bands, missing=np.uint8(NODATA))
