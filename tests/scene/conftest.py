"""Tiny real rasters with known content."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

UTM = Affine(10, 0, 500000, 0, -10, 5000000)


@pytest.fixture(scope="session")
def write_raster() -> Callable[..., Path]:
    """A function that writes an array (row, col) or (band, row, col) to a file and gives its path back."""

    def write(
        path: Path,
        pixels: NDArray[Any],
        *,
        descriptions: Sequence[str] = (),
        colors: Sequence[ColorInterp] = (),
        mask: NDArray[np.uint8] | None = None,
        internal_mask: bool = True,
        scales: Sequence[float] = (),
        offsets: Sequence[float] = (),
        tags: Mapping[str, str] | None = None,
        **profile: Any,
    ) -> Path:
        bands = pixels[None] if pixels.ndim == 2 else pixels
        profile = {"driver": "GTiff", "crs": "EPSG:32633", "transform": UTM, "dtype": bands.dtype} | profile
        count, height, width = bands.shape
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal_mask):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as file:
                if colors:
                    file.colorinterp = colors
                file.write(bands)
                for index, description in enumerate(descriptions, 1):
                    file.set_band_description(index, description)
                if scales:
                    file.scales = scales
                if offsets:
                    file.offsets = offsets
                file.update_tags(**(tags or {}))
                if mask is not None:
                    file.write_mask(mask)
        return path

    return write
