"""Areas of classes in zones: fractional coverage of pixels times their true areas.

Where the numbers come from: `coverage` finds the fractions, `zone_sums` adds them up, this module makes the table.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.area.pixel_area import PixelAreas
from geoseg.area.zone_grid import PlacedZones, place_zones
from geoseg.area.zone_sums import Read, ZoneSums, zone_sums
from geoseg.area.zones import Zones, listed
from geoseg.errors import ParameterError
from geoseg.legend import Legend, LegendClass
from geoseg.scene.class_map import read_class_map
from geoseg.scene.class_raster import ClassRaster, ClassReader, open_class_raster

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from odc.geo.geobox import GeoBox

__all__ = ["ZoneAreas", "zone_areas"]

_BLOCK_PX = 2048


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZoneAreas:
    """The areas of classes in zones, and what a user would want to know of them."""

    table: "pd.DataFrame"
    """One row per zone and class of the legend, see `zone_areas`."""
    notes: tuple[str, ...]
    """A line each: zones repaired, united, empty, outside the map."""


def zone_areas(
    classes: "str | os.PathLike[str] | ClassRaster | xr.DataArray",
    zones: Zones,
    *,
    legend: Legend | None = None,
    areas: PixelAreas | None = None,
) -> ZoneAreas:
    """True areas of the classes of a map in each zone, the pixels on its border counted by the part that is inside.

    Zones may lie in any CRS, overlap (each gets all that is its own), and reach beyond the map. Memory is that of a
    block of some 4 million pixels (17 bytes each), the zones' vertices, and 32 bytes for each zone and class.

    The table has one row per zone and class, in the order of zones and legend, zeros included, with the columns

    - ``zone``: the zone's identifier, of the type it has in its table
    - ``class_id``, ``class_name``
    - ``pixels``: sum of covered fractions
    - ``area_m2``, ``area_ha``: sum of covered fractions times the pixels' true areas
    - ``percent``: of the zone's area that has a class; NaN where that is zero
    - ``zone_area_m2``: true area of the zone itself, whatever the map says; that of its pixels where the zone lies on
      the map, else of its outline, good to 1e-6; NaN if a part of it has no longitude and latitude
    - ``covered_percent``: how much of ``zone_area_m2`` has a class; the rest is nodata or outside the map

    The last two repeat for all classes of a zone: in a pivot table take their mean, never their sum.

    Args:
        classes: A categorical raster, opened or not, or a uint8 class map in memory (numpy or dask) with a CRS.
        zones: From `read_zones` or `zones_of`.
        legend: Names of the classes; by default the file's, or ``class 1`` and so on for the values that are there.
        areas: Pixel areas of the map, where they are known already.

    Raises:
        SceneError: If the raster cannot be read.
        ParameterError: If there is a value in a zone's surroundings that a given legend lacks, the map has no CRS, or a
            zone cannot be placed on it.
    """
    with ExitStack() as stack:
        source = _source(classes, legend, stack)
        if areas is None:
            areas = PixelAreas.of(source.geobox)
        elif areas.shape != source.geobox.shape:
            raise ParameterError(
                f"pixel areas of {areas.shape} px and a class map of {tuple(source.geobox.shape)} px: "
                "give those of this map"
            )
        placed = place_zones(zones, source.geobox)
        sums = zone_sums(source.read, placed, areas, n_zones=len(zones), block=source.block)
    order = source.legend_of(sums.values)
    table, outside = _table(sums, zones, placed, order, areas.unit_m2)
    notes = [*zones.notes, *placed.notes]
    if outside.any():
        notes.append(f"{int(outside.sum())} of {len(zones)} zones lie outside the map: {listed(zones.ids[outside])}")
    return ZoneAreas(table=table, notes=tuple(notes))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Source:
    """Where classes come from, the same for files and arrays."""

    geobox: "GeoBox"
    block: tuple[int, int]
    """Rows and columns to read at once."""
    read: Read
    legend_of: Callable[[list[int]], tuple[LegendClass, ...]]


def _source(classes: Any, legend: Legend | None, stack: ExitStack) -> _Source:
    if isinstance(classes, str | os.PathLike):
        classes = open_class_raster(classes, legend=legend)
    elif isinstance(classes, ClassRaster) and legend is not None:
        raise ParameterError("the class raster has a legend already: give it where the raster is opened")
    if isinstance(classes, ClassRaster):
        raster = classes
        return _Source(
            geobox=raster.geobox,
            block=_block(raster.block_shape, int(raster.geobox.shape[1])),
            read=stack.enter_context(ClassReader(raster)).read,
            legend_of=lambda values: raster.legend_of(values).classes,
        )
    class_map = read_class_map(classes, legend=legend)
    array = class_map.classes

    def read(row_off: int, col_off: int, height: int, width: int) -> NDArray[np.uint8]:
        return np.asarray(array[row_off : row_off + height, col_off : col_off + width])

    return _Source(
        geobox=class_map.geobox,
        block=(_BLOCK_PX, _BLOCK_PX),
        read=read,
        legend_of=class_map.legend_of,
    )


def _block(stored: tuple[int, int], width: int) -> tuple[int, int]:
    """Rows and columns to read at once: whole blocks of the file, so that each is decoded once, where they allow."""
    if stored[1] >= width:  # strips
        return stored[0] * max(1, _BLOCK_PX**2 // (stored[0] * width)), width
    rows, cols = (max(1, _BLOCK_PX // s) * s for s in stored)
    return rows, cols


def _table(
    sums: ZoneSums,
    zones: Zones,
    placed: PlacedZones,
    classes: tuple[LegendClass, ...],
    unit_m2: float,
) -> tuple["pd.DataFrame", NDArray[np.bool_]]:
    """The table, and which zones are outside the map."""
    import pandas as pd  # heavy, and not needed to add up blocks

    # a last column of zeros for the classes of the legend that were not met
    both = np.pad(sums.whole + sums.part, ((0, 0), (0, 1), (0, 0)))
    values = np.array([c.value for c in classes], dtype=np.int64)
    ids = np.array([c.class_id for c in classes], dtype=np.int64)
    pixels, units = np.moveaxis(both[:, sums.column[values]], 2, 0)
    area_m2 = units * unit_m2
    classed = area_m2.sum(axis=1)
    on_map = both[:, :, 1].sum(axis=1) * unit_m2
    zone_m2 = np.where(placed.on_grid, on_map, placed.area_m2)
    n = len(zones)
    with np.errstate(invalid="ignore", divide="ignore"):
        percent = 100 * area_m2 / classed[:, None]
        covered = np.minimum(100 * classed / zone_m2, 100)
    table = pd.DataFrame(
        {
            "zone": zones.ids.repeat(len(ids)).reset_index(drop=True),
            "class_id": np.tile(ids, n),
            "class_name": pd.Series([c.name for c in classes] * n, dtype="str"),
            "pixels": pixels.ravel(),
            "area_m2": area_m2.ravel(),
            "area_ha": area_m2.ravel() / 10_000,
            "percent": percent.ravel(),
            "zone_area_m2": zone_m2.repeat(len(ids)),
            "covered_percent": covered.repeat(len(ids)),
        }
    )
    outside = (both[:, :, 0].sum(axis=1) == 0) & ~shapely.is_empty(zones.geometries)
    return table, outside
