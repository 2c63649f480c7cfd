"""Costs, doubt, temperature and augmentation over a scene: each changes the map, none depends on the blocks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from geoseg.inference.recipe import Choices, recipe_for
from geoseg.inference.segment import segment
from geoseg.models.load import load_model
from geoseg.scene.scene import Scene
from tests.conftest import blobs

COSTS = ((0.0, 1.0, 9.0, 2.0), (1.0, 0.0, 5.0, 2.0), (2.0, 2.0, 0.0, 2.0), (1.0, 4.0, 1.0, 0.0))
ASKED: dict[str, dict[str, Any]] = {
    "costs with reject": {"costs": (*COSTS, (1.1,) * 4)},
    "doubt": {"min_confidence": 0.4},
    "d4": {"tta": "d4"},
}


@pytest.fixture
def scene(tmp_path: Path, write_scene: Callable[..., Scene]) -> Scene:
    return write_scene(tmp_path / "scene.tif", blobs(90, 120))


@pytest.mark.parametrize("name", ASKED)
def test_a_choice_changes_the_map_and_the_key_and_no_block_changes_it(
    random_unet: Path, scene: Scene, name: str
) -> None:
    model = load_model(random_unet)
    choices = Choices(**ASKED[name], window=64, overlap=0.25)
    plain = segment(scene, model, choices=Choices(window=64, overlap=0.25), block_size=200)
    whole = segment(scene, model, choices=choices, block_size=200, probabilities=True).compute()
    cut = segment(scene, model, choices=choices, block_size=50, probabilities=True).compute()
    for layer in ("classes", "confidence", "probabilities"):
        np.testing.assert_array_equal(whole[layer], cut[layer])
    assert (whole["classes"].to_numpy() != plain["classes"].to_numpy()).mean() > 0.005
    recipe = recipe_for(scene, model, choices)
    assert recipe.key != recipe_for(scene, model, Choices(window=64, overlap=0.25)).key
    undecided = recipe.legend.values[-1] == 254
    assert undecided == (name in ("costs with reject", "doubt"))
    assert list(whole["class"].to_numpy()) == list(recipe.legend.names)
    if undecided:
        assert (whole["classes"].to_numpy() == 254).any()


def test_a_temperature_of_the_card_acts_on_the_blended_field(random_unet: Path, scene: Scene) -> None:
    plain = segment(scene, load_model(random_unet), block_size=200).compute()
    content = yaml.safe_load(random_unet.read_text("utf-8"))
    random_unet.write_text(yaml.safe_dump({**content, "temperature": 3.0}), encoding="utf-8")
    model = load_model(random_unet)
    hot, cut = (segment(scene, model, block_size=b).compute() for b in (200, 70))
    # logits are blended first: dividing them changes no class, only how sure it is
    np.testing.assert_array_equal(hot["classes"], plain["classes"])
    assert hot["confidence"].mean() < plain["confidence"].mean()
    np.testing.assert_array_equal(hot["confidence"], cut["confidence"])
    # ... and with it what is left undecided
    doubt = Choices(min_confidence=0.4)
    left = segment(scene, model, choices=doubt)["classes"].to_numpy() == 254
    assert left.any()
