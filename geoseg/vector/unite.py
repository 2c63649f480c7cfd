"""Components that go on beyond the border of a block: which labels of neighbouring blocks are one and the same.

Only what lies along the sides of the blocks travels. A block is labelled by itself (`sides_of`); from the sides of all
blocks `unite` finds the groups of labels that are one component of the scene, and tells each block the groups of its
own labels and of the pixels around it (`Seams`). Groups are numbered in the order of blocks, whichever came first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.inference.lattice import Block
from geoseg.vector.label import OUTSIDE, Runs

__all__ = ["Grid", "Seams", "Sides", "sides_of", "unite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Blocks in rows and columns that cover a map."""

    blocks: tuple[Block, ...]
    """In row-major order."""
    n_cols: int
    """Blocks side by side."""

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> "Grid":
        """The grid that blocks in any order make.

        Raises:
            ParameterError: If they do not cover a rectangle in rows and columns.
        """
        ordered = tuple(sorted(blocks, key=lambda b: (b.row_off, b.col_off)))
        rows = sorted({(b.row_off, b.height) for b in ordered})
        cols = sorted({(b.col_off, b.width) for b in ordered})
        expected = [(r, c, h, w) for r, h in rows for c, w in cols]
        gapless = all(a + n == b for axis in (rows, cols) for (a, n), (b, _) in pairwise(axis))
        if expected != [(b.row_off, b.col_off, b.height, b.width) for b in ordered] or not gapless or not ordered:
            raise ParameterError("the blocks do not cover a map in rows and columns: cut it by a lattice of blocks")
        return cls(blocks=ordered, n_cols=len(cols))

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def n_rows(self) -> int:
        """Rows of blocks."""
        return len(self.blocks) // self.n_cols


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sides:
    """The components along the sides of a block: what its neighbours need to know of it."""

    labels: NDArray[np.int32]
    """(m,) labels that touch a side, ascending."""
    class_id: NDArray[np.uint8]
    """(m,) their class values."""
    features: NDArray[np.int32]
    """(m,) label of the feature they belong to: their own, or with 8-connectivity that of a first of several."""
    along: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]
    """Top, bottom, left, right: for each pixel the index of its label, -1 for nodata."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seams:
    """How a block hangs together with the others. Groups are counted from 1 over the whole scene."""

    labels: NDArray[np.int32]
    """(k,) labels of the block that are part of a component of several blocks, ascending."""
    groups: NDArray[np.int64]
    """(k,) the group of each."""
    features: NDArray[np.int32]
    """(f,) features of the block, by label, that are part of one of several blocks, ascending."""
    feature_groups: NDArray[np.int64]
    """(f,) the group of each."""
    halo: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    """Top and bottom with their corners (cols + 2,), left and right (rows,): the group of each pixel around the block,
    0 for nodata, `OUTSIDE` beyond the map."""


def sides_of(runs: Runs, features: NDArray[np.int32] | None = None) -> Sides:
    """What the neighbours of a block need to know of it.

    Args:
        runs: Of the block alone.
        features: (n,) label of the feature of each component; by default each is its own.
    """
    raw = runs.sides
    touching = np.unique(np.concatenate(raw))
    touching = touching[touching > 0]
    along = tuple(np.where(side > 0, np.searchsorted(touching, side), -1).astype(np.int32) for side in raw)
    return Sides(
        labels=touching.astype(np.int32),
        class_id=runs.class_id[touching - 1],
        features=(touching if features is None else features[touching - 1]).astype(np.int32),
        along=(along[0], along[1], along[2], along[3]),
    )


def unite(grid: Grid, sides: Sequence[Sides], *, connectivity: int = 4) -> tuple[list[Seams], NDArray[np.int64]]:
    """The components that go on from block to block.

    Memory: that of the sides, and some 100 bytes for each component along them.

    Args:
        grid: The blocks.
        sides: Of each block, in the order of the grid.
        connectivity: 4 or 8: whether components that touch at a corner are one feature.

    Returns:
        For each block its seams, and for each group of features (from 1; index 0 is unused) its last row of blocks.
    """
    first = np.concatenate([[0], np.cumsum([len(s.labels) for s in sides])])
    # one number for each label along a side, in all blocks
    numbered = [tuple(np.where(a >= 0, a + first[i], -1) for a in s.along) for i, s in enumerate(sides)]
    class_id = np.concatenate([s.class_id for s in sides]) if len(sides) else np.empty(0, np.uint8)
    n = int(first[-1])
    straight = _pairs(grid, numbered, class_id, diagonal=False)
    groups, alone = _groups(n, straight)
    feature_groups, feature_alone = groups, alone
    if connectivity == 8:
        within = [_within(s.features, int(first[i])) for i, s in enumerate(sides)]
        diagonal = _pairs(grid, numbered, class_id, diagonal=True)
        feature_groups, _ = _groups(n, np.concatenate([straight, diagonal, *within], axis=0))
        # alone is a feature all of whose components lie in one block
        block_of = np.repeat(np.arange(len(sides)), np.diff(first))
        low = np.full(n + 1, len(sides))
        high = np.full(n + 1, -1)
        np.minimum.at(low, feature_groups, block_of)
        np.maximum.at(high, feature_groups, block_of)
        feature_alone = (low == high)[feature_groups]
    row_of = np.repeat(np.arange(len(sides)) // grid.n_cols, np.diff(first))
    last_row = np.full(n + 1, -1, dtype=np.int64)
    np.maximum.at(last_row, feature_groups, row_of)
    seams = []
    for i, s in enumerate(sides):
        mine = slice(int(first[i]), int(first[i + 1]))
        several, spread = ~alone[mine], ~feature_alone[mine]
        features, at = np.unique(s.features[spread], return_index=True)
        seams.append(
            Seams(
                labels=s.labels[several],
                groups=groups[mine][several],
                features=features.astype(np.int32),
                feature_groups=feature_groups[mine][spread][at],
                halo=_halo(grid, i, numbered, groups),
            )
        )
    return seams, last_row


def _neighbour(grid: Grid, i: int, down: int, right: int) -> int | None:
    """Index of the block that many rows and columns of blocks away."""
    row, col = i // grid.n_cols + down, i % grid.n_cols + right
    return row * grid.n_cols + col if 0 <= row < grid.n_rows and 0 <= col < grid.n_cols else None


def _pairs(
    grid: Grid, numbered: Sequence[tuple[NDArray[np.int64], ...]], class_id: NDArray[np.uint8], *, diagonal: bool
) -> NDArray[np.int64]:
    """(p, 2) labels of equal class that touch across a border, along an edge or at a corner."""
    found: list[NDArray[np.int64]] = [np.empty((0, 2), dtype=np.int64)]
    n = max(1, len(class_id))

    def add(a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
        keep = (a >= 0) & (b >= 0)
        a, b = a[keep], b[keep]
        same = class_id[a] == class_id[b]
        pairs = np.unique(a[same] * n + b[same])  # sorting numbers is ten times faster than sorting rows
        found.append(np.stack(np.divmod(pairs, n), axis=1))

    for i in range(len(grid)):
        below, right = _neighbour(grid, i, 1, 0), _neighbour(grid, i, 0, 1)
        for other, mine, its in ((below, 1, 0), (right, 3, 2)):
            if other is None:
                continue
            a, b = numbered[i][mine], numbered[other][its]
            if diagonal:
                add(a[:-1], b[1:])
                add(a[1:], b[:-1])
            else:
                add(a, b)
        if diagonal:
            for down_right, end, begin in ((1, -1, 0), (-1, 0, -1)):
                other = _neighbour(grid, i, 1, down_right)
                if other is not None:
                    add(numbered[i][1][end : end + 1 or None], numbered[other][0][begin : begin + 1 or None])
    return np.concatenate(found)


def _within(features: NDArray[np.int32], first: int) -> NDArray[np.int64]:
    """Pairs that chain up the labels of each feature of a block."""
    order = np.argsort(features, kind="stable")
    same = features[order][1:] == features[order][:-1]
    return np.stack([order[:-1][same], order[1:][same]], axis=1).astype(np.int64) + first


def _groups(n: int, pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Group of each of ``n`` labels, from 1 in the order of their first labels, and whether it is alone in it."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, group = connected_components(graph, directed=False) if n else (0, np.empty(0, np.int32))
    _, first, inverse, counts = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    return rank[inverse], (counts == 1)[inverse]


def _halo(
    grid: Grid, i: int, numbered: Sequence[tuple[NDArray[np.int64], ...]], groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Groups of the pixels around a block."""
    block = grid.blocks[i]
    groups_or_none = np.append(groups, 0)  # -1 is nodata

    def side(down: int, right: int, which: int, length: int) -> NDArray[np.int64]:
        other = _neighbour(grid, i, down, right)
        if other is None:
            return np.full(length, OUTSIDE, dtype=np.int64)
        return np.asarray(groups_or_none[numbered[other][which]])

    def row(down: int, which: int) -> NDArray[np.int64]:
        left, right = side(down, -1, which, 1)[-1:], side(down, 1, which, 1)[:1]
        return np.concatenate([left, side(down, 0, which, block.width), right])

    return row(-1, 1), row(1, 0), side(0, -1, 3, block.height), side(0, 1, 2, block.height)
