"""Training from end to end, in this process."""

import csv
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from safetensors.torch import load_file, save_file

import geoseg
import geoseg.models.load
from geoseg.errors import GeosegError
from geoseg.models.card import PROBABILITIES
from geoseg.train.config import load_training
from geoseg.train.keeper import Epoch
from geoseg.train.network import first_network
from geoseg.train.scores import Confusion
from tests.train.conftest import made, trained, write

Settings = Callable[..., dict[str, Any]]


def log_of(output: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((output / "training" / "log.csv").read_text().splitlines()))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_the_folder_is_a_model_that_maps_a_scene_it_never_saw(
    finished: tuple[dict[str, Any], Path], data: Path, tmp_path: Path
) -> None:
    _, output = finished
    model = geoseg.load_model(output)
    scene = geoseg.open_scene(write(tmp_path / "new.tif", made(77)[0], bands=("red", "nir")))
    mapped = geoseg.segment(scene, model).classes.to_numpy()
    right = float((mapped == made(77)[1]).mean())
    assert right > 0.95
    assert model.legend.names == ("field", "wood")


def test_the_card_says_what_the_data_were_and_how_good_the_model_is(finished: tuple[dict[str, Any], Path]) -> None:
    _, output = finished
    card = geoseg.load_model(output).card
    pixels = np.concatenate([made(i)[0].reshape(2, -1) for i in range(3)], axis=1)
    assert [b.name for b in card.bands] == ["red", "nir"]
    np.testing.assert_allclose([b.mean for b in card.bands], pixels.mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose([b.std for b in card.bands], pixels.std(axis=1), rtol=1e-4)
    assert tuple(card.quantiles["red"]) == PROBABILITIES
    assert card.quantiles["nir"][0.5] == pytest.approx(np.median(pixels[1]), abs=1)
    assert (card.units, card.window, card.output_stride) == ("dn", 256, 4)
    assert card.gsd_m == pytest.approx(10, rel=0.01)
    assert list(card.place or ()) == [-180, -80, 180, 80]
    assert card.scores is not None
    assert card.scores.pixels == made(3)[1].size
    best = max(log_of(output), key=lambda row: float(row["miou"]))
    assert card.scores.miou == pytest.approx(float(best["miou"]), abs=1e-4)
    assert f"epoch {best['epoch']} of 4" in card.training
    assert "1 of 4 scenes" in card.scores.data


def test_log_pictures_and_tensorboard_have_every_epoch(finished: tuple[dict[str, Any], Path]) -> None:
    _, output = finished
    rows = log_of(output)
    assert [r["epoch"] for r in rows] == ["1", "2", "3", "4"]
    assert [r["steps"] for r in rows] == ["10", "20", "30", "40"]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    from PIL import Image

    pictures = sorted((output / "training").glob("epoch_*.png"))
    assert len(pictures) == 4
    # two windows of 32 px, three pictures each, with a gap
    with Image.open(pictures[0]) as drawn:
        assert drawn.size == (3 * 36, 2 * 36)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(output / "training" / "tensorboard"))
    events.Reload()
    assert [s.step for s in events.Scalars("miou")] == [1, 2, 3, 4]
    assert [s.value for s in events.Scalars("train_loss")] == pytest.approx([float(r["train_loss"]) for r in rows])


def test_the_same_settings_again_do_nothing_and_others_are_refused(finished: tuple[dict[str, Any], Path]) -> None:
    settings, output = finished
    before = {f: f.stat().st_mtime_ns for f in output.rglob("*") if f.is_file()}
    assert trained(settings, output).was_there
    assert {f: f.stat().st_mtime_ns for f in output.rglob("*") if f.is_file()} == before
    with pytest.raises(GeosegError, match=r"holds a model of other settings \(seed\): pass --overwrite"):
        trained(settings | {"seed": 1}, output)


class _Killed(BaseException):
    """Stands for a death at the end of a batch; what the disk has is all there is."""


