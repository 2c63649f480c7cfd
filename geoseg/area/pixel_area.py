"""True pixel areas on the WGS84 ellipsoid, for any CRS, as integers that add up exactly.

Pixel outlines are mapped to longitude and latitude and on to a plane that keeps area exactly. That is done at the nodes
of a coarse lattice over the scene; between nodes the area is interpolated (cubic), and nodes are added until a check
between them shows the error to be small. A north-up geographic grid needs no interpolation: its areas are exact by row.
`pyproj.Proj.get_factors` is not used: for projections with spherical formulas, Web Mercator among them, its areal scale
is that of a sphere, off by up to 0.7 %.

Areas are rounded to a unit, a power of two of a square metre, small enough not to matter and large enough for the whole
scene to fit an int64. Sums of integers do not depend on their order, so neither the cut into blocks nor the grouping by
class or by polygon changes a total by one bit.
"""

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from numba import njit
from numpy.typing import NDArray

from geoseg.area.ellipsoid import polar_plane, zone_areas_m2
from geoseg.errors import GeosegWarning, ParameterError

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import CRS, Transformer

__all__ = ["PixelAreas", "Stencil", "row_units"]

MAX_ERROR = 1e-6
"""Stated relative error of a pixel's area; beyond it a warning is given."""

_AIM = 1e-7  # nodes are added until the check is below this
_COARSEST_PX = 512
_MOST_NODES = 1 << 21  # 16 MB
_TAPS = 4
# Outlines around a node have at least this side: coordinates are good to about 2e-9 m, pixels may be centimetres small.
_OUTLINE_M = 50.0
_OUTLINES_AT_ONCE = 1 << 16
# A point of the map that does not come back to this distance is beyond the map's edge, on the other side of the world.
_RETURN_M = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlines:
    """How outlines on the pixel grid get to longitude and latitude."""

    transform: Affine
    """From (column, row) to coordinates."""
    to_lonlat: "Transformer"
    """From coordinates to WGS84."""
    side_px: float
    """Side of an outline, in pixels."""
    return_px: float
    """How far from itself a point may return from longitude and latitude, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stencil:
    """How the pixels of one axis are interpolated from its nodes."""

    first: NDArray[np.int64]
    """(n,) first of the four nodes of each pixel."""
    weights: NDArray[np.float64]
    """(n, 4) their weights."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelAreas:
    """True areas of the pixels of a scene; built once per scene, a few hundred kB at most as a rule, picklable."""

    shape: tuple[int, int]
    """Rows and columns of the scene."""
    unit_m2: float
    """Square metres per unit: a power of two, such that the whole scene is below 2**62 units."""
    nodes: NDArray[np.float64]
    """Units per pixel at the nodes, which span the scene evenly from its first pixels to its last; at least 4 x 4."""
    n_nodes: tuple[int, int]
    """Nodes along rows and columns that count; ``nodes`` is padded with zeros where there are fewer than four."""
    error: float
    """Largest relative error found between nodes."""

    @classmethod
    def of(cls, geobox: "GeoBox") -> "PixelAreas":
        """The pixel areas of a scene.

        In a geographic CRS pixels beyond a pole have no area. Elsewhere pixels that the projection does not reach (the
        corners of a world map) get the area of the nearest node in their row that is on the map.

        Raises:
            ParameterError: If the grid has no CRS or one without a way to longitude and latitude, or no pixel on Earth.
        """
        from pyproj import Transformer
        from pyproj.exceptions import ProjError

        if geobox.crs is None:
            raise ParameterError("the pixel grid has no CRS, so its areas are not known: assign the CRS of the scene")
        crs: CRS = geobox.crs.proj
        transform = geobox.transform
        shape = int(geobox.shape[0]), int(geobox.shape[1])
        if _is_exact_by_row(crs, transform):
            unit = (
                math.radians(1) if crs.axis_info[0].unit_name == "degree" else crs.axis_info[0].unit_conversion_factor
            )
            edges = np.asarray((transform.f + transform.e * np.arange(shape[0] + 1)) * unit, dtype=np.float64)
            return cls._quantised(zone_areas_m2(edges, transform.a * unit)[:, None], shape=shape, error=0.0)
        try:
            to_lonlat = Transformer.from_crs(crs, 4326, always_xy=True)
        except ProjError as cause:
            raise ParameterError(
                f"the CRS {crs.name!r} has no way to longitude and latitude: "
                "assign the geographic or projected CRS of the scene"
            ) from cause
        outlines = _Outlines(
            transform=transform,
            to_lonlat=to_lonlat,
            side_px=max(1.0, _OUTLINE_M / _pixel_side_m(transform, crs)),
            return_px=max(1.0, _RETURN_M / _pixel_side_m(transform, crs)),
        )
        nodes, error = _refined_nodes(outlines, shape)
        return cls._quantised(nodes, shape=shape, error=error)

    @classmethod
    def _quantised(cls, nodes_m2: NDArray[np.float64], *, shape: tuple[int, int], error: float) -> "PixelAreas":
        """From areas in m² at the nodes."""
        # one percent of room for what cubics overshoot between nodes
        most = 1.01 * float(nodes_m2.max()) * shape[0] * shape[1]
        if most <= 0:
            raise ParameterError("no pixel of the grid is on Earth: check its CRS and transform")
        unit_m2 = math.ldexp(1.0, math.frexp(most)[1] - 62)
        n_nodes = nodes_m2.shape[0], nodes_m2.shape[1]
        nodes = np.zeros((max(_TAPS, n_nodes[0]), max(_TAPS, n_nodes[1])))
        nodes[: n_nodes[0], : n_nodes[1]] = nodes_m2 / unit_m2
        return cls(shape=shape, unit_m2=unit_m2, nodes=nodes, n_nodes=n_nodes, error=error)

    def stencils(self, row_off: int, col_off: int, height: int, width: int) -> tuple[Stencil, Stencil]:
        """How the rows and the columns of a block are interpolated; the same for a pixel in every block.

        Raises:
            ParameterError: If the block is not within the scene.
        """
        if min(row_off, col_off) < 0 or row_off + height > self.shape[0] or col_off + width > self.shape[1]:
            raise ParameterError(
                f"a block of {height} x {width} px at row {row_off}, column {col_off} is not within the scene of "
                f"{self.shape[0]} x {self.shape[1]} px: cut it at the scene's edge"
            )
        rows = _stencil(self.shape[0], self.n_nodes[0], np.arange(row_off, row_off + height))
        cols = _stencil(self.shape[1], self.n_nodes[1], np.arange(col_off, col_off + width))
        return rows, cols

    def units(self, row_off: int, col_off: int, height: int, width: int) -> NDArray[np.int64]:
        """(height, width) areas of the pixels of a block, in units of ``unit_m2``.

        Raises:
            ParameterError: If the block is not within the scene.
        """
        rows, cols = self.stencils(row_off, col_off, height, width)
        out = np.empty((height, width), dtype=np.int64)
        _fill_units(self.nodes, rows.first, rows.weights, cols.first, cols.weights, out)
        return out


