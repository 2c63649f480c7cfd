"""Scene -> pixels: windows of the stored values and where they are valid."""

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import SceneError, printable
from geoseg.scene.guard import open_raster
from geoseg.scene.scene import Band, Scene

__all__ = ["SceneReader", "is_valid"]


def is_valid(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Where stored values of one band are observations; None means everywhere.

    1. NaN is never an observation, whether or not it is declared.
    2. A declared nodata value is compared in the band's own dtype; one outside its range matches nothing.
    """
    if values.dtype.kind == "f":
        valid: NDArray[np.bool_] = ~np.isnan(values)
        if nodata is not None and not np.isnan(nodata):
            # GDAL keeps -3.4e38 as a double that float32 pixels only match after rounding
            valid &= values != values.dtype.type(nodata)
        return valid
    if nodata is None or not np.iinfo(values.dtype).min <= nodata <= np.iinfo(values.dtype).max:
        return None
    equal: NDArray[np.bool_] = values == values.dtype.type(int(nodata))
    return ~equal


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
        # one call per file decodes each of its blocks once, also where bands are interleaved by pixel
        for href in dict.fromkeys(b.href for b in self._bands):
            places = [i for i, b in enumerate(self._bands) if b.href == href]
            indexes = [self._bands[i].index for i in places]
            dataset = self._file(href)
            try:
                values = dataset.read(indexes, window=window)
                if self._scene.validity == "mask":
                    valid &= _mask(dataset, indexes, window)
            except (RasterioError, ValueError, MemoryError) as error:
                reason = " ".join(printable(error.__cause__ or error).split())
                raise SceneError(
                    f"{printable(href)}: cannot be read at row {row}, column {col}: {reason}; "
                    "the file is damaged or truncated: copy or download it again"
                ) from error
            for place, value in zip(places, values, strict=True):
                pixels[place] = value
                ok = is_valid(value, self._bands[place].nodata)
                if ok is not None:
                    valid &= ok
        return pixels, valid


def _mask(dataset: DatasetReader, indexes: Sequence[int], window: Window) -> NDArray[np.bool_]:
    """What an alpha band or a mask says; GDAL gives the same mask for every band that shares it."""
    shared = [i for i in indexes if MaskFlags.per_dataset in dataset.mask_flag_enums[i - 1]]
    if not shared:
        return np.ones((int(window.height), int(window.width)), dtype=np.bool_)
    mask: NDArray[np.bool_] = dataset.read_masks(shared[0], window=window) > 0
    return mask
