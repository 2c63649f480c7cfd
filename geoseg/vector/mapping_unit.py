"""The minimum mapping unit: what is smaller than it is merged into a neighbour, until nothing smaller is left.

The smallest region goes first (among equals, the one whose first pixel in row-major order comes first), into the
neighbour it shares the longest border with, in pixel edges; ties go to the larger neighbour, then to the smaller class
value. The merged region has the class of that neighbour, and is one with every further neighbour of that class, so it
does not matter which of several neighbours of one class it was. Nodata neither gives nor takes: what has no neighbour
but nodata and the edge of the map stays.

That is decided on the region graph of the whole scene, never within a block, so it does not depend on the cut. GDAL's
sieve, which takes the largest neighbour instead of the longest border, gives the same where a region has one neighbour.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError, ResourceError
from geoseg.kernels import njit
from geoseg.legend import NODATA
from geoseg.vector.label import _root, label_components
from geoseg.vector.regions import RegionGraph, join_regions, regions_of

__all__ = ["apply", "merge_small", "merge_small_components"]


def merge_small(graph: RegionGraph, at_least: int) -> NDArray[np.uint8]:
    """(n,) class of each region once every region smaller than ``at_least`` is merged.

    A region is looked at when it is merged itself, and then becomes at least twice as large, so each border is looked
    at about ``log2(at_least)`` times at most: the time is near-linear in the number of regions.

    Memory, freed at the end: 29 bytes per region, 12 more per region that is too small, 8 per edge.

    Args:
        graph: The regions of the whole scene.
        at_least: Smallest size to keep, in the measure of ``graph.size``.

    Raises:
        ParameterError: If ``at_least`` is negative.
        ResourceError: If there are too many edges for 32-bit numbers.
    """
    if at_least < 0:
        raise ParameterError(f"the smallest size to keep is {at_least}: give a number from 0")
    if len(graph.length) > np.iinfo(np.int32).max // 2:
        raise ResourceError(
            f"{len(graph.length)} common borders do not fit 32-bit numbers: smooth the map or cut the scene first"
        )
    n, m = len(graph), len(graph.length)
    merging = _Merging(
        edges=graph.edges,
        length=graph.length,
        size=graph.size.copy(),
        class_id=graph.class_id.copy(),
        parent=np.arange(n, dtype=np.int32),
        head=np.full(n, -1, dtype=np.int32),
        tail=np.full(n, -1, dtype=np.int32),
        following=np.empty(2 * m, dtype=np.int32),
        shared=np.zeros(n, dtype=np.int64),
    )
    too_small = np.flatnonzero(graph.size < at_least).astype(np.int32)
    # in increasing order of (size, region), which makes it a heap
    too_small = too_small[np.argsort(graph.size[too_small], kind="stable")]
    _merge(merging, at_least, graph.size[too_small], too_small)
    return merging.class_id


def apply(
    classes: NDArray[np.uint8], regions: NDArray[np.int32], new_class: NDArray[np.uint8], *, nodata: int = NODATA
) -> NDArray[np.uint8]:
    """The class values of a block after merging. Nodata stays.

    The block is labelled again, which is cheaper than to keep its labels. Memory: 4 bytes per pixel, freed at the end.

    Args:
        classes: (rows, cols) class values, the same as were given to `block_regions`.
        regions: (n,) region of each component of the block, as from `join_regions`.
        new_class: Class of each region of the scene, as from `merge_small`.
        nodata: Class value that means "no observation".

    Raises:
        ParameterError: If the block does not have as many components as ``regions``.
    """
    components = label_components(classes, nodata=nodata)
    if len(components) != len(regions):
        raise ParameterError(
            f"the block has {len(components)} components, but regions of {len(regions)} were given: "
            "give the class map and the nodata value that the regions were made of"
        )
    return _painted(components.padded, nodata, new_class[regions])


def merge_small_components(
    classes: NDArray[np.uint8], *, at_least: int, nodata: int = NODATA, units: NDArray[np.int64] | None = None
) -> NDArray[np.uint8]:
    """A whole class map with every component smaller than ``at_least`` merged into a neighbour.

    Args:
        classes: (rows, cols) class values.
        at_least: Smallest size to keep, in pixels or in ``units``.
        nodata: Class value that means "no observation"; it neither gives nor takes.
        units: (rows, cols) areas of the pixels, as from `PixelAreas.units`; None counts pixels.

    Raises:
        ParameterError: If ``classes`` is not a class map, ``units`` does not fit it, or ``at_least`` is negative.

    Example:
        >>> merge_small_components(np.array([[5, 5, 5, 8, 3, 3, 255]], dtype=np.uint8), at_least=2)
        array([[  5,   5,   5,   5,   3,   3, 255]], dtype=uint8)
    """
    components = label_components(classes, nodata=nodata)
    block = regions_of(components, row_off=0, col_off=0, scene_width=classes.shape[1], units=units)
    graph, (regions,) = join_regions([block])
    return _painted(components.padded, nodata, merge_small(graph, at_least)[regions])


@njit(nogil=True, cache=True)
def _painted(padded: NDArray[np.int32], nodata: int, class_id: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(rows, cols) class of each pixel from the classes of the components."""
    rows, cols = padded.shape[0] - 2, padded.shape[1] - 2
    out = np.empty((rows, cols), dtype=np.uint8)
    for r in range(rows):
        for c in range(cols):
            label = padded[r + 1, c + 1]
            out[r, c] = class_id[label - 1] if label > 0 else nodata
    return out


