"""GeoJSON (RFC 7946).

Written here and not by GDAL, which drops digits of numbers such as 4.809000005 as if they were noise and takes four
times as long; it is GDAL that reads the file back.
"""

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.outputs.vectors_format import Context, Stored
from geoseg.outputs.vectors_lonlat import in_lonlat
from geoseg.outputs.vectors_ogr import open_ogr, provenance, write_style
from geoseg.vector.features import GEOMETRY, Features

__all__ = ["as_geojson", "open_geojson", "write_geojson"]


def as_geojson(features: Features) -> Features:
    """Features in longitude and latitude, without the numbers that JSON does not have.

    Raises:
        ParameterError: As :func:`geoseg.outputs.vectors_lonlat.in_lonlat`.
    """
    lonlat = in_lonlat(features)
    return replace(lonlat, batches=lambda: map(_finite, lonlat.batches()))


def _finite(batch: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    for i, field in enumerate(batch.schema):
        if pa.types.is_floating(field.type):
            kept = pc.if_else(pc.is_finite(batch.column(i)), batch.column(i), pa.scalar(None, field.type))
            batch = batch.set_column(i, field, kept)
    return batch


def write_geojson(features: Features, path: Path, context: Context) -> None:
    """GeoJSON, one feature per line, with provenance as its description and its style beside it."""
    head = {"type": "FeatureCollection", "name": context.layer}
    head |= {key.lower(): text for key, text in provenance(context).items()}
    with path.open("wb") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "features": [')
        separator = 1  # of the first feature, left out
        for batch in features.batches():
            file.write(_lines(batch)[separator:])
            separator = 0
        file.write(b"\n]}\n")
    write_style(path, context)


def _lines(batch: Any) -> memoryview:
    """The features of a batch as text, each behind a comma and on a line of its own."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import shapely

    geometries = shapely.to_geojson(shapely.from_wkb(batch.column(GEOMETRY).to_numpy(zero_copy_only=False)))
    pieces: list[Any] = []
    for name in batch.schema.names:
        if name != GEOMETRY:
            pieces += [f"{', ' if pieces else ''}{json.dumps(name, ensure_ascii=False)}: ", _json(batch.column(name))]
    pieces = [',\n{"type": "Feature", "properties": {', *pieces, '}, "geometry": ', pa.array(geometries), "}", ""]
    # 64-bit offsets: a batch of text may well pass 2 GiB
    wide = [pa.scalar(p, pa.large_string()) if isinstance(p, str) else p.cast(pa.large_string()) for p in pieces]
    text = pc.binary_join_element_wise(*wide)
    return memoryview(text.buffers()[2] if len(text) else b"")


def _json(column: Any) -> Any:
    """Each value as JSON; numbers with as many digits as tell them from all others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        distinct = column.dictionary_encode()
        texts = [json.dumps(value, ensure_ascii=False) for value in distinct.dictionary.to_pylist()]
        column = pa.array(texts, pa.large_string()).take(distinct.indices)
    elif pa.types.is_floating(column.type):
        # a whole number keeps its point, or readers would take the column for one of integers
        column = pc.replace_substring_regex(column.cast(pa.float64()).cast(pa.string()), r"^(-?\d+)$", r"\1.0")
    else:
        column = column.cast(pa.string())
    return column.fill_null("null")


def open_geojson(path: Path, _: Context) -> AbstractContextManager[Stored]:
    """Features of a GeoJSON file; texts that look like dates stay texts."""
    return open_ogr(path, DATE_AS_STRING="YES")
