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
        n, _, height, width = pixels.shape
        total = pixels.new_zeros((n, len(self.centres), height, width))
        # band by band: a sum over an axis may add in another order for another memory layout
        for band in range(self.centres.shape[1]):
            difference = pixels[:, band, None] - self.centres[None, :, band, None, None]
            total = total + difference * difference
        return total * self.scale
