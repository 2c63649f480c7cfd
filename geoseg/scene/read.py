"""Scene -> pixels: windows of the stored values and where they are valid."""

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import SceneError, printable
from geoseg.scene.guard import open_raster
from geoseg.scene.scene import Band, Scene

__all__ = ["SceneReader", "has_mask", "is_valid"]


def is_valid(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Where stored values of one band are observations; None means everywhere.

    1. NaN and infinity are never observations, whether or not they are declared.
    2. A declared nodata value is compared in the band's own dtype; one outside its range matches nothing.
    """
    valid: NDArray[np.bool_]
    if values.dtype.kind == "f":
        valid = np.isfinite(values)
        if nodata is not None:
            # GDAL keeps -3.4e38 as a double that float32 pixels only match after rounding; beyond, it becomes infinite
            with np.errstate(over="ignore"):
                valid &= values != np.float64(nodata).astype(values.dtype)
        return valid
    if nodata is None or not np.iinfo(values.dtype).min <= nodata <= np.iinfo(values.dtype).max:
        return None
    valid = values != values.dtype.type(int(nodata))
    return valid


class SceneReader:
    """Reads windows of a scene. Opens its files at the first read; use one reader in one thread only."""

    def __init__(self, scene: Scene, bands: Sequence[Band] | None = None) -> None:
        """Prepare to read these bands of the scene, in this order; all by default."""
        self._scene = scene
        self._bands = tuple(scene.bands if bands is None else bands)
        self._dtype = np.result_type(*(b.dtype for b in self._bands))
        self._files: dict[str, DatasetReader] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._files.clear()
        self._stack.close()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels that `read` returns: the common type of the bands."""
        return self._dtype

    def _file(self, href: str) -> DatasetReader:
        if href not in self._files:
            dataset = self._stack.enter_context(open_raster(href))
            if dataset.shape != (self._scene.height, self._scene.width):
                raise SceneError(
                    f"{printable(href)}: is now {dataset.width} x {dataset.height} px but was "
                    f"{self._scene.width} x {self._scene.height} px: it changed while it was read; run again"
                )
            kinds = dict(enumerate(dataset.dtypes, 1))
            if any(kinds.get(b.index) != b.dtype for b in self._scene.bands if b.href == href):
                raise SceneError(
                    f"{printable(href)}: has now {dataset.count} bands of {', '.join(sorted(set(dataset.dtypes)))}, "
                    "which are not those it had: it changed while it was read; run again"
                )
            self._files[href] = dataset
        return self._files[href]

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Stored values (band, row, col) of a window and where all bands are valid (row, col).

        Args:
            row: First row.
            col: First column.
            height: Rows; the window lies inside the scene.
            width: Columns.

        Raises:
            SceneError: If the file cannot be read there: truncated, damaged, gone.
        """
        window = Window(col, row, width, height)
        pixels = np.empty((len(self._bands), height, width), dtype=self._dtype)
        valid = np.ones((height, width), dtype=np.bool_)
        # one call per file decodes each of its blocks once, also where bands are interleaved by pixel; only a VRT can
        # have bands of several types, which GDAL reads one by one
        for href, dtype in dict.fromkeys((b.href, b.dtype) for b in self._bands):
            places = [i for i, b in enumerate(self._bands) if (b.href, b.dtype) == (href, dtype)]
            indexes = [self._bands[i].index for i in places]
            dataset = self._file(href)
            # a scene of one file is decoded into place: a copy of all its pixels costs a tenth of the decoding
            place = pixels if len(places) == len(pixels) and dtype == str(pixels.dtype) else None
            try:
                values = dataset.read(indexes, window=window, out=place)
                if self._scene.validity == "mask":
                    measured = [b.index for b in self._scene.bands if b.href == href]
                    valid &= _mask(dataset, indexes, measured, window)
            except (RasterioError, ValueError, MemoryError) as error:
                reason = " ".join(printable(error.__cause__ or error).split())
                raise SceneError(
                    f"{printable(href)}: cannot be read at row {row}, column {col}: {reason}; "
                    "the file is damaged or truncated: copy or download it again"
                ) from error
            for i, value in zip(places, values, strict=True):
                if place is None:
                    pixels[i] = value
                ok = is_valid(value, self._bands[i].nodata)
                if ok is not None:
                    valid &= ok
        return pixels, valid


def has_mask(dataset: DatasetReader, index: int) -> bool:
    """Whether a mask other than an alpha band is shared by this band and the others."""
    flags = dataset.mask_flag_enums[index - 1]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def _mask(dataset: DatasetReader, indexes: Sequence[int], measured: Sequence[int], window: Window) -> NDArray[np.bool_]:
    """What alpha bands and a mask say together.

    Alpha is read as a band, because GDAL's own mask leaves it out where a nodata value is declared too. GDAL gives the
    same mask for every band that shares it.
    """
    valid = np.ones((int(window.height), int(window.width)), dtype=np.bool_)
    for index, color in enumerate(dataset.colorinterp, 1):
        if color is ColorInterp.alpha and index not in measured:
            valid &= dataset.read(index, window=window) > 0
    shared = [i for i in indexes if has_mask(dataset, i)]
    if shared:
        valid &= dataset.read_masks(shared[0], window=window) > 0
    return valid
