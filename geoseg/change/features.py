"""The attributes of change polygons."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.change.codes import ChangeCodes
from geoseg.vector.features import GEOMETRY, Features

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

__all__ = ["change_features", "change_table"]

_KEPT = ("area_m2", "mean_conf")


def _names(codes: ChangeCodes) -> dict[str, tuple[Any, str]]:
    """For each column its value by code, and its type."""
    values = np.array(codes.legend.values, dtype=np.int32)
    names = np.array(codes.legend.names, dtype=object)
    columns: dict[str, tuple[Any, str]] = {"change_id": (np.arange(len(codes) + 1, dtype=np.int32), "int32")}
    for side, which in (("from", 0), ("to", 1)):
        at = codes.pairs[:, which]
        columns[f"{side}_id"] = (np.concatenate([np.zeros(1, np.int32), values[at]]), "int32")
        columns[f"{side}_name"] = (np.concatenate([np.array([""], dtype=object), names[at]]), "string")
    return columns


def change_table(polygons: "gpd.GeoDataFrame", codes: ChangeCodes) -> "gpd.GeoDataFrame":
    """Polygons of a change map, with classes before and after in place of the code's name."""
    import geopandas as gpd

    code = polygons["class_id"].to_numpy()
    columns = {name: by_code[code] for name, (by_code, _) in _names(codes).items()}
    kept = {name: polygons[name].to_numpy() for name in _KEPT}
    frame = gpd.GeoDataFrame({**columns, **kept}, geometry=np.array(polygons.geometry.array), crs=polygons.crs)
    return frame.astype({"from_name": "str", "to_name": "str"})


def change_features(polygons: Features, codes: ChangeCodes) -> Features:
    """The same for a stream of features."""
    import pyarrow as pa

    columns = {name: pa.array(by_code, kind) for name, (by_code, kind) in _names(codes).items()}
    fields = [polygons.schema.field(GEOMETRY), *(pa.field(name, array.type) for name, array in columns.items())]
    schema = pa.schema([*fields, *(polygons.schema.field(name) for name in _KEPT)])

    def batches() -> "Iterator[pa.RecordBatch]":
        for batch in polygons.batches():
            code = batch.column("class_id")
            arrays = [batch.column(GEOMETRY), *(array.take(code) for array in columns.values())]
            yield pa.RecordBatch.from_arrays([*arrays, *(batch.column(name) for name in _KEPT)], schema=schema)

    return replace(polygons, schema=schema, batches=batches)
