"""Rings along pixel edges from labelled components, of a whole map or of a block of it.

A ring is walked with its component on the right. At each pixel corner the two pixels ahead decide:

- the one ahead on the left belongs to the component: turn left. This holds also where the two pixels of the component
  meet at the corner only: the ring then leaves a hole that touches it there as a ring of its own, which is what makes
  the polygon valid.
- else, the one ahead on the right belongs to it: go straight on.
- else turn right.

A corner becomes a vertex where the ring turns, and where the region on the left changes along a straight run. The rings
of two neighbours so have the same vertices along their common border, which makes the polygons a noded coverage.

All that a walk needs to know of a corner is a byte (`geoseg.vector.corners`); a step is one look into a table. Corners
within a region are zero, and are passed over eight at a time in the search for rings.

An edge belongs to the block that holds the pixel on its right. A walk that goes on in another block ends there, and
what was walked is a chain: `geoseg.vector.join` puts chains together by the edges at their ends.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import njit
from geoseg.vector.corners import (
    ANTIDIAGONAL,
    BEGINS,
    DIAGONAL,
    DOWN,
    LEFT,
    RIGHT,
    RIM,
    UP,
    Halo,
    Rim,
    corner_bytes,
)
from geoseg.vector.label import Runs

__all__ = ["Traced", "corners", "trace"]

# of an entry of the table: the heading that comes next, and whether the corner is a vertex, and a fixed one
_HEADING, _VERTEX, _FIXED = 3, 4, 8


def _table() -> NDArray[np.uint8]:
    """What to do at a corner, by ``heading << 7 | byte`` without its last bit; headings are right, down, left, up."""
    table = np.zeros(4 << 7, dtype=np.uint8)
    for heading in range(4):
        # whether ahead on the left there is another component, ahead on the right, or another region on the left
        left = (ANTIDIAGONAL, DIAGONAL)[heading & 1]
        right, changes = ((DOWN, UP), (LEFT, RIGHT), (UP, DOWN), (RIGHT, LEFT))[heading]
        for byte in range(1 << 7):
            if not byte & left:
                entry = (heading + 3) & 3 | _VERTEX
            elif byte & right:
                entry = (heading + 1) & 3 | _VERTEX
            else:
                entry = heading | (_VERTEX if byte & changes else 0)
            n_borders = (byte & (UP | RIGHT | DOWN | LEFT)).bit_count()
            table[heading << 7 | byte] = entry | (_FIXED if n_borders > 2 else 0)
    return table


_TABLE: Final = _table()
_EACH_BEGINS, _EACH_BORDER = (
    int(np.frombuffer(bytes([b]) * 8, np.int64)[0]) for b in (BEGINS, UP | RIGHT | DOWN | LEFT)
)
_ONE, _TWO, _FOUR, _TOP_BYTE = (np.uint64(n) for n in (1, 2, 4, 56))
_EACH, _EACH_SECOND, _EACH_FOURTH, _LOW_HALVES = (np.uint64(0x0101010101010101 * k) for k in (1, 0x55, 0x33, 0x0F))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traced:
    """Closed rings or open chains, in the order in which they were found.

    A vertex is one number, its code: ``row << 32 | col << 1 | fixed``, counted in the whole scene; ``fixed`` says that
    three or more borders meet there, or that it lies on the map's frame. Codes are in row-major order; see `corners`.
    """

    codes: NDArray[np.int64]
    """(n vertices,) of all walks in turn. A ring ends with its first vertex again; a chain's first corner is left to
    the chain before it."""
    offsets: NDArray[np.int64]
    """(n + 1,) first vertex of each walk."""
    labels: NDArray[np.int32]
    """(n,) label of the component on the right."""
    ends: NDArray[np.int64]
    """(n, 2) for chains the first edge of this one and of the next, as ``row << 33 | col << 2 | heading``; for rings
    of no meaning, but twice the same."""

    def __len__(self) -> int:
        return len(self.labels)


def corners(codes: NDArray[np.int64]) -> NDArray[np.int32]:
    """(n, 2) column and row of vertices."""
    out = np.empty((len(codes), 2), dtype=np.int32)
    out[:, 0] = (codes & 0xFFFFFFFF) >> 1
    out[:, 1] = codes >> 32
    return out


def trace(
    classes: NDArray[np.uint8],
    runs: Runs,
    *,
    nodata: int,
    halo: Halo | None = None,
    row_off: int = 0,
    col_off: int = 0,
) -> tuple[Traced, Traced]:
    """The closed rings and the open chains of all components of a block.

    Rings come in the row-major order of their first edges, a shell before its holes. Seen with rows going down, shells
    run clockwise and holes counter-clockwise.

    Memory: 1 byte per pixel, 8 bytes per vertex and 28 per ring; room is asked for more, which is not touched.

    Args:
        classes: (rows, cols) class values of the block.
        runs: Its runs. What differs by label is another component.
        nodata: Class value that means "no observation"; it has no rings.
        halo: The labels around the block; by default there is nothing beyond it.
        row_off: First row of the block in the scene, for the vertices.
        col_off: First column.
    """
    rows, cols = classes.shape
    rim = Rim.of(runs, halo)
    around, stride = corner_bytes(classes, runs, rim, nodata=nodata)
    top, bottom, left, right = rim.framed
    frame = 0 if top else -1, rows if bottom else -1, 0 if left else -1, cols if right else -1
    place = (rows, cols, stride, (row_off << 32) + (col_off << 1), *frame)
    words = around.view(np.int64)
    n_turns = _ones(words, _EACH_BEGINS)
    # a corner is a vertex of each ring that turns at it or meets a border there, so there are no more than borders
    codes = np.empty(_ones(words, _EACH_BORDER) + n_turns + 1, dtype=np.int64)
    steps = _TABLE, np.array([1, stride, -1, -stride]), np.array([2, 1 << 32, -2, -(1 << 32)])
    heading, which = _chain_begins(rim, rows, cols)
    row, col = rim.rows[which], rim.cols[which]
    n_chains, most = len(which), len(which) + n_turns
    # room for all walks; what is not written takes no memory
    offsets, labels, ends = np.zeros(most + 1, np.int64), np.empty(most, np.int32), np.empty((most, 2), np.int64)
    labels[:n_chains] = rim.around[heading, which]
    ends[:n_chains, 0] = (row + row_off) << 33 | (col + col_off) << 2 | heading
    n = _trace(row * stride + col, runs.rows, runs.cols, runs.labels, place, around, words, *steps, codes,
               offsets, labels, ends)  # fmt: skip
    chains, rings = (
        Traced(
            codes=codes[offsets[begin] : offsets[end]],
            offsets=offsets[begin : end + 1] - offsets[begin],
            labels=labels[begin:end],
            ends=ends[begin:end],
        )
        for begin, end in ((0, n_chains), (n_chains, n))
    )
    return rings, replace(chains, codes=chains.codes.copy(), labels=chains.labels.copy(), ends=chains.ends.copy())


@njit(nogil=True, cache=True)
def _ones(words: NDArray[np.int64], bits: int) -> Any:
    """How many of these bits are set in all words; compilers know the pattern, and make it one instruction."""
    n: Any = np.int64(0)
    for word in words:
        pairs = np.uint64(word & bits)
        pairs -= pairs >> _ONE & _EACH_SECOND
        fours = (pairs & _EACH_FOURTH) + (pairs >> _TWO & _EACH_FOURTH)
        n += np.int64((fours + (fours >> _FOUR) & _LOW_HALVES) * _EACH >> _TOP_BYTE)
    return n


def _chain_begins(rim: Rim, rows: int, cols: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Heading, and which corner of the rim, of the edges of the block's pixels that go on from another block."""
    below, above, right, left = rim.rows < rows, rim.rows > 0, rim.cols < cols, rim.cols > 0
    inside = np.stack([below & right, below & left, above & left, above & right])
    # by heading, the pixel on the right of the edge, and then clockwise around the corner
    own, behind_right, behind_left, ahead_left = (np.roll(rim.around, -k, axis=0) for k in range(4))
    # the pixel on the right of the edge before this one: where it is this pixel itself, that edge is within the block
    comes = np.where(behind_left == own, ~np.roll(inside, -2, axis=0), ~np.roll(inside, -1, axis=0))
    comes &= (behind_left == own) | (behind_right == own)
    heading, which = np.nonzero(inside & comes & (own > 0) & (ahead_left != own))
    return heading, which


