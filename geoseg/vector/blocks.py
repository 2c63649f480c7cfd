"""Polygons of a map in blocks: what is done in each block, and what puts the blocks together.

In a first pass each block is labelled and shows its sides; `geoseg.vector.unite` then says which components go on from
block to block. In a second pass each block is labelled again and traced. Features that lie within one block are
finished there; of the others the block hands on rings, chains and sums, and they are finished when their last block is
done. So memory is that of the blocks in work and of the features still open, and the rings do not depend on the cut.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.lattice import Block
from geoseg.vector.corners import Halo
from geoseg.vector.join import Joiner, OpenPieces, OpenWalks
from geoseg.vector.label import OUTSIDE, Runs, features_of, find_runs
from geoseg.vector.measure import Measures, Pixels
from geoseg.vector.rings import Rings, arrange, by_rank
from geoseg.vector.trace import Traced, trace
from geoseg.vector.unite import Grid, Seams, Sides, sides_of, unite

__all__ = ["BlockPolygons", "polygonize_blocks", "survey_block", "trace_block"]

T = TypeVar("T")
_VERTICES_AT_ONCE = 250_000  # what is made of them takes some 60 bytes each
_KEPT_RUNS = 1 << 23
"""Runs of all blocks that are kept from the first pass for the second; each takes 8 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockPolygons:
    """What the second pass finds in a block."""

    rings: Rings
    """Of the features that lie within the block, in the row-major order of their first pixels."""
    measures: Measures
    """Of these features."""
    open: OpenPieces
    """What of the others lies in the block."""


def survey_block(classes: NDArray[np.uint8], *, nodata: int, connectivity: int = 4) -> tuple[Sides, Runs]:
    """First pass: what the neighbours of a block need to know of it, and its runs.

    Args:
        classes: (rows, cols) class values of the block.
        nodata: Class value that means "no observation".
        connectivity: 4, or 8 for features whose pixels may touch at corners only.
    """
    runs = find_runs(classes, nodata=nodata)
    return sides_of(runs, features_of(runs.painted()) if connectivity == 8 else None), runs


def trace_block(
    pixels: Pixels,
    block: Block,
    seams: Seams,
    *,
    nodata: int,
    connectivity: int = 4,
    number: int = 0,
    runs: Runs | None = None,
) -> BlockPolygons:
    """Second pass: the polygons of a block, and the pieces of those that go on beyond it.

    Args:
        pixels: Class values of the block, and what is summed up over them.
        block: Where it lies in the scene.
        seams: How it hangs together with the others.
        nodata: Class value that means "no observation".
        connectivity: As in `survey_block`.
        number: Of the block in the scene: components within it get numbers of their own from it.
        runs: Those of the first pass; by default they are found again.
    """
    runs = find_runs(pixels.classes, nodata=nodata) if runs is None else runs
    n = len(runs.class_id)
    feature = features_of(runs.painted()) if connectivity == 8 else np.arange(1, n + 1, dtype=np.int32)
    runs, halo = _connected(runs, seams)
    measures = pixels.measured(runs, block)
    # by label, in numbers of the scene; 0 for what ends in this block
    group, feature_group = np.zeros(n + 1, dtype=np.int64), np.zeros(n + 1, dtype=np.int64)
    group[seams.labels] = seams.groups
    feature_group[seams.features] = seams.feature_groups
    feature_group[1:] = feature_group[feature]
    offsets = {"row_off": block.row_off, "col_off": block.col_off}
    rings, chains = trace(pixels.classes, runs, nodata=nodata, halo=halo, **offsets)

    scene_wide = np.where(group > 0, group, -(number << 32) - np.arange(n + 1))
    open_rings = feature_group[rings.labels] > 0
    open_labels = np.flatnonzero(feature_group)
    open_groups, place = np.unique(feature_group[open_labels], return_inverse=True)
    whole, of_feature = _whole(rings, open_rings, feature_group, feature, connectivity)
    inside = np.flatnonzero(feature_group[1:] == 0)
    return BlockPolygons(
        rings=whole,
        measures=measures.take(inside) if connectivity == 4 else measures.take(inside).grouped(of_feature, len(whole)),
        open=OpenPieces(
            walks=OpenWalks.joined(
                [
                    _open(rings, open_rings, scene_wide, feature_group),
                    _open(chains, None, scene_wide, feature_group),
                ]
            ),
            groups=open_groups,
            measures=measures.take(open_labels - 1).grouped(place, len(open_groups)),
        ),
    )


def _connected(runs: Runs, seams: Seams) -> tuple[Runs, Halo]:
    """The runs, and the numbers of the pixels around the block.

    Labels of one component of the scene have one number, the lowest of them: what is summed up over them is its.
    """
    n = len(runs.class_id)
    groups, first, inverse = np.unique(seams.groups, return_index=True, return_inverse=True)
    label_of = seams.labels[first]  # ascending within a group, because labels are
    if len(groups) < len(seams.groups):
        lowest = np.arange(n + 1, dtype=np.int32)
        lowest[seams.labels] = label_of[inverse]
        runs = replace(runs, labels=lowest[runs.labels])
    around = np.concatenate(seams.halo)
    others = np.setdiff1d(around[around > 0], groups)
    numbers = np.concatenate([groups, others])
    labels = np.concatenate([label_of, n + 1 + np.arange(len(others))]).astype(np.int32)
    order = np.argsort(numbers)
    halo = []
    for side in seams.halo:
        known = side > 0
        line = np.where(side == OUTSIDE, OUTSIDE, 0).astype(np.int32)
        line[known] = labels[order][np.searchsorted(numbers[order], side[known])]
        halo.append(line)
    return runs, (halo[0], halo[1], halo[2], halo[3])


