"""What covers the land on each date: water, woods, fields, towns, and what changed between."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sample_data.classes import Material
from sample_data.noise import Cells, Floats, Masks, Parcels, cells, fractal, hash01, parcels, smoothstep
from sample_data.places import Places, make_places
from sample_data.terrain import Terrain, make_terrain

__all__ = ["Land", "make_land", "materials"]

_CROPS = np.array(
    [Material.WHEAT, Material.BARLEY, Material.MAIZE, Material.RAPESEED, Material.BEET, Material.FALLOW], dtype=np.uint8
)
_CROP_SHARE = np.array([0.34, 0.14, 0.24, 0.12, 0.1, 0.06])


@dataclass(frozen=True, slots=True, kw_only=True)
class Land:
    """A landscape without dates; arrays are (row, col)."""

    seed: int
    """What it was made from."""
    terrain: Terrain
    """Height and running water."""
    places: Places
    """Settlements and roads."""
    estates: Cells
    """Farm estates: parcels of one share their direction; tracks and hedges run between them."""
    fields: Parcels
    """Parcels of farmland."""
    blocks: Parcels
    """Blocks between streets, where there is a town."""
    woods: Floats
    """Positive where forest stands."""
    meadows: Masks
    """Parcels too steep, too high or too wet for the plough."""
    mottle: Floats
    """A fractal field for everything that varies smoothly."""
    grain: Floats
    """A rough one for ragged edges."""
    conifers: Masks
    """Where forest is of conifers."""
    cuts: NDArray[np.int8]
    """Felled before the first date (1), between the dates (2), or not (0)."""
    pits: Floats
    """Quarries: distance inwards from the final outline in pixels, negative outside."""


_BAR = 0.003
"""Curvature of the river from which its inner bank is a gravel bar."""


def _parcel_mean(value: Floats, parcel: NDArray[np.int64]) -> Floats:
    """Each pixel's parcel mean."""
    total = np.bincount(parcel.ravel(), weights=value.ravel())
    return (total / np.bincount(parcel.ravel()))[parcel].astype(np.float32)


def _pits(rng: np.random.Generator, free: Masks, slope: Floats, grain: Floats) -> Floats:
    """Quarries on slopes away from water and houses."""
    pits = np.full(free.shape, -99.0, dtype=np.float32)
    row, col = np.ogrid[0 : free.shape[0], 0 : free.shape[1]]
    room = ndimage.distance_transform_edt(free)
    score = ndimage.gaussian_filter(slope, 6) * 10 + 0.6 * fractal(
        rng, (free.shape[0], free.shape[1]), beta=1.5, longest_px=60
    )
    span = float(np.sqrt(free.size))
    for _ in range(max(2, round(free.size / 420_000))):
        radius = rng.uniform(11, 26)
        open_ground = np.where((room > 0.8 * radius) & (pits < -60), score, -np.inf)
        r, c = np.unravel_index(int(np.argmax(open_ground)), free.shape)
        score = score - 3.0 * np.exp(-np.hypot(row - r, col - c) / (0.15 * span))
        angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.7)
        along = (row - r) * np.sin(angle) + (col - c) * np.cos(angle)
        across = (row - r) * np.cos(angle) - (col - c) * np.sin(angle)
        pits = np.maximum(pits, radius - np.hypot(along / stretch, across * stretch) + 2.5 * grain)
    return pits


def _cuts(seed: int, rows: Floats, cols: Floats, forest: Masks) -> NDArray[np.int8]:
    """Felled stands: straight-edged pieces of forest."""
    stands = cells(rows, cols, cell_px=52.0, seed=seed + 31)
    pieces = parcels(rows, cols, stands, width_px=(16, 30), length_px=(20, 40), seed=seed + 32)
    wooded = _parcel_mean(forest.astype(np.float32), pieces.id) > 0.85
    draw = hash01(pieces.id, seed, 33)
    felled = np.where(draw < 0.04, 1, np.where(draw < 0.12, 2, 0))
    return np.where(wooded & forest, felled, 0).astype(np.int8)


