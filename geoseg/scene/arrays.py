"""xarray objects -> Scene: bands by their names, read where and when they are needed."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.errors import ParameterError, SceneError
from geoseg.scene.names import common_name, landsat_names
from geoseg.scene.products.wanted import Wanted
from geoseg.scene.scene import Band, Scene

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ArrayPixels", "scene_of_array"]

_CHUNK = 512
"""Rows and columns of pixels that are asked for together where an array has no chunks of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayPixels:
    """The pixels of a scene that are an array: (band, row, col), held or lazy."""

    array: "xr.DataArray"
    """With three dimensions."""

    def read(self, indexes: Sequence[int], row: int, col: int, height: int, width: int) -> NDArray[Any]:
        """Stored values of bands, counted from 1, in a window."""
        band, y, x = self.array.dims
        places = [i - 1 for i in indexes]
        window = {band: places, y: slice(row, row + height), x: slice(col, col + width)}
        # threads, as the caller may itself be a task: of a process pool or a cluster there could be no worker left
        values: NDArray[Any] = self.array.isel(window).compute(scheduler="threads").to_numpy()
        return values


def scene_of_array(data: "xr.DataArray | xr.Dataset", wanted: Wanted) -> Scene:
    """The scene of a DataArray (y, x) or (band, y, x), or of a Dataset of variables (y, x).

    Bands are called by the variables, by the coordinate of the third dimension, or by ``long_name`` where that is a
    list, as rioxarray leaves it. Scale and offset come from ``scale_factor`` and ``add_offset``, nodata from
    ``_FillValue`` or ``nodata``, all in ``attrs``: what xarray keeps in ``encoding`` it has applied.

    Args:
        data: With a CRS and evenly spaced coordinates, as rioxarray and odc-geo know them.
        wanted: What the user asks for.

    Raises:
        SceneError: If it has no place on the earth, more than three dimensions, or pixels that are no numbers.
        ParameterError: If the names that are given do not fit.
    """
    import xarray as xr

    name = "dataset" if isinstance(data, xr.Dataset) else "array" if data.name is None else str(data.name)
    wanted.refuse_clouds(name, "an array has no mask of clouds of its own")
    described = data.attrs if isinstance(data, xr.DataArray) else {}
    variables: list[Any] = []
    if isinstance(data, xr.Dataset):
        variables = [v for v in data.data_vars.values() if len(v.squeeze(drop=True).dims) == 2]
        if not variables:
            raise SceneError("dataset: has no variables of two dimensions; give a DataArray (band, y, x)")
        names = [str(v.name) for v in variables]
        array = xr.concat(
            [v.squeeze(drop=True).drop_attrs() for v in variables], "band", coords="minimal", compat="override"
        )
        attributes = [dict(v.attrs) for v in variables]
    else:
        array = data
        for dim in [d for d in data.dims if data.sizes[d] == 1 and d not in data.odc.spatial_dims]:
            array = array.isel({dim: 0})
        if array.ndim == 2:
            array = array.expand_dims("band")
            names = ["" if data.name is None else str(data.name)]
        elif array.ndim == 3:
            names = _names(array)
        else:
            raise SceneError(
                f"{name}: has the dimensions {', '.join(map(str, data.dims))}; select one time, as with isel"
            )
        attributes = [dict(described)] * len(names)
    y, x = (data if isinstance(data, xr.DataArray) else variables[0]).odc.spatial_dims or ("y", "x")
    band = next(d for d in array.dims if d not in (y, x))
    array = array.transpose(band, y, x)
    geobox = _geobox(data if isinstance(data, xr.DataArray) else variables[0], name)
    if np.dtype(array.dtype).kind not in "iuf":
        raise SceneError(f"{name}: pixels of type {array.dtype} are no measurements; convert them to numbers")
    bands = tuple(
        _band(title, called, i, attributes[i - 1], str(array.dtype), wanted, name)
        for i, (title, called) in enumerate(zip(names, _unique(names, wanted, name), strict=True), 1)
    )
    rows = array.chunksizes[y][0] if array.chunks is not None else _CHUNK
    cols = array.chunksizes[x][0] if array.chunks is not None else _CHUNK
    return Scene(
        id=name,
        href=name,
        geobox=geobox,
        bands=bands,
        driver="xarray",
        validity="values",
        block_shape=(int(rows), int(cols)),
        scaled=wanted.scaled or any((b.scale, b.offset) != (1.0, 0.0) for b in bands),
        acquired=_acquired(data),
        pixels=ArrayPixels(array=array),
        fingerprint=hashlib.sha256(f"{geobox} {array.dtype} {names}".encode()).hexdigest(),
    )


