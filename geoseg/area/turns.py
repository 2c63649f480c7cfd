"""Longitudes go round: the same place, a whole turn further along x."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyproj import CRS

__all__ = ["beside", "full_turn"]

_UNROLLED = {
    "Popular Visualisation Pseudo Mercator",
    "Mercator (variant A)",
    "Mercator (variant B)",
    "Equidistant Cylindrical",
    "Equidistant Cylindrical (Spherical)",
    "Lambert Cylindrical Equal Area",
    "Lambert Cylindrical Equal Area (Spherical)",
}
"""EPSG's names of the methods whose x is longitude times a number."""


def full_turn(crs: "CRS") -> float | None:
    """A full turn of longitude in the units of a geographic CRS, or of a map on which it is a step along x alone.

    None for any other. A raster in Web Mercator may go on beyond the antimeridian, where PROJ's coordinates do not.
    """
    if crs.is_geographic:
        return 2 * math.pi / float(crs.axis_info[0].unit_conversion_factor)
    operation = crs.coordinate_operation
    if operation is None or operation.method_name not in _UNROLLED:
        return None
    from pyproj import Transformer

    geodetic = crs.geodetic_crs
    middle = next((p for p in operation.params if p.name == "Longitude of natural origin"), None)
    if geodetic is None or middle is None:
        return None
    quarter = math.pi / 2 / float(geodetic.axis_info[0].unit_conversion_factor)
    origin = float(middle.value) * middle.unit_conversion_factor / float(geodetic.axis_info[0].unit_conversion_factor)
    x, _ = Transformer.from_crs(geodetic, crs, always_xy=True).transform([origin - quarter, origin + quarter], [0, 0])
    turn = 2 * (x[1] - x[0])
    return float(turn) if math.isfinite(turn) and turn > 0 else None


def beside(x: NDArray[np.float64], middle: float, turn: float) -> NDArray[np.float64]:
    """The same places within half a turn of ``middle``; what is infinite, because it is nowhere, becomes NaN.

    Example:
        >>> beside(np.array([-179.5, 179.5, 540.0]), 180.0, 360.0).tolist()
        [180.5, 179.5, 180.0]
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(x - turn * np.round((x - middle) / turn))
