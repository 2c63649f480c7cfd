"""Every format that models come in: the same network by each, trust where it is needed, and no code by the way."""

import importlib.util
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import rasterio
import segmentation_models_pytorch as smp
import shapely
import torch
import yaml
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import nn

from geoseg.errors import ModelError
from geoseg.inference.segment import segment
from geoseg.models.card import ModelCard
from geoseg.models.draft import draft_card
from geoseg.models.formats import _installed, find_format
from geoseg.models.load import Model, build_network, list_models, load_model
from geoseg.models.traced_card import _card_in
from geoseg.models.traced_write import WRITERS
from geoseg.outputs.model_export import EXPORTS, export_model
from geoseg.scene.open import open_scene

SAMPLE = Path(__file__).parents[2] / "sample_data/scenes/valley_west_20190617.tif"

BANDS = ("green", "red", "nir")
NAMES = ("water", "forest", "bare", "built")
CARD: dict[str, Any] = {
    "name": "small",
    "version": "1",
    "bands": [{"name": name, "mean": 1800.0, "std": 900.0} for name in BANDS],
    "units": "dn",
    "window": 64,
    "output_stride": 8,
    "classes": [{"value": i + 1, "name": name, "color": "#99999" + str(i)} for i, name in enumerate(NAMES)],
}
OPTIONS = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
UNET = {"kind": "smp", "architecture": {"name": "Unet", "encoder": "tu-resnet18", "options": OPTIONS}}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> NoReturn:
        raise AssertionError(f"a connection to {args[1:]} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(5)
    made: nn.Module = smp.Unet("tu-resnet18", encoder_weights=None, in_channels=3, classes=4, **OPTIONS)
    return made.eval()


@pytest.fixture(scope="module")
def original() -> Model:
    return load_model("landcover-unet")


class Exported(dict[str, Path]):
    """Files by kind; asking for one that cannot be written without an extra skips the test."""

    def __missing__(self, kind: str) -> Path:
        pytest.skip(f"{kind} needs an extra that is not installed")


@pytest.fixture(scope="module")
def exported(original: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shipped U-Net by every format that geoseg writes."""
    folder = tmp_path_factory.mktemp("exported")
    return Exported(
        (kind, export_model(original, folder / f"small-{kind}{suffix}", kind=kind).files[-1])
        for kind, suffix in EXPORTS.items()
        if kind != "onnx" or importlib.util.find_spec("onnxscript")
    )


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "card.yaml").write_text(yaml.safe_dump({**CARD, **changes}), encoding="utf-8")
    return folder


def scores(model_file: Path, windows: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        scored: torch.Tensor = build_network(load_model(model_file, trust=True))(windows)
    return scored


def windows(n: int = 2, rows: int = 64, cols: int = 96, channels: int = 3) -> torch.Tensor:
    return torch.randn((n, channels, rows, cols), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", EXPORTS)
def test_what_is_exported_loads_with_its_card_and_gives_the_same(
    exported: dict[str, Path], original: Model, kind: str
) -> None:
    model = load_model(exported[kind], trust=True)
    assert model.card.kind == (kind if kind in ("onnx", "pt2", "torchscript") else "smp")
    other = {"kind", "architecture", "weights", "weights_sha256"}
    if kind == "mlm":  # where these have no place
        other |= {"quantiles", "scores", "training"}
    assert model.card.model_dump(exclude=other) == original.card.model_dump(exclude=other)
    network = build_network(original)
    # other sizes and other numbers of windows than it was written with
    for pixels in (windows(2, 64, 96, 5), windows(1, 32, 40, 5), windows(3, 256, 64, 5)):
        with torch.inference_mode():
            torch.testing.assert_close(scores(exported[kind], pixels), network(pixels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["torchscript", "pt2"])
def test_a_network_that_depends_on_sizes_is_written_for_the_windows_of_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    class Sized(nn.Module):
        """Scores of the bands, and of how large the window is."""

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            # decided where it is traced
            shift = 0.0 if pixels.shape[2] <= 40 else 3.0
            return torch.cat([pixels[:, :1], pixels[:, 1:2] + shift], dim=1)

    card = ModelCard.model_validate(
        {**CARD, **UNET, "classes": CARD["classes"][:2], "window": 40, "weights": "w.safetensors"}
    )
    path = tmp_path / f"m.{kind}"
    WRITERS[kind](path, Sized().eval(), card, path.name)
    described = _card_in(path)
    assert described is not None
    assert (described["fixed_window"], described["window"]) == (True, 40)
    free = ModelCard.model_validate(card.model_dump() | {"window": 320})
    WRITERS[kind](path, Sized().eval(), free, path.name)
    assert "fixed_window" not in (_card_in(path) or {}) or not (_card_in(path) or {})["fixed_window"]


@pytest.mark.parametrize("kind", ["onnx", "pt2", "torchscript", "bundle"])
def test_what_is_exported_maps_a_sample_scene_alike(
    exported: dict[str, Path], sample: Path, mapped: NDArray[np.uint8], kind: str
) -> None:
    classes = class_map(load_model(exported[kind], trust=True), sample)
    differ = np.count_nonzero(classes != mapped)
    assert len(np.unique(mapped)) >= 5
    assert differ < 1e-4 * mapped.size


def class_map(model: Model, path: Path) -> NDArray[np.uint8]:
    classes: NDArray[np.uint8] = segment(open_scene(str(path)), model)["classes"].to_numpy()
    return classes


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of a sample scene, in four windows."""
    path = tmp_path_factory.mktemp("sample") / "valley.tif"
    with rasterio.open(SAMPLE) as source:
        part = Window(100, 60, 360, 360)
        profile = source.profile | {
            "width": 360,
            "height": 360,
            "transform": source.transform @ Affine.translation(100, 60),
        }
        with rasterio.open(path, "w", **profile) as target:
            target.write(source.read(window=part))
            target.descriptions, target.scales, target.offsets = source.descriptions, source.scales, source.offsets
    return path


@pytest.fixture(scope="module")
def mapped(original: Model, sample: Path) -> NDArray[np.uint8]:
    """Its class map by the original."""
    return class_map(original, sample)


@pytest.mark.parametrize("kind", ["pt2", "torchscript"])
def test_a_program_is_refused_unless_trusted_and_the_message_names_the_option(
    exported: dict[str, Path], kind: str
) -> None:
    with pytest.raises(ModelError, match=r"is a program, which can do whatever you can; .*pass --trust-model"):
        load_model(exported[kind])


def test_a_model_that_came_by_another_door_is_not_built_untrusted(exported: dict[str, Path]) -> None:
    from dataclasses import replace

    model = replace(load_model(exported["pt2"], trust=True), trusted=False)
    with pytest.raises(ModelError, match="could run code: load it with trust=True"):
        build_network(model)


def test_a_digest_tells_formats_apart_and_trust_is_no_part_of_it(exported: dict[str, Path], original: Model) -> None:
    digests = {load_model(path, trust=True).digest for kind, path in exported.items() if kind != "bundle"}
    assert len(digests | {original.digest}) == len(exported)
    assert load_model("landcover-unet", trust=True).digest == original.digest
    # a bundle is the same model, in one file
    assert load_model(exported["bundle"]).digest == original.digest


# weights of one network in what others save


def state_dict(folder: Path, network: nn.Module) -> Path:
    torch.save(network.state_dict(), folder / "weights.pth")
    return written(folder, **UNET, weights="weights.pth")


def lightning_with_card(folder: Path, network: nn.Module) -> Path:
    tensors = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    hyper = {"card": {**CARD, **UNET}, "lr": 1e-3}
    checkpoint = {"state_dict": {**tensors, "loss.weight": torch.ones(4)}, "hyper_parameters": hyper, "epoch": 3}
    torch.save({**checkpoint, "pytorch-lightning_version": "2.5.2", "optimizer_states": []}, folder / "last.ckpt")
    return folder / "last.ckpt"


def lightning_of_geoseg_train(folder: Path, network: nn.Module) -> Path:
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": {**tensors, "loss.terms.0.weight": torch.ones(4)}}, folder / "last.ckpt")
    return written(folder, **UNET, weights="last.ckpt")


def lightning_of_torchgeo(folder: Path, network: nn.Module) -> Path:
    tensors = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": {**tensors, "criterion.weight": torch.ones(4)}}, folder / "last.ckpt")
    return written(folder, **UNET, weights="last.ckpt")


def smp_folder(folder: Path, network: Any) -> Path:
    network.save_pretrained(folder)
    architecture = yaml.safe_load(draft_card(folder).replace("FILL IN", "x"))["architecture"]
    return written(folder, kind="smp", architecture=architecture, weights="model.safetensors")


@pytest.mark.parametrize(
    "save", [state_dict, lightning_with_card, lightning_of_geoseg_train, lightning_of_torchgeo, smp_folder]
)
def test_weights_that_others_save_give_the_same_network(
    tmp_path: Path, network: nn.Module, save: Callable[[Path, nn.Module], Path]
) -> None:
    pixels = windows()
    with torch.inference_mode():
        assert torch.equal(scores(save(tmp_path, network), pixels), network(pixels))


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"model": "unet", "backbone": "resnet18", "in_channels": 3, "num_classes": 4, "loss": "ce"}, "class names"),
        ({"model": "fcn", "backbone": "resnet18", "in_channels": 3, "num_classes": 4}, "cannot build torchgeo's fcn"),
        ({"model": "unet", "backbone": "resnet18"}, "lack in_channels or num_classes"),
        ({"lr": 0.1}, r"\(lr\) are neither those of torchgeo's"),
        (None, "a checkpoint without hyperparameters"),
    ],
)
def test_a_checkpoint_that_does_not_say_enough_says_what_is_missing(tmp_path: Path, hyper: Any, message: str) -> None:
    torch.save({"state_dict": {"model.a": torch.zeros(1)}, "hyper_parameters": hyper}, tmp_path / "last.ckpt")
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "last.ckpt")