def _is_exact_by_row(crs: "CRS", transform: Affine) -> bool:
    """Whether rows follow parallels of WGS84, or of GRS80, whose areas are the same to 1e-10."""
    if not crs.is_geographic or crs.ellipsoid is None or transform.b != 0 or transform.d != 0:
        return False
    ellipsoid = crs.ellipsoid
    return abs(ellipsoid.semi_major_metre - 6378137) < 1e-3 and abs(ellipsoid.inverse_flattening - 298.257223) < 1e-5


def _pixel_side_m(transform: Affine, crs: "CRS") -> float:
    """Length of the shorter pixel side, roughly: as if the map had no distortion."""
    side = min(math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e))
    radius = 6378137.0 if crs.is_geographic else 1.0  # the unit is an angle, with its factor to radians
    return float(side * crs.axis_info[0].unit_conversion_factor * radius)


def _stencil(length: int, n_nodes: int, pixels: NDArray[np.int64]) -> Stencil:
    """Cubic Lagrange weights of pixels; at the ends of the axis the four nodes are the last ones there are."""
    x = pixels * ((n_nodes - 1) / max(length - 1, 1))
    taps = min(_TAPS, n_nodes)
    first = np.clip(np.floor(x).astype(np.int64) - 1, 0, n_nodes - taps)
    t = x - first
    weights = np.zeros((len(pixels), _TAPS))
    for i in range(taps):
        weights[:, i] = np.prod([(t - j) / (i - j) for j in range(taps) if j != i], axis=0)
    return Stencil(first=first, weights=weights)


