"""Objects of a class, as connected components of two maps: found block by block, joined over the seams."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.change.index import NONE
from geoseg.evaluate.instances import Overlaps
from geoseg.evaluate.plan import Plan
from geoseg.evaluate.vector_reference import PolygonPixels
from geoseg.inference.lattice import Block
from geoseg.kernels import njit
from geoseg.vector.label import label_components

__all__ = ["find_objects", "overlaps_of"]

_SIDES = 2  # reference and prediction


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """The components of one map in a block."""

    classes: NDArray[np.uint8]
    """(n,) place of each in the legend."""
    pixels: NDArray[np.int64]
    """(n,) where the reference says something."""
    unknown: NDArray[np.int64]
    """(n,) where it does not."""
    confidence: NDArray[np.int64]
    """(n, 2) sum of percent, and pixels that have one."""
    place: NDArray[np.int64]
    """(n, 2) row and column of its first pixel in the map."""
    rim: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]
    """Labels of the first and last row, and of the first and last column; 0 for none."""
    number: NDArray[np.int64] | None
    """(n,) of the object that each is a piece of, where that is known; else pieces that touch are of one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pieces:
    """What a block leaves."""

    block: Block
    sides: tuple[_Side, _Side]
    pairs: NDArray[np.int64]
    """(p, 2) labels of reference and prediction that share pixels."""
    common: NDArray[np.int64]
    """(p,) how many."""


def find_objects(plan: Plan, things: Sequence[int], executor: Executor) -> Overlaps:
    """The objects of some classes in both maps, and what they have in common.

    An object is a 4-connected component of pixels of one class, whatever blocks it crosses; or, of a reference of
    polygons, a polygon. Memory: the blocks in work,
    some 16 bytes a pixel, their rims, and some 50 bytes for each piece of an object in a block.

    Args:
        plan: How the prediction is held against the reference.
        things: Places of the classes in the legend.
        executor: Runs the work on blocks.
    """
    wanted = np.zeros(256, dtype=np.bool_)
    wanted[list(things)] = True
    return _joined(list(executor.map(partial(_find, plan, wanted), plan.blocks())))


def overlaps_of(
    truth: NDArray[np.uint8], mapped: NDArray[np.uint8], confidence: NDArray[np.uint8] | None = None
) -> Overlaps:
    """The objects of two arrays of places, all classes; 255 is no observation."""
    block = Block(row_off=0, col_off=0, height=truth.shape[0], width=truth.shape[1])
    return _joined([_pieces(block, truth, mapped, confidence, np.ones(256, dtype=np.bool_))])


def _find(plan: Plan, wanted: NDArray[np.bool_], block: Block) -> _Pieces:
    both, read = plan.pixels(block), plan.reference.read
    features = read.features(block) if isinstance(read, PolygonPixels) else None
    return _pieces(block, both.truth, both.mapped, both.confidence, wanted, features)


def _pieces(
    block: Block,
    truth: NDArray[np.uint8],
    mapped: NDArray[np.uint8],
    confidence: NDArray[np.uint8] | None,
    wanted: NDArray[np.bool_],
    features: NDArray[np.int32] | None = None,
) -> _Pieces:
    known = truth != NONE
    labels, sides = [], []
    for side in (truth, mapped):
        number = None
        if side is truth and features is not None:
            ids, classes, number = _numbered(features, side, wanted)
        else:
            found = label_components(np.where(wanted[side], side, np.uint8(NONE)), nodata=NONE)
            ids, classes = np.ascontiguousarray(found.labels), found.class_id
        n = len(classes)
        pixels, unknown = np.zeros((2, n + 1), dtype=np.int64)
        percent = np.zeros((n + 1, 2), dtype=np.int64)
        place = np.full((n + 1, 2), -1, dtype=np.int64)
        _measure(
            ids,
            known,
            np.zeros((0, 0), np.uint8) if confidence is None else confidence,
            pixels,
            unknown,
            percent,
            place,
        )
        rim = tuple(line.copy() for line in (ids[0], ids[-1], ids[:, 0], ids[:, -1]))
        sides.append(
            _Side(
                classes=classes,
                pixels=pixels[1:],
                unknown=unknown[1:],
                confidence=percent[1:],
                place=place[1:] + np.array((block.row_off, block.col_off), dtype=np.int64),
                rim=(rim[0], rim[1], rim[2], rim[3]),
                number=number,
            )
        )
        labels.append(ids)
    both = (labels[0] > 0) & (labels[1] > 0)
    key = labels[0][both].astype(np.int64) << 32 | labels[1][both]
    unique, common = np.unique(key, return_counts=True)
    pairs = np.stack([unique >> 32, unique & 0xFFFFFFFF], axis=1)
    return _Pieces(block=block, sides=(sides[0], sides[1]), pairs=pairs, common=common.astype(np.int64))


