"""Polygons on disk: GeoPackage, Shapefile, FlatGeobuf, GeoParquet; each read back and compared feature by feature.

A format is one entry of :data:`FORMATS`: its suffix, how it is written and how it is read.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.errors import OutputError, ParameterError, printable
from geoseg.legend import Legend
from geoseg.outputs.aside import Published, publish
from geoseg.outputs.style import vector_qml
from geoseg.outputs.vectors_check import check_features

__all__ = ["FORMATS", "Context", "VectorFormat", "write_polygons"]

SHAPEFILE_LIMIT: Final = 2**31
"""Bytes of the ``.shp`` or ``.dbf`` that readers can count on."""
_SHAPEFILE_TEXT = 254  # bytes a DBF text field can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a writer knows besides the polygons."""

    layer: str
    """Layer name, for formats that have one: short, lower case, the same in every file."""
    legend: Legend
    """Classes with their colours, for the style."""
    metadata: Mapping[str, str]
    """Provenance, kept where the format has a place for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFormat:
    """How polygons are kept in one format."""

    suffix: str
    """Of the file, with its dot."""
    write: Callable[[Any, Path, Context], None]
    """Writes a GeoDataFrame of multipolygons to a path and closes it."""
    read: Callable[[Path, Context], Any]
    """The GeoDataFrame that a path holds; raises if the file is damaged."""
    float_tolerance: float = 0.0
    """Largest relative error of numbers; 0 where they are kept to the bit."""
    keeps_crs: bool = True
    """Whether any CRS reads back as the same one."""


def write_polygons(
    gdf: Any,
    path: Path,
    *,
    format: str,  # noqa: A002
    legend: Legend,
    layer: str = "landcover",
    metadata: Mapping[str, str] | None = None,
) -> Published:
    """Polygons in a file that QGIS opens styled by class.

    Args:
        gdf: GeoDataFrame of polygons or multipolygons; empty is fine. Columns as in ``class_id``, ``class_name``,
            ``area_m2``: names of ten characters at most where a shapefile is written.
        path: Final name, with the suffix of the format.
        format: A name in :data:`FORMATS`: ``gpkg``, ``shp``, ``fgb`` or ``parquet``.
        legend: Classes and colours; ``class_id`` chooses the symbol.
        layer: Layer name, for GeoPackage and FlatGeobuf.
        metadata: Provenance; GeoPackage keeps it as layer metadata, GeoParquet as attributes of the frame,
            FlatGeobuf as its description, Shapefile has no place for it.

    Returns:
        The published file. It was read back: same features, vertices and attributes.

    Raises:
        ParameterError: If the format or its suffix is not known, or the columns do not fit it.
        OutputError: If the file cannot be written, would be too large or does not read back.
    """
    if format not in FORMATS:
        raise ParameterError(f"there is no polygon format {format!r}: choose one of {', '.join(sorted(FORMATS))}")
    kind = FORMATS[format]
    if path.suffix != kind.suffix:
        raise ParameterError(
            f"{printable(path.name)} does not end with {kind.suffix}: name it so for format {format!r}"
        )
    context = Context(layer=layer, legend=legend, metadata=dict(metadata or {}))
    multi = _as_multipolygons(gdf)

    def verify(tmp: Path) -> None:
        found = kind.read(tmp, context)
        check_features(multi, found, float_tolerance=kind.float_tolerance, crs=kind.keeps_crs)

    return publish(path, lambda tmp: kind.write(multi, tmp, context), verify)


def _as_multipolygons(gdf: Any) -> Any:
    """The same frame with one geometry type: mixed types are promoted by some formats and refused by others."""
    import geopandas as gpd
    import numpy as np
    import shapely

    geometries = np.asarray(gdf.geometry.array)
    polygonal = np.isin(shapely.get_type_id(geometries), (3, 6)) & ~shapely.is_empty(geometries)
    if not polygonal.all():
        raise ParameterError(
            f"{int((~polygonal).sum())} of {len(geometries)} rows have no polygon, or an empty one: drop them first"
        )
    parts, owner = shapely.get_parts(geometries, return_index=True)
    multi = shapely.multipolygons(parts, indices=owner) if len(parts) else np.empty(0, object)
    columns = gdf.drop(columns=gdf.geometry.name).reset_index(drop=True)
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(multi, crs=gdf.crs), crs=gdf.crs)


def _write_ogr(gdf: Any, path: Path, *, driver: str, **options: Any) -> None:
    """Write through GDAL, with the CRS as WKT 2: ``write_dataframe`` takes WKT 1, which some CRSs do not have."""
    import pyogrio
    import shapely

    columns = gdf.drop(columns=gdf.geometry.name)
    code = gdf.crs.to_epsg(min_confidence=100) if gdf.crs else None
    pyogrio.raw.write(
        path,
        shapely.to_wkb(gdf.geometry.array),
        [_field(columns[name]) for name in columns],
        list(columns),
        driver=driver,
        crs=f"EPSG:{code}" if code else gdf.crs.to_wkt() if gdf.crs else None,
        encoding="UTF-8",
        **options,
    )


def _field(column: Any) -> Any:
    """A column as numpy, texts as objects with None where they are missing."""
    if column.dtype.kind in "iufb":
        return column.to_numpy()
    return column.astype(object).where(column.notna(), None).to_numpy()


def _write_gpkg(gdf: Any, path: Path, context: Context) -> None:
    _write_ogr(
        gdf,
        path,
        driver="GPKG",
        layer=context.layer,
        geometry_type="MultiPolygon",
        layer_options={"SPATIAL_INDEX": "YES", "GEOMETRY_NAME": "geom", "DESCRIPTION": "land cover made with geoseg"},
        layer_metadata=dict(context.metadata) or None,
    )
    _embed_style(path, context)


def _embed_style(path: Path, context: Context) -> None:
    """QGIS's default style, in the table it looks for; it reads the QML only, never the SLD column."""
    # TEXT(n) instead of QGIS's own VARCHAR(n), of which GDAL warns
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),"
            " f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30),"
            " styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),"
            " update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
        )
        db.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
            " styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, 'geom', ?, ?, '', 1, ?, '')",
            (context.layer, context.layer[:30], vector_qml(context.legend), "classes of the legend"),
        )
        db.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id)"
            " VALUES ('layer_styles', 'attributes', 'layer_styles', 0)"
        )