def test_a_draft_of_a_card_is_refused_until_it_is_filled_in(tmp_path: Path, network: Any) -> None:
    network.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"does not say band names.*geoseg models card .* -o .*card.yaml, complete it"):
        load_model(tmp_path)
    draft = draft_card(tmp_path)
    assert "# Replace every FILL IN" in draft
    (tmp_path / "card.yaml").write_text(draft, encoding="utf-8")
    with pytest.raises(ModelError, match=r"bands\[0\].name: is still to be filled in"):
        load_model(tmp_path)
    content = yaml.safe_load(draft)
    for i in range(3):
        content["bands"][i] = CARD["bands"][i]
    with pytest.raises(ModelError, match=r"units: .*\(got 'FILL IN'\)"):
        load_model(written(tmp_path, **{**content, "bands": content["bands"], "units": "FILL IN"}))
    filled = {**content, "units": "dn", "classes": CARD["classes"]}
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(filled), encoding="utf-8")
    assert load_model(tmp_path).legend.names == NAMES


def test_a_model_of_one_channel_is_one_of_two_classes(tmp_path: Path) -> None:
    torch.manual_seed(2)
    binary: Any = smp.Unet("tu-resnet18", encoder_weights=None, in_channels=3, classes=1, **OPTIONS).eval()
    binary.save_pretrained(tmp_path)
    content = yaml.safe_load(draft_card(tmp_path))
    assert content["output"] == "binary_logit"
    folder = written(tmp_path, **{**content, **CARD, "classes": CARD["classes"][:2]})
    pixels = windows()
    with torch.inference_mode():
        probability = binary(pixels).sigmoid()
    softmax = scores(folder, pixels).softmax(dim=1)
    torch.testing.assert_close(softmax[:, 1:], probability)


