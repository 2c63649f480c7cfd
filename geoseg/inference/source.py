"""The source pixels under a block's windows: where they come from, and which of them are read."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.inside import Inside
from geoseg.inference.lattice import Axis, Lattice

__all__ = ["Reader", "Span", "Wanted"]


class Reader(Protocol):
    """Where pixels come from. Used in one thread only, which is not the caller's."""

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Stored values (band, row, col) of a window inside the scene, and where they are valid (row, col)."""

    def close(self) -> None:
        """Let go of files; called in the thread that read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The part of an axis that a block needs: its windows, and the source pixels under them."""

    axis: Axis
    """All windows of the scene along it."""
    windows: tuple[int, ...]
    """Indices of those that the block needs, one after the other."""
    first: int
    """First source pixel under them."""
    end: int
    """Source pixel after the last."""

    @classmethod
    def of(cls, axis: Axis, first: int, end: int) -> "Span":
        """The part that output pixels ``[first, end)`` need."""
        windows = axis.touching(first, end)
        starts = axis.starts
        return cls(
            axis=axis,
            windows=windows,
            first=starts[windows[0]],
            end=min(starts[windows[-1]] + axis.window, axis.length),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wanted:
    """What is asked for of the source under a block's windows."""

    inside: Inside
    """The pixels that are asked for."""
    rows: Span
    """Windows of the block along rows."""
    cols: Span
    """Likewise along columns."""
    touched: NDArray[np.bool_]
    """Which of the block's windows have a pixel that is asked for (lattice row, lattice column)."""

    @classmethod
    def of(cls, inside: Inside, lattice: Lattice, rows: Span, cols: Span) -> "Wanted":
        """What is asked for under the windows of a block."""
        touched = inside.touched(lattice)[np.ix_(rows.windows, cols.windows)]
        return cls(inside=inside, rows=rows, cols=cols, touched=touched)

    def columns(self, start: int, end: int) -> list[tuple[int, int]]:
        """The columns that are read of some source rows: those under windows with a pixel that is asked for."""
        starts = self.rows.axis.starts
        here = [starts[i] < end and starts[i] + self.rows.axis.window > start for i in self.rows.windows]
        needed = np.logical_or.reduce(self.touched[here], axis=0)
        runs: list[tuple[int, int]] = []
        for j, seen in zip(self.cols.windows, needed, strict=True):
            if seen:
                left = self.cols.axis.starts[j]
                right = min(left + self.cols.axis.window, self.cols.end)
                if runs and left <= runs[-1][1]:
                    left, _ = runs.pop()
                runs.append((left, right))
        return runs

    def read(self, reader: Reader, start: int, end: int) -> tuple[NDArray[Any], ...]:
        """Pixels (band, row, col), where they are valid, and where also asked for; what no window needs is not read."""
        shape = (end - start, self.cols.end - self.cols.first)
        pixels, valid = np.empty((0, *shape), np.uint8), np.zeros(shape, np.bool_)
        for left, right in self.columns(start, end):
            read, where = reader.read(start, left, end - start, right - left)
            if not len(pixels):
                pixels = np.zeros((len(read), *shape), read.dtype)
            place = slice(left - self.cols.first, right - self.cols.first)
            pixels[:, :, place], valid[:, place] = read, where
        return pixels, valid, valid & self.inside.mask(start, self.cols.first, *shape)
