"""Simplification of a coverage, shared borders together, and what it does to areas."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import ParameterError, printable

__all__ = ["AreaChange", "Distance", "area_change", "parse_distance", "simplify_coverage"]

_UNITS = {"px": ("px", 1), "m": ("m", 1), "km": ("m", 1000)}
_DISTANCE = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*([A-Za-z]+)\s*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """A distance as the user gave it."""

    kind: str
    """``px`` or ``m``: whether it is counted on the pixel grid or on the ground."""
    amount: float
    """Pixels or metres, more than 0."""

    def __post_init__(self) -> None:
        if self.kind not in ("px", "m"):
            raise ParameterError(f"a distance is counted in px or m, not in {printable(self.kind)}")
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise ParameterError(f"a distance of {self.amount} {self.kind} is none: give a number above 0")

    def pixels(self, gsd_m: float | None = None) -> float:
        """The distance in pixels.

        Args:
            gsd_m: Metres of ground per pixel, as `geoseg.scene.gsd.gsd_m` gives; not needed for ``px``.

        Raises:
            ParameterError: If the distance is in metres and ``gsd_m`` is not given, NaN or not positive.

        Example:
            >>> Distance(kind="m", amount=25).pixels(gsd_m=10.0)
            2.5
        """
        if self.kind == "px":
            return self.amount
        if gsd_m is None or not (math.isfinite(gsd_m) and gsd_m > 0):
            raise ParameterError(
                f"a distance of {self.amount:g} m needs the size of a pixel on the ground: give a map with a CRS, "
                "or the distance in px"
            )
        return self.amount / gsd_m


def parse_distance(text: str) -> Distance:
    """A distance from text such as ``10m``, ``2.5 px`` or ``0.1km``.

    Raises:
        ParameterError: If that is not a number above 0 with one of the units px, m, km.

    Example:
        >>> parse_distance("0.1km")
        Distance(kind='m', amount=100.0)
    """
    said = printable(text)
    found = _DISTANCE.fullmatch(text)
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise ParameterError(
            f"{said!r} is not a distance: give a number and its unit, one of px, m, km, such as 10m or 2.5px"
        )
    kind, factor = unit
    amount = float(Decimal(found[1]) * factor)
    if not (math.isfinite(amount) and amount > 0):
        raise ParameterError(f"{said!r} is not a distance: give a number above 0 that is not endless, such as 10m")
    return Distance(kind=kind, amount=amount)


def simplify_coverage(
    geometry: NDArray[np.object_], tolerance_px: float, *, keep: NDArray[np.bool_] | None = None
) -> NDArray[np.object_]:
    """The polygons with fewer vertices along their borders, still a valid coverage, in the same order.

    Borders between polygons lose the vertices whose triangle with their neighbours is smaller than the square of the
    tolerance (Visvalingam and Whyatt 1993, by GEOS on whole borders, so that neighbours keep one border between them).
    Points where three or more borders meet stay, and so does the outer border of the whole. For that to be the frame of
    the map alone, the regions of nodata are given along as polygons, and ``keep`` tells which polygons come back;
    borders along nodata are then simplified as all others.

    No polygon is lost: one that is too small for the tolerance ends as a triangle. What GEOS makes of a coverage
    depends on the order of its polygons and on the first vertices of their rings; here it gets them in a canonical
    form, so that the result does not.

    Args:
        geometry: (n,) polygons or multipolygons on the pixel grid: a valid coverage, coordinates before any transform.
        tolerance_px: In pixels: the square root of the area of the smallest triangle that stays.
        keep: (n,) which polygons to return; all by default.

    Returns:
        Polygons whose vertices are some of the given ones, unchanged; shells counter-clockwise in (column, row).

    Raises:
        ParameterError: If the tolerance is not a number above 0.

    Example:
        >>> left = shapely.Polygon([(0, 0), (2, 0), (3, 1), (2, 2), (0, 2)])
        >>> right = shapely.Polygon([(4, 0), (4, 2), (2, 2), (3, 1), (2, 0)])
        >>> [g.area for g in simplify_coverage(np.array([left, right]), 1.5)]
        [4.0, 4.0]
    """
    if not (math.isfinite(tolerance_px) and tolerance_px > 0):
        raise ParameterError(f"a tolerance of {tolerance_px} px is none: give a number above 0")
    if len(geometry) == 0:
        return geometry
    canonical = shapely.normalize(geometry)
    shell = shapely.get_exterior_ring(shapely.get_geometry(canonical, 0))
    # All shells run the same way, so the first edge of a shell is in no other: it tells polygons apart.
    edge = np.hstack([shapely.get_coordinates(shapely.get_point(shell, i)) for i in (0, 1)])
    order = np.lexsort(edge.T)
    out = np.empty_like(geometry)
    out[order] = shapely.coverage_simplify(canonical[order], tolerance_px, simplify_boundary=False)
    return np.asarray(shapely.orient_polygons(out if keep is None else out[keep]))


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaChange:
    """How smoothing or simplification changed the area that polygons have on the pixel grid."""

    total: float
    """Change of the area of all polygons, as a share of it."""
    largest: float
    """Change of the class that changed most, as a share of its own area."""
    largest_class: int
    """Its value."""

    def __str__(self) -> str:
        """One line to print.

        Example:
            >>> print(AreaChange(total=0.0, largest=-0.0123, largest_class=7))
            area change: +0.0000 % in total, at most -1.23 % (class 7); areas in the tables stay those of the pixels
        """
        # adding zero turns -0.0 into 0.0
        return (
            f"area change: {round(100 * self.total, 4) + 0.0:+.4f} % in total, "
            f"at most {round(100 * self.largest, 2) + 0.0:+.2f} % (class {self.largest_class}); "
            "areas in the tables stay those of the pixels"
        )


def area_change(
    class_id: NDArray[np.integer], before_px: NDArray[np.number], after_px: NDArray[np.float64]
) -> AreaChange | None:
    """What generalisation did to the areas of classes and of all of them.

    Args:
        class_id: (n,) class of each polygon.
        before_px: (n,) its area in pixels before.
        after_px: (n,) and after, as `shapely.area` gives it on the pixel grid.

    Returns:
        None where there are no polygons.

    Example:
        >>> area_change(np.array([1, 2, 2]), np.array([10, 4, 4]), np.array([10.5, 3.5, 4.0]))
        AreaChange(total=0.0, largest=-0.0625, largest_class=2)
    """
    if len(class_id) == 0:
        return None
    values, index = np.unique(class_id, return_inverse=True)
    before = np.bincount(index, weights=before_px)
    change = np.bincount(index, weights=after_px - before_px)
    share = change / before
    most = int(np.argmax(np.abs(share)))
    return AreaChange(
        total=float(change.sum() / before.sum()), largest=float(share[most]), largest_class=int(values[most])
    )