def test_a_training_that_died_goes_on_from_its_last_epoch_with_the_same_losses_and_weights(
    finished: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    settings, whole = finished

    def die(done: int, _total: int, _epoch: Epoch | None) -> None:
        if done == 25:
            raise _Killed

    with pytest.raises(_Killed):
        trained(settings, tmp_path / "m", progress=die)
    assert not (tmp_path / "m" / "card.yaml").exists()
    assert len(log_of(tmp_path / "m")) == 2
    with pytest.raises(GeosegError, match=r"unfinished training with other settings \(seed\): pass --restart"):
        trained(settings | {"seed": 1}, tmp_path / "m")
    moved = tmp_path / "images"
    shutil.copytree(settings["images"][0], moved)
    first = next(moved.iterdir())
    with rasterio.open(first, "r+") as file:
        file.write(file.read() + 1)
    with pytest.raises(GeosegError, match="unfinished training with other data: pass --restart"):
        trained(settings | {"images": [str(moved)]}, tmp_path / "m")
    said: list[str] = []
    trained(settings, tmp_path / "m", say=said.append)
    assert any("going on" in line for line in said)
    assert log_of(tmp_path / "m") == log_of(whole)
    one, other = (load_file(folder / "weights.safetensors") for folder in (whole, tmp_path / "m"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not (tmp_path / "m" / ".geoseg").exists()


def test_an_interrupt_is_an_interrupt_and_leaves_what_it_found(settings: Settings, tmp_path: Path) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = (signal.getsignal(signal.SIGINT), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    with pytest.raises(KeyboardInterrupt):
        trained(settings(), tmp_path / "m", progress=interrupt)
    assert before == (
        signal.getsignal(signal.SIGINT), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    )  # fmt: skip


def test_patience_ends_a_training_early_and_the_best_epoch_is_the_model(settings: Settings, tmp_path: Path) -> None:
    # a rate this small changes no pixel
    trained(settings(learning_rate=1e-12, epochs=6, batches=1, patience=2), tmp_path / "m")
    assert len(log_of(tmp_path / "m")) == 3
    assert "epoch 1 of 3" in geoseg.load_model(tmp_path / "m").card.training


def test_weights_from_a_file_are_where_the_training_starts(
    finished: tuple[dict[str, Any], Path], settings: Settings, tmp_path: Path
) -> None:
    _, output = finished
    weights = output / "weights.safetensors"
    said: list[str] = []
    still = settings(learning_rate=1e-12, epochs=1, batches=1, init=str(weights))
    trained(still, tmp_path / "m", say=said.append)
    names = load_file(weights)
    assert any(f"{len(names)} of {len(names)} tensors from weights.safetensors" in line for line in said)
    card = geoseg.load_model(tmp_path / "m").card
    assert card.scores is not None
    assert card.scores.miou > 0.8
    # an encoder's file alone, made for three bands
    encoder = {n.removeprefix("encoder.model."): t for n, t in names.items() if n.startswith("encoder.model.")}
    encoder["conv1.weight"] = torch.ones(64, 3, 7, 7)
    save_file(encoder, tmp_path / "encoder.safetensors")
    trained(still | {"init": str(tmp_path / "encoder.safetensors")}, tmp_path / "n", say=said.append)
    first = load_file(tmp_path / "n" / "weights.safetensors")["encoder.model.conv1.weight"]
    np.testing.assert_allclose(first.numpy(), 1.5, atol=1e-6)
    save_file({"something.else": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(GeosegError, match="does not fit: 0% of the encoder's"):
        trained(still | {"init": str(tmp_path / "other.safetensors")}, tmp_path / "o")


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"encoder": "resnet18"}, (r"^init: imagenet: the weights of resnet18 were not fetched before, and \S+ cannot "
         r"be reached .*: try again with a network, give a file of weights \(init: FILE\), or write init: none$")),
        ({"encoder": "dpn92"}, "^init: imagenet: there are no such weights for the encoder dpn92: give a file"),
        ({"encoder": "tu-resnet18", "options": {"encoder_depth": 9}}, "^cannot build Unet with encoder tu-resnet18"),
    ],
    ids=["no network", "no weights", "no such network"],
)  # fmt: skip
def test_weights_that_cannot_be_fetched_are_one_line_with_the_mends(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    architecture: dict[str, Any], message: str,
) -> None:  # fmt: skip
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = settings(architecture={"name": "Unet"} | architecture, init="imagenet", window=64)
    with pytest.raises(GeosegError, match=message):
        trained(asked, tmp_path / "m")
    assert capfd.readouterr().err == ""


def test_weights_that_were_fetched_before_start_a_training_without_a_network(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import segmentation_models_pytorch as smp
    from huggingface_hub import constants

    # the hub's cache, filled as a download fills it
    of = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    repository = tmp_path / "cache" / f"models--{of['repo_id'].replace('/', '--')}"
    folder = repository / "snapshots" / of["revision"]
    folder.mkdir(parents=True)
    torch.manual_seed(99)
    known = {k: v.contiguous() for k, v in smp.encoders.get_encoder("resnet18", weights=None).state_dict().items()}
    save_file(known, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = settings(architecture={"name": "Unet", "encoder": "resnet18"}, init="imagenet")
    spec = load_training(None, asked, folder=tmp_path).spec
    network, words = first_network(spec, in_channels=2, n_classes=2, origin="the settings")
    assert words == "encoder trained on ImageNet"
    found = network.state_dict()
    for name in ("layer1.0.conv1.weight", "layer4.1.bn2.weight"):
        assert torch.equal(found[f"encoder.{name}"], known[name])


@pytest.mark.parametrize(
    "change",
    [{"accumulate": 3}, {"precision": "bfloat16"}, {"class_weights": "inverse"}, {"clip": 0.001}, {"balance": 1.0},
     {"loss": [{"name": "focal"}]}, {"warmup": 0.9}, {"weight_decay": 1.0}, {"augment": {"flip": 0, "turn": False}}],
    ids=str,
)  # fmt: skip
def test_every_setting_changes_what_is_learnt(settings: Settings, tmp_path: Path, change: dict[str, Any]) -> None:
    short = settings(epochs=1, batches=3, pictures=0, learning_rate=0.01)
    if "base" not in _BASE:
        trained(short, tmp_path / "base")
        _BASE["base"] = load_file(tmp_path / "base" / "weights.safetensors")
    trained(short | change, tmp_path / "m")
    changed = load_file(tmp_path / "m" / "weights.safetensors")
    name = "segmentation_head.0.weight"
    assert not torch.equal(_BASE["base"][name], changed[name])
    if change.get("accumulate"):
        assert log_of(tmp_path / "m")[0]["steps"] == "1"
    assert not list((tmp_path / "m" / "training").glob("*.png"))


_BASE: dict[str, dict[str, torch.Tensor]] = {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 50}, "a window of 50 px does not fit Unet with tu-resnet18: choose a multiple of 4"),
        ({"architecture": {"name": "Unit"}}, "there is no architecture 'Unit'; did you mean Unet"),
        ({"architecture": {"encoder": "tu-resnet19"}}, "there is no encoder 'tu-resnet19'"),
        ({"loss": [{"name": "ce", "weight": 1e39}]}, "the loss became (nan|inf) in epoch 1: choose a lower"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_said_in_a_line(
    settings: Settings, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(GeosegError, match=message):
        trained(settings(**change), tmp_path / "m")
    assert not (tmp_path / "m" / "card.yaml").exists()


def test_scores_are_ratios_of_counts() -> None:
    counts = Confusion(counts=np.array([[50, 10, 0], [5, 35, 0], [0, 0, 0]]))
    assert counts.accuracy == 0.85
    np.testing.assert_allclose(counts.iou[:2], [50 / 65, 35 / 50])
    assert np.isnan(counts.iou[2])
    assert counts.miou == pytest.approx((50 / 65 + 35 / 50) / 2)
    assert Confusion(counts=np.zeros((2, 2), np.int64)).miou == 0.0


def test_a_finished_model_is_known_again_where_its_data_were_moved(
    settings: Settings, data: Path, tmp_path: Path
) -> None:
    short = settings(epochs=1, batches=1, pictures=0)
    trained(short, tmp_path / "m")
    # hard links keep size and times, of which the fingerprint is made
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for file in (data / folder).iterdir():
            os.link(file, tmp_path / folder / file.name)
    moved = short | {"images": [str(tmp_path / "images")], "labels": str(tmp_path / "labels")}
    assert trained(moved, tmp_path / "m").was_there


OWN = '''"""A network of a user's own."""
from torch import nn


class Net(nn.Sequential):
    output_stride = 2

    def __init__(self, in_channels, classes, width=4):
        super().__init__(nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, classes, 1))


def number(in_channels, classes):
    return 7
'''


def test_a_network_of_ones_own_is_trained_and_run_where_it_is_trusted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_net.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    asked = settings(
        architecture={"name": "my_own_net:Net", "options": {"width": 6}}, epochs=2, batches=20, window=34, patience=9
    )
    with pytest.raises(GeosegError, match="my_own_net:Net is code to import: if you trust it, pass --trust-model"):
        trained(asked, tmp_path / "m")
    assert "my_own_net" not in sys.modules
    trained(asked, tmp_path / "m", trust=True)
    with pytest.raises(GeosegError, match="a model of kind module is a program"):
        geoseg.load_model(tmp_path / "m")
    model = geoseg.load_model(tmp_path / "m", trust=True)
    assert model.card.output_stride == 2
    assert model.card.architecture is not None
    assert model.card.architecture.options == {"width": 6}
    scene = geoseg.open_scene(write(tmp_path / "new.tif", made(77)[0], bands=("red", "nir")))
    assert float((geoseg.segment(scene, model).classes.to_numpy() == made(77)[1]).mean()) > 0.9
    for name, message in (
        ("my_own_net:number", "gave a int: it should give a torch.nn.Module"),
        ("my_own_net:Nat", "cannot build the architecture my_own_net:Nat .AttributeError"),
        ("no_such_module:Net", "ModuleNotFoundError: No module named 'no_such_module'"),
    ):
        with pytest.raises(GeosegError, match=message):
            trained(settings(architecture={"name": name}), tmp_path / "n", trust=True)


def test_an_installed_package_adds_an_architecture_by_an_entry_point(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoseg.models import own_network

    (tmp_path / "packaged_net.py").write_text(OWN)
    info = tmp_path / "packaged_net-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: packaged-net\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{own_network.GROUP}]\npackaged = packaged_net:Net\n")
    monkeypatch.syspath_prepend(tmp_path)
    own_network.installed.cache_clear()
    try:
        trained(settings(architecture={"name": "packaged"}, epochs=1, batches=1), tmp_path / "m")
        card = geoseg.load_model(tmp_path / "m").card
        assert card.kind == "smp"
        assert geoseg.models.load.build_network(geoseg.load_model(tmp_path / "m")) is not None
        with pytest.raises(GeosegError, match="there is no architecture 'packagd'; did you mean packaged"):
            trained(settings(architecture={"name": "packagd"}), tmp_path / "n")
    finally:
        own_network.installed.cache_clear()
