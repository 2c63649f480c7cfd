"""How long a step on the pixel grid is on the WGS84 ellipsoid, for any CRS: the metric tensor of the map.

A short step of ``dc`` columns and ``dr`` rows is ``sqrt(E dc² + 2 F dc dr + G dr²)`` metres long. E, F and G are scalar
products of the steps of one column and one row in space. They are computed at the nodes of a coarse lattice over the
scene and interpolated between them (cubic); nodes are added until a check between them shows the error to be small.
Points in space know neither the antimeridian nor a pole.
"""

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geoseg.area.ellipsoid import geocentric
from geoseg.area.interpolate import TAPS, filled, lagrange
from geoseg.area.operation import lattice, steady
from geoseg.area.outlines import Outlines, lonlat, pixel_side_m
from geoseg.errors import GeosegWarning, ParameterError
from geoseg.kernels import njit

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import CRS

__all__ = ["MAX_ERROR", "Metric", "along_first", "tensor_at", "tensors_at"]

MAX_ERROR = 1e-6
"""Stated relative error of a length; beyond it a warning is given."""

_AIM = 5e-8  # nodes are added until the check is below this
_COARSEST_PX = 512
_MOST_NODES = 1 << 19  # 12 MB
_CHECKS = 40  # places per axis where the error is looked at
# Half of the way over which a tensor is measured: coordinates are good to 2e-9 m, and the Earth is curved.
_STEP_M = 100.0
_PIECE_M = 32_000.0
_LINEAR = 1e-8  # relative error of a length in a cell, a fifth of what nodes may add


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """The metric tensor over a scene; built once per scene, a few hundred kB at most as a rule, picklable."""

    shape: tuple[int, int]
    """Rows and columns of the scene."""
    nodes: NDArray[np.float64]
    """(rows, cols, 3) E, F and G in square metres, at 4 x 4 nodes or more, which span the scene from edge to edge."""
    piece_px: float
    """Edges are measured in pieces of at most this length: 32 km, or the way between two nodes."""
    cell_px: int
    """In squares of this side the metric is linear to 1e-8 of a length; 0 where even single pixels are too large."""
    unit_m: float
    """Metres per unit of length: a power of two, such that the sides of all pixels together are below 2**62 units."""
    error: float
    """Largest relative error of a length found between nodes."""

    @classmethod
    def of(cls, geobox: "GeoBox") -> "Metric":
        """The metric of a scene.

        Places that the projection does not reach (the corners of a world map) have the metric of the nearest node in
        their row that is on the map. Within 2 degrees of a pole of a geographic grid, where a step along the parallel
        is short, its error is relative to such a step 2 degrees away.

        Raises:
            ParameterError: If the grid has no CRS or one without a way to longitude and latitude, or no pixel on Earth.
        """
        from pyproj.exceptions import ProjError

        if geobox.crs is None:
            raise ParameterError("the pixel grid has no CRS, so its lengths are not known: assign the CRS of the scene")
        crs: CRS = geobox.crs.proj
        try:
            to_lonlat = steady(crs, 4326, *lattice(geobox))
        except ProjError as cause:
            raise ParameterError(
                f"the CRS {crs.name!r} has no way to longitude and latitude: "
                "assign the geographic or projected CRS of the scene"
            ) from cause
        shape = int(geobox.shape[0]), int(geobox.shape[1])
        outlines = Outlines.of(geobox.transform, crs, to_lonlat)
        nodes, error = _refined_nodes(outlines, _STEP_M / pixel_side_m(geobox.transform, crs), shape)
        # no step is longer than this, whatever F is
        longest_m = math.sqrt(2 * float(nodes[..., ::2].max()))
        # where an axis has the fewest nodes there can be, they may be closer than they need to be
        between = [n / (k - 1) for n, k in zip(shape, nodes.shape[:2], strict=True) if k > TAPS]
        piece_px = min(_PIECE_M / longest_m, *between) if between else _PIECE_M / longest_m
        unit_m = math.ldexp(1.0, math.frexp(2 * (shape[0] + 1) * (shape[1] + 1) * longest_m)[1] - 62)
        cell_px = min(_linear_px(nodes, shape), int(piece_px))
        return cls(shape=shape, nodes=nodes, piece_px=piece_px, cell_px=cell_px, unit_m=unit_m, error=error)


