"""Features through GDAL, in Arrow batches: written and opened again; FlatGeobuf and GeoPackage."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from geoseg.errors import OutputError
from geoseg.outputs.style import vector_qml
from geoseg.outputs.vectors_format import Context, Stored
from geoseg.scene.ogr_path import ogr_path
from geoseg.vector.features import BATCH_BYTES, GEOMETRY, ROWS, Features

__all__ = ["open_gpkg", "open_ogr", "provenance", "write_fgb", "write_gpkg", "write_ogr", "write_style"]

_PAGE_BYTES = 32768
"""Of a GeoPackage, eight times SQLite's own: long outlines are written in a sixth less time, read in a quarter less."""


def write_ogr(features: Features, path: Path, *, driver: str, geometry_type: str = "", **options: Any) -> None:
    """Write features batch by batch.

    Args:
        features: Gone through once.
        path: Of the file.
        driver: GDAL's name of the format.
        geometry_type: Of the layer; by default that of the features.
        options: Of `pyogrio.raw.write_arrow`.

    Raises:
        OutputError: If GDAL says that it cannot; not all drivers say so.
    """
    import pyarrow as pa
    import pyogrio

    raised: list[BaseException] = []
    reader = pa.RecordBatchReader.from_batches(features.schema, _noting(features.batches, raised))
    # The CRS as WKT 2: some CRSs have no WKT 1
    code = features.crs.to_epsg(min_confidence=100) if features.crs else None
    try:
        with ogr_path(path) as name:
            pyogrio.raw.write_arrow(
                reader,
                name,
                driver=driver,
                geometry_type=geometry_type or features.geometry_type,
                crs=f"EPSG:{code}" if code else features.crs.to_wkt() if features.crs else None,
                encoding="UTF-8",
                **options,
            )
    except Exception:
        if raised:  # GDAL only says that there was an error in the stream
            raise raised[0] from None
        raise


def _noting(batches: Callable[[], Iterator[Any]], raised: list[BaseException]) -> Iterator[Any]:
    try:
        yield from batches()
    except GeneratorExit:
        raise
    except BaseException as error:  # pyarrow hands on the text of an error only
        raised.append(error)
        raise


@contextmanager
def open_ogr(path: Path, _: Context | None = None, *, layer: str | None = None, **options: Any) -> Iterator[Stored]:
    """Features of a layer, by default of the only one."""
    import pyogrio
    from pyproj import CRS

    with ExitStack() as stack:
        name = stack.enter_context(ogr_path(path))
        # where it is not in a header, the whole file would be read for it
        info = pyogrio.read_info(name, layer=layer, **options)
        bounds = info["total_bounds"]
        # batches of as many features as take some memory, not of as many features
        each = path.stat().st_size / max(1, info["features"])
        rows = int(min(ROWS, max(1, BATCH_BYTES / each)))
        opened = pyogrio.raw.open_arrow(name, layer=layer, use_pyarrow=True, batch_size=rows, **options)
        meta, reader = stack.enter_context(opened)
        geometry = meta["geometry_name"] or "wkb_geometry"
        names = [GEOMETRY if column == geometry else column for column in reader.schema.names]
        yield Stored(
            names=tuple(names),
            crs=CRS.from_user_input(meta["crs"]) if meta["crs"] else None,
            batches=(batch.rename_columns(names) for batch in reader),
            bounds=bounds,
        )


def provenance(context: Context) -> dict[str, str]:
    """GDAL's layer option that puts provenance into a description, for formats without a better place."""
    if not context.metadata:
        return {}
    return {"DESCRIPTION": json.dumps(dict(context.metadata), ensure_ascii=False, sort_keys=True)}


def write_style(path: Path, context: Context) -> None:
    """QGIS's style beside a file that cannot carry one."""
    path.with_suffix(".qml").write_text(vector_qml(context.legend, column=context.column), "utf-8")


def write_fgb(features: Features, path: Path, context: Context) -> None:
    """FlatGeobuf with its spatial index; GDAL holds some 50 bytes per feature for it."""
    options = {"SPATIAL_INDEX": "YES", "TITLE": context.layer, **provenance(context)}
    write_ogr(features, path, driver="FlatGeobuf", layer=context.layer, layer_options=options)
    write_style(path, context)


def write_gpkg(features: Features, path: Path, context: Context) -> None:
    """GeoPackage with spatial index, style and provenance."""
    with _set_for_now("OGR_SQLITE_PRAGMA", f"page_size={_PAGE_BYTES}"):
        write_ogr(
            features,
            path,
            driver="GPKG",
            layer=context.layer,
            layer_options={
                "SPATIAL_INDEX": "YES",
                "GEOMETRY_NAME": "geom",
                "DESCRIPTION": "land cover made with geoseg",
            },
            layer_metadata=dict(context.metadata) or None,
        )
    _embed_style(path, context)


@contextmanager
def _set_for_now(option: str, value: str) -> Iterator[None]:
    """An option of pyogrio's GDAL, which is of the whole process; one that the user has set stays."""
    import pyogrio

    before = pyogrio.get_gdal_config_option(option)
    if before is not None:
        yield
        return
    pyogrio.set_gdal_config_options({option: value})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({option: None})


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
            (
                context.layer,
                context.layer[:30],
                vector_qml(context.legend, column=context.column),
                "classes of the legend",
            ),
        )
        db.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id)"
            " VALUES ('layer_styles', 'attributes', 'layer_styles', 0)"
        )


@contextmanager
def open_gpkg(path: Path, context: Context) -> Iterator[Stored]:
    """Features of a GeoPackage whose pages, style and spatial index are whole, which is looked at in another thread."""
    with ThreadPoolExecutor(1, "geoseg-pages") as pool:
        looking = pool.submit(_check_pages, path, context.layer)
        try:
            with open_ogr(path, layer=context.layer) as stored:
                yield stored
        finally:  # what is wrong with the pages goes before what came of it
            looking.result()


def _check_pages(path: Path, layer: str) -> None:
    quoted = layer.replace('"', '""')
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
