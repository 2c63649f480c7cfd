"""Rounding of pixel stairs by corner cutting, the same for both polygons along a border.

A corner ``v`` of a border that may move is replaced by the control points of the quadratic B-spline that leaves the
border at the ends of two arms, which go from ``v`` along its two segments. That is the corner cutting of Chaikin (1974)
in closed form: where arms are half the segments, ``k`` rounds of cutting at 1/4 and 3/4 give exactly these ``2**k``
points (Riesenfeld 1975). An arm is half its segment, but at most 1 pixel, or 2 pixels where the other segment is one
pixel long: the step of a slanted border. So stairs become slopes, and straight borders stay where they are.

Why the coverage stays valid. Borders run on the grid lines between pixels, and a corner that is not fixed has one pixel
of one region and three of another around it. Let that pixel be [0, 1] x [0, 1] and the corner its origin, with arms of
``a`` and ``b`` along x and y. What is cut off lies in R = {sqrt(x/a) + sqrt(y/b) < 1}, between the corner and the
parabola that the points approach from the corner's side.

- R touches no other border. Where a and b are at most 1, R is within the pixel and meets its outline on the two arms
  alone. Else b is 1/2, say, the other segment is one pixel long, and R is within the row 0 < y < 1/2 along the first;
  no border enters that row of pixels, because it would end on the segment and be a fixed vertex there.
- Two such sets are disjoint. Of a common segment each takes less than half. Two in one pixel from opposite corners lie
  on either side of its diagonal, x + y < 1 and x + y > 1. Of those in a row of pixels between two borders, the ones
  longer than a pixel stay below or above its middle, and so do those of the corners at the ends of the row, where the
  segment across it is one pixel long.
- So borders move within sets of their own, and none meets another or itself.
- No pixel centre changes its polygon: at (1/2, 1/2) with a, b <= 1 the left-hand side is at least 1.41, and the rows
  end below y = 1/2. Rasterized by pixel centres, the smoothed polygons are the class map again.

A corner moves ``a b (1 - 4**-k) / 6`` square pixels, thus less than 1/6, from the one pixel's region to the other's.
The total area of the coverage changes along nodata only. Coordinates are multiples of ``2**-(2 k + 1)``, which float64
holds exactly for any map: neighbours get the same bits from whichever end they come.
"""

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.kernels import njit

__all__ = ["MAX_ITERATIONS", "MAX_MOVED_PX", "REACH_PX", "STEP_REACH_PX", "fixed_vertices", "smooth_rings"]

REACH_PX = 1.0
"""Longest arm of a corner, in pixels; with longer ones borders could meet."""
STEP_REACH_PX = 2.0
"""Longest arm along one segment of a corner whose other segment is one pixel long."""
MAX_MOVED_PX = 1 / 6
"""A corner moves less than this area, in square pixels, from one polygon to its neighbour."""
MAX_ITERATIONS = 5
"""32 points per corner, closer to each other than any output can show."""


