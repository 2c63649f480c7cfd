"""True pixel areas on the WGS84 ellipsoid, for any CRS, as integers that add up exactly.

Pixel outlines are mapped to longitude and latitude and on to a plane that keeps area exactly. That is done at the nodes
of a coarse lattice over the scene; between nodes the area is interpolated (cubic), and nodes are added until a check
between them shows the error to be small. A north-up geographic grid needs no interpolation: its areas are exact by row.
`pyproj.Proj.get_factors` is not used: for projections with spherical formulas, Web Mercator among them, its areal scale
is that of a sphere, off by up to 0.7 %.

Areas are whole units, a power of two of a square metre, small enough not to matter and large enough for the whole
scene to fit an int64; what is rounded is the area of all pixels of a row up to each column. Sums of integers do not
depend on their order, so neither the cut into blocks nor the grouping by class or by polygon changes a total by one
bit.
"""

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.area.ellipsoid import zone_areas_m2
from geoseg.area.interpolate import TAPS, Lattice, fill_units, filled, lattice_of, place_units, stencil
from geoseg.area.operation import lattice, steady
from geoseg.area.outlines import Outlines, areas_m2
from geoseg.errors import GeosegWarning, ParameterError

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import CRS

__all__ = ["PixelAreas"]

MAX_ERROR = 1e-6
"""Stated relative error of a pixel's area; beyond it a warning is given."""

