"""The two maps of a comparison as what is read block by block: files, or arrays."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geoseg.change.images import Image
from geoseg.change.sampling import ReadMap
from geoseg.change.shares import ClassShares, ShareArray, shares_of_file
from geoseg.errors import InputError, ParameterError, SceneError, printable
from geoseg.inference.lattice import Block
from geoseg.legend import Legend
from geoseg.scene.class_map import occurring, read_class_map
from geoseg.scene.class_raster import ClassRaster
from geoseg.scene.guard import open_raster

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ArrayMap", "ClassSource", "FileMap", "shares_of_array", "source_of_array", "source_of_file"]

Pixels = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMap:
    """Reads class values and confidence of a block from files; travels to workers, which open the files."""

    raster: ClassRaster
    """The class map."""
    confidence: str | None = None
    """Raster of percent on the same grid, 255 where there is none."""

    def __call__(self, block: Block) -> Pixels:
        """The pixels of a block of the map."""
        classes = self.raster.read(block.row_off, block.col_off, block.height, block.width)
        if self.confidence is None:
            return classes, None
        window = Window(block.col_off, block.row_off, block.width, block.height)
        try:
            with open_raster(self.confidence) as dataset:
                percent: NDArray[np.uint8] = dataset.read(1, window=window)
        except RasterioError as error:
            raise SceneError(
                f"{printable(self.confidence)}: cannot be read at row {block.row_off}, column {block.col_off}; the "
                "file is damaged or truncated: make or copy it again"
            ) from error
        return classes, percent


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArrayMap:
    """Gives blocks of arrays in memory."""

    classes: NDArray[np.uint8]
    """(rows, cols) class values."""
    confidence: NDArray[np.uint8] | None = None
    """(rows, cols) percent, 255 where there is none."""

    def __call__(self, block: Block) -> Pixels:
        """The pixels of a block of the map."""
        at = slice(block.row_off, block.row_end), slice(block.col_off, block.col_end)
        return self.classes[at], None if self.confidence is None else self.confidence[at]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassSource:
    """One of the two maps."""

    name: str
    """What it is called in messages."""
    geobox: GeoBox
    """Its pixel grid."""
    legend: Legend
    """Its classes and nodata value."""
    named: bool
    """Whether the classes have names of their own."""
    read: ReadMap
    """Gives a block of it."""
    has_confidence: bool
    """Whether it comes with confidence."""
    extend: Callable[[Iterable[int]], Legend]
    """The legend with values added that it lacks."""
    shares: ClassShares | None = None
    """Its class probabilities, where they are wanted."""
    image: Image | None = None
    """What it was made from, where that is at hand."""


def source_of_file(
    raster: ClassRaster,
    confidence: str | os.PathLike[str] | None = None,
    probabilities: str | os.PathLike[str] | None = None,
) -> ClassSource:
    """A class map in a file as a side of a comparison.

    Args:
        raster: The class map.
        confidence: Raster of percent on its grid.
        probabilities: Raster of class probabilities on its grid, see `geoseg.change.shares.shares_of_file`.

    Raises:
        InputError: If the confidence is not one band of bytes on the grid of the map, or the probabilities are not a
            band of bytes for each class.
    """
    name = printable(raster.href)
    if confidence is not None:
        with open_raster(os.fspath(confidence)) as dataset:
            fits = dataset.shape == tuple(raster.geobox.shape) and dataset.transform.almost_equals(
                raster.geobox.affine, precision=1e-9
            )
            if dataset.count != 1 or dataset.dtypes[0] != "uint8" or not fits:
                raise InputError(
                    f"{printable(confidence)} is not the confidence of {name}: it has {dataset.count} bands of "
                    f"{dataset.dtypes[0]} with {dataset.height} x {dataset.width} px; give one of bytes on its grid"
                )
    return ClassSource(
        name=name,
        geobox=raster.geobox,
        legend=raster.legend,
        named=raster.named,
        read=FileMap(raster=raster, confidence=None if confidence is None else os.fspath(confidence)),
        has_confidence=confidence is not None,
        extend=raster.legend_of,
        shares=None if probabilities is None else shares_of_file(raster, probabilities),
    )


def source_of_array(
    name: str, classes: "xr.DataArray", legend: Legend | None, confidence: "xr.DataArray | None" = None
) -> ClassSource:
    """A class map in memory as a side of a comparison.

    Args:
        name: What it is called in messages.
        classes: (rows, cols) uint8 class map with a CRS, numpy or dask.
        legend: Its classes; by default the names in its attributes, else the values that are there.
        confidence: uint8 percent on its grid, 255 where there is none.

    Raises:
        ParameterError: If it is no class map on a grid with a CRS, or holds no class.
    """
    class_map = read_class_map(classes, legend=legend, confidence=confidence)
    if class_map.crs is None:
        raise ParameterError(
            f"{name} has no CRS, so nothing says where it lies: assign it, such as with .odc.assign_crs"
        )
    pixels = np.ascontiguousarray(class_map.classes)
    present = occurring(pixels)
    # classes that the map names and has nowhere, too: there may be probabilities of them
    classes_of = class_map.legend_of(sorted({*present, *class_map.stated}) if class_map.legend is None else present)
    if not classes_of:
        raise ParameterError(f"{name} holds no class: every pixel is nodata; check its nodata value")
    known = Legend(classes=classes_of, nodata=class_map.nodata)

    def extend(_: Iterable[int]) -> Legend:
        return known  # it was made of all values

    return ClassSource(
        name=name,
        geobox=class_map.geobox,
        legend=known,
        named=class_map.legend is not None or any(v in class_map.stated for v in known.values),
        read=ArrayMap(
            classes=pixels, confidence=None if confidence is None else np.ascontiguousarray(class_map.confidence)
        ),
        has_confidence=confidence is not None,
        extend=extend,
    )


def shares_of_array(source: ClassSource, probabilities: "xr.DataArray") -> ClassShares:
    """The class probabilities of a map in memory.

    Args:
        source: The map.
        probabilities: (class, rows, cols) uint8, 254 for 1, on its grid, named along ``class`` or else in the order of
            the legend.

    Raises:
        ParameterError: If they are not a band of bytes for each class on the grid of the map.
    """
    pixels = probabilities.to_numpy()
    names = [str(n) for n in probabilities["class"].to_numpy()] if "class" in probabilities.coords else []
    by_name = [c.value for n in names for c in source.legend if c.name == n]
    values = by_name if len(by_name) == len(names) > 0 else list(source.legend.values)
    if pixels.dtype != np.uint8 or pixels.shape != (len(values), *source.geobox.shape):
        raise ParameterError(
            f"probabilities of {source.name} of {pixels.dtype} and shape {pixels.shape}: give uint8, 254 for 1, of "
            f"shape {(len(values), *source.geobox.shape)}, with the class names along class if they are not those of "
            f"the legend ({', '.join(source.legend.names)})"
        )
    return ClassShares(read=ShareArray(shares=np.ascontiguousarray(pixels)), values=tuple(values))
