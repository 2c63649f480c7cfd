"""Outlines of features in pixel coordinates, on their way to the map."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.kernels import njit
from geoseg.vector.rings import Rings
from geoseg.vector.smooth import smooth_rings

__all__ = ["Shapes"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shapes:
    """Polygons, or with 8-connectivity multipolygons, in the layout of `shapely.from_ragged_array`."""

    points: NDArray[np.float64]
    """(n points, 2) column and row; pixel corners are whole numbers."""
    ring_offsets: NDArray[np.int64]
    """(n rings + 1,) first point of each ring."""
    polygon_offsets: NDArray[np.int64]
    """(n polygons + 1,) first ring of each polygon, its shell."""
    feature_offsets: NDArray[np.int64] | None
    """(n features + 1,) first polygon of each feature; None where every polygon is one."""

    @classmethod
    def of(cls, rings: Rings, *, smooth: bool = False) -> "Shapes":
        """The outlines of features, on pixel edges or with their stairs rounded."""
        if smooth:
            points, ring_offsets = smooth_rings(rings.vertices, rings.ring_offsets, rings.fixed)
        else:
            points, ring_offsets = np.empty((len(rings.codes), 2)), rings.ring_offsets
            _decode(rings.codes, points)
        return cls(
            points=points,
            ring_offsets=ring_offsets,
            polygon_offsets=rings.polygon_offsets,
            feature_offsets=rings.feature_offsets,
        )

    @classmethod
    def of_geometries(cls, geometries: NDArray[np.object_]) -> "Shapes":
        """The outlines of shapely polygons or multipolygons, all of one kind, in pixel coordinates."""
        kind, points, offsets = shapely.to_ragged_array(geometries)
        multi = kind == shapely.GeometryType.MULTIPOLYGON
        return cls(
            points=points,
            ring_offsets=offsets[0],
            polygon_offsets=offsets[1],
            feature_offsets=offsets[2] if multi else None,
        )

    def __len__(self) -> int:
        return len(self.polygon_offsets if self.feature_offsets is None else self.feature_offsets) - 1

    @property
    def first_rings(self) -> NDArray[np.int64]:
        """(n features + 1,) first ring of each feature, whichever of its polygons the rings are of."""
        return self.polygon_offsets if self.feature_offsets is None else self.polygon_offsets[self.feature_offsets]

    def areas_px(self) -> NDArray[np.float64]:
        """(n features,) planar areas, holes left out; square pixels where these are pixel coordinates."""
        rings = np.empty(len(self.ring_offsets) - 1)
        _ring_areas(self.points, self.ring_offsets, rings)
        first = self.first_rings
        return np.abs(np.add.reduceat(rings, first[:-1])) if len(self) else rings[:0]

    def on_map(self, transform: Affine) -> "Shapes":
        """The same outlines in the coordinates of the map, shells counter-clockwise.

        The affine comes last: the same point gets the same floats in every ring.
        """
        xy = np.empty_like(self.points)
        # shells run clockwise on the image; an affine with negative determinant (north-up) keeps that on the map
        a, b, c, d, e, f = (float(v) for v in tuple(transform)[:6])
        _to_map(self.points, self.ring_offsets, transform.determinant < 0, (a, b, c, d, e, f), xy)
        return replace(self, points=xy)

    def geometries(self) -> NDArray[np.object_]:
        """(n features,) shapely polygons or multipolygons."""
        kind, offsets = shapely.GeometryType.POLYGON, [self.ring_offsets, self.polygon_offsets]
        if self.feature_offsets is not None:
            kind, offsets = shapely.GeometryType.MULTIPOLYGON, [*offsets, self.feature_offsets]
        return np.asarray(shapely.from_ragged_array(kind, self.points, tuple(offsets)))

    def wkb(self) -> Any:
        """(n features,) Arrow array of WKB."""
        from geoseg.vector.wkb import multipolygons_wkb, polygons_wkb

        if self.feature_offsets is None:
            return polygons_wkb(self.points, self.ring_offsets, self.polygon_offsets)
        return multipolygons_wkb(self.points, self.ring_offsets, self.polygon_offsets, self.feature_offsets)


@njit(nogil=True, cache=True)
def _decode(codes: NDArray[np.int64], out: NDArray[np.float64]) -> None:
    """As `geoseg.vector.trace.corners`, without the integers in between."""
    for i in range(len(codes)):
        out[i, 0] = (codes[i] & 0xFFFFFFFF) >> 1
        out[i, 1] = codes[i] >> 32


@njit(nogil=True, cache=True)
def _to_map(
    points: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    reverse: bool,
    affine: tuple[float, float, float, float, float, float],
    out: NDArray[np.float64],
) -> None:
    a, b, c, d, e, f = affine
    for ring in range(len(ring_offsets) - 1):
        begin, end = ring_offsets[ring], ring_offsets[ring + 1]
        for k in range(begin, end):
            source = begin + end - 1 - k if reverse else k
            col, row = points[source, 0], points[source, 1]
            out[k, 0] = col * a + row * b + c
            out[k, 1] = col * d + row * e + f


@njit(nogil=True, cache=True)
def _ring_areas(points: NDArray[np.float64], ring_offsets: NDArray[np.int64], out: NDArray[np.float64]) -> None:
    """Signed areas (shoelace, about the first point of each ring)."""
    for ring in range(len(out)):
        begin, end = ring_offsets[ring], ring_offsets[ring + 1]
        x0, y0 = points[begin, 0], points[begin, 1]
        twice = 0.0
        for k in range(begin, end - 1):
            x, y = points[k, 0] - x0, points[k, 1] - y0
            twice += x * (points[k + 1, 1] - y0) - (points[k + 1, 0] - x0) * y
        out[ring] = twice / 2
