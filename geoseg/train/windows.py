"""Windows of images and labels: held in memory where it allows, read from the files where it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.normalise import Normalisation
from geoseg.scene.read import SceneReader
from geoseg.train.labels import LabelReader
from geoseg.train.pairs import Pair
from geoseg.train.pixel_losses import IGNORE
from geoseg.train.places import CELL, Places

__all__ = ["Patch", "PatchSource", "tiles"]

_HOLD = Normalisation(gain=(1.0,), bias=(0.0,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A window of a scene."""

    pixels: NDArray[Any]
    """Stored values (band, row, col), in a type that is normalised alike everywhere."""
    valid: NDArray[np.bool_]
    """Where they may be seen (row, col)."""
    target: NDArray[np.uint8]
    """Class indices (row, col), `IGNORE` where nothing counts."""


class PatchSource:
    """Cuts windows from scenes.

    Files are opened when they are needed and closed by `release`, which the thread that cut windows has to call: GDAL's
    environment is the thread's own. What is held in memory stays. One thread at a time.

    In windows of training, pixels that are held out have neither an image nor a label: the network never sees them. In
    windows of validation only the labels that are held out count, those of people alone, and the image is all there, as
    in a run.
    """

    def __init__(self, pairs: Sequence[Pair], places: Places, *, held_out: bool, cache_bytes: int) -> None:
        """Prepare to cut.

        Args:
            pairs: The scenes.
            places: Which cells of them are held out.
            held_out: Whether windows are those of validation.
            cache_bytes: Scenes are kept in memory, in the order they are met, up to so much.
        """
        self._pairs, self._places, self._held_out = pairs, places, held_out
        self._left = cache_bytes
        self._held: dict[int, Patch | None] = {}
        self._readers: dict[int, tuple[SceneReader, LabelReader]] = {}

    def release(self) -> None:
        """Close all files."""
        for scene in reversed(list(self._readers)):
            self._close(scene)

    def _close(self, scene: int) -> None:
        # the last one opened first: rasterio's environments are a stack
        images, labels = self._readers.pop(scene)
        labels.close()
        images.close()

    def cut(self, scene: int, row: int, col: int, side: int) -> Patch:
        """A square window; what of it lies beyond the scene's end is not valid and not labelled.

        Raises:
            SceneError: If a file cannot be read there.
        """
        pair = self._pairs[scene]
        height, width = min(side, pair.scene.height - row), min(side, pair.scene.width - col)
        whole = self._whole(scene)
        if whole is not None:
            part = (slice(row, row + height), slice(col, col + width))
            patch = Patch(
                pixels=np.ascontiguousarray(whole.pixels[:, *part]),
                valid=np.ascontiguousarray(whole.valid[part]),
                target=np.ascontiguousarray(whole.target[part]),
            )
        else:
            patch = self._read(scene, row, col, height, width)
        return patch if (height, width) == (side, side) else _padded(patch, side)

    def _whole(self, scene: int) -> Patch | None:
        """All of a scene, where there is room for it."""
        if scene not in self._held:
            pair = self._pairs[scene]
            itemsize = np.result_type(*(b.dtype for b in pair.bands)).itemsize
            size = pair.scene.height * pair.scene.width * (itemsize * len(pair.bands) + 2)
            fits = size <= self._left
            self._left -= size if fits else 0
            self._held[scene] = self._read(scene, 0, 0, pair.scene.height, pair.scene.width) if fits else None
            if fits:
                self._close(scene)
        return self._held[scene]

    def _read(self, scene: int, row: int, col: int, height: int, width: int) -> Patch:
        if scene not in self._readers:
            pair = self._pairs[scene]
            self._readers[scene] = (pair.pixels(), pair.labels() if self._held_out else pair.training_labels())
        images, labels = self._readers[scene]
        pixels, valid = images.read(row, col, height, width)
        target = labels.read(row, col, height, width)
        held_out = self._places.held_out[scene]
        rows, cols = np.arange(row, row + height) // CELL, np.arange(col, col + width) // CELL
        apart = held_out[rows[:, None], cols[None]]
        if not self._held_out:
            valid &= ~apart
        counts = valid & (apart == self._held_out)
        return Patch(pixels=_HOLD.hold(pixels), valid=valid, target=np.where(counts, target, np.uint8(IGNORE)))


def _padded(patch: Patch, side: int) -> Patch:
    bands, height, width = patch.pixels.shape
    pixels = np.zeros((bands, side, side), patch.pixels.dtype)
    valid = np.zeros((side, side), np.bool_)
    target = np.full((side, side), IGNORE, np.uint8)
    pixels[:, :height, :width], valid[:height, :width], target[:height, :width] = (
        patch.pixels,
        patch.valid,
        patch.target,
    )
    return Patch(pixels=pixels, valid=valid, target=target)


def tiles(places: Places, pairs: Sequence[Pair], side: int) -> list[tuple[int, int, int]]:
    """Windows (scene, row, col) that cover all cells held out, each pixel once.

    They start at multiples of ``side``, and the last ones may reach beyond the scene: two never overlap, so that no
    pixel is scored twice.
    """
    found = []
    for scene, (pair, held_out, counts) in enumerate(zip(pairs, places.held_out, places.counts, strict=True)):
        wanted = held_out & counts.any(axis=2)
        for row in range(0, pair.scene.height, side):
            for col in range(0, pair.scene.width, side):
                # a cell may be cut by windows whose side is no multiple of it: both of them see a part of it
                rows = slice(row // CELL, -(-(row + side) // CELL))
                cols = slice(col // CELL, -(-(col + side) // CELL))
                if wanted[rows, cols].any():
                    found.append((scene, row, col))
    return found
