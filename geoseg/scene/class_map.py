"""A class map as users hand it over, checked once at the door."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.kernels import njit
from geoseg.legend import NODATA, Legend, LegendClass, default_color

if TYPE_CHECKING:
    import xarray as xr
    from odc.geo.geobox import GeoBox
    from pyproj import CRS

__all__ = ["ClassMap", "occurring", "read_class_map"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassMap:
    """Class values with their grid and their meaning."""

    classes: Any
    """(rows, cols) uint8, numpy or dask."""
    confidence: Any
    """(rows, cols) uint8 percent, 255 where there is none, numpy or dask; None where there is none at all."""
    geobox: "GeoBox"
    """The pixel grid."""
    nodata: int
    """Class value that means "no observation"."""
    legend: Legend | None
    """As given."""
    stated: dict[int, LegendClass]
    """Names and colours that the map itself has for some of its values (CF flag attributes)."""

    @property
    def transform(self) -> Affine:
        """From (column, row) of pixel corners to coordinates."""
        return self.geobox.transform

    @property
    def crs(self) -> "CRS | None":
        """What the coordinates are, where the map says so."""
        return None if self.geobox.crs is None else self.geobox.crs.proj

    def legend_of(self, values: Iterable[int]) -> tuple[Any, ...]:
        """The classes of the legend, or unnamed ones for the values that are there.

        Raises:
            ParameterError: If the legend lacks some of the values.
        """
        present = [int(v) for v in values if v != self.nodata]
        if self.legend is None:
            unnamed = Legend.unnamed(tuple(present)).classes if present else ()
            return tuple(self.stated.get(c.value, c) for c in unnamed)
        unknown = sorted(set(present) - set(self.legend.values))
        if unknown:
            raise ParameterError(
                f"the class map has the values {', '.join(map(str, unknown))}, which the legend "
                f"({', '.join(map(str, self.legend.values))}; nodata {self.nodata}) lacks: add them to the legend"
            )
        return self.legend.classes


def read_class_map(
    classes: "xr.DataArray", *, legend: Legend | None, confidence: "xr.DataArray | None" = None
) -> ClassMap:
    """The arrays and the grid behind a class map; nothing is computed.

    Nodata is that of the legend, else that of the array's metadata, else 255.

    Raises:
        ParameterError: If the map is not two-dimensional uint8 on a regular grid, or the confidence is not on the same.
    """
    import odc.geo.xr  # noqa: F401  # gives arrays their .odc accessor
    from odc.geo.geobox import GeoBox

    for what, array in (("class map", classes), ("confidence", confidence)):
        if array is not None and (array.ndim != 2 or array.dtype != "uint8"):
            raise ParameterError(
                f"the {what} is an array of {array.dtype} with dimensions {dict(array.sizes)}: "
                "give uint8 with rows and columns"
            )
    geobox = classes.odc.geobox
    if not isinstance(geobox, GeoBox) or classes.odc.spatial_dims != classes.dims:
        raise ParameterError(
            f"the class map with dimensions {classes.dims} is not on a pixel grid of rows and columns: "
            "attach CRS and transform, for example with odc.geo.xr.wrap_xr"
        )
    if confidence is not None and (confidence.shape != classes.shape or confidence.odc.geobox != geobox):
        raise ParameterError(
            f"confidence of {confidence.shape} px and class map of {classes.shape} px lie on different grids: "
            "give both on the same CRS, transform and shape"
        )
    declared = classes.odc.nodata
    # a value that uint8 cannot hold, NaN too, marks no pixel
    nodata = NODATA if declared is None or not 0 <= declared <= 255 else int(declared)
    if legend is not None and declared == nodata and legend.nodata != nodata:
        raise ParameterError(f"nodata is {nodata} in the class map and {legend.nodata} in the legend: make them agree")
    return ClassMap(
        classes=classes.data,
        confidence=None if confidence is None else confidence.data,
        geobox=geobox,
        nodata=legend.nodata if legend is not None else nodata,
        legend=legend,
        stated=_stated(classes.attrs),
    )


def _stated(attributes: Mapping[Any, Any]) -> dict[int, LegendClass]:
    """Classes in the attributes ``flag_values`` and ``flag_meanings`` (CF conventions, section 3.5), where they fit."""
    values = [int(v) for v in np.atleast_1d(attributes.get("flag_values", ()))]
    names = [name.replace("_", " ") for name in str(attributes.get("flag_meanings", "")).split()]
    colors = str(attributes.get("flag_colors", "")).split()
    if len(colors) != len(values):
        colors = [default_color(i) for i in range(len(values))]
    if len(names) != len(values) or len(set(names)) < len(names):
        return {}
    return {v: LegendClass(value=v, name=n, color=c) for v, n, c in zip(values, names, colors, strict=True)}


def occurring(values: NDArray[np.uint8]) -> list[int]:
    """The values that occur in an array of uint8, ascending; a copy is made only of what is not contiguous."""
    occurs = np.zeros(256, dtype=np.bool_)
    flat = np.ascontiguousarray(values).ravel()
    whole = len(flat) // 8 * 8
    parts = np.array_split(flat[:whole].view(np.int64), max(1, min(os.cpu_count() or 1, whole >> 21)))
    with ThreadPoolExecutor(len(parts), "geoseg-values") as pool:
        for _ in pool.map(_mark, parts, repeat(occurs)):  # all of them only ever write True
            pass
    occurs[flat[whole:]] = True
    return [int(v) for v in np.flatnonzero(occurs)]


@njit(nogil=True, cache=True)
def _mark(words: NDArray[np.int64], occurs: NDArray[np.bool_]) -> None:
    """Mark the values that occur in words of eight; such as the word before are passed over."""
    before = np.int64(0)
    for w in range(len(words)):
        word = words[w]
        if w == 0 or word != before:
            for k in range(8):
                occurs[(word >> 8 * k) & 255] = True
        before = word
