"""What lies around each pixel corner of a labelled map or block: all that a walk along borders needs to know.

It fits a byte: which of the four pixels around the corner are alike. Pixels side by side are of one component where
they are of one class, so nearly all bytes come from class values, many at a time. Labels are asked for at two kinds of
corners only: where two pixels of one class meet diagonally and no other way, and on the rim, where labels are those of
neighbouring blocks. So no image of labels is painted.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.vector.label import OUTSIDE, Runs

__all__ = [
    "ANTIDIAGONAL",
    "BEGINS",
    "DIAGONAL",
    "DOWN",
    "LEFT",
    "RIGHT",
    "RIM",
    "UP",
    "Halo",
    "Rim",
    "corner_bytes",
    "label_at",
]

# Bits of a corner's byte. The pixels around it differ across: the border that goes up from it, right, down, left; the
# two diagonals. On the rim of the block, where a walk may end. A border that goes right from it begins a ring or a turn
# of one, and was not walked yet.
UP, RIGHT, DOWN, LEFT, DIAGONAL, ANTIDIAGONAL, RIM, BEGINS = (1 << k for k in range(8))

Halo = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]
"""Top and bottom with their corners (cols + 2,), left and right (rows,): the labels of the pixels around a block in its
own numbering, 0 for nodata, `OUTSIDE` beyond the map."""

_EACH: Final = 0x0101010101010101  # a bit of each of eight bytes


class Rim(NamedTuple):
    """Labels of the outermost pixels of a block and of those around it."""

    across: NDArray[np.int32]
    """(4, cols + 2) rows -1, 0, the last and the one after it, from column -1 on."""
    down: NDArray[np.int32]
    """(rows + 2, 4) columns -1, 0, the last and the one after it, from row -1 on."""

    @classmethod
    def of(cls, runs: Runs, halo: Halo | None = None) -> "Rim":
        """Of a block in its halo, by default that of a whole map."""
        rows, cols = runs.shape
        if halo is None:
            row, col = np.full(cols + 2, OUTSIDE, np.int32), np.full(rows, OUTSIDE, np.int32)
            halo = row, row, col, col
        across, down = np.empty((4, cols + 2), np.int32), np.empty((rows + 2, 4), np.int32)
        across[0], across[3], down[1:-1, 0], down[1:-1, 3] = halo
        across[1, 1:-1], across[2, 1:-1], down[1:-1, 1], down[1:-1, 2] = runs.sides
        across[1:3, 0], across[1:3, -1] = halo[2][[0, -1]], halo[3][[0, -1]]
        down[0], down[-1] = halo[0][[0, 1, -2, -1]], halo[1][[0, 1, -2, -1]]
        return cls(across, down)

    @property
    def framed(self) -> tuple[bool, bool, bool, bool]:
        """Whether top, bottom, left and right lie on the map's frame."""
        ends = self.across[0, 1], self.across[3, 1], self.down[1, 0], self.down[1, 3]
        top, bottom, left, right = (bool(label == OUTSIDE) for label in ends)
        return top, bottom, left, right


@njit(nogil=True, cache=True)
def label_at(across: NDArray[np.int32], down: NDArray[np.int32], r: int, c: int) -> Any:
    """Label of a pixel on the rim or around it."""
    rows, cols = down.shape[0] - 2, across.shape[1] - 2
    if r <= 0:
        return across[r + 1, c + 1]
    if r >= rows - 1:
        return across[r - rows + 3, c + 1]
    return down[r + 1, c + 1 if c <= 0 else c - cols + 3]


def corner_bytes(classes: NDArray[np.uint8], runs: Runs, rim: Rim, *, nodata: int) -> tuple[NDArray[np.uint8], int]:
    """The bytes of all corners, and how far it is from a corner to the one below it.

    A corner is named by the pixel to its lower right. Corners within a region are zero.

    Args:
        classes: (rows, cols) class values of the block.
        runs: Of the block.
        rim: Labels at its sides.
        nodata: Class value that means "no observation".

    Returns:
        Bytes, row by row, each row filled up with zeros to whole words of eight; and the length of a row.
    """
    rows, cols = classes.shape
    stride = (cols + 8) // 8 * 8
    around = np.zeros((rows + 1) * stride, dtype=np.uint8)
    is_class = 0 <= nodata <= 255
    _look_around(classes, np.uint8(nodata if is_class else 0), np.uint8(not is_class), stride, around)
    _look_diagonally(runs.rows, runs.cols, runs.labels, stride, around)
    _look_outside(rim.across, rim.down, stride, around)
    return around, stride


