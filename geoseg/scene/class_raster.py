"""Any categorical raster -> classes on a grid: geoseg's own maps, ESA WorldCover, NLCD, CORINE, USDA's CDL, masks."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import SceneError, printable, reason_of
from geoseg.kernels import njit
from geoseg.legend import NODATA, Legend
from geoseg.scene.class_legend import draft_legend, extended_legend, finished_legend
from geoseg.scene.class_map import occurring
from geoseg.scene.class_names import stated_classes
from geoseg.scene.guard import open_raster
from geoseg.scene.raster import grid_of
from geoseg.scene.read import has_mask, is_valid

__all__ = ["ClassRaster", "ClassReader", "open_class_raster"]

_SCAN_PIXELS = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRaster:
    """A categorical raster as plain values: it pickles to a worker, which opens the file itself."""

    href: str
    """What GDAL opens: a path or a URL."""
    geobox: GeoBox
    """The pixel grid."""
    legend: Legend
    """Names and colours. Its nodata value marks pixels without an observation in what `read` gives."""
    block_shape: tuple[int, int]
    """Rows and columns of the file's internal blocks."""
    band: int
    """Band of the classes, counted from 1."""
    notes: tuple[str, ...]
    """What was found out or decided on opening that a user wants to know, a line each."""
    named: bool
    """Whether the names come from the file, a well-known legend or the caller; else they are ``class 1`` and so on."""
    dtype: str
    """Of the stored pixels, a numpy name."""
    unobserved: tuple[int, ...]
    """Stored values that mean "no observation"."""
    masked: bool
    """Whether an alpha band or a mask says too where there is no observation."""
    held: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    """(rows, cols) the class values of a small map that was read when it was opened; see `open_class_raster`."""

    def read(self, row_off: int, col_off: int, height: int, width: int) -> NDArray[np.uint8]:
        """Class values (row, col) of a window, nodata as the legend's; opens and closes the file.

        For many windows, a `ClassReader` keeps the file open.

        Raises:
            SceneError: If the file cannot be read there, or is no longer what it was.
        """
        with ClassReader(self) as reader:
            return reader.read(row_off, col_off, height, width)

    def legend_of(self, values: Iterable[int]) -> Legend:
        """The legend with ``class 7`` and the like added for those of these values that it lacks.

        A file may name some of its classes only, and one with names is not scanned when it is opened.
        """
        return extended_legend(self.legend, values)


class ClassReader:
    """Reads windows of a class raster. Opens the file at the first read; use one reader in one thread only."""

    def __init__(self, raster: ClassRaster) -> None:
        """Prepare to read this raster."""
        self.raster = raster
        self._codes = _codes(raster.legend, raster.dtype)
        self._stack = ExitStack()
        self._dataset: DatasetReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._dataset = None
        self._stack.close()

    def _open(self) -> DatasetReader:
        if self._dataset is None:
            raster = self.raster
            dataset = self._stack.enter_context(open_raster(raster.href))
            if dataset.shape != raster.geobox.shape or dataset.dtypes[raster.band - 1 :][:1] != (raster.dtype,):
                raise SceneError(f"{printable(raster.href)}: it changed while it was read; run again")
            self._dataset = dataset
        return self._dataset

    def read(self, row_off: int, col_off: int, height: int, width: int) -> NDArray[np.uint8]:
        """Class values (row, col) of a window, nodata as the legend's; the window lies inside the raster.

        Raises:
            SceneError: If the file cannot be read there, or is no longer what it was.
        """
        raster = self.raster
        if raster.held is not None:
            return raster.held[row_off : row_off + height, col_off : col_off + width]
        # what uint8 already holds as the legend's nodata may stay
        kept = {raster.legend.nodata} if raster.dtype == "uint8" else set()
        unobserved = [v for v in raster.unobserved if v not in kept]
        stored, valid = _stored(self._open(), raster.band, unobserved, Window(col_off, row_off, width, height))
        if self._codes is not None:
            coded = np.empty(stored.shape, np.uint8)
            everywhere = np.zeros((0, 0), np.bool_)
            if not _translate(
                stored, everywhere if valid is None else valid, *self._codes, raster.legend.nodata, coded
            ):
                raise SceneError(f"{printable(raster.href)}: has other values than before: it changed; run again")
            return coded
        observed = stored if valid is None else stored[valid]
        if stored.dtype != np.uint8 and observed.size and (observed.min() < 0 or observed.max() > NODATA):
            raise SceneError(f"{printable(raster.href)}: has other values than before: it changed; run again")
        if valid is None:
            classes: NDArray[np.uint8] = stored.astype(np.uint8, copy=False)
            return classes
        classes = np.full(stored.shape, raster.legend.nodata, np.uint8)
        np.copyto(classes, stored, where=valid, casting="unsafe")
        return classes


