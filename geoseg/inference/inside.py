"""Which pixels of a scene are asked for: an area of interest on its pixel grid.

Pixels are told apart by their centres, along each row of the whole scene by itself, so that the answer is the same
whatever window of it is asked for. What is kept is not a mask of the scene but the runs of pixels inside, row by row.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.inference.lattice import Axis, Block, Lattice

__all__ = ["Inside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The pixels of a scene whose centres lie in an area of interest."""

    height: int
    """Rows of the scene."""
    width: int
    """Columns of the scene."""
    outline: bytes = field(repr=False)
    """A valid polygon or multi-polygon in (column, row) of the scene, as WKB."""
    digest: str
    """SHA-256 of the area in its own CRS: what it is, wherever it is put."""
    label: str
    """What the user named."""

    @property
    def n_pixels(self) -> int:
        """Pixels that are asked for."""
        spans = self._spans()
        return int((spans.end - spans.first).sum())

    @property
    def is_whole(self) -> bool:
        """Whether that is every pixel of the scene."""
        return self.n_pixels == self.height * self.width

    def moved(self, row: int, col: int, height: int, width: int) -> "Inside":
        """The same pixels on a larger grid, in which the first pixel of this one has that row and column."""
        area = shapely.transform(shapely.from_wkb(self.outline), lambda xy: xy + np.array([col, row]))
        frame = shapely.box(col, row, col + self.width, row + self.height)
        # what lies beyond this grid is none of it
        outline = bytes(shapely.to_wkb(shapely.intersection(area, frame)))
        return replace(self, height=height, width=width, outline=outline)

    def around(self, height: int, width: int) -> "Inside":
        """On a grid of the same ends with other pixels: those that lie at or near the ones that are asked for here.

        Near enough for `Taps`: all pixels there of which one that is asked for here is made.
        """
        down, across = height / self.height, width / self.width
        # a pixel is made of those that it covers, or of its neighbours; 1.5 is more than the diagonal of a square
        reach = 1.5 * (max(down, across, 1.0) + 1) / 2
        area = shapely.transform(shapely.from_wkb(self.outline), lambda xy: xy * np.array([across, down]))
        return replace(self, height=height, width=width, outline=bytes(shapely.to_wkb(shapely.buffer(area, reach))))

    def mask(self, row: int, col: int, height: int, width: int) -> NDArray[np.bool_]:
        """Where pixels of a window are asked for (row, col)."""
        at, first, end = self._spans().between(row, row + height)
        steps = np.zeros((height, width + 1), np.int32)
        np.add.at(steps, (at - row, np.clip(first - col, 0, width)), 1)
        np.add.at(steps, (at - row, np.clip(end - col, 0, width)), -1)
        inside: NDArray[np.bool_] = steps[:, :width].cumsum(axis=1) > 0
        return inside

    def within(self, block: Block) -> Block | None:
        """The smallest part of a block that holds all of its pixels that are asked for; None if there is none."""
        at, first, end = self._spans().between(block.row_off, block.row_end)
        first, end = np.maximum(first, block.col_off), np.minimum(end, block.col_end)
        some = first < end
        if not some.any():
            return None
        row, col = int(at[some].min()), int(first[some].min())
        return Block(row_off=row, col_off=col, height=int(at[some].max()) + 1 - row, width=int(end[some].max()) - col)

    def touched(self, lattice: Lattice) -> NDArray[np.bool_]:
        """Which windows have a pixel that is asked for (lattice row, lattice column)."""
        spans = self._spans()
        down, across = (
            _range_of(lattice.rows, spans.row, spans.row + 1),
            _range_of(lattice.cols, spans.first, spans.end),
        )
        # a span is in every window of a rectangle of the lattice: counted by its corners, summed up once for all
        corners = np.zeros((len(lattice.rows.starts) + 1, len(lattice.cols.starts) + 1), np.int64)
        for i, j, sign in ((0, 0, 1), (0, 1, -1), (1, 0, -1), (1, 1, 1)):
            np.add.at(corners, (down[i], across[j]), sign)
        found: NDArray[np.bool_] = corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
        return found

    def _spans(self) -> "_Spans":
        return _spans_of(self.outline, self.height, self.width)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Spans:
    """Runs of pixels, in the order of rows; none is empty."""

    row: NDArray[np.int64]
    first: NDArray[np.int64]
    end: NDArray[np.int64]

    def between(self, row: int, row_end: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Row, first column and column after the last of the runs in some rows."""
        rows = slice(*np.searchsorted(self.row, (row, row_end)))
        return self.row[rows], self.first[rows], self.end[rows]


@lru_cache(maxsize=8)
def _spans_of(outline: bytes, height: int, width: int) -> _Spans:
    """The runs of pixels whose centres are inside, by even and odd crossings of the edges with each row's middle."""
    xy, ring = shapely.get_coordinates(
        shapely.get_rings(shapely.get_parts(shapely.from_wkb(outline))), return_index=True
    )
    edge = np.flatnonzero(ring[1:] == ring[:-1])
    (x0, y0), (x1, y1) = xy[edge].T, xy[edge + 1].T
    # an edge belongs to the rows whose middle is at or below its upper end and above its lower one: each vertex to one
    top, bottom = (np.clip(np.ceil(f(y0, y1) - 0.5), 0, height).astype(np.int64) for f in (np.minimum, np.maximum))
    n = bottom - top
    edge = np.repeat(np.arange(len(n)), n)
    row = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + top[edge]
    with np.errstate(over="ignore"):
        x = x0[edge] + (row + 0.5 - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
    col = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    order = np.lexsort((col, row))
    row, col = row[order], col[order]
    first, end = col[::2], col[1::2]
    some = first < end
    return _Spans(row=row[::2][some], first=first[some], end=end[some])


def _range_of(axis: Axis, first: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """For pixels ``[first, end)`` the first window that has one of them, and the window after the last."""
    starts = np.asarray(axis.starts)
    return np.searchsorted(starts + axis.window, first, side="right"), np.searchsorted(starts, end, side="left")
