"""Seeded building blocks of a landscape: fractal fields, hashes, irregular cells and parcels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

__all__ = [
    "Cells",
    "Floats",
    "Masks",
    "Parcels",
    "cells",
    "fractal",
    "hash01",
    "nearest_on_line",
    "parcels",
    "smoothstep",
]

Floats = NDArray[np.float32]
Masks = NDArray[np.bool_]


def smoothstep(x: Floats, low: float, high: float) -> Floats:
    """0 below ``low``, 1 above ``high``, a smooth rise between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0).astype(np.float32)
    out: Floats = (t * t * (3.0 - 2.0 * t)).astype(np.float32)
    return out


def fractal(rng: np.random.Generator, shape: tuple[int, int], *, beta: float, longest_px: float) -> Floats:
    """A random field with power spectrum ``f ** -beta``, mean 0 and standard deviation 1.

    Args:
        rng: Where the randomness comes from.
        shape: Rows and columns.
        beta: 0 is white noise, 2 is rough terrain, 4 is rolling hills.
        longest_px: Wavelength above which the spectrum is flat.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    rows, cols = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    gain = (rows**2 + cols**2 + longest_px**-2.0) ** (-beta / 4.0)
    gain[0, 0] = 0.0
    field = fft.irfft2(fft.rfft2(white) * gain.astype(np.float32), s=shape)
    out: Floats = ((field - field.mean()) / field.std()).astype(np.float32)
    return out


def hash01(*keys: ArrayLike) -> Floats:
    """Numbers in 0 to 1 that depend on nothing but the integer keys, which broadcast against each other."""
    # Arrays of at least one dimension: numpy warns of the intended overflow for scalars only.
    state = np.full(1, 0x9E3779B97F4A7C15, dtype=np.uint64)
    for key in keys:
        state = state ^ np.atleast_1d(np.asarray(key)).astype(np.int64).view(np.uint64)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return ((state >> np.uint64(40)).astype(np.float32) / np.float32(2**24)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """An irregular partition of the plane (Voronoi cells of a jittered grid)."""

    id: NDArray[np.int64]
    """Cell of each pixel."""
    edge_px: Floats
    """Distance to the border with the cell of the second nearest point."""
    edge_id: NDArray[np.int64]
    """The same number on both sides of an edge."""


def cells(rows: Floats, cols: Floats, *, cell_px: float, seed: int) -> Cells:
    """The irregular cell each coordinate falls into, cells being about ``cell_px`` across."""
    top, left = int(np.floor(rows.min() / cell_px)) - 2, int(np.floor(cols.min() / cell_px)) - 2
    n_rows = int(np.ceil(rows.max() / cell_px)) + 3 - top
    n_cols = int(np.ceil(cols.max() / cell_px)) + 3 - left
    gi, gj = np.mgrid[0:n_rows, 0:n_cols]
    point_row = ((gi + top + 0.1 + 0.8 * hash01(gi, gj, seed, 1)) * cell_px).astype(np.float32)
    point_col = ((gj + left + 0.1 + 0.8 * hash01(gi, gj, seed, 2)) * cell_px).astype(np.float32)

    row_cell = np.floor(rows / cell_px).astype(np.int32) - top
    col_cell = np.floor(cols / cell_px).astype(np.int32) - left
    first = np.full(rows.shape, np.inf, dtype=np.float32)
    second = first.copy()
    first_id = np.zeros(rows.shape, dtype=np.int64)
    second_id = first_id.copy()
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            index = (row_cell + di).astype(np.int64) * n_cols + (col_cell + dj)
            distance = np.hypot(point_row.ravel()[index] - rows, point_col.ravel()[index] - cols)
            nearest, runner_up = distance < first, distance < second
            second_id = np.where(nearest, first_id, np.where(runner_up, index, second_id))
            second = np.where(nearest, first, np.where(runner_up, distance, second))
            first_id, first = np.where(nearest, index, first_id), np.where(nearest, distance, first)
    apart = np.hypot(
        point_row.ravel()[first_id] - point_row.ravel()[second_id],
        point_col.ravel()[first_id] - point_col.ravel()[second_id],
    )
    edge = (second**2 - first**2) / (2.0 * np.maximum(apart, 1e-3))
    low, high = np.minimum(first_id, second_id), np.maximum(first_id, second_id)
    return Cells(id=first_id, edge_px=edge.astype(np.float32), edge_id=low * (n_rows * n_cols) + high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcels:
    """Cells cut into strips and strips into parcels, each cell in its own direction."""

    id: NDArray[np.int64]
    """Parcel of each pixel, numbered from 0 without gaps."""
    edge_px: Floats
    """Distance to the parcel's border."""
    across_px: Floats
    """Coordinate across the strips: what is sown in rows varies along it."""