def _codes(legend: Legend, dtype: str) -> tuple[NDArray[Any], NDArray[np.uint8]] | None:
    """The file's values, ascending, and the class value of each; None where they are the same."""
    if all(c.file_value is None for c in legend):
        return None
    pairs = sorted((c.class_id, c.value) for c in legend)
    held = np.iinfo(dtype)
    pairs = [(stored, value) for stored, value in pairs if held.min <= stored <= held.max]
    return np.array([p[0] for p in pairs], dtype=dtype), np.array([p[1] for p in pairs], dtype=np.uint8)


@njit(nogil=True, cache=True)
def _translate(
    stored: NDArray[Any],
    valid: NDArray[np.bool_],
    codes: NDArray[Any],
    values: NDArray[np.uint8],
    nodata: int,
    out: NDArray[np.uint8],
) -> bool:
    """Class values of stored ones; False if one has none. An empty ``valid`` means everywhere."""
    n = len(codes)
    at = 0  # the class before: class maps are long runs
    for r in range(stored.shape[0]):
        for c in range(stored.shape[1]):
            if valid.size > 0 and not valid[r, c]:
                out[r, c] = nodata
                continue
            v = stored[r, c]
            if at == n or codes[at] != v:
                at = np.searchsorted(codes, v)
                if at == n or codes[at] != v:
                    return False
            out[r, c] = values[at]
    return True


def open_class_raster(
    href: str | os.PathLike[str], *, legend: Legend | str | None = None, hold_px: int = 0
) -> ClassRaster:
    """The class map in a raster file: its grid, classes, names and colours, whatever made it.

    Names, the first that there is: 1. ``legend``, 2. the file's category names, attribute table or list of classes
    (`class_names.stated_classes`), 3. a well-known legend whose palette the file has, 4. ``class 1`` and so on. Colours
    are the file's, else the legend's, else geoseg's.

    Pixels without an observation are those of the file's nodata value, of a mask or alpha band, and of the nodata value
    of a given or well-known legend. Where the file declares none of these, every pixel is an observation, and the
    legend's nodata is a value that does not occur: 255, else the highest free one.

    Where values outside 0 to 255 occur (CORINE's codes up to 523), there may be at most 255 of them. Classes then have
    values of their own in what `ClassRaster.read` gives, and the file's as `LegendClass.file_value`, which polygons and
    tables show.

    A file of uint8 with names and a nodata value is not read. Of any other all pixels are read once, block by block,
    for the values that occur; that takes a few bytes per pixel of a few blocks.

    Args:
        href: A file or URL of a format in `guard.DRIVERS`, with one band of integers (and an alpha band, if any).
        legend: A legend, or the name of one of `legends.WELL_KNOWN`. A `Legend` must have all the values that occur;
            in a well-known one, those it lacks are added as ``class 7`` and the like.
        hold_px: A map up to this many pixels that has to be read for its values is held: whoever reads it whole soon
            need not decode it twice. Only uint8 without masks is.

    Raises:
        SceneError: If it cannot be opened, has no place on the earth, several bands, pixels that are not integers, too
            many classes or none at all.
        ParameterError: If ``legend`` is not known, or does not fit the file.
    """
    href = os.fspath(href)
    name = printable(href)
    with open_raster(href) as dataset:
        band = _class_band(dataset, name)
        geobox = grid_of(dataset, name)
        dtype, nodata = dataset.dtypes[band - 1], _declared_nodata(dataset, band)
        draft = draft_legend(stated_classes(dataset, href, band), legend=legend, declared=nodata, name=name)
        unobserved = tuple(sorted(draft.unobserved | ({nodata} if nodata is not None else set())))
        kept = nodata if dtype == "uint8" else None
        masked, block_shape = _is_masked(dataset, band), _block_shape(dataset, band)
        values, pixels = None, None
        if not draft.names or draft.check or kept is None:
            whole = dtype == "uint8" and not masked and dataset.width * dataset.height <= hold_px
            values, pixels = _values(dataset, band, unobserved, whole=whole)
    final, notes = finished_legend(draft, values=values, declared=kept, unobserved=unobserved, masked=masked, name=name)
    # where the legend has another nodata value or other values than the file, these are not what `read` gives
    plain = set(unobserved) <= {final.nodata} and _codes(final, dtype) is None
    return ClassRaster(
        href=href,
        geobox=geobox,
        legend=final,
        held=pixels if plain else None,
        block_shape=block_shape,
        band=band,
        notes=notes,
        named=bool(draft.names),
        dtype=dtype,
        unobserved=unobserved,
        masked=masked,
    )


