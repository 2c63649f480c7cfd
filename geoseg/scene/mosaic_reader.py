"""Reads windows of a mosaic across the borders of its files."""

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.scene.read import SceneReader
from geoseg.scene.scene import Band, Member, Scene

__all__ = ["MosaicReader"]

_MOST_OPEN = 16
"""Files that stay open: a mosaic may have more than a process is allowed."""


class MosaicReader:
    """Reads windows of a scene that `mosaic.joined` made. One thread only, as `SceneReader`.

    Files that a window does not touch are not opened, nor those where others that go first are valid everywhere.
    """

    def __init__(self, scene: Scene, bands: Sequence[Band] | None = None) -> None:
        """Prepare to read these bands of the scene, in this order; all by default."""
        self._scene = scene
        self._names = [b.name for b in (scene.bands if bands is None else bands)]
        kinds = {b.name: b.dtype for b in scene.bands}
        self._dtype = np.result_type(*(kinds[name] for name in self._names))
        self._units: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]] | None] = {}
        self._readers: dict[int, SceneReader] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        # GDAL's settings are a stack of the thread: what came last goes first
        for reader in reversed(self._readers.values()):
            reader.close()
        self._readers.clear()
        self._stack.close()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels that `read` returns: the common type of the bands."""
        return self._dtype

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Stored values (band, row, col) of a window, and where any file is valid (row, col).

        Args:
            row: First row.
            col: First column.
            height: Rows; the window lies inside the scene.
            width: Columns.

        Raises:
            SceneError: If a file cannot be read there.
        """
        pixels = np.zeros((len(self._names), height, width), self._dtype)
        valid = np.zeros((height, width), np.bool_)
        for i, member in enumerate(self._scene.members):
            top, bottom = max(row, member.row_off), min(row + height, member.row_off + member.scene.height)
            left, right = max(col, member.col_off), min(col + width, member.col_off + member.scene.width)
            if top >= bottom or left >= right:
                continue
            place = np.s_[top - row : bottom - row, left - col : right - col]
            if valid[place].all():
                continue
            values, ok = self._reader(i, member).read(
                top - member.row_off, left - member.col_off, bottom - top, right - left
            )
            values = self._in_unit(i, values)
            fresh = ok & ~valid[place]
            if fresh.all():
                pixels[:, *place] = values
            else:
                np.copyto(pixels[:, *place], values, where=fresh)
            valid[place] |= fresh
        return pixels, valid

    def _in_unit(self, i: int, values: NDArray[Any]) -> NDArray[Any]:
        """Stored values of a file in the unit of the mosaic."""
        if i not in self._units:
            by_name = {b.name: b for b in self._scene.members[i].scene.bands}
            whole = {b.name: b for b in self._scene.bands}
            pairs = [(by_name[name], whole[name]) for name in self._names]
            gain, bias = (
                np.array(numbers, np.float32)[:, None, None]
                for numbers in zip(
                    *((b.scale / w.scale, (b.offset - w.offset) / w.scale) for b, w in pairs), strict=True
                )
            )
            self._units[i] = None if (gain == 1).all() and (bias == 0).all() else (gain, bias)
        unit = self._units[i]
        if unit is None:
            return values
        with np.errstate(over="ignore", invalid="ignore"):  # of pixels that are no observations
            converted: NDArray[Any] = values.astype(np.float32) * unit[0] + unit[1]
        return converted

    def _reader(self, i: int, member: Member) -> SceneReader:
        if i not in self._readers:
            if len(self._readers) == _MOST_OPEN:
                self.close()
            if not self._readers:
                # of several products, whose files are opened in turns, none may take the settings of the thread along
                self._stack.enter_context(rasterio.Env())
            by_name = {b.name: b for b in member.scene.bands}
            self._readers[i] = SceneReader(member.scene, [by_name[name] for name in self._names])
        return self._readers[i]
