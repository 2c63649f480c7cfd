"""An area of interest, in any CRS -> the pixels of a scene that are asked for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from geoseg.area.zone_file import AOI, read_aoi
from geoseg.area.zone_grid import place_zones
from geoseg.area.zones import Zones, zones_of
from geoseg.errors import ParameterError, printable
from geoseg.inference.inside import Inside

if TYPE_CHECKING:
    import geopandas as gpd
    from odc.geo.geobox import GeoBox

__all__ = ["Aoi", "aoi_of", "bbox_aoi", "file_aoi"]

LON_LAT = "OGC:CRS84"
"""Longitude and latitude, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aoi:
    """An area of interest in its own CRS."""

    zones: Zones
    """With one zone."""
    label: str
    """What it is called in records."""

    def inside(self, geobox: "GeoBox") -> Inside | None:
        """The pixels of a grid, in any CRS, whose centres lie in the area; None if there are none.

        Straight edges of the area are curves on another map, and followed as closely as those of zones.

        Raises:
            ParameterError: If the area cannot be placed on the grid.
        """
        placed = place_zones(self.zones, geobox)
        if not len(placed.pieces):
            return None
        outline = shapely.transform(shapely.union_all(placed.pieces), lambda xy: xy * np.array([1, -1]))
        inside = Inside(
            height=int(geobox.shape[0]),
            width=int(geobox.shape[1]),
            outline=bytes(shapely.to_wkb(outline)),
            digest=self.zones.digest,
            label=self.label,
        )
        return inside if inside.n_pixels else None


def file_aoi(source: str) -> Aoi:
    """All polygons of a vector file, ``FILE`` or ``FILE:LAYER``, as one area of interest.

    Raises:
        InputError: If it is no local vector file of a known format, or its polygons cannot be used.
        ParameterError: If the file has no such layer.
    """
    # the last part of the path, as for inputs: folders may tell more than a record should
    return Aoi(zones=read_aoi(source), label=printable(source.replace("\\", "/").rsplit("/", 1)[-1]))


def bbox_aoi(bounds: Sequence[float], crs: str = LON_LAT) -> Aoi:
    """A box as an area of interest.

    Args:
        bounds: West, south, east, north. In degrees, a west beyond the east is a box across the antimeridian.
        crs: What they are in, x before y: an authority's code such as ``EPSG:32633``, or WKT.

    Raises:
        ParameterError: If they enclose nothing, or the CRS is not known.
    """
    import geopandas as gpd
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    west, south, east, north = (float(b) for b in bounds)
    shown = ",".join(f"{b:.10g}" for b in (west, south, east, north))
    try:
        known = CRS.from_user_input(crs)
    except CRSError as error:
        raise ParameterError(
            f"the CRS {printable(crs)!r} of the box is not known; write a code such as EPSG:32633"
        ) from error
    if not all(map(math.isfinite, (west, south, east, north))):
        raise ParameterError(f"the box {shown} is not made of numbers: give west, south, east and north")
    boxes = [(west, south, east, north)]
    if known.is_geographic:
        turn = 2 * math.pi / float(known.axis_info[0].unit_conversion_factor)
        if max(abs(south), abs(north)) > turn / 4 or max(abs(west), abs(east)) > turn:
            raise ParameterError(
                f"the box {shown} is not in degrees: give west,south,east,north in longitude and latitude, or the "
                "CRS that it is in with --bbox-crs"
            )
        if west > east:
            boxes = [(west, south, turn / 2, north), (-turn / 2, south, east, north)]
    if any(not (w < e and s < n) for w, s, e, n in boxes):
        raise ParameterError(f"the box {shown} encloses nothing: give west,south,east,north, in this order")
    frame = gpd.GeoDataFrame({"aoi": AOI}, geometry=[shapely.multipolygons([shapely.box(*b) for b in boxes])], crs=crs,
                             index=[0])  # fmt: skip
    label = f"box {shown}" + ("" if crs == LON_LAT else f" {printable(crs)}")
    return Aoi(zones=zones_of(frame, "aoi", name=f"the {label}"), label=label)


def aoi_of(frame: "gpd.GeoDataFrame") -> Aoi:
    """All polygons of a GeoDataFrame as one area of interest.

    Raises:
        InputError: If it has no CRS, or no polygons.
    """
    return Aoi(zones=zones_of(frame[[frame.geometry.name]].assign(aoi=AOI), "aoi", name=f"the {AOI}"), label=AOI)
