"""Squares of a few scenes as the units of an interval, where whole scenes are too few to be drawn from.

Squares of one scene are no independent looks at the world, so that such intervals are too narrow; they say how much of
a score hangs on single spots of these scenes.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import rasterio

from geoseg.errors import InputError
from geoseg.evaluate.scores import Margins

__all__ = ["in_blocks"]


def in_blocks(pairs: Iterable[tuple[Path, Path]], values: Sequence[int], *, side: int) -> Margins:
    """Margins (block, class) of maps against labels on the same grid, where labels have one of the classes.

    Args:
        pairs: A map and its labels each: class values in the first band.
        values: Of the classes.
        side: Of a block in pixels; blocks at the right and lower end are what is left.

    Raises:
        InputError: If a map is not of the size of its labels, or has no class where these have one.
    """
    k, found = len(values), []
    index = np.full(256, k)
    index[list(values)] = np.arange(k)
    for map_path, label_path in pairs:
        with rasterio.open(map_path) as mapped, rasterio.open(label_path) as labels:
            ours, truth = index[mapped.read(1)], index[labels.read(1)]
        if ours.shape != truth.shape or (ours[truth < k] == k).any():
            raise InputError(f"{map_path} does not cover {label_path}: map the scene that was labelled, as it is")
        rows, cols = truth.shape
        across = -(-cols // side)
        block = np.arange(rows)[:, None] // side * across + np.arange(cols) // side
        known = truth < k
        pair = (block[known] * k + truth[known]) * k + ours[known]
        counts = np.bincount(pair, minlength=-(-rows // side) * across * k * k).reshape(-1, k, k)
        found.append(counts[counts.sum(axis=(1, 2)) > 0])
    return Margins.of(np.concatenate(found))
