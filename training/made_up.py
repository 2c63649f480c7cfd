"""Places for pictures that have none, so that they are scenes.

They lie in a transverse Mercator of their own around longitude 0 and latitude 0, where nobody looks for them. Areas and
distances in maps of them are as good as the pixel size that is given; scores of classes do not depend on it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

__all__ = ["APART_M", "write_image", "write_labels"]

APART_M: Final = 4000.0
"""From the corner of a scene to that of the next, so that none counts as another date of one."""
_PROJ: Final = "+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +ellps=WGS84 +units=m +no_defs"
_CRS: Final = CRS.from_wkt(CRS.from_proj4(_PROJ).to_wkt().replace("unknown", "made up", 1))


def write_image(path: Path, pixels: NDArray[np.uint8], bands: Sequence[str], transform: Affine) -> None:
    """Pixels (band, row, col) as a GeoTIFF with the names of its bands; its folder is made."""
    # without it GDAL takes the fourth of four bands for an alpha channel
    photometric = "RGB" if len(bands) == 3 else "MINISBLACK"
    with _written(path, pixels, transform, photometric=photometric) as file:
        file.write(pixels)
        file.descriptions = tuple(bands)


def write_labels(
    path: Path, labels: NDArray[np.uint8], names: Mapping[int, str], transform: Affine, *, nodata: int
) -> None:
    """Class numbers (row, col) as a GeoTIFF with the names of the classes; its folder is made."""
    with _written(path, labels[None], transform, nodata=nodata) as file:
        file.write(labels, 1)
        file.update_tags(1, CLASSES=" ".join(f"{value}={name}" for value, name in names.items()))


def _written(path: Path, pixels: NDArray[np.uint8], transform: Affine, **more: Any) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels.shape
    shape = {"driver": "GTiff", "dtype": "uint8", "count": bands, "height": height, "width": width}
    return rasterio.open(path, "w", **shape, crs=_CRS, transform=transform, compress="deflate", **more)
