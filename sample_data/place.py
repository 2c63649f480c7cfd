"""One constructed place on two dates: what the sensor delivers and what is truly there, before any file."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from sample_data.classes import DATES, class_table
from sample_data.cover import Land, make_land, materials
from sample_data.noise import Masks, hash01
from sample_data.render import gaps, reflectance

__all__ = ["CRS", "GSD_M", "NO_TRUTH", "Place", "View", "canvas_shape", "make_place", "quads"]

CRS: Final = "EPSG:32632"
GSD_M: Final = 10.0
NO_TRUTH: Final = 255
"""In a truth map: the scene has no observation here."""
_CLOUDS: Final = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The whole place on one date."""

    date: str
    """``YYYYMMDD``."""
    pixels: NDArray[np.uint16]
    """Reflectance x 10000, (band, row, col); 0 in every band where there is no observation."""
    truth: NDArray[np.uint8]
    """Class values, 255 where there is no observation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A landscape, where it lies, and its two views."""

    land: Land
    """What it was rendered from."""
    transform: Affine
    """Of the canvas that holds all quads."""
    views: tuple[View, View]
    """Before and after."""


def quads(size: int) -> dict[str, int]:
    """First column of each scene on the canvas: west and centre overlap a little, centre and east only touch."""
    overlap = size // 25
    return {"west": 0, "centre": size - overlap, "east": 2 * size - overlap}


def canvas_shape(size: int) -> tuple[int, int]:
    """Rows and columns that hold all quads."""
    return size, quads(size)["east"] + size


def _collar(shape: tuple[int, int], date_index: int) -> Masks:
    """Outside the orbit's swath: its edge cuts the western scene on the first date, the eastern on the second."""
    height, width = shape
    row, col = np.ogrid[0:height, 0:width]
    # The ground track of a sun-synchronous orbit leans about 12 degrees from north.
    lean = np.tan(np.deg2rad(12.0))
    if date_index:
        return np.asarray(col > width - 0.03 * height - lean * row)
    return np.asarray(col < 0.02 * height + lean * (height - row))


def make_place(seed: int, size: int) -> Place:
    """The place of a seed, seen on two dates, in quads of ``size`` by ``size`` pixels."""
    shape = canvas_shape(size)
    land = make_land(seed, shape)
    views = []
    for date_index, date in enumerate(DATES):
        material = materials(land, date_index)
        hole, haze = gaps(seed, shape, date_index, _CLOUDS[date_index])
        unseen = hole | _collar(shape, date_index)
        pixels = reflectance(land, material, date_index, haze)
        pixels[:, unseen] = 0
        truth = np.where(unseen, NO_TRUTH, class_table()[material]).astype(np.uint8)
        views.append(View(date=date, pixels=pixels, truth=truth))
    left = 520_000.0 + GSD_M * float(np.floor(8_000 * hash01(seed, 1)[0]))
    top = 5_300_000.0 + GSD_M * float(np.floor(20_000 * hash01(seed, 2)[0]))
    transform = Affine(GSD_M, 0.0, left, 0.0, -GSD_M, top)
    return Place(land=land, transform=transform, views=(views[0], views[1]))
