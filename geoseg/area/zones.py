"""Zones: polygons with a name, for which the areas of classes are asked."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.area.coverage import polygonal
from geoseg.errors import InputError, ParameterError, printable

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from pyproj import CRS

__all__ = ["Zones", "listed", "zones_of"]

_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Zones:
    """Polygons, each with an identifier of its own, in their own CRS."""

    ids: "pd.Series[Any]"
    """(n,) unique, none missing, of the type they have in their table, in the order of their first rows."""
    geometries: NDArray[Any]
    """(n,) valid polygons and multi-polygons without height, empty where the zone has none; they may overlap."""
    crs: "CRS"
    """What the coordinates are."""
    notes: tuple[str, ...]
    """What was done to get there that a user would want to know, a line each."""

    def __len__(self) -> int:
        return len(self.geometries)

    @property
    def digest(self) -> str:
        """SHA-256 of what they are: the same for the same zones, whatever file they came from."""
        content = hashlib.sha256(self.crs.to_wkt().encode())
        for name, outline in zip(self.ids, shapely.to_wkb(self.geometries), strict=True):
            content.update(repr(name).encode() + b"\0" + outline)
        return content.hexdigest()


def zones_of(frame: "gpd.GeoDataFrame", id_column: str, *, name: str = "the zones") -> Zones:
    """The zones in a table.

    Rows with the same identifier are parts of one zone and are united, so that where they overlap counts once. Invalid
    polygons are repaired: what an outline encloses belongs to the zone, once (``shapely.make_valid``, structure).
    Heights and measures are left out. All but the last is told in `Zones.notes`.

    Args:
        frame: One row per polygon or multi-polygon, with a CRS.
        id_column: Column of the identifiers.
        name: What the table is called in notes and errors.

    Raises:
        ParameterError: If there is no such column.
        InputError: If there is no CRS or no row, an identifier is missing, or a geometry is not a polygon.
    """
    columns = [str(c) for c in frame.columns if c != frame.active_geometry_name]
    if id_column not in columns:
        raise ParameterError(
            f"{name} has no column {printable(id_column)!r} of names: "
            f"choose one of {', '.join(map(printable, columns)) or 'none: the table has no columns; add one'}"
        )
    if frame.active_geometry_name is None or not len(frame):
        raise InputError(f"{name} has no polygons: give a layer of polygons, a row for each zone")
    if frame.crs is None:
        raise InputError(
            f"{name} has no CRS (coordinate reference system), so nothing says where the zones lie; "
            "assign it in QGIS, or with ogr2ogr -a_srs EPSG:CODE"
        )
    ids = _ids(frame, id_column, name)
    geometries = shapely.force_2d(np.array(frame.geometry.array, dtype=object))
    _check_polygons(geometries, ids, name)
    notes: list[str] = []
    geometries = _repaired(geometries, ids, name, notes)
    ids, geometries = _united(ids, geometries, name, notes)
    if (empty := shapely.is_empty(geometries)).any():
        notes.append(f"{name}: {_count(int(empty.sum()))} without a polygon, so without area: {listed(ids[empty])}")
    return Zones(ids=ids.rename("zone"), geometries=geometries, crs=frame.crs, notes=tuple(notes))


def listed(values: Iterable[Any]) -> str:
    """Some values for a message: the first ten, and how many more.

    Example:
        >>> listed(["a", "b"]), listed(range(12))
        ('a, b', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more')
    """
    every = list(values)
    shown = ", ".join(printable(v) for v in every[:_NAMED])
    return shown if len(every) <= _NAMED else f"{shown} and {len(every) - _NAMED} more"


def _count(n: int) -> str:
    return f"{n} zone" if n == 1 else f"{n} zones"


def _ids(frame: "gpd.GeoDataFrame", id_column: str, name: str) -> "pd.Series[Any]":
    ids: pd.Series[Any] = frame[id_column].reset_index(drop=True)
    missing = np.flatnonzero(ids.isna() | (ids.astype(str).str.strip() == ""))
    if len(missing):
        raise InputError(
            f"{name} has {len(missing)} rows without a value in {printable(id_column)!r} "
            f"(rows {listed(missing + 1)}): give every zone a name, or choose another column"
        )
    return ids


def _check_polygons(geometries: NDArray[Any], ids: "pd.Series[Any]", name: str) -> None:
    kinds = shapely.get_type_id(geometries)  # -1 where there is none
    other = ~np.isin(kinds, (-1, 3, 6, 7)) & ~shapely.is_empty(geometries)
    if other.any():
        first = geometries[other][0].geom_type
        raise InputError(
            f"{name} has {int(other.sum())} geometries that are not polygons, such as a {first} "
            f"(zones {listed(ids[other])}): zones are polygons; give another layer, or buffer them first"
        )
    bounds = shapely.bounds(geometries)
    lost = ~np.isfinite(bounds).all(axis=1) & (shapely.get_num_coordinates(geometries) > 0)
    if lost.any():
        raise InputError(
            f"{name} has coordinates that are not numbers (zones {listed(ids[lost])}): draw these polygons again"
        )


def _repaired(geometries: NDArray[Any], ids: "pd.Series[Any]", name: str, notes: list[str]) -> NDArray[Any]:
    geometries = geometries.copy()
    geometries[shapely.is_missing(geometries)] = shapely.MultiPolygon()
    broken = ~shapely.is_valid(geometries)
    if broken.any():
        geometries[broken] = shapely.make_valid(geometries[broken], method="structure", keep_collapsed=False)
        notes.append(
            f"{name}: {_count(int(broken.sum()))} had invalid geometries and "
            f"{'was' if broken.sum() == 1 else 'were'} repaired: {listed(ids[broken])}"
        )
    mixed = shapely.get_type_id(geometries) == 7
    if mixed.any():
        # polygons of a collection may overlap without its being invalid
        geometries[mixed] = [shapely.union_all(shapely.get_parts(g)) for g in polygonal(geometries[mixed])]
        notes.append(f"{name}: of geometry collections only the polygons count: {listed(ids[mixed])}")
    return geometries


def _united(
    ids: "pd.Series[Any]", geometries: NDArray[Any], name: str, notes: list[str]
) -> tuple["pd.Series[Any]", NDArray[Any]]:
    codes, _ = ids.factorize()
    first = ~ids.duplicated().to_numpy()
    if first.all():
        return ids, geometries
    out = geometries[first]
    rows = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(rows)
    several = np.flatnonzero(rows > 1)
    for zone in several:
        out[zone] = shapely.union_all(geometries[order[ends[zone] - rows[zone] : ends[zone]]])
    kept = ids[first].reset_index(drop=True)
    notes.append(
        f"{name}: {_count(len(several))} in several rows, united into one each: {listed(kept[several])}",
    )
    return kept, out