def _whole(
    rings: Traced,
    is_open: NDArray[np.bool_],
    feature_group: NDArray[np.int64],
    feature: NDArray[np.int32],
    connectivity: int,
) -> tuple[Rings, NDArray[np.int64]]:
    """The rings of features within the block, and which feature each of their components belongs to."""
    inside = np.flatnonzero(feature_group[1:] == 0) + 1
    if connectivity == 4:
        rank = np.full(len(feature_group), -1, dtype=np.int64)
        rank[inside] = np.arange(len(inside))
        return by_rank(rings, rank, len(inside)), rank[inside]
    walks = _open(rings, ~is_open, np.arange(len(feature_group)), np.append(0, feature))
    whole, features = arrange(walks.codes, walks.offsets, walks.component, walks.feature, multi=True)
    order = np.argsort(features)
    return whole, order[np.searchsorted(features[order], feature[inside - 1])]


def _open(
    walks: Traced, which: NDArray[np.bool_] | None, component: NDArray[np.int64], feature: NDArray[np.int64]
) -> OpenWalks:
    """Some walks, with component and feature as given by label."""
    taken = OpenWalks(
        codes=walks.codes,
        offsets=walks.offsets,
        ends=walks.ends,
        component=component[walks.labels],
        feature=feature[walks.labels],
    )
    return taken if which is None else taken.where(which)


def polygonize_blocks(
    grid: Grid,
    read: Callable[[Block], Pixels],
    finish: Callable[[Rings, Measures], T],
    executor: Executor,
    *,
    nodata: int,
    connectivity: int = 4,
    at_once: int = 1,
    done: Callable[[Block], None] | None = None,
) -> Iterator[T]:
    """The polygons of a map, block by block.

    Args:
        grid: The blocks.
        read: Gives the pixels of a block; called twice for each, wherever the executor runs it.
        finish: What to make of the rings of some features and of what was summed up over them; called there, too.
        executor: Runs the work on blocks: threads, or Dask through ``client.get_executor()``.
        nodata: Class value that means "no observation"; with -1 every value is a class.
        connectivity: 4, or 8 for features whose pixels may touch at corners only.
        at_once: Blocks that the executor can work on at the same time.
        done: Told of each block that was traced, in the caller's thread.

    Yields:
        What ``finish`` made: for each block of the features within it, and after each row of blocks of those that are
        finished with it.
    """
    numbered = list(enumerate(grid.blocks))
    # where blocks are worked on in this process, runs are at hand and need not be found again
    keep = isinstance(executor, ThreadPoolExecutor)
    surveys = ((_survey, read, block, nodata, connectivity, keep) for _, block in numbered)
    sides, kept, n_kept = [], {}, 0
    for i, (side, runs) in enumerate(_in_order(executor, surveys, at_once)):
        sides.append(side)
        if runs is not None and n_kept + len(runs.labels) <= _KEPT_RUNS:
            n_kept += len(runs.labels)
            kept[i] = runs
    seams, last_row = unite(grid, sides, connectivity=connectivity)
    joiner = Joiner(last_row, connectivity=connectivity)
    work = ((_trace, read, finish, b, seams[i], nodata, connectivity, i, kept.pop(i, None)) for i, b in numbered)
    for i, (whole, found) in enumerate(_in_order(executor, work, at_once)):
        yield from whole
        joiner.add(found)
        if done is not None:
            done(grid.blocks[i])
        if (i + 1) % grid.n_cols == 0:
            finished = joiner.finished(i // grid.n_cols)
            if finished is not None:
                rings, measures = finished
                calls = ((finish, some, measures.take(which)) for which, some in rings.parts(_VERTICES_AT_ONCE))
                yield from _in_order(executor, calls, at_once)


def _survey(
    read: Callable[[Block], Pixels], block: Block, nodata: int, connectivity: int, keep: bool
) -> tuple[Sides, Runs | None]:
    sides, runs = survey_block(read(block).classes, nodata=nodata, connectivity=connectivity)
    return sides, runs.trimmed() if keep else None


def _trace(
    read: Callable[[Block], Pixels],
    finish: Callable[[Rings, Measures], T],
    block: Block,
    seams: Seams,
    nodata: int,
    connectivity: int,
    number: int,
    runs: Runs | None,
) -> tuple[list[T], OpenPieces]:
    found = trace_block(read(block), block, seams, nodata=nodata, connectivity=connectivity, number=number, runs=runs)
    # a few at a time: what is made of them, again and again, then stays in the processor's cache
    parts = found.rings.parts(_VERTICES_AT_ONCE)
    return [finish(some, found.measures.take(which)) for which, some in parts], found.open


def _in_order(executor: Executor, calls: Iterable[tuple[Any, ...]], at_once: int) -> Iterator[Any]:
    """Results of calls in their order, with one call waiting behind those in work; no more are held."""
    waiting: deque[Future[Any]] = deque()
    try:
        for function, *arguments in calls:
            waiting.append(executor.submit(function, *arguments))
            if len(waiting) > at_once + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
