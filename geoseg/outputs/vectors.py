"""Polygons on disk: GeoPackage, Shapefile, FlatGeobuf, GeoParquet, GeoJSON; each read back and compared.

A format is one entry of :data:`FORMATS`: its suffix, how it is written and how it is opened. Features go through in
batches, so memory does not depend on how many there are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ParameterError, printable
from geoseg.legend import Legend
from geoseg.outputs.aside import Published, publish
from geoseg.outputs.vectors_check import Tally, check_crs
from geoseg.outputs.vectors_format import Context, Stored, VectorFormat
from geoseg.outputs.vectors_geojson import as_geojson, open_geojson, write_geojson
from geoseg.outputs.vectors_ogr import open_gpkg, open_ogr, write_fgb, write_gpkg
from geoseg.outputs.vectors_parquet import GROUP_BYTES, open_parquet, write_parquet
from geoseg.outputs.vectors_shp import as_shapefile, write_shp
from geoseg.vector.features import Features, regrouped

__all__ = ["FORMATS", "Context", "Stored", "VectorFormat", "write_polygons"]

FORMATS: Final[dict[str, VectorFormat]] = {
    "gpkg": VectorFormat(suffix=".gpkg", write=write_gpkg, open=open_gpkg),
    # the .prj is ESRI's dialect of WKT, which lacks much
    "shp": VectorFormat(
        suffix=".shp",
        write=write_shp,
        open=open_ogr,
        prepare=as_shapefile,
        keeps_crs=False,
        sides=(".shx", ".dbf", ".prj", ".cpg", ".qml"),
    ),
    "fgb": VectorFormat(suffix=".fgb", write=write_fgb, open=open_ogr, sides=(".qml",)),
    "parquet": VectorFormat(suffix=".parquet", write=write_parquet, open=open_parquet, batch_bytes=GROUP_BYTES),
    "geojson": VectorFormat(
        suffix=".geojson", write=write_geojson, open=open_geojson, prepare=as_geojson, sides=(".qml",)
    ),
}
"""Polygon formats by the name users give; add an entry and ``--format`` knows it."""


def write_polygons(
    features: Any,
    path: Path,
    *,
    format: str,  # noqa: A002
    legend: Legend,
    layer: str = "landcover",
    metadata: Mapping[str, str] | None = None,
    column: str = "class_id",
    checksum: bool = True,
) -> Published:
    """Polygons in a file that QGIS opens styled by class.

    Memory: some batches of :data:`geoseg.vector.features.BATCH_BYTES`, whatever the number of features; FlatGeobuf
    takes some 50 bytes per feature besides, for its index.

    Args:
        features: :class:`Features` or a GeoDataFrame of polygons and multipolygons; empty is fine. Columns as in
            ``class_id``, ``class_name``, ``area_m2``: names of ten characters at most where a shapefile is written.
        path: Final name, with the suffix of the format.
        format: A name in :data:`FORMATS`: ``gpkg``, ``shp``, ``fgb``, ``parquet`` or ``geojson``.
        legend: Classes and colours.
        layer: Layer name, for GeoPackage, FlatGeobuf and GeoJSON.
        metadata: Provenance; GeoPackage keeps it as layer metadata, GeoParquet as attributes of the frame,
            FlatGeobuf and GeoJSON as their description, Shapefile has no place for it.
        column: Holds the class value that chooses the symbol.
        checksum: Whether to take one of the file.

    Returns:
        The published file. It was read back: same features, vertices and attributes, to the last bit of what the format
        keeps. Shapefiles keep 15 digits of a number. GeoJSON keeps WGS84 longitude and latitude to 1e-9 degrees.

    Raises:
        ParameterError: If the format or its suffix is not known, or the features do not fit it.
        OutputError: If the file cannot be written, would be too large or does not read back.
    """
    if format not in FORMATS:
        raise ParameterError(f"there is no polygon format {format!r}: choose one of {', '.join(sorted(FORMATS))}")
    kind = FORMATS[format]
    if path.suffix != kind.suffix:
        raise ParameterError(
            f"{printable(path.name)} does not end with {kind.suffix}: name it so for format {format!r}"
        )
    context = Context(layer=layer, legend=legend, metadata=dict(metadata or {}), column=column)
    given = features if isinstance(features, Features) else Features.of(features)
    meant = kind.prepare(replace(given, batches=lambda: regrouped(given.batches(), n_bytes=kind.batch_bytes)))
    tally = Tally(meant.schema)

    def watched() -> Iterator[Any]:
        tally.clear()
        yield from tally.adding(meant.batches())

    def verify(tmp: Path) -> None:
        with kind.open(tmp, context) as stored:
            if kind.keeps_crs:
                check_crs(meant.crs, stored.crs)
            tally.check(stored.batches, stored.names, stored.bounds)

    return publish(
        path, lambda tmp: kind.write(replace(meant, batches=watched), tmp, context), verify, checksum=checksum
    )
