"""The region graph: the components of a class map, and the length of border that neighbours share.

Each block gives the graph of its own pixels and the labels along its four sides. Joined at these seams, the blocks give
the graph of the scene, the same for every cut: components that meet across a seam become one region, border along a
seam is added, and regions are numbered by their first pixels in the scene.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError, ResourceError
from geoseg.kernels import njit
from geoseg.legend import NODATA
from geoseg.vector.borders import borders_between, summed
from geoseg.vector.label import Components, _root, label_components

__all__ = ["BlockRegions", "RegionGraph", "block_regions", "join_regions", "regions_of"]

MOST_REGIONS = np.iinfo(np.int32).max
"""Most components that blocks may have together: they are numbered by 32-bit integers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockRegions:
    """The components of one block and their borders inside it; picklable, to travel between workers.

    Memory: 17 bytes per component, 16 per pair of neighbours (at most three times as many), 4 per pixel of the sides.
    """

    row_off: int
    """First row in the scene."""
    col_off: int
    """First column in the scene."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    class_id: NDArray[np.uint8]
    """(n,) class value; the component with label ``k`` in the block is at index ``k - 1``."""
    size: NDArray[np.int64]
    """(n,) pixels, or units of area."""
    first: NDArray[np.int64]
    """(n,) first pixel in row-major order, as ``row * scene_width + col`` in the scene."""
    edges: NDArray[np.int32]
    """(m, 2) indices of components with a common border, the smaller first; each pair once, in increasing order."""
    length: NDArray[np.int64]
    """(m,) pixel edges that the two share inside the block."""
    top: NDArray[np.int32]
    """(width,) labels along the first row; 0 is nodata."""
    bottom: NDArray[np.int32]
    """(width,) labels along the last row."""
    left: NDArray[np.int32]
    """(height,) labels along the first column."""
    right: NDArray[np.int32]
    """(height,) labels along the last column."""

    def __len__(self) -> int:
        return len(self.class_id)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionGraph:
    """The components of a scene as nodes, their common borders as edges. Memory: 17 bytes per region, 16 per edge."""

    class_id: NDArray[np.uint8]
    """(n,) class value. Neighbours never have the same."""
    size: NDArray[np.int64]
    """(n,) pixels, or units of area."""
    first: NDArray[np.int64]
    """(n,) first pixel in row-major order; strictly increasing."""
    edges: NDArray[np.int32]
    """(m, 2) neighbours, the smaller index first; each pair once, in increasing order."""
    length: NDArray[np.int64]
    """(m,) pixel edges that the two share, at least 1."""

    def __len__(self) -> int:
        return len(self.class_id)


def block_regions(
    classes: NDArray[np.uint8],
    *,
    row_off: int,
    col_off: int,
    scene_width: int,
    nodata: int = NODATA,
    units: NDArray[np.int64] | None = None,
) -> BlockRegions:
    """The regions of one block. Nodata belongs to none and borders on none.

    Memory, freed at the end: 4 bytes per pixel, and 32 bytes per straight piece of border between two components.

    Args:
        classes: (rows, cols) class values of the block.
        row_off: First row of the block in the scene.
        col_off: First column of the block in the scene.
        scene_width: Columns of the scene.
        nodata: Class value that means "no observation".
        units: (rows, cols) areas of the pixels, as from `PixelAreas.units`; a pixel below 1 (beyond a pole) counts as
            1, so that every region has a size. None: sizes are pixels.

    Raises:
        ParameterError: If the map is not a two-dimensional uint8 array with at least one pixel, the block is not
            within the columns of the scene, or the areas are not int64 of the same shape.

    Example:
        >>> regions = block_regions(np.array([[7, 7, 3]], dtype=np.uint8), row_off=0, col_off=0, scene_width=3)
        >>> regions.size, regions.edges, regions.length
        (array([2, 1]), array([[0, 1]], dtype=int32), array([1]))
    """
    components = label_components(classes, nodata=nodata)
    return regions_of(components, row_off=row_off, col_off=col_off, scene_width=scene_width, units=units)


def regions_of(
    components: Components,
    *,
    row_off: int,
    col_off: int,
    scene_width: int,
    units: NDArray[np.int64] | None = None,
) -> BlockRegions:
    """`block_regions` of a block that is labelled already."""
    labels = components.labels
    height, width = labels.shape
    if min(row_off, col_off) < 0 or col_off + width > scene_width:
        raise ParameterError(
            f"a block of {width} columns from column {col_off}, row {row_off} is not within a scene of {scene_width} "
            "columns: give the block's place in the scene"
        )
    n = len(components)
    if units is None:
        size = components.pixels
    else:
        if units.shape != labels.shape or units.dtype != np.int64:
            raise ParameterError(
                f"pixel areas of {units.dtype} with shape {units.shape} do not fit a block of {height} x {width} px: "
                "give one int64 per pixel"
            )
        size = np.zeros(n, dtype=np.int64)
        _add_units(components.padded, units, size)
    first = np.empty(n, dtype=np.int64)
    _first_pixels(components.padded, row_off, col_off, scene_width, first)
    edges, length = borders_between(components.padded, n)
    return BlockRegions(
        row_off=row_off,
        col_off=col_off,
        height=height,
        width=width,
        class_id=components.class_id,
        size=size,
        first=first,
        edges=edges,
        length=length,
        top=labels[0].copy(),
        bottom=labels[-1].copy(),
        left=labels[:, 0].copy(),
        right=labels[:, -1].copy(),
    )


def join_regions(blocks: Sequence[BlockRegions]) -> tuple[RegionGraph, list[NDArray[np.int32]]]:
    """The region graph of a scene from its blocks.

    The blocks are rectangles that do not overlap, in any order and any cut; one that is left out counts as nodata.

    Memory, freed at the end: 25 bytes per component of a block, 48 bytes per edge of a block and per pixel of a seam.

    Returns:
        The graph, which is the same for every cut and every order; and per block the (n,) index of the region that
        each of its components belongs to.

    Raises:
        ResourceError: If the blocks have too many components for 32-bit numbers.
    """
    starts = np.zeros(len(blocks) + 1, dtype=np.int64)
    np.cumsum([len(block) for block in blocks], out=starts[1:])
    if starts[-1] > MOST_REGIONS:
        raise ResourceError(
            f"{starts[-1]} components do not fit 32-bit numbers: smooth the map or cut the scene into parts first"
        )
    class_id = _joined([block.class_id for block in blocks], np.uint8)
    first = _joined([block.first for block in blocks], np.int64)
    seams = list(_seams(blocks))
    parent = np.arange(starts[-1], dtype=np.int32)
    for i, near, j, far in seams:
        _unite(near, starts[i], far, starts[j], class_id, first, parent)
    _flatten(parent)
    roots = np.flatnonzero(parent == np.arange(len(parent)))
    order = roots[np.argsort(first[roots], kind="stable")]
    number = np.empty(len(parent), dtype=np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    region = number[parent]
    size = np.zeros(len(order), dtype=np.int64)
    _add_sizes(region, _joined([block.size for block in blocks], np.int64), size)

    n_inside = sum(len(block.length) for block in blocks)
    n_most = n_inside + sum(len(near) for _, near, _, _ in seams)
    a, b = np.empty(n_most, dtype=np.int32), np.empty(n_most, dtype=np.int32)
    length = np.empty(n_most, dtype=np.int64)
    n = 0
    for block, start in zip(blocks, starts[:-1], strict=True):
        n = _renumber(block.edges, block.length, region, start, a, b, length, n)
    for i, near, j, far in seams:
        n = _seam_borders(near, starts[i], far, starts[j], region, a, b, length, n)
    edges, length = summed(len(order), a[:n], b[:n], length[:n])
    graph = RegionGraph(class_id=class_id[order], size=size, first=first[order], edges=edges, length=length)
    return graph, [region[starts[i] : starts[i + 1]] for i in range(len(blocks))]


def _joined(arrays: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    """The arrays end to end; empty if there are none."""
    return np.concatenate([np.empty(0, dtype=dtype), *arrays])


def _seams(blocks: Sequence[BlockRegions]) -> Iterator[tuple[int, NDArray[np.int32], int, NDArray[np.int32]]]:
    """Pieces of side along which two blocks lie beside each other: index and labels of the one and of the other."""
    below, beyond = defaultdict(list), defaultdict(list)
    for j, block in enumerate(blocks):
        below[block.row_off].append(j)
        beyond[block.col_off].append(j)
    for i, block in enumerate(blocks):
        for j in below[block.row_off + block.height]:
            other = blocks[j]
            start = max(block.col_off, other.col_off)
            stop = min(block.col_off + block.width, other.col_off + other.width)
            if start < stop:
                near = block.bottom[start - block.col_off : stop - block.col_off]
                yield i, near, j, other.top[start - other.col_off : stop - other.col_off]
        for j in beyond[block.col_off + block.width]:
            other = blocks[j]
            start = max(block.row_off, other.row_off)
            stop = min(block.row_off + block.height, other.row_off + other.height)
            if start < stop:
                near = block.right[start - block.row_off : stop - block.row_off]
                yield i, near, j, other.left[start - other.row_off : stop - other.row_off]


@njit(nogil=True, cache=True)
def _add_units(padded: NDArray[np.int32], units: NDArray[np.int64], size: NDArray[np.int64]) -> None:
    rows, cols = units.shape
    for r in range(rows):
        for c in range(cols):
            label = padded[r + 1, c + 1]
            if label > 0:
                size[label - 1] += max(units[r, c], 1)


@njit(nogil=True, cache=True)
def _first_pixels(
    padded: NDArray[np.int32], row_off: int, col_off: int, scene_width: int, first: NDArray[np.int64]
) -> None:
    """Labels count up in the order of first pixels, so a first pixel is one with the next label."""
    rows, cols = padded.shape
    n = 0
    for r in range(1, rows - 1):
        for c in range(1, cols - 1):
            if padded[r, c] > n:
                first[n] = np.int64(row_off + r - 1) * scene_width + col_off + c - 1
                n += 1


@njit(nogil=True, cache=True)
def _unite(
    near: NDArray[np.int32],
    near_start: int,
    far: NDArray[np.int32],
    far_start: int,
    class_id: NDArray[np.uint8],
    first: NDArray[np.int64],
    parent: NDArray[np.int32],
) -> None:
    """Unite what has the same class on both sides of a seam; a root has the first pixel of its tree."""
    for k in range(len(near)):
        if near[k] == 0 or far[k] == 0:
            continue
        i, j = near_start + near[k] - 1, far_start + far[k] - 1
        if class_id[i] != class_id[j]:
            continue
        i, j = _root(parent, i), _root(parent, j)
        if first[i] < first[j]:
            parent[j] = i
        else:
            parent[i] = j


@njit(nogil=True, cache=True)
def _flatten(parent: NDArray[np.int32]) -> None:
    """Make each one's parent its root."""
    for i in range(len(parent)):
        parent[i] = _root(parent, i)


