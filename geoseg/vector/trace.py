"""Rings along pixel edges from labelled components.

A ring is walked with its component on the right. At each pixel corner the two pixels ahead decide:

- the one ahead on the left belongs to the component: turn left. This holds also where the two pixels of the component
  meet at the corner only: the ring then leaves a hole that touches it there as a ring of its own, which is what makes
  the polygon valid.
- else, the one ahead on the right belongs to it: go straight on.
- else turn right.

A corner becomes a vertex where the ring turns, and where the region on the left changes along a straight run. The rings
of two neighbours so have the same vertices along their common border, which makes the polygons a noded coverage.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.vector.label import Components

__all__ = ["Rings", "trace_rings"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rings:
    """Closed rings on the pixel grid, grouped by polygon, shell first: the layout of `shapely.from_ragged_array`."""

    vertices: NDArray[np.int32]
    """(n vertices, 2) column and row of pixel corners; the last vertex of a ring is its first again."""
    ring_offsets: NDArray[np.int64]
    """(n rings + 1,) first vertex of each ring."""
    polygon_offsets: NDArray[np.int64]
    """(n polygons + 1,) first ring of each polygon."""


def trace_rings(components: Components, *, reverse: bool = False) -> Rings:
    """The rings of all components, polygon ``k - 1`` from component ``k``.

    Seen with rows going down, shells run clockwise and holes counter-clockwise; ``reverse`` turns both around, so that
    shells come out counter-clockwise on a grid whose y axis points up.

    Memory: 1 byte per pixel, and at most 32 bytes per vertex.
    """
    vertices, starts, owners, areas, n_rings = _trace(components.padded)
    starts, owners, areas = starts[: n_rings + 1], owners[:n_rings], areas[:n_rings]
    # Shell first within a polygon. The shell is the one ring that is walked around its own pixels: positive area.
    order = np.argsort(2 * owners.astype(np.int64) + (areas < 0), kind="stable")
    ring_offsets = np.zeros(n_rings + 1, dtype=np.int64)
    np.cumsum(np.diff(starts)[order], out=ring_offsets[1:])
    polygon_offsets = np.zeros(len(components) + 1, dtype=np.int64)
    np.cumsum(np.bincount(owners, minlength=len(components) + 1)[1:], out=polygon_offsets[1:])
    ordered = np.empty((starts[-1], 2), dtype=np.int32)
    _gather(vertices, starts, order, reverse, ordered)
    return Rings(vertices=ordered, ring_offsets=ring_offsets, polygon_offsets=polygon_offsets)


@njit(nogil=True, cache=True)
def _grown(array: NDArray[Any]) -> NDArray[Any]:
    """The array with twice the room."""
    grown = np.empty(2 * len(array), dtype=array.dtype)
    for i in range(len(array)):  # a slice would take numba seconds to compile
        grown[i] = array[i]
    return grown


@njit(nogil=True, cache=True)
def _with_vertex(vertices: NDArray[np.int32], n: int, col: int, row: int) -> NDArray[np.int32]:
    """Set vertex ``n``; returns the array, or a larger one."""
    if 2 * n >= len(vertices):
        vertices = _grown(vertices)
    vertices[2 * n] = col
    vertices[2 * n + 1] = row
    return vertices


@njit(nogil=True, cache=True)
def _trace(
    padded: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], int]:
    """All rings in the row-major order of their first edge.

    A corner is named by the pixel to its lower right, as an index into the flat padded labels. Every ring has an edge
    that goes right along the top of a pixel; the first of them in row-major order begins at a turn, so the walk starts
    and ends at a vertex. Edges that go right are marked as they are walked, so that each ring is walked once.

    Args:
        padded: (rows + 2, cols + 2) labels in a frame of another label, contiguous.

    Returns:
        Columns and rows of the vertices of all rings in turn, closed; first vertex of each ring, and the end; component
        of each ring; its signed area in pixels, negative for holes; number of rings. The arrays are longer than needed.
    """
    rows, cols = padded.shape[0] - 2, padded.shape[1] - 2
    stride = cols + 2
    flat = padded.ravel()  # a view
    seen = np.zeros(flat.size, dtype=np.bool_)

    # by heading: right, down, left, up
    step = (1, stride, -1, -stride)
    step_row = (0, 1, 0, -1)
    step_col = (1, 0, -1, 0)
    ahead_left = (-stride, 0, -1, -stride - 1)
    ahead_right = (0, -1, -stride - 1, -stride)
    behind_left = (-stride - 1, -stride, 0, -1)

    vertices = np.empty(2048, dtype=np.int32)
    starts = np.zeros(256, dtype=np.int64)
    owners = np.empty(256, dtype=np.int32)
    areas = np.empty(256, dtype=np.int64)
    n_vertices = 0
    n_rings = 0

    for first_row in range(rows):
        for first_col in range(cols):
            first = (first_row + 1) * stride + first_col + 1
            label = flat[first]
            if label <= 0 or flat[first - stride] == label or seen[first]:
                continue
            if n_rings + 1 >= len(owners):
                starts, owners, areas = _grown(starts), _grown(owners), _grown(areas)
            at, row, col, heading = first, first_row, first_col, 0
            area = 0
            vertices = _with_vertex(vertices, n_vertices, col, row)
            n_vertices += 1
            while True:
                if heading == 0:
                    seen[at] = True
                at += step[heading]
                row += step_row[heading]
                col += step_col[heading]
                area += col * step_row[heading]
                left = flat[at + ahead_left[heading]]
                if left == label:
                    heading = (heading + 3) & 3
                elif flat[at + ahead_right[heading]] != label:
                    heading = (heading + 1) & 3
                elif flat[at + behind_left[heading]] == left:
                    continue  # straight on, with the same region on the left: no vertex
                vertices = _with_vertex(vertices, n_vertices, col, row)
                n_vertices += 1
                if at == first and heading == 0:
                    break
            owners[n_rings] = label
            areas[n_rings] = area
            n_rings += 1
            starts[n_rings] = n_vertices
    return vertices, starts, owners, areas, n_rings


@njit(nogil=True, cache=True)
def _gather(
    vertices: NDArray[np.int32],
    starts: NDArray[np.int64],
    order: NDArray[np.int64],
    reverse: bool,
    out: NDArray[np.int32],
) -> None:
    """Copy the rings in the given order, each reversed or as it is."""
    n = 0
    for ring in order:
        begin, end = starts[ring], starts[ring + 1]
        for k in range(end - begin):
            source = end - 1 - k if reverse else begin + k
            out[n, 0] = vertices[2 * source]
            out[n, 1] = vertices[2 * source + 1]
            n += 1
