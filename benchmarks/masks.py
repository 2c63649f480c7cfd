"""Class masks that look natural, of any size, made window by window from nothing but their kind.

Two fields of filtered noise, periodic with different sides, are added: their sum repeats after a million pixels only,
looks alike everywhere, and any window of it costs a few array operations. Thresholds at quantiles make six classes of
equal area. So the boundary density is the same at every size, and a mask of 32,768 px a side needs no file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

__all__ = ["CRS", "KINDS", "NODATA", "N_CLASSES", "TRANSFORM", "Mask", "make_mask"]

N_CLASSES, NODATA = 6, 255
CRS = "EPSG:32633"
TRANSFORM = Affine(10, 0, 400_000, 0, -10, 5_600_000)

_SIDES = (1021, 1024)  # without a common divisor
_NOISE_SIDE = 1031
_STRIP = 512
_THRESHOLDS = tuple(NormalDist().inv_cdf(k / N_CLASSES) for k in range(1, N_CLASSES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """How a mask looks."""

    octaves: tuple[float, ...]
    """Radii of the filters in cells, added with equal weight."""
    cell_px: int
    """Pixels along a cell, within which the class is one."""
    noise: float
    """Standard deviation of the noise of single pixels; that of the field is 1."""
    rivals: int = 0
    """Where given, as many classes, each pixel of the one whose field is highest there: no patch goes on for ever. The
    classes of thresholds do, as contours do."""

    def window(self, row_off: int, col_off: int, height: int, width: int) -> NDArray[np.uint8]:
        """Class values (row, col), 1 to `N_CLASSES`, of a window anywhere in the plane."""
        rows, cols = np.arange(row_off, row_off + height), np.arange(col_off, col_off + width)
        if self.rivals:
            return self._highest(rows, cols)
        total = np.zeros((height, width), np.float32)
        for seed, side in enumerate(_SIDES):
            field = _field(seed, side, self.octaves)
            total += _wrapped(field, rows // self.cell_px, cols // self.cell_px)
        total /= len(_SIDES) ** 0.5
        if self.noise:
            total += self.noise * _wrapped(_field(7, _NOISE_SIDE, (0.0,)), rows, cols)
            total /= (1 + self.noise**2) ** 0.5
        return (np.digitize(total, _THRESHOLDS) + 1).astype(np.uint8)

    def _highest(self, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.uint8]:
        best = np.full((len(rows), len(cols)), -np.inf, np.float32)
        out = np.zeros(best.shape, np.uint8)
        for k in range(self.rivals):
            total = np.zeros_like(best)
            for i, side in enumerate(_SIDES):
                total += _wrapped(_field(10 + len(_SIDES) * k + i, side, self.octaves), rows, cols)
            higher = total > best
            best[higher] = total[higher]
            out[higher] = k + 1
        return out


KINDS = {
    "smooth": Mask(octaves=(12.0, 30.0), cell_px=1, noise=0.0),
    "blocky": Mask(octaves=(1.0, 3.0), cell_px=8, noise=0.0),
    "patches": Mask(octaves=(4.0, 10.0), cell_px=1, noise=0.0, rivals=3),
    "noisy": Mask(octaves=(3.0, 12.0), cell_px=1, noise=0.12),
}
"""Large rounded bands between contours, some of which go on for ever (some 400 polygons per Mpx); patches of square
cells, as of a classified coarser image (4,000); rounded patches that end (2,000); ragged patches with specks, as of a
classifier that looks at single pixels (57,000)."""


@cache
def _field(seed: int, side: int, octaves: tuple[float, ...]) -> NDArray[np.float32]:
    """Periodic noise, mean 0 and standard deviation 1."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side), np.float32)
    for radius in octaves:
        part = gaussian_filter(rng.standard_normal((side, side)).astype(np.float32), radius, mode="wrap")
        total += (part - part.mean()) / part.std()
    total /= total.std()
    total.flags.writeable = False
    return total


def _wrapped(field: NDArray[np.float32], rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.float32]:
    side = len(field)
    out: NDArray[np.float32] = field[(rows % side)[:, None], (cols % side)[None, :]]
    return out


def make_mask(folder: Path, kind: str, side: int) -> Path:
    """A square GeoTIFF of this kind, tiled and compressed; kept if it is there already."""
    path = folder / f"mask_{kind}_{side}.tif"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part.tif")
    with rasterio.open(
        aside, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint8", crs=CRS, nodata=NODATA,
        transform=TRANSFORM, tiled=True, blockxsize=512, blockysize=512, compress="DEFLATE", num_threads="ALL_CPUS",
    ) as dataset:  # fmt: skip
        for row, pixels in _strips(KINDS[kind], side):
            dataset.write(pixels, 1, window=Window(0, row, side, len(pixels)))
    aside.rename(path)
    return path


def _strips(mask: Mask, side: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for row in range(0, side, _STRIP):
        yield row, mask.window(row, 0, min(_STRIP, side - row), side)