def _split(t: Floats, *keys: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    """Which unit of a line of irregular units ``t`` falls in, and how far its nearest end is."""
    k = np.floor(t).astype(np.int64)
    frac = t - k
    here, after = 0.6 * hash01(*keys, k), 0.6 * hash01(*keys, k + 1)
    inside = frac >= here
    # A unit's far end beyond the one before is never nearer than 0.4, so that it needs no third hash.
    to_end = np.where(inside, np.minimum(frac - here, 1.0 + after - frac), np.minimum(here - frac, 0.4 + frac))
    return np.where(inside, k, k - 1), to_end.astype(np.float32)


def parcels(
    rows: Floats, cols: Floats, area: Cells, *, width_px: tuple[float, float], length_px: tuple[float, float], seed: int
) -> Parcels:
    """Parcels inside cells: strip widths and parcel lengths are drawn per cell from the two ranges."""
    angle = np.pi * hash01(area.id, seed, 11)
    width = width_px[0] + (width_px[1] - width_px[0]) * hash01(area.id, seed, 12) ** 1.5
    length = length_px[0] + (length_px[1] - length_px[0]) * hash01(area.id, seed, 13)
    across = cols * np.cos(angle) + rows * np.sin(angle)
    along = rows * np.cos(angle) - cols * np.sin(angle)
    strip, end_across = _split((across / width).astype(np.float32), area.id, seed, 14)
    shifted = (along / length + hash01(area.id, strip, seed, 15)).astype(np.float32)
    piece, end_along = _split(shifted, area.id, strip, seed, 16)
    key = (area.id * 8192 + (strip + 4096)) * 8192 + (piece + 4096)
    _, compact = np.unique(key, return_inverse=True)
    edge = np.minimum(np.minimum(end_across * width, end_along * length), area.edge_px)
    return Parcels(id=compact.reshape(rows.shape), edge_px=edge.astype(np.float32), across_px=across.astype(np.float32))


def nearest_on_line(points: NDArray[np.float64], shape: tuple[int, int]) -> tuple[Floats, NDArray[np.int64]]:
    """For each pixel the distance to the nearest of dense points (row, col), and which point it is."""
    row, col = np.floor(points[:, 0]).astype(np.int64), np.floor(points[:, 1]).astype(np.int64)
    # Points a little outside still matter to pixels inside.
    pad = 64
    keep = np.flatnonzero((row >= -pad) & (row < shape[0] + pad) & (col >= -pad) & (col < shape[1] + pad))
    if keep.size == 0:
        return np.full(shape, 1e4, dtype=np.float32), np.zeros(shape, dtype=np.int64)
    owner = np.full((shape[0] + 2 * pad, shape[1] + 2 * pad), -1, dtype=np.int64)
    owner[row[keep] + pad, col[keep] + pad] = keep
    nearest = ndimage.distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    inner = (slice(pad, -pad), slice(pad, -pad))
    index = owner[nearest[0][inner], nearest[1][inner]]
    pixel_row, pixel_col = np.ogrid[0 : shape[0], 0 : shape[1]]
    distance = np.hypot(points[index, 0] - pixel_row - 0.5, points[index, 1] - pixel_col - 0.5)
    return distance.astype(np.float32), index
