"""The tasks on blocks of a comparison: each leaves a part file of change codes, and its counts."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geoseg.change.block_change import block_change, map_areas, recounted
from geoseg.change.comparison import Comparison
from geoseg.change.transitions import Transitions
from geoseg.errors import PartError, printable
from geoseg.inference.lattice import TILE, Block, blocks
from geoseg.jobs.change_journal import ChangeJournal, ComparedBlock, finish_blocks
from geoseg.outputs.crash import crash_point
from geoseg.outputs.parts import Part, PartWriter, iter_strips

__all__ = ["Compared", "change_block", "compare_blocks", "plan_blocks", "recount_parts"]

_SIDE = 4 * TILE
"""Side of a block: some 12 bytes a pixel in each that is in work."""
_Lacking = tuple[set[int], set[int]]


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
    scene: str
    """What the journal calls it."""
    n_resumed: int
    """Blocks that were finished before."""


def plan_blocks(comparison: Comparison) -> list[Block]:
    """The blocks of the common grid; edges lie on multiples of the output tile."""
    height, width = (int(n) for n in comparison.geobox.shape)
    return list(blocks(height, width, block_height=_SIDE, block_width=_SIDE))


def change_block(comparison: Comparison, block: Block, path: Path) -> ComparedBlock:
    """Compare the maps in a block, and leave a part."""
    crash_point(f"block_{block.row_off}_{block.col_off}")
    found = block_change(comparison, block)
    percent = found.confidence
    if percent is None:
        percent = np.full(found.codes.shape, 255, dtype=np.uint8)
    # what has no code has no confidence of it either
    percent = np.where(found.codes == comparison.codes.nodata, np.uint8(255), percent)
    with PartWriter(path, block=block) as writer:
        writer.write_rows(found.codes, percent)
        part = writer.finish()
    return ComparedBlock(part=part, counts=found.counts, plain=found.plain, lacking=found.lacking)


def compare_blocks(
    comparison: Comparison, key: str, journal: ChangeJournal, executor: Executor
) -> tuple[Compared | None, _Lacking]:
    """Compare two maps, block by block; blocks that the journal has are not compared again.

    Where pixels have values that a legend lacks, nothing is made: the second value returned has them, to be added.

    Args:
        comparison: How they are compared.
        key: Of maps and rules.
        journal: Keeps what is finished.
        executor: Runs the work on blocks.

    Raises:
        GeosegError: If a map cannot be read, a part not written, or there are too many kinds of change.
    """
    cut = plan_blocks(comparison)
    map_areas(comparison.geobox)  # once, before all threads ask for it
    if comparison.needs_codes:
        occurring, lacking = _survey(comparison, cut, executor)
        if any(lacking):
            return None, lacking
        comparison = comparison.with_codes_for(occurring)
    comparison.codes.change_legend()  # refuses more kinds of change than bytes can tell apart
    scene = _name(comparison, key)
    finished = journal.begin(scene, key, (_SIDE, _SIDE))
    # a run that was begun with another cut has rows of it
    waiting = [block for block in cut if block not in finished]
    folder = journal.folder(scene)
    futures = [executor.submit(change_block, comparison, b, folder / f"{b.row_off}_{b.col_off}.tif") for b in waiting]
    finish_blocks(futures, journal, scene)
    parts, lacking = [], (set[int](), set[int]())
    counts = plain = Transitions.zero(len(comparison.common.legend))
    for result in journal.results(scene):
        parts.append(result.part)
        counts, plain = counts + result.counts, plain + result.plain
        for values, more in zip(lacking, result.lacking, strict=True):
            values.update(more)
    if len(parts) != len(cut):
        raise PartError(f"{len(cut) - len(parts)} rows of the journal of {printable(folder)} are damaged: run again")
    if any(lacking):
        return None, lacking
    n_resumed = len(cut) - len(waiting)
    compared = Compared(
        comparison=comparison, parts=parts, counts=counts, plain=plain, scene=scene, n_resumed=n_resumed
    )
    return compared, lacking


def _name(comparison: Comparison, key: str) -> str:
    """What the journal calls a comparison: another one where legends, codes or the shift turn out otherwise."""
    made = (
        key,
        [(c.value, c.name) for c in comparison.common.legend],
        comparison.common.before.tolist(),
        comparison.common.after.tolist(),
        comparison.codes.pairs.tolist(),
        repr(comparison.alignment),
    )
    return hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]


def _survey(comparison: Comparison, cut: Sequence[Block], executor: Executor) -> tuple[Transitions, _Lacking]:
    """Which pairs of classes occur, and what legends lack: where there are too many pairs for all to have a code."""
    lacking = (set[int](), set[int]())
    counts = Transitions.zero(len(comparison.common.legend))
    futures = [executor.submit(block_change, comparison, block) for block in cut]
    try:
        for future in as_completed(futures):
            found = future.result()
            counts = counts + found.plain + found.counts
            for values, more in zip(lacking, found.lacking, strict=True):
                values.update(more)
    finally:
        for future in futures:
            future.cancel()
    return counts, lacking


def recount_parts(comparison: Comparison, parts: Sequence[Part], executor: Executor) -> Transitions:
    """Counts of parts whose codes were changed."""
    futures = [executor.submit(_recount, comparison, part) for part in parts]
    return sum((future.result() for future in futures), Transitions.zero(len(comparison.common.legend)))


def _recount(comparison: Comparison, part: Part) -> Transitions:
    total = Transitions.zero(len(comparison.common.legend))
    confidence = (strip for _, strip in iter_strips(part, "confidence"))
    for row, codes in iter_strips(part, "classes"):
        strip = replace(part.block, row_off=part.block.row_off + row, height=len(codes))
        total = total + recounted(comparison, strip, codes, next(confidence))
    return total
