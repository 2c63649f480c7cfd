"""One way from a CRS to another for a whole scene.

Between two datums there are several operations, each for a region, and PROJ chooses one for each point. Where the
choice changes, the ground jumps by metres up to a hundred of them: no matter for a place on a map, but an outline of 50
m across such a line has any area.
"""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import CRS, Transformer

__all__ = ["lattice", "steady"]

_PLACES = 5


def lattice(geobox: "GeoBox") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates of places all over a pixel grid, its corners included."""
    height, width = geobox.shape
    col, row = (a.ravel() for a in np.meshgrid(np.linspace(0, width, _PLACES), np.linspace(0, height, _PLACES)))
    t = geobox.transform
    return t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f


def steady(
    source: Any, target: Any, x: NDArray[np.float64], y: NDArray[np.float64], *, of_target: bool = False
) -> "Transformer":
    """The one operation that suits some places best, x before y on both sides.

    Args:
        source: CRS, as pyproj takes it.
        target: CRS.
        x: Coordinates of the places; those that are infinite, or beyond the edge of a map, do not count.
        y: The same.
        of_target: Whether they are coordinates of the target, and not of the source.

    Returns:
        Of the operations for the region of these places, the first that reaches the most of them: PROJ has the most
        accurate ones first.

    Raises:
        pyproj.exceptions.ProjError: If there is no way from the one to the other.
    """
    from pyproj import Transformer

    anywhere = _operations(source, target)
    if len(anywhere) == 1:
        return anywhere[0]
    to_lonlat = _operations(target if of_target else source, 4326)
    suited = _operations(source, target, _bounds(*to_lonlat[0].transform(x, y))) if to_lonlat else []
    found = suited or anywhere
    if not found:
        return Transformer.from_crs(source, target, always_xy=True)

    def n_reached(operation: "Transformer") -> int:
        u, v = operation.transform(x, y, direction="INVERSE" if of_target else "FORWARD")
        return int((np.isfinite(u) & np.isfinite(v)).sum())

    return max(found, key=n_reached)


def _operations(
    source: "CRS | int", target: "CRS | int", bounds: tuple[float, float, float, float] | None = None
) -> "list[Transformer]":
    from pyproj.transformer import AreaOfInterest, TransformerGroup

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a better one would need a grid that is not installed
        area = None if bounds is None else AreaOfInterest(*bounds)
        return list(TransformerGroup(source, target, always_xy=True, area_of_interest=area).transformers)


def _bounds(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> tuple[float, float, float, float] | None:
    """West, south, east and north; None where there is no place, or where they go halfway around the world."""
    known = np.isfinite(lon) & np.isfinite(lat)
    if not known.any() or np.ptp(lon[known]) > 180:
        return None
    return float(lon[known].min()), float(lat[known].min()), float(lon[known].max()), float(lat[known].max())
