"""The area table of a class map."""

from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.area.expected import ExpectedTotals
from geoseg.area.pixel_area import PixelAreas
from geoseg.area.sums import ClassTotals, class_totals
from geoseg.errors import ParameterError
from geoseg.legend import Legend, LegendClass
from geoseg.scene.class_map import read_class_map

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["class_areas", "class_table"]


def class_table(
    totals: ClassTotals, legend: Legend, unit_m2: float, *, expected: ExpectedTotals | None = None
) -> "pd.DataFrame":
    """The area table: one row per class of the legend, in its order, those without pixels included.

    Args:
        totals: Counts of all blocks of the map.
        legend: The classes.
        unit_m2: `PixelAreas.unit_m2` of the scene.
        expected: Probabilities times areas of all blocks, where probabilities were made.

    Returns:
        ``class_id``, ``class_name``, ``pixels``, ``area_m2``, ``area_ha``, ``percent`` (of the area of all classes;
        NaN where that is zero) and ``mean_conf`` (percent; NaN where there is none). With ``expected`` also
        ``expected_ha``, the model-based expectation of the area, see `expected`: it counts the share of every class in
        every pixel, while ``area_ha`` counts whole pixels, and is right as far as the probabilities are calibrated.

    Raises:
        ParameterError: If there are pixels of a value that is neither a class nor nodata, or ``expected`` is of another
            number of classes.
    """
    present = set(np.flatnonzero(totals.pixels).tolist())
    unknown = sorted(present - {*legend.values, legend.nodata})
    if unknown:
        raise ParameterError(
            f"the class map has the values {', '.join(map(str, unknown))}, which the legend "
            f"({', '.join(map(str, legend.values))}; nodata {legend.nodata}) lacks: add them to the legend"
        )
    table = _table(totals, legend.classes, unit_m2)
    if expected is not None:
        expected_m2 = expected.area_m2(unit_m2)
        if len(expected_m2) != len(legend):
            raise ParameterError(
                f"expected areas of {len(expected_m2)} classes for a legend of {len(legend)}: sum those of the legend"
            )
        table["expected_ha"] = expected_m2 / 10_000
    return table


def class_areas(
    classes: "xr.DataArray", *, legend: Legend | None = None, confidence: "xr.DataArray | None" = None
) -> "pd.DataFrame":
    """True areas of the classes of a map, on the ellipsoid, in any CRS.

    A dask array is taken block by block, with the scheduler of the caller; memory is that of the blocks in work.

    Args:
        classes: (rows, cols) uint8 class map with a CRS and a transform, numpy or dask.
        legend: Names of the classes. By default ``class 1``, ``class 2`` ..., of the values that are there, and nodata
            as the map says, else 255.
        confidence: uint8 percent on the same grid, 255 where there is none.

    Returns:
        The table of `class_table`.

    Raises:
        ParameterError: If the map is not two-dimensional uint8 on a pixel grid with a CRS, the confidence does not fit
            it, or it has class values that the legend lacks.
    """
    class_map = read_class_map(classes, legend=legend, confidence=confidence)
    areas = PixelAreas.of(class_map.geobox)
    totals = _totals(class_map.classes, areas, class_map.confidence)
    return _table(totals, class_map.legend_of(np.flatnonzero(totals.pixels)), areas.unit_m2)


def _table(totals: ClassTotals, classes: tuple[LegendClass, ...], unit_m2: float) -> "pd.DataFrame":
    import pandas as pd  # heavy, and not needed to add up blocks

    values = np.array([c.value for c in classes], dtype=np.int64)
    units = totals.units[values]
    area_m2 = totals.area_m2(unit_m2)[values]
    valid = int(units.sum())
    return pd.DataFrame(
        {
            "class_id": np.array([c.class_id for c in classes], dtype=np.int64),
            "class_name": pd.Series([c.name for c in classes], dtype="str"),
            "pixels": totals.pixels[values],
            "area_m2": area_m2,
            "area_ha": area_m2 / 10_000,
            "percent": 100 * (units / valid) if valid else np.full(len(values), np.nan),
            "mean_conf": totals.mean_conf()[values],
        }
    )


def _totals(classes: Any, areas: PixelAreas, confidence: Any) -> ClassTotals:
    """Totals of a numpy or dask array; with dask one small result per block travels, never pixels."""
    chunked = [a for a in (classes, confidence) if hasattr(a, "dask")]
    if not chunked:
        return class_totals(classes, areas, confidence=confidence)
    import dask.array as da
    from dask.base import compute
    from dask.delayed import delayed

    chunks = chunked[0].chunks
    classes = classes.rechunk(chunks) if hasattr(classes, "dask") else da.from_array(classes, chunks=chunks)
    blocks = classes.to_delayed()
    if confidence is None:
        conf_blocks = np.full(blocks.shape, None)
    elif hasattr(confidence, "dask"):
        conf_blocks = confidence.rechunk(chunks).to_delayed()
    else:
        conf_blocks = da.from_array(confidence, chunks=chunks).to_delayed()
    shared = delayed(areas, pure=False)
    one = delayed(_block_totals, pure=False)
    row_offs, col_offs = (np.cumsum((0, *axis[:-1])).tolist() for axis in chunks)
    parts = [
        one(blocks[i, j], shared, row_off, col_off, conf_blocks[i, j])
        for i, row_off in enumerate(row_offs)
        for j, col_off in enumerate(col_offs)
    ]
    (done,) = compute(parts)
    return sum(done, ClassTotals.zero())


def _block_totals(classes: Any, areas: PixelAreas, row_off: int, col_off: int, confidence: Any) -> ClassTotals:
    return class_totals(
        np.asarray(classes),
        areas,
        row_off=row_off,
        col_off=col_off,
        confidence=None if confidence is None else np.asarray(confidence),
    )
