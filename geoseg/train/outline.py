"""The outline of a grid in another CRS."""

from typing import Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from pyproj import Transformer

__all__ = ["outline"]

_PER_SIDE = 16


def outline(geobox: GeoBox, crs: Any) -> shapely.Polygon:
    """The outline of a grid, with points along its sides, because what is straight in one CRS is bent in another.

    In longitude and latitude an outline that crosses the antimeridian goes on beyond 180 degrees.

    Args:
        geobox: The grid.
        crs: What pyproj takes for a CRS.
    """
    rows, cols = geobox.shape
    t = np.linspace(0.0, 1.0, _PER_SIDE, endpoint=False)
    one, nothing = np.ones_like(t), np.zeros_like(t)
    col = np.concatenate([t, one, 1 - t, nothing]) * cols
    row = np.concatenate([nothing, t, one, 1 - t]) * rows
    a, b, c, d, e, f = geobox.transform[:6]
    assert geobox.crs is not None  # a scene has one
    there = Transformer.from_crs(geobox.crs.proj, crs, always_xy=True)
    x, y = (np.asarray(v) for v in there.transform(a * col + b * row + c, d * col + e * row + f))
    if there.target_crs is not None and there.target_crs.is_geographic and np.ptp(x) > 180:
        x = np.where(x < 0, x + 360, x)
    return shapely.Polygon(np.column_stack([x, y]))
