"""Windows that were held out, beside their labels and what the network says: a picture for each epoch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.legend import Legend

__all__ = ["picture"]

_GAP = 4
_WHITE = 255
_MOST_PX = 256


def picture(
    images: NDArray[np.float32],
    truth: NDArray[np.uint8],
    said: NDArray[np.uint8],
    *,
    legend: Legend,
    bands: Sequence[str],
) -> NDArray[np.uint8]:
    """One row for each window: the image, its labels, what the network says; (row, col, 3).

    Args:
        images: (window, band, row, col), normalised.
        truth: Class indices (window, row, col), `IGNORE` where there is no label, which is drawn white.
        said: Class indices (window, row, col).
        legend: Of the classes, for their colours.
        bands: Names; red, green and blue are drawn as such, else the first three, else the first in grey.
    """
    colors = np.full((256, 3), _WHITE, np.uint8)
    colors[: len(legend)] = [c.rgb for c in legend]
    step = -(-images.shape[-1] // _MOST_PX)
    thin = (slice(None), slice(None, None, step), slice(None, None, step))
    chosen = [bands.index(b) for b in ("red", "green", "blue")] if {"red", "green", "blue"} <= set(bands) else None
    shown = images[:, chosen or ([0, 1, 2] if len(bands) >= 3 else [0, 0, 0])][:, *thin]
    # two standard deviations about the mean fill the range of grey
    grey = np.clip((shown + 2.0) * (255 / 4), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    rows = [
        np.concatenate([np.pad(part, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=_WHITE) for part in parts], axis=1)
        for parts in zip(grey, colors[truth[thin]], colors[said[thin]], strict=True)
    ]
    return np.concatenate(rows)