# onnx files of others


def onnx_file(path: Path, *, metadata: dict[str, str], channels: int = 3, classes: int = 2, side: int | str = "w",
              act: str = "Softmax") -> Path:  # fmt: skip
    """A 1 x 1 convolution that gives class k the share of channel k, written with onnx alone."""
    onnx = pytest.importorskip("onnx")
    weight = np.eye(classes, channels, dtype=np.float32)[:, :, None, None]
    axes = {"axis": 1} if act == "Softmax" else {}
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["x", "weight"], ["z"], kernel_shape=[1, 1]),
            onnx.helper.make_node(act, ["z"], ["y"], **axes),
        ],
        "net",
        [onnx.helper.make_tensor_value_info("x", 1, [1, channels, side, side])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, classes, side, side])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.helper.set_model_props(made, metadata)
    onnx.save(made, path)
    return path


DEEPNESS = {
    "model_type": json.dumps("Segmentor"),
    "class_names": json.dumps({0: "_background", 1: "field"}),
    "resolution": json.dumps(50),
    "tiles_size": json.dumps(96),
    "tiles_overlap": json.dumps(20),
    "standardization_mean": json.dumps([0.485, 0.456, 0.406]),
    "standardization_std": json.dumps([0.229, 0.224, 0.225]),
}


