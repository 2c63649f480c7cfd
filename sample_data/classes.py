"""What the land is made of: the legend, the materials behind it, and how each reflects light."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import Legend, LegendClass
from sample_data.noise import Floats

__all__ = ["BANDS", "DATES", "LEGEND", "ROOFS", "Material", "class_table", "spectra"]

BANDS: Final = ("blue", "green", "red", "nir", "swir16")
DATES: Final = ("20190617", "20230908")
"""Early summer of one year, late summer four years on."""

LEGEND: Final = Legend(
    classes=(
        LegendClass(value=1, name="water", color="#2f7fc1"),
        LegendClass(value=2, name="forest", color="#1c6b3c"),
        LegendClass(value=3, name="grassland", color="#a4cc5a"),
        LegendClass(value=4, name="cropland", color="#eccb62"),
        LegendClass(value=5, name="built-up", color="#c8413a"),
        LegendClass(value=6, name="bare", color="#a79a8e"),
    )
)


class Material(IntEnum):
    """What covers a pixel; several materials make one class."""

    RIVER = 0
    LAKE = 1
    BROADLEAF = 2
    CONIFER = 3
    MEADOW = 4
    PASTURE = 5
    WHEAT = 6
    BARLEY = 7
    MAIZE = 8
    RAPESEED = 9
    BEET = 10
    FALLOW = 11
    TOWN = 12
    SUBURB = 13
    INDUSTRY = 14
    ROAD = 15
    QUARRY = 16
    GRAVEL = 17
    MUD = 18
    CLEARCUT = 19


@dataclass(frozen=True, slots=True)
class _Look:
    value: int
    """Class in the legend."""
    early: tuple[float, ...]
    """Reflectance in June, per band."""
    late: tuple[float, ...]
    """Reflectance in September."""


# Typical surface reflectances of Sentinel-2 bands 2, 3, 4, 8 and 11 over temperate Europe, rounded.
_LOOKS: Final = {
    Material.RIVER: _Look(1, (0.058, 0.072, 0.056, 0.030, 0.014), (0.050, 0.064, 0.046, 0.024, 0.011)),
    Material.LAKE: _Look(1, (0.040, 0.046, 0.028, 0.016, 0.008), (0.044, 0.058, 0.034, 0.018, 0.008)),
    Material.BROADLEAF: _Look(2, (0.022, 0.044, 0.026, 0.390, 0.155), (0.025, 0.046, 0.034, 0.310, 0.145)),
    Material.CONIFER: _Look(2, (0.017, 0.030, 0.019, 0.225, 0.095), (0.018, 0.031, 0.021, 0.205, 0.092)),
    Material.MEADOW: _Look(3, (0.042, 0.082, 0.058, 0.350, 0.225), (0.050, 0.084, 0.074, 0.300, 0.245)),
    Material.PASTURE: _Look(3, (0.052, 0.090, 0.080, 0.300, 0.255), (0.064, 0.096, 0.102, 0.265, 0.285)),
    Material.WHEAT: _Look(4, (0.055, 0.092, 0.098, 0.295, 0.225), (0.092, 0.124, 0.156, 0.245, 0.335)),
    Material.BARLEY: _Look(4, (0.082, 0.122, 0.140, 0.310, 0.290), (0.078, 0.102, 0.130, 0.205, 0.295)),
    Material.MAIZE: _Look(4, (0.072, 0.094, 0.112, 0.235, 0.285), (0.030, 0.056, 0.038, 0.410, 0.190)),
    Material.RAPESEED: _Look(4, (0.040, 0.078, 0.052, 0.420, 0.205), (0.086, 0.110, 0.138, 0.200, 0.285)),
    Material.BEET: _Look(4, (0.052, 0.086, 0.068, 0.360, 0.230), (0.030, 0.068, 0.036, 0.480, 0.205)),
    Material.FALLOW: _Look(4, (0.076, 0.098, 0.124, 0.185, 0.270), (0.068, 0.088, 0.114, 0.170, 0.255)),
    Material.TOWN: _Look(5, (0.100, 0.108, 0.118, 0.165, 0.180), (0.104, 0.112, 0.122, 0.165, 0.182)),
    Material.SUBURB: _Look(5, (0.080, 0.094, 0.100, 0.210, 0.190), (0.084, 0.098, 0.108, 0.200, 0.195)),
    Material.INDUSTRY: _Look(5, (0.150, 0.158, 0.166, 0.205, 0.205), (0.154, 0.162, 0.170, 0.205, 0.207)),
    Material.ROAD: _Look(5, (0.098, 0.106, 0.114, 0.140, 0.152), (0.102, 0.110, 0.118, 0.142, 0.156)),
    Material.QUARRY: _Look(6, (0.180, 0.216, 0.250, 0.305, 0.350), (0.186, 0.222, 0.256, 0.310, 0.356)),
    Material.GRAVEL: _Look(6, (0.122, 0.144, 0.162, 0.200, 0.212), (0.128, 0.150, 0.168, 0.206, 0.220)),
    Material.MUD: _Look(6, (0.112, 0.134, 0.150, 0.180, 0.150), (0.116, 0.138, 0.154, 0.185, 0.155)),
    Material.CLEARCUT: _Look(6, (0.070, 0.090, 0.122, 0.185, 0.325), (0.074, 0.096, 0.130, 0.190, 0.340)),
}

ROOFS: Final = np.array(
    [
        (0.085, 0.100, 0.165, 0.215, 0.245),  # red tiles
        (0.095, 0.105, 0.140, 0.180, 0.205),  # weathered tiles
        (0.135, 0.142, 0.150, 0.180, 0.190),  # concrete
        (0.085, 0.090, 0.096, 0.115, 0.130),  # slate
        (0.300, 0.320, 0.335, 0.370, 0.330),  # white sheet metal
        (0.190, 0.200, 0.208, 0.235, 0.230),  # light gravel
    ],
    dtype=np.float32,
)
"""Reflectance of roofs, (kind, band)."""


def spectra(date_index: int) -> Floats:
    """Reflectance (material, band) on one of the two dates."""
    looks = [_LOOKS[m] for m in Material]
    return np.array([look.late if date_index else look.early for look in looks], dtype=np.float32)


def class_table() -> NDArray[np.uint8]:
    """Class value of each material."""
    return np.array([_LOOKS[m].value for m in Material], dtype=np.uint8)
