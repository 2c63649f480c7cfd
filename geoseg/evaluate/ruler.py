"""What a border in the right place is, and how far apart places on the grid of a map are."""

import math
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.area.metric import Metric
from geoseg.errors import ParameterError
from geoseg.vector.simplify import Distance

__all__ = ["BorderRule", "Ruler"]

_REACH_PX: Final = 64
_MOST_PX: Final = 512
_MOST_SUM: Final = 61  # bits


@dataclass(frozen=True, slots=True, kw_only=True)
class BorderRule:
    """What counts as a border, and as the right place."""

    tolerance: Distance = field(default_factory=lambda: Distance(kind="px", amount=2))
    """Within which a border is in the right place."""
    band_px: int = 7
    """Width of the band inside a class for boundary IoU: 2 % of the diagonal of a window of 256 px."""

    def __post_init__(self) -> None:
        if not 1 <= self.band_px <= _MOST_PX:
            raise ParameterError(f"a band of {self.band_px} px for boundary IoU: choose 1 to {_MOST_PX}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ruler:
    """A rule on the grid of a map; travels to workers."""

    nodes: NDArray[np.float64]
    """Of the metric tensor, see `geoseg.area.metric.Metric`."""
    shape: tuple[int, int]
    """Rows and columns of the map."""
    tolerance: float
    """In metres, or in pixels."""
    in_px: bool
    """Whether it is in pixels: sides of a square with the area of a pixel."""
    reach_px: float
    """How far the nearest border is looked for; what is further counts as that far."""
    band_px: int
    """Width of the band for boundary IoU."""
    halo: int
    """Pixels around a block that are read for it."""
    scale: float
    """Units of length in a metre, and of length times distance in a square metre."""

    @classmethod
    def of(cls, metric: Metric, rule: BorderRule) -> Self:
        """A rule on the grid of a map.

        Raises:
            ParameterError: If the tolerance is more pixels than borders are looked for.
        """
        e, f, g = (metric.nodes[..., k] for k in range(3))
        side_m = np.sqrt(np.sqrt(np.maximum(e * g - f * f, 0)))
        in_px, amount = rule.tolerance.kind == "px", rule.tolerance.amount
        # in the longest direction of the grid, a pixel being as narrow as it gets
        tolerance_px = amount if in_px else amount / float(side_m.min())
        reach = max(float(_REACH_PX), tolerance_px)
        with np.errstate(divide="ignore", invalid="ignore"):
            narrow = side_m / np.sqrt(np.minimum(e - f * f / g, g - f * f / e))
        halo = math.ceil(reach * float(np.nanmax(narrow[np.isfinite(narrow)], initial=1.0))) + 1
        if tolerance_px > _MOST_PX / 2:
            raise ParameterError(
                f"a tolerance of {amount:g} {rule.tolerance.kind} is {tolerance_px:.0f} pixels of this map: give at "
                f"most {_MOST_PX // 2}"
            )
        longest = math.sqrt(2 * float(np.maximum(e, g).max()))
        most = 4 * metric.shape[0] * metric.shape[1] * longest * max(reach * float(side_m.max()), 1.0)
        return cls(
            nodes=metric.nodes,
            shape=metric.shape,
            tolerance=amount,
            in_px=in_px,
            reach_px=reach,
            band_px=rule.band_px,
            halo=max(min(halo, _MOST_PX), rule.band_px + 1),
            scale=math.ldexp(1.0, _MOST_SUM - math.frexp(most)[1]),
        )
