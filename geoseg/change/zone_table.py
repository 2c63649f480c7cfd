"""What became what in zones: fractional coverage of pixels times their true areas, as for classes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.area.pixel_area import PixelAreas
from geoseg.area.zone_grid import place_zones
from geoseg.area.zone_sums import zone_sums
from geoseg.area.zones import Zones, listed
from geoseg.change.codes import ChangeCodes
from geoseg.inference.lattice import Block
from geoseg.kernels import njit

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["zone_change_table"]

_REST: Final = 255
_HA_M2: Final = 10_000


def zone_change_table(
    read: Callable[[Block], tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    zones: Zones,
    codes: ChangeCodes,
    pairs: NDArray[np.int64],
    geobox: GeoBox,
    areas: PixelAreas,
) -> tuple["pd.DataFrame", tuple[str, ...]]:
    """The area of each pair of classes in each zone, pixels on a zone's border counted by the part that is inside.

    The map is read once for each 255 pairs.

    Args:
        read: Gives the change codes of a block and the places of its first date in the legend.
        zones: In any CRS; they may overlap and reach beyond the map.
        codes: Of the change map.
        pairs: (n, 2) pairs of places that occur, unchanged ones too.
        geobox: Of the map.
        areas: Its pixel areas.

    Returns:
        One row per zone and pair that occurs in it: ``zone``, ``change_id`` (0 for unchanged), ``from_id``,
        ``from_name``, ``to_id``, ``to_name``, ``pixels``, ``area_m2``, ``area_ha`` and ``percent`` (of what the zone
        has observations of on both dates); and what a user would want to know.
    """
    import pandas as pd

    placed = place_zones(zones, geobox)
    sums = np.zeros((len(zones), len(pairs), 2))
    for first in range(0, len(pairs), _REST):
        some = pairs[first : first + _REST]
        numbers = np.full((256, 256), _REST, dtype=np.uint8)
        numbers[some[:, 0], some[:, 1]] = np.arange(len(some))

        def numbered(
            row_off: int, col_off: int, height: int, width: int, numbers: NDArray[np.uint8] = numbers
        ) -> NDArray[np.uint8]:
            found, was = read(Block(row_off=row_off, col_off=col_off, height=height, width=width))
            return np.asarray(_numbered(found, was, codes.pairs, codes.nodata, numbers))

        found = zone_sums(numbered, placed, areas, n_zones=len(zones), block=(2048, 2048))
        both = np.pad(found.whole + found.part, ((0, 0), (0, 1), (0, 0)))
        # a pair that no zone has is in the last column, of zeros
        sums[:, first : first + len(some)] = both[:, found.column[np.arange(len(some))]]
    pixels, area_m2 = sums[..., 0], sums[..., 1] * areas.unit_m2
    zone, pair = np.nonzero(pixels > 0)
    i, j = pairs[pair].T
    values, names = np.array(codes.legend.values, dtype=np.int64), np.array(codes.legend.names, dtype=object)
    observed = area_m2.sum(axis=1)
    table = pd.DataFrame(
        {
            "zone": zones.ids.iloc[zone].reset_index(drop=True),
            "change_id": codes.table[i, j].astype(np.int64),
            "from_id": values[i],
            "from_name": pd.Series(names[i], dtype="str"),
            "to_id": values[j],
            "to_name": pd.Series(names[j], dtype="str"),
            "pixels": pixels[zone, pair],
            "area_m2": area_m2[zone, pair],
            "area_ha": area_m2[zone, pair] / _HA_M2,
            "percent": 100 * area_m2[zone, pair] / observed[zone],
        }
    )
    notes = list(placed.notes)
    bare = observed == 0
    if bare.any():
        which = listed(zones.ids[bare])
        notes.append(f"{int(bare.sum())} of {len(zones)} zones have no pixel with a class on both dates: {which}")
    return table, tuple(notes)


@njit(nogil=True, cache=True)
def _numbered(
    codes: NDArray[np.uint8],
    was: NDArray[np.uint8],
    pairs: NDArray[np.int64],
    nodata: int,
    numbers: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Number of the pair of each pixel."""
    out = np.empty(codes.shape, dtype=np.uint8)
    for r in range(codes.shape[0]):
        for c in range(codes.shape[1]):
            code = codes[r, c]
            if code == nodata:
                out[r, c] = 255
            elif code == 0:
                out[r, c] = numbers[was[r, c], was[r, c]]
            else:
                out[r, c] = numbers[pairs[code - 1, 0], pairs[code - 1, 1]]
    return out
