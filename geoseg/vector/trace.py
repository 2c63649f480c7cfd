"""Rings along pixel edges from labelled components, of a whole map or of a block of it.

A ring is walked with its component on the right. At each pixel corner the two pixels ahead decide:

- the one ahead on the left belongs to the component: turn left. This holds also where the two pixels of the component
  meet at the corner only: the ring then leaves a hole that touches it there as a ring of its own, which is what makes
  the polygon valid.
- else, the one ahead on the right belongs to it: go straight on.
- else turn right.

A corner becomes a vertex where the ring turns, and where the region on the left changes along a straight run. The rings
of two neighbours so have the same vertices along their common border, which makes the polygons a noded coverage.

An edge belongs to the block that holds the pixel on its right. A walk that goes on in another block ends there, and
what was walked is a chain: `geoseg.vector.join` puts chains together by the edges at their ends.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.vector.label import OUTSIDE

__all__ = ["Traced", "corners", "trace"]


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
    areas: NDArray[np.int64]
    """(n,) sum of column x row step: over a whole ring its signed area in pixels, negative for holes."""
    ends: NDArray[np.int64]
    """(n, 2) for chains the first edge of this one and of the next, as ``row << 33 | col << 2 | heading``; for rings
    of no meaning."""

    def __len__(self) -> int:
        return len(self.labels)


def corners(codes: NDArray[np.int64]) -> NDArray[np.int32]:
    """(n, 2) column and row of vertices."""
    out = np.empty((len(codes), 2), dtype=np.int32)
    out[:, 0] = (codes & 0xFFFFFFFF) >> 1
    out[:, 1] = codes >> 32
    return out


def trace(padded: NDArray[np.int32], *, row_off: int = 0, col_off: int = 0) -> tuple[Traced, Traced]:
    """The closed rings and the open chains of all components of a block.

    Rings come in the row-major order of their first edges, a shell before its holes. Seen with rows going down, shells
    run clockwise and holes counter-clockwise.

    Memory: 1 byte per pixel and at most 10 bytes per pixel edge on a border.

    Args:
        padded: (rows + 2, cols + 2) labels of the block within a frame one pixel wide: the labels that its neighbours
            have in the same numbering, `OUTSIDE` beyond the map. 0 is nodata, which has no rings.
        row_off: First row of the block in the scene, for the vertices.
        col_off: First column.
    """
    n_edges = _count_edges(padded)
    capacity = n_edges + n_edges // 4 + 1  # closing vertices; a ring has four edges at least
    codes = np.empty(capacity, dtype=np.int64)  # what is not written takes no memory
    most = n_edges // 4 + 1
    sides = 2 * sum(padded.shape)
    chains = _walks(min(n_edges, 4 * sides) + 1)
    seen = np.zeros(padded.size, dtype=np.bool_)
    n_chains = _trace_chains(padded, row_off, col_off, seen, codes, *chains)
    used = chains[0][n_chains]
    open_chains = _traced(codes[:used].copy(), chains, n_chains)
    rings = _walks(most)
    n_rings = _trace_rings(padded, row_off, col_off, seen, codes, *rings)
    return _traced(codes[: rings[0][n_rings]], rings, n_rings), open_chains


def _walks(most: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Room for the offsets, labels, areas and ends of walks."""
    offsets = np.empty(most + 1, dtype=np.int64)
    offsets[0] = 0
    return offsets, np.empty(most, np.int32), np.empty(most, np.int64), np.empty((most, 2), np.int64)


def _traced(codes: NDArray[np.int64], walks: tuple[Any, ...], n: int) -> Traced:
    offsets, labels, areas, ends = walks
    return Traced(codes=codes, offsets=offsets[: n + 1], labels=labels[:n], areas=areas[:n], ends=ends[:n])


@njit(nogil=True, cache=True)
def _count_edges(padded: NDArray[np.int32]) -> int:
    """Pixel edges between a component and something else, each once for each component."""
    n = 0
    for r in range(1, padded.shape[0] - 1):
        for c in range(1, padded.shape[1] - 1):
            v = padded[r, c]
            if v > 0:
                n += (
                    int(padded[r - 1, c] != v)
                    + int(padded[r, c - 1] != v)
                    + int(padded[r, c + 1] != v)
                    + int(padded[r + 1, c] != v)
                )
    return n


