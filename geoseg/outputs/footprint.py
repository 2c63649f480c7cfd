"""Where a pixel grid lies on the Earth, as GeoJSON wants it: longitude and latitude, cut at the antimeridian."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely.affinity import translate

__all__ = ["Footprint", "footprint"]

_POINTS_PER_EDGE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """An outline on the Earth."""

    geometry: dict[str, Any]
    """GeoJSON Polygon or MultiPolygon; rings counterclockwise (RFC 7946)."""
    bbox: tuple[float, float, float, float]
    """West, south, east, north; west is greater than east where the outline crosses the antimeridian."""


def footprint(geobox: GeoBox) -> Footprint | None:
    """Outline of a pixel grid in WGS84.

    Edges are densified, because straight lines of a projection are curves on the globe. Rings that cross the
    antimeridian are cut there; rings round a pole are closed over it. Latitudes beyond a pole, as half a pixel of a
    global grid, are clamped; corners that a projection cannot place (full discs) are left out.

    Returns:
        The outline, or None where the CRS has no tie to the Earth or no edge can be placed.
    """
    lonlat = _edge(geobox)
    if lonlat is None:
        return None
    lon = _unwrap(lonlat[:, 0])
    lat = np.clip(lonlat[:, 1], -90, 90)
    turns = round((lon[-1] - lon[0]) / 360)
    ring = np.column_stack([lon, lat])
    if turns:  # round a pole: the nearer one closes the ring
        pole = 90.0 if lat.mean() > 0 else -90.0
        ring = np.vstack([ring, [lon[-1], pole], [lon[0], pole]])
    outline = shapely.make_valid(shapely.Polygon(ring))
    return _cut(outline)


def _edge(geobox: GeoBox) -> NDArray[np.float64] | None:
    """Longitude and latitude round the grid, closed, (point, 2), or None."""
    if geobox.crs is None:
        return None
    height, width = geobox.shape
    steps = np.linspace(0, 1, _POINTS_PER_EDGE, endpoint=False)
    zeros, ones = np.zeros_like(steps), np.ones_like(steps)
    cols = np.concatenate([steps, ones, 1 - steps, zeros, [0]]) * width
    rows = np.concatenate([zeros, steps, ones, 1 - steps, [0]]) * height
    a = geobox.affine
    x, y = a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f
    try:
        to_wgs84 = Transformer.from_crs(geobox.crs.proj, CRS.from_epsg(4326), always_xy=True)
        lonlat = np.column_stack(to_wgs84.transform(x, y))
    except ProjError:  # a site grid, another planet
        return None
    lonlat = lonlat[np.isfinite(lonlat).all(axis=1)]
    return lonlat if len(np.unique(lonlat, axis=0)) > 3 else None


def _unwrap(lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes without jumps of 360 degrees between neighbours; a step of a world-wide edge is far below 180."""
    unwrapped: NDArray[np.float64] = np.unwrap(lon, period=360.0)
    return unwrapped


def _cut(outline: Any) -> Footprint | None:
    """The outline moved into -180 to 180, in pieces."""
    west, south, east, north = outline.bounds
    world = shapely.box(-180, -90, 180, 90)
    if east - west >= 360:
        turns = [translate(outline, 360.0 * turn).intersection(world) for turn in range(-2, 3)]
        shapes, bbox = [shapely.union_all(turns)], (-180.0, south, 180.0, north)
    else:
        shift = 360 * np.floor((west + 180) / 360)
        west, east = west - shift, east - shift
        moved = translate(outline, -shift)
        crosses = east > 180
        shapes = [moved.intersection(world)]
        if crosses:
            shapes.append(translate(moved, -360).intersection(world))
        bbox = (west, south, east - 360 if crosses else east, north)
    polygons = [p for shape in shapes for p in shapely.get_parts(shape) if p.geom_type == "Polygon" and p.area > 0]
    if not polygons:
        return None
    whole = polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
    geometry = shapely.geometry.mapping(shapely.orient_polygons(whole))
    return Footprint(geometry=_plain(geometry), bbox=(float(bbox[0]), float(bbox[1]), float(bbox[2]), float(bbox[3])))


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON reads them back."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
