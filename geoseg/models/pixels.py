"""Pixels held against what a model expects: a wrong unit, a missing offset and swapped bands show in their quantiles.

Wrong pixels are the costliest silent error of this field: the map looks like a map. What can be told without knowing
the land is told by physics: reflectance is rarely above 1, leaves are dark in red, and nothing on land is much brighter
in one visible band than in all others and in the near infrared. What is far from all of the training is told by the
quantiles that training left in the card.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Doubt", "doubt_of", "guess_scaling"]

LEAST = 400
"""Pixels without which nothing is said."""
_VISIBLE = ("blue", "green", "red")
_BRIGHTEST = 1.7
"""Reflectance of the brightest band that half of all pixels do not pass, clouds and snow in the sun included."""
_DARKEST = 0.004
"""Reflectance of the brightest band that one pixel in twenty passes, water and shadow included."""
_LEAFY = 0.2
"""Near infrared minus red of dense leaves; an offset does not change it."""
_LEAF_RED = 0.1
"""Red reflectance that the darkest dense leaves stay below, haze included."""
_LIFTED = 0.09
"""Reflectance that the darkest pixels of every band reach where 0.1 was added to all."""
_LEAF_DARK = 0.2
"""Reflectance that leaves stay below in all visible bands, haze included."""
_PEAK = 0.1
"""How much brighter than in all of the others nothing is in one visible band."""
_FAR = 0.4
"""Distance from the training that no scene had that fits, of 79 real ones; see `_Trained.distance`."""
_RESCALED = (
    (1 / 255, "numbers from 0 to 255 where 0 to 1 is wanted"),
    (255.0, "numbers from 0 to 1 where 0 to 255 is wanted"),
    (1 / 257, "16 bit numbers where 8 bit are wanted"),
    (1 / 16, "12 bit numbers where 8 bit are wanted"),
    (1e-4, "ten thousand times what is wanted"),
    (1e4, "a ten thousandth of what is wanted"),
)
_SHIFTED = (
    (-0.1, "reflectance from which the +1000 offset of Sentinel-2 was not taken away"),
    (-0.2, "reflectance without the offset of -0.2 of Landsat Collection 2"),
    (0.1, "reflectance from which an offset was taken away that was not in it"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What is wrong with pixels, and what would mend it."""

    what: str
    """What they look like."""
    gain: float = 1.0
    """Right value = ``gain`` times value plus ``shift``."""
    shift: float = 0.0
    """See ``gain``."""
    names: tuple[str, ...] | None = None
    """What the bands should be called, in their order."""

    @property
    def rescales(self) -> bool:
        """Whether another scale or offset mends it."""
        return (self.gain, self.shift) != (1.0, 0.0)


def guess_scaling(stored: NDArray[np.float32], bands: Sequence[str]) -> tuple[float, float, str] | None:
    """Scale and offset that make reflectance of stored values, and what they then are; None where it cannot be told.

    Args:
        stored: (pixel, band).
        bands: Names of the bands.
    """
    low, high = (np.quantile(stored, p, axis=0) for p in (0.02, 0.98))
    darkest, brightest = float(low.min()), float(high.max())
    if darkest >= -0.25 and 0.02 < brightest <= _BRIGHTEST:
        return 1.0, 0.0, "reflectance from 0 to 1"
    if brightest <= 255 and (stored[:, :1] % 1 == 0).all():
        return 1 / 255, 0.0, "numbers from 0 to 255"
    if brightest <= 130:
        return 0.01, 0.0, "percent of reflectance"
    if darkest >= 6500 and brightest <= 65535:
        return 0.0000275, -0.2, "numbers of Landsat Collection 2 Level 2 (Level 1: --scale 0.00002 --offset -0.1)"
    if 255 < brightest <= 25000:
        lifted = _offset_missing(stored * np.float32(0.0001), bands)
        if lifted is None:
            # no leaves to judge by; below 1000 there is next to nothing where 1000 was added
            lifted = 1000 <= darkest <= 1400
        if lifted:
            return 0.0001, -0.1, "reflectance x 10000 with the +1000 offset of Sentinel-2"
        return 0.0001, 0.0, "reflectance x 10000"
    return None


