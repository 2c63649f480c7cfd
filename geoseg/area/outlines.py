"""True areas around points of a pixel grid, from outlines on the ellipsoid."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.area.ellipsoid import polar_plane
from geoseg.area.turns import beside, full_turn

if TYPE_CHECKING:
    from pyproj import CRS, Transformer

__all__ = ["Outlines", "areas_m2", "lonlat", "pixel_side_m"]

# Outlines around a node have at least this side: coordinates are good to about 2e-9 m, pixels may be centimetres small.
_OUTLINE_M = 50.0
_OUTLINES_AT_ONCE = 1 << 16
# A point of the map that does not come back to this distance is beyond the map's edge, on the other side of the world.
_RETURN_M = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """How outlines on the pixel grid get to longitude and latitude."""

    transform: Affine
    """From (column, row) to coordinates."""
    to_lonlat: "Transformer"
    """From coordinates to WGS84."""
    side_px: float
    """Side of an outline, in pixels."""
    turn: float | None
    """Of longitude along x, where there is one: `geoseg.area.turns.full_turn`."""
    return_px: float
    """How far from itself a point may return from longitude and latitude, in pixels."""

    @classmethod
    def of(cls, transform: Affine, crs: "CRS", to_lonlat: "Transformer") -> Self:
        """Outlines of one pixel, or of more where pixels are small."""
        side_m = pixel_side_m(transform, crs)
        return cls(
            transform=transform,
            to_lonlat=to_lonlat,
            turn=full_turn(crs),
            side_px=max(1.0, _OUTLINE_M / side_m),
            return_px=max(1.0, _RETURN_M / side_m),
        )


def pixel_side_m(transform: Affine, crs: "CRS") -> float:
    """Length of the shorter pixel side, roughly: as if the map had no distortion."""
    side = min(math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e))
    radius = 6378137.0 if crs.is_geographic else 1.0  # the unit is an angle, with its factor to radians
    return float(side * crs.axis_info[0].unit_conversion_factor * radius)


def areas_m2(outlines: Outlines, at_rows: NDArray[np.float64], at_cols: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, cols) area in m² per pixel around pixel centres, from outlines; NaN where the projection does not reach.

    An outline has its corners and the middles of its sides as points. With A4 the area of the corners' polygon and A8
    that of all points, (4 A8 - A4) / 3 is exact for sides that are parabolas, so that large pixels, whose sides are
    curved on the plane, come out right too.
    """
    # clockwise from the first corner, in halves of the side
    dc = np.array([-1, 0, 1, 1, 1, 0, -1, -1]) * (outlines.side_px / 2)
    dr = np.array([-1, -1, -1, 0, 1, 1, 1, 0]) * (outlines.side_px / 2)
    out = np.empty((len(at_rows), len(at_cols)))
    at_once = max(1, _OUTLINES_AT_ONCE // len(at_cols))
    for begin in range(0, len(at_rows), at_once):
        row = (at_rows[begin : begin + at_once, None] + 0.5)[:, :, None] + dr
        col = (at_cols[:, None] + 0.5)[None] + dc
        lon, lat, reached = lonlat(outlines, col, row)  # (rows, cols, 8)
        lat = np.clip(lat, -np.pi / 2, np.pi / 2)  # beyond a pole of a geographic grid there is no area
        north = np.broadcast_to(lat.mean(axis=-1, keepdims=True) >= 0, lat.shape)
        u, v = polar_plane(lon, lat, north=north)
        corners, all_points = _shoelace(u[..., ::2], v[..., ::2]), _shoelace(u, v)
        area = np.abs(4 * all_points - corners) / (3 * outlines.side_px**2)
        out[begin : begin + at_once] = np.where(reached.all(axis=-1), area, np.nan)
    return out


def lonlat(
    outlines: Outlines, col: NDArray[np.float64], row: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Longitude and latitude in radians of points of the grid, and whether the point is on the map at all.

    PROJ gives infinity for some points beyond the edge of a map, and wraps others around the world: those are found by
    going back. On a geographic grid latitudes may be beyond the poles.
    """
    transform = outlines.transform
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    lon, lat = outlines.to_lonlat.transform(x, y)
    reached = np.isfinite(lon) & np.isfinite(lat)
    lon, lat = np.where(reached, lon, 0.0), np.where(reached, lat, 0.0)
    x_back, y_back = outlines.to_lonlat.transform(lon, lat, direction="INVERSE")
    off_x, off_y = np.abs(x_back - x), np.abs(y_back - y)
    if outlines.turn is not None:  # the grid may go on beyond the antimeridian, PROJ's coordinates do not
        off_x = np.abs(beside(x_back - x, 0.0, outlines.turn))
    side = max(math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e))
    # a comparison with infinity or NaN is False
    reached &= np.maximum(off_x, off_y) < outlines.return_px * side
    return np.radians(lon), np.radians(lat), reached


def _shoelace(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed area of polygons along the last axis, taken from their first point for precision."""
    x, y = x - x[..., :1], y - y[..., :1]
    return np.asarray((x * np.roll(y, -1, axis=-1) - np.roll(x, -1, axis=-1) * y).sum(axis=-1) / 2)