def _linear_px(nodes: NDArray[np.float64], shape: tuple[int, int]) -> int:
    """Side of a square about whose middle the metric, and the steps along columns and rows, are linear.

    As far as the second differences of the nodes tell.
    """
    side = np.array([n / (k - 1) for n, k in zip(shape, nodes.shape[:2], strict=True)])
    # as in _error_at: at a pole of a geographic grid a step along the parallel has no length
    e, g = (np.maximum(nodes[..., k], 1e-3 * nodes[..., k].max()) for k in (0, 2))
    steps = np.sqrt(np.maximum(nodes[..., ::2], 0.0))
    curvature = max(
        # a length is the root of the metric: half of its error
        _curvature(nodes, np.stack([e, np.sqrt(e * g), g], axis=-1), side) / 2,
        _curvature(steps, np.sqrt(np.stack([e, g], axis=-1)), side),
    )
    # half of the side squared, and half of it again
    return int(min(math.sqrt(8 * _LINEAR / curvature), max(shape))) if curvature > 0 else max(shape)


def _curvature(values: NDArray[np.float64], scale: NDArray[np.float64], side: NDArray[np.float64]) -> float:
    """Greatest second derivatives, along both axes and mixed, of values (rows, cols, n) against a scale, added up."""
    down = np.abs(np.diff(values, n=2, axis=0)) / scale[1:-1] / side[0] ** 2
    across = np.abs(np.diff(values, n=2, axis=1)) / scale[:, 1:-1] / side[1] ** 2
    mixed = np.abs(np.diff(np.diff(values, axis=0), axis=1)) / scale[1:, 1:] / side.prod()
    return sum(float(part.max(axis=(0, 1)).sum()) for part in (down, across, 2 * mixed))


