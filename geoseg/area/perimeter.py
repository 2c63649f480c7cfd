"""Perimeters on the WGS84 ellipsoid, from rings on the pixel grid.

An edge is a straight line on the grid; its length is the integral of the metric along it. In the squares of a lattice
over the scene the metric is linear (`Metric.cell_px`): an edge that is no longer than their sides has the metric of its
middle, a longer one is cut into such pieces. Where not even a pixel fits such a square, edges are measured in longer
pieces with three places each (Gauss and Legendre).

Lengths of pieces are rounded to a unit of the scene, some ten nanometres where it is large, and added up as integers.
So the perimeter of a polygon does not depend, by one bit, on where its rings begin, which way they run, or which is
first.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.area.metric import Metric, tensor_at, tensors_at
from geoseg.kernels import njit

__all__ = ["perimeters_m"]

_SHORT = 1 / 16
"""Of a piece: an edge up to this length, 2 km, is measured in its middle, with an error of 4e-9."""
_GAUSS = 0.5 * math.sqrt(0.6)
_MOST_CELLS = 1 << 16
_TOGETHER = 256


def perimeters_m(
    vertices: NDArray[np.int32] | NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    polygon_offsets: NDArray[np.int64],
    metric: Metric,
) -> NDArray[np.float64]:
    """Length of all rings of each polygon on the WGS84 ellipsoid, holes included, in metres.

    Args:
        vertices: (n, 2) column and row on the pixel grid, closed rings.
        ring_offsets: (rings + 1,) first vertex of each ring.
        polygon_offsets: (polygons + 1,) first ring of each polygon; for features of several polygons, the first ring of
            each feature.
        metric: Of the scene.

    Example:
        >>> from affine import Affine
        >>> from odc.geo.geobox import GeoBox
        >>> metric = Metric.of(GeoBox((4, 4), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633"))
        >>> square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], dtype=np.int32)
        >>> perimeters_m(square, np.array([0, 5]), np.array([0, 1]), metric).round(3)  # 40 m on a scale of 0.9996
        array([40.016])
    """
    points, units = np.asarray(vertices, np.float64), np.zeros(len(polygon_offsets) - 1, dtype=np.int64)
    if len(points):
        cells = _cells(points, metric)
        if cells is None:  # compiled only where it is needed
            _add_pieces(points, ring_offsets, polygon_offsets, metric.nodes, *metric.shape, metric.piece_px,
                        1 / metric.unit_m, units)  # fmt: skip
        else:
            _add_edges(points, ring_offsets, polygon_offsets, *cells, metric.cell_px, 1 / metric.unit_m, units)
    return np.asarray(units * metric.unit_m, np.float64)


def _cells(points: NDArray[np.float64], metric: Metric) -> tuple[NDArray[np.float64], int, int, int, int] | None:
    """The metric in the squares of the lattice that points lie in; None if there are none, or too many.

    The lattice is the scene's, whichever of its squares are asked for.

    Returns:
        (rows * cols, 15) metres along one column and along one row, then E, F and G: each as what it would be at the
        scene's corner, and what a column and a row add to it. The first row and column of squares, and the last ones.
    """
    side = metric.cell_px
    if side == 0:
        return None
    height, width = metric.shape
    (left, top), (right, bottom) = (
        _over(least, points).astype(np.int64).tolist() for least in (np.minimum, np.maximum)
    )
    top, bottom, left, right = top // side, min(bottom, height - 1) // side, left // side, min(right, width - 1) // side
    if (bottom - top + 1) * (right - left + 1) > _MOST_CELLS:
        return None
    rows, cols = np.arange(top, bottom + 2.0) * side, np.arange(left, right + 2.0) * side
    rows[-1], cols[-1] = min(rows[-1], height), min(cols[-1], width)
    y, x = (rows[1:] + rows[:-1]) / 2, (cols[1:] + cols[:-1]) / 2
    middle, of_cols, of_rows = (
        _forms(tensors_at(metric.nodes, at_rows / height, at_cols / width))
        for at_rows, at_cols in ((y, x), (y, cols), (rows, x))
    )
    per_col = np.diff(of_cols, axis=1) / np.diff(cols)[:, None]
    per_row = np.diff(of_rows, axis=0) / np.diff(rows)[:, None, None]
    corner = middle - x[:, None] * per_col - y[:, None, None] * per_row
    cells = np.stack([corner, per_col, per_row], axis=-1).reshape(-1, 15)
    return np.asarray(cells, np.float64), top, left, bottom, right


def _over(least: Any, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2,) least or greatest column and row; of many points side by side, which numpy does several times as fast."""
    whole = len(points) // _TOGETHER * _TOGETHER
    together = least.reduce(points[:whole].reshape(-1, 2 * _TOGETHER), axis=0).reshape(-1, 2) if whole else points[:0]
    return np.asarray(least.reduce(np.concatenate([together, points[whole:]]), axis=0))