@njit(nogil=True, cache=True)
def _look_around(
    classes: NDArray[np.uint8], nodata: np.uint8, all_drawn: np.uint8, stride: int, around: NDArray[np.uint8]
) -> None:
    """The corners within the block, by the classes around them."""
    rows, cols = classes.shape
    for r in range(1, rows):
        above, below = classes[r - 1], classes[r]
        line = around[r * stride + 1 : r * stride + cols]
        for c in range(cols - 1):
            nw, ne, sw, se = above[c], above[c + 1], below[c], below[c + 1]
            up, right, down, left = np.uint8(nw != ne), np.uint8(ne != se), np.uint8(se != sw), np.uint8(sw != nw)
            # where the border on the right goes on from the left, nothing begins
            begins = right & (np.uint8(se != nodata) | all_drawn) & (down | (left ^ np.uint8(1)))
            line[c] = (
                up
                | (right << np.uint8(1))
                | (down << np.uint8(2))
                | (left << np.uint8(3))
                | (np.uint8(nw != se) << np.uint8(4))
                | (np.uint8(ne != sw) << np.uint8(5))
                | (begins << np.uint8(7))
            )


@njit(nogil=True, cache=True)
def _look_diagonally(
    rows: NDArray[np.int64], cols: NDArray[np.int32], labels: NDArray[np.int32], stride: int, around: NDArray[np.uint8]
) -> None:
    """The corners where four borders meet and two pixels of one class, which may be two components."""
    words = around.view(np.uint64)
    per_row = stride // 8
    for r in range(1, len(rows) - 1):
        above, below = rows[r - 1], rows[r]
        for w in range(r * per_row, (r + 1) * per_row):
            word = words[w]
            four = word & (word >> np.uint64(1)) & (word >> np.uint64(2)) & (word >> np.uint64(3))
            other = (word >> np.uint64(4)) & (word >> np.uint64(5))
            if four & ~other & np.uint64(_EACH) == 0:
                continue
            for at in range(8 * w, 8 * w + 8):
                byte = around[at]
                if byte & np.uint8(15) != 15 or byte & np.uint8(48) == 48:
                    continue
                c = at - r * stride
                # a run begins on either side of the corner: the pixels to its left are those of the runs before
                while cols[above] < c:
                    above += 1
                while cols[below] < c:
                    below += 1
                if labels[above - 1] != labels[below]:
                    around[at] |= np.uint8(DIAGONAL)
                if labels[above] != labels[below - 1]:
                    around[at] |= np.uint8(ANTIDIAGONAL)


@njit(nogil=True, cache=True)
def _look_outside(across: NDArray[np.int32], down: NDArray[np.int32], stride: int, around: NDArray[np.uint8]) -> None:
    """The corners on the rim, by the labels around them."""
    rows, cols = down.shape[0] - 2, across.shape[1] - 2
    for r in range(rows + 1):
        for c in range(0, cols + 1, 1 if r in (0, rows) else max(1, cols)):
            nw, ne = label_at(across, down, r - 1, c - 1), label_at(across, down, r - 1, c)
            sw, se = label_at(across, down, r, c - 1), label_at(across, down, r, c)
            byte = (int(nw != ne) * UP) | (int(ne != se) * RIGHT) | (int(se != sw) * DOWN) | (int(sw != nw) * LEFT)
            byte |= (int(nw != se) * DIAGONAL) | (int(ne != sw) * ANTIDIAGONAL) | RIM
            # what begins below the block or on its right is another one's
            if ne != se and se > 0 and (se != sw or sw == nw) and r < rows and c < cols:
                byte |= BEGINS
            around[r * stride + c] = np.uint8(byte)
