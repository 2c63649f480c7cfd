"""A map with a raster of class probabilities beside it -> the areas that the model itself expects."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.area.expected import ExpectedTotals, expected_totals
from geoseg.area.population import MapTotals, is_same_grid, windows
from geoseg.errors import SceneError, printable, reason_of
from geoseg.legend import NODATA, Legend
from geoseg.scene.class_raster import ClassReader
from geoseg.scene.guard import open_raster

__all__ = ["band_places", "model_based_areas_m2"]

_MOST_OFF = 0.02


def model_based_areas_m2(held: MapTotals, probabilities: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Expected area of each class: the sum of its probability times the true area of the pixel.

    Each pixel counts for every class, by its probability, instead of wholly for one. That is without the bias of
    counting only as far as the probabilities are calibrated, and comes without an interval: the model vouches for
    itself. Summed over the pixels where the map has a class, and scaled to their area, which mends the rounding of
    probabilities that somebody else stored. Memory: one window of all bands.

    Args:
        held: The map with its counts.
        probabilities: A raster on the same grid with a band for each class, named by the class or else in the order of
            the legend. Bytes are 254 times the probability, with 255 for nodata; float32 are probabilities.

    Returns:
        (k,) m², in the order of the legend; 0 for classes without a band.

    Raises:
        SceneError: If it cannot be read, has another grid, other bands or another type, holds values that are not
            probabilities, or has none where the map has a class.
    """
    href = os.fspath(probabilities)
    name = printable(href)
    with open_raster(href) as dataset, ClassReader(held.raster) as reader:
        kind = _kind(dataset, name)
        places = band_places(dataset, held.legend, name)
        same_crs = dataset.crs is not None and held.raster.geobox.crs == dataset.crs.to_wkt()
        if not same_crs or not is_same_grid(held.raster.geobox, dataset.transform, dataset.shape):
            raise SceneError(
                f"{name}: is not on the grid of {printable(held.raster.href)}: give the probabilities of this map"
            )
        exact, summed = ExpectedTotals.zero(dataset.count), np.zeros(dataset.count)
        for window in windows(held.raster):
            values = _read(dataset, window, name)
            unseen = reader.read(*window) == held.legend.nodata
            if kind == "uint8":
                values[:, unseen] = NODATA
                exact += expected_totals(values, held.areas, row_off=window[0], col_off=window[1])
            else:
                values = _checked(values, unseen, dataset.nodata, name)
                units = held.areas.units(*window)
                summed += [float((band * units).sum(dtype=np.float64)) for band in values]
    unit_m2 = held.areas.unit_m2
    by_band = exact.area_m2(unit_m2) if kind == "uint8" else summed * unit_m2
    total, valid = float(by_band.sum()), float(held.areas_m2.sum())
    if abs(total / valid - 1) > _MOST_OFF:
        raise SceneError(
            f"{name}: its bands sum to {total / valid:.3f} on average where the map has a class, and probabilities "
            "sum to 1: give those of this map, for all of its pixels"
        )
    expected = np.zeros(len(held.legend))
    expected[places] = by_band * (valid / total)
    return expected


def _kind(dataset: DatasetReader, name: str) -> str:
    kinds = sorted(set(dataset.dtypes))
    if kinds not in (["uint8"], ["float32"]):
        raise SceneError(f"{name}: bands of {', '.join(kinds)}, and probabilities are uint8 (254 for 1) or float32")
    return str(kinds[0])


def band_places(dataset: DatasetReader, legend: Legend, name: str) -> list[int]:
    """The place in the legend of the class of each band of probabilities: by its name, or else in order.

    Raises:
        SceneError: If the bands are not those of the legend; ``name`` is what the raster is called there.
    """
    stated = [(d or "").strip() for d in dataset.descriptions]
    known = {n.strip().casefold(): i for i, n in enumerate(legend.names)}
    places = [known.get(d.casefold(), -1) for d in stated]
    if min(places) >= 0 and len(set(places)) == len(places):
        return places
    # without names, or with other names where the map has none, the order has to do
    if len(places) != len(legend) or max(places) >= 0:
        raise SceneError(
            f"{name}: has the bands {', '.join(printable(d or '(no name)') for d in stated)}, and the map the classes "
            f"{', '.join(map(printable, legend.names))}: give a band for each class, named like it or in this order"
        )
    return list(range(len(legend)))


def _read(dataset: DatasetReader, window: tuple[int, int, int, int], name: str) -> NDArray[Any]:
    row, col, height, width = window
    try:
        values: NDArray[Any] = dataset.read(window=Window(col, row, width, height))
    except (RasterioError, ValueError, MemoryError) as error:
        reason = reason_of(error)
        raise SceneError(f"{name}: cannot be read at row {row}, column {col}: {reason}; make it again") from error
    return values


def _checked(
    values: NDArray[np.float32], unseen: NDArray[np.bool_], nodata: float | None, name: str
) -> NDArray[np.float32]:
    """Probabilities with 0 where there are none."""
    missing = ~np.isfinite(values) | unseen
    if nodata is not None and np.isfinite(nodata):
        missing |= values == np.float32(nodata)
    values = np.where(missing, np.float32(0), values)
    if values.size and (values.min() < 0 or values.max() > 1.001):
        raise SceneError(
            f"{name}: has values from {values.min():.4g} to {values.max():.4g}, and probabilities are from 0 to 1: "
            "apply a softmax first"
        )
    return values