def _read_gpkg(path: Path, context: Context) -> Any:
    import pyogrio

    quoted = context.layer.replace('"', '""')
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        answer = db.execute("PRAGMA integrity_check").fetchone()[0]
        styles = db.execute("SELECT count(*) FROM layer_styles").fetchone()[0]
        features = db.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0]  # noqa: S608 a name cannot be a parameter
        # on a nearly full disk GDAL leaves the spatial index out and says nothing
        indexed = db.execute(f'SELECT count(*) FROM "rtree_{quoted}_geom"').fetchone()[0]  # noqa: S608
    if (answer, styles, indexed) != ("ok", 1, features):
        raise OutputError(
            f"the GeoPackage is damaged: integrity {answer}, {styles} styles, {indexed} of {features} features indexed"
        )
    return pyogrio.read_dataframe(path, layer=context.layer)


def _write_shp(gdf: Any, path: Path, context: Context) -> None:
    long = [c for c in gdf.columns if c != gdf.geometry.name and len(c.encode()) > 10]
    if long:
        raise ParameterError(f"a shapefile cuts names to ten characters: rename {', '.join(map(repr, long))} first")
    _check_shapefile_fits(gdf)
    _write_ogr(gdf, path, driver="ESRI Shapefile", geometry_type="Polygon")
    path.with_suffix(".qml").write_text(vector_qml(context.legend), "utf-8")


def _check_shapefile_fits(gdf: Any) -> None:
    """Refuse before writing: beyond 2 GiB a shapefile is silently cut or not read by others."""
    import shapely

    geometries = gdf.geometry.array
    rings = int(
        shapely.get_num_interior_rings(shapely.get_parts(geometries)).sum() + len(shapely.get_parts(geometries))
    )
    shp = 100 + 52 * len(gdf) + 4 * rings + 16 * int(shapely.get_num_coordinates(geometries).sum())
    dbf = 0
    for name in gdf.columns.drop(gdf.geometry.name):
        if gdf[name].dtype.kind in "iuf":
            dbf += 24 * len(gdf)
            continue
        longest = max((len(str(v).encode()) for v in gdf[name].unique()), default=0)
        if longest > _SHAPEFILE_TEXT:
            raise OutputError(
                f"a text of {longest} bytes in {name} does not fit a shapefile ({_SHAPEFILE_TEXT} at most): "
                "choose --format gpkg"
            )
        dbf += max(80, longest) * len(gdf)
    if max(shp, dbf) >= SHAPEFILE_LIMIT:
        raise OutputError(
            f"{len(gdf)} polygons make a shapefile of {max(shp, dbf) / 2**30:.1f} GiB, "
            f"{SHAPEFILE_LIMIT / 2**30:.0f} GiB is the most it can hold: choose --format gpkg or raise --min-area"
        )


def _write_fgb(gdf: Any, path: Path, context: Context) -> None:
    import json

    options = {"SPATIAL_INDEX": "YES", "TITLE": context.layer}
    if context.metadata:
        options["DESCRIPTION"] = json.dumps(context.metadata, ensure_ascii=False, sort_keys=True)
    _write_ogr(gdf, path, driver="FlatGeobuf", layer=context.layer, geometry_type="MultiPolygon", layer_options=options)
    path.with_suffix(".qml").write_text(vector_qml(context.legend), "utf-8")


def _read_ogr(path: Path, _: Context) -> Any:
    import pyogrio

    return pyogrio.read_dataframe(path)


def _write_parquet(gdf: Any, path: Path, context: Context) -> None:
    frame = gdf.copy(deep=False)
    frame.attrs = dict(context.metadata)
    # bbox covering: readers can skip row groups; zstd: a seventh of the size of a GeoPackage
    frame.to_parquet(path, index=False, compression="zstd", schema_version="1.1.0", write_covering_bbox=True)


def _read_parquet(path: Path, _: Context) -> Any:
    import geopandas as gpd

    return gpd.read_parquet(path)


FORMATS: Final[dict[str, VectorFormat]] = {
    "gpkg": VectorFormat(suffix=".gpkg", write=_write_gpkg, read=_read_gpkg),
    # numbers are decimal text in the .dbf, and the .prj is ESRI's dialect of WKT, which lacks much
    "shp": VectorFormat(suffix=".shp", write=_write_shp, read=_read_ogr, float_tolerance=1e-9, keeps_crs=False),
    "fgb": VectorFormat(suffix=".fgb", write=_write_fgb, read=_read_ogr),
    "parquet": VectorFormat(suffix=".parquet", write=_write_parquet, read=_read_parquet),
}
"""Polygon formats by the name users give; add an entry and ``--format`` knows it."""
