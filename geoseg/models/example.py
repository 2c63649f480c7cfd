"""Windows to try a network on, made from a seed, and how far two networks agree on them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.models.card import ModelCard

__all__ = ["SHARE_THAT_MAY_DIFFER", "Agreement", "compare", "example_side", "example_windows"]

SHARE_THAT_MAY_DIFFER = 1e-4
"""Of the pixels of a class map, between a network and what was exported from it."""
_SIDE = 128
_PATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two networks agree on the same windows."""

    n_pixels: int
    """Compared."""
    n_differ: int
    """Of another class."""
    largest: float
    """Largest difference of two logits."""

    @property
    def good(self) -> bool:
        """Whether their class maps are the same, but for near ties."""
        return self.n_differ <= SHARE_THAT_MAY_DIFFER * self.n_pixels

    def __str__(self) -> str:
        share = 100 * self.n_differ / self.n_pixels
        return f"{self.n_differ} of {self.n_pixels} pixels differ ({share:.4f} %), logits by up to {self.largest:.2g}"


def example_side(card: ModelCard) -> int:
    """Pixels along a side of a window to try a network on: its own where that is fixed, else about 128."""
    if card.fixed_window:
        return card.window
    return min(card.window, max(_SIDE // card.output_stride, 1) * card.output_stride)


def example_windows(n: int, card: ModelCard, side: int, *, seed: int = 0) -> Tensor:
    """Normalised windows (n, band, row, col), float32: patches of 16 px with noise, mean 0 and deviation 1.

    Where bands are reflectances they stay from 0.001 to 1: rules divide by their sums.
    """
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn((n, len(card.bands), -(-side // _PATCH), -(-side // _PATCH)), generator=generator)
    patches = F.interpolate(coarse, scale_factor=_PATCH, mode="nearest")[:, :, :side, :side]
    noise = torch.randn((n, len(card.bands), side, side), generator=generator)
    windows = patches * 0.9 + noise * 0.44
    if card.units == "reflectance":
        mean, std = (torch.tensor([getattr(b, key) for b in card.bands])[:, None, None] for key in ("mean", "std"))
        windows = ((windows * std + mean).abs().clamp(0.001, 1) - mean) / std
    return windows.contiguous()


def compare(network: nn.Module, other: nn.Module, windows: Tensor) -> Agreement:
    """How far two networks agree, window by window."""
    n_differ, largest = 0, 0.0
    with torch.inference_mode():
        for window in windows.split(1):
            one, two = network(window).float(), other(window).float()
            n_differ += int((one.argmax(dim=1) != two.argmax(dim=1)).sum())
            difference = (one - two).abs().max().item()
            # NaN is larger than anything
            largest = difference if not difference <= largest else largest
    n_pixels = len(windows) * windows.shape[2] * windows.shape[3]
    return Agreement(n_pixels=n_pixels, n_differ=n_differ, largest=largest)
