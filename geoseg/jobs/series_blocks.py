"""The tasks on blocks of a series: each leaves part files, one for each raster, and its counts."""

import hashlib
import json
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.change.block_change import map_areas
from geoseg.change.series import Series
from geoseg.change.series_block import SeriesBlock, SeriesCounts, series_block
from geoseg.errors import PartError, printable
from geoseg.inference.lattice import Block
from geoseg.jobs.change_journal import finish_blocks
from geoseg.jobs.series_journal import FollowedBlock, SeriesJournal
from geoseg.legend import NODATA
from geoseg.outputs.crash import crash_point
from geoseg.outputs.parts import Part, PartWriter

__all__ = ["LAYERS", "GoneThrough", "go_through", "series_task"]

LAYERS: Final = ("first", "last", "count", "final")
"""Rasters of a series: the dates of the first and last change, how many, and the class on the last date."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoneThrough:
    """What going through a series leaves before it is published."""

    series: Series
    """With the legends as they turned out to be."""
    parts: dict[str, list[Part]]
    """For each raster, of `LAYERS` and, by number, of the dates, parts that cover the common grid. Those of ``first``
    have the confidence, where there is any."""
    counts: SeriesCounts
    """Of the whole."""
    scene: str
    """What the journal calls it."""
    n_resumed: int
    """Blocks that were finished before."""


def series_task(series: Series, block: Block, folder: Path, maps: bool) -> FollowedBlock:
    """Go through all dates in a block and leave its parts.

    Args:
        series: The maps and rules.
        block: Of the common grid.
        folder: For the parts.
        maps: Whether the classes of each date are wanted, too.
    """
    crash_point(f"block_{block.row_off}_{block.col_off}")
    found = series_block(series, block)
    nothing = np.full((block.height, block.width), NODATA, dtype=np.uint8)
    parts = {}
    for name, pixels in _rasters(series, found, maps).items():
        percent = found.confidence if name == "first" and found.confidence is not None else nothing
        with PartWriter(folder / f"{name}_{block.row_off}_{block.col_off}.tif", block=block) as writer:
            writer.write_rows(pixels, percent)
            parts[name] = writer.finish()
    return FollowedBlock(layers=parts, counts=found.counts, lacking=found.lacking)


def _rasters(series: Series, found: SeriesBlock, maps: bool) -> dict[str, NDArray[np.uint8]]:
    values = np.full(256, series.legend.nodata, dtype=np.uint8)
    values[: len(series.legend)] = series.legend.values
    trajectory = found.trajectory
    rasters = {
        "first": trajectory.first,
        "last": trajectory.last,
        "count": trajectory.count,
        "final": values[trajectory.final],
    }
    if maps:
        rasters |= {str(t): values[places] for t, places in enumerate(found.places)}
    return rasters


def go_through(
    series: Series, key: str, journal: SeriesJournal, executor: Executor, *, maps: bool
) -> tuple[GoneThrough | None, list[set[int]]]:
    """Go through a series, block by block; blocks that the journal has are not gone through again.

    Where pixels have values that a legend lacks, nothing is made: the second value returned has them for each map, to
    be added.

    Args:
        series: The maps and rules.
        key: Of maps and rules.
        journal: Keeps what is finished.
        executor: Runs the work on blocks.
        maps: Whether the classes of each date are wanted, too.

    Raises:
        GeosegError: If a map cannot be read, or a part not written.
    """
    map_areas(series.geobox)  # once, before all threads ask for it
    cut = series.cut()
    scene = _name(series, key)
    finished = journal.begin(scene, key, (cut[0].height, cut[0].width))
    waiting = [block for block in cut if block not in finished]
    folder = journal.folder(scene)
    finish_blocks([executor.submit(series_task, series, b, folder, maps) for b in waiting], journal, scene)
    parts: dict[str, list[Part]] = {}
    counts = SeriesCounts.zero(series)
    lacking: list[set[int]] = [set() for _ in series.timeline.labels]
    n = 0
    for done in journal.results(scene):
        n += 1
        counts = counts + done.counts
        for name, part in done.layers.items():
            parts.setdefault(name, []).append(part)
        for values, more in zip(lacking, done.lacking, strict=True):
            values.update(more)
    if n != len(cut):
        raise PartError(f"{len(cut) - n} rows of the journal of {printable(folder)} are damaged: run again")
    if any(lacking):
        return None, lacking
    n_resumed = len(cut) - len(waiting)
    return GoneThrough(series=series, parts=parts, counts=counts, scene=scene, n_resumed=n_resumed), lacking


def _name(series: Series, key: str) -> str:
    """What the journal calls a series: another one where legends or shifts turn out otherwise."""
    made = (
        key,
        [(c.value, c.name) for c in series.legend],
        [layer.lookup.tolist() for layer in series.stack.layers],
        repr(series.stack.shifts),
    )
    return hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]
