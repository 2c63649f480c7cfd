"""Two scenes of one place as one scene with the bands of both dates: what models of two dates are run over.

It is read like any other scene, so that windows, blocks, blending and validity are those of one: the second date is
brought onto the grid of the first while it is read.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.change.grids import Alignment, align
from geoseg.change.images import images_of, take_image
from geoseg.change.registration import Shift, image_shift, moved, window_offsets
from geoseg.change.sampling import Shifted
from geoseg.errors import printable
from geoseg.inference.lattice import Block
from geoseg.models.card import DATES
from geoseg.scene.scene import Band, Reader, Scene

__all__ = ["PairReader", "PairScene", "pair_scenes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairScene(Scene):
    """Two scenes on the part of the first one's grid that both cover; bands are called ``before:red``, ``after:red``.

    A pixel is valid where all bands that are read are, on both dates.
    """

    before: Scene
    """The first."""
    after: Scene
    """The second."""
    alignment: Alignment
    """Where the pixels lie in both."""
    shift: Shift | None = None
    """How far the second date lies from the first, by the images as they are; None where that cannot be told."""
    is_aligned: bool = False
    """Whether the second date is moved back by it."""

    @property
    def sources(self) -> tuple[Scene, ...]:
        """Both dates."""
        return self.before, self.after

    def reader(self, bands: Sequence[Band] | None = None) -> "PairReader":
        """What reads these bands, in this order; all by default."""
        return PairReader(self, self.bands if bands is None else bands)


class PairReader:
    """Reads windows of both dates; use one reader in one thread only."""

    def __init__(self, scene: PairScene, bands: Sequence[Band]) -> None:
        """Prepare to read these bands of the pair, in this order."""
        self._alignment = scene.alignment
        self._places: list[list[int]] = []
        self._readers: list[Reader | None] = []
        for date, of_date in zip(DATES, (scene.before, scene.after), strict=True):
            own = {f"{date}{b.name}": b for b in of_date.bands}
            places = [i for i, band in enumerate(bands) if band.name in own]
            self._places.append(places)
            self._readers.append(of_date.reader([own[bands[i].name] for i in places]) if places else None)
        self._n_bands = len(bands)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files of both dates."""
        # the last one that opened a file first: environments of GDAL are nested
        for reader in reversed(self._readers):
            if reader is not None:
                reader.close()

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Stored values (band, row, col) of a window of the common grid, and where all bands are valid (row, col).

        Those of a second date on another grid are linear between its pixels, as float32.
        """
        block = Block(row_off=row, col_off=col, height=height, width=width)
        valid: NDArray[np.bool_] = np.ones((height, width), dtype=np.bool_)
        found: list[NDArray[Any]] = []
        if self._readers[0] is not None:
            at = self._alignment
            pixels, seen = self._readers[0].read(row + at.row_off, col + at.col_off, height, width)
            found.append(pixels)
            valid = valid & seen
        if self._readers[1] is not None:
            pixels, seen = self._after(self._readers[1], block)
            found.append(pixels)
            valid = valid & seen
        out = np.empty((self._n_bands, height, width), dtype=np.result_type(*found))
        for places, pixels in zip((p for p in self._places if p), found, strict=True):
            out[places] = pixels
        return out, valid

    def _after(self, reader: Reader, block: Block) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        placed = self._alignment.after
        if isinstance(placed, Shifted):
            at = placed.moved(block)
            return reader.read(at.row_off, at.col_off, at.height, at.width)

        def read(window: Block) -> NDArray[np.float32]:
            pixels, seen = reader.read(window.row_off, window.col_off, window.height, window.width)
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is no observation
                return np.where(seen, pixels, np.nan).astype(np.float32)

        pixels = take_image(placed, block, read, len(self._places[1]))
        seen = np.asarray(np.isfinite(pixels).all(axis=0))
        return np.where(seen, pixels, 0), np.asarray(seen)


def pair_scenes(before: Scene, after: Scene, *, name: str | None = None, align_images: bool = False) -> PairScene:
    """Two scenes of one place as one.

    Args:
        before: The first date; its grid is that of the pair.
        after: The second.
        name: Of the pair.
        align_images: Whether the second date is moved back by the shift that the images show, below a pixel.

    Raises:
        InputError: If they do not overlap.
    """
    names = (printable(before.href), printable(after.href))
    alignment = align(before.geobox, after.geobox, names=names)
    shift = _shift(before, after, alignment)
    notes = [note.replace("the nearest pixel", "linear interpolation") for note in alignment.notes]
    if shift is None:
        notes.append("how well the dates lie on each other cannot be told from their images")
    elif align_images:
        grid = moved(after.geobox, shift, alignment.geobox)
        alignment = align(before.geobox, grid, names=names)
        notes.append(f"by the images, {names[1]} lies {shift} of {names[0]} and is moved back")
    else:
        notes.append(f"by the images, {names[1]} lies {shift} of {names[0]}")
    bands = tuple(
        replace(band, name=f"{date}{band.name}")
        for date, s in zip(DATES, (before, after), strict=True)
        for band in s.bands
    )
    if isinstance(alignment.after, Shifted):
        dtypes = [b.dtype for b in bands]
    else:
        dtypes = [b.dtype if b.name.startswith(DATES[0]) else "float32" for b in bands]
    times = [t for t in (before.acquired, after.acquired) if t is not None]
    if len(times) == 2 and times[0] > times[1]:
        notes.append(f"warning: {names[0]} was taken after {names[1]}: are the two swapped?")
    return PairScene(
        id=name or f"{before.id}_{after.id}",
        href=f"{before.href} and {after.href}",
        geobox=alignment.geobox,
        bands=tuple(replace(b, dtype=t) for b, t in zip(bands, dtypes, strict=True)),
        driver=before.driver,
        validity="mask" if "mask" in (before.validity, after.validity) else "values",
        block_shape=before.block_shape,
        scaled=before.scaled and after.scaled,
        fingerprint=hashlib.sha256(repr((before.fingerprint, after.fingerprint, alignment)).encode()).hexdigest(),
        before=before,
        after=after,
        alignment=alignment,
        shift=shift,
        is_aligned=align_images and shift is not None,
        notes=tuple(notes),
    )


def _shift(before: Scene, after: Scene, alignment: Alignment) -> Shift | None:
    """How far the second date lies from the first, by windows of both images."""
    images = images_of(before, after)
    if images is None:
        return None
    grid = alignment.geobox
    windows = [
        Block(row_off=row, col_off=col, height=height, width=width)
        for row, col, height, width in window_offsets((int(grid.shape[0]), int(grid.shape[1])))
    ]
    return image_shift((images[0].on(grid, w), images[1].on(grid, w)) for w in windows)
