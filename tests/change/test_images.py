"""Images on another grid: against scipy, in pieces as in one, and no value from where there is no observation."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from scipy.ndimage import map_coordinates

import geoseg
from geoseg.change.grids import align
from geoseg.change.images import Image, images_of, take_image
from geoseg.inference.lattice import Block
from tests.change.test_shares import SHAPE, grid


def smooth(shape: tuple[int, int] = SHAPE) -> Any:
    rows, cols = np.indices(shape)
    first = 127 + 100 * np.sin(rows / 7) * np.cos(cols / 9)
    return np.stack([first, 254 - first]).astype(np.float32)


def taken(pixels: Any, before: GeoBox, after: GeoBox, *cuts: int) -> Any:
    """The image on the common grid, in pieces of so many rows."""
    alignment = align(before, after)
    height, width = (int(n) for n in alignment.geobox.shape)

    def read(block: Block) -> Any:
        return pixels[:, block.row_off : block.row_end, block.col_off : block.col_end]

    edges = [0, *cuts, height]
    pieces = [Block(row_off=a, col_off=0, height=b - a, width=width) for a, b in pairwise(edges)]
    return np.concatenate([take_image(alignment.after, p, read, len(pixels)) for p in pieces], axis=1)


def test_the_same_grid_gives_the_pixels_themselves_wherever_it_begins() -> None:
    found = taken(smooth(), grid(SHAPE, 10, left=30, top=20), grid(SHAPE, 10))
    np.testing.assert_array_equal(found, smooth()[:, 2:, 3:])


def test_between_centres_it_is_linear_and_does_not_depend_on_the_cut() -> None:
    before, after = grid(SHAPE, 10, left=3, top=4), grid(SHAPE, 10)
    found = taken(smooth(), before, after)
    np.testing.assert_array_equal(found, taken(smooth(), before, after, 7, 20))
    height, width = found.shape[1:]
    at = np.indices((height, width)) + np.array([0.4, 0.3])[:, None, None]
    for band in range(2):
        expected = map_coordinates(smooth()[band], at, order=1)
        np.testing.assert_allclose(found[band, :-2, :-2], expected[:-2, :-2], rtol=1e-5)


def test_of_finer_pixels_it_is_the_mean() -> None:
    fine = smooth((80, 100))
    found = taken(fine, grid(SHAPE, 20), grid((80, 100), 10))
    np.testing.assert_allclose(found, fine.reshape(2, 40, 2, 50, 2).mean((2, 4)), rtol=1e-5)


def test_what_is_not_observed_gives_no_value_and_takes_half_a_pixel_at_most() -> None:
    pixels = smooth()
    pixels[:, :, 20:] = np.nan
    found = taken(pixels, grid(SHAPE, 10, left=4), grid(SHAPE, 10))
    np.testing.assert_array_equal(np.isnan(found[0]).all(axis=0), np.arange(found.shape[2]) > 19)
    assert np.nanmax(abs(found[0, :, 19] - smooth()[0, : len(found[0]), 19])) < 1e-3


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    path = tmp_path / "s.tif"
    profile = {"crs": "EPSG:32633", "transform": grid(SHAPE, 10).affine, "dtype": "float32", "nodata": -1}
    with rasterio.open(path, "w", driver="GTiff", count=2, height=SHAPE[0], width=SHAPE[1], **profile) as dataset:
        dataset.write(smooth())
        dataset.descriptions = ("red", "nir")
    return geoseg.open_scene(path)


def test_beyond_a_scene_there_is_nothing(scene: Any) -> None:
    images = images_of(scene, scene)
    assert images is not None
    found = images[0].on(grid((60, 70), 10, left=-30, top=-20), Block(row_off=0, col_off=0, height=60, width=70))
    np.testing.assert_array_equal(found[:, 2:42, 3:53], smooth())
    assert np.isnan(found).sum() == 2 * (60 * 70 - SHAPE[0] * SHAPE[1])


def test_bands_of_two_scenes_are_matched_by_name_and_else_by_order(scene: Any, tmp_path: Path) -> None:
    swapped = geoseg.open_scene(scene.href, bands=["nir", "red"])
    unknown = geoseg.open_scene(scene.href, bands=["x", "y"])
    one = geoseg.open_scene(scene.href, bands=["green", "nir"])

    def indexes(images: tuple[Image, Image] | None) -> Any:
        return None if images is None else [[b.index for b in image.bands] for image in images]

    assert indexes(images_of(scene, swapped)) == [[1, 2], [2, 1]]
    assert indexes(images_of(scene, unknown)) == [[1, 2], [1, 2]]
    assert indexes(images_of(scene, one)) == [[2], [2]]
    assert images_of(scene, None) is None