_Place = tuple[int, int, int, int, int, int, int, int]
"""Rows and columns of the block, how far it is from a corner to the one below it, the code of the block's first corner,
and the first and last row and column of corners, -1 where they do not lie on the map's frame."""


@njit(nogil=True, cache=True)
def _walk(
    first: Any,
    edge: Any,
    place: _Place,
    around: NDArray[np.uint8],
    table: NDArray[np.uint8],
    to: NDArray[np.int64],
    move: NDArray[np.int64],
    codes: NDArray[np.int64],
    n: Any,
) -> tuple[Any, Any]:
    """Walk from an edge at the corner ``first`` until it comes again, or until the next edge is another block's.

    Edges that go right are marked as walked.

    Returns:
        Number of vertices so far, and the edge that comes next.
    """
    rows, cols, _, origin, top, bottom, left, right = place
    at: Any = first
    first_heading = edge & _HEADING
    heading, code = first_heading, edge >> 2 << 1
    if heading == 0:
        around[at] &= BEGINS - 1
    while True:
        at += to[heading]
        code += move[heading]
        byte = np.int64(around[at])
        entry = np.int64(table[heading << 7 | (byte & (BEGINS - 1))])
        heading = entry & _HEADING
        codes[n] = code | (entry >> 3)
        if byte & RIM:
            row, col = code - origin >> 32, (code - origin & 0xFFFFFFFF) >> 1
            if row == top or row == bottom or col == left or col == right:  # noqa: SIM109
                codes[n] = code | 1
            row, col = row - int(heading >= 2), col - int(heading == 1 or heading == 2)
            if row < 0 or row >= rows or col < 0 or col >= cols:  # the pixel on the right of the next edge
                n += entry >> 2 & 1
                break
        n += entry >> 2 & 1
        around[at] = byte & (int(heading != 0) << 7 | (BEGINS - 1))  # no branch: it would be guessed wrong too often
        if at == first and heading == first_heading:
            break
    return n, code << 1 | heading


