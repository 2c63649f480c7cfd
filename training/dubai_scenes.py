"""The images of the Dubai set as scenes that geoseg reads.

The set has JPEG pictures without any georeference. Here each gets a place that is made up (`training.made_up`), with
pixels of 0.5 m, which is not known either (the set says sub-metre). No two scenes touch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image

from training.cells import averaged, most
from training.made_up import APART_M, write_image, write_labels
from training.ways import NOT_LABELLED

__all__ = ["CLASSES", "GSD_M", "Picture", "pictures", "scenes"]

CLASSES: Final = ("water", "land", "road", "building", "vegetation")
"""By their numbers in the label pictures, from 0."""
GSD_M: Final = 0.5
"""Made up."""

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
    for picture in chosen:
        pixels, labels = picture.read()
        if coarser > 1:
            pixels, labels = averaged(pixels, coarser), most(labels, coarser)
        transform = _transform(picture, GSD_M * coarser)
        name = f"{picture.name}.tif"
        write_image(folder / "images" / name, pixels, ("red", "green", "blue"), transform)
        write_labels(folder / "labels" / name, labels, dict(enumerate(CLASSES)), transform, nodata=NOT_LABELLED)


def _transform(picture: Picture, size_m: float) -> Affine:
    return Affine(size_m, 0, picture.part * APART_M, 0, -size_m, picture.tile * APART_M)
