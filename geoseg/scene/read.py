"""Scene -> pixels: windows of the stored values and where they are valid."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import SceneError, printable, reason_of
from geoseg.scene.guard import is_remote, open_raster, without_token
from geoseg.scene.sampling import source_cols, source_rows
from geoseg.scene.scene import Band, Pixels, Quality, Sampling, Scene

__all__ = ["SceneReader", "has_mask", "is_valid"]

_MAX_HELD_BYTES = 64 << 20


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


@dataclass(frozen=True, slots=True)
class _Group:
    """Bands of one file and type: read in one call, which decodes each block of the file once."""

    href: str
    dtype: str
    sampling: Sampling | None
    bands: tuple[Band, ...]
    places: tuple[int, ...]
    """Where the bands go among those that are read."""

    @property
    def indexes(self) -> list[int]:
        return [b.index for b in self.bands]


@dataclass(slots=True)
class _Held:
    """Rows of a file on another grid that were decoded last: the next rows of the scene may lie under them, too."""

    row: int
    col: int
    values: NDArray[Any]
    valid: NDArray[np.bool_]

    @property
    def end(self) -> int:
        return self.row + len(self.valid)


class SceneReader:
    """Reads windows of a scene. Opens its files at the first read; use one reader in one thread only.

    Files on the grid of the scene are decoded straight into the result. Of those on another grid the rows decoded last
    are held, so that going down a scene decodes each of their blocks once, whatever GDAL's cache holds.
    """

    def __init__(self, scene: Scene, bands: Sequence[Band] | None = None) -> None:
        """Prepare to read these bands of the scene, in this order; all by default."""
        self._scene = scene
        self._bands = tuple(scene.bands if bands is None else bands)
        self._dtype = np.result_type(*(b.dtype for b in self._bands))
        self._groups = _groups(self._bands)
        self._masks = [(quality, _groups([quality.band])[0]) for quality in scene.masks]
        self._files: dict[str, DatasetReader] = {}
        self._held: dict[_Group, _Held] = {}
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
        self._held.clear()
        self._stack.close()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels that `read` returns: the common type of the bands."""
        return self._dtype

    def _file(self, group: _Group) -> DatasetReader:
        href, sampling = group.href, group.sampling
        if href not in self._files:
            dataset = self._stack.enter_context(open_raster(href))
            grid = self._scene if sampling is None else sampling
            if dataset.shape != (grid.height, grid.width):
                raise SceneError(
                    f"{printable(href)}: is now {dataset.width} x {dataset.height} px but was "
                    f"{grid.width} x {grid.height} px: it changed while it was read; run again"
                )
            kinds = dict(enumerate(dataset.dtypes, 1))
            masks = [quality.band for quality in self._scene.masks]
            if any(kinds.get(b.index) != b.dtype for b in (*self._scene.bands, *masks) if b.href == href):
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
        for group in self._groups:
            first, last = group.places[0], group.places[-1]
            straight = group.dtype == str(pixels.dtype) and last - first + 1 == len(group.places)
            if group.sampling is None:
                # decoded into place: a copy of all pixels costs a tenth of the decoding
                place = pixels[first : last + 1] if straight else None
                values, ok = self._decode(group, window, place)
            else:
                place = None
                values, ok = self._under(group, group.sampling, window)
            valid &= ok
            if place is None:
                for i, value in zip(group.places, values, strict=True):
                    pixels[i] = value
        for quality, group in self._masks:
            if group.sampling is None:
                values, ok = self._decode(group, window, None)
            else:
                values, ok = self._under(group, group.sampling, window)
            valid &= ok & ~_refused(quality, values[0])
        return pixels, valid

    def _decode(
        self, group: _Group, window: Window, place: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values of a window of the file's own pixels, and where all its bands are valid."""
        valid = np.ones((int(window.height), int(window.width)), dtype=np.bool_)
        # outside: what cannot be opened is told as it is
        dataset = self._file(group) if self._scene.pixels is None else None
        try:
            if dataset is None:
                assert self._scene.pixels is not None
                values = _from_array(self._scene.pixels, group.indexes, window, place)
            else:
                values = dataset.read(group.indexes, window=window, out=place)
                if self._scene.validity == "mask":
                    measured = [b.index for b in self._scene.bands if b.href == group.href]
                    valid &= _mask(dataset, group.indexes, measured or group.indexes, window)
        except (RasterioError, ValueError, MemoryError) as error:
            reason = reason_of(error)
            mend = (
                "try again, or download it"
                if is_remote(group.href)
                else "the file is damaged or truncated: copy or download it again"
            )
            message = (
                f"{printable(group.href)}: cannot be read at row {window.row_off}, column {window.col_off}: {reason}"
            )
            raise SceneError(f"{without_token(message, group.href)}; {mend}") from error
        for band, value in zip(group.bands, values, strict=True):
            ok = is_valid(value, band.nodata)
            if ok is not None:
                valid &= ok
        return values, valid

    def _under(self, group: _Group, sampling: Sampling, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values of a file on another grid under a window of the scene, and where all its bands are valid."""
        rows, cols = (
            source_rows(sampling, int(window.row_off), int(window.height)),
            source_cols(sampling, int(window.col_off), int(window.width)),
        )
        down = (rows >= 0) & (rows < sampling.height)
        across = (cols >= 0) & (cols < sampling.width)
        if not down.any() or not across.any():
            shape = (len(group.bands), len(rows), len(cols))
            return np.zeros(shape, group.dtype), np.zeros(shape[1:], np.bool_)
        rows, cols = np.clip(rows, 0, sampling.height - 1), np.clip(cols, 0, sampling.width - 1)
        held = self._hold(group, sampling, (int(rows[0]), int(rows[-1]) + 1), (int(cols[0]), int(cols[-1]) + 1))
        rows, cols = rows - held.row, cols - held.col
        # columns first: there are fewer rows then
        values = held.values.take(np.arange(rows[0], rows[-1] + 1), axis=1).take(cols, axis=2)
        values = values.take(rows - rows[0], axis=1)
        valid = held.valid[rows[0] : rows[-1] + 1].take(cols, axis=1).take(rows - rows[0], axis=0)
        return values, valid & down[:, None] & across[None, :]

    def _hold(self, group: _Group, sampling: Sampling, rows: tuple[int, int], cols: tuple[int, int]) -> _Held:
        """Rows of a file that cover those asked for, with those that were held before where they serve."""
        held = self._held.get(group)
        same = held is not None and (held.col, held.valid.shape[1]) == (cols[0], cols[1] - cols[0])
        if held is None or not same or not held.row <= rows[0] <= held.end:
            held = None
        start = rows[0] if held is None else held.end
        if start < rows[1]:
            block_rows = self._file(group).block_shapes[group.bands[0].index - 1][0]
            per_row = (cols[1] - cols[0]) * len(group.bands) * np.dtype(group.dtype).itemsize
            end = min(-(-rows[1] // block_rows) * block_rows, sampling.height)
            if (end - start) * per_row > _MAX_HELD_BYTES:
                end = rows[1]  # GDAL's cache has to do
            values, valid = self._decode(group, Window(cols[0], start, cols[1] - cols[0], end - start), None)
            if held is not None:
                kept = slice(rows[0] - held.row, None)
                values = np.concatenate((held.values[:, kept], values), axis=1)
                valid = np.concatenate((held.valid[kept], valid))
            held = _Held(row=rows[0], col=cols[0], values=values, valid=valid)
            self._held[group] = held
        assert held is not None
        return held


def _from_array(pixels: Pixels, indexes: Sequence[int], window: Window, place: NDArray[Any] | None) -> NDArray[Any]:
    values = pixels.read(indexes, *(int(n) for n in (window.row_off, window.col_off, window.height, window.width)))
    if place is None:
        return values
    place[...] = values
    return place


def _groups(bands: Sequence[Band]) -> list[_Group]:
    """The bands by file and type; only a VRT can have bands of several types, which GDAL reads one by one."""
    found: dict[tuple[str, str, Sampling | None], list[int]] = {}
    for i, band in enumerate(bands):
        found.setdefault((band.href, band.dtype, band.sampling), []).append(i)
    return [
        _Group(href, dtype, sampling, tuple(bands[i] for i in places), tuple(places))
        for (href, dtype, sampling), places in found.items()
    ]


def _refused(quality: Quality, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a band of quality says that there is no observation of the ground."""
    refused: NDArray[np.bool_] = np.isin(values, quality.values)
    if quality.bits:
        refused |= (values & values.dtype.type(quality.bits)) != 0
    return refused


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
