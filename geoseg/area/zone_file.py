"""Zones, or the one area of interest, from a vector file."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.area.vector_file import PARQUET, checked_file
from geoseg.area.zones import Zones, zones_of
from geoseg.errors import InputError, ParameterError, printable, reason_of
from geoseg.scene.ogr_path import ogr_path

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["AOI", "read_aoi", "read_zones"]

AOI = "area of interest"
"""Name of the only zone of an area of interest."""
_STYLES = "layer_styles"


def read_zones(source: str, *, id_column: str) -> Zones:
    """The zones in a vector file.

    Args:
        source: A local GeoPackage, shapefile, FlatGeobuf, GeoJSON or GeoParquet; ``file.gpkg:layer`` names a layer
            where a file has several. A file whose name has the colon in it goes first.
        id_column: Column of the zones' names or numbers; for a GeoPackage its row number, ``fid``, will do.

    Returns:
        The zones as `zones_of` makes them, in the CRS of the file.

    Raises:
        InputError: If it is not such a file, cannot be read, has several layers and none is named, or its zones cannot
            be used: no CRS, no polygons, a name missing.
        ParameterError: If the file has no such layer or column.
    """
    path, layer = checked_file(source, "zones")
    return zones_of(_read(path, layer, id_column), id_column, name=printable(path))


def read_aoi(source: str) -> Zones:
    """All polygons of a vector file as the one zone of an area of interest.

    Args:
        source: As for `read_zones`.

    Raises:
        InputError: As `read_zones` does; also if no polygon has an area.
        ParameterError: If the file has no such layer.
    """
    path, layer = checked_file(source, "an area of interest")
    frame = _read(path, layer, None)
    frame = frame[[frame.active_geometry_name]].assign(aoi=AOI) if frame.active_geometry_name else frame
    zones = zones_of(frame, "aoi", name=printable(path))
    if not zones.geometries[0].area > 0:
        raise InputError(f"{printable(path)}: its polygons have no area, so nothing is of interest: draw them again")
    # that several rows are one area is what was meant, and needs no word
    return replace(zones, notes=tuple(note for note in zones.notes if "united into one" not in note))


def _read(path: Path, layer: str | None, id_column: str | None) -> "gpd.GeoDataFrame":
    """The polygons with one column, or with none."""
    name = printable(path)
    is_parquet = path.suffix.lower() in PARQUET
    try:
        if is_parquet:
            return _read_parquet(path, id_column)
        with ogr_path(path) as file:
            return _read_layer(file, path, layer, id_column)
    except (ParameterError, InputError):
        raise
    except (ValueError, OSError, RuntimeError) as error:  # pyogrio's errors are RuntimeErrors, pyarrow's are the others
        reason = reason_of(error)
        raise InputError(
            f"{name}: cannot be read: {reason}; check with ogrinfo that the file is whole and is what its name says"
        ) from error


def _read_parquet(path: Path, id_column: str | None) -> "gpd.GeoDataFrame":
    import geopandas as gpd
    import pyarrow.parquet as pq

    # a table of many columns is read by two of them
    schema = pq.read_schema(path)
    geometry = _primary_column(schema.metadata or {})
    wanted = [c for c in dict.fromkeys((id_column, geometry)) if c in schema.names]
    if id_column is not None and id_column not in schema.names:
        _refuse_column(path, id_column, [c for c in schema.names if c != geometry])
    frame: gpd.GeoDataFrame = gpd.read_parquet(path, columns=wanted)
    return frame


def _primary_column(metadata: dict[bytes, bytes]) -> str:
    import json

    geo = json.loads(metadata.get(b"geo", b"{}"))
    return str(geo.get("primary_column", "geometry")) if isinstance(geo, dict) else "geometry"


def _read_layer(file: str, path: Path, layer: str | None, id_column: str | None) -> "gpd.GeoDataFrame":
    """The layer of a file that GDAL knows as ``file``, the user as ``path``."""
    import pyogrio

    layer = _layer(path, layer, pyogrio.list_layers(file))
    info = pyogrio.read_info(file, layer=layer)
    columns = [str(c) for c in info["fields"]]
    row_number = str(info.get("fid_column") or "")
    if id_column is not None and id_column not in columns and id_column != row_number:
        _refuse_column(path, id_column, columns + ([row_number] if row_number else []))
    by_row = id_column is not None and id_column not in columns
    with warnings.catch_warnings():
        # heights and measures are left out, rings are closed: nothing that changes an area
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        frame: gpd.GeoDataFrame = pyogrio.read_dataframe(
            file, layer=layer, columns=[] if by_row or id_column is None else [id_column], fid_as_index=by_row
        )
    if by_row:
        frame = frame.reset_index(names=id_column)
    return frame


def _refuse_column(path: Path, id_column: str, columns: list[str]) -> None:
    raise ParameterError(
        f"{printable(path)} has no column {printable(id_column)!r} of names: "
        f"choose one of {', '.join(map(printable, columns)) or '(none: add one)'}"
    )


def _layer(path: Path, asked: str | None, found: Any) -> str:
    """The layer to read; tables without geometry and QGIS's styles are none to choose."""
    layers = [str(name) for name, kind in found if kind is not None and name != _STYLES]
    shown = ", ".join(map(printable, layers))
    if asked is not None:
        if asked not in layers:
            raise ParameterError(
                f"{printable(path)} has no layer of polygons {printable(asked)!r}: choose one of {shown or '(none)'}"
            )
        return asked
    if not layers:
        raise InputError(f"{printable(path)}: has no layer with geometries; give a file of polygons")
    if len(layers) > 1:
        raise InputError(
            f"{printable(path)}: has {len(layers)} layers, {shown}: name one, "
            f"for example {printable(path)}:{printable(layers[0])}"
        )
    return layers[0]
