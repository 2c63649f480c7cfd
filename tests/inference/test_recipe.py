"""The run key changes with everything that shapes the class map, and with nothing else."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geoseg.errors import ParameterError
from geoseg.inference import recipe as module
from geoseg.inference.recipe import Choices, recipe_for
from geoseg.models.load import Model, load_model
from geoseg.scene.open import open_scene
from geoseg.scene.scene import Scene

SHAPING: list[dict[str, Any]] = [
    {"window": 128},
    {"overlap": 0.5},
    {"blend": "flat"},
    {"precision": "bfloat16"},
]
OTHER: list[dict[str, Any]] = [{"batch_size": 7}, {"threads": 3}, {"device": "cpu"}, {"force": True}]


@pytest.mark.parametrize("choice", SHAPING)
def test_the_key_changes_with_what_shapes_the_map(town: Scene, unet: Model, choice: dict[str, Any]) -> None:
    assert recipe_for(town, unet, Choices(**choice)).key != recipe_for(town, unet).key


@pytest.mark.parametrize("choice", OTHER)
def test_the_key_does_not_change_with_how_it_is_computed(town: Scene, unet: Model, choice: dict[str, Any]) -> None:
    assert recipe_for(town, unet, Choices(**choice)).key == recipe_for(town, unet).key


def test_the_key_changes_with_the_weights(
    tmp_path: Path, town: Scene, unet: Model, write_model: Callable[..., Model]
) -> None:
    same, other = write_model(tmp_path / "same"), write_model(tmp_path / "other", factor=1.5)
    assert recipe_for(town, same).key == recipe_for(town, unet).key
    assert recipe_for(town, other).key != recipe_for(town, unet).key


@pytest.mark.parametrize(
    "change",
    [{"temperature": 2.0}, {"nodata_fill": 1.0}, {"name": "other"}],
)
def test_the_key_changes_with_the_card(town: Scene, unet: Model, change: dict[str, Any]) -> None:
    other = replace(unet, card=unet.card.model_copy(update=change))
    assert recipe_for(town, other).key != recipe_for(town, unet).key


def test_the_key_changes_with_the_scene_and_what_is_said_of_it(
    tmp_path: Path, write_scene: Callable[..., Scene]
) -> None:
    pixels = np.random.default_rng(0).integers(1, 9000, (4, 40, 40)).astype(np.uint16)
    bands = ["blue", "green", "red", "nir"]
    scene = write_scene(tmp_path / "a.tif", pixels)
    spectral = load_model("spectral")
    stated: list[dict[str, Any]] = [
        {"bands": bands, "scale": 0.0001},
        {"bands": bands, "scale": 0.0001, "offset": -0.1},
        {"bands": bands, "scale": 0.0002},
        {"bands": bands[::-1], "scale": 0.0001},
    ]
    keys = [recipe_for(open_scene(scene.href, **s), spectral).key for s in stated]
    pixels[0, 3, 3] += 1
    write_scene(tmp_path / "a.tif", pixels)
    keys.append(recipe_for(open_scene(scene.href, **stated[0]), spectral).key)
    assert len(set(keys)) == len(keys)


def test_the_key_changes_when_alpha_becomes_a_band(tmp_path: Path, unet: Model) -> None:
    path = tmp_path / "a.tif"
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(path, "w", "GTiff", 8, 8, 4, dtype="uint8", photometric="RGB", alpha="YES", **place) as file:
        file.write(np.ones((4, 8, 8), np.uint8))
    masked, whole = open_scene(path), open_scene(path, bands=["red", "green", "blue", "nir"])
    assert masked.validity != whole.validity
    assert recipe_for(masked, unet).key != recipe_for(whole, unet).key


def test_the_key_changes_with_the_seed_of_clusters_only(town: Scene, unet: Model) -> None:
    kmeans = load_model("kmeans:4")
    keys = [recipe_for(town, kmeans, Choices(seed=s)).key for s in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]
    assert recipe_for(town, unet, Choices(seed=1)).key == recipe_for(town, unet).key


def test_the_key_changes_with_the_format_version(town: Scene, unet: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe_for(town, unet).key
    monkeypatch.setattr(module, "FORMAT_VERSION", module.FORMAT_VERSION + 1)
    assert recipe_for(town, unet).key != before


def test_a_recipe_pickles_with_its_key(town: Scene, unet: Model) -> None:
    recipe = recipe_for(town, unet)
    again = pickle.loads(pickle.dumps(recipe))
    assert again == recipe
    assert again.key == recipe.key
    assert again.parameters == recipe.parameters


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blend": "cosine"}, "blend 'cosine' is not known: choose one of gaussian"),
        ({"window": 0}, "window 0: choose at least 1"),
        ({"batch_size": 0}, "batch size 0: choose at least 1"),
        ({"threads": -1}, "threads -1: choose at least 1"),
        ({"overlap": 1.0}, "overlap 1.0: choose a share"),
        ({"overlap": float("nan")}, "overlap nan: choose a share"),
    ],
)
def test_choices_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Choices(**wrong)


def test_a_window_that_does_not_fit_the_network_is_refused_with_one_that_does(town: Scene, unet: Model) -> None:
    with pytest.raises(ParameterError, match=r"window 100 px is not a multiple of 8, .*choose 104"):
        recipe_for(town, unet, Choices(window=100))
    fixed = replace(unet, card=unet.card.model_copy(update={"fixed_window": True}))
    with pytest.raises(ParameterError, match="takes windows of 64 px only, not 128: omit --window"):
        recipe_for(town, fixed, Choices(window=128))


def test_what_travels_with_every_block_is_small_whatever_the_weights() -> None:
    scene = open_scene(Path(__file__).parents[2] / "sample_data" / "scenes" / "valley_west_20190617.tif")
    model = load_model("landcover-unet")
    assert model.weights is not None
    assert model.weights.stat().st_size > 2_000_000
    assert len(pickle.dumps(recipe_for(scene, model))) < 20_000


def test_what_changes_nothing_for_a_model_that_looks_at_single_pixels_is_said(town: Scene, unet: Model) -> None:
    choices = Choices(window=128, blend="flat", tta="d4")
    clusters = load_model("kmeans:3")
    assert recipe_for(town, clusters, choices).notes == (
        *recipe_for(town, clusters).notes,
        "--window, --blend, --tta: of no effect, because model kmeans looks at each pixel alone",
    )
    assert recipe_for(town, unet, choices).notes == recipe_for(town, unet).notes
