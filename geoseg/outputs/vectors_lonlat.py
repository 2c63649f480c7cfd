"""Polygons in WGS84 longitude and latitude for RFC 7946: cut at the antimeridian, shells counter-clockwise."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError, printable
from geoseg.outputs.vectors_poles import at_pole, polar, with_poles
from geoseg.vector.features import GEOMETRY, Features

__all__ = ["DECIMALS", "in_lonlat"]

DECIMALS: Final = 9
"""Of a degree: a tenth of a millimetre, so that pixels of any size keep their shape."""
LONGEST_M: Final = 1000.0
"""Edges of projected maps are cut into pieces of about this length: between their ends, the straight line in longitude
and latitude is then within 2 cm * tan(latitude) of the straight line on a map in UTM."""
_RADIUS_M: Final = 6_378_137.0


def in_lonlat(features: Features) -> Features:
    """The same features in WGS84 longitude and latitude, rounded to :data:`DECIMALS`.

    Edges are cut from the same end for both neighbours, so borders stay shared. A polygon that crosses the antimeridian
    becomes a multipolygon cut there (RFC 7946, section 3.1.9). One around a pole is closed along antimeridian and pole.

    Raises:
        ParameterError: If there is no CRS, or none that has a place on Earth. When gone through: if a polygon lies
            where its CRS is not defined.
    """
    from pyproj import CRS, Transformer
    from pyproj.exceptions import ProjError

    crs = features.crs
    if crs is None:
        raise ParameterError(
            "GeoJSON is in longitude and latitude, and the polygons have no CRS: "
            "assign one first or choose another format, such as GeoPackage"
        )
    crs = CRS.from_user_input(crs)
    try:
        transformer = Transformer.from_crs(crs, 4326, always_xy=True)
    except ProjError as error:
        raise ParameterError(
            f"GeoJSON is in longitude and latitude, to which nothing leads from {printable(crs.name)}: "
            "choose another format, such as GeoPackage"
        ) from error

    def batches() -> Iterator[Any]:
        return (_converted(batch, crs, transformer) for batch in features.batches())

    return replace(features, crs=CRS.from_epsg(4326), batches=batches, geometry_type="MultiPolygon")


def _converted(batch: Any, crs: Any, transformer: Any) -> Any:
    import pyarrow as pa
    import shapely

    if not len(batch):
        return batch
    geometries = shapely.from_wkb(batch.column(GEOMETRY).to_numpy(zero_copy_only=False))
    parts, owner = shapely.get_parts(geometries, return_index=True)
    _, xy, (rings, polygons) = shapely.to_ragged_array(parts, include_z=False)
    rings, polygons = rings.astype(np.int64), polygons.astype(np.int64)
    is_lonlat = crs.is_geographic and not crs.is_derived
    if not is_lonlat:
        unit = crs.axis_info[0].unit_conversion_factor * (_RADIUS_M if crs.is_geographic else 1.0)
        xy, rings = with_poles(xy, rings, _poles(transformer))
        xy, rings = _cut_edges(xy, rings, LONGEST_M / unit)
    lon, lat = transformer.transform(xy[:, 0], xy[:, 1])
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise ParameterError(
            f"some polygons lie where {printable(crs.name)} has no longitude and latitude: "
            "choose another format, such as GeoPackage"
        )
    if is_lonlat:  # stay on the side of the antimeridian that the map has them on
        east = xy[:, 0] * np.degrees(crs.axis_info[0].unit_conversion_factor)
        lon = lon + 360.0 * np.rint((east - lon) / 360.0)
        parts, source = _within_world(np.stack([lon, lat], axis=1), rings, polygons)
    else:
        parts, source = _with_poles_apart(xy, lon, lat, rings, polygons)
    outlines = _gathered(parts, owner[source], len(batch))
    wkb = pa.array(shapely.to_wkb(outlines, byte_order=1, flavor="iso"), pa.binary())
    return batch.set_column(batch.schema.get_field_index(GEOMETRY), batch.schema.field(GEOMETRY), wkb)


def _poles(transformer: Any) -> list[NDArray[np.float64]]:
    """The poles as points of the map, those that it has."""
    places = np.array(transformer.transform(np.zeros(2), np.array([90.0, -90.0]), direction="INVERSE")).T
    return [place for place in places if np.isfinite(place).all()]


def _with_poles_apart(
    xy: NDArray[np.float64],
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    rings: NDArray[np.int64],
    polygons: NDArray[np.int64],
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Polygons within -180 to 180 degrees, and which of the given ones each is a part of; those at poles one by one."""
    unwrapped, winds = _along_rings(lon, rings)
    winds |= np.logical_or.reduceat(at_pole(lat), rings[:-1])
    apart = np.logical_or.reduceat(winds, polygons[:-1])
    if not apart.any():
        lonlat = np.stack([_beside_shells(unwrapped, rings, polygons), lat], axis=1)
        return _within_world(lonlat, rings, polygons)
    parts, source = [], []
    for i in np.flatnonzero(apart):
        own = [slice(rings[r], rings[r + 1]) for r in range(polygons[i], polygons[i + 1])]
        found = polar([xy[s] for s in own], [lon[s] for s in own], [lat[s] for s in own])
        parts.append(found)
        source.append(np.full(len(found), i))
    if not apart.all():
        n_rings, n_vertices = np.diff(polygons), np.diff(rings)
        kept = np.repeat(~apart, n_rings)
        vertices = np.repeat(kept, n_vertices)
        some_rings = np.concatenate([[0], np.cumsum(n_vertices[kept])])
        some = np.concatenate([[0], np.cumsum(n_rings[~apart])])
        lonlat = np.stack([_beside_shells(unwrapped[vertices], some_rings, some), lat[vertices]], axis=1)
        found, index = _within_world(lonlat, some_rings, some)
        parts.append(found)
        source.append(np.flatnonzero(~apart)[index])
    of = np.concatenate(source)
    order = np.argsort(of, kind="stable")
    return np.concatenate(parts)[order], of[order]