def make_land(seed: int, shape: tuple[int, int]) -> Land:
    """The landscape of a seed, this many rows and columns."""
    rng = np.random.default_rng(seed)
    terrain = make_terrain(rng, shape)
    grain, mottle = fractal(rng, shape, beta=2.3, longest_px=40), fractal(rng, shape, beta=2.8, longest_px=250)
    wet = _water(terrain, grain, 0) | (terrain.river_px < terrain.river_half_px + 6)
    places = make_places(rng, terrain, wet)

    # Coordinates bent by noise, so that straight borders are only nearly straight.
    rows, cols = (axis.astype(np.float32) for axis in np.mgrid[0 : shape[0], 0 : shape[1]])
    bent_rows = rows + 5.0 * fractal(rng, shape, beta=4.4, longest_px=220)
    bent_cols = cols + 5.0 * fractal(rng, shape, beta=4.4, longest_px=220)
    estates = cells(bent_rows, bent_cols, cell_px=95.0, seed=seed + 1)
    fields = parcels(bent_rows, bent_cols, estates, width_px=(9, 34), length_px=(34, 85), seed=seed + 2)
    districts = cells(bent_rows, bent_cols, cell_px=64.0, seed=seed + 3)
    blocks = parcels(bent_rows, bent_cols, districts, width_px=(7, 12), length_px=(9, 19), seed=seed + 4)

    hills = terrain.slope / float(np.quantile(terrain.slope, 0.85))
    heights = (terrain.elevation - 320.0) / float(np.quantile(terrain.elevation - 320.0, 0.9))
    wish = 1.5 * np.minimum(hills, 2.0) + 0.7 * heights + 0.75 * fractal(rng, shape, beta=3.0, longest_px=200)
    wish = (wish - 1.6 * terrain.flats + 0.18 * grain).astype(np.float32)
    # In half of the estates woods end at parcel borders, in the others where they please.
    snapped = np.where(hash01(estates.id, seed, 5) < 0.55, _parcel_mean(wish, fields.id) + 0.05 * grain, wish)
    snapped = ndimage.gaussian_filter(snapped, 0.7)
    woods = (snapped - float(np.quantile(snapped, rng.uniform(0.62, 0.74)))).astype(np.float32)
    lea = (
        0.15
        + 0.75 * smoothstep(hills.astype(np.float32), 0.35, 1.3)
        + 0.35 * smoothstep(-terrain.river_px, -45.0, -12.0)
    )
    meadows = hash01(fields.id, seed, 6) < _parcel_mean(lea.astype(np.float32), fields.id)
    free = ~wet & (places.urban < -0.6) & (places.road_px > 4)
    return Land(
        seed=seed,
        terrain=terrain,
        places=places,
        estates=estates,
        fields=fields,
        blocks=blocks,
        woods=woods,
        meadows=meadows,
        mottle=mottle,
        grain=grain,
        conifers=fractal(rng, shape, beta=2.6, longest_px=120) + 0.6 * heights > 0.75,
        cuts=_cuts(seed, bent_rows, bent_cols, woods > 0),
        pits=_pits(rng, free, terrain.slope, grain),
    )


def _lake(terrain: Terrain, drop_m: float) -> Masks:
    """The reservoir, so many metres below full."""
    return (terrain.basin > 0.5) & (terrain.elevation < terrain.lake_level - drop_m)


def _water(terrain: Terrain, grain: Floats, date_index: int) -> Masks:
    """All water; the river and the lake are lower on the second date."""
    # Low water shows on the flat inner banks; the outer ones are steep.
    low = 0.8 if date_index else 1.0
    shore = terrain.river_half_px * np.where(terrain.river_bend > _BAR, low, 1.0)
    river = terrain.river_px < shore + 0.35 * grain
    # A brook narrower than a pixel is a mixed pixel, not water.
    stream = (terrain.stream_px < terrain.stream_half_px) & (terrain.stream_half_px > 0.6)
    oxbow = terrain.oxbow_px < 2.3 + 0.6 * grain
    return river | stream | oxbow | _lake(terrain, 3.5 if date_index else 0.0)