def _class_band(dataset: DatasetReader, name: str) -> int:
    """The one band of classes."""
    if len(dataset.subdatasets) > 1:
        raise SceneError(
            f"{name}: holds {len(dataset.subdatasets)} images; write the one that is meant to a file of its own, "
            f"for example gdal_translate {printable(dataset.subdatasets[0])} one.tif"
        )
    bands = [i for i, c in enumerate(dataset.colorinterp, 1) if c is not ColorInterp.alpha or dataset.count == 1]
    if len(bands) != 1:
        raise SceneError(
            f"{name}: has {len(bands)} bands, and a class map has one; "
            "write the band that holds the classes to a file of its own with gdal_translate -b 1"
        )
    dtype = dataset.dtypes[bands[0] - 1]
    # complex_int16 is GDAL's alone; numpy does not know it
    if "complex" in dtype or np.dtype(dtype).kind not in "iu":
        raise SceneError(
            f"{name}: pixels of {dtype}, and classes are whole numbers; "
            "if its values are, convert it with gdal_translate -ot Int16"
        )
    return bands[0]


def _declared_nodata(dataset: DatasetReader, band: int) -> int | None:
    """The nodata value as the pixels hold it; None where there is none or none that a pixel can equal."""
    stated, limits = dataset.nodatavals[band - 1], np.iinfo(dataset.dtypes[band - 1])
    if stated is None or not float(stated).is_integer() or not limits.min <= stated <= limits.max:
        return None
    return int(stated)


def _alpha(dataset: DatasetReader, band: int) -> int | None:
    return next((i for i, c in enumerate(dataset.colorinterp, 1) if c is ColorInterp.alpha and i != band), None)


def _is_masked(dataset: DatasetReader, band: int) -> bool:
    return _alpha(dataset, band) is not None or has_mask(dataset, band)


def _block_shape(dataset: DatasetReader, band: int) -> tuple[int, int]:
    rows, cols = dataset.block_shapes[band - 1]
    return int(rows), int(cols)


def _stored(
    dataset: DatasetReader, band: int, unobserved: Iterable[int], window: Window
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Stored values of a window and where they are observations; None means everywhere."""
    masks: list[NDArray[np.bool_]] = []
    try:
        stored: NDArray[Any] = dataset.read(band, window=window)
        if (alpha := _alpha(dataset, band)) is not None:
            masks.append(dataset.read(alpha, window=window) > 0)
        if has_mask(dataset, band):
            masks.append(dataset.read_masks(band, window=window) > 0)
    except (RasterioError, ValueError, MemoryError) as error:
        reason = reason_of(error)
        raise SceneError(
            f"{printable(dataset.name)}: cannot be read at row {window.row_off}, column {window.col_off}: {reason}; "
            "the file is damaged or truncated: copy or download it again"
        ) from error
    masks += [ok for value in unobserved if (ok := is_valid(stored, value)) is not None]
    return stored, np.logical_and.reduce(masks) if masks else None


def _values(
    dataset: DatasetReader, band: int, unobserved: Sequence[int], *, whole: bool
) -> tuple[tuple[int, ...], NDArray[Any] | None]:
    """The class values that occur, ascending; and the stored pixels where they are read as a whole.

    Memory: some ten bytes for each pixel of a window of some four million.

    Raises:
        SceneError: If there are more than 255 of them and not all are from 0 to 255, or one is beyond 32 bits.
    """
    seen: set[int] = set()
    # uint8 holds nodata too: it is struck out at the end
    apart = () if dataset.dtypes[band - 1] == "uint8" else unobserved
    stored = None
    windows = (
        [Window(0, 0, dataset.width, dataset.height)] if whole else _windows(dataset.shape, _block_shape(dataset, band))
    )
    for window in windows:
        stored, valid = _stored(dataset, band, apart, window)
        values = stored.ravel() if valid is None else stored[valid]
        if not values.size:
            continue
        # class maps are long runs of one value: most pixels fall out by a comparison
        if values.dtype == np.uint8:
            seen.update(occurring(values))
        else:
            ends = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
            seen.update(np.unique(values[ends]).tolist())
        low, high = min(seen), max(seen)
        if (low < 0 or high > NODATA) and len(seen) > NODATA:
            raise SceneError(
                f"{printable(dataset.name)}: too many classes: more than {NODATA} different values, from {low} to "
                f"{high} in its first {window.row_off + window.height} rows; is it an image? Reclassify it first, for "
                "example with gdal_calc.py"
            )
    if seen and not -(2**31) <= min(seen) <= max(seen) < 2**31:
        raise SceneError(
            f"{printable(dataset.name)}: its values go from {min(seen)} to {max(seen)}, and numbers of classes fit 32 "
            "bits with a sign; reclassify it first, for example with gdal_calc.py"
        )
    return tuple(sorted(v for v in seen if v not in unobserved)), stored if whole else None


def _windows(shape: tuple[int, int], block_shape: tuple[int, int]) -> Iterator[Window]:
    """Windows that cover the raster, along its internal blocks so that each is decoded once."""
    height, width = shape
    block_rows, block_cols = block_shape
    cols = min(width, max(1, _SCAN_PIXELS // (block_rows * block_cols)) * block_cols)
    rows = min(height, max(1, _SCAN_PIXELS // (block_rows * cols)) * block_rows)
    for row in range(0, height, rows):
        for col in range(0, width, cols):
            yield Window(col, row, min(cols, width - col), min(rows, height - row))
