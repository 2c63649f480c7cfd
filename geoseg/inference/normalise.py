"""Stored pixels -> the numbers a network was trained on: one multiplication and one addition per band.

Physical value = stored * scale + offset; network input = (physical - mean) / std. Both are folded into one gain and
bias per band. Pixels without observation become the card's fill value, the band's mean unless it says otherwise,
so that a nodata collar makes no false edge of reflectance 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.kernels import njit

__all__ = ["Normalisation"]


_CHUNK = 256  # columns at a time: their values, band by band, stay in the first-level cache


@njit(nogil=True, cache=True)
def _normalise_cpu(
    pixels: NDArray[Any],
    valid: NDArray[np.bool_],
    gain: NDArray[np.float32],
    bias: NDArray[np.float32],
    fill: np.float32,
    top: int,
    left: int,
    height: int,
    width: int,
    out: NDArray[np.float32],
) -> None:
    """The pixels (band, row, col) from ``top`` and ``left`` on into the first rows and columns of (row, col, band).

    Whole arrays and where to look, rather than views of them: loops over memory known to be in one piece vectorize.
    """
    bands = len(pixels)
    planes = np.empty((bands, _CHUNK), np.float32)
    for row in range(height):
        for first in range(0, width, _CHUNK):
            n = min(_CHUNK, width - first)
            start = left + first
            seen = valid[top + row, start : start + n]
            for band in range(bands):
                g, b = gain[band], bias[band]
                line, plane = pixels[band, top + row, start : start + n], planes[band]
                for i in range(n):
                    x = np.float32(line[i]) * g + b
                    plane[i] = x if seen[i] else fill
            target = out[row, first : first + n]
            # two bands at a time: half as many passes over the target, which a loop over all bands would not vectorize
            for band in range(0, bands - 1, 2):
                one, other = planes[band], planes[band + 1]
                for i in range(n):
                    target[i, band] = one[i]
                    target[i, band + 1] = other[i]
            if bands % 2:
                one = planes[bands - 1]
                for i in range(n):
                    target[i, bands - 1] = one[i]


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """Gain and bias per band of a scene for a model."""

    gain: tuple[float, ...]
    """Network input per stored unit."""
    bias: tuple[float, ...]
    """Network input of a stored 0."""
    fill: float = 0.0
    """Network input where there is no observation."""

    def hold(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Stored pixels in a type that is normalised alike everywhere: their own, or float32 for wide types.

        Not every accelerator has 64 bit types, and torch knows no unsigned 32 bit arithmetic.
        """
        if (pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 2) or pixels.dtype == np.float64:
            with np.errstate(over="ignore"):  # a nodata value of -1.8e308 becomes infinite, and then the fill
                return pixels.astype(np.float32)
        return pixels

    def cut(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], rows: slice, cols: slice, out: NDArray[np.float32]
    ) -> None:
        """Network input of a part of some pixels, on the CPU: a compiled kernel writes it where it is wanted.

        Args:
            pixels: Stored values (band, row, col), as :meth:`hold` gives them, contiguous.
            valid: Where there are observations (row, col), contiguous.
            rows: Which rows.
            cols: Which columns.
            out: (row, col, band), contiguous, with at least as many rows and columns; the first ones are set.
        """
        _normalise_cpu(
            pixels,
            valid,
            np.asarray(self.gain, np.float32),
            np.asarray(self.bias, np.float32),
            np.float32(self.fill),
            rows.start,
            cols.start,
            rows.stop - rows.start,
            cols.stop - cols.start,
            out,
        )

    def on_device(self, pixels: NDArray[Any], valid: NDArray[np.bool_], device: torch.device) -> torch.Tensor:
        """Network input (row, col, band), float32, contiguous, on an accelerator, by torch what :meth:`cut` does.

        Stored pixels travel there in their own dtype, a half or a quarter of float32.

        Args:
            pixels: Stored values (band, row, col), as :meth:`hold` gives them.
            valid: Where there are observations (row, col).
            device: Where the network runs.
        """
        raw = torch.from_numpy(pixels).to(device, non_blocking=True)
        x = raw.permute(1, 2, 0).to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        x.mul_(torch.tensor(self.gain, device=device)).add_(torch.tensor(self.bias, device=device))
        return x.masked_fill_(~torch.from_numpy(valid).to(device)[:, :, None], self.fill)