def fixed_vertices(padded: NDArray[np.integer], vertices: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether vertices must stay: where three or more borders meet, and on the frame of the map.

    Borders that cross at a corner where two regions meet diagonally are four, so that corner is fixed too.

    Args:
        padded: (rows + 2, cols + 2) labels or class values of the whole map within a frame of any value.
        vertices: (n, 2) column and row of pixel corners.

    Example:
        >>> fixed_vertices(np.pad([[1, 1], [2, 3]], 1), np.array([[1, 1], [0, 1]], dtype=np.int32))
        array([ True,  True])
    """
    fixed = np.empty(len(vertices), dtype=np.bool_)
    _mark_fixed(padded, vertices, fixed)
    return fixed


def smooth_rings(
    vertices: NDArray[np.int32],
    ring_offsets: NDArray[np.int64],
    fixed: NDArray[np.bool_],
    *,
    iterations: int = 2,
    reach_px: float = REACH_PX,
    step_reach_px: float = STEP_REACH_PX,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The rings with their corners cut: ``2**iterations`` vertices for each that is not fixed.

    Two rings along the same border get the same vertices, bit for bit.

    Args:
        vertices: (n, 2) column and row of pixel corners; closed rings that turn by a right angle at each vertex that
            is not fixed, as those of `trace_rings` do.
        ring_offsets: (rings + 1,) first vertex of each ring.
        fixed: (n,) whether a vertex stays; see `fixed_vertices`.
        iterations: From 1, which leaves corners of 135 degrees, to `MAX_ITERATIONS`.
        reach_px: Longest arm. Beyond `REACH_PX` neighbouring rings may meet; infinity is Chaikin's own rule.
        step_reach_px: Longest arm beside a segment of one pixel.

    Returns:
        Vertices (columns and rows) and ring offsets, closed rings again. Memory: 16 bytes per vertex.

    Raises:
        ParameterError: If there are too few or too many iterations.

    Example:
        >>> square = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], dtype=np.int32)
        >>> fixed = np.array([True, False, True, True, True])
        >>> vertices, _ = smooth_rings(square, np.array([0, 5]), fixed, iterations=1)
        >>> vertices.tolist()
        [[0.0, 0.0], [3.5, 0.0], [4.0, 0.5], [4.0, 4.0], [0.0, 4.0], [0.0, 0.0]]
    """
    if not 1 <= iterations <= MAX_ITERATIONS:
        raise ParameterError(f"{iterations} iterations of corner cutting: give a number from 1 to {MAX_ITERATIONS}")
    knots = np.linspace(0.0, 1.0, 2**iterations + 1)
    backward, forward = (1 - knots[:-1]) * (1 - knots[1:]), knots[:-1] * knots[1:]
    offsets = np.zeros_like(ring_offsets, dtype=np.int64)
    _count(ring_offsets, fixed, len(backward), offsets)
    out = np.empty((offsets[-1], 2))
    _cut(vertices, ring_offsets, fixed, backward, forward, reach_px, step_reach_px, out)
    return out, offsets


@njit(nogil=True, cache=True)
def _mark_fixed(padded: NDArray[np.integer], vertices: NDArray[np.int32], fixed: NDArray[np.bool_]) -> None:
    rows, cols = padded.shape[0] - 2, padded.shape[1] - 2
    for i in range(len(vertices)):
        col, row = vertices[i, 0], vertices[i, 1]
        up_left, up_right = padded[row, col], padded[row, col + 1]
        down_left, down_right = padded[row + 1, col], padded[row + 1, col + 1]
        borders = (
            int(up_left != up_right)
            + int(up_right != down_right)
            + int(down_right != down_left)
            + int(down_left != up_left)
        )
        fixed[i] = borders >= 3 or row == 0 or row == rows or col == 0 or col == cols


@njit(nogil=True, cache=True)
def _count(ring_offsets: NDArray[np.int64], fixed: NDArray[np.bool_], points: int, offsets: NDArray[np.int64]) -> None:
    """Ring offsets of the result: each vertex stays or becomes ``points``; the first comes again at the end."""
    n = 0
    for ring in range(len(ring_offsets) - 1):
        for i in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
            n += 1 if fixed[i] else points
        n += 1
        offsets[ring + 1] = n


@njit(nogil=True, cache=True)
def _cut(
    vertices: NDArray[np.int32],
    ring_offsets: NDArray[np.int64],
    fixed: NDArray[np.bool_],
    backward: NDArray[np.float64],
    forward: NDArray[np.float64],
    reach: float,
    step_reach: float,
    out: NDArray[np.float64],
) -> None:
    """Every ring in turn; ``backward`` and ``forward`` are the shares of the two arms in each new point."""
    n = 0
    for ring in range(len(ring_offsets) - 1):
        begin, last = ring_offsets[ring], ring_offsets[ring + 1] - 1
        first_out = n
        for i in range(begin, last):
            col, row = float(vertices[i, 0]), float(vertices[i, 1])
            if fixed[i]:
                out[n, 0], out[n, 1] = col, row
                n += 1
                continue
            before = last - 1 if i == begin else i - 1
            back_col, back_row = vertices[before, 0] - col, vertices[before, 1] - row
            on_col, on_row = vertices[i + 1, 0] - col, vertices[i + 1, 1] - row
            # segments run along an axis: this is their length, and quotients by it are 1, 0 and -1
            back_length, on_length = abs(back_col) + abs(back_row), abs(on_col) + abs(on_row)
            back_arm = min(0.5 * back_length, step_reach if on_length == 1.0 else reach)
            on_arm = min(0.5 * on_length, step_reach if back_length == 1.0 else reach)
            back_col, back_row = back_arm * (back_col / back_length), back_arm * (back_row / back_length)
            on_col, on_row = on_arm * (on_col / on_length), on_arm * (on_row / on_length)
            for j in range(len(backward)):
                out[n, 0] = col + backward[j] * back_col + forward[j] * on_col
                out[n, 1] = row + backward[j] * back_row + forward[j] * on_row
                n += 1
        out[n, 0], out[n, 1] = out[first_out, 0], out[first_out, 1]
        n += 1
