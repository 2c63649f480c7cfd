"""Scenes on a grid of other pixels: averaged or interpolated, the same whatever is read, each source row once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.scene.gsd import gsd_axes_m
from geoseg.scene.open import open_scene
from geoseg.scene.read import SceneReader
from geoseg.scene.reader import reader_of
from geoseg.scene.resample import resampled
from geoseg.scene.scene import Scene

UTM10 = Affine(10, 0, 500_000, 0, -10, 5_000_000)


def written(folder: Path, pixels: NDArray[Any], **profile: Any) -> Scene:
    path = folder / "scene.tif"
    count, height, width = pixels.shape
    how = {"crs": "EPSG:32633", "transform": UTM10, "tiled": True, "blockxsize": 16, "blockysize": 16} | profile
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype=pixels.dtype, **how) as file:
        file.write(pixels)
    return open_scene(path)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Noise of 90 x 70 px in two bands, a tenth of it nodata."""
    rng = np.random.default_rng(4)
    pixels = rng.integers(1, 4000, (2, 90, 70)).astype(np.uint16)
    pixels[:, rng.random((90, 70)) < 0.1] = 0
    return written(tmp_path_factory.mktemp("noisy"), pixels, nodata=0)


def whole(scene: Scene) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    with reader_of(scene) as reader:
        return reader.read(0, 0, scene.height, scene.width)


@settings(max_examples=25)
@given(st.floats(4, 45), st.data())
def test_a_window_is_that_window_of_the_whole_to_the_bit(noisy: Scene, gsd: float, data: st.DataObject) -> None:
    there = resampled(noisy, gsd)
    pixels, valid = whole(there)
    row = data.draw(st.integers(0, there.height - 1))
    col = data.draw(st.integers(0, there.width - 1))
    height = data.draw(st.integers(1, there.height - row))
    width = data.draw(st.integers(1, there.width - col))
    inside = np.s_[row : row + height, col : col + width]
    with reader_of(there) as reader:
        at = 0
        while at < height:  # in pieces from top to bottom, as blocks are read
            rows = data.draw(st.integers(1, height - at))
            part, ok = reader.read(row + at, col, rows, width)
            np.testing.assert_array_equal(part, pixels[:, *inside][:, at : at + rows])
            np.testing.assert_array_equal(ok, valid[inside][at : at + rows])
            at += rows


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_larger_pixels_are_the_mean_of_what_they_cover(tmp_path: Path, factor: int) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(1, 4000, (3, 30, 60)).astype(np.uint16)
    pixels[:, rng.random((30, 60)) < 0.3] = 0
    there = resampled(written(tmp_path, pixels, nodata=0), 10 * factor / 0.9996)
    assert (there.height, there.width) == (30 // factor, 60 // factor)
    values, valid = whole(there)
    cells = pixels.reshape(3, 30 // factor, factor, 60 // factor, factor).swapaxes(2, 3)
    cells = cells.reshape(*cells.shape[:3], -1).astype(np.float64)
    n = (cells > 0).sum(axis=-1)
    np.testing.assert_array_equal(valid, n[0] >= factor**2 / 2)
    expected = cells.sum(axis=-1) / np.maximum(n, 1)
    np.testing.assert_allclose(values[:, valid], expected[:, valid], rtol=1e-5)


def test_smaller_pixels_are_interpolated_and_a_slope_stays_a_slope(tmp_path: Path) -> None:
    rows, cols = np.mgrid[0:20, 0:24]
    scene = written(tmp_path, (100 + 7 * rows + 3 * cols)[None].astype(np.float32))
    there = resampled(scene, 5 / 0.9996)
    assert (there.height, there.width) == (40, 48)
    (values,), valid = whole(there)
    rows, cols = np.mgrid[0:40, 0:48]
    expected = 100 + 7 * ((rows + 0.5) / 2 - 0.5) + 3 * ((cols + 0.5) / 2 - 0.5)
    np.testing.assert_allclose(values[1:-1, 1:-1], expected[1:-1, 1:-1], rtol=1e-5)
    assert valid.all()


@pytest.mark.parametrize("gsd", [3.7, 10.0, 17.3, 60.0])
def test_an_even_field_stays_even_and_the_outline_stays(tmp_path: Path, gsd: float) -> None:
    scene = written(tmp_path, np.full((1, 50, 40), 1234, np.uint16))
    there = resampled(scene, gsd)
    values, valid = whole(there)
    assert valid.all()
    np.testing.assert_allclose(values, 1234, rtol=1e-6)
    assert there.geobox.boundingbox.bbox == pytest.approx(scene.geobox.boundingbox.bbox)
    assert there.geobox.crs == scene.geobox.crs


def test_pixels_of_degrees_become_square_on_the_ground(tmp_path: Path) -> None:
    scene = written(
        tmp_path, np.ones((1, 400, 300), np.uint8), crs="EPSG:4326", transform=Affine(1e-4, 0, 10, 0, -1e-4, 60)
    )
    down, across = gsd_axes_m(scene.geobox)
    assert down / across == pytest.approx(2, rel=0.01)
    assert gsd_axes_m(resampled(scene, 10).geobox) == pytest.approx((10, 10), rel=0.01)


@pytest.mark.parametrize("gsd", [6.0, 25.0])
def test_going_down_a_scene_reads_each_source_row_once(
    noisy: Scene, gsd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = np.zeros(noisy.height, np.int64)
    read = SceneReader.read

    def counted(self: SceneReader, row: int, col: int, height: int, width: int) -> Any:
        asked[row : row + height] += 1
        return read(self, row, col, height, width)

    monkeypatch.setattr(SceneReader, "read", counted)
    there = resampled(noisy, gsd)
    with reader_of(there) as reader:
        for row in range(0, there.height, 7):
            reader.read(row, 0, min(7, there.height - row), there.width)
    assert (asked == 1).all()
