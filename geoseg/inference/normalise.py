"""Stored pixels -> the numbers a network was trained on: one multiplication and one addition per band.

Physical value = stored * scale + offset; network input = (physical - mean) / std. Both are folded into one gain and
bias per band. Pixels without observation become the card's fill value, the band's mean unless it says otherwise,
so that a nodata collar makes no false edge of reflectance 0.
"""

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Normalisation"]


@nb.njit(nogil=True, cache=True)
def _normalise_cpu(
    pixels: NDArray[Any],
    valid: NDArray[np.bool_],
    gain: NDArray[np.float32],
    bias: NDArray[np.float32],
    fill: np.float32,
    out: NDArray[np.float32],
) -> None:
    bands, rows, cols = pixels.shape
    for row in range(rows):
        for band in range(bands):
            g, b = gain[band], bias[band]
            for col in range(cols):
                x = np.float32(pixels[band, row, col]) * g + b
                out[row, col, band] = x if valid[row, col] else fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """Gain and bias per band of a scene for a model."""

    gain: tuple[float, ...]
    """Network input per stored unit."""
    bias: tuple[float, ...]
    """Network input of a stored 0."""
    fill: float = 0.0
    """Network input where there is no observation."""

    def __call__(self, pixels: NDArray[Any], valid: NDArray[np.bool_], device: torch.device) -> torch.Tensor:
        """Network input (row, col, band), float32, contiguous, on the device.

        Stored pixels travel to an accelerator in their own dtype, a half or a quarter of float32; on the CPU a compiled
        kernel normalises where they are.

        Args:
            pixels: Stored values (band, row, col).
            valid: Where there are observations (row, col).
            device: Where the network runs.
        """
        if (pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 2) or pixels.dtype == np.float64:
            # not every accelerator has 64 bit types; torch knows no unsigned 32 bit arithmetic
            with np.errstate(over="ignore"):  # a nodata value of -1.8e308 becomes infinite, and then the fill
                pixels = pixels.astype(np.float32)
        if device.type == "cpu":
            bands, rows, cols = pixels.shape
            out = np.empty((rows, cols, bands), np.float32)
            _normalise_cpu(
                pixels,
                valid,
                np.asarray(self.gain, np.float32),
                np.asarray(self.bias, np.float32),
                np.float32(self.fill),
                out,
            )
            return torch.from_numpy(out)
        raw = torch.from_numpy(pixels).to(device, non_blocking=True)
        x = raw.permute(1, 2, 0).to(torch.float32, memory_format=torch.contiguous_format)
        x.mul_(torch.tensor(self.gain, device=device)).add_(torch.tensor(self.bias, device=device))
        return x.masked_fill_(~torch.from_numpy(valid).to(device)[:, :, None], self.fill)
