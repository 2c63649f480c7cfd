"""Zones in their own CRS -> polygons on the pixel grid of a raster. The raster is never warped: its pixels are counted.

A straight edge of a zone is a curve on another map. Edges get as many vertices as it takes for none to be further than
`DEVIATION_PX` from its curve; an area is off by less than that times the length of its outline.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.area.coverage import polygonal
from geoseg.area.operation import lattice, steady
from geoseg.area.turns import beside, full_turn
from geoseg.area.zones import Zones, listed
from geoseg.errors import ParameterError, printable

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import CRS, Transformer

__all__ = ["DEVIATION_PX", "PlacedZones", "place_zones"]

DEVIATION_PX = 1e-4
"""Largest distance of a zone's outline from where it belongs, in pixels."""

_MARGIN = 0.5  # around the raster, in its sides: what lies further cannot reach it, and may be off the raster's map
_ROUNDS = 12
_SURE = 3
_MOST_VERTICES = 50_000_000
_EARTH_M2 = 510_065_621_724_088.4
_GEODESIC_M = 1000.0  # between a map's straight line of this length and its geodesic lies less than a square metre


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedZones:
    """Zones on a pixel grid."""

    pieces: NDArray[Any]
    """Valid polygons and multi-polygons in (column, -row), those whose box touches the raster."""
    zone: NDArray[np.int64]
    """Index of the zone of each piece; a zone has two where a raster goes around the world."""
    area_m2: NDArray[np.float64]
    """(zones,) geodesic area of those that reach beyond the raster; NaN where the pixels tell, or none is known."""
    on_grid: NDArray[np.bool_]
    """(zones,) whether all of the zone is on the raster, so that its area is that of its pixels."""
    notes: tuple[str, ...]
    """What a user would want to know."""


def place_zones(zones: Zones, geobox: "GeoBox") -> PlacedZones:
    """The zones on a pixel grid, whatever the two CRSs.

    Args:
        zones: Zones in their own CRS.
        geobox: The grid, with a CRS; rotated, south-up and across the antimeridian as well.

    Raises:
        ParameterError: If the grid has no CRS, that of the zones has no way to it, a zone has a part near the raster
            that the raster's CRS does not reach, or one crosses the edge of the raster's map.
    """
    from pyproj.exceptions import ProjError

    if geobox.crs is None:
        raise ParameterError("the pixel grid has no CRS, so the zones cannot be placed: assign the CRS of the scene")
    crs: CRS = geobox.crs.proj
    height, width = int(geobox.shape[0]), int(geobox.shape[1])
    to_pixels: Affine = ~geobox.transform
    zone = np.flatnonzero(~shapely.is_empty(zones.geometries))
    geometries = zones.geometries[zone]
    whole = np.ones(len(zone), dtype=np.bool_)
    if zones.crs == crs:
        turn = full_turn(crs)
        pieces = _mapped(geometries, lambda x, y: (x, y))
    else:
        try:
            onto = steady(zones.crs, crs, *lattice(geobox), of_target=True)
        except ProjError as cause:
            raise ParameterError(
                f"there is no way from the CRS of the zones, {printable(zones.crs.name)!r}, to that of the map, "
                f"{printable(crs.name)!r}: assign the zones the CRS that their coordinates are in"
            ) from cause
        near = _near(geometries, zones.crs, geobox, onto)
        whole = shapely.equals_identical(near, geometries)
        there = ~shapely.is_empty(near)
        zone, near, whole = zone[there], near[there], whole[there]
        turn = full_turn(crs)
        middle = geobox.transform @ (width / 2, height / 2)
        around = _Onto(onto=onto, turn=turn, middle=float(middle[0]))
        pieces = _densified(near, around, to_pixels, zones, zone)
    shifts = (0.0,) if turn is None else (-turn, 0.0, turn)
    placed = [_on_pixels(pieces, to_pixels, shift) for shift in shifts]
    outline = shapely.box(0, -height, width, 0)
    touching = [np.flatnonzero(shapely.intersects(shapely.box(*shapely.bounds(p).T), outline)) for p in placed]
    index = np.concatenate(touching) if len(pieces) else np.zeros(0, dtype=np.int64)
    found = np.concatenate([p[t] for p, t in zip(placed, touching, strict=True)])
    x0, y0, x1, y1 = shapely.bounds(found).T
    complete = (x0 >= 0) & (y0 >= -height) & (x1 <= width) & (y1 <= 0) & whole[index]
    on_grid = np.zeros(len(zones), dtype=np.bool_)
    on_grid[zone[index[complete]]] = True
    area_m2 = np.full(len(zones), np.nan)
    beyond = ~on_grid & ~shapely.is_empty(zones.geometries)
    area_m2[beyond] = geodesic_areas(zones.geometries[beyond], zones.crs)
    return PlacedZones(
        pieces=found,
        zone=zone[index],
        area_m2=np.where(shapely.is_empty(zones.geometries), 0.0, area_m2),
        on_grid=on_grid,
        notes=_notes(zones),
    )


