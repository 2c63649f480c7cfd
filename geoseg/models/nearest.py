"""Logits from distances to cluster centres."""

import torch
from torch import Tensor, nn

__all__ = ["NearestCentre"]


class NearestCentre(nn.Module):
    """Log-likelihoods of equally wide Gaussians about the centres, up to a constant.

    Softmax then is the posterior of a mixture with equal shares, and the largest logit belongs to the nearest centre.

    Args:
        centres: Per class and band, in normalised units.
        spread: Standard deviation of the Gaussians, in normalised units.
    """

    centres: Tensor

    def __init__(self, centres: tuple[tuple[float, ...], ...], spread: float) -> None:
        super().__init__()
        self.register_buffer("centres", torch.tensor(centres, dtype=torch.float32))
        self.scale = -0.5 / spread**2

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) normalised to (N, K, H, W) logits; no pixel sees another."""
        channels = pixels.unbind(1)
        # Class by class, to work in the cache; band by band, because a sum over an axis may add in another order for
        # another memory layout.
        return torch.stack([self._squared_distance(channels, k) for k in range(len(self.centres))], dim=1) * self.scale

    def _squared_distance(self, channels: tuple[Tensor, ...], k: int) -> Tensor:
        total = torch.zeros_like(channels[0])
        for channel, centre in zip(channels, self.centres[k], strict=True):
            difference = channel - centre
            total += difference * difference
        return total
