"""Polygons around a pole, or with one on their border, in longitude and latitude.

A ring around a pole does not close there: it ends a turn further on. It is closed along the pole, from -180 to 180
degrees, as RFC 7946 allows no other way; a pole on a ring is a point on the map, and a piece of the edge of the world
here.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError

__all__ = ["at_pole", "polar", "with_poles"]

_AT_POLE: Final = 90.0 - 1e-9
"""Latitude, either way, from which on longitude means nothing."""
_GRID: Final = 1e-9  # of a degree, as the coordinates that are written
_NEAR: Final = 1e-9  # of an edge's length


def at_pole(lat: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where latitudes are those of a pole."""
    return np.abs(lat) >= _AT_POLE


def with_poles(
    xy: NDArray[np.float64], rings: NDArray[np.int64], poles: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rings with a vertex wherever one of their edges goes through one of the poles, given as points of the map."""
    for pole in poles:
        if (pole < xy.min(axis=0)).any() or (pole > xy.max(axis=0)).any():
            continue
        start, along = xy[:-1], np.diff(xy, axis=0)
        length = np.hypot(along[:, 0], along[:, 1])
        with np.errstate(invalid="ignore", divide="ignore"):
            share = ((pole - start) * along).sum(axis=1) / length**2
            beside = np.abs(along[:, 0] * (pole - start)[:, 1] - along[:, 1] * (pole - start)[:, 0]) / length**2
        through = (share > _NEAR) & (share < 1 - _NEAR) & (beside <= _NEAR)
        through[rings[1:-1] - 1] = False  # from one ring to the next
        before = np.flatnonzero(through) + 1
        xy = np.insert(xy, before, pole, axis=0)
        rings = rings + np.searchsorted(before, rings, side="left")
    return xy, rings


def polar(
    xy: Sequence[NDArray[np.float64]], lon: Sequence[NDArray[np.float64]], lat: Sequence[NDArray[np.float64]]
) -> NDArray[np.object_]:
    """A polygon at a pole as polygons within -180 to 180 degrees.

    Args:
        xy: Its rings on the map (vertex, 2), closed, the shell first.
        lon: Longitudes of the same vertices.
        lat: Latitudes.

    Raises:
        ParameterError: If a ring goes round more than once.
    """
    import shapely

    regions = []
    for i, (points, east, north) in enumerate(zip(xy, lon, lat, strict=True)):
        is_hole = i > 0
        # with the polygon on the left of every ring it is told on which side of one around a pole it lies
        turned = bool(shapely.is_ccw(shapely.LinearRing(points))) == is_hole
        regions.append(_region(east[::-1] if turned else east, north[::-1] if turned else north, is_hole=is_hole))
    holes = shapely.union_all(regions[1:], grid_size=_GRID)
    return _polygons(shapely.difference(regions[0], _areal(holes), grid_size=_GRID))


def _polygons(geometry: Any) -> NDArray[np.object_]:
    """The polygons among the parts of a geometry: where rings touch themselves lines come along."""
    import shapely

    parts = shapely.get_parts([geometry])
    parts = shapely.get_parts(parts)  # of collections
    found: NDArray[np.object_] = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return found


def _areal(geometry: Any) -> Any:
    import shapely

    return shapely.multipolygons(_polygons(geometry))


def _region(lon: NDArray[np.float64], lat: NDArray[np.float64], *, is_hole: bool) -> Any:
    """What a ring holds, within the world; the polygon that it is of lies on its left."""
    import shapely

    path, turns = _path(lon, lat)
    if abs(turns) > 1:
        raise ParameterError("a polygon goes round a pole more than once: choose another format, such as GeoPackage")
    if turns:
        pole = 90.0 if (turns > 0) != is_hole else -90.0
        # from the vertex next to the pole a straight line to it meets no other part of the ring
        first = int(np.argmax(path[:-1, 1] * pole))
        path = np.concatenate([path[first:-1], path[: first + 1] + np.array([360.0 * turns, 0.0])])
        path = np.concatenate([path, [[path[-1, 0], pole], [path[0, 0], pole], path[0]]])
    shape = _areal(shapely.make_valid(shapely.Polygon(path)))
    west, _, east, _ = shapely.bounds(shape)
    shifts = np.arange(np.floor((west - 180.0) / 360.0), np.ceil((east + 180.0) / 360.0) + 1) * 360.0
    copies = [shapely.transform(shape, lambda at, by=by: at - np.array([by, 0.0])) for by in shifts]
    world = shapely.box(-180.0, -90.0, 180.0, 90.0)
    return _areal(shapely.intersection(shapely.union_all(copies, grid_size=_GRID), world))


def _path(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """A closed ring without jumps of longitude, and how often it goes round to the east."""
    lon, lat = lon[:-1], lat[:-1]
    first = int(np.flatnonzero(~at_pole(lat))[0])
    lon, lat = np.roll(lon, -first), np.roll(lat, -first)
    path = [(float(lon[0]), float(lat[0]))]
    for i in range(1, len(lon) + 1):
        here, north = path[-1][0], float(lat[i % len(lat)])
        if abs(north) >= _AT_POLE:
            path.append((here, float(np.copysign(90.0, north))))
            continue
        there = float(lon[i % len(lon)])
        if abs(path[-1][1]) == 90.0:
            # on the left, where the polygon is, lies the west of who comes to the north pole, the east of who comes
            # to the south pole
            way = -np.sign(path[-1][1])
            there = here + way * ((way * (there - here)) % 360.0 or 360.0)
            path.append((there, path[-1][1]))
        else:
            there -= 360.0 * round((there - here) / 360.0)
        path.append((there, north))
    return np.array(path), round((path[-1][0] - path[0][0]) / 360.0)
