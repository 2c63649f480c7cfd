"""What lies around each pixel corner of a labelled map or block: all that a walk along borders needs to know.

It fits a byte: which of the four pixels around the corner are alike. Pixels side by side are of one component where
they are of one class, so nearly all bytes come from class values, many at a time. Labels are asked for at two kinds of
corners only: where two pixels of one class meet diagonally and no other way, and on the rim, where labels are those of
neighbouring blocks. So no image of labels is painted.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import njit
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
    """The outermost corners of a block, and the labels of the pixels around them."""

    rows: NDArray[np.int64]
    """(n,) row of each corner."""
    cols: NDArray[np.int64]
    """(n,) and column."""
    around: NDArray[np.int32]
    """(4, n) labels of the pixels to the lower right, lower left, upper left and upper right."""
    framed: tuple[bool, bool, bool, bool]
    """Whether top, bottom, left and right lie on the map's frame."""

    @classmethod
    def of(cls, runs: Runs, halo: Halo | None = None) -> "Rim":
        """Of a block in its halo, by default that of a whole map."""
        rows, cols = runs.shape
        if halo is None:
            row, col = np.full(cols + 2, OUTSIDE, np.int32), np.full(rows, OUTSIDE, np.int32)
            halo = row, row, col, col
        above, below, before, behind = halo
        top, bottom, left, right = runs.sides
        # the outermost rows with the pixels beside them
        top, bottom = (np.concatenate([before[[k]], side, behind[[k]]]) for k, side in ((0, top), (-1, bottom)))
        down, across = np.arange(1, rows), np.arange(cols + 1)
        sides = [
            (0 * across, across, (top[1:], top[:-1], above[:-1], above[1:])),
            (down, 0 * down, (left[1:], before[1:], before[:-1], left[:-1])),
            (down, 0 * down + cols, (behind[1:], right[1:], right[:-1], behind[:-1])),
            (0 * across + rows, across, (below[1:], below[:-1], bottom[:-1], bottom[1:])),
        ]
        return cls(
            rows=np.concatenate([side[0] for side in sides]),
            cols=np.concatenate([side[1] for side in sides]),
            around=np.concatenate([np.stack(side[2]) for side in sides], axis=1),
            framed=(above[1] == OUTSIDE, below[1] == OUTSIDE, before[0] == OUTSIDE, behind[0] == OUTSIDE),
        )


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
    _look_diagonally(runs.rows, runs.cols, runs.labels, stride, around, around.view(np.int64))
    around[rim.rows * stride + rim.cols] = _rim_bytes(rim, rows, cols)
    return around, stride


def _rim_bytes(rim: Rim, rows: int, cols: int) -> NDArray[np.uint8]:
    """The bytes of the corners on the rim, by the labels around them."""
    se, sw, nw, ne = rim.around
    # what begins below the block or on its right is another one's
    begins = (ne != se) & (se > 0) & ((se != sw) | (sw == nw)) & (rim.rows < rows) & (rim.cols < cols)
    bits = ((nw != ne, UP), (ne != se, RIGHT), (se != sw, DOWN), (sw != nw, LEFT), (nw != se, DIAGONAL),
            (ne != sw, ANTIDIAGONAL), (begins, BEGINS))  # fmt: skip
    byte = np.full(len(se), RIM, np.uint8)
    for is_set, bit in bits:
        byte |= is_set * np.uint8(bit)
    return byte


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
    rows: NDArray[np.int64],
    cols: NDArray[np.int32],
    labels: NDArray[np.int32],
    stride: int,
    around: NDArray[np.uint8],
    words: NDArray[np.int64],
) -> None:
    """The corners where four borders meet and two pixels of one class, which may be two components.

    Eight bytes are looked at together, as ``words``.
    """
    for r in range(1, len(rows) - 1):
        above, below = rows[r - 1], rows[r]
        for w in range(r * stride >> 3, (r + 1) * stride >> 3):
            word = words[w]
            if word & word >> 1 & word >> 2 & word >> 3 & ~(word >> 4 & word >> 5) & _EACH == 0:
                continue
            for at in range(8 * w, 8 * w + 8):
                byte = around[at]
                if byte & 15 != 15 or byte & 48 == 48:
                    continue
                c = at - r * stride
                # a run begins on either side of the corner: the pixels to its left are those of the runs before
                while cols[above] < c:
                    above += 1
                while cols[below] < c:
                    below += 1
                if labels[above - 1] != labels[below]:
                    around[at] |= DIAGONAL
                if labels[above] != labels[below - 1]:
                    around[at] |= ANTIDIAGONAL
