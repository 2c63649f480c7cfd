"""Ground sampling distance: metres of ground per pixel, in any CRS."""

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

__all__ = ["gsd_axes_m", "gsd_m"]


def gsd_m(geobox: GeoBox) -> float:
    """Metres of ground per pixel in the middle of the grid: geometric mean of the two directions.

    Returns:
        Metres; NaN where the middle of the grid is outside what its CRS can place on the earth.
    """
    return float(np.sqrt(np.prod(gsd_axes_m(geobox))))


def gsd_axes_m(geobox: GeoBox) -> tuple[float, float]:
    """Metres of ground from row to row and from column to column, in the middle of the grid.

    Measured along geodesics on the WGS84 ellipsoid, because the units of a CRS are not metres of ground: a Web Mercator
    metre at 60 degrees north is half a metre.

    Returns:
        Metres; NaN where the middle of the grid is outside what its CRS can place on the earth.
    """
    rows, cols = geobox.shape
    a, b, c, d, e, f = geobox.transform[:6]
    col, row = cols / 2 + np.array([0, 0, 1]), rows / 2 + np.array([0, 1, 0])
    x, y = a * col + b * row + c, d * col + e * row + f
    to_lonlat = Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)  # type: ignore[union-attr]
    lon, lat = to_lonlat.transform(x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return float("nan"), float("nan")
    _, _, metres = Geod(ellps="WGS84").inv(lon[[0, 0]], lat[[0, 0]], lon[[1, 2]], lat[[1, 2]])
    return float(metres[0]), float(metres[1])
