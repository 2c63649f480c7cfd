"""Networks that are programs: TorchScript and torch.export. Built only for models that are trusted."""

import io
import warnings
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError, printable
from geoseg.models.load import Model
from geoseg.models.weights import read_content

__all__ = ["exported_network", "torchscript_network"]


def torchscript_network(model: Model) -> nn.Module:
    """The network of a TorchScript archive.

    Raises:
        ModelError: If it cannot be read.
    """
    return _Traced(_read(model, lambda file: torch.jit.load(file, map_location="cpu").eval()))


def exported_network(model: Model) -> nn.Module:
    """The network of a .pt2 archive of torch.export.

    Raises:
        ModelError: If it cannot be read.
    """
    return _Traced(_read(model, lambda file: torch.export.load(file).module()))


def _read(model: Model, load: Callable[[io.BytesIO], Any]) -> nn.Module:
    assert model.weights is not None, "a card of this kind has weights"
    content = read_content(model.weights, sha256=model.weights_sha256, member=model.member)
    try:
        with warnings.catch_warnings():
            # torch announces the end of TorchScript at each use of it; the file cannot be read otherwise
            warnings.simplefilter("ignore", FutureWarning)
            network: nn.Module = load(io.BytesIO(content))
    except Exception as error:  # what is in the file decides what is raised
        raise ModelError(
            f"{printable(model.source)} cannot be read as kind {model.card.kind} ({type(error).__name__}: "
            f"{printable(str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given')}): "
            "correct kind in its card, or get the file again"
        ) from error
    return network


class _Traced(nn.Module):
    """A program as it was traced: in eval mode, with windows in the memory format that it was traced with."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> Self:
        """Stay as it is: an exported program has no modes, and raises where it is asked for one."""
        self.training = mode
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) to what the program gives."""
        out: Tensor = self.program(pixels.contiguous())
        return out
