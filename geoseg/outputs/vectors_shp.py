"""Shapefiles: what they cannot hold is refused, before anything is cut in silence."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import OutputError, ParameterError
from geoseg.outputs.vectors_format import Context
from geoseg.outputs.vectors_ogr import write_ogr, write_style
from geoseg.vector.features import GEOMETRY, Features
from geoseg.vector.wkb import wkb_counts

__all__ = ["SHAPEFILE_LIMIT", "as_shapefile", "write_shp"]

SHAPEFILE_LIMIT: Final = 2**31
"""Bytes of the ``.shp`` or ``.dbf`` that readers can count on."""
_TEXT = 254  # bytes a DBF text field can hold
_GDAL_TEXT, _GDAL_NUMBER = 80, 24  # bytes of GDAL's text fields, which grow, and of its widest number field
_DIGITS = 15


def as_shapefile(features: Features) -> Features:
    """Values as the decimal text of a DBF keeps them: numbers with 15 digits, texts without spaces around them.

    GDAL writes ``%24.15f``, or the first 24 characters of it; a number of 15 digits reads back as the same float64.

    Raises:
        ParameterError: If a name has more than ten characters.
    """
    import pyarrow as pa

    long = [name for name in features.schema.names if name != GEOMETRY and len(name.encode()) > 10]
    if long:
        raise ParameterError(f"a shapefile cuts names to ten characters: rename {', '.join(map(repr, long))} first")
    wide = [f.with_type(pa.float64()) if pa.types.is_floating(f.type) else f for f in features.schema]
    return replace(features, schema=pa.schema(wide), batches=lambda: map(_as_text, features.batches()))


def _as_text(batch: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    for i, field in enumerate(batch.schema):
        if pa.types.is_floating(field.type):
            values = batch.column(i).to_numpy(zero_copy_only=False).astype(np.float64)
            batch = batch.set_column(
                i, field.with_type(pa.float64()), pa.array(_rounded(values), pa.float64(), from_pandas=True)
            )
        elif pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            batch = batch.set_column(i, field, pc.utf8_trim(batch.column(i), " "))
    return batch


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values with 15 significant digits at most; those of 1e15 and more, whole numbers to GDAL, as they are."""
    size = np.abs(np.where(np.isfinite(values), values, 0.0))
    magnitude = np.floor(np.log10(size, where=size > 0, out=np.zeros_like(size)))
    decimals = np.clip(_DIGITS - 1 - magnitude, 0, _DIGITS)
    # powers of ten up to 1e22 and the rounded integers are exact, so the quotient is the float64 next to the decimal
    scale = 10.0**decimals
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(size < 10.0**_DIGITS, np.rint(values * scale) / scale, values)


def write_shp(features: Features, path: Path, context: Context) -> None:
    """Shapefile in UTF-8 with its style beside it.

    Raises:
        OutputError: Where it would pass 2 GiB, beyond which it is silently cut or not read by others.
    """
    counted = replace(features, batches=lambda: _within_limits(features))
    write_ogr(counted, path, driver="ESRI Shapefile", geometry_type="Polygon")
    write_style(path, context)


def _within_limits(features: Features) -> Iterator[Any]:
    """The batches, as long as they fit."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [f.name for f in features.schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    widths = dict.fromkeys(texts, _GDAL_TEXT)
    numbers = len(features.schema.names) - 1 - len(texts)
    n, shp = 0, 100
    for batch in features.batches():
        for name in texts:
            longest = pc.max(pc.binary_length(batch.column(name))).as_py() or 0
            if longest > _TEXT:
                raise OutputError(
                    f"a text of {longest} bytes in {name} does not fit a shapefile ({_TEXT} at most): "
                    "choose --format gpkg"
                )
            widths[name] = max(widths[name], longest)
        _, rings, vertices = wkb_counts(batch.column(GEOMETRY)).sum(axis=0)
        n += len(batch)
        shp += 52 * len(batch) + 4 * int(rings) + 16 * int(vertices)
        dbf = n * (numbers * _GDAL_NUMBER + sum(widths.values()))
        if max(shp, dbf) >= SHAPEFILE_LIMIT:
            raise OutputError(
                f"{n} polygons make a shapefile of {max(shp, dbf) / 2**30:.1f} GiB, and there may be more; "
                f"{SHAPEFILE_LIMIT / 2**30:.0f} GiB is the most it can hold: choose --format gpkg or raise --min-area"
            )
        yield batch
