"""Models by name or by card: found, light, picklable, and told apart by their digest."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from geoseg.errors import ModelError
from geoseg.models.load import Model, list_models, load_model

CLASSES = [{"value": i, "name": f"class {i}", "color": "#999999"} for i in range(2)]


def model_folder(folder: Path, **changes: Any) -> Path:
    """A folder with a card and weights that are tensors, though of no network."""
    folder.mkdir(exist_ok=True)
    save_file({"a": np.zeros(3, np.float32)}, folder / "weights.safetensors")
    card = {
        "name": "two bands",
        "version": "1",
        "kind": "smp",
        "architecture": {"name": "Unet", "encoder": "resnet18"},
        "weights": "weights.safetensors",
        "bands": [
            {"name": "red", "mean": 0.1, "std": 0.2},
            {"name": "green", "mean": 0.5, "std": 0.6, "required": False},
            {"name": "nir", "mean": 0.3, "std": 0.4},
        ],
        "units": "reflectance",
        "classes": CLASSES,
        **changes,
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    return folder


@pytest.mark.parametrize("info", list_models(), ids=lambda info: info.name)
def test_every_shipped_model_loads_by_its_name(info: Any) -> None:
    model = load_model(info.name)
    assert model.card.kind == info.kind
    assert model.bands == info.bands
    assert model.legend.names == info.classes
    assert model.n_classes == len(info.classes)
    assert info.description


def test_rules_and_clusters_are_shipped() -> None:
    assert {"spectral", "kmeans"} <= {info.name for info in list_models()}


def test_a_folder_and_its_card_are_the_same_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m")
    by_folder, by_card, by_text = load_model(folder), load_model(folder / "card.yaml"), load_model(str(folder))
    assert by_folder.digest == by_card.digest == by_text.digest
    assert by_folder.bands == ("red", "green", "nir")
    assert by_folder.in_channels == 3
    assert by_folder.mean == (0.1, 0.5, 0.3)
    assert by_folder.weights is not None
    assert by_folder.weights_sha256 == hashlib.sha256(by_folder.weights.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["spectral", "kmeans:3"])
def test_a_model_pickles_and_stays_the_same(name: str) -> None:
    model = load_model(name)
    again: Model = pickle.loads(pickle.dumps(model))
    assert again == model
    assert again.digest == model.digest


def test_a_digest_follows_card_weights_and_bands(tmp_path: Path) -> None:
    first = load_model(model_folder(tmp_path / "a"))
    digests = {
        first.digest,
        first.with_bands(["red", "nir"]).digest,
        load_model(model_folder(tmp_path / "b", temperature=2.0)).digest,
    }
    folder = model_folder(tmp_path / "c")
    save_file({"a": np.ones(3, np.float32)}, folder / "weights.safetensors")
    digests.add(load_model(folder).digest)
    assert len(digests) == 4
    assert load_model(model_folder(tmp_path / "elsewhere")).digest == first.digest


def test_optional_bands_can_be_left_out_and_order_is_the_cards(tmp_path: Path) -> None:
    model = load_model(model_folder(tmp_path / "m"))
    assert model.with_bands(["nir", "red"]).bands == ("red", "nir")
    assert model.with_bands(["nir", "red"]).std == (0.2, 0.4)
    assert model.with_bands(["nir", "red"]).with_bands(["nir", "green", "red"]) == model
    with pytest.raises(ModelError, match="needs the bands nir: add them"):
        model.with_bands(["red", "green"])
    with pytest.raises(ModelError, match="has no bands blue: choose from red, green, nir"):
        model.with_bands(["red", "nir", "blue"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spektral", r"no model 'spektral' \(did you mean spectral\?\): name one of .*kmeans"),
        ("no\x1b[2J", r"there is no model 'no\\x1b\[2J'"),
        ("kmeans:", "write kmeans:6"),
        ("kmeans:six", "write kmeans:6"),
        ("kmeans:²", "write kmeans:6"),
        ("kmeans:-3", "write kmeans:6"),
        ("kmeans:1", "choose from 2 to 32"),
        ("kmeans:33", "choose from 2 to 32"),
        ("weights.safetensors", "is a file of weights: name the card"),
        ("model.pth", "is a file of weights: name the card"),
        ("nowhere.yaml", "cannot read the card nowhere.yaml: No such file"),
        ("..", r"has no card.yaml: add one"),
    ],
)
def test_a_name_that_is_no_model_says_what_would_be(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    with pytest.raises(ModelError, match=message):
        load_model(name)


def test_a_shipped_name_is_not_shadowed_by_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_folder(tmp_path / "spectral")
    monkeypatch.chdir(tmp_path)
    assert load_model("spectral").card.kind == "spectral"
    assert load_model("./spectral").card.kind == "smp"
    assert load_model(Path("spectral")).card.kind == "smp"


def test_a_checksum_in_the_card_is_held_against_the_weights(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m")
    good = load_model(folder).weights_sha256
    assert load_model(model_folder(folder, weights_sha256=good)).weights_sha256 == good
    with pytest.raises(ModelError, match=f"not the file the card means: its SHA-256 is {good}"):
        load_model(model_folder(folder, weights_sha256="0" * 64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": [{"name": n} for n in ("blue", "green", "red")]}, "it lacks nir"),
        ({"bands": [{"name": n} for n in ("blue", "green", "red", "nir", "pan")]}, "it has pan"),
        ({"classes": CLASSES}, "gives 8 classes .*the card has 2"),
    ],
)
def test_a_spectral_card_must_fit_the_rules(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = {**load_model("spectral").card.model_dump(mode="json", exclude_unset=True), **change}
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path)


def test_listing_and_loading_do_not_import_torch_and_rules_need_no_architectures() -> None:
    code = (
        "import sys, geoseg.models as m; m.list_models(); spectral = m.load_model('spectral')\n"
        "assert 'torch' not in sys.modules\n"
        "m.load.build_network(spectral)\n"
        "sys.exit(bool({'segmentation_models_pytorch', 'timm', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