def doubt_of(
    values: NDArray[np.float32],
    bands: Sequence[str],
    *,
    reflectance: bool,
    quantiles: Mapping[str, Mapping[float, float]],
) -> Doubt | None:
    """What is wrong with pixels; None where nothing is, or nothing can be told.

    Args:
        values: (pixel, band) in the unit that the model expects.
        bands: What the bands are taken for.
        reflectance: Whether that unit is reflectance.
        quantiles: By band, from a probability to a value of the training pixels.
    """
    if len(values) < LEAST:
        return None
    found = _physical(values, bands) if reflectance else None
    return found or _unlike_training(values, bands, quantiles, reflectance)


def _physical(values: NDArray[np.float32], bands: Sequence[str]) -> Doubt | None:
    bright = values.max(axis=1)
    if float(np.median(bright)) > _BRIGHTEST:
        guess = guess_scaling(values, bands)
        if guess is None:
            return Doubt(what=f"are no reflectance from 0 to 1: half of them are above {np.median(bright):.3g}")
        scale, offset, what = guess
        return Doubt(what=f"look like {what}", gain=scale, shift=offset)
    if float(np.quantile(bright, 0.95)) < _DARKEST and float(bright.max()) > 0:
        return Doubt(what="look like reflectance that was multiplied by 0.0001 twice", gain=10_000.0)
    if _offset_missing(values, bands):
        shift = -0.2 if float(np.quantile(values, 0.02, axis=0).min()) > 0.19 else -0.1
        product = "the +1000 offset of Sentinel-2" if shift == -0.1 else "the offset of -0.2 of Landsat Collection 2"
        how = "not taken away" if shift == -0.1 else "not added"
        return Doubt(what=f"look like reflectance from which {product} was {how}", shift=shift)
    if _offset_twice(values, bands):
        return Doubt(what="look like reflectance from which an offset was taken away that was not in it", shift=0.1)
    return _peaks(values, bands)