_AIM = 1e-7  # nodes are added until the check is below this
_COARSEST_PX = 512
_MOST_NODES = 1 << 21  # 16 MB


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelAreas:
    """True areas of the pixels of a scene; built once per scene, a few hundred kB at most as a rule, picklable."""

    shape: tuple[int, int]
    """Rows and columns of the scene."""
    unit_m2: float
    """Square metres per unit: a power of two, such that the whole scene is below 2**62 units."""
    nodes: NDArray[np.float64]
    """Units per pixel at the nodes, which span the scene evenly from its first pixels to its last; at least 4 x 4."""
    n_nodes: tuple[int, int]
    """Nodes along rows and columns that count; ``nodes`` is padded with zeros where there are fewer than four."""
    error: float
    """Largest relative error found between nodes."""

    @classmethod
    def of(cls, geobox: "GeoBox") -> "PixelAreas":
        """The pixel areas of a scene.

        In a geographic CRS pixels beyond a pole have no area. Elsewhere pixels that the projection does not reach (the
        corners of a world map) get the area of the nearest node in their row that is on the map.

        Raises:
            ParameterError: If the grid has no CRS or one without a way to longitude and latitude, or no pixel on Earth.
        """
        from pyproj.exceptions import ProjError

        if geobox.crs is None:
            raise ParameterError("the pixel grid has no CRS, so its areas are not known: assign the CRS of the scene")
        crs: CRS = geobox.crs.proj
        transform = geobox.transform
        shape = int(geobox.shape[0]), int(geobox.shape[1])
        if _is_exact_by_row(crs, transform):
            unit = (
                math.radians(1) if crs.axis_info[0].unit_name == "degree" else crs.axis_info[0].unit_conversion_factor
            )
            edges = np.asarray((transform.f + transform.e * np.arange(shape[0] + 1)) * unit, dtype=np.float64)
            return cls._quantised(zone_areas_m2(edges, transform.a * unit)[:, None], shape=shape, error=0.0)
        try:
            to_lonlat = steady(crs, 4326, *lattice(geobox))
        except ProjError as cause:
            raise ParameterError(
                f"the CRS {crs.name!r} has no way to longitude and latitude: "
                "assign the geographic or projected CRS of the scene"
            ) from cause
        outlines = Outlines.of(transform, crs, to_lonlat)
        nodes, error = _refined_nodes(outlines, shape)
        return cls._quantised(nodes, shape=shape, error=error)

    @classmethod
    def _quantised(cls, nodes_m2: NDArray[np.float64], *, shape: tuple[int, int], error: float) -> "PixelAreas":
        """From areas in m² at the nodes."""
        # one percent of room for what cubics overshoot between nodes
        most = 1.01 * float(nodes_m2.max()) * shape[0] * shape[1]
        if most <= 0:
            raise ParameterError("no pixel of the grid is on Earth: check its CRS and transform")
        unit_m2 = math.ldexp(1.0, math.frexp(most)[1] - 62)
        n_nodes = nodes_m2.shape[0], nodes_m2.shape[1]
        nodes = np.zeros((max(TAPS, n_nodes[0]), max(TAPS, n_nodes[1])))
        nodes[: n_nodes[0], : n_nodes[1]] = nodes_m2 / unit_m2
        return cls(shape=shape, unit_m2=unit_m2, nodes=nodes, n_nodes=n_nodes, error=error)

    def lattice(self, row_off: int, col_off: int, height: int, width: int) -> Lattice:
        """How the pixels of a block are interpolated; the same for a pixel in every block.

        Raises:
            ParameterError: If the block is not within the scene.
        """
        if min(row_off, col_off) < 0 or row_off + height > self.shape[0] or col_off + width > self.shape[1]:
            raise ParameterError(
                f"a block of {height} x {width} px at row {row_off}, column {col_off} is not within the scene of "
                f"{self.shape[0]} x {self.shape[1]} px: cut it at the scene's edge"
            )
        rows = np.arange(row_off, row_off + height)
        return lattice_of(self.nodes, self.n_nodes, self.shape, rows, slice(col_off, col_off + width))

    def units(self, row_off: int, col_off: int, height: int, width: int) -> NDArray[np.int64]:
        """(height, width) areas of the pixels of a block, in units of ``unit_m2``.

        Raises:
            ParameterError: If the block is not within the scene.
        """
        out = np.empty((height, width), dtype=np.int64)
        fill_units(self.lattice(row_off, col_off, height, width), out)
        return out

    def units_at(self, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) areas of the pixels at these rows and columns of the scene, in units of ``unit_m2``."""
        return place_units(self.nodes, self.n_nodes, self.shape, rows, cols)


def _is_exact_by_row(crs: "CRS", transform: Affine) -> bool:
    """Whether rows follow parallels of WGS84, or of GRS80, whose areas are the same to 1e-10."""
    if not crs.is_geographic or crs.ellipsoid is None or transform.b != 0 or transform.d != 0:
        return False
    ellipsoid = crs.ellipsoid
    return abs(ellipsoid.semi_major_metre - 6378137) < 1e-3 and abs(ellipsoid.inverse_flattening - 298.257223) < 1e-5


def _refined_nodes(outlines: Outlines, shape: tuple[int, int]) -> tuple[NDArray[np.float64], float]:
    """Areas at as few nodes as the aim allows, and the largest relative error found between them."""
    spacing = _COARSEST_PX
    while True:
        n_rows, n_cols = (min(n, max(TAPS, math.ceil((n - 1) / spacing) + 1)) for n in shape)
        at_rows, at_cols = np.linspace(0, shape[0] - 1, n_rows), np.linspace(0, shape[1] - 1, n_cols)
        nodes = areas_m2(outlines, at_rows, at_cols)
        if not np.isfinite(nodes).any():
            raise ParameterError("no pixel of the grid is on Earth: check its CRS and transform")
        nodes = filled(nodes)
        error = _error_between(outlines, shape, nodes)
        if error <= _AIM or (n_rows, n_cols) == shape:
            return nodes, error
        if 4 * nodes.size > _MOST_NODES:  # the next halving would be beyond it
            if error > MAX_ERROR:
                warnings.warn(
                    f"pixel areas of this grid are good to {error:.1e} only: the projection changes abruptly in it; "
                    "cut the scene into parts, or use a projection made for its region",
                    GeosegWarning,
                    stacklevel=3,
                )
            return nodes, error
        spacing //= 2


def _error_between(outlines: Outlines, shape: tuple[int, int], nodes: NDArray[np.float64]) -> float:
    """Largest relative error of interpolation at up to 40 x 40 pixels half way between nodes.

    Relative to the pixel's own area, or to a thousandth of the largest where that is more: close to the poles of a
    cylindrical map areas go down to zero. Pixels off the map are left out.
    """
    at = [
        np.unique((np.arange(n - 1)[:: max(1, n // 40)] + 0.5) * (length - 1) // max(n - 1, 1)).astype(np.int64)
        for length, n in zip(shape, nodes.shape, strict=True)
    ]
    if not all(len(a) for a in at):
        at = [a if len(a) else np.zeros(1, dtype=np.int64) for a in at]
    true = areas_m2(outlines, at[0].astype(float), at[1].astype(float))
    rows, cols = (stencil(length, n, a) for length, n, a in zip(shape, nodes.shape, at, strict=True))
    found = np.zeros_like(true)
    usable = np.isfinite(true)
    for i in range(min(TAPS, nodes.shape[0])):
        for j in range(min(TAPS, nodes.shape[1])):
            picked = np.ix_(rows.first + i, cols.first + j)
            found += rows.weights[i, :, None] * cols.weights[j] * nodes[picked]
    if not usable.any():
        return 0.0
    floor = 1e-3 * float(true[usable].max())
    return float(np.max(np.abs(found - true)[usable] / np.maximum(true[usable], max(floor, 1e-300))))