def _refined_nodes(outlines: _Outlines, shape: tuple[int, int]) -> tuple[NDArray[np.float64], float]:
    """Areas at as few nodes as the aim allows, and the largest relative error found between them."""
    spacing = _COARSEST_PX
    while True:
        n_rows, n_cols = (min(n, max(_TAPS, math.ceil((n - 1) / spacing) + 1)) for n in shape)
        at_rows, at_cols = np.linspace(0, shape[0] - 1, n_rows), np.linspace(0, shape[1] - 1, n_cols)
        nodes = _areas_m2(outlines, at_rows, at_cols)
        if not np.isfinite(nodes).any():
            raise ParameterError("no pixel of the grid is on Earth: check its CRS and transform")
        nodes = _filled(nodes)
        error = _error_between(outlines, shape, nodes)
        if error <= _AIM or (n_rows, n_cols) == shape:
            return nodes, error
        if 4 * nodes.size > _MOST_NODES:  # the next halving would be beyond it
            if error > MAX_ERROR:
                warnings.warn(
                    f"pixel areas of this grid are good to {error:.1e} only: the projection changes abruptly in it; "
                    "cut the scene into parts, or use a projection made for its region",
                    GeosegWarning,
                    stacklevel=3,
                )
            return nodes, error
        spacing //= 2


def _filled(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nodes; those off the map have the value of the nearest one on it, in their row where there is one.

    In the row, because on cylindrical and pseudocylindrical maps of the world, which are the ones seen with their
    edges, area depends on the latitude alone and latitude on the row alone: the pixels up to the edge come out true.
    """
    missing = ~np.isfinite(nodes)
    if not missing.any():
        return nodes
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(missing, sampling=(1e6, 1), return_distances=False, return_indices=True)
    return np.asarray(nodes[tuple(nearest)])


def _error_between(outlines: _Outlines, shape: tuple[int, int], nodes: NDArray[np.float64]) -> float:
    """Largest relative error of interpolation at up to 40 x 40 pixels half way between nodes.

    Relative to the pixel's own area, or to a thousandth of the largest where that is more: close to the poles of a
    cylindrical map areas go down to zero. Pixels off the map are left out.
    """
    at = [
        np.unique((np.arange(n - 1)[:: max(1, n // 40)] + 0.5) * (length - 1) // max(n - 1, 1)).astype(np.int64)
        for length, n in zip(shape, nodes.shape, strict=True)
    ]
    if not all(len(a) for a in at):
        at = [a if len(a) else np.zeros(1, dtype=np.int64) for a in at]
    true = _areas_m2(outlines, at[0].astype(float), at[1].astype(float))
    rows, cols = (_stencil(length, n, a) for length, n, a in zip(shape, nodes.shape, at, strict=True))
    found = np.zeros_like(true)
    usable = np.isfinite(true)
    for i in range(min(_TAPS, nodes.shape[0])):
        for j in range(min(_TAPS, nodes.shape[1])):
            picked = np.ix_(rows.first + i, cols.first + j)
            found += rows.weights[:, i, None] * cols.weights[:, j] * nodes[picked]
    if not usable.any():
        return 0.0
    floor = 1e-3 * float(true[usable].max())
    return float(np.max(np.abs(found - true)[usable] / np.maximum(true[usable], max(floor, 1e-300))))


def _areas_m2(outlines: _Outlines, at_rows: NDArray[np.float64], at_cols: NDArray[np.float64]) -> NDArray[np.float64]:
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
        lon, lat, reached = _lonlat(outlines, col, row)  # (rows, cols, 8)
        north = np.broadcast_to(lat.mean(axis=-1, keepdims=True) >= 0, lat.shape)
        u, v = polar_plane(lon, lat, north=north)
        corners, all_points = _shoelace(u[..., ::2], v[..., ::2]), _shoelace(u, v)
        area = np.abs(4 * all_points - corners) / (3 * outlines.side_px**2)
        out[begin : begin + at_once] = np.where(reached.all(axis=-1), area, np.nan)
    return out


def _lonlat(
    outlines: _Outlines, col: NDArray[np.float64], row: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Longitude and latitude in radians of points of the grid, and whether the point is on the map at all.

    PROJ gives infinity for some points beyond the edge of a map, and wraps others around the world: those are found by
    going back.
    """
    transform = outlines.transform
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    lon, lat = outlines.to_lonlat.transform(x, y)
    reached = np.isfinite(lon) & np.isfinite(lat)
    lon, lat = np.where(reached, lon, 0.0), np.where(reached, lat, 0.0)
    x_back, y_back = outlines.to_lonlat.transform(lon, lat, direction="INVERSE")
    side = max(math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e))
    # a comparison with infinity or NaN is False
    reached &= np.maximum(np.abs(x_back - x), np.abs(y_back - y)) < outlines.return_px * side
    return np.radians(lon), np.radians(np.clip(lat, -90, 90)), reached


