"""Networks that are tried on the windows of their training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import geoseg
from geoseg.errors import ParameterError
from geoseg.models.network import build_architecture
from geoseg.train.config import load_training
from geoseg.train.trial import try_windows
from tests.train.conftest import trained

Settings = Callable[..., dict[str, Any]]


def tried(network: nn.Module, settings: dict[str, Any]) -> None:
    spec = load_training(None, settings, folder=Path("/")).spec
    try_windows(network, spec, in_channels=2, n_classes=3)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "PAN",
            {"window": 64},
            "PAN with tu-resnet18 cannot be trained on 2 windows of 64 px .*: choose a larger window",
        ),
        (
            "DeepLabV3",
            {"batch_size": 1},
            "DeepLabV3 .* cannot be trained on 1 window of 64 px .*: choose batch_size: 2, or",
        ),
    ],
    ids=["PAN", "DeepLabV3"],
)
def test_a_network_that_does_not_take_the_windows_is_refused(
    settings: Settings, name: str, change: dict[str, Any], message: str
) -> None:
    asked = settings(**({"architecture": {"name": name, "encoder": "tu-resnet18"}, "window": 64} | change))
    spec = load_training(None, asked, folder=Path("/")).spec
    network = build_architecture(spec.architecture, in_channels=2, n_classes=3, source="here")
    with pytest.raises(ParameterError, match=message):
        try_windows(network, spec, in_channels=2, n_classes=3)
    tried(network, asked | {"window": 128, "batch_size": 2})


class Halving(nn.Module):
    """Gives logits at half the size, as a network without its last upsampling does."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :1, ::2, ::2].expand(-1, 3, -1, -1)


def test_logits_of_another_size_are_refused(settings: Settings) -> None:
    with pytest.raises(ParameterError, match=r"gives \(2, 3, 16, 16\) for 2 windows of 32 px: .* \(2, 3, 32, 32\)"):
        tried(Halving(), settings())


class OneSize(nn.Conv2d):
    """Takes windows of 32 px only, as some transformers do."""

    output_stride = 16

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__(in_channels, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] != 32:
            raise AssertionError("input size doesn't match model (32).")
        return super().forward(images)


def test_a_network_that_takes_windows_of_one_size_is_run_on_windows_of_that_size(
    settings: Settings, data: Path, tmp_path: Path
) -> None:
    asked = settings(architecture={"name": f"{__name__}:OneSize"}, epochs=1)
    with pytest.raises(
        ParameterError, match=r"OneSize cannot be trained on 2 windows of 64 px \(.*match model \(32\)\)"
    ):
        trained(asked | {"window": 64}, tmp_path / "m", trust=True)
    trained(asked, tmp_path / "m", trust=True)
    model = geoseg.load_model(tmp_path / "m", trust=True)
    assert (model.card.window, model.card.fixed_window) == (32, True)
    mapped = geoseg.segment(geoseg.open_scene(data / "images" / "s3.tif"), model).classes.to_numpy()
    assert set(np.unique(mapped)) <= {1, 2}


def test_a_network_that_is_tried_stays_as_it_was_and_draws_nothing(settings: Settings) -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5)).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    tried(network, settings())
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training