class _Merging(NamedTuple):
    """What is known of the regions while they are merged.

    Regions that became one are a tree, whose root has the smallest index and so the first pixel. Each region has a list
    of half-edges, handed over whole when regions are united; those that lie within are dropped when the list is walked.
    Only what is too small is walked, so large regions cost nothing.
    """

    edges: NDArray[np.int32]
    """(m, 2) neighbours at first; half-edge ``h`` leads away from ``edges[h // 2, h % 2]``."""
    length: NDArray[np.int64]
    """(m,) pixel edges."""
    size: NDArray[np.int64]
    """(n,) of roots."""
    class_id: NDArray[np.uint8]
    """(n,) of roots, and of all regions in the end."""
    parent: NDArray[np.int32]
    """(n,) of the trees."""
    head: NDArray[np.int32]
    """(n,) first half-edge of each list, -1 if it is empty."""
    tail: NDArray[np.int32]
    """(n,) last half-edge of each list."""
    following: NDArray[np.int32]
    """(2 m,) next half-edge of the list, -1 at its end."""
    shared: NDArray[np.int64]
    """(n,) zeros, to add up border in."""


@njit(nogil=True, cache=True)
def _merge(g: _Merging, at_least: int, sizes: NDArray[np.int64], regions: NDArray[np.int32]) -> None:
    """Merge the regions of the heap, whose entries are dead once a region has grown or is no root.

    The heap never outgrows its arrays: a merge takes one entry out before it puts one in.
    """
    _list_half_edges(g)
    n_heap = len(sizes)
    while n_heap > 0:
        small, key = regions[0], sizes[0]
        n_heap -= 1
        _sift_down(sizes, regions, n_heap)
        if g.parent[small] != small or g.size[small] != key:
            continue
        into = _longest_border(g, small)
        if into < 0:
            continue
        into = _unite_around(g, small, into)
        if g.size[into] < at_least:
            _sift_up(sizes, regions, n_heap, g.size[into], into)
            n_heap += 1
    for i in range(len(g.class_id)):
        g.class_id[i] = g.class_id[_root(g.parent, i)]


@njit(nogil=True, cache=True)
def _list_half_edges(g: _Merging) -> None:
    """The half-edges of each region, in increasing order."""
    for h in range(2 * len(g.edges) - 1, -1, -1):
        region = g.edges[h >> 1, h & 1]
        if g.head[region] < 0:
            g.tail[region] = h
        g.following[h] = g.head[region]
        g.head[region] = h


