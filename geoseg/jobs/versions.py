"""Versions of what computes: part of every record and of every report of a fault."""

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]

_PACKAGES = (
    "geoseg", "torch", "segmentation-models-pytorch", "rasterio", "pyproj", "shapely", "geopandas", "pyogrio",
    "numpy", "numba", "xarray", "odc-geo", "dask", "distributed",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Name to version: Python, GDAL, PROJ, GEOS and the packages geoseg computes with; nothing heavy is imported."""
    import pyproj
    import rasterio
    import shapely

    found = {
        "python": platform.python_version(),
        "gdal": rasterio.__gdal_version__,
        "proj": pyproj.proj_version_str,
        "geos": shapely.geos_version_string,
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