def test_metadata_of_deepness_is_a_card(tmp_path: Path) -> None:
    model = load_model(onnx_file(tmp_path / "fields.onnx", metadata=DEEPNESS))
    assert model.legend.names == ("_background", "field")
    assert model.legend.values == (0, 1)
    assert model.card.gsd_m == 0.5
    assert (model.card.window, model.card.overlap, model.card.units) == (96, 0.2, "dn")
    assert model.mean == pytest.approx((255 * 0.485, 255 * 0.456, 255 * 0.406))
    assert model.std == pytest.approx((255 * 0.229, 255 * 0.224, 255 * 0.225))
    # which bands the channels are is not in the metadata: no scene has bands of these names by chance
    assert model.bands == ("channel 1", "channel 2", "channel 3")
    pixels = windows(2, 96, 96)
    torch.testing.assert_close(scores(tmp_path / "fields.onnx", pixels).softmax(1), pixels[:, :2].softmax(1))


def test_one_sigmoid_of_deepness_is_a_class_and_the_rest(tmp_path: Path) -> None:
    metadata = DEEPNESS | {"class_names": json.dumps([{0: "field"}])}
    path = onnx_file(tmp_path / "field.onnx", metadata=metadata, classes=1, act="Sigmoid", side=96)
    model = load_model(path)
    assert model.legend.names == ("background", "field")
    assert (model.card.fixed_window, model.card.window) == (True, 96)
    pixels = windows(2, 96, 96)
    torch.testing.assert_close(scores(path, pixels).softmax(1)[:, 1], pixels[:, 0].sigmoid(), rtol=1e-4, atol=1e-5)


def test_scores_that_are_no_probabilities_are_refused_with_the_mend(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "raw.onnx", metadata=DEEPNESS, act="Identity")
    with pytest.raises(ModelError, match=r"which are no probabilities: correct output in its card \(logits"):
        scores(path, windows())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": json.dumps("Detector")}, "is a Detector, not a segmentation model"),
        ({"class_names": json.dumps([{0: "a"}, {0: "b"}])}, "has 2 heads"),
        ({"class_names": json.dumps({"x": "a"})}, "should map numbers to names"),
        ({"standardization_mean": json.dumps([1, 2])}, "standardization_mean should be 3 numbers"),
        ({"class_names": ""}, "does not say classes, output, units"),
        ({"geoseg_card": "{"}, "its metadata is no JSON"),
        ({"geoseg_card": "[]"}, "geoseg_card is no card"),
    ],
)
def test_metadata_that_cannot_be_used_says_why(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(onnx_file(tmp_path / "m.onnx", metadata=DEEPNESS | change))


def test_an_onnx_file_whose_tensors_lie_elsewhere_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = onnx_file(tmp_path / "m.onnx", metadata=DEEPNESS)
    (tmp_path / "secret").write_bytes(bytes(64))
    made = onnx.load(path)
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    path.write_bytes(made.SerializeToString())
    with pytest.raises(ModelError, match="tensor weight lies in another file: save the model in one file"):
        build_network(load_model(path))


# folders of transformers


@pytest.fixture(scope="module")
def transformers_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    t = pytest.importorskip("transformers")
    t.utils.logging.set_verbosity_error()
    t.utils.logging.disable_progress_bar()
    torch.manual_seed(4)
    labels = {"id2label": dict(enumerate(NAMES[:3])), "label2id": {name: i for i, name in enumerate(NAMES[:3])}}
    stages = ["stage1", "stage2", "stage3", "stage4"]
    small: dict[str, Any] = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]}
    segformer = t.SegformerConfig(**small, num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=16, **labels)
    upernet = t.UperNetConfig(
        backbone_config=t.ConvNextConfig(**small, out_features=stages), hidden_size=16, pool_scales=[1, 2],
        auxiliary_channels=8, auxiliary_in_channels=24, **labels,
    )  # fmt: skip
    swin = t.SwinConfig(embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4, out_features=stages)
    mask2former = t.Mask2FormerConfig(
        backbone_config=swin, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16, num_queries=5, **labels,
    )  # fmt: skip
    root, folders = tmp_path_factory.mktemp("transformers"), {}
    for name, made in (
        ("segformer", t.SegformerForSemanticSegmentation(segformer)),
        ("upernet", t.UperNetForSemanticSegmentation(upernet)),
        ("mask2former", t.Mask2FormerForUniversalSegmentation(mask2former)),
    ):
        made.eval().save_pretrained(root / name)
        prepared: dict[str, Any] = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
        prepared |= {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.25]}
        (root / name / "preprocessor_config.json").write_text(json.dumps(prepared), encoding="utf-8")
        folders[name] = root / name
    return folders