def _forms(tensors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres along a column and along a row, and the tensors, (..., 5)."""
    return np.asarray(np.concatenate([np.sqrt(np.maximum(tensors[..., ::2], 0.0)), tensors], axis=-1), np.float64)


@njit(nogil=True, cache=True, error_model="numpy")
def _add_edges(
    points: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    polygon_offsets: NDArray[np.int64],
    cells: NDArray[np.float64],
    top: int,
    left: int,
    bottom: int,
    right: int,
    side: int,
    per_unit: float,
    units: NDArray[np.int64],
) -> None:
    """Units of length of each polygon. Squares are as large as they may be: their table stays in the cache."""
    per_side, n_cols = 1.0 / side, right - left + 1
    for polygon in range(len(units)):
        total = 0
        for ring in range(polygon_offsets[polygon], polygon_offsets[polygon + 1]):
            for v in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
                col, row, to_col, to_row = points[v, 0], points[v, 1], points[v + 1, 0], points[v + 1, 1]
                x, y, dc, dr = 0.5 * (col + to_col), 0.5 * (row + to_row), to_col - col, to_row - row
                n = 1
                if max(abs(dc), abs(dr)) > side:
                    if dc < 0 or (dc == 0 and dr < 0):  # the same pieces from either end
                        dc, dr = -dc, -dr
                    n = math.ceil(max(dc, abs(dr)) * per_side)
                    dc, dr = dc / n, dr / n
                    x, y = x - 0.5 * (n - 1) * dc, y - 0.5 * (n - 1) * dr
                for _ in range(n):
                    i, j = min(int(y * per_side), bottom) - top, min(int(x * per_side), right) - left
                    of = i * n_cols + j
                    if dc == 0.0 or dr == 0.0:  # nearly all, where outlines run along pixels: no root is taken
                        k = 3 * int(dc == 0.0)
                        length = abs(dc + dr) * (cells[of, k] + x * cells[of, k + 1] + y * cells[of, k + 2])
                    else:
                        square = (cells[of, 6] + x * cells[of, 7] + y * cells[of, 8]) * dc * dc
                        square += 2.0 * (cells[of, 9] + x * cells[of, 10] + y * cells[of, 11]) * dc * dr
                        square += (cells[of, 12] + x * cells[of, 13] + y * cells[of, 14]) * dr * dr
                        length = math.sqrt(max(square, 0.0))
                    total += int(length * per_unit + 0.5)
                    x, y = x + dc, y + dr
        units[polygon] = total


@njit(nogil=True, cache=True)
def _add_pieces(
    points: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    polygon_offsets: NDArray[np.int64],
    nodes: NDArray[np.float64],
    rows: int,
    cols: int,
    piece: float,
    per_unit: float,
    units: NDArray[np.int64],
) -> None:
    """The same from the nodes themselves."""
    for polygon in range(len(units)):
        for ring in range(polygon_offsets[polygon], polygon_offsets[polygon + 1]):
            for v in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
                dc, dr = points[v + 1, 0] - points[v, 0], points[v + 1, 1] - points[v, 1]
                x, y = points[v, 0] + points[v + 1, 0], points[v, 1] + points[v + 1, 1]  # twice the middle
                longer = max(abs(dc), abs(dr))
                n, gauss = math.ceil(longer / piece), int(longer > _SHORT * piece)
                for i in range(n):
                    for place in range(-gauss, gauss + 1):
                        t = (2 * i + 1 - n + 2.0 * place * _GAUSS) / n
                        e, f, g = tensor_at(nodes, 0.5 * (y + t * dr) / rows, 0.5 * (x + t * dc) / cols)
                        weight = 1.0 if gauss == 0 else 8.0 / 18.0 if place == 0 else 5.0 / 18.0
                        square = e * dc * dc + 2.0 * f * dc * dr + g * dr * dr
                        units[polygon] += int(weight / n * math.sqrt(max(square, 0.0)) * per_unit + 0.5)
