"""The tasks on blocks of a series: each leaves part files, one for each raster, and its counts."""

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.change.block_change import map_areas
from geoseg.change.series import Series
from geoseg.change.series_block import SeriesBlock, SeriesCounts, series_block
from geoseg.inference.lattice import Block
from geoseg.legend import NODATA
from geoseg.outputs.parts import Part, PartWriter

__all__ = ["LAYERS", "GoneThrough", "go_through", "series_task"]

LAYERS: Final = ("first", "last", "count", "final")
"""Rasters of a series: the dates of the first and last change, how many, and the class on the last date."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Finished:
    """What a block leaves."""

    parts: dict[str, Part]
    counts: SeriesCounts
    lacking: tuple[tuple[int, ...], ...]


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


def series_task(series: Series, block: Block, folder: Path, maps: bool) -> _Finished:
    """Go through all dates in a block and leave its parts.

    Args:
        series: The maps and rules.
        block: Of the common grid.
        folder: For the parts.
        maps: Whether the classes of each date are wanted, too.
    """
    found = series_block(series, block)
    nothing = np.full((block.height, block.width), NODATA, dtype=np.uint8)
    parts = {}
    if not any(found.lacking):  # else the legends are mended first, and this is done again
        for name, pixels in _rasters(series, found, maps).items():
            percent = found.confidence if name == "first" and found.confidence is not None else nothing
            with PartWriter(folder / f"{name}_{block.row_off}_{block.col_off}.tif", block=block) as writer:
                writer.write_rows(pixels, percent)
                parts[name] = writer.finish()
    return _Finished(parts=parts, counts=found.counts, lacking=found.lacking)


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
    series: Series, folder: Path, executor: Executor, *, maps: bool
) -> tuple[GoneThrough | None, list[set[int]]]:
    """Go through a series, block by block, and leave parts in a folder.

    Where pixels have values that a legend lacks, nothing is made: the second value returned has them for each map, to
    be added.

    Args:
        series: The maps and rules.
        folder: For the parts; it is there.
        executor: Runs the work on blocks.
        maps: Whether the classes of each date are wanted, too.

    Raises:
        GeosegError: If a map cannot be read, or a part not written.
    """
    map_areas(series.geobox)  # once, before all threads ask for it
    cut = series.cut()
    parts: dict[str, list[Part]] = {}
    counts = SeriesCounts.zero(series)
    lacking: list[set[int]] = [set() for _ in series.timeline.labels]
    futures = [executor.submit(series_task, series, block, folder, maps) for block in cut]
    try:
        for future in futures:
            done = future.result()
            counts = counts + done.counts
            for name, part in done.parts.items():
                parts.setdefault(name, []).append(part)
            for values, more in zip(lacking, done.lacking, strict=True):
                values.update(more)
    finally:
        for future in futures:  # after an error, what has not begun is of no use
            future.cancel()
    return (None if any(lacking) else GoneThrough(series=series, parts=parts, counts=counts)), lacking