@njit(nogil=True, cache=True)
def _add_sizes(region: NDArray[np.int32], part: NDArray[np.int64], size: NDArray[np.int64]) -> None:
    for i in range(len(region)):
        size[region[i]] += part[i]


@njit(nogil=True, cache=True)
def _renumber(
    edges: NDArray[np.int32],
    part: NDArray[np.int64],
    region: NDArray[np.int32],
    start: int,
    a: NDArray[np.int32],
    b: NDArray[np.int32],
    length: NDArray[np.int64],
    n: int,
) -> int:
    """Append the edges of a block from index ``n`` on, between regions; returns the next free index."""
    for k in range(len(part)):
        i, j = region[start + edges[k, 0]], region[start + edges[k, 1]]
        a[n], b[n], length[n] = min(i, j), max(i, j), part[k]
        n += 1
    return n


@njit(nogil=True, cache=True)
def _seam_borders(
    near: NDArray[np.int32],
    near_start: int,
    far: NDArray[np.int32],
    far_start: int,
    region: NDArray[np.int32],
    a: NDArray[np.int32],
    b: NDArray[np.int32],
    length: NDArray[np.int64],
    n: int,
) -> int:
    """Append the border along a seam from index ``n`` on; returns the next free index."""
    for k in range(len(near)):
        if near[k] == 0 or far[k] == 0:
            continue
        i, j = region[near_start + near[k] - 1], region[far_start + far[k] - 1]
        if i != j:
            a[n], b[n], length[n] = min(i, j), max(i, j), 1
            n += 1
    return n
