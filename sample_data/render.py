"""How a sensor sees the land: texture, light, blur, haze, gaps and noise."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sample_data.classes import BANDS, ROOFS, Material, spectra
from sample_data.cover import Land
from sample_data.noise import Floats, Masks, fractal, hash01, smoothstep

__all__ = ["STEP_DN", "gaps", "reflectance"]

STEP_DN: Final = (32, 32, 32, 64, 64)
"""Reflectance x 10000 is rounded to these multiples per band: below the noise of most scenes, and files stay small."""

_NOISE: Final = (0.0007, 0.0007, 0.0008, 0.0016, 0.0014)
_SUN: Final = ((0.47, 2.45, 1.00), (0.75, 2.75, 0.97))
"""Zenith angle and azimuth in radians, and brightness of the sky, on the two dates."""
_SHIFT_PX: Final = ((0.0, 0.0), (0.35, -0.45))
"""Misregistration of each date, (row, col)."""

# How strongly the fine texture and the broad one modulate each material.
_TEXTURE: Final = {
    Material.RIVER: (0.01, 0.05), Material.LAKE: (0.01, 0.04), Material.BROADLEAF: (0.065, 0.06),
    Material.CONIFER: (0.085, 0.06), Material.MEADOW: (0.02, 0.05), Material.PASTURE: (0.032, 0.08),
    Material.TOWN: (0.03, 0.03), Material.SUBURB: (0.03, 0.03), Material.INDUSTRY: (0.03, 0.02),
    Material.ROAD: (0.02, 0.02), Material.QUARRY: (0.07, 0.06), Material.GRAVEL: (0.06, 0.06),
    Material.MUD: (0.04, 0.08), Material.CLEARCUT: (0.11, 0.08),
}  # fmt: skip
_CROP_TEXTURE: Final = (0.01, 0.04)


def _fields(land: Land, image: Floats, material: NDArray[np.uint8], date_index: int, soil: Floats) -> None:
    """Vary each parcel's growth, and show soil, rows and tramlines where plants stand thin."""
    crop = (material >= Material.WHEAT) & (material <= Material.FALLOW)
    parcel = land.fields.id[crop]
    ground = np.array([0.074, 0.096, 0.122, 0.182, 0.272], dtype=np.float32)
    ground = ground[:, None] * (1.0 + 0.18 * soil[crop])
    thin = 0.32 * hash01(parcel, land.seed, 61, date_index) ** 2 + 0.07 * soil[crop]
    thin = np.clip(thin + 0.5 * (land.fields.edge_px[crop] < 0.5), 0.0, 0.8)
    rows = np.sin(land.fields.across_px[crop] * (1.6 + 0.9 * hash01(parcel, land.seed, 62)))
    shade = 0.86 + 0.28 * hash01(parcel, land.seed, 63, date_index) + 0.015 * rows
    image[:, crop] = (image[:, crop] * (1.0 - thin) + ground * thin) * shade

    grass = (material == Material.MEADOW) | (material == Material.PASTURE)
    parcel = land.fields.id[grass]
    # Mown meadows are brighter in red and darker in the near infrared than standing ones.
    mown = 0.3 * hash01(parcel, land.seed, 64, date_index)
    hay = np.array([0.070, 0.108, 0.112, 0.285, 0.285], dtype=np.float32)[:, None]
    image[:, grass] = image[:, grass] * (1.0 - mown) + hay * mown


