"""Images of a scene on another grid: linear between pixels, the same however they are cut."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.change.grids import align
from geoseg.change.sampled_bands import take_bands
from geoseg.change.sampling import Sampled, Shifted
from geoseg.inference.lattice import Block
from geoseg.scene.scene import Band, Scene

__all__ = ["Image", "ReadImage", "images_of", "take_image"]

Pixels = NDArray[np.float32]
ReadImage = Callable[[Block], Pixels]
"""Pixels (band, row, col) of a block of a scene, NaN where there is no observation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """The image that a class map was made from; travels to workers, which open its files."""

    scene: Scene
    """What is read."""
    bands: tuple[Band, ...]
    """Which bands, in which order."""

    def on(self, grid: GeoBox, block: Block) -> Pixels:
        """(band, row, col) in a block of another grid; stored values, NaN where there is no observation."""
        placed = align(grid, self.scene.geobox)
        out = np.full((len(self.bands), block.height, block.width), np.nan, dtype=np.float32)
        top, left = max(block.row_off, placed.row_off), max(block.col_off, placed.col_off)
        bottom = min(block.row_end, placed.row_off + int(placed.geobox.shape[0]))
        right = min(block.col_end, placed.col_off + int(placed.geobox.shape[1]))
        if top < bottom and left < right:
            covered = Block(
                row_off=top - placed.row_off, col_off=left - placed.col_off, height=bottom - top, width=right - left
            )
            rows = slice(top - block.row_off, bottom - block.row_off)
            cols = slice(left - block.col_off, right - block.col_off)
            out[:, rows, cols] = take_image(placed.after, covered, self._read, len(self.bands))
        return out

    def _read(self, block: Block) -> Pixels:
        """Of a block of the scene."""
        with closing(self.scene.reader(self.bands)) as reader:
            pixels, valid = reader.read(block.row_off, block.col_off, block.height, block.width)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and no edge is found there
            return np.where(valid, pixels, np.nan).astype(np.float32)


def _common_bands(before: Scene, after: Scene) -> tuple[tuple[Band, ...], tuple[Band, ...]]:
    """The bands that two scenes have in common: by name, else by order where they are as many; none otherwise."""
    named = {b.name: b for b in after.bands}
    pairs = [(b, named[b.name]) for b in before.bands if b.name in named]
    if not pairs and len(before.bands) == len(after.bands):
        pairs = list(zip(before.bands, after.bands, strict=True))
    return tuple(b for b, _ in pairs), tuple(a for _, a in pairs)


def images_of(before: Scene | None, after: Scene | None) -> tuple[Image, Image] | None:
    """What both maps were made from; None where that is not at hand, or has no bands in common."""
    if before is None or after is None:
        return None
    one, two = _common_bands(before, after)
    return (Image(scene=before, bands=one), Image(scene=after, bands=two)) if one else None


def take_image(placed: Shifted | Sampled, block: Block, read: ReadImage, n_bands: int) -> Pixels:
    """(band, row, col) pixels of a second scene in a block of a common grid.

    On another grid they are linear between the centres of the four pixels around, of those that are observed; or, where
    the pixels of the second scene are smaller by half or more, the mean over points spread evenly over the pixel. A
    pixel of which less than half is observed has no observation.

    Args:
        placed: Where the common grid lies in the second scene.
        block: Of the common grid.
        read: Gives a block of the second scene.
        n_bands: Bands that it gives.
    """
    return take_bands(placed, block, read, n_bands, missing=np.float32(np.nan), least=0.5)
