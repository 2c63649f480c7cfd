"""Networks by name: every architecture keeps the contract, and nothing reaches for the net or for code."""

import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
import segmentation_models_pytorch as smp
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

from geoseg.errors import ModelError
from geoseg.models.load import build_network, load_model
from geoseg.models.network import ARCHITECTURES
from geoseg.models.window_dependence import window_dependent_layers

BANDS = ("blue", "green", "red", "nir")
CLASSES = [{"value": i, "name": f"class {i}", "color": "#999999"} for i in range(3)]
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "FCN": ("resnet50", {}),
    "DPT": (
        "tu-vit_tiny_patch16_224",
        {"decoder_intermediate_channels": [16, 16, 16, 16], "decoder_fusion_channels": 16},
    ),
    "Unet": ("resnet18", {"encoder_depth": 3, "decoder_channels": [64, 32, 16], "decoder_attention_type": "scse"}),
    "UnetPlusPlus": ("resnet18", {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}),
    "MAnet": ("resnet18", {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}),
    "Segformer": ("mit_b0", {"decoder_segmentation_channels": 32}),
}


def test_these_architectures_are_known_by_name() -> None:
    names = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet PAN DeepLabV3 DeepLabV3Plus UPerNet Segformer DPT FCN"
    assert set(names.split()) <= set(ARCHITECTURES)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> NoReturn:
        raise AssertionError(f"a connection to {args[1:]} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def written(folder: Path, named: dict[str, Any], tensors: dict[str, torch.Tensor], **changes: Any) -> Path:
    card = {
        "name": "random",
        "version": "1",
        "kind": "smp",
        "architecture": named,
        "weights": "weights.safetensors",
        "bands": [{"name": name} for name in BANDS],
        "units": "any",
        "classes": CLASSES,
        **changes,
    }
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, folder / "weights.safetensors")
    (folder / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    return folder


def plain_unet(channels: int = 4, classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = smp.Unet(
        "resnet18",
        encoder_depth=3,
        decoder_channels=[16, 8, 8],
        encoder_weights=None,
        in_channels=channels,
        classes=classes,
    )
    return network.eval()


UNET = {"name": "Unet", "encoder": "resnet18", "options": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_keeps_the_contract(tmp_path: Path, name: str) -> None:
    encoder, options = SMALL.get(name, ("resnet18", {}))
    torch.manual_seed(0)
    original = ARCHITECTURES[name](
        encoder_name=encoder, encoder_weights=None, in_channels=len(BANDS), classes=len(CLASSES), **options
    ).eval()
    architecture = {"name": name, "encoder": encoder, "options": options}
    network = build_network(load_model(written(tmp_path, architecture, original.state_dict())))
    # PAN pools its deepest grid three times; a vision transformer was made for its own size
    side = {"PAN": 128, "DPT": 224}.get(name, 64)
    pixels = torch.randn(2, len(BANDS), side, side)
    with torch.inference_mode():
        logits = network(pixels)
        assert torch.equal(logits, original(pixels))
    assert logits.shape == (2, len(CLASSES), side, side)
    assert logits.dtype == torch.float32
    assert not network.training


def test_a_missing_optional_band_is_the_band_mean(tmp_path: Path) -> None:
    original = plain_unet()
    bands = [{"name": name, "required": name != "green"} for name in BANDS]
    model = load_model(written(tmp_path, UNET, original.state_dict(), bands=bands)).with_bands(["nir", "red", "blue"])
    pixels = torch.randn(1, 4, 32, 32)
    pixels[:, 1] = 0
    with torch.inference_mode():
        assert torch.equal(build_network(model)(pixels[:, [0, 2, 3]]), original(pixels))


def test_weights_without_step_counters_fit(tmp_path: Path) -> None:
    tensors = {name: t for name, t in plain_unet().state_dict().items() if not name.endswith("num_batches_tracked")}
    build_network(load_model(written(tmp_path, UNET, tensors)))


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"name": "UNet", "encoder": "resnet18"}, "no architecture 'UNet'; did you mean Unet"),
        ({"name": "os.system", "encoder": "resnet18"}, "no architecture 'os.system'; known: DPT"),
        ({"name": "Unet", "encoder": "resnet81"}, "no encoder 'resnet81'; did you mean .*resnet18"),
        ({"name": "Unet", "encoder": "tu-resnet_18"}, "did you mean .*tu-resnet18"),
        ({"name": "Unet", "encoder": "tu-hf-hub:someone/something"}, "no encoder 'tu-hf-hub:"),
        ({"name": "Unet", "encoder": "tu-local-dir:somewhere"}, "no encoder 'tu-local-dir:"),
        (
            {"name": "Unet", "encoder": "resnet18", "options": {"encoder_dept": 3}},
            "no option of Unet .*mean encoder_depth",
        ),
        ({"name": "Unet", "encoder": "resnet18", "options": {"checkpoint_path": "x.pt"}}, "no option of Unet 'check"),
        ({"name": "Unet", "encoder": "resnet18", "options": {"encoder_weights": "imagenet"}}, "no option of Unet"),
        ({"name": "Unet", "encoder": "resnet18", "options": {"activation": "softmax"}}, "no option of Unet"),
        (
            {"name": "Unet", "encoder": "resnet18", "options": {"encoder_depth": 9}},
            "cannot build Unet .* correct its architecture",
        ),
    ],
)
def test_a_name_that_is_not_known_is_refused_with_what_is_near(
    tmp_path: Path, architecture: dict[str, Any], message: str
) -> None:
    model = load_model(written(tmp_path, architecture, {"a": torch.zeros(1)}))
    with pytest.raises(ModelError, match=message) as caught:
        build_network(model)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"bands": [{"name": n} for n in "abc"]},
            "1 of another shape .*the card has 3 bands, the weights take 4: correct",
        ),
        ({"classes": CLASSES[:2]}, "2 of another shape .*the card has 2 classes, the weights give 3: correct classes"),
        (
            {"architecture": {"name": "Unet", "encoder": "resnet34", "options": UNET["options"]}},
            r"does not fit .*: tensors \d+ missing \(.*, ...\); correct architecture",
        ),
    ],
)
def test_weights_that_do_not_fit_say_how_the_card_differs(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    model = load_model(written(tmp_path, UNET, plain_unet().state_dict(), **change))
    with pytest.raises(ModelError, match=message):
        build_network(model)


def test_unexpected_tensors_and_broken_numbers_are_refused(tmp_path: Path) -> None:
    tensors = plain_unet().state_dict()
    with pytest.raises(ModelError, match=r"tensors 1 unexpected \(extra\)"):
        build_network(load_model(written(tmp_path, UNET, {**tensors, "extra": torch.zeros(1)})))
    tensors["segmentation_head.0.bias"][0] = float("nan")
    with pytest.raises(ModelError, match=r"segmentation_head\.0\.bias holds NaN or infinity"):
        build_network(load_model(written(tmp_path, UNET, tensors)))


def test_a_state_dict_of_torch_gives_the_same_network(tmp_path: Path) -> None:
    folder = written(tmp_path, UNET, plain_unet().state_dict(), weights="weights.pth")
    torch.save(load_file(folder / "weights.safetensors"), folder / "weights.pth")
    pixels = torch.randn(1, 4, 32, 32)
    with torch.inference_mode():
        assert torch.equal(build_network(load_model(folder))(pixels), plain_unet()(pixels))


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), ()),
        (nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False)), ("0 (BatchNorm2d)",)),
        (nn.Sequential(nn.InstanceNorm2d(4)), ("0 (InstanceNorm2d)",)),
        (nn.Sequential(nn.InstanceNorm2d(4, track_running_stats=True)), ()),
        (nn.Sequential(nn.GroupNorm(2, 4)), ("0 (GroupNorm)",)),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1)), ("0 (AdaptiveAvgPool2d)",)),
        (nn.Sequential(nn.AdaptiveMaxPool2d(1)), ("0 (AdaptiveMaxPool2d)",)),
        (nn.MultiheadAttention(4, 2), ("network (MultiheadAttention)",)),
    ],
)
def test_layers_that_depend_on_the_window_are_named(network: nn.Module, expected: tuple[str, ...]) -> None:
    assert window_dependent_layers(network) == expected


@pytest.mark.parametrize(
    ("architecture", "encoder", "part"),
    [
        ("PSPNet", "resnet18", "AdaptiveAvgPool2d"),
        ("FPN", "resnet18", "GroupNorm"),
        ("Linknet", "se_resnet50", "SEModule"),
        ("Linknet", "efficientnet-b0", "MBConvBlock"),
        ("Linknet", "tu-mobilenetv3_small_050", "SqueezeExcite"),
        ("Segformer", "mit_b0", "Attention"),
        ("Unet", "resnet18", None),
        ("Linknet", "mobilenet_v2", None),
    ],
)
def test_window_dependent_parts_of_real_networks_are_found(architecture: str, encoder: str, part: str | None) -> None:
    layers = window_dependent_layers(ARCHITECTURES[architecture](encoder_name=encoder, encoder_weights=None))
    assert any(part in layer for layer in layers) if part else layers == ()