def _shoelace(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed area of polygons along the last axis, taken from their first point for precision."""
    x, y = x - x[..., :1], y - y[..., :1]
    return np.asarray((x * np.roll(y, -1, axis=-1) - np.roll(x, -1, axis=-1) * y).sum(axis=-1) / 2)


@njit(nogil=True, cache=True)
def row_units(
    nodes: NDArray[np.float64],
    row_first: int,
    row_weights: NDArray[np.float64],
    col_first: NDArray[np.int64],
    col_weights: NDArray[np.float64],
    line: NDArray[np.float64],
    out: NDArray[np.int64],
) -> None:
    """Areas of the pixels of one row of a block, in units: the one place where they are made.

    Args:
        nodes: As in `PixelAreas`.
        row_first: First node of the row.
        row_weights: (4,) weights of the row.
        col_first: (width,) first node of each column.
        col_weights: (width, 4) weights of each column.
        line: (node columns,) scratch: the nodes interpolated to the row.
        out: (width,) the result.
    """
    for j in range(col_first[0], col_first[-1] + 4):
        line[j] = (
            row_weights[0] * nodes[row_first, j]
            + row_weights[1] * nodes[row_first + 1, j]
            + row_weights[2] * nodes[row_first + 2, j]
            + row_weights[3] * nodes[row_first + 3, j]
        )
    for c in range(len(out)):
        j = col_first[c]
        area = (
            col_weights[c, 0] * line[j]
            + col_weights[c, 1] * line[j + 1]
            + col_weights[c, 2] * line[j + 2]
            + col_weights[c, 3] * line[j + 3]
        )
        out[c] = np.int64(np.rint(max(area, 0.0)))


@njit(nogil=True, cache=True)
def _fill_units(
    nodes: NDArray[np.float64],
    row_first: NDArray[np.int64],
    row_weights: NDArray[np.float64],
    col_first: NDArray[np.int64],
    col_weights: NDArray[np.float64],
    out: NDArray[np.int64],
) -> None:
    line = np.empty(nodes.shape[1])
    for r in range(out.shape[0]):
        row_units(nodes, row_first[r], row_weights[r], col_first, col_weights, line, out[r])
