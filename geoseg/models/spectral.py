"""Land cover by rules on reflectance: no weights, one pixel at a time.

A decision tree over spectral indices with soft thresholds. A test ``value > threshold`` becomes the number
``(value - threshold) / width``, read as the logit of a logistic; "and" is the smallest of several, "or" the largest,
"not" the negative. A path's probability is the product of the logistics along it, so the probabilities of all
paths sum to 1, the outputs are their logarithms, and softmax gives them back.

Sources: McFeeters (1996) NDWI; Xu (2006) MNDWI; Feyisa et al. (2014) AWEI; Zha et al. (2003) NDBI; Rikimaru et al.
(2002) BSI; Hall et al. (1995) snow. The order of the tests and the choice within published ranges are this project's.
"""

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SpectralRules"]

_INDEX_WIDTH = 0.05
"""Of thresholds on indices and ratios, which run from -1 to 1."""
_LEVEL_WIDTH = 0.01
"""Of thresholds on reflectance: 0.05 would be wider than all of what counts as dark."""
_FLOOR = 1e-4
"""Lowest reflectance: below 0 a ratio leaves [-1, 1], and 0/0 has no value."""
_NEVER = -30.0
"""Logit of a class that these bands cannot tell: finite, because blending multiplies it by weights."""


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """Normalised difference, -1 to 1."""
    return (a - b) / (a + b)


def _index(value: Tensor, above: float) -> Tensor:
    return (value - above) / _INDEX_WIDTH


def _level(value: Tensor, above: float) -> Tensor:
    return (value - above) / _LEVEL_WIDTH


def _all(*tests: Tensor) -> Tensor:
    return reduce(torch.minimum, tests)


def _any(*tests: Tensor) -> Tensor:
    return reduce(torch.maximum, tests)


def _either(a: Tensor, b: Tensor) -> Tensor:
    """Log of the sum of two probabilities given as logs.

    Not torch.logaddexp: its vectorised part and its remainder round differently, so that a pixel's last bit would
    depend on where it lies in memory.
    """
    return torch.maximum(a, b) + torch.log1p(torch.exp(-(a - b).abs()))


class SpectralRules(nn.Module):
    """Logits of eight classes from reflectance 0..1 (order: ``spectral_card.SPECTRAL_CLASSES``).

    With ``swir16`` all but "non-vegetated" are reachable; ``swir22`` adds a second test for water. Without ``swir16``
    only water, dense and sparse vegetation, shadow and "non-vegetated" are.

    Args:
        bands: Names of the input channels: blue, green, red, nir and optionally swir16, swir22, in any order.
    """

    def __init__(self, bands: tuple[str, ...]) -> None:
        super().__init__()
        self.bands = bands

    def forward(self, reflectance: Tensor) -> Tensor:
        """(N, C, H, W) reflectance to (N, 8, H, W) logits; no pixel sees another."""
        # Each channel contiguous: on strided memory torch takes other code paths for exp and log, which differ in the
        # last bit, and the answer would depend on how a window was cut.
        clean = torch.nan_to_num(reflectance, nan=0.0, posinf=1e3).clamp(min=_FLOOR)
        band = {name: clean[:, i].contiguous() for i, name in enumerate(self.bands)}
        ndvi = _ratio(band["nir"], band["red"])
        ndwi = _ratio(band["green"], band["nir"])
        # a dark river is no shadow: what lies in the shade is mostly land, with more near infrared than green
        dark = _all(-_level(band["green"], 0.03), -_level(_brightest(band), 0.06))
        shadow = _all(dark, _index(ndvi, 0.0), -_index(ndwi, 0.0))
        # McFeeters' 0 makes water of hazy towns, 0.10 loses muddy rivers: these reflect far more red than near infrared
        open_water = _any(
            _all(_index(ndwi, 0.10), -_index(ndvi, 0.20)),
            _all(_index(ndwi, 0.0), -_index(ndvi, -0.05)),
        )
        split = self._with_swir if "swir16" in band else self._without_swir
        return torch.stack(split(band, ndvi, shadow, open_water), dim=1)

    def _with_swir(self, band: dict[str, Tensor], ndvi: Tensor, shadow: Tensor, water: Tensor) -> list[Tensor]:
        blue, green, red, nir, swir = (band[name] for name in ("blue", "green", "red", "nir", "swir16"))
        mndwi = _ratio(green, swir)  # snow people call it NDSI
        bsi = _ratio(swir + red, nir + blue)
        ndbi = _ratio(swir, nir)
        snow = _all(_index(mndwi, 0.40), _level(nir, 0.11), _level(green, 0.10), -_index(ndvi, 0.40))
        # as well as, not instead of, open water: in narrow rivers the coarser SWIR band sees the banks
        water = _any(water, _all(_index(mndwi, 0.0), -_index(ndvi, 0.20)))
        if "swir22" in band:
            # Feyisa's no-shadow form; some catalogues print +2.75, which turns bare soil into water
            awei = 4 * (green - swir) - (0.25 * nir + 2.75 * band["swir22"])
            water = _any(water, _index(awei, 0.0))
        water = _all(water, -_level(nir, 0.15))
        # what is left is bare or built
        rising = _all(
            _index(bsi, 0.10), _index(ndbi, 0.0), _index(_ratio(nir, red), 0.0), _index(_ratio(red, green), 0.0)
        )
        ladder = [band[name] for name in ("green", "red", "nir", "swir16")]
        contrast = _ratio(reduce(torch.maximum, ladder), reduce(torch.minimum, ladder))
        # largest / smallest < 1.6, as a normalised difference
        flat = _all(_index(ndbi, -0.10), -_index(ndbi, 0.15), -_index(contrast, 0.6 / 2.6))
        sand = _all(_level(red, 0.25), _index(bsi, 0.0))
        path = _Path(ndvi)
        is_snow, is_shadow, is_water = path.take(snow), path.take(shadow), path.take(water)
        dense, sparse = path.take(_index(ndvi, 0.50)), path.take(_index(ndvi, 0.20))
        soil, concrete, dune, exposed = (path.take(test) for test in (rising, flat, sand, _index(bsi, 0.10)))
        bare = _either(_either(soil, dune), exposed)
        built = _either(concrete, path.rest)
        return [is_water, dense, sparse, bare, built, is_snow, is_shadow, torch.full_like(ndvi, _NEVER)]

    def _without_swir(self, band: dict[str, Tensor], ndvi: Tensor, shadow: Tensor, water: Tensor) -> list[Tensor]:
        water = _all(water, -_level(band["nir"], 0.15))
        path = _Path(ndvi)
        is_shadow, is_water = path.take(shadow), path.take(water)
        dense, sparse = path.take(_index(ndvi, 0.50)), path.take(_index(ndvi, 0.20))
        never = torch.full_like(ndvi, _NEVER)
        return [is_water, dense, sparse, never, never, never, is_shadow, path.rest]


class _Path:
    """Walks down the tree: each test takes its share of what the tests before left over."""

    def __init__(self, like: Tensor) -> None:
        self.rest = torch.zeros_like(like)
        """Log of the probability that no test has taken yet."""

    def take(self, test: Tensor) -> Tensor:
        taken = self.rest + F.logsigmoid(test)
        self.rest = self.rest + F.logsigmoid(-test)
        return taken


def _brightest(band: dict[str, Tensor]) -> Tensor:
    return reduce(torch.maximum, band.values())
