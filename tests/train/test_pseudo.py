"""What a first model is sure of, as labels of pixels that have none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import geoseg
from geoseg.errors import GeosegError
from geoseg.inference.recipe import Choices
from geoseg.legend import Legend, LegendClass
from geoseg.train.config import load_training
from geoseg.train.pairs import find_pairs
from geoseg.train.pixel_losses import IGNORE
from geoseg.train.places import CELL, count_cells, split_places
from geoseg.train.pseudo import classes_of, filled, with_maps
from geoseg.train.windows import PatchSource
from tests.train.conftest import SIDE, made, trained, write

CLASSES = [{"value": 1, "name": "field"}, {"value": 2, "name": "wood"}]
CONFIDENCE = 0.97


def legend(*names: str, first: int = 1) -> Legend:
    classes = (LegendClass(value=i, name=name, color="#000000") for i, name in enumerate(names, first))
    return Legend(classes=tuple(classes))


def asked(data: Path, labels: Path, **other: Any) -> dict[str, Any]:
    """Settings that hold out the scene s3."""
    return {
        "images": [str(data / "images")],
        "labels": str(labels),
        "classes": CLASSES,
        "split": {"val": ["s3"]},
        "window": 32,
    } | other


def thinned(folder: Path) -> Path:
    """Labels of which a tenth is left in s0 and s2, none in s1, all in s3."""
    for i in (0, 2, 3):
        labels = made(i)[1]
        if i != 3:
            labels[np.random.default_rng(i).random(labels.shape) < 0.9] = 0
        write(folder / f"s{i}.tif", labels, x=500_000.0 + 2_000 * i, nodata=0)
    return folder


def test_classes_belong_together_by_name_and_what_a_model_leaves_undecided_is_no_label() -> None:
    index, lacking = classes_of(legend("Wood", "road", "field"), legend("field", "wood", first=7), name="m")
    assert index[[1, 2, 3]].tolist() == [1, IGNORE, 0]
    assert lacking == ("road",)
    assert (np.delete(index, [1, 3]) == IGNORE).all()
    with pytest.raises(GeosegError, match="first model m has none of the classes of the labels: its are a, b"):
        classes_of(legend("a", "b"), legend("field", "wood"), name="m")


def test_true_labels_win_and_what_is_held_out_has_no_others(data: Path, tmp_path: Path) -> None:
    said = np.random.default_rng(9).integers(1, 4, (SIDE, SIDE)).astype(np.uint8)  # 3 is none of the classes
    labels = thinned(tmp_path / "labels")
    maps = {f"s{i}": str(write(tmp_path / f"m{i}.tif", said, x=500_000.0 + 2_000 * i)) for i in range(4)}
    split = {"by": "block", "block_px": 32, "val": 0.3}
    spec = load_training(None, asked(data, labels, split=split, pseudo_labels="x"), folder=Path("/")).spec
    pairs = find_pairs(spec)
    assert [p.scene.id for p in pairs.items] == ["s0", "s1", "s2", "s3"]
    assert pairs.notes == ("1 image has no label and has those of the first model alone: s1",)
    places = split_places(pairs, [count_cells(p, pairs.legend, ()) for p in pairs.items], spec.split)
    index, _ = classes_of(legend("field", "wood"), pairs.legend, name="m")
    pairs = with_maps(pairs, maps, index)
    now, added = filled(pairs, places, ())
    train = PatchSource(pairs.items, now, held_out=False, cache_bytes=0)
    held = PatchSource(pairs.items, now, held_out=True, cache_bytes=1 << 20)
    found = np.zeros(2, np.int64)
    for scene in range(4):
        true = np.zeros((SIDE, SIDE), np.uint8) if scene == 1 else geoseg_read(labels / f"s{scene}.tif")
        apart = places.held_out[scene].repeat(CELL, 0).repeat(CELL, 1)
        wanted = np.where(true > 0, true, np.where(said < 3, said, 0))
        wanted = np.where(apart, 0, wanted)
        np.testing.assert_array_equal(train.cut(scene, 0, 0, SIDE).target, wanted - np.uint8(1))
        np.testing.assert_array_equal(held.cut(scene, 0, 0, SIDE).target, np.where(apart, true, 0) - np.uint8(1))
        found += [int((wanted == v).sum()) - int(((true == v) & ~apart).sum()) for v in (1, 2)]
    assert added.tolist() == found.tolist()
    np.testing.assert_array_equal(now.pixels(held_out=True), places.pixels(held_out=True))
    train.release()
    held.release()
    with pytest.raises(GeosegError, match=r"m0\.tif: its pixels are up to 200 px off those of"):
        with_maps(pairs, {"s1": maps["s0"]}, index)
    nothing = with_maps(pairs, maps, np.full(256, IGNORE, np.uint8))
    with pytest.raises(GeosegError, match="the first model adds no label: it is nowhere so sure"):
        filled(nothing, places, ())


def geoseg_read(path: Path) -> Any:
    import rasterio

    with rasterio.open(path) as file:
        return file.read(1)


def test_a_training_learns_from_what_the_engine_is_sure_of_where_there_is_no_label(
    finished: tuple[dict[str, Any], Path],
    settings: Callable[..., dict[str, Any]],
    data: Path,
    tmp_path: Path,
) -> None:
    _, first = finished
    labels = thinned(tmp_path / "labels")
    plain = settings(**asked(data, labels), epochs=1, pictures=0)
    more = plain | {"pseudo_labels": str(first), "pseudo_confidence": CONFIDENCE}
    said: list[str] = []
    trained(plain, tmp_path / "plain")
    model = trained(more, tmp_path / "more", say=said.append)
    # how many pixels there should be, from the engine's own map
    n_true = n_added = 0
    for i in range(3):
        scene = geoseg.open_scene(data / "images" / f"s{i}.tif")
        sure = geoseg.segment(scene, geoseg.load_model(first), choices=Choices(min_confidence=CONFIDENCE))
        decided = sure.classes.to_numpy() < 3
        true = np.zeros((SIDE, SIDE), np.bool_) if i == 1 else geoseg_read(labels / f"s{i}.tif") > 0
        n_true += int(true.sum())
        n_added += int((decided & ~true).sum())
        assert 0 < decided.mean() < 1
    assert (
        f"{n_true} labelled pixels to train on, and as labels {n_added} of which two kinds 1.0 was at least 97% sure"
    ) in model.card.training
    assert any("are labels, too (field" in line for line in said)
    assert model.card.scores is not None
    assert model.card.scores.pixels == SIDE**2
    name = "segmentation_head.0.weight"
    one, other = (load_file(tmp_path / m / "weights.safetensors")[name] for m in ("plain", "more"))
    assert not torch.equal(one, other)
    assert not (tmp_path / "more" / ".geoseg").exists()
    # where the first model lies shapes nothing, what it is does
    record = json.loads((tmp_path / "more" / "training" / "training.json").read_text())
    assert record["settings"]["pseudo_confidence"] == CONFIDENCE
    moved = tmp_path / "moved"
    first_copy = moved / "model"
    first_copy.mkdir(parents=True)
    for file in ("card.yaml", "weights.safetensors"):
        (first_copy / file).write_bytes((first / file).read_bytes())
    assert trained(more | {"pseudo_labels": str(first_copy)}, tmp_path / "more").was_there
    with pytest.raises(GeosegError, match=r"holds a model of other settings \(pseudo_labels\)"):
        trained(more | {"pseudo_labels": str(tmp_path / "plain")}, tmp_path / "more")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pseudo_confidence": 0.8}, "pseudo_confidence is of no use without pseudo_labels"),
        ({"pseudo_labels": "landcover-unet"}, "first model landcover-unet has none of the classes of the labels"),
        ({"pseudo_labels": "change-siamese"}, "change-siamese is no model of the classes of one image"),
        ({"pseudo_labels": "no/such"}, "there is no model 'no/such'"),
    ],
    ids=str,
)
def test_a_first_model_that_cannot_be_one_is_refused_in_a_line(
    settings: Callable[..., dict[str, Any]], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(GeosegError, match=message):
        trained(settings(**change), tmp_path / "m")
    assert not (tmp_path / "m" / "card.yaml").exists()