def _numbered(
    features: NDArray[np.int32], side: NDArray[np.uint8], wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int64]]:
    """Labels from 1 of the objects in a block, 0 for none, their classes, and their numbers in the file."""
    kept = np.where(wanted[side], features, 0)
    numbers, first, at = np.unique(kept, return_index=True, return_inverse=True)
    skip = int(numbers[0] == 0)
    ids = (at.reshape(kept.shape) + 1 - skip).astype(np.int32)
    return ids, side.ravel()[first[skip:]], numbers[skip:].astype(np.int64)


@njit(nogil=True, cache=True)
def _measure(
    ids: NDArray[np.int32],
    known: NDArray[np.bool_],
    confidence: NDArray[np.uint8],
    pixels: NDArray[np.int64],
    unknown: NDArray[np.int64],
    percent: NDArray[np.int64],
    place: NDArray[np.int64],
) -> None:
    for r in range(ids.shape[0]):
        for c in range(ids.shape[1]):
            i = ids[r, c]
            if place[i, 0] < 0:
                place[i] = r, c
            if known[r, c]:
                pixels[i] += 1
            else:
                unknown[i] += 1
            if confidence.size > 0 and confidence[r, c] != 255:
                percent[i, 0] += confidence[r, c]
                percent[i, 1] += 1


def _joined(pieces: list[_Pieces]) -> Overlaps:
    """Pieces of objects as objects: those that touch across a seam are one."""
    groups, classes, sums = [], [], []
    first = np.zeros((_SIDES, len(pieces) + 1), dtype=np.int64)
    for s in range(_SIDES):
        first[s, 1:] = np.cumsum([len(p.sides[s].classes) for p in pieces])
        n = int(first[s, -1])
        edges = _seams(pieces, s, first[s])
        graph = coo_array((np.ones(len(edges), dtype=np.bool_), (edges[:, 0], edges[:, 1])), shape=(n, n))
        n_objects, group = connected_components(graph, directed=False) if n else (0, np.zeros(0, dtype=np.int32))
        group = _in_order(group, np.concatenate([p.sides[s].place for p in pieces]))
        each = np.concatenate([p.sides[s].classes for p in pieces])
        of = np.zeros(n_objects, dtype=np.uint8)
        of[group] = each
        total = np.zeros((n_objects, 4), dtype=np.int64)
        np.add.at(
            total,
            group,
            np.concatenate(
                [np.column_stack([p.sides[s].pixels, p.sides[s].unknown, p.sides[s].confidence]) for p in pieces]
            ),
        )
        groups.append(group)
        classes.append(of)
        sums.append(total)
    pairs = np.concatenate([p.pairs - 1 + first[:, i] for i, p in enumerate(pieces)])
    key = groups[0][pairs[:, 0]] * max(len(classes[1]), 1) + groups[1][pairs[:, 1]]
    unique, at = np.unique(key, return_inverse=True)
    common = np.zeros(len(unique), dtype=np.int64)
    np.add.at(common, at, np.concatenate([p.common for p in pieces]))
    known = sums[1][:, 3] > 0
    score = np.where(known, sums[1][:, 2] / np.maximum(sums[1][:, 3], 1) / 100, np.nan)
    return Overlaps(
        reference_class=classes[0],
        reference_px=sums[0][:, 0],
        mapped_class=classes[1],
        mapped_px=sums[1][:, 0],
        mapped_unknown_px=sums[1][:, 1],
        score=score,
        pairs=np.stack([unique // max(len(classes[1]), 1), unique % max(len(classes[1]), 1)], axis=1),
        common_px=common,
    )


def _in_order(group: NDArray[np.int32], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Objects numbered in the order of their first pixels, row by row: the same for every cut."""
    by_place = np.lexsort((place[:, 1], place[:, 0]))
    _, first = np.unique(group[by_place], return_index=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return number[group]


def _seams(pieces: list[_Pieces], s: int, first: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 2) pieces of one object: those that touch across a seam and are of one class, or have one number."""
    numbers = [p.sides[s].number for p in pieces]
    if all(number is not None for number in numbers):
        number = np.concatenate([number for number in numbers if number is not None])
        _, first_of, which = np.unique(number, return_index=True, return_inverse=True)
        return np.stack([np.arange(len(number)), first_of[which]], axis=1)
    at = {(p.block.row_off, p.block.col_off): i for i, p in enumerate(pieces)}
    edges = [np.zeros((0, 2), dtype=np.int64)]
    for i, p in enumerate(pieces):
        # the last row and column of this block, the first of the next
        for here, there, place in (
            (1, 0, (p.block.row_end, p.block.col_off)),
            (3, 2, (p.block.row_off, p.block.col_end)),
        ):
            j = at.get(place)
            if j is None:
                continue
            one, two = p.sides[s].rim[here], pieces[j].sides[s].rim[there]
            both = (one > 0) & (two > 0)
            a, b = one[both] - 1, two[both] - 1
            same = p.sides[s].classes[a] == pieces[j].sides[s].classes[b]
            edges.append(np.unique(np.stack([a[same] + first[i], b[same] + first[j]], axis=1), axis=0))
    return np.concatenate(edges)
