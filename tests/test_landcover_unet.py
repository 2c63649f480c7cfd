"""The shipped U-Net loads through the model door and maps the sample scenes."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.models.load import Model, build_network, load_model
from sample_data.classes import BANDS, LEGEND
from sample_data.score import SCENES, TRUTH, confusion, iou
from sample_data.train_unet import TRAINING_SEEDS, normalise, predict, statistics, train, training_views, write_model

SIDE = 320


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


def test_it_was_not_trained_on_the_committed_place() -> None:
    assert 7 not in TRAINING_SEEDS
    with pytest.raises(ValueError, match="committed"):
        training_views([7], 64)


def test_training_is_repeatable_and_what_it_writes_loads(tmp_path: Path) -> None:
    views = training_views([1], 140)
    stats = statistics(views)
    first, again = (train(views, stats, seed=3, phases=[(2, 1e-3), (2, 1e-3)]) for _ in range(2))
    for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)

    write_model(tmp_path, first, stats, "two steps")
    loaded = load_model(tmp_path)
    image = torch.from_numpy(normalise(views[0].pixels[:, :128, :128], stats))[None]
    with torch.inference_mode():
        torch.testing.assert_close(build_network(loaded)(image), first(image), rtol=0, atol=0)


def test_a_plain_window_that_covers_the_image_is_the_network_itself(model: Model) -> None:
    image = np.random.default_rng(0).standard_normal((len(BANDS), 64, 64), dtype=np.float32)
    network = build_network(model)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image)[None])[0].argmax(dim=0).numpy()
    np.testing.assert_array_equal(predict(network, image, window=64, stride=48), expected)
