"""Where the pixels of one grid lie in another map, and which class they have there.

The same grid, shifted by whole pixels or cut otherwise, is read as it is. Any other is sampled: the class at a pixel's
centre, or, where the pixels of the second map are smaller, the most frequent class of points spread evenly over the
pixel. Positions are exact at the nodes of a lattice fixed to the grid and linear between, so that they do not depend on
how the map is cut into blocks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from geoseg.inference.lattice import Block
from geoseg.kernels import njit

__all__ = ["MOST_PIXELS", "NUDGE", "ReadMap", "Sampled", "Shifted", "along", "halves_of"]

ReadMap = Callable[[Block], tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]
"""Class values and, where there is any, confidence of a block of a map."""

MOST_PIXELS: Final = 1 << 25
"""Bytes of the second map that are read at once."""
NUDGE: Final = 1e-6
"""A point that lies on an edge belongs to the pixel behind it, whatever the last bit says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted:
    """The second map has the same grid, with another origin."""

    row_off: int
    """Row of the second map at the first row of the common grid."""
    col_off: int
    """Column likewise."""

    def take(self, block: Block, read: ReadMap, nodata: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Class values and confidence of the second map in a block of the common grid, which lies inside it."""
        del nodata  # there is a pixel of the second map at every one of the common grid
        return read(self.moved(block))

    def moved(self, block: Block) -> Block:
        """A block of the common grid in the second map."""
        return replace(block, row_off=block.row_off + self.row_off, col_off=block.col_off + self.col_off)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """The second map has another grid."""

    to_map: Affine
    """From pixels of the common grid to its coordinates."""
    crs: str | None
    """Of these, as WKT; None where both maps have the same CRS."""
    source_crs: str | None
    """Of the second map."""
    to_source: Affine
    """From coordinates of the second map to its pixels."""
    shape: tuple[int, int]
    """Rows and columns of the second map."""
    spacing: int
    """Pixels between nodes."""
    points: int
    """Points along a side of a pixel; 1 takes the class at its centre."""

    def at(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Row and column in the second map of positions in the common grid; infinite where there is none."""
        x, y = _applied(self.to_map, cols, rows)
        if self.crs is not None and self.source_crs is not None:
            x, y = _transformer(self.crs, self.source_crs).transform(x, y)
            x = self._on_this_side(np.asarray(x))
        col, row = _applied(self.to_source, np.asarray(x), np.asarray(y))
        return row, col

    def _on_this_side(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Longitudes within half a turn of the middle of the second map.

        Else they would jump where a map ends at the antimeridian, and what lies between two nodes would lie anywhere.
        """
        turn = _turn(self.source_crs)
        if turn is None:
            return x
        middle, _ = _applied(~self.to_source, np.array(self.shape[1] / 2), np.array(self.shape[0] / 2))
        with np.errstate(invalid="ignore"):
            return x - turn * np.round((x - middle) / turn)

    def take(self, block: Block, read: ReadMap, nodata: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Class values and confidence of the second map in a block of the common grid.

        A pixel of which less than half is observed has no observation. Confidence is the mean of that of the points
        with the class that was taken.
        """
        nodes, first, window = self.reach(block)
        if window is None:
            return np.full((block.height, block.width), nodata, np.uint8), None
        if window.height * window.width > MOST_PIXELS and block.height * block.width > 1:
            return self._halves(block, read, nodata)
        values, confidence = read(window)
        out = np.full((block.height, block.width), nodata, dtype=np.uint8)
        percent = np.full((block.height, block.width), 255, dtype=np.uint8)
        none = np.zeros((0, 0), dtype=np.uint8)
        offsets = np.array([block.row_off - first[0], block.col_off - first[1], window.row_off, window.col_off])
        known = none if confidence is None else confidence
        _sample(values, known, nodes, offsets, self.spacing, self.points, nodata, out, percent)
        return out, None if confidence is None else percent

    def reach(self, block: Block) -> tuple[NDArray[np.float64], tuple[int, int], Block | None]:
        """Where a block of the common grid lies in the second map.

        Returns:
            (2, m, n) row and column in the second map at the nodes around the block, NaN where there is none; row and
            column of the first node in the common grid; the part of the second map around the block, or None.
        """
        first = block.row_off // self.spacing * self.spacing, block.col_off // self.spacing * self.spacing
        lines = [
            np.arange(begin, end + self.spacing, self.spacing, dtype=np.float64)
            for begin, end in zip(first, (block.row_end, block.col_end), strict=True)
        ]
        row, col = self.at(*(g.ravel() for g in np.meshgrid(*lines, indexing="ij")))
        shape = len(lines[0]), len(lines[1])
        row, col = row.reshape(shape), col.reshape(shape)
        ends = [
            [(at - begin[0]) / self.spacing, (end - begin[-2]) / self.spacing]
            for begin, at, end in zip(
                lines, (block.row_off, block.col_off), (block.row_end, block.col_end), strict=True
            )
        ]
        window = self._window(_cut(row, ends), _cut(col, ends))
        nodes = np.stack([row, col])
        nodes[~np.isfinite(nodes)] = np.nan
        return nodes, first, window

    def _window(self, row: NDArray[np.float64], col: NDArray[np.float64]) -> Block | None:
        """The part of the second map that nodes lie around; None where that is none of it."""
        usable = np.isfinite(row) & np.isfinite(col)
        if not usable.any():
            return None
        top, left = (max(0, math.floor(n[usable].min()) - 1) for n in (row, col))
        bottom, right = (
            min(length, math.ceil(n[usable].max()) + 1) for n, length in zip((row, col), self.shape, strict=True)
        )
        if top >= bottom or left >= right:
            return None
        return Block(row_off=top, col_off=left, height=bottom - top, width=right - left)

    def _halves(self, block: Block, read: ReadMap, nodata: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """A block of which the second map has too many pixels, in two pieces."""
        one, two, axis = halves_of(block)
        pieces = [self.take(b, read, nodata) for b in (one, two)]
        percents = [np.full(v.shape, 255, np.uint8) if p is None else p for v, p in pieces]
        known = any(p is not None for _, p in pieces)
        return (
            np.concatenate([v for v, _ in pieces], axis=axis),
            np.concatenate(percents, axis=axis) if known else None,
        )


def halves_of(block: Block) -> tuple[Block, Block, int]:
    """The two halves of a block across its longer side, and the axis along which they follow each other."""
    if block.height >= block.width:
        n = block.height // 2
        rest = replace(block, row_off=block.row_off + n, height=block.height - n)
        return replace(block, height=n), rest, 0
    n = block.width // 2
    return replace(block, width=n), replace(block, col_off=block.col_off + n, width=block.width - n), 1


def _applied(
    affine: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def _cut(nodes: NDArray[np.float64], ends: list[list[float]]) -> NDArray[np.float64]:
    """Nodes of which the outer ones are moved to the edges of a block: what lies between is what the block reaches."""
    for axis, (first, last) in enumerate(ends):
        n = np.moveaxis(nodes, axis, 0)
        with np.errstate(invalid="ignore"):  # where there is no position, there is none between either
            begin, end = (1 - first) * n[0] + first * n[1], (1 - last) * n[-2] + last * n[-1]
        nodes = np.moveaxis(np.concatenate([begin[None], n[1:-1], end[None]]), 0, axis)
    return nodes


@lru_cache(maxsize=8)
def _turn(crs: str | None) -> float | None:
    """Units of a whole turn of longitude, where a CRS counts in longitude and latitude."""
    known = None if crs is None else CRS.from_user_input(crs)
    if known is None or not known.is_geographic:
        return None
    return 2 * math.pi / float(known.axis_info[0].unit_conversion_factor)


@lru_cache(maxsize=8)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


@njit(nogil=True, cache=True)
def _sample(
    values: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    nodes: NDArray[np.float64],
    offsets: NDArray[np.int64],
    spacing: int,
    points: int,
    nodata: int,
    out: NDArray[np.uint8],
    percent: NDArray[np.uint8],
) -> None:
    """Class values and confidence of a block.

    Args:
        values: A window of the second map.
        confidence: Of the same window, or empty.
        nodes: (2, m, n) row and column in the second map at the nodes; NaN where there is none.
        offsets: Row and column of the block behind the first node, and of the window in the second map.
        spacing: Pixels between nodes.
        points: Points along a side of a pixel.
        nodata: Of the second map.
        out: The result, nodata so far.
        percent: Its confidence, 255 so far.
    """
    # by class value: votes, sum of confidence, votes with a confidence
    tally = np.zeros((256, 3), dtype=np.int64)
    seen = np.empty(points * points, dtype=np.int64)
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            i, j = (r + offsets[0]) // spacing, (c + offsets[1]) // spacing
            n = 0
            for p in range(points):
                t = (r + offsets[0] - i * spacing + (p + 0.5) / points) / spacing
                for q in range(points):
                    u = (c + offsets[1] - j * spacing + (q + 0.5) / points) / spacing
                    y = _between(nodes[0], i, j, t, u) - offsets[2]
                    x = _between(nodes[1], i, j, t, u) - offsets[3]
                    if 0 <= y < values.shape[0] and 0 <= x < values.shape[1] and values[y, x] != nodata:
                        seen[n] = values[y, x]
                        n += 1
                        tally[values[y, x], 0] += 1
                        if confidence.size > 0 and confidence[y, x] != 255:
                            tally[values[y, x], 1] += confidence[y, x]
                            tally[values[y, x], 2] += 1
            if n > 0 and 2 * n >= points * points:
                best = _most(seen[:n], tally)
                out[r, c] = best
                if tally[best, 2] > 0:
                    percent[r, c] = (2 * tally[best, 1] + tally[best, 2]) // (2 * tally[best, 2])
            for k in range(n):
                tally[seen[k]] = 0


@njit(nogil=True, cache=True)
def along(nodes: NDArray[np.float64], i: int, j: int, t: float, u: float) -> float:
    """Position in the second map at a point of a cell, along one axis; NaN where the cell has a node without one.

    Args:
        nodes: (rows, cols) positions at the nodes.
        i: Row of the cell.
        j: Column of the cell.
        t: How far down in the cell, 0 to 1.
        u: How far to the right, likewise.
    """
    return float(
        (1 - t) * ((1 - u) * nodes[i, j] + u * nodes[i, j + 1])
        + t * ((1 - u) * nodes[i + 1, j] + u * nodes[i + 1, j + 1])
    )


@njit(nogil=True, cache=True)
def _between(nodes: NDArray[np.float64], i: int, j: int, t: float, u: float) -> int:
    """Pixel of the second map at a point of a cell, along one axis; -1 where the cell has a node without a position."""
    position = along(nodes, i, j, t, u)
    return int(np.floor(position + NUDGE)) if np.isfinite(position) else -1


@njit(nogil=True, cache=True)
def _most(seen: NDArray[np.int64], tally: NDArray[np.int64]) -> int:
    """The most frequent class, the smallest value of several."""
    best = seen[0]
    for value in seen[1:]:
        if tally[value, 0] > tally[best, 0] or (tally[value, 0] == tally[best, 0] and value < best):
            best = value
    return int(best)
