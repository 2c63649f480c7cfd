"""Test-time augmentation: turned and turned back, averaged, and exact where the network does not care."""

import pytest
import torch
from torch import nn

from geoseg.errors import ModelError, ParameterError
from geoseg.inference.engine import Engine
from geoseg.inference.turns import TTAS, turns_of

CPU = torch.device("cpu")


def windows(n: int = 2, side: int = 16) -> torch.Tensor:
    return torch.randn((n, 3, side, side), generator=torch.Generator().manual_seed(0))


class FromAbove(nn.Module):
    """Each pixel plus half of the one above it: a network that knows where up is."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels + 0.5 * pixels.roll(1, dims=2)


def engine(network: nn.Module, tta: str) -> Engine:
    return Engine(network=network, device=CPU, batch_size=2, tta=tta)


@pytest.mark.parametrize(("name", "n"), [("none", 1), ("flips", 4), ("d4", 8)])
def test_a_set_has_each_side_once_the_window_itself_first(name: str, n: int) -> None:
    square = torch.arange(9).view(1, 1, 3, 3)
    seen = {tuple(turn.apply(square).flatten().tolist()) for turn in turns_of(name)}
    assert len(turns_of(name)) == len(seen) == n
    assert torch.equal(turns_of(name)[0].apply(square), square)


@pytest.mark.parametrize("tta", TTAS)
def test_what_is_turned_is_turned_back(tta: str) -> None:
    pixels = windows()
    for turn in turns_of(tta):
        assert torch.equal(turn.undo(turn.apply(pixels)), pixels)


@pytest.mark.parametrize("tta", TTAS)
def test_a_network_that_does_not_care_gives_the_same_to_the_bit(tta: str) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    assert torch.equal(engine(network, tta)(windows()), engine(network, "none")(windows()))


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_the_result_turns_with_the_window(tta: str) -> None:
    run = engine(FromAbove(), tta)
    pixels = windows()
    for turn in turns_of(tta):
        torch.testing.assert_close(run(turn.apply(pixels)), turn.apply(run(pixels)))
    assert not torch.allclose(run(pixels), FromAbove()(pixels))


def test_it_is_the_mean_of_what_each_side_gives() -> None:
    pixels, network = windows(), FromAbove()
    one_by_one = [turn.undo(network(turn.apply(pixels))) for turn in turns_of("d4")]
    torch.testing.assert_close(engine(network, "d4")(pixels), torch.stack(one_by_one).mean(dim=0))


def test_a_name_that_is_none_and_outputs_of_another_size_are_refused() -> None:
    with pytest.raises(ParameterError, match="choose one of none, flips, d4"):
        engine(FromAbove(), "d8")
    with pytest.raises(ModelError, match="one value per class for every pixel"):
        engine(nn.MaxPool2d(2), "d4")(windows())
