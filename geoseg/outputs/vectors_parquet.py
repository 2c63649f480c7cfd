"""GeoParquet 1.1 with a bbox covering, one row group per batch (https://geoparquet.org/releases/v1.1.0)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from geoseg import __version__
from geoseg.errors import OutputError, ParameterError
from geoseg.outputs.vectors_format import Context, Stored
from geoseg.vector.features import GEOMETRY, Features
from geoseg.vector.wkb import wkb_bounds

__all__ = ["GROUP_BYTES", "open_parquet", "write_parquet"]

GROUP_BYTES: Final = 16 << 20
"""Bytes of the outlines of a row group: readers skip whole ones, and each has its own statistics."""
_BBOX: Final = "bbox"
_CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")


def write_parquet(features: Features, path: Path, context: Context) -> None:
    """GeoParquet that pandas, GDAL and DuckDB read; readers skip row groups by their bounds.

    Raises:
        ParameterError: If a column is called ``bbox``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if _BBOX in features.schema.names:
        raise ParameterError("GeoParquet has a column 'bbox' of its own: rename yours first")
    attributes = [f for f in features.schema if f.name != GEOMETRY]
    corners = pa.struct([(name, pa.float64()) for name in _CORNERS])
    fields = [*attributes, pa.field(GEOMETRY, pa.binary()), pa.field(_BBOX, corners)]
    schema = pa.schema(fields)
    total = np.full(4, np.nan)
    # zstd: a quarter of the size of a GeoPackage. Beside a copy of Arrow's schema, metadata that come last are not seen
    with pq.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
        for batch in features.batches():
            bounds = wkb_bounds(batch.column(GEOMETRY))
            total[:2] = np.fmin(total[:2], np.fmin.reduce(bounds[:, :2]))
            total[2:] = np.fmax(total[2:], np.fmax.reduce(bounds[:, 2:]))
            columns = {name: batch.column(name) for name in batch.schema.names}
            columns[_BBOX] = pa.StructArray.from_arrays([pa.array(c) for c in bounds.T], fields=list(corners))
            writer.write_batch(pa.RecordBatch.from_arrays([columns[f.name] for f in fields], schema=schema))
        extent = total.tolist() if np.isfinite(total).all() else None  # an empty table has none
        geo = json.dumps(_geo_metadata(features.geometry_type, _projjson(features.crs), extent))
        writer.add_key_value_metadata({**_pandas_metadata(fields, context), "geo": geo})


def _pandas_metadata(fields: list[Any], context: Context) -> dict[str, str]:
    """What pandas stores beside the columns: their types, and provenance as attributes of the frame."""
    import pyarrow as pa

    frame = pa.schema(fields[:-1]).empty_table().to_pandas()
    metadata = {"pandas": pa.Schema.from_pandas(frame, preserve_index=False).metadata[b"pandas"].decode()}
    if context.metadata:
        metadata["PANDAS_ATTRS"] = json.dumps(dict(context.metadata))
    return metadata


def _geo_metadata(geometry_type: str, projjson: Any, bounds: list[float] | None) -> dict[str, Any]:
    column = {
        "encoding": "WKB",
        "crs": projjson,
        "geometry_types": [geometry_type],
        "covering": {_BBOX: {name: [_BBOX, name] for name in _CORNERS}},
    }
    if bounds is not None:
        column["bbox"] = bounds
    return {
        "version": "1.1.0",
        "primary_column": GEOMETRY,
        "columns": {GEOMETRY: column},
        "creator": {"library": "geoseg", "version": __version__},
    }


def _projjson(crs: Any) -> Any:
    """The CRS, without the ids of the members of datum ensembles, which older PROJ versions do not know.

    See https://github.com/opengeospatial/geoparquet/discussions/110.
    """
    if crs is None:
        return None

    def cleaned(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            key: [{k: v for k, v in member.items() if k != "id"} for member in inner]
            if key == "members"
            else cleaned(inner)
            for key, inner in value.items()
        }

    return cleaned(crs.to_json_dict())


@contextmanager
def open_parquet(path: Path, context: Context) -> Iterator[Stored]:
    """Features of a GeoParquet file; raises where metadata or bounds are not what was written."""
    import pyarrow.parquet as pq
    from pyproj import CRS

    with pq.ParquetFile(path) as file:
        stored = {key.decode(): text.decode() for key, text in file.metadata.metadata.items()}
        geo = json.loads(stored.pop("geo"))
        column = geo["columns"][GEOMETRY]
        (geometry_type,) = column["geometry_types"]
        # Parquet has no checksum for them; the CRS and the bounds are compared by the caller
        if (
            geometry_type not in ("Polygon", "MultiPolygon")
            or geo != _geo_metadata(geometry_type, column["crs"], column.get("bbox"))
            or stored != _pandas_metadata(list(file.schema_arrow), context)
        ):
            raise OutputError("the metadata of the GeoParquet file read back otherwise")
        yield Stored(
            names=tuple(name for name in file.schema_arrow.names if name != _BBOX),
            crs=CRS.from_json_dict(column["crs"]) if column["crs"] else None,
            batches=_checked(file),
            bounds=column.get("bbox"),
        )


def _checked(file: Any) -> Iterator[Any]:
    # a row group at a time: it is as large as the batch that was written
    groups = (file.iter_batches(row_groups=[i]) for i in range(file.num_row_groups))
    for batch in chain.from_iterable(groups):
        corners = batch.column(_BBOX)
        stated = np.stack([corners.field(name).to_numpy(zero_copy_only=False) for name in _CORNERS], axis=1)
        if not np.array_equal(stated, wkb_bounds(batch.column(GEOMETRY)), equal_nan=True):
            raise OutputError("the bounds of some features read back otherwise")
        yield batch
