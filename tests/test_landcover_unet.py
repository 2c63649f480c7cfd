"""The shipped U-Net loads through the model door and maps the sample scenes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.jobs.train import train
from geoseg.models.load import Model, build_network, load_model
from geoseg.train.config import load_training
from geoseg.train.machine import Machine
from sample_data.classes import BANDS, LEGEND
from sample_data.score import SCENES, TRUTH, confusion, iou
from sample_data.training_places import SEEDS, write_places

SIDE = 320
SETTINGS = SCENES.parent / "unet.yaml"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("landcover-unet")


def mapped(model: Model, pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    mean, std = (np.array(each, dtype=np.float32)[:, None, None] for each in (model.mean, model.std))
    image = np.where(pixels == 0, np.float32(0), (pixels * np.float32(1e-4) - mean) / std).astype(np.float32)
    with torch.inference_mode():
        index = build_network(model)(torch.from_numpy(image)[None])[0].argmax(dim=0).numpy()
    classes: NDArray[np.uint8] = np.array(model.legend.values, dtype=np.uint8)[index]
    return classes


def test_the_card_speaks_the_language_of_the_scenes(model: Model) -> None:
    assert model.bands == BANDS
    assert model.legend == LEGEND
    assert model.card.units == "reflectance"
    assert model.card.gsd_m == 10.0
    assert set(model.card.quantiles) == set(BANDS)
    assert model.card.weights_sha256 == model.weights_sha256
    assert model.weights is not None
    assert model.weights.stat().st_size < 4_000_000


def test_band_statistics_are_those_of_scenes_like_these(model: Model) -> None:
    with rasterio.open(SCENES / "valley_centre_20190617.tif") as scene:
        seen = scene.read()[:, scene.read(1) > 0] * 1e-4
    assert (np.abs(seen.mean(axis=1) - model.mean) < 0.5 * np.array(model.std)).all()


@pytest.mark.parametrize("name", ["valley_west_20190617", "valley_centre_20230908"])
def test_it_maps_a_place_it_never_saw(model: Model, name: str) -> None:
    window = Window(400, 480, SIDE, SIDE)
    with rasterio.open(SCENES / f"{name}.tif") as scene, rasterio.open(TRUTH / f"{name}.tif") as truth:
        counts = confusion(truth.read(1, window=window), mapped(model, scene.read(window=window)))
    assert np.trace(counts) / counts.sum() > 0.9
    assert np.nanmean(iou(counts)) > 0.75


def test_it_was_not_trained_on_the_committed_place(tmp_path: Path) -> None:
    assert 7 not in SEEDS
    with pytest.raises(ValueError, match="committed"):
        write_places(tmp_path, seeds=[7], size=64)


def test_the_card_is_what_the_settings_say(model: Model) -> None:
    spec = load_training(SETTINGS, {}, folder=Path.cwd()).spec
    card = model.card
    assert (card.name, card.description, card.license) == (spec.name, spec.description, spec.license)
    assert card.architecture == spec.architecture
    assert card.scores is not None
    assert isinstance(spec.split.val, tuple)
    assert f"4 of {2 * len(SEEDS)} scenes ({', '.join(spec.split.val)})" in card.scores.data
    assert f"seed {spec.seed}" in card.training
    assert f"of {spec.epochs}, each of {spec.batches} batches of {spec.batch_size} windows of {spec.window} px" in (
        card.training
    )


def test_its_settings_train_a_model_on_places_that_are_written(tmp_path: Path) -> None:
    write_places(tmp_path / "places", seeds=[101, 109, 110], size=96)
    asked: dict[str, Any] = {"images": str(tmp_path / "places/scenes"), "labels": str(tmp_path / "places/truth")}
    asked |= {"epochs": 1, "batches": 2, "window": 32, "pictures": 0}
    told: list[str] = []
    trained = train(
        load_training(SETTINGS, asked, folder=Path.cwd()),
        tmp_path / "model",
        machine=Machine(threads=1),
        say=told.append,
        progress=lambda *_: None,
    )
    assert any("place109_20190617, place109_20230908, place110_20190617, place110_20230908" in line for line in told)
    loaded = load_model(trained.folder)
    assert (loaded.legend, loaded.bands, loaded.card.units, loaded.card.gsd_m) == (LEGEND, BANDS, "reflectance", 10.0)