@pytest.mark.parametrize("name", ["segformer", "upernet", "mask2former"])
def test_a_folder_of_transformers_gives_what_transformers_gives(
    transformers_folders: dict[str, Path], name: str
) -> None:
    import transformers as t

    model = load_model(transformers_folders[name])
    assert model.legend.names == NAMES[:3]
    assert model.mean == pytest.approx((127.5, 102.0, 76.5))
    assert model.std == pytest.approx((51.0, 51.0, 63.75))
    pixels = windows(2, 64, 64)
    ours = scores(transformers_folders[name], pixels)
    kinds: dict[str, Any] = {
        "segformer": t.SegformerForSemanticSegmentation,
        "upernet": t.UperNetForSemanticSegmentation,
        "mask2former": t.Mask2FormerForUniversalSegmentation,
    }
    theirs = kinds[name].from_pretrained(transformers_folders[name], local_files_only=True).eval()
    with torch.inference_mode():
        out = theirs(pixel_values=pixels)
    if name == "mask2former":
        kept = out.class_queries_logits.softmax(-1)[..., :-1]
        masks = nn.functional.interpolate(out.masks_queries_logits, (64, 64), mode="bilinear").sigmoid()
        expected = torch.stack([(kept[i].T @ masks[i].flatten(1)).view(3, 64, 64) for i in range(2)])
        torch.testing.assert_close(ours.exp(), expected, rtol=1e-4, atol=1e-5)
    else:
        logits = nn.functional.interpolate(out.logits, (64, 64), mode="bilinear", align_corners=False)
        torch.testing.assert_close(ours, logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "sam"}, "does not know models of type sam"),
        ({"backbone": "resnet50", "use_pretrained_backbone": True}, "names a backbone to be fetched from the net"),
        ({"hidden_sizes": [8, 16, 24, 40]}, "does not fit config.json: tensors .*of another shape"),
        ({"num_encoder_blocks": 3}, "builds no segformer|does not fit config.json"),
    ],
)
def test_a_config_that_does_not_fit_or_wants_the_net_is_refused(
    transformers_folders: dict[str, Path], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(transformers_folders["segformer"], folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        build_network(load_model(folder))


def test_code_that_a_config_names_is_not_run(transformers_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "auto"
    shutil.copytree(transformers_folders["segformer"], folder)
    (folder / "modeling_evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\n", encoding="utf-8")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    auto = {"auto_map": {"AutoConfig": "modeling_evil.C", "AutoModelForSemanticSegmentation": "modeling_evil.M"}}
    (folder / "config.json").write_text(json.dumps(config | auto), encoding="utf-8")
    build_network(load_model(folder))
    assert not (tmp_path / "canary").exists()


# bundles and items


def test_a_damaged_bundle_is_refused_wherever_a_byte_has_changed(exported: dict[str, Path], tmp_path: Path) -> None:
    content = exported["bundle"].read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 20):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        (tmp_path / "m.geoseg").write_bytes(damaged)
        try:
            model = load_model(tmp_path / "m.geoseg")
        except ModelError:
            continue
        # in what a zip holds beside its members, such as their dates, it does no harm
        assert (
            model == load_model(exported["bundle"])
            or model.weights_sha256 == load_model(exported["bundle"]).weights_sha256
        )


def test_a_bundle_pickles_to_a_worker(exported: dict[str, Path]) -> None:
    model = load_model(exported["bundle"])
    again: Model = pickle.loads(pickle.dumps(model))
    assert again == model
    build_network(again)


def test_a_bundle_unzipped_is_a_folder_with_a_card(exported: dict[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(exported["bundle"]) as archive:
        archive.extractall(tmp_path)
    assert load_model(tmp_path).digest == load_model(exported["bundle"]).digest


def test_a_compressed_bundle_is_refused(exported: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "m.geoseg"
    with (
        zipfile.ZipFile(exported["bundle"]) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(ModelError, match="is compressed: export the bundle again"):
        load_model(path)


def test_an_mlm_item_says_what_the_card_says(exported: dict[str, Path], original: Model) -> None:
    item = json.loads(exported["mlm"].read_text("utf-8"))
    properties = item["properties"]
    assert properties["mlm:tasks"] == ["semantic-segmentation"]
    assert properties["mlm:input"][0]["bands"] == list(original.bands)
    first = original.card.bands[0]
    assert properties["mlm:input"][0]["value_scaling"][0] == {
        "type": "z-score",
        "mean": first.mean,
        "stddev": first.std,
    }
    assert [c["title"] for c in properties["mlm:output"][0]["classification:classes"]] == list(original.legend.names)


def test_an_mlm_item_lies_where_the_model_is_of_use(tmp_path: Path) -> None:
    forest = load_model("forest-amazon")
    path = export_model(forest, tmp_path / "forest.json", kind="mlm").files[-1]
    item = json.loads(path.read_text("utf-8"))
    assert item["bbox"] == [-74, -18, -44, 6]
    assert shapely.geometry.shape(item["geometry"]).equals(shapely.box(-74, -18, -44, 6))
    assert load_model(path).card.place == forest.card.place
    # across the antimeridian, and what is no box of numbers
    for bbox in ([170, -18, -170, 6], [-74, -18, "east", 6], [-74, -18, 0, -44, 6, 9], "everywhere", None):
        path.write_text(json.dumps(item | {"bbox": bbox}), encoding="utf-8")
        assert load_model(path).card.place is None


def changed_item(path: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    item = json.loads(path.read_text("utf-8"))
    shutil.copy(path.with_suffix(".safetensors"), tmp_path)
    change(item)
    (tmp_path / path.name).write_text(json.dumps(item), encoding="utf-8")
    return tmp_path / path.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda i: i["assets"]["model"].update(href="https://example.org/w.safetensors"),
            "download it beside the item",
        ),
        (lambda i: i["assets"]["model"].update(href="../w.safetensors"), "make href its file name"),
        (
            lambda i: i["assets"]["model"].update({"mlm:artifact_type": "tf.keras.Model.save"}),
            "does not read artifacts",
        ),
        (lambda i: i["assets"]["model"].update({"file:checksum": "1220" + "0" * 64}), "is not the file the card means"),
        (lambda i: i["properties"].update({"mlm:tasks": ["object-detection"]}), "not for semantic-segmentation"),
        (lambda i: i["properties"]["mlm:input"][0].update(pre_processing_function={"format": "python"}), "not run"),
        (lambda i: i["properties"]["mlm:input"][0].update(value_scaling=[{"type": "clip-min"}]), "not by clip-min"),
        (lambda i: i["properties"]["mlm:input"].append({}), "has not one input"),
        (lambda i: i["properties"].pop("geoseg:units"), "does not say units"),
        (lambda i: i["properties"].pop("mlm:hyperparameters"), "need an architecture by name"),
    ],
)
def test_an_item_that_cannot_be_used_says_why(
    exported: dict[str, Path], tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(changed_item(exported["mlm"], tmp_path, change))


def test_scaling_from_least_to_largest_is_understood(exported: dict[str, Path], tmp_path: Path) -> None:
    scaling = [{"type": "min-max", "minimum": 100, "maximum": 4100}]
    path = changed_item(
        exported["mlm"], tmp_path, lambda i: i["properties"]["mlm:input"][0].update(value_scaling=scaling)
    )
    assert (load_model(path).mean, load_model(path).std) == ((100.0,) * 5, (4000.0,) * 5)


def test_json_that_is_no_item_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"type": "FeatureCollection"}', encoding="utf-8")
    with pytest.raises(ModelError, match="there is no model"):
        load_model(tmp_path / "a.json")


# code in files


class Payload:
    """Writes a canary file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.canary}'",)


def evil_weights(folder: Path, payload: Payload) -> Path:
    torch.save({"a": payload}, folder / "w.pth")
    return written(folder, **UNET, weights="w.pth")


def evil_bin(folder: Path, payload: Payload) -> Path:
    torch.save({"a": payload}, folder / "pytorch_model.bin")
    return written(folder, **UNET, weights="pytorch_model.bin")


def evil_checkpoint(folder: Path, payload: Payload) -> Path:
    torch.save({"state_dict": {}, "hyper_parameters": {"card": payload}}, folder / "last.ckpt")
    return folder / "last.ckpt"


def evil_onnx(folder: Path, payload: Payload) -> Path:
    pytest.importorskip("onnx")
    (folder / "m.onnx").write_bytes(pickle.dumps(payload))
    return folder / "m.onnx"


def evil_pt2(folder: Path, payload: Payload) -> Path:
    torch.save(payload, folder / "m.pt2")
    return written(folder, kind="pt2", weights="m.pt2")


def evil_script(folder: Path, payload: Payload) -> Path:
    torch.save(payload, folder / "m.pt")
    return written(folder, kind="torchscript", weights="m.pt")


def evil_bundle(folder: Path, payload: Payload) -> Path:
    with zipfile.ZipFile(folder / "m.geoseg", "w") as archive:
        archive.writestr("w.pt", pickle.dumps(payload))
        archive.writestr("card.yaml", yaml.safe_dump({**CARD, **UNET, "weights": "w.pt"}))
        archive.writestr("geoseg-bundle.json", json.dumps({"version": 1, "sha256": {}}))
    return folder / "m.geoseg"


def evil_transformers(folder: Path, payload: Payload) -> Path:
    pytest.importorskip("transformers")
    torch.save({"a": payload}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"model_type": "segformer", "id2label": {"0": "a", "1": "b"}}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    return folder


def evil_smp(folder: Path, payload: Payload) -> Path:
    torch.save({"a": payload}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"_model_class": "Unet", "encoder_name": "resnet18"}))
    return written(folder, **UNET, weights="pytorch_model.bin")


def evil_item(folder: Path, payload: Payload) -> Path:
    from geoseg.models.card import ModelCard
    from geoseg.models.mlm import item_of

    torch.save({"a": payload}, folder / "w.pt")
    card = ModelCard.model_validate({**CARD, **UNET, "weights": "w.pt"})
    item = item_of(card, href="w.pt", sha256="", created="2024-01-01T00:00:00Z")
    (folder / "item.json").write_text(json.dumps(item), encoding="utf-8")
    return folder / "item.json"


EVIL = [evil_weights, evil_bin, evil_checkpoint, evil_onnx, evil_pt2, evil_script, evil_bundle, evil_transformers,
        evil_smp, evil_item]  # fmt: skip


@pytest.mark.parametrize("save", EVIL, ids=lambda save: save.__name__)
def test_a_malicious_pickle_never_runs_in_any_format(tmp_path: Path, save: Callable[[Path, Payload], Path]) -> None:
    canary = tmp_path / "canary"
    path = save(tmp_path, Payload(canary))
    with pytest.raises(ModelError):
        build_network(load_model(path))
    assert not canary.exists()


def test_a_pt2_archive_does_run_code_once_it_is_trusted(exported: dict[str, Path], tmp_path: Path) -> None:
    # why there is a switch: if torch ever stops unpickling what lies in an archive, the switch can go
    canary, path = tmp_path / "canary", tmp_path / "m.pt2"
    with zipfile.ZipFile(exported["pt2"]) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            pickled = "sample_inputs" in info.filename
            target.writestr(info, pickle.dumps(Payload(canary)) if pickled else source.read(info))
    with pytest.raises(ModelError, match="--trust-model"):
        load_model(path)
    assert not canary.exists()
    with pytest.raises(ModelError, match="cannot be read as kind pt2"):
        build_network(load_model(path, trust=True))
    assert canary.exists()


# the registry


PLUGIN = """
from geoseg.models.formats import Described, Format

FORMAT = Format(name="{name}", build="geoseg_toy:build", suffixes=(".toy",), describe="geoseg_toy:describe",
                reads=(".toy",))

def build(model):
    from torch import nn
    bias = int(model.weights.read_text())
    network = nn.Conv2d(len(model.bands), model.n_classes, 1)
    nn.init.zeros_(network.weight)
    nn.init.constant_(network.bias, bias)
    return network

def describe(path):
    classes = [{{"value": i, "name": str(i), "color": "#000000"}} for i in range(2)]
    content = {{"name": "toy", "version": "1", "kind": "toy", "weights": path.name, "bands": [{{"name": "red"}}],
               "units": "any", "classes": classes}}
    return Described(content=content, folder=path.parent)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A function that installs a package that adds the format ``toy``."""

    def install(module: str) -> None:
        site = tmp_path / "site"
        (site / "geoseg_toy-1.dist-info").mkdir(parents=True)
        (site / "geoseg_toy.py").write_text(module, encoding="utf-8")
        (site / "geoseg_toy-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: geoseg-toy\nVersion: 1\n")
        entry = "[geoseg.model_formats]\ntoy = geoseg_toy:FORMAT\n"
        (site / "geoseg_toy-1.dist-info/entry_points.txt").write_text(entry)
        monkeypatch.syspath_prepend(site)
        sys.modules.pop("geoseg_toy", None)
        _installed.cache_clear()

    yield install
    sys.modules.pop("geoseg_toy", None)
    _installed.cache_clear()


def test_an_installed_package_adds_a_format_without_anything_else(
    tmp_path: Path, plugin: Callable[[str], None], geoseg_command: Any
) -> None:
    plugin(PLUGIN.format(name="toy"))
    (tmp_path / "m.toy").write_text("7")
    assert build_network(load_model(tmp_path / "m.toy"))(torch.zeros(1, 1, 2, 2)).tolist() == [[[[7.0] * 2] * 2] * 2]
    assert "kind: toy" in geoseg_command("models", "show", tmp_path / "m.toy").out


@pytest.mark.parametrize(
    ("module", "message"),
    [(PLUGIN.format(name="other"), "is no geoseg Format called toy"), ("1 / 0", r"cannot be imported \(ZeroDivision")],
)
def test_a_package_that_cannot_be_used_is_named(plugin: Callable[[str], None], module: str, message: str) -> None:
    plugin(module)
    with pytest.raises(ModelError, match=message):
        find_format("toy")


def test_formats_that_are_not_installed_name_their_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from geoseg.models.formats import describe; from pathlib import Path; describe(Path('m.onnx'))"
    )
    (tmp_path / "m.onnx").write_bytes(b"")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "this kind of model needs onnx: pip install 'geoseg[onnx]'" in ended.stderr


def test_a_kind_that_is_not_known_lists_those_that_are() -> None:
    with pytest.raises(ModelError, match=r"no kind of model 'keras'; known: smp, spectral, kmeans, onnx, torchscript"):
        find_format("keras")


def test_shipped_models_are_still_listed() -> None:
    assert {info.kind for info in list_models()} == {"smp", "spectral", "kmeans"}
