"""The images of the Dubai set as scenes that geoseg reads.

The set has JPEG pictures without any georeference. Here each gets a place that is made up: a transverse Mercator of its
own around longitude 0 and latitude 0, where nobody looks for Dubai, with pixels of 0.5 m, which is not known either
(the set says sub-metre). Areas and distances in maps of them are made up likewise; scores of classes do not depend on
it. No two scenes touch, so that none counts as another date of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.crs import CRS

from training.cells import averaged, most
from training.ways import NOT_LABELLED

__all__ = ["CLASSES", "GSD_M", "Picture", "pictures", "scenes"]

CLASSES: Final = ("water", "land", "road", "building", "vegetation")
"""By their numbers in the label pictures, from 0."""
GSD_M: Final = 0.5
"""Made up."""
_PROJ: Final = "+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +ellps=WGS84 +units=m +no_defs"
_CRS: Final = CRS.from_wkt(CRS.from_proj4(_PROJ).to_wkt().replace("unknown", "made up", 1))
_APART_M: Final = 4000.0
_NAMED: Final = " ".join(f"{value}={name}" for value, name in enumerate(CLASSES))

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of the set, and its labels."""

    image: Path
    """``tileT_partNNN.jpg``."""

    @property
    def name(self) -> str:
        """Of the scene."""
        return self.image.stem

    @property
    def tile(self) -> int:
        """Number of the satellite picture that it is a ninth of."""
        return int(self.name.removeprefix("tile").partition("_")[0])

    @property
    def part(self) -> int:
        """Which ninth of it."""
        return int(self.name.partition("_part")[2])

    def read(self) -> tuple[Pixels, Pixels]:
        """Red, green and blue (3, row, col), and class numbers (row, col)."""
        with Image.open(self.image) as file:
            pixels = np.asarray(file.convert("RGB"))
        with Image.open(self.image.with_name(f"{self.name}_label.png")) as file:
            labels = np.asarray(file)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)), labels


def pictures(folder: Path) -> list[Picture]:
    """All pictures of a folder, by name."""
    return [Picture(image=file) for file in sorted(folder.glob("tile*_part*.jpg"))]


def scenes(chosen: Sequence[Picture], folder: Path, *, coarser: int = 1) -> None:
    """Write pictures to ``folder/images`` and their labels to ``folder/labels``, as GeoTIFFs of the same names.

    Args:
        chosen: What to write.
        folder: Made if it is missing.
        coarser: So many pixels along a side become one: their mean, and the class that most of them have (or none, if
            most have none). Rows and columns that are left over are cut off.
    """
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for picture in chosen:
        pixels, labels = picture.read()
        if coarser > 1:
            pixels, labels = averaged(pixels, coarser), most(labels, coarser)
        transform = _transform(picture, GSD_M * coarser)
        image = folder / "images" / f"{picture.name}.tif"
        with rasterio.open(image, "w", **_profile(pixels, transform), photometric="RGB") as file:
            file.write(pixels)
            file.descriptions = ("red", "green", "blue")
        profile = _profile(labels[None], transform)
        with rasterio.open(folder / "labels" / image.name, "w", **profile, nodata=NOT_LABELLED) as file:
            file.write(labels, 1)
            file.update_tags(1, CLASSES=_NAMED)


def _transform(picture: Picture, size_m: float) -> Affine:
    return Affine(size_m, 0, picture.part * _APART_M, 0, -size_m, picture.tile * _APART_M)


def _profile(pixels: Pixels, transform: Affine) -> dict[str, Any]:
    bands, height, width = pixels.shape
    shape = {"driver": "GTiff", "dtype": "uint8", "count": bands, "height": height, "width": width}
    return {**shape, "crs": _CRS, "transform": transform, "compress": "deflate"}
