"""The patches of the Chesapeake sample as scenes that geoseg reads.

The patches are GeoTIFFs of 256 x 256 px of 1 m without any georeference: ``NAME_image.tif`` with red, green, blue and
infrared, ``NAME_label.tif`` with class numbers, ``NAME_image_earlier.tif`` with the same ground in an earlier year for
two of them. Here each gets a place that is made up (`training.made_up`). Pixels and their size are as they come.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from training.made_up import APART_M, write_image, write_labels
from training.ways import NOT_LABELLED

__all__ = ["BANDS", "CLASSES", "HALVES", "Patch", "patches", "scenes"]

BANDS: Final = ("red", "green", "blue", "nir")
CLASSES: Final = {2: "tree canopy", 3: "low vegetation", 5: "impervious"}
"""By the numbers of the dataset. It has water (1) and barren (4), too, but none of them in these patches."""
_NUMBER: Final = {2: 2, 3: 3, 5: 5, 6: 5}
"""Roads (6), of which training patches have none, are impervious as other such ground (5)."""
_LOW: Final = 3
_FOREST: Final = (41, 42, 43)
"""Deciduous, evergreen and mixed, by the numbers of the National Land Cover Database."""
HALVES: Final = {"upper": slice(0, 120), "lower": slice(136, 256)}
"""Rows of the two halves of a patch that is cut, with 16 m between them."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A patch, or half of one, with its labels."""

    image: Path
    """``NAME_image.tif``."""
    half: str | None = None
    """One of `HALVES`; None for all of it."""

    @property
    def name(self) -> str:
        """Of the scene."""
        whole = self.image.stem.removesuffix("_image")
        return whole if self.half is None else f"{whole}_{self.half}"

    @property
    def rows(self) -> slice:
        """Rows of the file."""
        return slice(None) if self.half is None else HALVES[self.half]

    def read(self, *, disputed: bool = True) -> tuple[Pixels, Pixels]:
        """Bands (4, row, col), and class numbers (row, col) as in `CLASSES`, `NOT_LABELLED` where there is none.

        Args:
            disputed: Whether labels of low vegetation count where the National Land Cover Database, in the file
                ``NAME_nlcd.tif``, has forest.
        """
        numbers = np.full(256, NOT_LABELLED, np.uint8)
        numbers[list(_NUMBER)] = list(_NUMBER.values())
        labels = numbers[_read(self._beside("label"))[0]]
        if not disputed:
            labels[(labels == _LOW) & np.isin(_read(self._beside("nlcd"))[0], _FOREST)] = NOT_LABELLED
        return _read(self.image)[:, self.rows], labels[self.rows]

    def _beside(self, what: str) -> Path:
        return self.image.with_name(self.image.name.replace("_image", f"_{what}"))

    def transform(self) -> Affine:
        """Where it lies, as is made up: by the last two digits of its quadrangle, and its number in it."""
        _, quadrangle, *_, number = self.image.stem.removesuffix("_image").split("_")
        top = int(quadrangle[-2:]) * APART_M - (self.rows.start or 0)
        return Affine(1, 0, int(number) * APART_M, 0, -1, top)


def _read(path: Path) -> Pixels:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # which is known
        with rasterio.open(path) as file:
            found: Pixels = file.read()
    return found


def patches(folder: Path, *, cut: Sequence[str] = ()) -> list[Patch]:
    """All patches of a folder, by name, those that are to be cut as their two halves."""
    found = []
    for file in sorted(folder.glob("*_image.tif")):
        whole = Patch(image=file)
        found += [Patch(image=file, half=half) for half in HALVES] if whole.name in cut else [whole]
    return found


def scenes(chosen: Sequence[Patch], folder: Path, *, disputed: Callable[[str], bool] = lambda _: True) -> None:
    """Write patches to ``folder/images`` and their labels to ``folder/labels``, as GeoTIFFs of the same names.

    Args:
        chosen: What to write.
        folder: Made if it is missing.
        disputed: Whether such labels of a patch count, by its name; see `Patch.read`.
    """
    for patch in chosen:
        pixels, labels = patch.read(disputed=disputed(patch.name))
        write_image(folder / "images" / f"{patch.name}.tif", pixels, BANDS, patch.transform())
        path = folder / "labels" / f"{patch.name}.tif"
        write_labels(path, labels, CLASSES, patch.transform(), nodata=NOT_LABELLED)
