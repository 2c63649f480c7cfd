"""Expected area of each class: probabilities times pixel areas, as whole numbers that do not depend on the cut.

This is a model-based estimate. A class map gives each pixel whole to its likeliest class; the expectation gives a part
of it to every class. It is right where the probabilities are calibrated on the area in question: no sample of reference
data checks that here, so no confidence interval comes with it.

Probabilities are stored in steps of 1/254, each less than one step from the model's own, so that the expected area of a
class is less than 1/254 (0.4 %) of the mapped area from what unrounded probabilities would give. Rounding that is up in
one pixel and down in the next cancels: that bound is neared only where all pixels are alike. The summation has no
error: a stored probability times an area in the units of `PixelAreas` is a whole number, and those are added exactly.
The expected areas of all classes add up to the area of all pixels that have a class.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.area.interpolate import Lattice, row_units
from geoseg.area.pixel_area import PixelAreas
from geoseg.errors import ParameterError
from geoseg.kernels import njit
from geoseg.legend import PROBABILITY_STEPS

__all__ = ["ExpectedTotals", "expected_totals"]

# An area is below 2**62 units, for one pixel as for the whole scene, and a probability below 2**8: products and their
# sums do not fit 64 bits. So areas are cut into their lower 20 bits and the rest. Sums of the rest stay below
# 2**(62 - 20 + 8), those of the lower bits below 2**(20 + 8) per pixel, which 2**35 pixels at once do not exceed.
_LOW_BITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTotals:
    """Sums of probability times area of each class; those of two blocks add up to those of both."""

    weighted_units: tuple[int, ...]
    """For each class, in the order of the legend: stored probabilities (0 to 254) times areas in units of
    `PixelAreas.unit_m2`. Python's own integers, which have no limit."""

    @classmethod
    def zero(cls, n_classes: int) -> Self:
        """Totals of no pixels."""
        return cls(weighted_units=(0,) * n_classes)

    def __add__(self, other: Self) -> Self:
        if len(other.weighted_units) != len(self.weighted_units):
            raise ParameterError(
                f"sums of {len(self.weighted_units)} and {len(other.weighted_units)} classes do not add up: "
                "sum probabilities of the same legend"
            )
        pairs = zip(self.weighted_units, other.weighted_units, strict=True)
        return type(self)(weighted_units=tuple(a + b for a, b in pairs))

    def area_m2(self, unit_m2: float) -> NDArray[np.float64]:
        """(class,) expected areas in m²; the only rounding is to float64."""
        # unit_m2 is a power of two, and a quotient of two of Python's integers is rounded once
        return np.array([units / PROBABILITY_STEPS * unit_m2 for units in self.weighted_units], dtype=np.float64)


def expected_totals(
    probabilities: NDArray[np.uint8], areas: PixelAreas, *, row_off: int = 0, col_off: int = 0
) -> ExpectedTotals:
    """Probability times area of each class in a block.

    Memory: the areas of one row of pixels.

    Args:
        probabilities: (class, rows, cols) in steps of 1/254, 255 where there is no observation.
        areas: Pixel areas of the scene.
        row_off: First row of the block in the scene.
        col_off: First column of the block in the scene.

    Raises:
        ParameterError: If the block is not within the scene, or is no block of probabilities.

    Example:
        >>> from odc.geo.geobox import GeoBox
        >>> areas = PixelAreas.of(GeoBox.from_bbox((0, 0, 2, 1), crs="EPSG:4326", resolution=1))
        >>> halves = np.full((2, 1, 2), 127, dtype=np.uint8)  # two classes, one row of two pixels
        >>> [f"{a / 1e6:.3f} km²" for a in expected_totals(halves, areas).area_m2(areas.unit_m2)]
        ['12308.464 km²', '12308.464 km²']
    """
    if probabilities.dtype != np.uint8 or probabilities.ndim != 3:
        raise ParameterError(
            f"probabilities of {probabilities.dtype} and shape {probabilities.shape}: give uint8 (class, rows, cols)"
        )
    low, high = np.zeros((2, len(probabilities)), dtype=np.int64)
    if probabilities.size:
        _add(probabilities, areas.lattice(row_off, col_off, *probabilities.shape[1:]), low, high)
    pairs: Any = zip(low.tolist(), high.tolist(), strict=True)
    return ExpectedTotals(weighted_units=tuple((h << _LOW_BITS) + lo for lo, h in pairs))


@njit(nogil=True, cache=True)
def _add(
    probabilities: NDArray[np.uint8],
    lattice: Lattice,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
) -> None:
    """Add row by row, to the sums of the lower bits and of the rest."""
    n_classes, height, width = probabilities.shape
    area = np.empty(width, dtype=np.int64)
    mask = np.int64((1 << _LOW_BITS) - 1)
    for r in range(height):
        row_units(lattice, r, area)
        for k in range(n_classes):
            of_low, of_high = np.int64(0), np.int64(0)
            for c in range(width):
                p = np.int64(probabilities[k, r, c])
                p = p if p <= PROBABILITY_STEPS else np.int64(0)
                of_low += p * (area[c] & mask)
                of_high += p * (area[c] >> _LOW_BITS)
            low[k] += of_low
            high[k] += of_high
