"""Geodesic perimeters of rings on a pixel grid."""

from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer

from geoseg.vector.trace import Rings

__all__ = ["perimeters_m"]

LONGEST_M = 10_000.0
"""Edges are cut into pieces of about this length, or of one pixel where pixels are larger. A straight line on the map
is no geodesic: over 10 km along the parallel of 60 degrees the geodesic is shorter by 3e-7."""

_EDGES_AT_ONCE = 1 << 20


def perimeters_m(rings: Rings, *, transform: Affine, crs: Any) -> NDArray[np.float64]:
    """Length of all rings of each polygon on the WGS84 ellipsoid, in metres.

    Memory: 8 bytes per vertex, and about 100 MB for the edges in work.

    Args:
        rings: Rings in pixel corners.
        transform: From (column, row) to coordinates of ``crs``.
        crs: Anything pyproj takes.
    """
    if len(rings.polygon_offsets) == 1:
        return np.zeros(0)
    crs = CRS.from_user_input(crs)
    to_lonlat = Transformer.from_crs(crs, 4326, always_xy=True)
    longest_px = max(1.0, LONGEST_M / _pixel_side_m(transform, crs))
    geod = Geod(ellps="WGS84")
    n_edges = len(rings.vertices) - 1  # with those that lead from one ring to the next, which are set to zero below
    lengths = np.zeros(n_edges + 1)
    for begin in range(0, n_edges, _EDGES_AT_ONCE):
        end = min(begin + _EDGES_AT_ONCE, n_edges)
        points, first = _cut(rings.vertices[begin : end + 1].astype(np.float64), longest_px)
        col, row = points[:, 0], points[:, 1]
        x = transform.a * col + transform.b * row + transform.c
        y = transform.d * col + transform.e * row + transform.f
        lon, lat = to_lonlat.transform(x, y)
        pieces = np.asarray(geod.line_lengths(lon, lat))
        lengths[begin:end] = np.add.reduceat(pieces, first)
    lengths[rings.ring_offsets[1:] - 1] = 0.0
    return np.asarray(np.add.reduceat(lengths, rings.ring_offsets[rings.polygon_offsets[:-1]]))


def _cut(vertices: NDArray[np.float64], longest_px: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points along a line such that no piece is longer than asked for, and the first piece of each edge."""
    start, along = vertices[:-1], np.diff(vertices, axis=0)
    n_pieces = np.maximum(1, np.ceil(np.abs(along).sum(axis=1) / longest_px)).astype(np.int64)
    first = np.cumsum(n_pieces) - n_pieces
    edge = np.repeat(np.arange(len(start)), n_pieces)
    share = (np.arange(len(edge)) - first[edge]) / n_pieces[edge]
    return np.concatenate([start[edge] + share[:, None] * along[edge], vertices[-1:]]), first


def _pixel_side_m(transform: Affine, crs: CRS) -> float:
    """Length of the longer pixel side, roughly: as if the map had no distortion."""
    side = max(np.hypot(transform.a, transform.d), np.hypot(transform.b, transform.e))
    radius = 6378137.0 if crs.is_geographic else 1.0  # the unit is an angle, with its factor to radians
    return float(side * crs.axis_info[0].unit_conversion_factor * radius)