@njit(nogil=True, cache=True)
def _beyond(g: _Merging, h: int) -> int:
    """The region that a half-edge leads to."""
    region: int = _root(g.parent, np.int64(g.edges[h >> 1, 1 - (h & 1)]))
    return region


@njit(nogil=True, cache=True)
def _longest_border(g: _Merging, small: int) -> int:
    """The neighbour to merge into, -1 if there is none."""
    before = -1
    h = g.head[small]
    while h >= 0:
        other = _beyond(g, h)
        if other != small:
            g.shared[other] += g.length[h >> 1]
            before = h
        else:
            if before < 0:
                g.head[small] = g.following[h]
            else:
                g.following[before] = g.following[h]
            if g.following[h] < 0:
                g.tail[small] = before
        h = g.following[h]
    best, longest = -1, 0
    h = g.head[small]
    while h >= 0:
        other = _beyond(g, h)
        border = g.shared[other]
        g.shared[other] = 0  # as it was, and so that each neighbour is looked at once
        if border > longest or (border > 0 and border == longest and _wins_tie(g, other, best)):
            best, longest = other, border
        h = g.following[h]
    return best


@njit(nogil=True, cache=True)
def _wins_tie(g: _Merging, a: int, b: int) -> bool:
    """Whether ``a`` comes before ``b`` among neighbours with equal border. Of one class, all become one anyway."""
    if g.size[a] != g.size[b]:
        return bool(g.size[a] > g.size[b])
    return bool(g.class_id[a] < g.class_id[b])


@njit(nogil=True, cache=True)
def _unite_around(g: _Merging, small: int, into: int) -> int:
    """Make a region one with a neighbour, and with all others of the neighbour's class; returns the root."""
    kind = g.class_id[into]
    h = g.head[small]
    while h >= 0:  # nothing is added to this list before its end is reached
        other = _beyond(g, h)
        if other != into and g.class_id[other] == kind:
            into = _unite(g, into, other)
        h = g.following[h]
    into = _unite(g, into, small)
    g.class_id[into] = kind
    return into


@njit(nogil=True, cache=True)
def _unite(g: _Merging, i: int, j: int) -> int:
    """Make two regions one; returns the root."""
    root, gone = min(i, j), max(i, j)
    g.parent[gone] = root
    g.size[root] += g.size[gone]
    if g.head[gone] >= 0:
        if g.head[root] < 0:
            g.head[root] = g.head[gone]
        else:
            g.following[g.tail[root]] = g.head[gone]
        g.tail[root] = g.tail[gone]
    return root


@njit(nogil=True, cache=True)
def _sift_down(sizes: NDArray[np.int64], regions: NDArray[np.int32], n_heap: int) -> None:
    """Move the entry behind a heap of ``n_heap`` entries into it, in place of the first."""
    size, region = sizes[n_heap], regions[n_heap]
    k = 0
    while 2 * k + 1 < n_heap:
        child = 2 * k + 1
        if child + 1 < n_heap and _comes_first(sizes[child + 1], regions[child + 1], sizes[child], regions[child]):
            child += 1
        if _comes_first(size, region, sizes[child], regions[child]):
            break
        sizes[k], regions[k] = sizes[child], regions[child]
        k = child
    sizes[k], regions[k] = size, region


@njit(nogil=True, cache=True)
def _sift_up(sizes: NDArray[np.int64], regions: NDArray[np.int32], k: int, size: int, region: int) -> None:
    """Put an entry into a heap at ``k``, one behind its last, or above where it comes before others."""
    while k > 0 and _comes_first(size, region, sizes[(k - 1) // 2], regions[(k - 1) // 2]):
        sizes[k], regions[k] = sizes[(k - 1) // 2], regions[(k - 1) // 2]
        k = (k - 1) // 2
    sizes[k], regions[k] = size, region


@njit(nogil=True, cache=True)
def _comes_first(size: int, region: int, than_size: int, than_region: int) -> bool:
    return size < than_size or (size == than_size and region < than_region)
