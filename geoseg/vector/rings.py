"""Rings grouped by polygon, and polygons by feature: the layout that `shapely.from_ragged_array` takes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import njit
from geoseg.vector.trace import Traced, corners

__all__ = ["Rings", "arrange", "arranged", "by_rank", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rings:
    """Closed rings on the pixel grid of the scene, a polygon's shell before its holes."""

    codes: NDArray[np.int64]
    """(n vertices,) as in `Traced`; the last vertex of a ring is its first again. Seen with rows going down, shells run
    clockwise."""
    ring_offsets: NDArray[np.int64]
    """(n rings + 1,) first vertex of each ring."""
    polygon_offsets: NDArray[np.int64]
    """(n polygons + 1,) first ring of each polygon."""
    feature_offsets: NDArray[np.int64] | None = None
    """(n features + 1,) first polygon of each feature; None where every polygon is one."""

    def __len__(self) -> int:
        return len(self.polygon_offsets if self.feature_offsets is None else self.feature_offsets) - 1

    def parts(self, most: int) -> Iterator[tuple[slice, "Rings"]]:
        """These rings a few features at a time, each time of ``most`` vertices or a single feature with more."""
        polygons = np.arange(len(self) + 1) if self.feature_offsets is None else self.feature_offsets
        ends = self.ring_offsets[self.polygon_offsets[polygons]]
        begin = 0
        while begin < len(self):
            end = max(begin + 1, int(np.searchsorted(ends, ends[begin] + most, side="right")) - 1)
            if begin == 0 and end == len(self):
                yield slice(begin, end), self
                return
            first, last = int(polygons[begin]), int(polygons[end])
            rings = slice(int(self.polygon_offsets[first]), int(self.polygon_offsets[last]) + 1)
            yield (
                slice(begin, end),
                Rings(
                    codes=self.codes[ends[begin] : ends[end]],
                    ring_offsets=self.ring_offsets[rings] - ends[begin],
                    polygon_offsets=self.polygon_offsets[first : last + 1] - self.polygon_offsets[first],
                    feature_offsets=None if self.feature_offsets is None else polygons[begin : end + 1] - first,
                ),
            )
            begin = end

    @property
    def vertices(self) -> NDArray[np.int32]:
        """(n vertices, 2) column and row of pixel corners."""
        return corners(self.codes)

    @property
    def fixed(self) -> NDArray[np.bool_]:
        """(n vertices,) where three or more borders meet, or the map ends: what smoothing leaves where it is."""
        return (self.codes & 1).astype(np.bool_)

    @property
    def first_pixels(self) -> NDArray[np.int64]:
        """(n features,) code of the upper left corner of the first pixel, in row-major order."""
        polygons = self.polygon_offsets[:-1]
        first = polygons if self.feature_offsets is None else polygons[self.feature_offsets[:-1]]
        return self.codes[self.ring_offsets[first]]


def arrange(
    codes: NDArray[np.int64],
    offsets: NDArray[np.int64],
    component: NDArray[np.int64],
    feature: NDArray[np.int64],
    *,
    multi: bool,
) -> tuple[Rings, NDArray[np.int64]]:
    """Rings in any order as polygons and features in the row-major order of their first pixels.

    Args:
        codes: (n vertices,) as in `Rings`, each ring beginning with its first edge that goes right.
        offsets: (n rings + 1,) first vertex of each ring.
        component: (n rings,) which component a ring bounds; any numbers.
        feature: (n rings,) which feature that component belongs to.
        multi: Whether a feature may have several components.

    Returns:
        The rings, and (n features,) which feature is which.
    """
    order, polygon_offsets, feature_offsets, features = arranged(codes[offsets[:-1]], component, feature)
    out, ring_offsets = gather(codes, offsets, order)
    rings = Rings(
        codes=out,
        ring_offsets=ring_offsets,
        polygon_offsets=polygon_offsets,
        feature_offsets=feature_offsets if multi else None,
    )
    return rings, features


def arranged(
    start: NDArray[np.int64], component: NDArray[np.int64], feature: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """As `arrange`, from the first vertex of each ring alone.

    Returns:
        (n rings,) the order of the rings, the offsets of polygons and features, and which feature is which.
    """
    # The first pixel of a component in row-major order has a border above: the shell begins there, and no hole earlier.
    rank = _least(start, component)
    order = np.lexsort((start, rank, _least(start, feature)))
    component, feature = component[order], feature[order]
    new_polygon = np.flatnonzero(np.concatenate([[True], component[1:] != component[:-1]])) if len(order) else order
    new_feature = np.flatnonzero(np.concatenate([[True], feature[1:] != feature[:-1]])) if len(order) else order
    polygon_offsets = np.append(new_polygon, len(order))
    feature_offsets = np.append(np.searchsorted(new_polygon, new_feature), len(new_polygon))
    return order, polygon_offsets, feature_offsets, feature[new_feature]


def _least(values: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each item the least value in its group."""
    if not len(values):
        return values
    _, inverse = np.unique(group, return_inverse=True)
    least = np.full(inverse.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, inverse, values)
    return least[inverse]


def gather(
    codes: NDArray[np.int64], offsets: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Runs of vertices in the given order, and their new offsets."""
    new = np.zeros(len(order) + 1, dtype=np.int64)
    np.cumsum((offsets[1:] - offsets[:-1])[order], out=new[1:])
    out = np.empty(new[-1], dtype=np.int64)
    _copy(codes, offsets[:-1][order], new, out)
    return out, new


@njit(nogil=True, cache=True)
def _copy(codes: NDArray[np.int64], first: NDArray[np.int64], new: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    for i in range(len(first)):
        shift = first[i] - new[i]
        for k in range(new[i], new[i + 1]):
            out[k] = codes[k + shift]


@njit(nogil=True, cache=True)
def _place(ranks: NDArray[np.int64], place: NDArray[np.int64], order: NDArray[np.int64]) -> None:
    """Put rings in the order of their ranks, -1 for none; ``place`` is where those of a rank begin, and then end.

    A counting sort: in the order of tracing a shell comes before its holes already.
    """
    for i in range(len(ranks)):
        r = ranks[i]
        if r >= 0:
            order[place[r]] = i
            place[r] += 1


def by_rank(traced: Traced, rank: NDArray[np.int64], n: int) -> Rings:
    """The rings of the labels that have a rank, as one polygon for each rank.

    Args:
        traced: Closed rings in the order of tracing.
        rank: By label, index 0 included: which polygon it becomes, -1 for none.
        n: Number of polygons.
    """
    ranks = rank[traced.labels]
    polygon_offsets = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(ranks[ranks >= 0], minlength=n), out=polygon_offsets[1:])
    order = np.empty(polygon_offsets[-1], dtype=np.int64)
    _place(ranks, polygon_offsets[:-1].copy(), order)
    codes, ring_offsets = gather(traced.codes, traced.offsets, order)
    return Rings(codes=codes, ring_offsets=ring_offsets, polygon_offsets=polygon_offsets)