def _refined_nodes(outlines: Outlines, step_px: float, shape: tuple[int, int]) -> tuple[NDArray[np.float64], float]:
    """Tensors at as few nodes as the aim allows, and the largest relative error of a length found between them."""
    counts = [max(TAPS, math.ceil(n / _COARSEST_PX) + 1) for n in shape]
    while True:
        at = [np.linspace(0, n, count) for n, count in zip(shape, counts, strict=True)]
        nodes = _tensors(outlines, step_px, at[0], at[1])
        if not np.isfinite(nodes).any():
            raise ParameterError("no pixel of the grid is on Earth: check its CRS and transform")
        nodes = np.stack([filled(nodes[..., k]) for k in range(3)], axis=-1)
        halfway = [(a[:-1] + a[1:])[:: max(1, len(a) // _CHECKS)] / 2 for a in at]
        some = [a[:: max(1, len(a) // _CHECKS)] for a in at]
        # along rows and along columns on their own: a map of the world changes with latitude alone
        errors = [
            _error_at(outlines, step_px, shape, nodes, halfway[0], some[1]),
            _error_at(outlines, step_px, shape, nodes, some[0], halfway[1]),
        ]
        if sum(errors) <= _AIM:
            return nodes, sum(errors)
        finer = [2 * c - 1 if e > _AIM / 2 else c for c, e in zip(counts, errors, strict=True)]
        if finer[0] * finer[1] > _MOST_NODES:
            if sum(errors) > MAX_ERROR:
                warnings.warn(
                    f"lengths on this grid are good to {sum(errors):.1e} only where the projection changes abruptly, "
                    "as at the edge of a map of the world: "
                    "cut the scene into parts, or use a projection made for its region",
                    GeosegWarning,
                    stacklevel=3,
                )
            return nodes, sum(errors)
        counts = finer


def _tensors(
    outlines: Outlines, step_px: float, at_rows: NDArray[np.float64], at_cols: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(rows, cols, 3) E, F and G at places of the grid; NaN where the projection does not reach."""
    col = at_cols[None, :, None] + step_px * np.array([1, -1, 0, 0])
    row = at_rows[:, None, None] + step_px * np.array([0, 0, 1, -1])
    lon, lat, reached = lonlat(outlines, *np.broadcast_arrays(col, row))  # (rows, cols, 4)
    places = geocentric(lon, lat)
    along_cols = (places[..., 0, :] - places[..., 1, :]) / (2 * step_px)
    along_rows = (places[..., 2, :] - places[..., 3, :]) / (2 * step_px)
    products = [(along_cols, along_cols), (along_cols, along_rows), (along_rows, along_rows)]
    tensors = np.stack([(a * b).sum(axis=-1) for a, b in products], axis=-1)
    return np.where(reached.all(axis=-1, keepdims=True), tensors, np.nan)


def _error_at(
    outlines: Outlines,
    step_px: float,
    shape: tuple[int, int],
    nodes: NDArray[np.float64],
    at_rows: NDArray[np.float64],
    at_cols: NDArray[np.float64],
) -> float:
    """Largest relative error of a step's length at some places; those off the map are left out.

    Relative to the step there, or to a thirtieth of the longest where that is more: at a pole of a geographic grid a
    step along the parallel has no length.
    """
    true = _tensors(outlines, step_px, at_rows, at_cols)
    usable = np.isfinite(true[..., 0])
    if not usable.any():
        return 0.0
    found = tensors_at(nodes, at_rows / shape[0], at_cols / shape[1])
    off = np.abs(found - true)[usable]
    e, g = (np.maximum(true[usable][:, k], 1e-3 * true[usable][:, k].max()) for k in (0, 2))
    # half, because lengths are roots
    return float(np.max(off[:, 0] / e + off[:, 1] / np.sqrt(e * g) + off[:, 2] / g)) / 2


def tensors_at(
    nodes: NDArray[np.float64], down: NDArray[np.float64], across: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(len(down), len(across), 3) E, F and G at the product of two axes; see `tensor_at`."""
    by_row = along_first(nodes, down)
    return along_first(by_row.swapaxes(0, 1), across).swapaxes(0, 1)


def along_first(nodes: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tensors between nodes along the first axis, at shares of its length; see `tensor_at`."""
    n = len(nodes)
    x = at * (n - 1)
    first = np.clip(x.astype(np.int64) - 1, 0, n - TAPS)
    weights = lagrange(x - first)
    return np.asarray(sum(w.reshape(-1, 1, 1) * nodes[first + k] for k, w in enumerate(weights)))


@njit(nogil=True, cache=True)
def tensor_at(nodes: NDArray[np.float64], down: float, across: float) -> tuple[float, float, float]:
    """E, F and G at a place, from the 4 x 4 nodes around it or, at the edges, the last ones there are.

    Args:
        nodes: As in `Metric`.
        down: Rows from the upper edge, as a share of all.
        across: Columns from the left edge, as a share of all.
    """
    y, x = down * (nodes.shape[0] - 1), across * (nodes.shape[1] - 1)
    row = min(max(int(y) - 1, 0), nodes.shape[0] - 4)
    col = min(max(int(x) - 1, 0), nodes.shape[1] - 4)
    y, x = y - row, x - col
    # cubic Lagrange weights for nodes at 0, 1, 2 and 3
    v = (
        (y - 1) * (y - 2) * (3 - y) / 6,
        y * (y - 2) * (y - 3) / 2,
        y * (y - 1) * (3 - y) / 2,
        y * (y - 1) * (y - 2) / 6,
    )
    u = (
        (x - 1) * (x - 2) * (3 - x) / 6,
        x * (x - 2) * (x - 3) / 2,
        x * (x - 1) * (3 - x) / 2,
        x * (x - 1) * (x - 2) / 6,
    )
    e, f, g = 0.0, 0.0, 0.0
    for i in range(4):
        for j in range(4):
            w = v[i] * u[j]
            e += w * nodes[row + i, col + j, 0]
            f += w * nodes[row + i, col + j, 1]
            g += w * nodes[row + i, col + j, 2]
    return e, f, g
