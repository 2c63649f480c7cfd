"""Results on the scene's own pixels: those of the model brought back, the same for any cut, nodata where it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from geoseg.errors import ModelError
from geoseg.inference.decide import _decide_device, decide
from geoseg.inference.inside import Inside
from geoseg.inference.lattice import Block
from geoseg.inference.native import _likelihoods, _likelihoods_device, _to_logarithms
from geoseg.inference.normalise import Normalisation
from geoseg.inference.recipe import Choices, Recipe, recipe_for
from geoseg.inference.rows import class_rows, engine_for
from geoseg.inference.segment import segment
from geoseg.inference.stream import stream
from geoseg.models.load import Model
from geoseg.scene.read import SceneReader
from geoseg.scene.resample import resampled
from geoseg.scene.scene import Scene

NATIVE = Choices(native_grid=True, batch_size=2)


def computed(recipe: Recipe, block: Block | None = None) -> tuple[NDArray[np.uint8], ...]:
    """Classes, confidence and probabilities of a block; of the whole by default."""
    height, width = recipe.shape
    block = block or Block(row_off=0, col_off=0, height=height, width=width)
    rows = list(class_rows(recipe, block, probabilities=True))
    assert [r.row_off for r in rows] == list(np.cumsum([block.row_off, *(len(r.classes) for r in rows)])[:-1])
    shares = [r.probabilities for r in rows if r.probabilities is not None]
    classes, confidence = (np.concatenate([getattr(r, kind) for r in rows]) for kind in ("classes", "confidence"))
    assert classes.shape == (block.height, block.width)
    return classes, confidence, np.concatenate(shares, axis=1)


def seen_probabilities(recipe: Recipe) -> torch.Tensor:
    """Of the grid that the model sees, (class, row, col) in float64, from its logits."""
    scene = recipe.scene
    rows = stream(
        scene.reader(recipe.bands),
        engine_for(recipe),
        recipe.lattice,
        Block(row_off=0, col_off=0, height=scene.height, width=scene.width),
        normalise=Normalisation(gain=recipe.gain, bias=recipe.bias, fill=recipe.model.card.nodata_fill),
        n_classes=recipe.model.n_classes,
    )
    return torch.cat([r.logits.to(torch.float64).softmax(dim=0) for r in rows], dim=1)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory, write_scene: Callable[..., Scene]) -> Scene:
    """120 x 96 px of three bands, all of it observed."""
    rng = np.random.default_rng(2)
    pixels = rng.integers(1, 250, (3, 12, 12)).repeat(10, axis=1).repeat(8, axis=2).astype(np.uint8)
    return write_scene(tmp_path_factory.mktemp("fields") / "fields.tif", pixels)


@pytest.mark.parametrize("gsd", [20.0, 5.0])
def test_probabilities_are_those_of_the_model_interpolated_or_averaged(fields: Scene, unet: Model, gsd: float) -> None:
    there = resampled(fields, gsd)
    assert (there.height, there.width) == (round(1200 / gsd), round(960 / gsd))
    recipe = recipe_for(there, unet, NATIVE)
    assert (recipe.geobox, recipe.shape) == (fields.geobox, (120, 96))
    seen = seen_probabilities(recipe)[None]
    # torch's own: between centres where pixels get smaller, the mean of an area where they get larger
    resized = interpolate(seen, (120, 96), mode="bilinear") if gsd > 10 else interpolate(seen, (120, 96), mode="area")
    expected = resized[0].numpy()
    classes, confidence, shares = computed(recipe)
    assert np.abs(shares / 254 - expected).max() < 1 / 254
    assert np.abs(confidence / 100 - expected.max(axis=0)).max() < 0.0051
    first, second = np.sort(expected, axis=0)[[-1, -2]]
    sure = first - second > 1e-4
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(classes[sure], np.array([1, 4, 7])[expected.argmax(axis=0)][sure])


@pytest.mark.parametrize("gsd", [23.0, 6.3])
@settings(max_examples=6)
@given(data=st.data())
def test_a_part_is_that_part_of_the_whole_to_the_bit(town: Scene, unet: Model, gsd: float, data: st.DataObject) -> None:
    recipe = recipe_for(resampled(town, gsd), unet, NATIVE)
    row, col = data.draw(st.integers(0, 149)), data.draw(st.integers(0, 169))
    height, width = data.draw(st.integers(1, 150 - row)), data.draw(st.integers(1, 170 - col))
    key = (unet.digest, gsd)
    if key not in WHOLE:
        WHOLE[key] = computed(recipe)
    found = computed(recipe, Block(row_off=row, col_off=col, height=height, width=width))
    for part, whole in zip(found, WHOLE[key], strict=True):
        np.testing.assert_array_equal(part, whole[..., row : row + height, col : col + width])


WHOLE: dict[Any, tuple[NDArray[np.uint8], ...]] = {}


@pytest.mark.parametrize("gsd", [23.0, 6.3])
def test_nodata_stays_where_it_was_and_source_rows_are_read_once(
    town: Scene, unet: Model, gsd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = np.zeros(town.height, np.int64)
    read = SceneReader.read

    def counted(self: SceneReader, row: int, col: int, height: int, width: int) -> Any:
        asked[row : row + height] += 1
        return read(self, row, col, height, width)

    recipe = recipe_for(resampled(town, gsd), unet, NATIVE)
    with town.reader() as reader:  # type: ignore[attr-defined]
        _, valid = reader.read(0, 0, 150, 170)
    monkeypatch.setattr(SceneReader, "read", counted)
    found = computed(recipe)
    assert (asked == 1).all()
    for layer in found:
        np.testing.assert_array_equal((layer != 255), np.broadcast_to(valid, layer.shape))


def test_a_pixel_that_the_model_says_nothing_of_has_no_class(
    tmp_path: Path, unet: Model, write_scene: Callable[..., Scene]
) -> None:
    pixels = np.zeros((3, 80, 80), np.uint8)
    pixels[:, :, :40] = 90
    pixels[:, 40, 60] = 90  # one pixel of sixteen: the model does not see it
    scene = write_scene(tmp_path / "a.tif", pixels, nodata=0)
    classes, *_ = computed(recipe_for(resampled(scene, 40), unet, NATIVE))
    assert (classes[:, :40] != 255).all()
    assert (classes[:, 40:] == 255).all()


@pytest.mark.parametrize("gsd", [23.0, 6.3])
def test_inside_an_area_nothing_changes(town: Scene, unet: Model, gsd: float) -> None:
    area = shapely.Polygon([(75.2, 20), (140, 75.5), (100, 140), (30, 110)])
    inside = Inside(height=150, width=170, outline=shapely.to_wkb(area), digest="a", label="a")
    there = resampled(town, gsd)
    whole = computed(recipe_for(there, unet, NATIVE))
    mask = inside.mask(0, 0, 150, 170)
    recipe = recipe_for(there, unet, NATIVE, inside=inside)
    for found, expected in zip(computed(recipe), whole, strict=True):
        np.testing.assert_array_equal(found, np.where(mask, expected, 255))
    seen = recipe.seen_inside
    assert seen is not None
    assert 0 < seen.n_pixels < there.height * there.width


def test_it_is_part_of_what_results_are_made_of_only_where_pixels_are_resampled(town: Scene, unet: Model) -> None:
    there = resampled(town, 20)
    assert recipe_for(there, unet, NATIVE).key != recipe_for(there, unet).key
    assert recipe_for(there, unet, NATIVE).parameters["native_grid"] is True
    assert recipe_for(town, unet, NATIVE).key == recipe_for(town, unet).key
    assert recipe_for(town, unet, NATIVE).geobox == recipe_for(town, unet).geobox == town.geobox


def test_segment_gives_the_grid_of_the_scene(town: Scene, unet: Model) -> None:
    model = replace(unet, card=unet.card.model_copy(update={"gsd_m": 23.0}))
    found = segment(town, model, choices=NATIVE, block_size=64).compute(scheduler="synchronous")
    assert found.classes.odc.geobox == town.geobox
    np.testing.assert_array_equal(found.classes, computed(recipe_for(resampled(town, 23), unet, NATIVE))[0])


def test_numbers_that_are_none_are_refused(town: Scene, tmp_path: Path, write_model: Callable[..., Model]) -> None:
    recipe = recipe_for(resampled(town, 20), write_model(tmp_path / "model", factor=1e30), NATIVE)
    with pytest.raises(ModelError, match=r"town\.tif, rows 0 to 150.*not numbers"):
        computed(recipe)


def test_an_accelerator_does_the_same_as_the_compiled_kernels() -> None:
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(0, 5, (4, 9, 31)).astype(np.float32))
    logits[2, 0] = -torch.inf  # a class that is ruled out
    valid = rng.random((9, 31)) < 0.8
    here, there = _likelihoods(logits, valid, 1.5), _likelihoods_device(logits, valid, 1.5)
    assert torch.allclose(here, there, atol=1e-6)
    np.testing.assert_array_equal(here[..., -1].numpy(), valid)
    likely = here[..., :-1].contiguous()
    logs = likely.clone().numpy()
    _to_logarithms(logs.reshape(-1))
    some = likely.numpy() > 1e-30
    np.testing.assert_allclose(logs[some], np.log(likely.numpy()[some]), atol=1e-5)
    assert logs[~some].max() < -69
    classes, percent, _ = decide(torch.from_numpy(logs).permute(2, 0, 1), valid, values=(1, 2, 3, 4), nodata=255)
    table = torch.tensor((1, 2, 3, 4), dtype=torch.uint8)
    also, other, good = _decide_device(likely.log().permute(2, 0, 1), table, 1.0, torch.from_numpy(valid), 255)
    assert bool(good)
    np.testing.assert_array_equal(classes, also.numpy())
    assert np.abs(percent.astype(int) - other.numpy()).max() <= 1
    with pytest.raises(ModelError, match="not numbers"):
        _likelihoods_device(torch.full((2, 1, 1), torch.nan), np.ones((1, 1), np.bool_), 1.0)
