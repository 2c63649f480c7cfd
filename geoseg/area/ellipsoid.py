"""The WGS84 ellipsoid: areas, by planes that keep area exactly, and places in space."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["SEMI_MAJOR_M", "authalic_difference", "geocentric", "polar_plane", "zone_areas_m2"]

SEMI_MAJOR_M = 6378137.0
_FLATTENING = 1 / 298.257223563
_E2 = _FLATTENING * (2 - _FLATTENING)
_E = np.sqrt(_E2)


def authalic_difference(south: NDArray[np.float64], north: NDArray[np.float64]) -> NDArray[np.float64]:
    """q(north) - q(south) for latitudes in radians, q being twice the area south to north per radian and a².

    The function q of Snyder (1987, eq. 3-12), with every difference of nearly equal terms taken in closed form, so that
    it is as precise for a strip of a centimetre, and beside a pole, as for a hemisphere.
    """
    sin_s, sin_n = np.sin(south), np.sin(north)
    sine = 2 * np.cos((north + south) / 2) * np.sin((north - south) / 2)
    first = sine * (1 + _E2 * sin_s * sin_n) / ((1 - _E2 * sin_s**2) * (1 - _E2 * sin_n**2))
    return np.asarray((1 - _E2) * (first + np.arctanh(_E * sine / (1 - _E2 * sin_s * sin_n)) / _E))


def zone_areas_m2(lat_edges: NDArray[np.float64], dlon: float) -> NDArray[np.float64]:
    """Areas between consecutive parallels and two meridians.

    Args:
        lat_edges: (n + 1,) latitudes in radians, rising or falling; beyond a pole there is nothing.
        dlon: Radians between the meridians.

    Returns:
        (n,) areas in m², exact.
    """
    lat = np.clip(lat_edges, -np.pi / 2, np.pi / 2)
    return np.abs(authalic_difference(lat[:-1], lat[1:]) * dlon) * (SEMI_MAJOR_M**2 / 2)


def polar_plane(
    lon: NDArray[np.float64], lat: NDArray[np.float64], *, north: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates in metres on the equal-area plane around the pole of a hemisphere (Lambert's azimuthal projection).

    Area is kept exactly, as in the plane of longitude and q, but neither the antimeridian nor the pole is special; only
    the opposite pole is. Holes and fractions of a pixel are the same in both.

    Args:
        lon: Radians.
        lat: Radians, within the poles.
        north: Whether to look at the north pole, else at the south pole.
    """
    colatitude_side = np.where(north, lat, -lat)
    rho = SEMI_MAJOR_M * np.sqrt(authalic_difference(colatitude_side, np.full_like(lat, np.pi / 2)))
    return rho * np.sin(lon), rho * np.cos(lon)


def geocentric(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3) coordinates in metres, from the centre of the Earth, of points on the ellipsoid.

    Neither the antimeridian nor a pole is special. A latitude beyond a pole is a point on the other side of it.

    Args:
        lon: Radians.
        lat: Radians.
    """
    normal = SEMI_MAJOR_M / np.sqrt(1 - _E2 * np.sin(lat) ** 2)
    x, y = normal * np.cos(lat) * np.cos(lon), normal * np.cos(lat) * np.sin(lon)
    return np.stack([x, y, normal * (1 - _E2) * np.sin(lat)], axis=-1)
