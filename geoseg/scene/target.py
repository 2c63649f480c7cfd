"""One grid for scenes in many CRSs: as coarse as the finest of them, in the CRS that is asked for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from geoseg.errors import InputError, ParameterError, printable

__all__ = ["Target", "target_grid"]

_PROBE = 65
_EDGE = 1025
"""Points along an edge: on one of 100 km, the curve of a zone's edge leaves the chord between them by millimetres."""
_TORN = 20.0
"""Times its own area that the outline of a scene may take on the map; more is a scene that the map tears apart."""
_SPARSE = 200.0
"""Times the area of all scenes that the map of all may take."""
_SMALL = 1 << 26  # pixels of a map that may be as empty as it likes
_MARGIN = 1e-3
"""Pixels that a scene may lie beyond a line of the grid without a row or column of its own for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The grid that is asked for."""

    crs: str
    """An authority's code such as ``EPSG:3035``, or WKT."""
    resolution: float | None = None
    """Units of the CRS per pixel; None takes what GDAL would, for the scene of the smallest pixels."""

    def __post_init__(self) -> None:
        try:
            known = CRS.from_user_input(self.crs)
        except CRSError as error:
            raise ParameterError(
                f"the CRS {printable(self.crs)!r} is not known; write a code such as EPSG:3035"
            ) from error
        if not (known.is_projected or known.is_geographic) or len(known.axis_info) != 2:
            raise ParameterError(
                f"{printable(known.name)} is no CRS of a map: choose a projected or a geographic one, such as EPSG:3035"
            )
        if self.resolution is not None and not (math.isfinite(self.resolution) and self.resolution > 0):
            raise ParameterError(f"resolution {self.resolution}: choose units of the CRS per pixel, above 0")

    @property
    def name(self) -> str:
        """What outputs are named after: ``EPSG_3035``, or ``own_crs`` for one that no authority knows."""
        authority = CRS.from_user_input(self.crs).to_authority(min_confidence=100)
        return "_".join(authority) if authority else "own_crs"


def target_grid(grids: Sequence[GeoBox], target: Target, *, names: Sequence[str]) -> GeoBox:
    """The smallest grid that holds all scenes.

    North is up, and lines lie on multiples of the resolution, so that maps of several runs fit each other; where a
    scene has this CRS and resolution, they are those of the first such scene.

    Args:
        grids: Of the scenes, at least one.
        target: What is asked for.
        names: What the scenes are called in messages.

    Raises:
        InputError: If a scene lies where the CRS has no place, or is torn apart by it, as by longitude and latitude at
            the antimeridian; or if next to nothing of the map would be covered.
    """
    crs = CRS.from_user_input(target.crs)
    extents, areas, finest = [], [], math.inf
    for grid, name in zip(grids, names, strict=True):
        points = _placed(grid, crs, name)
        extent = np.array([points.min(axis=0), points.max(axis=0)])
        own = _pixel_area(grid, crs) * int(grid.shape[0]) * int(grid.shape[1])
        if not np.isfinite(own) or np.prod(extent[1] - extent[0]) > _TORN * own:
            raise InputError(
                f"{printable(name)} lies on both ends of the map of {_shown(crs)}, which tears it apart; choose a CRS "
                "whose map holds it in one piece, such as its UTM zone, EPSG:3832 (at the antimeridian), EPSG:3413 "
                "(Arctic) or EPSG:3031 (Antarctic)"
            )
        extents.append(extent)
        areas.append(own)
        finest = min(finest, target.resolution or _suggested(grid, crs))
    (left, bottom), (right, top) = (
        np.min([e[0] for e in extents], axis=0), np.max([e[1] for e in extents], axis=0)
    )  # fmt: skip
    if (right - left) * (top - bottom) > max(_SPARSE * sum(areas), _SMALL * finest**2):
        raise InputError(
            f"the {len(grids)} scenes cover {100 * sum(areas) / ((right - left) * (top - bottom)):.2g} % of one map in "
            f"{_shown(crs)}: they lie far apart, or on both sides of its antimeridian; choose another CRS, or run them "
            "apart"
        )
    x0, y0 = _origin(grids, crs, finest)
    first_col, first_row = (
        math.floor((left - x0) / finest + _MARGIN), math.floor((y0 - top) / finest + _MARGIN)
    )  # fmt: skip
    end_col, end_row = math.ceil((right - x0) / finest - _MARGIN), math.ceil((y0 - bottom) / finest - _MARGIN)
    transform = Affine(finest, 0, x0 + first_col * finest, 0, -finest, y0 - first_row * finest)
    return GeoBox((max(end_row - first_row, 1), max(end_col - first_col, 1)), transform, crs.to_wkt())


