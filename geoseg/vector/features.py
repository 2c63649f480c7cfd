"""Polygons with their attributes on the way from the vectorizer to the files: Arrow record batches."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.vector.wkb import multipolygons_wkb, offsets_and_bytes, polygons_wkb

if TYPE_CHECKING:
    import geopandas as gpd
    import pyarrow as pa
    from pyproj import CRS

__all__ = ["GEOMETRY", "Features", "geometry_field", "regrouped"]

GEOMETRY: Final = "geometry"
"""Name of the geometry column."""
ROWS: Final = 65_536
"""Features of a batch, where their outlines are not long."""
BATCH_BYTES: Final = 4 << 20
"""Bytes of the outlines of a batch: so few that writing begins while most blocks are still to do."""
_POLYGON_ID, _MULTIPOLYGON_ID = 3, 6  # of shapely.get_type_id


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Polygons with their attributes as Arrow record batches, which can be gone through again and again."""

    schema: "pa.Schema"
    """``geometry``, ISO WKB in little-endian binary values (see :func:`geometry_field`), and the attributes."""
    geometry_type: Literal["Polygon", "MultiPolygon"]
    """Of every feature."""
    crs: "CRS | None"
    """Of the coordinates, x before y whatever its axes say; None where it is not known."""
    batches: "Callable[[], Iterator[pa.RecordBatch]]"
    """Begins anew at the first batch; batches have the schema and at most 2 GiB of outlines each."""

    def __post_init__(self) -> None:
        import pyarrow as pa

        if self.schema.names.count(GEOMETRY) != 1 or self.schema.field(GEOMETRY).type != pa.binary():
            raise ParameterError(f"features need one binary column {GEOMETRY!r}, got {self.schema.names}")
        if len(set(self.schema.names)) < len(self.schema.names):
            raise ParameterError(f"features need columns of different names, got {self.schema.names}")

    @classmethod
    def of(cls, gdf: "gpd.GeoDataFrame") -> "Features":
        """The rows of a GeoDataFrame; polygons become multipolygons if there is any among them.

        Missing numbers are NaN in a GeoDataFrame and null here; a z coordinate is left out.

        Raises:
            ParameterError: If a row has no polygon, or a column has no name.
        """
        import pandas as pd
        import shapely

        geometries = np.asarray(gdf.geometry.array)
        kinds = shapely.get_type_id(geometries)
        polygonal = np.isin(kinds, (_POLYGON_ID, _MULTIPOLYGON_ID)) & ~shapely.is_empty(geometries)
        if not polygonal.all():
            raise ParameterError(
                f"{int((~polygonal).sum())} of {len(geometries)} rows have no polygon, or an empty one: drop them first"
            )
        multi = bool((kinds == _MULTIPOLYGON_ID).any())
        columns = pd.DataFrame(gdf.drop(columns=gdf.geometry.name))
        schema = _schema(columns)

        def batches() -> "Iterator[pa.RecordBatch]":
            import pyarrow as pa

            attributes = pa.schema(list(schema)[1:])
            for begin in range(0, len(geometries), ROWS):
                rows = slice(begin, begin + ROWS)
                batch = pa.RecordBatch.from_pandas(columns.iloc[rows], schema=attributes, preserve_index=False)
                yield pa.RecordBatch.from_arrays([_wkb(geometries[rows], multi=multi), *batch.columns], schema=schema)

        kind: Literal["Polygon", "MultiPolygon"] = "MultiPolygon" if multi else "Polygon"
        return cls(schema=schema, geometry_type=kind, crs=gdf.crs, batches=batches)

    def to_geodataframe(self) -> "gpd.GeoDataFrame":
        """All features in memory."""
        import geopandas as gpd
        import pyarrow as pa
        import shapely

        table = pa.Table.from_batches(self.batches(), self.schema)
        geometries = shapely.from_wkb(table.column(GEOMETRY).to_numpy())
        columns = table.drop_columns(GEOMETRY).replace_schema_metadata(None).to_pandas()
        return gpd.GeoDataFrame(columns, geometry=geometries, crs=self.crs)


def geometry_field() -> "pa.Field":
    """The field of the geometry column: WKB by its GeoArrow name, which GDAL and others look for."""
    import pyarrow as pa

    return pa.field(GEOMETRY, pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})


def regrouped(
    batches: "Iterable[pa.RecordBatch]", *, rows: int = ROWS, n_bytes: int = BATCH_BYTES
) -> "Iterator[pa.RecordBatch]":
    """The same features in the same order, in batches that are neither tiny nor huge.

    Args:
        batches: Features in batches of any size.
        rows: Features of a batch at most.
        n_bytes: Bytes of the outlines of a batch at most, as long as no single feature has more.
    """
    waiting: list[Any] = []
    n = size = 0
    for batch in batches:
        for piece, piece_bytes in _pieces(batch, rows, n_bytes):
            if waiting and (n + len(piece) > rows or size + piece_bytes > n_bytes):
                yield _one(waiting)
                waiting, n, size = [], 0, 0
            waiting.append(piece)
            n, size = n + len(piece), size + piece_bytes
    if waiting:
        yield _one(waiting)


def _one(pieces: "list[pa.RecordBatch]") -> "pa.RecordBatch":
    import pyarrow as pa

    return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)  # which copies even a single one


def _pieces(batch: "pa.RecordBatch", rows: int, n_bytes: int) -> "Iterator[tuple[pa.RecordBatch, int]]":
    """Slices of a batch within the limits, each with the bytes of its outlines."""
    if not len(batch):
        return
    offsets, _ = offsets_and_bytes(batch.column(GEOMETRY))
    begin = 0
    while begin < len(batch):
        fitting = int(np.searchsorted(offsets, offsets[begin] + n_bytes, side="right")) - 1
        end = min(max(fitting, begin + 1), begin + rows, len(batch))
        yield batch.slice(begin, end - begin), int(offsets[end] - offsets[begin])
        begin = end


def _schema(columns: Any) -> "pa.Schema":
    """Arrow fields of the columns of a DataFrame, with the plain type where pandas has several for one thing."""
    import pyarrow as pa

    unnamed = [name for name in columns.columns if not isinstance(name, str)]
    if unnamed:
        raise ParameterError(f"columns need texts as names, got {unnamed[0]!r}: rename it first")
    inferred = pa.Schema.from_pandas(columns, preserve_index=False)
    return pa.schema([geometry_field(), *(pa.field(f.name, _plain(f.type)) for f in inferred)])


def _plain(kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    # a column of missing values only has no type of its own
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return kind


def _wkb(geometries: NDArray[np.object_], *, multi: bool) -> "pa.BinaryArray":
    import shapely

    kind, xy, offsets = shapely.to_ragged_array(geometries, include_z=False)
    if kind == shapely.GeometryType.MULTIPOLYGON:
        return multipolygons_wkb(xy, *offsets)
    rings, polygons = offsets
    return multipolygons_wkb(xy, rings, polygons, np.arange(len(polygons))) if multi else polygons_wkb(xy, *offsets)
