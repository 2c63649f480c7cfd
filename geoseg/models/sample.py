"""A seeded subsample of a scene's valid pixels, from few small windows spread over it."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.scene.scene import Band, Scene

__all__ = ["Look", "look_at", "sample_pixels"]

_SIDE = 128
_PER_WINDOW = 512
_TRIED = 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What a few windows of a scene hold."""

    values: NDArray[np.float32]
    """Stored values of valid pixels (pixel, band)."""
    valid_share: float
    """Of the pixels of the windows that were looked at."""
    n_windows: int
    """Windows of 128 px that were looked at."""


def look_at(scene: Scene, bands: Sequence[Band], *, n_pixels: int = 8192, seed: int = 0) -> Look:
    """A quick look at a scene: `sample_pixels`, with how much is valid of what was looked at.

    Raises:
        SceneError: If a window cannot be read.
    """
    if scene.source is not None:
        # to look at pixels they need not be averaged
        by_name = {b.name: b for b in scene.source.bands}
        scene, bands = scene.source, [by_name[b.name] for b in bands]
    return _sampled(scene, bands, n_pixels, seed)


def sample_pixels(scene: Scene, bands: Sequence[Band], *, n_pixels: int = 40_000, seed: int = 0) -> NDArray[np.float32]:
    """Stored values of randomly chosen valid pixels (pixel, band), float32; none where the scene has no valid pixel.

    Windows of 128 px are read in a random order until there are enough pixels, at most 1024 of them, so that the cost
    does not grow with the scene. The choice depends on the scene's size and the seed alone.

    Args:
        scene: What to sample.
        bands: Which bands, in which order.
        n_pixels: Pixels wanted; fewer are given where fewer are valid.
        seed: Of the random choice.

    Raises:
        SceneError: If a window cannot be read.
    """
    return _sampled(scene, bands, n_pixels, seed).values


def _sampled(scene: Scene, bands: Sequence[Band], n_pixels: int, seed: int) -> Look:
    rng = np.random.default_rng(seed)
    down, across = -(-scene.height // _SIDE), -(-scene.width // _SIDE)
    order = rng.permutation(down * across)[:_TRIED]
    per_window = max(_PER_WINDOW, -(-n_pixels // len(order)))
    chosen: list[NDArray[np.float32]] = []
    count, n_windows, n_valid, n_seen = 0, 0, 0, 0
    with closing(scene.reader(bands)) as reader:
        for place in order:
            row, col = int(place) // across * _SIDE, int(place) % across * _SIDE
            pixels, valid = reader.read(row, col, min(_SIDE, scene.height - row), min(_SIDE, scene.width - col))
            n_windows, n_valid, n_seen = n_windows + 1, n_valid + int(valid.sum()), n_seen + valid.size
            values = pixels[:, valid].T
            if len(values) > per_window:
                values = values[rng.choice(len(values), per_window, replace=False)]
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is left out
                values = values.astype(np.float32)
            chosen.append(values[np.isfinite(values).all(axis=1)])
            count += len(chosen[-1])
            if count >= n_pixels:
                break
    return Look(values=np.concatenate(chosen), valid_share=n_valid / n_seen, n_windows=n_windows)
