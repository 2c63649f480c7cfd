"""A scene to measure on: four bands of uint16 with texture and noise, tiled and compressed as real ones are."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

__all__ = ["make_scene"]

_TEXTURE = 2048


def make_scene(folder: Path, side: int) -> Path:
    """A square GeoTIFF of this many pixels a side in the folder; kept if it is there already.

    Smooth fields in five octaves and sensor noise of 4 levels, so that it compresses about as a Sentinel-2 scene does.
    """
    path = folder / f"bench_{side}.tif"
    if path.exists():
        return path
    rng = np.random.default_rng(7)
    texture = np.zeros((4, _TEXTURE, _TEXTURE), np.float32)
    for octave in (2, 8, 32, 64, 128):
        noise = rng.standard_normal(texture.shape).astype(np.float32)
        field = gaussian_filter(noise, (0, octave, octave), mode="wrap")
        texture += 250 * field / field.std()
    pixels = np.clip(2500 + texture, 1, 9999).astype(np.uint16)
    folder.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part.tif")
    with rasterio.open(
        aside, "w", driver="GTiff", width=side, height=side, count=4, dtype="uint16", crs="EPSG:32633", nodata=0,
        transform=from_origin(400_000, 5_600_000, 10, 10), tiled=True, blockxsize=512, blockysize=512,
        compress="DEFLATE", predictor=2, zlevel=1, num_threads="ALL_CPUS", bigtiff="IF_SAFER",
    ) as dataset:  # fmt: skip
        dataset.descriptions = ("blue", "green", "red", "nir")
        dataset.scales = (0.0001,) * 4
        for row in range(0, side, 512):
            for col in range(0, side, 512):
                h, w = min(512, side - row), min(512, side - col)
                r, c = row % _TEXTURE, col % _TEXTURE
                tile = pixels[:, r : r + h, c : c + w] + rng.integers(0, 16, (4, h, w), dtype=np.uint16)
                dataset.write(tile, window=Window(col, row, w, h))
    aside.rename(path)
    return path
