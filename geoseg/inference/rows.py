"""A recipe and a block -> finished rows of classes and confidence: the one loop that every door uses."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.errors import GeosegError, ModelError, printable, reason_of
from geoseg.inference.decide import decide
from geoseg.inference.engine import Engine, choose_device
from geoseg.inference.lattice import TILE, Block
from geoseg.inference.native import OnOwnPixels
from geoseg.inference.normalise import Normalisation
from geoseg.inference.recipe import Recipe
from geoseg.inference.stream import LogitRows, stream
from geoseg.legend import NODATA
from geoseg.models.load import build_network

__all__ = ["ClassRows", "class_rows", "engine_for"]

_GPU_BATCH = 16  # halved when memory runs out
_ENGINES: OrderedDict[tuple[object, ...], Engine] = OrderedDict()
_ENGINES_KEPT = 2
_LOCK = threading.Lock()
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRows:
    """Finished rows of a block, over its whole width."""

    row_off: int
    """First row in the scene."""
    classes: NDArray[np.uint8]
    """Class values (row, col)."""
    confidence: NDArray[np.uint8]
    """Percent (row, col); nodata where there is no observation."""
    probabilities: NDArray[np.uint8] | None = None
    """Of every class, (class, row, col), where they were asked for: see `decide`."""


def engine_for(recipe: Recipe) -> Engine:
    """The engine for a recipe: the network is loaded once per process and kept for the blocks that follow.

    Raises:
        ModelError: If the weights do not fit.
        ParameterError: If the device is not there.
    """
    device = choose_device(recipe.device)
    # one window fills a CPU's threads; a GPU wants many
    batch_size = recipe.batch_size or (1 if device.type == "cpu" else _GPU_BATCH)
    key = (recipe.model.digest, str(device), recipe.precision, batch_size, recipe.tta)
    with _LOCK:
        if recipe.threads is not None and torch.get_num_threads() != recipe.threads:
            torch.set_num_threads(recipe.threads)
        if key not in _ENGINES:
            _ENGINES[key] = Engine(
                network=build_network(recipe.model),
                device=device,
                batch_size=batch_size,
                precision=recipe.precision,
                tta=recipe.tta,
            )
        _ENGINES.move_to_end(key)
        while len(_ENGINES) > _ENGINES_KEPT:
            _ENGINES.popitem(last=False)
        return _ENGINES[key]


def class_rows(recipe: Recipe, block: Block, *, probabilities: bool = False) -> Iterator[ClassRows]:
    """Finished rows of a block, from top to bottom, without a gap.

    Of a scene with an area of interest only the part of the block that holds some of it is computed; around it is
    nodata, for which nothing is read and no network is built.

    Args:
        recipe: Scene, model and how to run it.
        block: Which pixels.
        probabilities: Whether the rows carry those of all classes, too.

    Raises:
        GeosegError: If the scene cannot be read or the model not run; the message names scene and block.
    """
    if recipe.inside is None:
        yield from _computed(recipe, block, probabilities)
        return
    part = recipe.inside.within(block)
    row = block.row_off
    if part is not None:
        yield from _empty(recipe, block, row, part.row_off, probabilities)
        around = ((0, 0), (part.col_off - block.col_off, block.col_end - part.col_end))
        nodata = recipe.legend.nodata
        for rows in _computed(recipe, part, probabilities):
            shares = rows.probabilities
            yield ClassRows(
                row_off=rows.row_off,
                classes=np.pad(rows.classes, around, constant_values=nodata),
                confidence=np.pad(rows.confidence, around, constant_values=nodata),
                probabilities=None if shares is None else np.pad(shares, ((0, 0), *around), constant_values=NODATA),
            )
        row = part.row_end
    yield from _empty(recipe, block, row, block.row_end, probabilities)


def _empty(recipe: Recipe, block: Block, row: int, row_end: int, probabilities: bool) -> Iterator[ClassRows]:
    """Rows of a block in which nothing is asked for, a row of tiles at a time."""
    for start in range(row, row_end, TILE):
        shape = (min(TILE, row_end - start), block.width)
        nothing = np.full(shape, recipe.legend.nodata, np.uint8)
        shares = np.full((len(recipe.legend), *shape), NODATA, np.uint8) if probabilities else None
        yield ClassRows(row_off=start, classes=nothing, confidence=nothing, probabilities=shares)


def _computed(recipe: Recipe, block: Block, probabilities: bool) -> Iterator[ClassRows]:
    """Rows of a block. Reading, the network, and the decision run in a thread each, one step apart."""
    engine = engine_for(recipe)
    legend, temperature = recipe.legend, recipe.model.card.temperature
    reader = recipe.scene.reader(recipe.bands)  # opens its files in the thread that reads, which closes them
    own = None
    if recipe.native:
        own = OnOwnPixels(recipe.scene, reader, recipe.placed(block), temperature, recipe.placed_inside)
        temperature = 1.0  # they are logarithms of probabilities then
    first_row = recipe.placed(block).row_off - block.row_off

    def finish(seen: LogitRows) -> list[ClassRows]:
        return [decided(rows) for rows in ([seen] if own is None else own.take(seen))]

    def decided(rows: LogitRows) -> ClassRows:
        classes, confidence, shares = decide(
            rows.logits,
            rows.valid,
            values=legend.values,
            nodata=legend.nodata,
            temperature=temperature,
            probabilities=probabilities,
            decision=recipe.decision,
        )
        row_off = rows.row_off - first_row
        return ClassRows(row_off=row_off, classes=classes, confidence=confidence, probabilities=shares)

    with ThreadPoolExecutor(1, "geoseg-decide") as thread:
        pending: Future[list[ClassRows]] | None = None
        try:
            for rows in stream(
                reader,
                engine,
                recipe.lattice,
                recipe.seen(block),
                normalise=Normalisation(gain=recipe.gain, bias=recipe.bias, fill=recipe.model.card.nodata_fill),
                n_classes=recipe.model.n_classes,
                blend=recipe.blend,
                align=recipe.scene.block_shape[0],
                inside=recipe.seen_inside,
            ):
                # the strip under these rows is filled again after the next: take the former result before that
                if pending is not None:
                    yield from pending.result()
                pending = thread.submit(finish, rows)
            if pending is not None:
                yield from pending.result()
        except GeosegError as error:
            if printable(recipe.scene.href) in str(error):
                raise
            raise type(error)(f"{_where(recipe, block)}: {error}") from error
        except RuntimeError as error:  # what torch raises for whatever a network cannot do
            _log.debug("the network failed", exc_info=error)
            raise ModelError(
                f"{_where(recipe, block)}: the network failed: {reason_of(error)}; check that bands, window and "
                "output stride in its card are what it takes, or run with -vv for the details"
            ) from error


def _where(recipe: Recipe, block: Block) -> str:
    """Scene and block, for messages."""
    rows = f"rows {block.row_off} to {block.row_end}"
    return f"{printable(recipe.scene.href)}, {rows}, columns {block.col_off} to {block.col_end}"