def _town(land: Land, image: Floats, material: NDArray[np.uint8]) -> None:
    """Roofs, gardens and streets in the place of a mean town."""
    town = (material >= Material.TOWN) & (material <= Material.INDUSTRY)
    kind, block = material[town], land.blocks.id[town]
    row, col = np.nonzero(town)
    works = kind == Material.INDUSTRY
    # Lots of two pixels for houses; halls take whole blocks.
    lot = (hash01(row // 2, col // 2, block, land.seed, 71), hash01(block, land.seed, 72))
    draw = np.where(works, lot[1], lot[0])
    roof = ROOFS[
        np.where(
            works, np.array([2, 4, 5, 4])[(draw * 4).astype(int)], np.array([0, 0, 1, 1, 2, 3])[(draw * 6).astype(int)]
        )
    ].T
    share = np.where(works, 0.75, np.where(kind == Material.TOWN, 0.62, 0.34))
    share = np.clip(share + 0.5 * (hash01(row, col, land.seed, 73) - 0.5), 0.05, 0.95)
    garden = np.array([0.040, 0.070, 0.052, 0.300, 0.190], dtype=np.float32)[:, None]
    yard = np.where(works, np.array([0.11, 0.118, 0.125, 0.15, 0.165], dtype=np.float32)[:, None], garden)
    blend = roof * share + yard * (1.0 - share)
    street = np.clip(1.0 - land.blocks.edge_px[town] / 0.9, 0.0, 1.0) * 0.85
    asphalt = np.array([0.092, 0.098, 0.104, 0.125, 0.138], dtype=np.float32)[:, None]
    image[:, town] = blend * (1.0 - street) + asphalt * street


def _relief(land: Land, date_index: int) -> Floats:
    """Brightness of sloping ground relative to level ground."""
    zenith, azimuth, sky = _SUN[date_index]
    smooth = ndimage.gaussian_filter(land.terrain.elevation, 0.8)
    down, east = np.gradient(smooth, 10.0)
    toward = np.sin(zenith) * (-down * -np.cos(azimuth) - east * np.sin(azimuth)) + np.cos(zenith)
    lit = np.clip(toward / np.sqrt(1.0 + down**2 + east**2), 0.05, None) / np.cos(zenith)
    out: Floats = ((0.22 + 0.78 * lit) * sky).astype(np.float32)
    return out


def _scene_light(land: Land, material: NDArray[np.uint8], date_index: int) -> Floats:
    """Radiance before the sensor: (band, row, col) reflectance with texture and relief."""
    shape = (material.shape[0], material.shape[1])
    rng = np.random.default_rng([land.seed, 81, date_index])
    soil = fractal(rng, shape, beta=3.0, longest_px=90)
    fine = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 0.6) * np.float32(2.0)
    image = np.moveaxis(spectra(date_index)[material], -1, 0).copy()
    _fields(land, image, material, date_index, soil)
    _town(land, image, material)
    strength = np.array([_TEXTURE.get(m, _CROP_TEXTURE) for m in Material], dtype=np.float32)[material]
    stand = np.where(material <= Material.CONIFER, hash01(land.fields.id, land.seed, 82) - 0.5, 0.0) * (
        material >= Material.BROADLEAF
    )
    image *= 1.0 + strength[..., 0] * fine + strength[..., 1] * soil + 0.16 * stand
    # Benches of the quarry, steps of a few pixels.
    bench = np.where(material == Material.QUARRY, 0.09 * np.sign(np.sin(land.pits * 1.1)), 0.0)
    shallow = np.clip(land.terrain.river_px / (land.terrain.river_half_px + 1.0), 0.0, 1.0)
    image *= 1.0 + bench + 0.12 * np.where(material == Material.RIVER, shallow, 0.0)
    # Thin lines below a pixel's width: streams, tracks, hedges. Their truth stays that of the ground around them.
    _lines(land, image, material)
    wet = material <= Material.LAKE
    image *= np.where(wet, 1.0, _relief(land, date_index))
    return image.astype(np.float32)


def _lines(land: Land, image: Floats, material: NDArray[np.uint8]) -> None:
    """Blend in what is narrower than a pixel."""
    open_land = (material >= Material.MEADOW) & (material <= Material.FALLOW)
    draw = hash01(land.estates.edge_id, land.seed, 52)
    track = np.clip(1.1 - land.estates.edge_px, 0.0, 0.5) * (draw > 0.55) * open_land
    hedge = np.clip(1.3 - land.estates.edge_px, 0.0, 0.6) * ((draw > 0.3) & (draw <= 0.55)) * open_land
    brook = np.clip(land.terrain.stream_half_px + 0.5 - land.terrain.stream_px, 0.0, 0.45) * (material > Material.LAKE)
    for share, look in (
        (track, (0.105, 0.125, 0.150, 0.215, 0.270)),
        (hedge, (0.028, 0.048, 0.034, 0.330, 0.150)),
        (brook, (0.045, 0.055, 0.040, 0.080, 0.050)),
    ):
        target = np.array(look, dtype=np.float32)[:, None, None]
        image += share.astype(np.float32) * (target - image)


def gaps(seed: int, shape: tuple[int, int], date_index: int, count: int) -> tuple[Masks, Floats]:
    """Where clouds and their shadows were masked out, and how thick the haze around them is (0 to 1)."""
    rng = np.random.default_rng([seed, 91, date_index])
    ragged = fractal(rng, shape, beta=3.1, longest_px=90)
    thick = np.zeros(shape, dtype=np.float32)
    dark = thick.copy()
    row, col = np.ogrid[0 : shape[0], 0 : shape[1]]
    size = 0.055 * shape[0] + 6
    for _ in range(count):
        r, c = rng.uniform(0.1, 0.9) * shape[0], rng.uniform(0.05, 0.95) * shape[1]
        radius, stretch = size * rng.uniform(0.5, 1.3), rng.uniform(1.0, 1.8)
        for field, (dr, dc) in ((thick, (0.0, 0.0)), (dark, (-0.45 * size, 0.7 * size))):
            bump = 1.0 - np.hypot((row - r - dr) * stretch, (col - c - dc) / stretch) / radius
            np.maximum(field, bump + 0.28 * ragged * (bump > -1.5), out=field, where=bump > -1.5)
    hole = (thick > 0.18) | (ndimage.gaussian_filter(dark, 1.0) > 0.3)
    return hole, smoothstep(thick, 0.0, 0.5)


def reflectance(land: Land, material: NDArray[np.uint8], date_index: int, haze: Floats) -> NDArray[np.uint16]:
    """What the sensor delivers, (band, row, col), reflectance x 10000; 0 is kept for nodata."""
    light = _scene_light(land, material, date_index)
    # Thin cloud brightens the visible bands most.
    veil = np.array([0.16, 0.15, 0.14, 0.12, 0.07], dtype=np.float32)[:, None, None]
    light += haze * veil * np.clip(0.5 - light, 0.0, None) * 2.0
    shape = material.shape
    out = np.empty((len(BANDS), *shape), dtype=np.uint16)
    for band in range(len(BANDS)):
        # One stream per band, so that a band's noise does not depend on how many bands there are.
        rng = np.random.default_rng([land.seed, 83, date_index, band])
        noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(_NOISE[band])
        seen = ndimage.shift(light[band], _SHIFT_PX[date_index], order=1, mode="nearest")
        if BANDS[band] == "swir16":
            # Measured at 20 m and brought to 10 m, as products do.
            seen = _halved(ndimage.gaussian_filter(seen, 0.9) + 1.5 * noise)
        else:
            seen = ndimage.gaussian_filter(seen, 0.55) + noise * np.sqrt(0.4 + 3.0 * seen)
        steps = np.rint(np.clip(seen, 0.0, 1.5) * 10_000.0 / STEP_DN[band])
        out[band] = np.maximum(steps, 1) * STEP_DN[band]
    return out


def _halved(image: Floats) -> Floats:
    """The mean of each two by two pixels, brought back to full size by interpolation."""
    rows, cols = (-(-n // 2) for n in image.shape)
    even = np.pad(image, ((0, 2 * rows - image.shape[0]), (0, 2 * cols - image.shape[1])), mode="edge")
    coarse = even.reshape(rows, 2, cols, 2).mean(axis=(1, 3))
    at = [(np.arange(n) + 0.5) / 2 - 0.5 for n in image.shape]
    out: Floats = ndimage.map_coordinates(coarse, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest").astype(
        np.float32
    )
    return out
