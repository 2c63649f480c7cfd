"""Sums of pixels and areas per zone and class.

The raster is read once, block by block, and only where zones are. Pixels that lie in a zone as a whole are summed in
integers, those on its border count by the fraction that is covered. A zone made of whole pixels therefore has the same
sums as the class table, to the last digit.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.area.coverage import HAIR, Edges, edges_of, trace
from geoseg.area.pixel_area import PixelAreas
from geoseg.area.zone_grid import PlacedZones
from geoseg.kernels import njit

__all__ = ["Read", "ZoneSums", "zone_sums"]

_N_VALUES: Final = 256

Read = Callable[[int, int, int, int], NDArray[np.uint8]]
"""Class values of a block: first row, first column, height, width."""


class ZoneSums:
    """Sums per zone and class value, growing by a column with every value that is met in a block."""

    def __init__(self, n_zones: int) -> None:
        self.values: list[int] = []
        self.column = np.full(_N_VALUES, -1, dtype=np.int64)
        self.whole: NDArray[np.int64] = np.zeros((n_zones, 0, 2), dtype=np.int64)
        """Pixels and units of area that count whole."""
        self.part: NDArray[np.float64] = np.zeros((n_zones, 0, 2), dtype=np.float64)
        """Pixels and units of area that count by a fraction."""

    def meet(self, classes: NDArray[np.uint8]) -> None:
        """Make room for the values of a block."""
        seen = np.zeros(_N_VALUES, dtype=np.bool_)
        _mark(classes, seen)
        new = np.flatnonzero(seen & (self.column < 0))
        if len(new):
            self.column[new] = len(self.values) + np.arange(len(new))
            self.values += new.tolist()
            room = ((0, 0), (0, len(new)), (0, 0))
            self.whole, self.part = np.pad(self.whole, room), np.pad(self.part, room)


def zone_sums(read: Read, placed: PlacedZones, areas: PixelAreas, *, n_zones: int, block: tuple[int, int]) -> ZoneSums:
    """All sums; each block that a zone's box touches is read once.

    Memory: 17 bytes for a pixel of a block, 17 for a vertex of a zone, and 32 for a class in a zone.

    Args:
        read: Gives the class values.
        placed: Zones on the pixel grid.
        areas: Pixel areas of the map, which say how large it is.
        n_zones: How many zones there are.
        block: Rows and columns to read at once.
    """
    sums = ZoneSums(n_zones)
    edges = edges_of(placed.pieces)
    tree = shapely.STRtree(placed.pieces)
    for row, col, height, width in _blocks(areas.shape, block):
        # less by a hair: a zone that ends where the block begins is none of it
        box = shapely.box(col + HAIR, HAIR - row - height, col + width - HAIR, -HAIR - row)
        near = np.sort(tree.query(box))
        if len(near):
            classes = np.ascontiguousarray(read(row, col, height, width))
            units = areas.units(row, col, height, width)
            sums.meet(classes)
            _add(sums, classes, units, edges, near, placed.zone[near], row, col)
    return sums


def _blocks(shape: tuple[int, int], block: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    for row in range(0, shape[0], block[0]):
        for col in range(0, shape[1], block[1]):
            yield row, col, min(block[0], shape[0] - row), min(block[1], shape[1] - col)


def _add(
    sums: ZoneSums,
    classes: NDArray[np.uint8],
    units: NDArray[np.int64],
    edges: Edges,
    near: NDArray[np.int64],
    zone: NDArray[np.int64],
    row: int,
    col: int,
) -> None:
    _add_pieces(
        classes, units, sums.column, edges.x, edges.y, edges.goes_on, edges.first, near, zone, row, col,
        sums.whole, sums.part,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _mark(classes: NDArray[np.uint8], seen: NDArray[np.bool_]) -> None:
    """Mark the values that are there."""
    for r in range(classes.shape[0]):
        for c in range(classes.shape[1]):
            seen[classes[r, c]] = True


@njit(nogil=True, cache=True)
def _add_pieces(
    classes: NDArray[np.uint8],
    units: NDArray[np.int64],
    column: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    goes_on: NDArray[np.bool_],
    first: NDArray[np.int64],
    near: NDArray[np.int64],
    zone: NDArray[np.int64],
    row_off: int,
    col_off: int,
    whole: NDArray[np.int64],
    part: NDArray[np.float64],
) -> None:
    """Add what pieces of zones cover in one block to the sums, (zones, values, 2)."""
    height, width = classes.shape
    change = np.zeros((height, width + 1))
    touched = np.zeros((height, 2), dtype=np.int64)
    for i in range(len(near)):
        p, z = near[i], zone[i]
        top, bottom = trace(x, y, goes_on, first[p], first[p + 1], row_off, col_off, change, touched)
        for r in range(top, bottom):
            covered = 0.0
            for c in range(touched[r, 0], width):
                covered += change[r, c]
                change[r, c] = 0.0
                if covered > HAIR:
                    k = column[classes[r, c]]
                    if covered > 1 - HAIR:
                        whole[z, k, 0] += 1
                        whole[z, k, 1] += units[r, c]
                    else:
                        part[z, k, 0] += covered
                        part[z, k, 1] += covered * units[r, c]
                elif c > touched[r, 1]:
                    break  # nothing more in this row
            change[r, width] = 0.0
