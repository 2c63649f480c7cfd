"""Gradient checkpointing: the same gradients, from less that is kept."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from geoseg.errors import GeosegError
from geoseg.models.card import Architecture
from geoseg.models.network import build_architecture
from geoseg.train.recompute import blocks_of, recompute
from tests.train.conftest import trained


def step(encoder: str, *, again: bool) -> tuple[Tensor, dict[str, Tensor], int]:
    """Loss, gradients and buffers after a step, and how many bytes the forward pass kept for the gradient."""
    torch.manual_seed(0)
    network = build_architecture(
        Architecture(name="FPN", encoder=encoder), in_channels=3, n_classes=2, source="test"
    ).train()
    if again:
        recompute(network)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    images, target = torch.randn(2, 3, 64, 64), torch.randint(0, 2, (2, 64, 64))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = nn.functional.cross_entropy(network(images), target)
    loss.backward()
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    weights = sum(p.untyped_storage().nbytes() for p in network.parameters())
    return loss.detach(), found | dict(network.named_buffers()), sum(kept.values()) - weights


# batch normalisation; stochastic depth and attention; stages that are no sequences; lists that blocks write into
@pytest.mark.parametrize("encoder", ["resnet18", "mit_b0", "tu-regnety_002", "tu-hrnet_w18_small"])
def test_loss_gradients_and_statistics_are_the_same_to_the_bit_and_less_is_kept(encoder: str) -> None:
    loss, found, kept = step(encoder, again=False)
    loss_again, found_again, kept_again = step(encoder, again=True)
    assert torch.equal(loss, loss_again)
    assert found.keys() == found_again.keys()
    assert [n for n in found if not torch.equal(found[n], found_again[n])] == []
    assert kept_again < 0.8 * kept


def test_a_network_without_blocks_is_refused() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert blocks_of(plain) == []
    with pytest.raises(GeosegError, match="gradient_checkpointing: the encoder has no blocks"):
        recompute(plain)


def test_a_training_gives_the_same_model(finished: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    settings, whole = finished
    asked = settings | {"gradient_checkpointing": True}
    trained(asked, tmp_path / "m")
    one, other = (load_file(folder / "weights.safetensors") for folder in (whole, tmp_path / "m"))
    assert [n for n in one if not torch.equal(one[n], other[n])] == []
    # so it does not matter with which of them a training is asked for
    assert trained(asked, whole).was_there


def test_an_evaluation_computes_nothing_twice() -> None:
    torch.manual_seed(0)
    network = build_architecture(
        Architecture(name="FPN", encoder="resnet18"), in_channels=3, n_classes=2, source="test"
    ).eval()
    calls: list[None] = []
    recompute(network)
    inner = blocks_of(network)[0]
    inner.register_forward_hook(lambda *_: calls.append(None))
    conv = next(m for m in inner.modules() if isinstance(m, nn.Conv2d))
    conv.register_forward_hook(lambda *_: calls.append(None))
    network(torch.randn(1, 3, 64, 64)).sum().backward()
    assert len(calls) == 2
