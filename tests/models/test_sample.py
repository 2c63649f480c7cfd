"""A subsample of a scene: valid pixels only, spread over it, the same for the same seed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.models.sample import sample_pixels
from geoseg.scene.open import open_scene
from geoseg.scene.scene import Scene


def written(path: Path, values: Any, nodata: float | None = None) -> Scene:
    """A scene with these pixels (band, row, col)."""
    count, height, width = values.shape
    profile = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6), "nodata": nodata}
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype=values.dtype, **profile) as file:
        file.write(values)
    return open_scene(path)


def numbered(height: int, width: int) -> Any:
    """Two bands; each pixel has its own number, negative in the second band."""
    numbers = np.arange(1, height * width + 1, dtype=np.int32).reshape(height, width)
    return np.stack([numbers, -numbers])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return written(tmp_path_factory.mktemp("sample") / "a.tif", numbered(300, 500))


@settings(max_examples=15, deadline=None)
@given(n_pixels=st.integers(1, 200_000), seed=st.integers(0, 9))
def test_samples_are_pixels_of_the_scene_each_at_most_once(large: Scene, n_pixels: int, seed: int) -> None:
    samples = sample_pixels(large, large.bands, n_pixels=n_pixels, seed=seed)
    assert samples.dtype == np.float32
    assert len(samples) >= min(n_pixels, 30_000)
    assert len(set(samples[:, 0].tolist())) == len(samples)
    np.testing.assert_array_equal(samples[:, 0], -samples[:, 1])
    assert 1 <= samples[:, 0].min() <= samples[:, 0].max() <= 150_000


def test_the_seed_decides_and_nothing_else_does(large: Scene) -> None:
    first, second, other = (sample_pixels(large, large.bands, n_pixels=2000, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_bands_come_in_the_order_asked(large: Scene) -> None:
    samples = sample_pixels(large, large.bands[::-1], n_pixels=100)
    assert (samples[:, 0] < 0).all()


def test_a_small_scene_gives_all_its_pixels(tmp_path: Path) -> None:
    scene = written(tmp_path / "a.tif", numbered(7, 5))
    assert sorted(sample_pixels(scene, scene.bands)[:, 0]) == list(range(1, 36))


def test_pixels_without_an_observation_are_never_sampled(tmp_path: Path) -> None:
    values = numbered(200, 200).astype(np.float32)
    values[0, :, :150] = np.nan
    values[1, :100] = -9999
    values[1, 150] = np.inf
    scene = written(tmp_path / "a.tif", values, nodata=-9999)
    samples = sample_pixels(scene, scene.bands)
    assert len(samples) == 50 * 99
    assert np.isfinite(samples).all()
    assert -9999 not in samples


def test_a_scene_of_nodata_gives_no_samples(tmp_path: Path) -> None:
    scene = written(tmp_path / "a.tif", np.zeros((3, 200, 200), np.uint8), nodata=0)
    assert sample_pixels(scene, scene.bands).shape == (0, 3)


def test_numbers_beyond_float32_are_left_out_without_a_warning(tmp_path: Path) -> None:
    values = np.array([[[1.0, 1e300]]])
    scene = written(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(sample_pixels(scene, scene.bands), [[1]])