# Offsets into the flat padded labels by heading (right, down, left, up). A corner is named by the pixel to its lower
# right; `stride` is the width of the padded array.
@njit(nogil=True, cache=True, inline="always")
def _offsets(
    stride: int,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    step = (1, stride, -1, -stride)
    ahead_left = (-stride, 0, -1, -stride - 1)
    ahead_right = (0, -1, -stride - 1, -stride)
    behind_left = (-stride - 1, -stride, 0, -1)
    behind_right = (-1, -stride - 1, -stride, 0)
    return step, ahead_left, ahead_right, behind_left, behind_right


@njit(nogil=True, cache=True)
def _code(flat: NDArray[np.int32], stride: int, at: int, row: int, col: int) -> int:
    """The code of the vertex at a corner."""
    nw, ne, sw, se = flat[at - stride - 1], flat[at - stride], flat[at - 1], flat[at]
    borders = int(nw != ne) + int(ne != se) + int(se != sw) + int(sw != nw)
    fixed = borders > 2 or nw == OUTSIDE or ne == OUTSIDE or sw == OUTSIDE or se == OUTSIDE
    return (row << 32) | (col << 1) | int(fixed)


@njit(nogil=True, cache=True)
def _walk(
    flat: NDArray[np.int32],
    shape: tuple[int, int],
    offs: tuple[int, int],
    first: int,
    first_heading: int,
    seen: NDArray[np.bool_],
    codes: NDArray[np.int64],
    n: int,
) -> tuple[int, int, int]:
    """Walk from an edge until it comes again, or until the next edge belongs to another block.

    Edges that go right are marked as they are walked, so that each is walked once.

    Returns:
        Number of vertices so far; sum of column x row step; the edge that comes next.
    """
    rows, cols = shape
    stride = cols + 2
    step, ahead_left, ahead_right, behind_left, _ = _offsets(stride)
    step_row = (0, 1, 0, -1)
    step_col = (1, 0, -1, 0)
    at, heading = first, first_heading
    label = flat[at + ahead_right[heading]]
    row, col = at // stride - 1, at % stride - 1
    area = 0
    while True:
        if heading == 0:
            seen[at] = True
        at += step[heading]
        row += step_row[heading]
        col += step_col[heading]
        area += (col + offs[1]) * step_row[heading]
        left = flat[at + ahead_left[heading]]
        vertex = True
        if left == label:
            heading = (heading + 3) & 3
        elif flat[at + ahead_right[heading]] != label:
            heading = (heading + 1) & 3
        else:  # straight on; with the same region on the left there is no vertex
            vertex = flat[at + behind_left[heading]] != left
        if vertex:
            codes[n] = _code(flat, stride, at, row + offs[0], col + offs[1])
            n += 1
        if at == first and heading == first_heading:
            break
        right_row, right_col = row - int(heading >= 2), col - int(heading == 1 or heading == 2)
        if right_row < 0 or right_row >= rows or right_col < 0 or right_col >= cols:
            break
    return n, area, ((row + offs[0]) << 33) | ((col + offs[1]) << 2) | heading


@njit(nogil=True, cache=True)
def _trace_rings(
    padded: NDArray[np.int32],
    row_off: int,
    col_off: int,
    seen: NDArray[np.bool_],
    codes: NDArray[np.int64],
    offsets: NDArray[np.int64],
    labels: NDArray[np.int32],
    areas: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> int:
    """All rings within the block, in the row-major order of their first edges.

    Every ring has an edge that goes right along the top of a pixel; the first of them in row-major order begins at a
    turn, so the walk starts and ends at a vertex.
    """
    rows, cols = padded.shape[0] - 2, padded.shape[1] - 2
    stride = cols + 2
    flat = padded.ravel()  # a view
    n = 0
    k = 0
    for r in range(rows):
        for c in range(cols):
            at = (r + 1) * stride + c + 1
            label = flat[at]
            if label <= 0 or flat[at - stride] == label or seen[at]:
                continue
            codes[n] = _code(flat, stride, at, r + row_off, c + col_off)
            n, areas[k], ends[k, 1] = _walk(flat, (rows, cols), (row_off, col_off), at, 0, seen, codes, n + 1)
            ends[k, 0] = ends[k, 1]
            labels[k] = label
            k += 1
            offsets[k] = n
    return k


@njit(nogil=True, cache=True)
def _trace_chains(
    padded: NDArray[np.int32],
    row_off: int,
    col_off: int,
    seen: NDArray[np.bool_],
    codes: NDArray[np.int64],
    offsets: NDArray[np.int64],
    labels: NDArray[np.int32],
    areas: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> int:
    """All chains: they begin with the edges of pixels along the block's sides that go on from another block."""
    rows, cols = padded.shape[0] - 2, padded.shape[1] - 2
    stride = cols + 2
    flat = padded.ravel()
    _, ahead_left, _, behind_left, behind_right = _offsets(stride)
    begin_row, begin_col = (0, 0, 1, 1), (0, 1, 1, 0)  # where the edge of a pixel begins, by heading
    n = 0
    k = 0
    for r in range(rows):
        inner = 0 < r < rows - 1
        for c in range(0, cols, max(1, cols - 1) if inner else 1):
            label = flat[(r + 1) * stride + c + 1]
            if label <= 0:
                continue
            for heading in range(4):
                row, col = r + begin_row[heading], c + begin_col[heading]
                at = (row + 1) * stride + col + 1
                if flat[at + ahead_left[heading]] == label:
                    continue  # no border
                # the pixel on the right of the edge before this one
                if flat[at + behind_left[heading]] == label:
                    before = at + behind_left[heading]
                elif flat[at + behind_right[heading]] == label:
                    before = at + behind_right[heading]
                else:
                    continue  # this pixel itself
                before_row, before_col = before // stride - 1, before % stride - 1
                if 0 <= before_row < rows and 0 <= before_col < cols:
                    continue
                ends[k, 0] = ((row + row_off) << 33) | ((col + col_off) << 2) | heading
                n, areas[k], ends[k, 1] = _walk(flat, (rows, cols), (row_off, col_off), at, heading, seen, codes, n)
                labels[k] = label
                k += 1
                offsets[k] = n
    return k
