"""The tasks on blocks of a comparison: each leaves a part file of change codes, and its counts."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geoseg.change.block_change import block_change, map_areas, recounted
from geoseg.change.comparison import Comparison
from geoseg.change.transitions import Transitions
from geoseg.inference.lattice import TILE, Block, blocks
from geoseg.outputs.parts import Part, PartWriter, iter_strips

__all__ = ["Compared", "change_block", "compare_blocks", "plan_blocks", "recount_parts"]

_SIDE = 4 * TILE
"""Side of a block: some 12 bytes a pixel in each that is in work."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Finished:
    """What a block leaves."""

    part: Part | None
    counts: Transitions
    plain: Transitions
    lacking: tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """What the comparison of two maps leaves before it is published."""

    comparison: Comparison
    """With the legends as they turned out to be, and codes."""
    parts: list[Part]
    """Change codes and confidence, which cover the common grid."""
    counts: Transitions
    """Of the change map."""
    plain: Transitions
    """Of the two maps as they are."""


def plan_blocks(comparison: Comparison) -> list[Block]:
    """The blocks of the common grid; edges lie on multiples of the output tile."""
    height, width = (int(n) for n in comparison.geobox.shape)
    return list(blocks(height, width, block_height=_SIDE, block_width=_SIDE))


def change_block(comparison: Comparison, block: Block, path: Path | None) -> _Finished:
    """Compare the maps in a block, and leave a part where there is a path for one."""
    found = block_change(comparison, block)
    part = None
    if path is not None:
        percent = found.confidence
        if percent is None:
            percent = np.full(found.codes.shape, 255, dtype=np.uint8)
        # what has no code has no confidence of it either
        percent = np.where(found.codes == comparison.codes.nodata, np.uint8(255), percent)
        with PartWriter(path, block=block) as writer:
            writer.write_rows(found.codes, percent)
            part = writer.finish()
    return _Finished(part=part, counts=found.counts, plain=found.plain, lacking=found.lacking)


def compare_blocks(
    comparison: Comparison, folder: Path, executor: Executor
) -> tuple[Compared | None, tuple[set[int], set[int]]]:
    """Compare two maps, block by block, and leave parts in a folder.

    Where pixels have values that a legend lacks, nothing is made: the second value returned has them, to be added.

    Args:
        comparison: How they are compared.
        folder: For the parts; it is there.
        executor: Runs the work on blocks.

    Raises:
        GeosegError: If a map cannot be read, a part not written, or there are too many kinds of change.
    """
    cut = plan_blocks(comparison)
    map_areas(comparison.geobox)  # once, before all threads ask for it
    if comparison.needs_codes:
        surveyed = _all(executor, comparison, [(b, None) for b in cut])
        lacking = _lacking(surveyed)
        if any(lacking):
            return None, lacking
        comparison = comparison.with_codes_for(_sum([f.plain + f.counts for f in surveyed]))
    comparison.codes.change_legend()  # refuses more kinds of change than bytes can tell apart
    named = [(b, folder / f"{b.row_off}_{b.col_off}.tif") for b in cut]
    finished = _all(executor, comparison, named)
    lacking = _lacking(finished)
    if any(lacking):
        return None, lacking
    compared = Compared(
        comparison=comparison,
        parts=[f.part for f in finished if f.part is not None],
        counts=_sum([f.counts for f in finished]),
        plain=_sum([f.plain for f in finished]),
    )
    return compared, lacking


def _all(executor: Executor, comparison: Comparison, work: Sequence[tuple[Block, Path | None]]) -> list[_Finished]:
    futures = [executor.submit(change_block, comparison, block, path) for block, path in work]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:  # after an error, what has not begun is of no use
            future.cancel()


def _lacking(finished: Sequence[_Finished]) -> tuple[set[int], set[int]]:
    return {v for f in finished for v in f.lacking[0]}, {v for f in finished for v in f.lacking[1]}


def _sum(counts: Sequence[Transitions]) -> Transitions:
    return sum(counts[1:], counts[0])


def recount_parts(comparison: Comparison, parts: Sequence[Part], executor: Executor) -> Transitions:
    """Counts of parts whose codes were changed."""
    futures = [executor.submit(_recount, comparison, part) for part in parts]
    return _sum([future.result() for future in futures])


def _recount(comparison: Comparison, part: Part) -> Transitions:
    total = Transitions.zero(len(comparison.common.legend))
    confidence = (strip for _, strip in iter_strips(part, "confidence"))
    for row, codes in iter_strips(part, "classes"):
        strip = replace(part.block, row_off=part.block.row_off + row, height=len(codes))
        total = total + recounted(comparison, strip, codes, next(confidence))
    return total
