"""Maps with a reference, and the worked examples that lie beside the repository."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from scipy.ndimage import gaussian_filter

from geoseg.legend import Legend, LegendClass

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"
UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
NAMES = ("water", "forest", "grass", "crop")
LEGEND = Legend(
    classes=tuple(
        LegendClass(value=v, name=n, color=c)
        for v, (n, c) in enumerate(zip(NAMES, ("#0000ff", "#00aa00", "#aaff00", "#ffcc00"), strict=True), 1)
    )
)


def worked_example(file: str, which: str) -> dict[str, Any]:
    """One worked example; skips the test where they are not there."""
    path = REFERENCE / f"{file}.json"
    if not path.is_file():
        pytest.skip("worked examples are not here")
    found: dict[str, Any] = next(e for e in json.loads(path.read_text("utf-8"))["examples"] if e["id"] == which)
    return found


def natural(shape: tuple[int, int] = (120, 150), *, seed: int = 0, sigma: float = 3.0) -> NDArray[np.uint8]:
    """Classes 1 to 4 in blobs, some nodata (255)."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.standard_normal(shape), sigma) for _ in range(5)]
    classes = np.argmax(fields, axis=0).astype(np.uint8) + 1
    classes[classes == 5] = 255
    return np.asarray(classes)


def mistaken(truth: NDArray[np.uint8], *, seed: int = 7) -> NDArray[np.uint8]:
    """The same a pixel to the side, another map in places, and no class in others."""
    mapped = np.roll(truth, 1, axis=1)
    other = natural(truth.shape, seed=seed)
    places = gaussian_filter(np.random.default_rng(seed).standard_normal(truth.shape), 6) > 0.05
    mapped[places] = other[places]
    return mapped


def as_map(
    pixels: NDArray[np.uint8], *, transform: Affine = UTM, crs: str = "EPSG:32633", legend: Legend | None = LEGEND
) -> xr.DataArray:
    """A class map in memory, with names unless there is no legend."""
    array = wrap_xr(pixels, GeoBox(pixels.shape, transform, crs), nodata=255)
    if legend is not None:
        array.attrs.update(flag_values=list(legend.values), flag_meanings=" ".join(legend.names))
    return array