def _geobox(data: Any, name: str) -> GeoBox:
    geobox = data.odc.geobox
    if not isinstance(geobox, GeoBox):
        raise SceneError(f"{name}: has no evenly spaced coordinates of rows and columns; regrid it, as with rioxarray")
    if geobox.crs is None or not (geobox.crs.projected or geobox.crs.geographic):
        raise SceneError(
            f"{name}: has no CRS (coordinate reference system), so nothing says where it lies; set it with "
            "data.odc.assign_crs or data.rio.write_crs"
        )
    return geobox


def _names(array: Any) -> list[str]:
    """What the bands of a third dimension are called: 1. a list of long names, 2. its coordinate where that is text."""
    dim = next(d for d in array.dims if d not in array.odc.spatial_dims)
    long_names = array.attrs.get("long_name")
    if isinstance(long_names, list | tuple) and len(long_names) == array.sizes[dim]:
        return [str(n or "") for n in long_names]
    if dim in array.coords and array.coords[dim].dtype.kind in "UO":
        return [str(n) for n in array.coords[dim].to_numpy()]
    return [""] * int(array.sizes[dim])


def _unique(names: Sequence[str], wanted: Wanted, name: str) -> list[str]:
    given = names if wanted.bands is None else wanted.bands
    if len(given) != len(names):
        raise ParameterError(f"{name}: {len(given)} band names for {len(names)} bands; name each band once")
    common = landsat_names([common_name(n) for n in given])
    if wanted.bands is not None and len(set(common)) < len(common):
        raise ParameterError(f"{name}: a band name is given twice ({', '.join(common)}); make each one unique")
    unique = [n if n and common.count(n) == 1 else f"band {i}" for i, n in enumerate(common, 1)]
    return unique if len(set(unique)) == len(unique) else [f"band {i}" for i in range(1, len(unique) + 1)]


def _band(
    title: str, called: str, index: int, attributes: dict[str, Any], dtype: str, wanted: Wanted, name: str
) -> Band:
    def number(*keys: str) -> float | None:
        for key in keys:
            value = attributes.get(key)
            if isinstance(value, int | float | np.number):
                return float(value)
        return None

    scale, offset, nodata = (
        number("scale_factor"),
        number("add_offset"),
        number("_FillValue", "nodata", "missing_value"),
    )
    stated = wanted.scaling(1.0 if scale is None else scale, 0.0 if offset is None else offset)
    if not all(map(math.isfinite, stated)) or stated[0] == 0:
        raise SceneError(f"{name}: scale {stated[0]} and offset {stated[1]} give no values; pass scale= and offset=")
    if nodata is not None and np.dtype(dtype).kind != "f" and not nodata.is_integer():
        nodata = None  # NaN on integers: no pixel can equal it
    return Band(
        name=called, href="", index=index, dtype=dtype, scale=stated[0], offset=stated[1], nodata=nodata, title=title
    )


def _acquired(data: Any) -> datetime | None:
    """When it was taken: the one time among its coordinates."""
    time = data.coords.get("time")
    if time is None or time.size != 1 or time.dtype.kind != "M":
        return None
    seconds = time.to_numpy().ravel()[0].astype("datetime64[us]").astype(np.int64) / 1e6
    return datetime.fromtimestamp(float(seconds), UTC)
