"""Logits of labelled pixels, as the production engine blends them: what a temperature is fitted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.change.grids import align
from geoseg.change.index import NONE, places
from geoseg.change.legends import common_legend
from geoseg.change.maps import ClassSource
from geoseg.evaluate.plan import Matching
from geoseg.inference.lattice import Block, blocks
from geoseg.inference.normalise import Normalisation
from geoseg.inference.recipe import Recipe
from geoseg.inference.rows import engine_for
from geoseg.inference.stream import stream
from geoseg.scene.reader import reader_of

__all__ = ["LogitSample", "sample_logits"]

_BLOCK_PX = 2048


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogitSample:
    """Labelled pixels of a scene."""

    logits: NDArray[np.float32]
    """(n, K) blended, not divided by any temperature."""
    labels: NDArray[np.int64]
    """(n,) true class, in the order of the model's outputs."""


def sample_logits(
    recipe: Recipe, reference: ClassSource, *, most: int, matching: Matching | None = None, seed: int = 0
) -> LogitSample:
    """Logits of labelled pixels, drawn evenly at random.

    Memory: a strip of logits as high as a window, and the sample. Pixels whose true class the model does not know are
    left out.

    Args:
        recipe: Scene, model and how to run it.
        reference: What is true, on any grid.
        most: Pixels to draw, about; fewer where fewer are labelled.
        matching: How classes are brought together.
        seed: Of the draw.

    Raises:
        GeosegError: If scene and reference do not fit, cannot be read, or the model not run.
    """
    matching = matching or Matching()
    scene, legend = recipe.scene, recipe.model.legend
    names = (scene.id, reference.name)
    alignment = align(scene.geobox, reference.geobox, names=names)
    common = common_legend(
        legend, reference.legend, named=(True, reference.named), crosswalk=matching.swapped.crosswalk, names=names
    )
    # from places in the common legend to the model's outputs; a class that the model lacks is none
    output = np.full(256, -1, dtype=np.int64)
    output[common.before[list(legend.values)]] = np.arange(len(legend))
    output[NONE] = -1
    lookup = common.after.copy()
    for value in matching.ignored(reference):
        lookup[value] = NONE
    share = min(1.0, most / (int(alignment.geobox.shape[0]) * int(alignment.geobox.shape[1])))
    rng = np.random.default_rng(seed)
    found: list[LogitSample] = []
    for block in blocks(scene.height, scene.width, block_height=_BLOCK_PX, block_width=scene.width):
        for rows in stream(
            reader_of(scene, recipe.bands),
            engine_for(recipe),
            recipe.lattice,
            block,
            normalise=Normalisation(gain=recipe.gain, bias=recipe.bias, fill=recipe.model.card.nodata_fill),
            n_classes=recipe.model.n_classes,
            blend=recipe.blend,
            align=scene.block_shape[0],
        ):
            top = max(rows.row_off, alignment.row_off)
            bottom = min(rows.row_off + len(rows.valid), alignment.row_off + int(alignment.geobox.shape[0]))
            if top >= bottom:
                continue
            strip = Block(
                row_off=top - alignment.row_off,
                col_off=0,
                height=bottom - top,
                width=int(alignment.geobox.shape[1]),
            )
            values, _ = alignment.after.take(strip, reference.read, reference.legend.nodata)
            truth = output[places(values, lookup)[0]]
            inside = slice(top - rows.row_off, bottom - rows.row_off)
            across = slice(alignment.col_off, alignment.col_off + strip.width)
            usable = (truth >= 0) & rows.valid[inside, across]
            row, col = np.nonzero(usable & (rng.random(truth.shape) < share))
            logits = rows.logits[:, inside, across].cpu().numpy()[:, row, col].T
            found.append(LogitSample(logits=np.ascontiguousarray(logits), labels=truth[row, col]))
    return LogitSample(
        logits=np.concatenate([f.logits for f in found]) if found else np.zeros((0, len(legend)), np.float32),
        labels=np.concatenate([f.labels for f in found]) if found else np.zeros(0, np.int64),
    )