def _built(land: Land, date_index: int) -> tuple[Masks, Floats]:
    """Built-up blocks, and how far from a centre (1) or from the edge (0) each is."""
    urban = _parcel_mean(land.places.urban, land.blocks.id)
    draw = hash01(land.blocks.id, land.seed, 41)
    built = urban > 0
    if date_index:
        # New houses: whole blocks at the edge, more of them where one quarter was opened for building.
        quarter = land.mottle + 0.6 * (land.places.road_px < 14)
        built |= (urban > -0.35) & (quarter > 0.55) & (draw < 0.85)
    parks = built & (draw > 0.93) & (urban < 0.7)
    return built & ~parks, urban


def materials(land: Land, date_index: int) -> NDArray[np.uint8]:
    """Material of each pixel on one of the two dates.

    Strategy: lay the widest cover first and let what lies on top replace it, from fields to woods, cuts,
    settlements, quarries, roads, and water last.
    """
    terrain, places, grain = land.terrain, land.places, land.grain
    ladder = np.cumsum(_CROP_SHARE)
    draw = hash01(land.fields.id, land.seed, 51, date_index)
    out = _CROPS[np.minimum(np.searchsorted(ladder, draw), len(_CROPS) - 1)]
    lush = land.mottle + terrain.flats * 1.2 > 0.1
    grass = np.where(lush, Material.MEADOW, Material.PASTURE).astype(np.uint8)
    out = np.where(land.meadows, grass, out)

    trees = np.where(land.conifers, Material.CONIFER, Material.BROADLEAF).astype(np.uint8)
    wood = land.woods > 0
    # Trees along water, and broad hedges along some estate borders.
    bank = np.minimum(terrain.stream_px - terrain.stream_half_px, terrain.oxbow_px - 2.6)
    bank = np.minimum(bank, terrain.river_px - terrain.river_half_px - 1.0)
    riparian = (bank < 2.2 + 1.6 * grain) & (land.mottle + 0.5 * grain > -0.5)
    hedges = (land.estates.edge_px < 1.4 + 0.5 * grain) & (hash01(land.estates.edge_id, land.seed, 52) < 0.3)
    wood_or_row = wood | riparian | hedges
    out = np.where(wood_or_row, np.where(wood, trees, Material.BROADLEAF), out)
    recent = 2 if date_index else 1
    out = np.where(land.cuts == recent, Material.CLEARCUT, out)
    if date_index:
        # What was bare after felling four years before has grown over.
        out = np.where(land.cuts == 1, Material.PASTURE, out)

    built, urban = _built(land, date_index)
    house = np.where(urban > 0.45, Material.TOWN, Material.SUBURB)
    works = (hash01(land.blocks.id, land.seed, 53) < 0.16) & (urban < 0.5) & (places.road_px < 30)
    out = np.where(built, np.where(works, Material.INDUSTRY, house), out)
    park = (urban > 0) & ~built
    out = np.where(
        park, np.where(hash01(land.blocks.id, land.seed, 54) < 0.4, Material.BROADLEAF, Material.MEADOW), out
    )
    out = np.where(land.pits > (0.0 if date_index else 5.5), Material.QUARRY, out)

    reach = 330 * terrain.river_bend * (0.8 + 0.5 * land.mottle) + 1.6 * grain - 1.0
    bar = (terrain.river_bend > _BAR) & (terrain.river_px < terrain.river_half_px + reach)
    out = np.where(bar, Material.GRAVEL, out)
    out = np.where(_lake(terrain, 0.0), Material.MUD, out)
    water = _water(terrain, grain, date_index)
    out = np.where(water, np.where(_lake(terrain, 0.0) | (terrain.oxbow_px < 4), Material.LAKE, Material.RIVER), out)
    road = (places.highway_px < 0.9) | ((places.road_px < 0.55) & ~(water & (terrain.basin > 0.5)))
    return np.where(road, Material.ROAD, out).astype(np.uint8)
