"""How much of each pixel a polygon covers, exactly, by the signed areas beside its edges.

Every edge going down adds, to each pixel of its rows, the share of the pixel to its right, and every edge going up
takes it away. What remains is the covered fraction. In each row only the change from one pixel to the next is kept, so
that an edge touches few numbers, and a running sum gives the fractions; anti-aliased fonts are drawn in this way. There
is no inside or outside to decide on: coordinates that are off by a hair change a fraction by a hair, at the corners of
pixels and along their edges too.

exactextract, which finds the same by walks through each pixel, is the reference in tests. It is not used here: its
fractions are float32, where an outline passes the corner of a pixel within rounding it can lose the pixel (a test has
one), raise or crash, and with many small zones it takes far longer.

Coordinates are (column, -row): pixels are unit squares and row 0 is on top, whatever the transform of the raster; a
rotated or south-up grid is like any other.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.kernels import njit

__all__ = ["HAIR", "Edges", "edges_of", "fractions", "polygonal", "trace"]

HAIR = 1e-10
"""Fractions closer than this to 0 or 1 are meant to be: running sums are good to some 1e-13."""

_POLYGON, _MULTIPOLYGON, _COLLECTION = 3, 6, 7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edges:
    """The outlines of polygons, one after the other."""

    x: NDArray[np.float64]
    """(n,) columns of the vertices."""
    y: NDArray[np.float64]
    """(n,) rows of the vertices, counted down."""
    goes_on: NDArray[np.bool_]
    """(n,) whether an edge leads from a vertex to the next; none does from the last of a ring."""
    first: NDArray[np.int64]
    """(polygons + 1,) first vertex of each polygon, and the number of all."""


def edges_of(polygons: NDArray[Any]) -> Edges:
    """The edges of valid polygons and multi-polygons in (column, -row), shells turned one way and holes the other."""
    parts, polygon = shapely.get_parts(shapely.orient_polygons(polygons), return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    goes_on = np.zeros(len(xy), dtype=np.bool_)
    goes_on[:-1] = ring[1:] == ring[:-1]
    counts = np.bincount(polygon[part[ring]], minlength=len(polygons))
    return Edges(
        x=np.ascontiguousarray(xy[:, 0]),
        y=np.ascontiguousarray(-xy[:, 1]),
        goes_on=goes_on,
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def fractions(polygon: Any, height: int, width: int) -> NDArray[np.float64]:
    """(height, width) how much of each pixel a polygon covers, 0 to 1.

    Args:
        polygon: Valid polygon or multi-polygon in (column, -row); it may reach beyond.
        height: Rows.
        width: Columns.

    Example:
        >>> fractions(shapely.box(0.5, -1, 2, 0), 1, 3)
        array([[0.5, 1. , 0. ]])
    """
    edges = edges_of(np.array([polygon], dtype=object))
    change = np.zeros((height, width + 1))
    trace(edges.x, edges.y, edges.goes_on, 0, len(edges.x), 0, 0, change, np.zeros((height, 2), dtype=np.int64))
    found = np.cumsum(change, axis=1)[:, :-1]
    return np.where(found > 1 - HAIR, 1.0, np.where(found < HAIR, 0.0, found))


def polygonal(geometries: NDArray[Any]) -> NDArray[Any]:
    """The polygons in geometries; points and lines, such as where two polygons touch, are left out."""
    kinds = shapely.get_type_id(geometries)
    out = geometries.copy()
    out[~np.isin(kinds, (_POLYGON, _MULTIPOLYGON))] = shapely.MultiPolygon()
    mixed = np.flatnonzero(kinds == _COLLECTION)
    if len(mixed):
        parts, owner = shapely.get_parts(geometries[mixed], return_index=True)
        parts, inner = shapely.get_parts(parts, return_index=True)  # a collection may hold multi-polygons
        owner = owner[inner]
        flat = shapely.get_type_id(parts) == _POLYGON
        made = np.full(len(mixed), shapely.MultiPolygon(), dtype=object)
        if flat.any():
            shapely.multipolygons(parts[flat], indices=owner[flat], out=made)
        out[mixed] = made
    return out


@njit(nogil=True, cache=True)
def trace(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    goes_on: NDArray[np.bool_],
    begin: int,
    end: int,
    row_off: int,
    col_off: int,
    change: NDArray[np.float64],
    touched: NDArray[np.int64],
) -> tuple[int, int]:
    """Add the edges of one polygon to the changes of fractions in a block.

    Args:
        x: As in `Edges`.
        y: As in `Edges`.
        goes_on: As in `Edges`.
        begin: First vertex of the polygon.
        end: First vertex of the next one.
        row_off: First row of the block.
        col_off: First column of the block.
        change: (rows, columns + 1) the changes, zero before; their running sums along a row are the fractions.
        touched: (rows, 2) set to the first and the last column of each row that was changed, for the rows returned.

    Returns:
        The first row that was touched, and the one after the last.
    """
    height, width = change.shape[0], change.shape[1] - 1
    top, bottom = float(height), 0.0
    for i in range(begin, end):
        top, bottom = min(top, y[i] - row_off), max(bottom, y[i] - row_off)
    first, last = max(math.floor(top), 0), min(math.ceil(bottom), height)
    for r in range(first, last):
        touched[r, 0], touched[r, 1] = width, -1
    for i in range(begin, end - 1):
        if not goes_on[i]:
            continue
        sign, a, b = 1.0, i, i + 1
        if y[b] < y[a]:
            sign, a, b = -1.0, i + 1, i
        xa, ya, xb, yb = x[a] - col_off, y[a] - row_off, x[b] - col_off, y[b] - row_off
        if ya >= height or yb <= 0 or ya == yb or min(xa, xb) >= width:
            continue
        slope = (xb - xa) / (yb - ya)
        for r in range(max(math.floor(ya), 0), min(math.ceil(yb), height)):
            y0, y1 = max(ya, float(r)), min(yb, float(r + 1))
            x0 = xa if y0 == ya else xa + (y0 - ya) * slope
            x1 = xb if y1 == yb else xa + (y1 - ya) * slope
            if x0 <= x1:
                _along_row(change[r], touched[r], width, x0, x1, y1 - y0, sign)
            else:
                _along_row(change[r], touched[r], width, x1, x0, y1 - y0, sign)
    return first, last


@njit(nogil=True, cache=True)
def _along_row(
    change: NDArray[np.float64],
    touched: NDArray[np.int64],
    width: int,
    left: float,
    right: float,
    height: float,
    sign: float,
) -> None:
    """Add the part of an edge in one row, from left to right, to the changes: pixel by pixel.

    A part of ``height`` in one pixel, on average ``f`` from the pixel's left, leaves ``height * (1 - f)`` of the pixel
    to its right, and ``height`` of all further ones.
    """
    if left >= width or height <= 0:
        return
    if right <= 0:
        change[0] += sign * height
        touched[0], touched[1] = 0, max(touched[1], 0)
        return
    a = left
    rest = height
    k = max(math.floor(left) + 1, 0)
    touched[0] = min(touched[0], k - 1 if k > 0 else 0)
    while True:
        b = min(right, float(k))
        ends = b >= right or k > width
        # what is left goes to the last pixel, so that all parts sum up to the height
        part = rest if ends else height * ((b - a) / (right - left))
        rest -= part
        c = k - 1
        if c < 0:
            change[0] += sign * part
        elif c < width:
            f = (a + b) / 2 - c
            change[c] += sign * part * (1 - f)
            change[c + 1] += sign * part * f
            touched[1] = max(touched[1], c + 1)
        if ends:
            return
        a = b
        k += 1
