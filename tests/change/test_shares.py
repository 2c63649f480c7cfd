"""Class probabilities on the common grid: against scipy, and in pieces as in one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import map_coordinates

from geoseg.change.grids import align
from geoseg.change.shares import ShareArray, shares_of_file, take_shares
from geoseg.errors import InputError, SceneError
from geoseg.inference.lattice import Block
from geoseg.legend import NODATA
from geoseg.scene.class_raster import open_class_raster

SHAPE = (40, 50)


def grid(shape: tuple[int, int], pixel: float, left: float = 0, top: float = 0) -> GeoBox:
    return GeoBox(shape, Affine(pixel, 0, 500_000 + left, 0, -pixel, 5_000_000 - top), "EPSG:32633")


def smooth(shape: tuple[int, int] = SHAPE) -> Any:
    rows, cols = np.indices(shape)
    first = 127 + 100 * np.sin(rows / 7) * np.cos(cols / 9)
    return np.stack([first, 254 - first]).round().astype(np.uint8)


def taken(shares: Any, before: GeoBox, after: GeoBox) -> tuple[Any, Any]:
    alignment = align(before, after)
    height, width = (int(n) for n in alignment.geobox.shape)
    block = Block(row_off=0, col_off=0, height=height, width=width)
    return take_shares(alignment.after, block, ShareArray(shares=shares), len(shares)), alignment


def test_the_same_grid_gives_the_bytes_themselves_wherever_it_begins() -> None:
    shares = smooth()
    found, alignment = taken(shares, grid(SHAPE, 10, left=30, top=20), grid(SHAPE, 10))
    assert (alignment.row_off, alignment.col_off) == (0, 0)
    np.testing.assert_array_equal(found, shares[:, 2:, 3:])


def test_between_centres_they_are_linear() -> None:
    shares = smooth()
    found, _ = taken(shares, grid(SHAPE, 10, left=3, top=4), grid(SHAPE, 10))
    height, width = found.shape[1:]
    at = np.indices((height, width)) + np.array([0.4, 0.3])[:, None, None]
    inner = slice(1, height - 2), slice(1, width - 2)
    for band in range(2):
        expected = map_coordinates(shares[band].astype(float), at, order=1)
        assert abs(found[band][inner] - expected[inner]).max() <= 0.51


def test_of_finer_pixels_they_are_the_mean() -> None:
    fine = smooth((80, 100))
    found, _ = taken(fine, grid(SHAPE, 20), grid((80, 100), 10))
    expected = fine.reshape(2, 40, 2, 50, 2).astype(float).mean(axis=(2, 4))
    assert abs(found - expected).max() <= 0.51


def test_what_was_not_observed_has_no_part() -> None:
    shares = smooth()
    shares[:, :, 20:] = NODATA
    found, _ = taken(shares, grid(SHAPE, 10, left=3, top=0), grid(SHAPE, 10))
    # the pixel centre at column 19.8 lies between an observed column and one that is not
    np.testing.assert_array_equal(found[:, :, 19], shares[:, :, 19])
    assert (found[:, :, 20:] == NODATA).all()
    assert (found[:, :, :20] != NODATA).all()


@pytest.mark.parametrize("most", [1 << 25, 300])
def test_it_does_not_depend_on_the_cut(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.change.sampled_bands.MOST_PIXELS", most)
    shares = smooth()
    lonlat = GeoBox.from_bbox((15.0, 45.150, 15.006, 45.154), crs="EPSG:4326", resolution=1e-4)
    whole, alignment = taken(shares, lonlat, grid(SHAPE, 10))
    assert (whole != NODATA).mean() > 0.5
    pieces = np.empty_like(whole)
    for row in range(0, whole.shape[1], 7):
        for col in range(0, whole.shape[2], 11):
            height, width = min(7, whole.shape[1] - row), min(11, whole.shape[2] - col)
            block = Block(row_off=row, col_off=col, height=height, width=width)
            found = take_shares(alignment.after, block, ShareArray(shares=shares), 2)
            pieces[:, row : row + height, col : col + width] = found
    np.testing.assert_array_equal(pieces, whole)


def write(path: Path, pixels: Any, names: Any = ()) -> Path:
    bands = pixels if pixels.ndim == 3 else pixels[None]
    profile = {"crs": "EPSG:32633", "transform": grid(SHAPE, 10).affine, "nodata": NODATA, "dtype": bands.dtype}
    count, height, width = bands.shape
    with rasterio.open(path, "w", driver="GTiff", count=count, height=height, width=width, **profile) as dataset:
        dataset.write(bands)
        if names:
            dataset.descriptions = names
        else:
            dataset.update_tags(CLASSES="1=water, 7=forest")
    return path


def test_bands_of_a_file_are_the_classes_that_they_are_named_after(tmp_path: Path) -> None:
    classes = np.where(smooth()[0] > 127, 1, 7).astype(np.uint8)
    raster = open_class_raster(write(tmp_path / "classes.tif", classes))
    path = write(tmp_path / "shares.tif", smooth()[::-1], names=("forest", "water"))
    shares = shares_of_file(raster, path)
    assert shares.values == (7, 1)
    found = shares.read(Block(row_off=3, col_off=4, height=5, width=6))
    np.testing.assert_array_equal(found, smooth()[::-1, 3:8, 4:10])


def test_probabilities_of_another_map_are_refused(tmp_path: Path) -> None:
    raster = open_class_raster(write(tmp_path / "classes.tif", np.ones(SHAPE, np.uint8)))
    other = write(tmp_path / "other.tif", smooth((20, 20)), names=("water", "forest"))
    with pytest.raises(InputError, match=r"other\.tif is not the probabilities of .*classes\.tif.* 20 x 20 px"):
        shares_of_file(raster, other)
    floats = write(tmp_path / "floats.tif", smooth().astype(np.float32), names=("water", "forest"))
    with pytest.raises(InputError, match="bands of float32"):
        shares_of_file(raster, floats)
    three = write(tmp_path / "three.tif", smooth()[[0, 1, 1]], names=("water", "forest", "ice"))
    with pytest.raises(SceneError, match="give a band for each class"):
        shares_of_file(raster, three)
