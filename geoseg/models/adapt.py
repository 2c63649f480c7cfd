"""What makes a network of any format one that the engine takes: all bands in, one logit per class out."""

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError, printable
from geoseg.models.formats import find_format
from geoseg.models.load import Model

__all__ = ["adapted"]

_SMALLEST = 1e-6
"""Probabilities below are taken for it: the logarithm of 0 would rule a class out for good where windows overlap."""


def adapted(network: nn.Module, model: Model) -> nn.Module:
    """The network, taking the bands that the model has and giving logits of its classes."""
    card = model.card
    if card.output != "logits":
        network = _AsLogits(network, model)
    if not find_format(card.kind).any_bands and len(model.bands) < len(card.bands):
        kept = [i for i, band in enumerate(card.bands) if band.name in model.bands]
        network = _FillMissing(network, kept, len(card.bands))
    return network


class _FillMissing(nn.Module):
    """Puts the band mean (0, normalised) where an optional band is missing."""

    def __init__(self, network: nn.Module, kept: list[int], channels: int) -> None:
        super().__init__()
        self.network = network
        self.kept = kept
        self.channels = channels

    def forward(self, pixels: Tensor) -> Tensor:
        n, _, height, width = pixels.shape
        full = pixels.new_zeros((n, self.channels, height, width))
        for source, target in enumerate(self.kept):
            full[:, target] = pixels[:, source]
        logits: Tensor = self.network(full)
        return logits


class _AsLogits(nn.Module):
    """Logits whose softmax is what the network says: of one channel, or of probabilities."""

    def __init__(self, network: nn.Module, model: Model) -> None:
        super().__init__()
        self.network = network
        self.output = model.card.output
        self.name = printable(model.card.name)

    def forward(self, pixels: Tensor) -> Tensor:
        out: Tensor = self.network(pixels).float()
        if self.output.startswith("binary") and out.shape[1] != 1:
            raise ModelError(f"model {self.name} gives {out.shape[1]} channels, but output {self.output} means one")
        if self.output == "binary_logit":
            return torch.cat([torch.zeros_like(out), out], dim=1)
        # NaN passes, for the decision to refuse
        if bool(((out < -1e-3) | (out > 1 + 1e-3)).any()):
            raise ModelError(
                f"model {self.name} gives values from {float(out.min()):.3g} to {float(out.max()):.3g}, which are no "
                "probabilities: correct output in its card (logits, or binary_logit)"
            )
        if self.output == "binary_probability":
            out = torch.cat([1 - out, out], dim=1)
        return out.clamp(min=_SMALLEST).log()
