"""Districts and a reference sample of a place, as GeoDataFrames."""

from typing import Final

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from sample_data.classes import DATES, LEGEND
from sample_data.noise import fractal
from sample_data.place import CRS, GSD_M, NO_TRUTH, Place

__all__ = ["DRAWN", "PER_STRATUM", "reference_points", "zones"]

PER_STRATUM: Final = 60
_ZONES: Final = 7
_CHANGED: Final = "changed"
_HEADS: Final = ("Alder", "Brand", "Eich", "Frei", "Gras", "Hohen", "Kalt", "Linden", "Mark", "Ober", "Stein", "Wald")
_TAILS: Final = ("au", "bach", "berg", "dorf", "feld", "furt", "hausen", "kirchen", "rain", "stetten", "tal", "weiler")

DRAWN: Final = (
    "Stratified random sample of pixel centres, without replacement. Strata: the truth class of the first date where "
    "it did not change, and one stratum 'changed'; population: all pixels of the union of the scenes that are observed "
    f"on both dates. Up to {PER_STRATUM} points per stratum; stratum_px is the stratum's size in pixels, sample_px its "
    "sample size, so a point's weight is stratum_px / sample_px. Labels are the truth of the pixel on each date."
)


def _in_one_piece(owner: NDArray[np.int16]) -> NDArray[np.int16]:
    """Give each zone's exclaves to whoever is nearest, until there are none."""
    while True:
        main = np.zeros(owner.shape, dtype=bool)
        for zone in np.unique(owner).tolist():
            piece, n = ndimage.label(owner == zone)
            sizes = ndimage.sum_labels(owner == zone, piece, np.arange(1, n + 1))
            main |= piece == 1 + int(np.argmax(sizes))
        if main.all():
            return owner
        nearest = ndimage.distance_transform_edt(~main, return_distances=False, return_indices=True)
        owner = owner[tuple(nearest)]


def zones(place: Place) -> gpd.GeoDataFrame:
    """Districts around the largest settlements: a coverage of the canvas without gaps or overlaps."""
    height, width = place.views[0].truth.shape
    seed, step = place.land.seed, 8
    rng = np.random.default_rng([seed, 95])
    rows, cols = np.mgrid[0:height:step, 0:width:step].astype(np.float64)
    bent = [
        axis + 14.0 * fractal(rng, (rows.shape[0], rows.shape[1]), beta=3.2, longest_px=40) for axis in (rows, cols)
    ]
    centers = place.land.places.centers[:_ZONES]
    owner = np.argmin([np.hypot(bent[0] - r, bent[1] - c) for r, c in centers], axis=0).astype(np.int16)
    owner = _in_one_piece(owner)
    # Cell by cell, so that neighbours share every vertex: simplification needs a coverage with matching edges.
    x, y = place.transform @ (cols, rows)
    side = step * GSD_M
    tiles = shapely.box(x, y - side, x + side, y)
    left, top = place.transform @ (0, 0)
    right, bottom = place.transform @ (width, height)
    # The coarse grid's last cells reach past the canvas.
    canvas = shapely.box(left, bottom, right, top)
    held = np.unique(owner).tolist()
    smooth = shapely.coverage_simplify([shapely.coverage_union_all(tiles[owner == k]) for k in held], tolerance=120.0)
    names = [
        _HEADS[h] + _TAILS[t] for h, t in zip(rng.permutation(len(_HEADS)), rng.permutation(len(_TAILS)), strict=True)
    ]
    return gpd.GeoDataFrame(
        {"zone_id": range(1, len(held) + 1), "name": names[: len(held)]},
        geometry=[shapely.intersection(polygon, canvas) for polygon in smooth],
        crs=CRS,
    )


def reference_points(place: Place) -> gpd.GeoDataFrame:
    """The sample that :data:`DRAWN` describes."""
    before, after = (view.truth for view in place.views)
    seen = (before != NO_TRUTH) & (after != NO_TRUTH)
    rng = np.random.default_rng([place.land.seed, 98])
    names = {c.value: c.name for c in LEGEND}
    strata = {c.name: np.flatnonzero(seen & (before == c.value) & (after == c.value)) for c in LEGEND}
    strata[_CHANGED] = np.flatnonzero(seen & (before != after))
    columns: dict[str, list[object]] = {key: [] for key in ("stratum", "stratum_px", "sample_px")}
    drawn = []
    for name, members in strata.items():
        sample = np.sort(rng.choice(members, size=min(PER_STRATUM, members.size), replace=False))
        drawn.append(sample)
        columns["stratum"] += [name] * sample.size
        columns["stratum_px"] += [int(members.size)] * sample.size
        columns["sample_px"] += [int(sample.size)] * sample.size
    at = np.concatenate(drawn)
    row, col = at // before.shape[1], at % before.shape[1]
    x, y = place.transform @ (col + 0.5, row + 0.5)
    table: dict[str, object] = {"point_id": np.arange(1, at.size + 1), **columns}
    for date, truth in zip(DATES, (before, after), strict=True):
        table[f"class_{date}"] = truth.ravel()[at].astype(np.int32)
        table[f"name_{date}"] = [names[int(value)] for value in truth.ravel()[at]]
    return gpd.GeoDataFrame(table, geometry=shapely.points(x, y), crs=CRS)