def _shown(crs: CRS) -> str:
    authority = crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else printable(crs.name)


def _placed(grid: GeoBox, crs: CRS, name: str) -> NDArray[np.float64]:
    """Points of a scene, many on its edges and some within, on the map, (point, x and y)."""
    height, width = (int(n) for n in grid.shape)
    edge, within = np.linspace(0, 1, _EDGE), np.linspace(0, 1, _PROBE)
    ones = np.ones(_EDGE)
    down, across = (g.ravel() for g in np.meshgrid(within, within, indexing="ij"))
    rows = np.concatenate([0 * ones, ones, edge, edge, down]) * height
    cols = np.concatenate([edge, edge, 0 * ones, ones, across]) * width
    points = np.column_stack(_to_map(grid, crs, rows, cols))
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise InputError(f"{printable(name)} has no place on the map of {_shown(crs)}: choose another CRS")
    return points


def _to_map(
    grid: GeoBox, crs: CRS, rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    assert grid.crs is not None  # open_scene refuses what has none
    a = grid.affine
    transformer = Transformer.from_crs(grid.crs.proj, crs, always_xy=True)
    x, y = transformer.transform(a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f)
    return np.asarray(x), np.asarray(y)


def _pixel_area(grid: GeoBox, crs: CRS) -> float:
    """Square units of the map that a pixel takes, the median over the scene; no edge of the map tears most of it."""
    lines = [np.linspace(0, max(int(n) - 1, 0), 9) for n in grid.shape]
    rows, cols = (g.ravel() for g in np.meshgrid(*lines, indexing="ij"))
    at = [np.stack(_to_map(grid, crs, rows + dr, cols + dc)) for dr, dc in ((0, 0), (0, 1), (1, 0))]
    right, down = at[1] - at[0], at[2] - at[0]
    with np.errstate(invalid="ignore"):
        area = np.abs(right[0] * down[1] - right[1] * down[0])
    area = area[np.isfinite(area)]
    return float(np.median(area)) if len(area) else math.nan


def _suggested(grid: GeoBox, crs: CRS) -> float:
    """Units per pixel that GDAL's warper takes where none is asked for: the shorter diagonal keeps its pixels."""
    if _is_in(grid, crs) and grid.affine.a == -grid.affine.e:
        return float(grid.affine.a)
    height, width = (float(n) for n in grid.shape)
    x, y = _to_map(grid, crs, np.array([0, height, 0, height]), np.array([0, width, width, 0]))
    return float(min(math.hypot(x[i + 1] - x[i], y[i + 1] - y[i]) for i in (0, 2)) / math.hypot(height, width))


def _is_in(grid: GeoBox, crs: CRS) -> bool:
    """Whether a scene lies in the CRS with north up."""
    assert grid.crs is not None
    same = bool(grid.crs.proj.equals(crs, ignore_axis_order=True))
    return same and (grid.affine.b, grid.affine.d) == (0, 0) and grid.affine.a > 0 > grid.affine.e


def _origin(grids: Sequence[GeoBox], crs: CRS, resolution: float) -> tuple[float, float]:
    """A corner of the pixels of the grid."""
    for grid in grids:
        a = grid.affine
        if _is_in(grid, crs) and a.a == resolution == -a.e:
            return a.c, a.f
    return 0.0, 0.0
