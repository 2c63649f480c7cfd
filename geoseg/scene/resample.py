"""A scene on a grid of other pixels: averaged where they are larger, interpolated where they are smaller; see `Taps`.

Weights follow from a pixel's place in the whole scene, and sums are taken in one order, so no bit depends on the window
that is read.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.scene.gsd import gsd_axes_m
from geoseg.scene.mosaic_reader import MosaicReader
from geoseg.scene.read import SceneReader
from geoseg.scene.scene import Scene
from geoseg.scene.taps import Taps

__all__ = ["Observed", "ResampledReader", "resampled"]

_HALF = 0.5
"""Share of a new pixel that has to be observed."""
_SLACK = 1e-5  # sums of float32 weights are 1 but for this
_MAX_HELD_BYTES = 128 << 20
_CHUNK_BYTES = 32 << 20
"""Of source pixels that are weighted at once, as float32."""


def resampled(scene: Scene, gsd_m: float) -> Scene:
    """The scene on a grid of the same outline with pixels of ``gsd_m`` metres of ground, as nearly as whole pixels can.

    Rows and columns each get the number that comes nearest in the middle of the scene, so pixels that are not square on
    the ground, as those of degrees, become so. Stored values become float32 in the same unit.

    Args:
        scene: What `open_scene` gave.
        gsd_m: Metres of ground per pixel.
    """
    down_m, across_m = gsd_axes_m(scene.geobox)
    height, width = (max(1, round(n * size / gsd_m)) for n, size in ((scene.height, down_m), (scene.width, across_m)))
    down, across = scene.height / height, scene.width / width
    geobox = GeoBox((height, width), scene.geobox.transform @ Affine.scale(across, down), scene.geobox.crs)
    rows, cols = scene.block_shape
    return replace(
        scene,
        geobox=geobox,
        bands=tuple(replace(b, dtype="float32", nodata=None, sampling=None) for b in scene.bands),
        block_shape=(max(1, round(rows / down)), max(1, round(cols / across))),
        source=scene,
    )


@dataclass(slots=True, kw_only=True)
class _Held:
    """Source rows that were read last, as they are stored: the next new rows may need the last of them."""

    row: int
    cols: tuple[int, int]
    pixels: NDArray[Any]  # (band, row, col)
    valid: NDArray[np.bool_]  # (row, col)

    @property
    def end(self) -> int:
        return self.row + len(self.valid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Where the pixels of a source are observations, kept from what is read until it is asked for.

    One thread tells, another asks, both from top to bottom.
    """

    _pieces: "deque[tuple[int, int, NDArray[np.bool_]]]" = field(default_factory=deque)

    def tell(self, row: int, col: int, valid: NDArray[np.bool_]) -> None:
        """A window of the source was read: it begins at this row and column."""
        self._pieces.append((row, col, valid))

    def take(self, row: int, col: int, height: int, width: int) -> NDArray[np.bool_]:
        """Where pixels of a window are observed (row, col), False where nothing was read; rows above are forgotten."""
        found = np.zeros((height, width), np.bool_)
        while self._pieces and self._pieces[0][0] + len(self._pieces[0][2]) <= row:
            self._pieces.popleft()
        for first, left, valid in [self._pieces[i] for i in range(len(self._pieces))]:  # more come at the end meanwhile
            top, bottom = max(row, first), min(row + height, first + len(valid))
            start, end = max(col, left), min(col + width, left + valid.shape[1])
            if top < bottom and start < end:
                found[top - row : bottom - row, start - col : end - col] = valid[
                    top - first : bottom - first, start - left : end - left
                ]
        return found


class ResampledReader:
    """Reads windows of a scene that `resampled` made. One thread only, as `SceneReader`.

    Going down a scene, each source row is read once: those that the next rows share are held. Memory is that of the
    rows held, as they are stored, at most 128 MiB, and some 100 MiB for the rows that are weighted at once.
    """

    def __init__(self, scene: Scene, reader: SceneReader | MosaicReader) -> None:
        """Prepare to read.

        Args:
            scene: From `resampled`.
            reader: Of its source, and of the bands that are wanted; it is closed with this one.
        """
        assert scene.source is not None
        self._scene, self._source, self._reader = scene, scene.source, reader
        self._held: _Held | None = None
        self._observed: Observed | None = None

    def tell(self, observed: Observed) -> None:
        """Tell of everything that is read of the source from now on where it is observed."""
        self._observed = observed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._held = None
        self._reader.close()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels that `read` returns."""
        return np.dtype(np.float32)

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values (band, row, col) of a window in stored units, and where at least half of a pixel is observed.

        Args:
            row: First row.
            col: First column.
            height: Rows; the window lies inside the scene.
            width: Columns.

        Raises:
            SceneError: If the file cannot be read there.
        """
        across = Taps.of(col, col + width, length=self._source.width, new_length=self._scene.width)
        first, last = across.span
        per_row = (last - first) * 4 * (len(self._scene.bands) + 1) * self._source.height / self._scene.height
        n_rows = max(1, int(_CHUNK_BYTES / per_row))
        parts = [self._some(r, min(n_rows, row + height - r), across) for r in range(row, row + height, n_rows)]
        return np.concatenate([p for p, _ in parts], axis=1), np.concatenate([v for _, v in parts])

    def _some(self, row: int, height: int, across: Taps) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """A few rows of a window."""
        down = Taps.of(row, row + height, length=self._source.height, new_length=self._scene.height)
        start, end = down.span
        held = self._rows((start, end), across.span)
        inside = slice(start - held.row, end - held.row)
        valid = held.valid[inside]
        with np.errstate(over="ignore"):
            values = np.where(valid, held.pixels[:, inside], 0).astype(np.float32)

        def summed(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return across.sums(down.sums(values, start, values.ndim - 2), held.cols[0], values.ndim - 1)

        seen, values = summed(valid.astype(np.float32)), summed(values)
        observed = seen >= _HALF - _SLACK
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(observed, values / seen, np.float32(0))
        return values, observed

    def _rows(self, rows: tuple[int, int], cols: tuple[int, int]) -> _Held:
        """Source rows that cover those asked for, with those that were held before where they serve."""
        held = self._held
        if held is None or held.cols != cols or not held.row <= rows[0] <= held.end:
            held = None
        start = rows[0] if held is None else held.end
        if start < rows[1]:
            block_rows = self._source.block_shape[0]
            end = min(-(-rows[1] // block_rows) * block_rows, self._source.height)
            per_row = (cols[1] - cols[0]) * self._reader.dtype.itemsize * len(self._scene.bands)
            if (end - start) * per_row > _MAX_HELD_BYTES:
                end = rows[1]  # GDAL's cache has to do
            pixels, valid = self._reader.read(start, cols[0], end - start, cols[1] - cols[0])
            if self._observed is not None:
                self._observed.tell(start, cols[0], valid)
            if held is not None:
                kept = slice(rows[0] - held.row, None)
                pixels = np.concatenate((held.pixels[:, kept], pixels), axis=1)
                valid = np.concatenate((held.valid[kept], valid))
            held = _Held(row=rows[0], cols=cols, pixels=pixels, valid=valid)
            self._held = held
        assert held is not None
        return held