def geodesic_areas(geometries: NDArray[Any], crs: "CRS") -> NDArray[np.float64]:
    """Areas of polygons on the ellipsoid in m², good to 1e-6; NaN where a vertex has no longitude and latitude.

    Edges are the straight lines of their CRS, cut every kilometre and then taken as geodesics.
    """
    from pyproj import Geod

    if not len(geometries):
        return np.zeros(0)
    geod = Geod(ellps="WGS84")
    left, bottom, right, top = shapely.total_bounds(geometries)
    to_lonlat = steady(crs, 4326, np.array([left, right, left, right]), np.array([bottom, top, top, bottom]))
    unit_m = crs.axis_info[0].unit_conversion_factor * (geod.a if crs.is_geographic else 1.0)
    dense = shapely.orient_polygons(shapely.segmentize(geometries, _GEODESIC_M / unit_m))
    lonlat = _mapped(dense, to_lonlat.transform)
    return np.asarray([_geodesic_area(geod, g) for g in lonlat], dtype=np.float64)


def _geodesic_area(geod: Any, lonlat: Any) -> float:
    """Area in m² of a polygon of longitudes and latitudes whose shells are counter-clockwise."""
    xy = shapely.get_coordinates(lonlat)
    if not np.isfinite(xy).all():
        return float("nan")
    area, _ = geod.geometry_area_perimeter(lonlat)
    # of more than half the Earth the area of the rest is given, negative; of all of it, nothing
    return float(area + _EARTH_M2 if area < 1 and np.ptp(xy[:, 0]) > 180 else abs(area))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Onto:
    """From the CRS of the zones to that of the raster; longitudes within half a turn of the raster's middle."""

    onto: "Transformer"
    turn: float | None
    middle: float

    def __call__(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        u, v = self.onto.transform(x, y)
        if self.turn is not None:
            u = beside(u, self.middle, self.turn)
        return u, v


def _mapped(geometries: NDArray[Any], mapping: Any) -> NDArray[Any]:
    return np.asarray(
        shapely.transform(geometries, lambda xy: np.column_stack(mapping(xy[:, 0], xy[:, 1]))), dtype=object
    )


def _on_pixels(pieces: NDArray[Any], to_pixels: Affine, shift: float) -> NDArray[Any]:
    """In (column, -row), valid: what lay on a line by a hair may now cross it."""

    def mapping(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x = x + shift
        t = to_pixels
        return t.a * x + t.b * y + t.c, -(t.d * x + t.e * y + t.f)

    placed = _mapped(pieces, mapping)
    crossed = ~shapely.is_valid(placed)
    placed[crossed] = polygonal(shapely.make_valid(placed[crossed], method="structure", keep_collapsed=False))
    return placed


def _near(geometries: NDArray[Any], zones_crs: "CRS", geobox: "GeoBox", onto: "Transformer") -> NDArray[Any]:
    """The zones cut to the surroundings of the raster, in their own CRS.

    A zone may go where the raster's CRS does not, a country to the pole of Web Mercator: that part is not asked for.
    """
    from pyproj.exceptions import ProjError

    try:
        left, bottom, right, top = onto.transform_bounds(
            *geobox.boundingbox.bbox, densify_pts=101, direction="INVERSE", errcheck=True
        )
    except ProjError:
        return geometries
    turn = full_turn(zones_crs)
    if turn is not None and left > right:  # the raster is across the antimeridian
        right += turn
    if not np.isfinite([left, bottom, right, top]).all():
        return geometries
    dx, dy = _MARGIN * (right - left), _MARGIN * (top - bottom)
    if turn is not None and right - left + 2 * dx >= turn:
        dx = 2 * turn
    shifts = np.zeros(1) if turn is None else np.array([-turn, 0.0, turn])
    area = shapely.union_all(shapely.box(left - dx + shifts, bottom - dy, right + dx + shifts, top + dy))
    shapely.prepare(area)
    near = geometries.copy()
    cut = ~shapely.contains(area, geometries)
    near[cut] = polygonal(shapely.intersection(geometries[cut], area))
    return near


def _densified(
    geometries: NDArray[Any], onto: _Onto, to_pixels: Affine, zones: Zones, zone: NDArray[np.int64]
) -> NDArray[Any]:
    """The zones in the raster's CRS, with vertices added where straight edges become curves.

    The distance of a curve from its chord falls with the square of the number of pieces; the number is found from the
    distances at a quarter, a half and three quarters, and found again until all are small.
    """
    if not len(geometries):
        return geometries
    kind, xy, offsets = shapely.to_ragged_array(
        np.array([shapely.multipolygons(shapely.get_parts(g)) for g in geometries], dtype=object), include_z=False
    )
    rings, polygons, multi = (np.asarray(o, dtype=np.int64) for o in offsets)
    for n_round in range(_ROUNDS):
        uv = np.column_stack(onto(xy[:, 0], xy[:, 1]))
        # no edge leaves the last vertex of a ring
        edges = np.ones(len(xy), dtype=np.bool_)
        edges[rings[1:] - 1] = False
        at = np.flatnonzero(edges)
        with np.errstate(invalid="ignore"):  # infinite where there is no way
            chord = _steps(uv[at + 1] - uv[at], to_pixels)
        off, turned = np.zeros(len(at)), np.zeros(len(at), dtype=np.bool_)
        for t in (0.25, 0.5, 0.75):
            between = (1 - t) * xy[at] + t * xy[at + 1]
            with np.errstate(invalid="ignore"):
                reached = _steps(np.column_stack(onto(between[:, 0], between[:, 1])) - uv[at], to_pixels)
            distance, aside = _distance(reached, chord, t)
            off, turned = np.maximum(off, distance), turned | aside  # the maximum keeps NaN
        lost = ~np.isfinite(off)
        if lost.any():
            raise ParameterError(
                f"zones {listed(_owners(at[lost], rings, polygons, multi, zones, zone))} reach where the CRS of the "
                "map has no coordinates: cut them to the surroundings of the map first"
            )
        worst = at[off > DEVIATION_PX]
        if not len(worst):
            return np.asarray(shapely.from_ragged_array(kind, uv, (rings, polygons, multi)), dtype=object)
        if n_round >= _SURE and turned[off > DEVIATION_PX].any():
            break  # an edge that goes the other way however short it is made: there is a cut in the map
        n = np.ones(len(xy), dtype=np.int64)
        n[at] = np.clip(np.ceil(np.sqrt(1.1 * off / DEVIATION_PX)), 1, 1000).astype(np.int64)
        if n.sum() > _MOST_VERTICES:
            break
        first = np.concatenate([[0], np.cumsum(n)])
        t = (np.arange(first[-1]) - np.repeat(first[:-1], n)) / np.repeat(n, n)
        step = np.zeros_like(xy)
        step[at] = xy[at + 1] - xy[at]
        xy = np.repeat(xy, n, axis=0) + t[:, None] * np.repeat(step, n, axis=0)
        rings = first[rings]
    raise ParameterError(
        f"zones {listed(_owners(worst, rings, polygons, multi, zones, zone))} cross the edge of the map's projection, "
        "such as the antimeridian or a pole: cut them along it first"
    )


def _steps(uv: NDArray[np.float64], to_pixels: Affine) -> NDArray[np.float64]:
    """Differences of coordinates in pixels."""
    du, dv = uv.T
    return np.column_stack((to_pixels.a * du + to_pixels.b * dv, to_pixels.d * du + to_pixels.e * dv))


def _distance(
    reached: NDArray[np.float64], chord: NDArray[np.float64], t: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """How far a point of an edge is from the chord, NaN where it is nowhere, and whether it lies before or beyond it.

    Then the edge may have gone around the world the other way, and the distance is to where the point should be.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        length2 = (chord**2).sum(axis=1)
        along = (reached * chord).sum(axis=1) / length2
        across = np.abs(reached[:, 0] * chord[:, 1] - reached[:, 1] * chord[:, 0]) / np.sqrt(length2)
        beside = (along >= 0) & (along <= 1)
        return np.where(beside, across, np.hypot(*(reached - t * chord).T)), ~beside


def _owners(
    vertices: NDArray[np.int64],
    rings: NDArray[np.int64],
    polygons: NDArray[np.int64],
    multi: NDArray[np.int64],
    zones: Zones,
    zone: NDArray[np.int64],
) -> Any:
    """The names of the zones of vertices."""
    ring = np.searchsorted(rings, vertices, side="right") - 1
    polygon = np.searchsorted(polygons, ring, side="right") - 1
    owner = np.unique(np.searchsorted(multi, polygon, side="right") - 1)
    return zones.ids.iloc[zone[owner]]


def _notes(zones: Zones) -> tuple[str, ...]:
    turn = full_turn(zones.crs)
    if turn is None or not len(zones):
        return ()
    parts, zone = shapely.get_parts(zones.geometries, return_index=True)
    x0, _, x1, _ = shapely.bounds(parts).T
    wide = np.zeros(len(zones), dtype=np.bool_)
    wide[zone[x1 - x0 > turn / 2]] = True
    if not wide.any():
        return ()
    names = listed(zones.ids[wide])
    return (f"zones wider than half the globe: {names}; cut those meant to cross the antimeridian there into two",)
