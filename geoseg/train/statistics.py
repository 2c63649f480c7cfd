"""What the pixels of the training look like: mean, spread and quantiles of each band."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, printable
from geoseg.inference.normalise import Normalisation
from geoseg.models.card import PROBABILITIES
from geoseg.train.pairs import Pair, Pairs
from geoseg.train.places import CELL, Places

__all__ = ["BandStatistics", "band_statistics", "blank_images", "normalisations"]

_PER_WINDOW = 1024
_PIXELS = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BandStatistics:
    """Of the pixels of training, per band, in the card's units."""

    mean: tuple[float, ...]
    """Average."""
    std: tuple[float, ...]
    """Standard deviation, above 0."""
    quantiles: tuple[tuple[float, ...], ...]
    """Of each band, at `PROBABILITIES`."""


def band_statistics(pairs: Pairs, places: Places, *, seed: int) -> BandStatistics:
    """Statistics of some 400,000 valid pixels, from windows spread over all that is not held out.

    Labelled or not: the model meets both. Each scene gives as many as it has of the ground.

    Raises:
        InputError: If a band has one value only, or no pixel is valid.
    """
    rng = np.random.default_rng([seed, 1])
    free = [~held for held in places.held_out]
    total = sum(int(f.sum()) for f in free)
    samples = [
        _sample(pair, cells, round(_PIXELS * int(cells.sum()) / total), rng)
        for pair, cells in zip(pairs.items, free, strict=True)
        if cells.any()
    ]
    values = np.concatenate(samples).astype(np.float64)
    if not len(values):
        raise InputError("no pixel of the training images is valid: check their nodata values")
    std = values.std(axis=0)
    if (flat := np.flatnonzero(std <= 0)).size:
        name = printable(pairs.band_names[int(flat[0])])
        raise InputError(f"band {name} has the value {values[0, flat[0]]:g} everywhere: leave it out with use_bands")
    quantiles = np.quantile(values, PROBABILITIES, axis=0).T
    return BandStatistics(
        mean=_rounded(values.mean(axis=0)), std=_rounded(std), quantiles=tuple(_rounded(q) for q in quantiles)
    )


def blank_images(pairs: Pairs) -> list[str]:
    """Names of images of which no pixel is an observation, in training or held out: their labels count for nothing.

    Of the others no more is read than up to the first rows that have one.
    """
    return [pair.scene.href for pair in pairs.items if not _has_pixels(pair)]


def _has_pixels(pair: Pair) -> bool:
    height, width = pair.scene.height, pair.scene.width
    with pair.pixels() as reader:
        return any(bool(reader.read(row, 0, min(CELL, height - row), width)[1].any()) for row in range(0, height, CELL))


def normalisations(pairs: Pairs, statistics: BandStatistics) -> list[Normalisation]:
    """From the stored pixels of each scene to the network's input."""
    found = []
    for pair in pairs.items:
        each = list(zip(_scaling(pair), statistics.mean, statistics.std, strict=True))
        found.append(
            Normalisation(
                gain=tuple(scale / std for (scale, _), _, std in each),
                bias=tuple((offset - mean) / std for (_, offset), mean, std in each),
            )
        )
    return found


def _scaling(pair: Pair) -> list[tuple[float, float]]:
    """Scale and offset of each band; stored numbers without a stated scale are taken as they are."""
    return [(b.scale, b.offset) if pair.scene.scaled else (1.0, 0.0) for b in pair.bands]


def _sample(pair: Pair, free: NDArray[np.bool_], n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """About n physical values (pixel, band) of a scene's free cells."""
    cells = rng.permutation(np.argwhere(free))
    per_cell = max(1, min(_PER_WINDOW, -(-n // len(cells))))
    chosen: list[NDArray[np.float32]] = []
    found = 0
    with pair.pixels() as reader:
        for cell_row, cell_col in cells.tolist():
            row, col = cell_row * CELL, cell_col * CELL
            height, width = min(CELL, pair.scene.height - row), min(CELL, pair.scene.width - col)
            pixels, valid = reader.read(row, col, height, width)
            values = pixels[:, valid].T.astype(np.float32)
            if len(values) > per_cell:
                values = values[rng.choice(len(values), per_cell, replace=False)]
            chosen.append(values[np.isfinite(values).all(axis=1)])
            found += len(chosen[-1])
            if found >= n:
                break
    stored = np.concatenate(chosen) if chosen else np.zeros((0, len(pair.bands)), np.float32)
    gain, bias = (np.array(part, np.float32) for part in zip(*_scaling(pair), strict=True))
    physical: NDArray[np.float32] = stored * gain + bias
    return physical


def _rounded(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, ...]:
    """With six significant digits, which is more than the sample is good for and reads well in a card."""
    return tuple(float(f"{float(v):.6g}") for v in values)
