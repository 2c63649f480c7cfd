"""The attributes of polygons of first change."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from geoseg.change.series import Timeline
from geoseg.vector.features import GEOMETRY, Features

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa

__all__ = ["first_change_features", "first_change_table"]

_KEPT = ("area_m2", "mean_conf")


def _dates(timeline: Timeline) -> dict[str, list[str]]:
    """For each column its value by number of the date."""
    return {"prev_date": ["", *timeline.labels[:-1]], "seen_date": ["", *timeline.labels[1:]]}


def first_change_table(polygons: "gpd.GeoDataFrame", timeline: Timeline) -> "gpd.GeoDataFrame":
    """Polygons of a raster of first change, with dates in place of the name of its number."""
    import geopandas as gpd

    code = polygons["class_id"].to_numpy()
    columns = {name: np.array(by_code, dtype=object)[code] for name, by_code in _dates(timeline).items()}
    kept = {name: polygons[name].to_numpy() for name in _KEPT}
    frame = gpd.GeoDataFrame(
        {"first_id": code, **columns, **kept}, geometry=np.array(polygons.geometry.array), crs=polygons.crs
    )
    return frame.astype({"prev_date": "str", "seen_date": "str"})


def first_change_features(polygons: Features, timeline: Timeline) -> Features:
    """The same for a stream of features."""
    import pyarrow as pa

    columns = {name: pa.array(by_code, "string") for name, by_code in _dates(timeline).items()}
    fields = [polygons.schema.field(GEOMETRY), pa.field("first_id", polygons.schema.field("class_id").type)]
    fields += [pa.field(name, array.type) for name, array in columns.items()]
    schema = pa.schema([*fields, *(polygons.schema.field(name) for name in _KEPT)])

    def batches() -> "Iterator[pa.RecordBatch]":
        for batch in polygons.batches():
            code = batch.column("class_id")
            arrays = [batch.column(GEOMETRY), code, *(array.take(code) for array in columns.values())]
            yield pa.RecordBatch.from_arrays([*arrays, *(batch.column(name) for name in _KEPT)], schema=schema)

    return replace(polygons, schema=schema, batches=batches)