def _cut_edges(
    xy: NDArray[np.float64], rings: NDArray[np.int64], longest: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rings whose edges are not longer than asked for; an edge gets the same points in both directions."""
    along = np.diff(xy, axis=0)
    n_pieces = np.maximum(1, np.ceil(np.hypot(along[:, 0], along[:, 1]) / longest)).astype(np.int64)
    n_pieces[rings[1:-1] - 1] = 1  # from one ring to the next
    n_pieces = np.append(n_pieces, 1)
    first = np.cumsum(n_pieces) - n_pieces
    edge = np.repeat(np.arange(len(xy)), n_pieces)
    piece = np.arange(len(edge)) - first[edge]
    start, end = xy, np.concatenate([xy[1:], xy[-1:]])
    turned = (start[:, 0] > end[:, 0]) | ((start[:, 0] == end[:, 0]) & (start[:, 1] > end[:, 1]))
    low, high = np.where(turned[:, None], end, start), np.where(turned[:, None], start, end)
    share = np.where(turned[edge], n_pieces[edge] - piece, piece) / n_pieces[edge]
    cut = low[edge] + share[:, None] * (high - low)[edge]
    cut[first] = xy  # vertices to the last bit
    return cut, np.append(first, len(cut))[rings]


def _along_rings(lon: NDArray[np.float64], rings: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Longitudes without jumps along rings, and which rings do not close so: they go round a pole."""
    turns = np.zeros(len(lon))
    turns[1:] = -np.rint(np.diff(lon) / 360.0)
    turns[rings[:-1]] = 0.0
    turns = np.cumsum(turns)
    turns -= np.repeat(turns[rings[:-1]], np.diff(rings))
    return lon + 360.0 * turns, turns[rings[1:] - 1] != 0


def _beside_shells(
    lon: NDArray[np.float64], rings: NDArray[np.int64], polygons: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Longitudes of rings with holes beside their shells."""
    middle = (np.minimum.reduceat(lon, rings[:-1]) + np.maximum.reduceat(lon, rings[:-1])) / 2
    shell = np.repeat(middle[polygons[:-1]], np.diff(polygons))
    return lon + np.repeat(360.0 * np.rint((shell - middle) / 360.0), np.diff(rings))


def _within_world(
    lonlat: NDArray[np.float64], rings: NDArray[np.int64], polygons: NDArray[np.int64]
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Polygons within -180 to 180 degrees, and which of the given ones each is a part of."""
    import shapely

    begins = rings[polygons]
    east = np.round(lonlat[:, 0], DECIMALS)
    west_edge, east_edge = (f.reduceat(east, begins[:-1]) for f in (np.minimum, np.maximum))
    world = np.floor((west_edge + 180.0) / 360.0)
    lonlat = lonlat - np.stack([np.repeat(360.0 * world, np.diff(begins)), np.zeros(len(lonlat))], axis=1)
    parts = shapely.from_ragged_array(shapely.GeometryType.POLYGON, lonlat, (rings, polygons))
    crossing = east_edge - 360.0 * world > 180.0
    source = np.arange(len(parts))
    if not crossing.any():
        return parts, source
    if (east_edge - west_edge > 360.0).any():
        raise ParameterError("a polygon is wider than the world: choose another format, such as GeoPackage")
    pieces, whole = [parts[~crossing]], [source[~crossing]]
    for shift in (0.0, -360.0):
        inside = shapely.intersection(parts[crossing], shapely.box(-180.0 - shift, -90.0, 180.0 - shift, 90.0))
        found, index = shapely.get_parts(inside, return_index=True)
        areal = shapely.get_type_id(found) == shapely.GeometryType.POLYGON
        pieces.append(shapely.transform(found[areal], lambda xy, by=shift: xy + np.array([by, 0.0])))
        whole.append(source[crossing][index[areal]])
    source = np.concatenate(whole)
    order = np.argsort(source, kind="stable")
    return np.concatenate(pieces)[order], source[order]


def _gathered(parts: NDArray[np.object_], owner: NDArray[np.int64], n: int) -> NDArray[np.object_]:
    """One geometry per owner from its parts, rounded, shells counter-clockwise."""
    import shapely

    scale = 10.0**DECIMALS
    # the float64 next to the decimal: what its text reads back as
    parts = shapely.transform(shapely.orient_polygons(parts), lambda xy: np.rint(xy * scale) / scale + 0.0)
    counts = np.bincount(owner, minlength=n)
    single = parts[np.cumsum(counts) - counts]
    return np.asarray(np.where(counts == 1, single, shapely.multipolygons(parts, indices=owner)))