def _leaves(values: NDArray[np.float32], bands: Sequence[str]) -> NDArray[np.float32] | None:
    """Red reflectance of dense leaves, told by a difference, which no offset changes; None where there are few."""
    if "red" not in bands or "nir" not in bands:
        return None
    red, nir = values[:, bands.index("red")], values[:, bands.index("nir")]
    leafy = nir - red > _LEAFY
    return red[leafy] if leafy.sum() >= max(50, len(values) // 100) else None


def _offset_missing(values: NDArray[np.float32], bands: Sequence[str]) -> bool | None:
    """Whether even the darkest leaves are too bright in red, and nothing is dark in any band; None without leaves.

    Haze brightens leaves, too, but neither water and shadow in the infrared nor all bands alike.
    """
    red = _leaves(values, bands)
    if red is None:
        return None
    return float(np.quantile(red, 0.05)) >= _LEAF_RED and float(np.quantile(values, 0.01, axis=0).min()) >= _LIFTED


def _offset_twice(values: NDArray[np.float32], bands: Sequence[str]) -> bool:
    red = _leaves(values, bands)
    return red is not None and float(np.median(red)) < -0.02


def _peaks(values: NDArray[np.float32], bands: Sequence[str]) -> Doubt | None:
    """A visible band that is far brighter than all others: as only the near infrared is, over leaves."""
    if not {*_VISIBLE, "nir"} <= set(bands):
        return None
    for name in _VISIBLE:
        others = [bands.index(b) for b in (*_VISIBLE, "nir") if b != name]
        rest = values[:, others].max(axis=1)
        # leaves are dark in all that is visible
        peak = (values[:, bands.index(name)] - rest > _PEAK) & (rest < _LEAF_DARK)
        if float(peak.mean()) > 0.1:
            swapped = {name: "nir", "nir": name}
            return Doubt(
                what=f"are bright in {name} where leaves are bright in nir: the bands {name} and nir look swapped",
                names=tuple(swapped.get(b, b) for b in bands),
            )
    return None


def _unlike_training(
    values: NDArray[np.float32], bands: Sequence[str], quantiles: Mapping[str, Mapping[float, float]], reflectance: bool
) -> Doubt | None:
    """What tells pixels from those of the training, in the order of what is most surely known."""
    at = [i for i, name in enumerate(bands) if name in quantiles]
    shared = sorted(set.intersection(*(set(quantiles[bands[i]]) for i in at))) if at else []
    if not shared:
        return None
    trained = _Trained.of([quantiles[bands[i]] for i in at], shared)
    seen = np.quantile(values[:, at].astype(np.float64), trained.probabilities, axis=0).T
    distance = trained.distance(seen)
    # of reflectance, physics has told all that a wrong scale makes; an offset it tells over leaves only
    hypotheses = [(1.0, *s) for s in _SHIFTED] if reflectance else [(gain, 0.0, what) for gain, what in _RESCALED]
    rescaled = [(trained.distance(gain * seen + shift), gain, shift, what) for gain, shift, what in hypotheses]
    best, gain, shift, what = min(rescaled)
    # where all of a scene is a speck on the scale of the training, its distance cannot grow, nor the best be much less
    needed = 1.5 if trained.is_speck(seen) else 3
    if distance > _FAR and best < distance / needed:
        return Doubt(what=f"look like {what}, held against those of the training", gain=gain, shift=shift)
    found = _swapped(trained, seen, [bands[i] for i in at])
    if found is not None:
        return replace(
            found, names=tuple(dict(zip(at, found.names or (), strict=True)).get(i, b) for i, b in enumerate(bands))
        )
    away = trained.away(np.median(values[:, at], axis=0))
    if float(np.median(away)) > 1:
        worst = int(np.argmax(away))
        low, high = trained.ends[worst]
        middle = float(np.median(values[:, at[worst]]))
        return Doubt(
            what=f"are far from all of the training: the median of {bands[at[worst]]} is {middle:.3g}, and was trained "
            f"from {low:.3g} to {high:.3g}"
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Trained:
    """Quantiles of the training, with what a difference to them weighs."""

    probabilities: list[float]
    values: NDArray[np.float64]  # (band, probability)
    ends: NDArray[np.float64]  # (band, 2): of the lowest and the highest probability

    @classmethod
    def of(cls, quantiles: Sequence[Mapping[float, float]], shared: Sequence[float]) -> "_Trained":
        inner = [p for p in shared if 0.05 <= p <= 0.95] or list(shared)
        return cls(
            probabilities=inner,
            values=np.array([[band[p] for p in inner] for band in quantiles]),
            ends=np.array([[band[shared[0]], band[shared[-1]]] for band in quantiles]),
        )

    @property
    def spread(self) -> NDArray[np.float64]:
        """(band,) What training covers."""
        spread: NDArray[np.float64] = np.maximum(np.ptp(self.ends, axis=1), 1e-6 * np.abs(self.ends).max() + 1e-30)
        return spread

    def distance(self, seen: NDArray[np.float64]) -> float:
        """Mean difference of quantiles (band, probability), each as a share of what training covers in its band."""
        return float(np.mean(np.abs(seen - self.values) / self.spread[:, None]))

    def is_speck(self, seen: NDArray[np.float64]) -> bool:
        """Whether quantiles (band, probability) differ by less than a twentieth of what they do in training."""
        return bool(np.median(np.ptp(seen, axis=1) / self.spread) < 0.05)

    def away(self, middle: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far (band,) medians lie beyond the ends of the training, as shares of what it covers."""
        beyond = np.maximum(0, np.maximum(self.ends[:, 0] - middle, middle - self.ends[:, 1]))
        away: NDArray[np.float64] = beyond / self.spread
        return away


def _swapped(trained: _Trained, seen: NDArray[np.float64], bands: Sequence[str]) -> Doubt | None:
    """Whether the bands fit the training much better in another order."""
    from scipy.optimize import linear_sum_assignment

    costs = np.abs(seen[:, None, :] - trained.values[None]).mean(axis=2) / np.median(trained.spread)
    _, order = linear_sum_assignment(costs)
    before, after = float(np.trace(costs)) / len(costs), float(costs[np.arange(len(costs)), order].mean())
    if after < 0.1 and before - after > 0.04 and before > 1.5 * after:
        moved = [name for i, name in enumerate(bands) if order[i] != i]
        return Doubt(
            what=f"fit the training much better with the bands {' and '.join(moved)} in another order",
            names=tuple(bands[i] for i in order),
        )
    return None
