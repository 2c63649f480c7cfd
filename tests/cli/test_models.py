"""`geoseg models`: cards shown and drafted, models exported and checked, and `--trust-model` where it is needed."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from geoseg.models.card import ModelCard
from geoseg.models.network import ARCHITECTURES
from geoseg.models.traced_write import WRITERS
from tests.conftest import Command, WriteScene, read


@pytest.fixture
def bundle(random_unet: Path, tmp_path: Path, geoseg_command: Command) -> Path:
    path = tmp_path / "random.geoseg"
    ended = geoseg_command("models", "export", random_unet, "--as", "bundle", "-o", path)
    assert ended.code == 0, ended.err
    assert ended.out == f"{path}\n"
    assert "0 of 65536 pixels differ" in ended.err
    return path


def test_a_checked_bundle_passes_and_its_test_window_is_held_against_it(bundle: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("models", "check", bundle, "--json")
    found = {each["what"]: each for each in json.loads(ended.out)}
    assert ended.code == 0
    assert list(found) == ["network", "bands", "influence", "windows", "test window", "reach", "speed"]
    assert [found[what]["good"] for what in ("bands", "influence", "windows", "test window")] == [True] * 4
    assert "green, red, nir in, 4 classes out" in found["bands"]["text"]
    assert "million pixels a second" in found["speed"]["text"]


def test_a_model_that_gives_something_else_than_its_test_window_fails(
    bundle: Path, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geoseg.inference import check
    from geoseg.models import bundle as bundles

    # as where the bundle was made by a torch that computed something else
    def other(path: Path) -> bundles.KnownWindow:
        known = bundles.read_known_window(path)
        return bundles.KnownWindow(pixels=known.pixels, logits=known.logits.flip(0))

    monkeypatch.setattr(check, "read_known_window", other)
    ended = geoseg_command("models", "check", bundle)
    assert ended.code == 1
    assert "WRONG  test window" in ended.out


def model_folder(folder: Path, name: str, *, mute: bool = False, **changes: Any) -> Path:
    """A folder with a small network of an architecture and random weights for three bands and two classes."""
    torch.manual_seed(0)
    network = ARCHITECTURES[name](
        encoder_name="tu-resnet18", encoder_depth=3, encoder_weights=None, in_channels=3, classes=2
    )
    tensors = {key: tensor.clone().contiguous() for key, tensor in network.state_dict().items()}
    if mute:
        tensors["encoder.model.conv1.weight"][:, 1] = 0
    save_file(tensors, folder / "w.safetensors")
    content = {
        "name": "small", "version": "1", "kind": "smp", "weights": "w.safetensors", "units": "any", "window": 64,
        "architecture": {"name": name, "encoder": "tu-resnet18", "options": {"encoder_depth": 3}}, "output_stride": 8,
        "bands": [{"name": band} for band in ("green", "red", "nir")],
        "classes": [{"value": i, "name": str(i), "color": "#999999"} for i in range(2)],
        **changes,
    }  # fmt: skip
    (folder / "card.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_stride": 4}, "WRONG  windows         not 68 px, though the card allows it: write fixed_window: true"),
        ({"mute": True}, "WRONG  influence       red changes nothing: is it the right model?"),
        ({"output": "probabilities"}, "WRONG  bands           3 bands are not taken: .* are no probabilities"),
    ],
)
def test_what_the_card_promises_and_the_network_does_not_keep_is_named(
    tmp_path: Path, geoseg_command: Command, changes: dict[str, Any], message: str
) -> None:
    ended = geoseg_command("models", "check", model_folder(tmp_path, "Linknet", **changes))
    assert ended.code == 1
    assert re.search(message, ended.out)


def test_a_network_that_sees_the_whole_window_is_named(tmp_path: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("models", "check", model_folder(tmp_path, "PSPNet"))
    assert "outputs depend on the whole window" in ended.out
    assert "(AdaptiveAvgPool2d)" in ended.out


def test_optional_bands_are_left_out_once(tmp_path: Path, geoseg_command: Command) -> None:
    bands = [{"name": "green"}, {"name": "red"}, {"name": "nir", "required": False}]
    ended = geoseg_command("models", "check", model_folder(tmp_path, "Linknet", bands=bands))
    assert "good   optional bands  runs without nir" in ended.out


def test_kmeans_has_no_network_to_check_or_export(geoseg_command: Command) -> None:
    assert "there is no network to check" in geoseg_command("models", "check", "kmeans").err
    ended = geoseg_command("models", "export", "kmeans:3", "--as", "onnx")
    assert (ended.code, "there is no network to export" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("bundle", "m.onnx", "files of kind bundle end in .geoseg"),
        ("bundle", "there.geoseg", "is there: pass --overwrite"),
    ],
)
def test_an_export_that_would_go_wrong_is_refused_before_it_starts(
    random_unet: Path, tmp_path: Path, geoseg_command: Command, kind: str, name: str, message: str
) -> None:
    (tmp_path / "there.geoseg").write_bytes(b"something else")
    ended = geoseg_command("models", "export", random_unet, "--as", kind, "-o", tmp_path / name)
    assert ended.code == 2
    assert message in ended.err
    assert (tmp_path / "there.geoseg").read_bytes() == b"something else"


def test_what_does_not_give_the_same_is_not_written(
    tmp_path: Path, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = WRITERS["torchscript"]

    def swap(path: Path, network: torch.nn.Module, card: ModelCard, name: str) -> None:
        write(path, torch.nn.Sequential(network, torch.nn.ChannelShuffle(2)).eval(), card, name)

    monkeypatch.setitem(WRITERS, "torchscript", swap)
    ended = geoseg_command("models", "export", "spectral", "--as", "torchscript", "-o", tmp_path / "m.ts")
    assert ended.code == 2
    assert "as torchscript the model does not give what the original gives" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_rules_without_weights_have_no_bundle(geoseg_command: Command) -> None:
    assert "has no weights to put into a file" in geoseg_command("models", "export", "spectral", "--as", "mlm").err


def test_a_draft_is_printed_or_written_and_never_over_another(tmp_path: Path, geoseg_command: Command) -> None:
    hyper = {"model": "unet", "backbone": "resnet18", "in_channels": 2, "num_classes": 3}
    torch.save({"state_dict": {}, "hyper_parameters": hyper}, tmp_path / "last.ckpt")
    drafted = geoseg_command("models", "card", tmp_path / "last.ckpt")
    assert "# last.ckpt does not say: band names, mean and std, units, class names." in drafted.out
    assert yaml.safe_load(drafted.out)["architecture"] == {"name": "Unet", "encoder": "resnet18"}
    card = tmp_path / "card.yaml"
    assert geoseg_command("models", "card", tmp_path / "last.ckpt", "-o", card).code == 0
    assert card.read_text("utf-8") == drafted.out
    assert "pass --overwrite" in geoseg_command("models", "card", tmp_path / "last.ckpt", "-o", card).err
    assert geoseg_command("models", "card", tmp_path / "last.ckpt", "-o", card, "--overwrite").code == 0


def test_a_program_runs_with_trust_model_only_and_maps_what_the_original_maps(
    random_unet: Path, tmp_path: Path, write_scene: WriteScene, geoseg_command: Command
) -> None:
    scene = write_scene(shape=(128, 150), descriptions=("green", "red", "nir"))
    program = tmp_path / "random.ts"
    assert geoseg_command("models", "export", random_unet, "--as", "torchscript", "-o", program).code == 0
    refused = geoseg_command("run", scene, "-o", tmp_path / "no", "-m", program)
    assert (refused.code, "pass --trust-model" in refused.err) == (2, True)
    assert "pass --trust-model" in geoseg_command("models", "show", program).err
    assert geoseg_command("models", "show", program, "--trust-model").code == 0
    for name, model in (("a", random_unet), ("b", program)):
        ended = geoseg_command("run", scene, "-o", tmp_path / name, "-m", model, "--no-polygons", "-q", "--trust-model")
        assert ended.code == 0, ended.err
    one, two = (read(tmp_path / name / "scene/scene_classes.tif") for name in "ab")
    assert len(np.unique(one)) > 1
    np.testing.assert_array_equal(one, two)