@njit(nogil=True, cache=True)
def _trace(
    first: NDArray[np.int64],
    first_run: NDArray[np.int64],
    first_col: NDArray[np.int32],
    label: NDArray[np.int32],
    place: _Place,
    around: NDArray[np.uint8],
    words: NDArray[np.int64],
    table: NDArray[np.uint8],
    to: NDArray[np.int64],
    move: NDArray[np.int64],
    codes: NDArray[np.int64],
    offsets: NDArray[np.int64],
    labels: NDArray[np.int32],
    ends: NDArray[np.int64],
) -> int:
    """All chains from their first edges, then all rings within the block, in the row-major order of their first edges.

    Every ring has an edge that goes right along the top of a pixel; the first of them in row-major order begins at a
    turn, so the walk starts and ends at a vertex. Chains are walked before, so what was not walked is a ring's.

    Returns:
        Number of walks.
    """
    stride, origin = place[2], place[3]
    n = np.int64(0)  # no literal: what is called with one is compiled for it, and once more
    k = len(first)
    for chain in range(k):
        n, ends[chain, 1] = _walk(first[chain], ends[chain, 0], place, around, table, to, move, codes, n)
        offsets[chain + 1] = n
    for r in range(len(first_run) - 1):
        run, last_run = first_run[r], first_run[r + 1] - 1
        for w in range(r * stride >> 3, (r + 1) * stride >> 3):
            if words[w] & _EACH_BEGINS == 0:
                continue
            for at in range(8 * w, 8 * w + 8):
                if around[at] & BEGINS == 0:
                    continue
                begin, col = n, at - r * stride
                edge = origin + (r << 32) + (col << 1) << 1
                n, edge = _walk(at, edge, place, around, table, to, move, codes, n + 1)
                codes[begin] = codes[n - 1]
                while run < last_run and first_col[run + 1] <= col:
                    run += 1
                labels[k] = label[run]
                ends[k, 0] = ends[k, 1] = edge
                k += 1
                offsets[k] = n
    return k
