"""The network on its device: precision that fails is made good, memory that runs out is asked for in halves."""

import pytest
import torch
from torch import nn

from geoseg.errors import ModelError, ParameterError, ResourceError
from geoseg.inference.engine import Engine, choose_device

CPU = torch.device("cpu")


class Hungry(nn.Module):
    """Returns its input, and runs out of memory above a batch size."""

    def __init__(self, limit: int, error: type[RuntimeError] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.limit = limit
        self.error = error
        self.sizes: list[int] = []

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(windows))
        if len(windows) > self.limit:
            raise self.error("CUDA out of memory. Tried to allocate 20.00 GiB")
        return windows * 2


def loud(factor: float = 1e4) -> nn.Module:
    """A 1 x 1 convolution whose products leave the range of float16."""
    network = nn.Conv2d(1, 2, 1)
    nn.init.constant_(network.weight, factor)
    nn.init.zeros_(network.bias) if network.bias is not None else None
    return network


def windows_of(n: int, side: int = 8) -> torch.Tensor:
    return torch.randn((n, 1, side, side), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_out_of_memory_halves_the_batch_for_good_and_gives_the_same(limit: int, error: type[RuntimeError]) -> None:
    network = Hungry(limit, error)
    engine = Engine(network=network, device=CPU, batch_size=7)
    windows = windows_of(7)
    torch.testing.assert_close(engine(windows), windows * 2, rtol=0, atol=0)
    assert engine.batch_size <= limit
    network.sizes.clear()
    engine(windows[: engine.batch_size])
    assert network.sizes == [engine.batch_size]


def test_one_window_that_does_not_fit_is_an_error_with_the_mend() -> None:
    engine = Engine(network=Hungry(0), device=CPU, batch_size=4)
    with pytest.raises(ResourceError, match=r"one window of 8 x 8 px does not fit .*smaller --window"):
        engine(windows_of(4))


def test_another_error_of_the_network_is_not_taken_for_out_of_memory() -> None:
    engine = Engine(network=nn.Conv2d(3, 2, 1), device=CPU, batch_size=1)
    with pytest.raises(RuntimeError, match="channels"):
        engine(windows_of(1))
    assert engine.batch_size == 1


def test_overflow_of_reduced_precision_is_redone_in_float32() -> None:
    engine = Engine(network=loud(), device=CPU, batch_size=2, precision="float16")
    windows = windows_of(2)
    assert torch.isfinite(engine(windows)).all()
    assert engine.redone == 0
    assert torch.equal(engine(windows * 1e3), loud()(windows * 1e3))
    assert engine.redone == 1


def test_redoing_one_window_leaves_its_neighbours_in_the_batch_alone() -> None:
    quiet = windows_of(1)
    both = torch.cat([quiet, quiet * 1e3])
    engine = Engine(network=loud(), device=CPU, batch_size=2, precision="float16")
    alone = engine(torch.cat([quiet, quiet]))[0]
    assert not torch.equal(alone, loud()(quiet)[0])
    assert torch.equal(engine(both)[0], alone)
    assert engine.redone == 1


def test_what_is_no_number_in_float32_stays_so_for_the_decision_to_refuse() -> None:
    engine = Engine(network=loud(float("nan")), device=CPU, batch_size=1, precision="bfloat16")
    assert torch.isnan(engine(windows_of(1))).all()
    assert engine.redone == 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "auto"])
def test_logits_are_float32_whatever_the_precision(precision: str) -> None:
    engine = Engine(network=loud(1), device=CPU, batch_size=1, precision=precision)
    assert engine(windows_of(1)).dtype == torch.float32


def test_a_network_is_put_into_eval_mode() -> None:
    engine = Engine(network=nn.Sequential(nn.Dropout(0.9)), device=CPU, batch_size=1)
    windows = windows_of(1)
    assert torch.equal(engine(windows), windows)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"precision": "int8"}])
def test_what_cannot_be_run_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match="choose"):
        Engine(**({"network": nn.Identity(), "device": CPU, "batch_size": 1} | wrong))  # type: ignore[arg-type]


def test_a_model_that_drops_windows_is_refused() -> None:
    class First(nn.Module):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            return windows[:1]

    with pytest.raises(ModelError, match="one value per class"):
        Engine(network=First(), device=CPU, batch_size=2)(windows_of(2))


def test_devices_are_chosen_or_refused_never_replaced() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(ParameterError, match=r"'tpu' is not known: choose one of auto, cpu"):
        choose_device("tpu")
    missing = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(ParameterError, match=r"is not there: .*--device cpu"):
        choose_device(missing)
