"""segment(): lazy, placed on the earth, and the same values as a run gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401 - the accessor .rio
from affine import Affine

from geoseg.errors import ModelError, ParameterError, SceneError
from geoseg.inference.lattice import Block
from geoseg.inference.recipe import Choices, recipe_for
from geoseg.inference.rows import class_rows
from geoseg.inference.segment import segment
from geoseg.models.load import Model, load_model
from geoseg.scene.scene import Scene


@pytest.mark.parametrize("block_size", [61, 85, 200])
def test_the_values_are_those_of_class_rows_for_any_chunk(town: Scene, unet: Model, block_size: int) -> None:
    whole = Block(row_off=0, col_off=0, height=town.height, width=town.width)
    rows = list(class_rows(recipe_for(town, unet), whole))
    dataset = segment(town, unet, block_size=block_size).compute(scheduler="synchronous")
    np.testing.assert_array_equal(dataset.classes, np.concatenate([r.classes for r in rows]))
    np.testing.assert_array_equal(dataset.confidence, np.concatenate([r.confidence for r in rows]))
    assert set(dataset.data_vars) == {"classes", "confidence"}


@pytest.mark.parametrize("block_size", [61, 200])
def test_probabilities_come_when_asked_for_with_class_names_along_them(
    town: Scene, unet: Model, block_size: int
) -> None:
    whole = Block(row_off=0, col_off=0, height=town.height, width=town.width)
    rows = list(class_rows(recipe_for(town, unet), whole, probabilities=True))
    expected = np.concatenate([r.probabilities for r in rows if r.probabilities is not None], axis=1)
    dataset = segment(town, unet, block_size=block_size, probabilities=True).compute(scheduler="synchronous")
    layer = dataset.probabilities
    assert (layer.dims, layer.dtype, layer.odc.geobox) == (("class", "y", "x"), np.uint8, town.geobox)
    assert (layer.rio.nodata, layer.attrs["scale_factor"]) == (255, 1 / 254)
    assert layer["class"].values.tolist() == ["class 1", "class 4", "class 7"]
    np.testing.assert_array_equal(layer, expected)
    np.testing.assert_array_equal(dataset.classes, np.concatenate([r.classes for r in rows]))
    share = layer.where(layer != 255).sel({"class": "class 4"}) * layer.attrs["scale_factor"]
    assert 0 <= share.min() < share.max() <= 1


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path, write_scene: Callable[..., Scene], unet: Model) -> None:
    scene = write_scene(tmp_path / "a.tif", np.ones((3, 100, 100), np.uint8))
    (tmp_path / "a.tif").unlink()
    dataset = segment(scene, unet, block_size=64)
    assert dataset.classes.chunks == ((64, 36), (64, 36))
    with pytest.raises(SceneError, match=r"a\.tif: cannot be read"):
        dataset.compute(scheduler="synchronous")


def test_a_chunk_reads_its_own_part_only(tmp_path: Path, write_scene: Callable[..., Scene]) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 99, (2, 512, 64)).astype(np.uint8)
    scene = write_scene(tmp_path / "a.tif", pixels, driver="COG", blocksize=128, overviews="NONE")
    model = load_model("kmeans:3")
    lazy = segment(scene, model, choices=Choices(window=64), block_size=128)
    path = tmp_path / "a.tif"
    path.write_bytes(path.read_bytes()[:-20_000])  # its last rows are gone
    assert lazy.classes[:128].compute(scheduler="synchronous").shape == (128, 64)
    with pytest.raises(SceneError, match="damaged or truncated"):
        lazy.classes[384:].compute(scheduler="synchronous")


def test_crs_transform_and_coordinates_are_the_scenes(town: Scene, unet: Model) -> None:
    dataset = segment(town, unet)
    for layer in (dataset.classes, dataset.confidence):
        assert layer.dtype == np.uint8
        assert layer.odc.geobox == town.geobox
        assert layer.rio.crs.to_epsg() == 32633
        assert layer.rio.nodata == 255
        assert layer.shape == (150, 170)
    np.testing.assert_allclose(dataset.x[[0, -1]], [5e5 + 5, 5e5 + 1695])
    np.testing.assert_allclose(dataset.y[[0, -1]], [5e6 - 5, 5e6 - 1495])


@pytest.mark.parametrize("transform", [Affine(10, 0, 5e5, 0, 10, 4e6), Affine(8, 6, 5e5, 6, -8, 5e6)])
def test_a_grid_that_is_not_north_up_is_kept(
    tmp_path: Path, write_scene: Callable[..., Scene], unet: Model, transform: Affine
) -> None:
    from dataclasses import replace

    from odc.geo.geobox import GeoBox

    scene = write_scene(tmp_path / "a.tif", np.ones((3, 20, 30), np.uint8))
    scene = replace(scene, geobox=GeoBox((20, 30), transform, "EPSG:32633"))
    kept = segment(scene, unet).classes.odc.geobox
    assert kept.shape == (20, 30)
    np.testing.assert_allclose(kept.transform[:6], transform[:6])


def test_classes_are_named_in_the_attributes(town: Scene, unet: Model) -> None:
    attributes = segment(town, unet).classes.attrs
    assert attributes["flag_values"] == [1, 4, 7]
    assert attributes["flag_meanings"] == "class_1 class_4 class_7"


def test_what_cannot_be_computed_is_refused_at_once(town: Scene, unet: Model) -> None:
    with pytest.raises(ParameterError, match="block size 0 px: choose at least 1"):
        segment(town, unet, block_size=0)
    with pytest.raises(ModelError, match="needs the bands blue, green, red, nir"):
        segment(town, load_model("spectral"))
