"""Ground sampling distance: metres of ground per pixel, in any CRS."""

from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

__all__ = ["gsd_m"]


def gsd_m(geobox: GeoBox) -> float:
    """Metres of ground per pixel in the middle of the grid: geometric mean of the two directions.

    Measured along geodesics on the WGS84 ellipsoid, because the units of a CRS are not metres of ground: a Web Mercator
    metre at 60 degrees north is half a metre.

    Returns:
        Metres; NaN where the middle of the grid is outside what its CRS can place on the earth.
    """
    rows, cols = geobox.shape
    transform: Any = geobox.transform
    centre = np.array([[cols / 2, rows / 2], [cols / 2 + 1, rows / 2], [cols / 2, rows / 2 + 1]])
    x, y = transform * (centre[:, 0], centre[:, 1])
    to_lonlat = Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)  # type: ignore[union-attr]
    lon, lat = to_lonlat.transform(np.asarray(x), np.asarray(y))
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return float("nan")
    _, _, metres = Geod(ellps="WGS84").inv(lon[[0, 0]], lat[[0, 0]], lon[[1, 2]], lat[[1, 2]])
    return float(np.sqrt(np.prod(metres)))
