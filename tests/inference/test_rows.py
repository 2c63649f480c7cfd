"""From files to class rows: the same map whatever the block and threads; errors that name scene and block."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file

from geoseg.errors import ModelError, SceneError
from geoseg.inference.lattice import Block
from geoseg.inference.recipe import Choices, Recipe, recipe_for
from geoseg.inference.rows import class_rows, engine_for
from geoseg.models.load import Model, build_network, load_model
from geoseg.scene.read import SceneReader
from geoseg.scene.scene import Scene


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Puts the number of threads back, which belongs to the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def computed(
    recipe: Recipe, block: Block | None = None, *, probabilities: bool = False
) -> tuple[NDArray[np.uint8], ...]:
    """Classes, confidence and, when asked, probabilities of a block."""
    block = block or whole(recipe.scene)
    rows = list(class_rows(recipe, block, probabilities=probabilities))
    assert [r.row_off for r in rows] == list(np.cumsum([block.row_off, *(len(r.classes) for r in rows)])[:-1])
    classes = np.concatenate([r.classes for r in rows])
    assert classes.shape == (block.height, block.width)
    confidence = np.concatenate([r.confidence for r in rows])
    if not probabilities:
        assert all(r.probabilities is None for r in rows)
        return classes, confidence
    return classes, confidence, np.concatenate([r.probabilities for r in rows if r.probabilities is not None], axis=1)


def whole(scene: Scene) -> Block:
    return Block(row_off=0, col_off=0, height=scene.height, width=scene.width)


@st.composite
def parts(draw: st.DrawFn, height: int = 150, width: int = 170) -> Block:
    row, col = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    down, across = draw(st.integers(1, height - row)), draw(st.integers(1, width - col))
    return Block(row_off=row, col_off=col, height=down, width=across)


@pytest.fixture(scope="module")
def whole_by_batch(town: Scene, unet: Model) -> Callable[[int], tuple[NDArray[np.uint8], ...]]:
    """The map of the whole scene by the size of a batch: convolutions of another batch may round otherwise."""
    return cache(lambda n: computed(recipe_for(town, unet, Choices(batch_size=n)), probabilities=True))


@pytest.fixture(scope="module")
def once(whole_by_batch: Any) -> tuple[NDArray[np.uint8], ...]:
    whole: tuple[NDArray[np.uint8], ...] = whole_by_batch(1)
    return whole


@settings(max_examples=12)
@given(block=parts(), batch_size=st.integers(1, 5), threads=st.integers(1, 3), probabilities=st.booleans())
def test_a_network_gives_the_same_bytes_for_any_block_and_threads(
    town: Scene, unet: Model, whole_by_batch: Any, block: Block, batch_size: int, threads: int, probabilities: bool
) -> None:
    choices = Choices(batch_size=batch_size, threads=threads)
    part = computed(recipe_for(town, unet, choices), block, probabilities=probabilities)
    assert len(part) == (3 if probabilities else 2)
    inside = np.s_[..., block.row_off : block.row_end, block.col_off : block.col_end]
    for found, expected in zip(part, whole_by_batch(batch_size), strict=False):
        np.testing.assert_array_equal(found, expected[inside])


@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_batches_of_another_size_differ_by_no_more_than_a_step_of_rounding(
    whole_by_batch: Any, batch_size: int
) -> None:
    classes, *shares = whole_by_batch(batch_size)
    expected, *expected_shares = whole_by_batch(1)
    assert (classes != expected).mean() < 0.001  # near ties
    for found, other in zip(shares, expected_shares, strict=True):
        steps = np.abs(found.astype(int) - other)
        assert steps.max() <= 1
        assert (steps != 0).mean() < 0.001


def test_two_blocks_at_once_share_one_network_and_stay_apart(town: Scene, unet: Model, whole_by_batch: Any) -> None:
    once = whole_by_batch(2)
    recipe = recipe_for(town, unet, Choices(batch_size=2))
    left = Block(row_off=0, col_off=0, height=150, width=80)
    right = Block(row_off=10, col_off=80, height=140, width=90)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda block: computed(recipe, block), [left, right] * 3))
    for (classes, confidence), block in zip(found, [left, right] * 3, strict=True):
        inside = np.s_[block.row_off : block.row_end, block.col_off : block.col_end]
        np.testing.assert_array_equal(classes, once[0][inside])
        np.testing.assert_array_equal(confidence, once[1][inside])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_too_is_independent_of_the_cut(town: Scene, unet: Model, precision: str) -> None:
    recipe = recipe_for(town, unet, Choices(batch_size=3, precision=precision))
    classes = computed(recipe)[0]
    block = Block(row_off=37, col_off=21, height=90, width=110)
    np.testing.assert_array_equal(computed(recipe, block)[0], classes[37:127, 21:131])


def test_the_map_holds_classes_of_the_legend_and_nodata_where_the_scene_has_it(town: Scene, once: Any) -> None:
    classes, confidence, probabilities = once
    with SceneReader(town) as reader:
        valid = reader.read(0, 0, town.height, town.width)[1]
    assert 0.7 < valid.mean() < 0.9
    np.testing.assert_array_equal(classes == 255, ~valid)
    np.testing.assert_array_equal(confidence == 255, ~valid)
    assert set(np.unique(classes[valid])) <= {1, 4, 7}
    assert len(np.unique(classes[valid])) > 1
    assert confidence[valid].max() <= 100
    assert confidence[valid].min() >= 33
    assert probabilities.shape == (3, *classes.shape)
    np.testing.assert_array_equal(probabilities == 255, np.broadcast_to(~valid, probabilities.shape))
    assert (probabilities[:, valid].sum(axis=0, dtype=int) == 254).all()
    likeliest = np.array([1, 4, 7])[probabilities.argmax(axis=0)]
    assert (likeliest == classes)[valid].mean() > 0.99  # but for ties of the rounded probabilities


@pytest.mark.parametrize("name", ["kmeans:4", "spectral"])
def test_rules_and_clusters_are_those_of_the_network_on_the_whole_scene(
    tmp_path: Path, write_scene: Callable[..., Scene], name: str
) -> None:
    rng = np.random.default_rng(3)
    scene = write_scene(tmp_path / "a.tif", rng.random((4, 75, 64)).astype(np.float32))
    scene = replace(
        scene,
        bands=tuple(replace(b, name=n) for b, n in zip(scene.bands, ("blue", "green", "red", "nir"), strict=True)),
    )
    recipe = recipe_for(scene, load_model(name), Choices(window=32, overlap=0.3))
    with SceneReader(scene, recipe.bands) as reader:
        stored, _ = reader.read(0, 0, 75, 64)
    gain, bias = (np.array(v, np.float32)[:, None, None] for v in (recipe.gain, recipe.bias))
    with torch.inference_mode():
        logits = build_network(recipe.model)(torch.from_numpy(stored * gain + bias)[None])[0]
    expected = np.array(recipe.model.legend.values)[logits.argmax(dim=0).numpy()]
    assert (computed(recipe)[0] == expected).mean() > 0.9999


def test_a_network_that_gives_no_numbers_is_an_error_that_names_scene_and_block(
    tmp_path: Path, town: Scene, write_model: Callable[..., Model]
) -> None:
    recipe = recipe_for(town, write_model(tmp_path / "model", factor=1e30))
    block = Block(row_off=64, col_off=70, height=80, width=100)
    with pytest.raises(ModelError, match=r"town\.tif, rows 64 to 144, columns 70 to 170: .*not numbers"):
        computed(recipe, block)


def test_a_network_that_fails_in_torch_is_an_error_that_names_scene_and_block(
    tmp_path: Path, town: Scene, write_model: Callable[..., Model]
) -> None:
    write_model(tmp_path)
    network = smp.Linknet("resnet18", encoder_weights=None, in_channels=3, classes=3)
    save_file({k: v.clone().contiguous() for k, v in network.state_dict().items()}, tmp_path / "weights.safetensors")
    card = yaml.safe_load((tmp_path / "card.yaml").read_text("utf-8"))
    card["architecture"] = {"name": "Linknet", "encoder": "resnet18"}
    card["output_stride"] = 1  # it is 32
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    recipe = recipe_for(town, load_model(tmp_path / "card.yaml"), Choices(window=61))
    block = Block(row_off=64, col_off=70, height=80, width=100)
    with pytest.raises(
        ModelError, match=r"town\.tif, rows 64 to 144, columns 70 to 170: the network failed: .*check that"
    ) as caught:
        computed(recipe, block)
    assert "\n" not in str(caught.value)
    assert type(caught.value.__cause__) is RuntimeError


def test_a_file_that_goes_away_is_named_once(tmp_path: Path, write_scene: Callable[..., Scene], unet: Model) -> None:
    scene = write_scene(tmp_path / "gone.tif", np.ones((3, 80, 80), np.uint8))
    recipe = recipe_for(scene, unet)
    (tmp_path / "gone.tif").unlink()
    with pytest.raises(SceneError, match=r"gone\.tif: cannot be read") as caught:
        computed(recipe)
    assert str(caught.value).count("gone.tif") == 1


def test_a_scene_without_an_observation_gives_nodata(
    tmp_path: Path, write_scene: Callable[..., Scene], unet: Model
) -> None:
    scene = write_scene(tmp_path / "a.tif", np.zeros((3, 80, 70), np.uint8), nodata=0)
    for found in computed(recipe_for(scene, unet)):
        assert (found == 255).all()


def test_a_scene_of_one_pixel_has_one_class(tmp_path: Path, write_scene: Callable[..., Scene], unet: Model) -> None:
    scene = write_scene(tmp_path / "a.tif", np.full((3, 1, 1), 90, np.uint8))
    classes, confidence = computed(recipe_for(scene, unet))
    assert classes[0, 0] in (1, 4, 7)
    assert 33 <= confidence[0, 0] <= 100


def test_the_lowest_double_as_nodata_makes_no_noise(tmp_path: Path, write_scene: Callable[..., Scene]) -> None:
    lowest = float(np.finfo("float64").min)
    pixels = np.random.default_rng(0).random((2, 40, 40))
    pixels[:, :10] = lowest
    scene = write_scene(tmp_path / "a.tif", pixels, nodata=lowest)
    classes, _ = computed(recipe_for(scene, load_model("kmeans:3")))
    np.testing.assert_array_equal(classes == 255, pixels[0] == lowest)


def test_the_network_is_loaded_once_for_all_blocks(town: Scene, unet: Model) -> None:
    recipe = recipe_for(town, unet)
    assert engine_for(recipe) is engine_for(replace(recipe, blend="flat"))
    assert engine_for(recipe) is not engine_for(replace(recipe, precision="bfloat16"))


def test_an_error_leaves_no_thread_behind(tmp_path: Path, town: Scene, write_model: Callable[..., Model]) -> None:
    recipe = recipe_for(town, write_model(tmp_path / "model", factor=1e30))
    with pytest.raises(ModelError) as caught:
        computed(recipe)
    assert caught.value.__traceback__ is not None  # as long as someone holds the error
    assert not [t.name for t in threading.enumerate() if t.name.startswith("geoseg")]


def test_rows_that_nobody_asks_for_any_more_leave_no_thread_behind(town: Scene, unet: Model) -> None:
    before = set(threading.enumerate())
    rows = class_rows(recipe_for(town, unet), whole(town))
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    left = {t for t in threading.enumerate() if t.name.startswith("geoseg")} - before
    assert not left
