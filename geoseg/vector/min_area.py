"""The minimum mapping unit as a user writes it: an amount of pixels or of ground."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from geoseg.errors import ParameterError, printable

__all__ = ["MinArea", "parse_min_area"]

_UNITS = {
    "px": ("px", 1),
    "m2": ("m2", 1),
    "m²": ("m2", 1),
    "ha": ("m2", 10_000),
    "km2": ("m2", 1_000_000),
    "km²": ("m2", 1_000_000),
}
_MIN_AREA = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*([A-Za-z]+[2²]?)\s*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class MinArea:
    """A minimum mapping unit as the user gave it."""

    kind: str
    """``px`` or ``m2``: whether the size of a region is its number of pixels or its area."""
    amount: float
    """Pixels or square metres; 0 keeps everything."""

    def __post_init__(self) -> None:
        if self.kind not in ("px", "m2"):
            raise ParameterError(f"a smallest area is counted in px or m2, not in {printable(self.kind)}")
        if not (math.isfinite(self.amount) and self.amount >= 0):
            raise ParameterError(f"a smallest area of {self.amount} {self.kind} is none: give a number from 0")

    def threshold(self, unit_m2: float | None = None) -> int:
        """The smallest size, in pixels or in units of area, that is not below the minimum.

        Args:
            unit_m2: Square metres per unit, as `PixelAreas.unit_m2`; not needed for ``px``.

        Raises:
            ParameterError: If the minimum is an area and ``unit_m2`` is not given or not positive.

        Example:
            >>> MinArea(kind="m2", amount=250).threshold(unit_m2=100.0)
            3
        """
        unit = 1.0
        if self.kind == "m2":
            if unit_m2 is None or not (math.isfinite(unit_m2) and unit_m2 > 0):
                raise ParameterError(
                    f"a smallest area of {self.amount:g} m2 needs the area of pixels: give a map with a CRS, "
                    "or the smallest area in px"
                )
            unit = unit_m2
        least = math.ceil(Fraction(self.amount) / Fraction(unit))
        return min(least, 2**63 - 1)  # as large as a size can be; no scene is


def parse_min_area(text: str) -> MinArea:
    """A minimum mapping unit from text such as ``0.5ha``, ``100 m2``, ``2km2`` or ``9px``.

    Raises:
        ParameterError: If that is not a number from 0 with one of the units px, m2, ha, km2.

    Example:
        >>> parse_min_area("0.5ha")
        MinArea(kind='m2', amount=5000.0)
    """
    said = printable(text)
    found = _MIN_AREA.fullmatch(text)
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise ParameterError(
            f"{said!r} is not a smallest area: give a number and its unit, one of px, m2, ha, km2, such as 0.5ha or 9px"
        )
    kind, factor = unit
    amount = float(Decimal(found[1]) * factor)  # 0.07 ha are 700 m2, and not a bit more as by floats
    if amount < 0 or math.isinf(amount):
        raise ParameterError(
            f"{said!r} is not a smallest area: give a number from 0 that is not endless, such as 0.5ha"
        )
    return MinArea(kind=kind, amount=amount)
