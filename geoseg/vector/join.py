"""Chains of several blocks put together to rings, and the polygons that are finished with them.

Each block hands on rings, chains and sums of the features that go on beyond it; they are finished with the last row of
blocks that they reach.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import njit
from geoseg.vector.measure import Measures
from geoseg.vector.rings import Rings, arranged, gather

__all__ = ["Joiner", "OpenPieces", "OpenWalks"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenWalks:
    """Rings and chains of features that go on beyond their block."""

    codes: NDArray[np.int64]
    """(n vertices,) as in `geoseg.vector.trace.Traced`, rings and chains in turn."""
    offsets: NDArray[np.int64]
    """(n + 1,) first vertex of each."""
    ends: NDArray[np.int64]
    """(n, 2) first edge of the walk, and the edge that comes next; equal for a ring."""
    component: NDArray[np.int64]
    """(n,) which component it bounds, in numbers of the whole scene."""
    feature: NDArray[np.int64]
    """(n,) group of its feature, from 1."""

    def __len__(self) -> int:
        return len(self.feature)

    @classmethod
    def none(cls) -> "OpenWalks":
        """No walks."""
        empty = np.empty(0, dtype=np.int64)
        return cls(codes=empty, offsets=np.zeros(1, np.int64), ends=empty.reshape(0, 2), component=empty, feature=empty)

    @classmethod
    def joined(cls, parts: Sequence["OpenWalks"]) -> "OpenWalks":
        """All walks of several blocks."""
        if len(parts) == 1:
            return parts[0]
        before = np.cumsum([0, *(p.offsets[-1] for p in parts)])
        return cls(
            codes=np.concatenate([p.codes for p in parts]),
            offsets=np.concatenate([[0], *(p.offsets[1:] + n for p, n in zip(parts, before[:-1], strict=True))]),
            ends=np.concatenate([p.ends for p in parts]),
            component=np.concatenate([p.component for p in parts]),
            feature=np.concatenate([p.feature for p in parts]),
        )

    def where(self, chosen: NDArray[np.bool_]) -> "OpenWalks":
        """Some of the walks; these themselves where all are chosen."""
        if chosen.all():
            return self
        order = np.flatnonzero(chosen)
        codes, offsets = gather(self.codes, self.offsets, order)
        return OpenWalks(
            codes=codes,
            offsets=offsets,
            ends=self.ends[order],
            component=self.component[order],
            feature=self.feature[order],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenPieces:
    """The pieces in a block of features that go on beyond it."""

    walks: OpenWalks
    """Their rings and chains."""
    groups: NDArray[np.int64]
    """(m,) their groups, ascending."""
    measures: Measures
    """(m,) what was summed up over them."""


def close(walks: OpenWalks, *, multi: bool) -> tuple[Rings, NDArray[np.int64]]:
    """The polygons of features all of whose walks are there, in the row-major order of their first pixels.

    Args:
        walks: In any order.
        multi: Whether a feature may have several components.

    Returns:
        The rings, and (n features,) the group of each.
    """
    if not len(walks):
        zero = np.zeros(1, dtype=np.int64)
        none = Rings(codes=zero[:0], ring_offsets=zero, polygon_offsets=zero, feature_offsets=zero if multi else None)
        return none, zero[:0]
    begins = np.argsort(walks.ends[:, 0])
    # every edge belongs to one walk: where one ends, exactly one begins; a ring is followed by itself
    following = begins[np.searchsorted(walks.ends[begins, 0], walks.ends[:, 1])]
    # a ring's last vertex is its first
    begin, end = walks.offsets[:-1] + (walks.ends[:, 0] == walks.ends[:, 1]), walks.offsets[1:]
    first, length, start, turn = _follow(walks.codes, begin, end, following)
    order, polygon_offsets, feature_offsets, features = arranged(start, walks.component[first], walks.feature[first])
    ring_offsets = np.zeros(len(order) + 1, dtype=np.int64)
    np.cumsum(length[order] + 1, out=ring_offsets[1:])
    codes = np.empty(ring_offsets[-1], dtype=np.int64)
    _write(walks.codes, begin, end, following, first[order], turn[order], ring_offsets, codes)
    rings = Rings(
        codes=codes,
        ring_offsets=ring_offsets,
        polygon_offsets=polygon_offsets,
        feature_offsets=feature_offsets if multi else None,
    )
    return rings, features


@njit(nogil=True, cache=True)
def _follow(
    codes: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64], following: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Go from walk to walk, and see where each ring is to begin: with its row-major first edge that goes right.

    Returns:
        (4, n rings): a walk of each ring, its number of vertices, the one it is to begin with, and how many come before
        that from the beginning of the walk.
    """
    n_walks, n = len(following), 0
    done = np.zeros(n_walks, dtype=np.bool_)
    rings = np.empty((4, n_walks), dtype=np.int64)
    for i in range(n_walks):
        if done[i]:
            continue
        m = at = np.int64(0)
        least = here = very_first = np.int64(-1)
        j: Any = i
        while not done[j]:
            done[j] = True
            for v in range(begin[j], end[j]):
                then = codes[v]
                if m == 0:
                    very_first = then
                elif here >> 32 == then >> 32 and here >> 1 < then >> 1 and (least < 0 or here < least):
                    least, at = here, m - 1
                here = then
                m += 1
            j = following[j]
        if here >> 32 == very_first >> 32 and here >> 1 < very_first >> 1 and (least < 0 or here < least):
            least, at = here, m - 1
        rings[0, n], rings[1, n], rings[2, n], rings[3, n] = i, m, least, at
        n += 1
    return rings[:, :n]


@njit(nogil=True, cache=True)
def _write(
    codes: NDArray[np.int64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    following: NDArray[np.int64],
    first: NDArray[np.int64],
    turn: NDArray[np.int64],
    ring_offsets: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """Rings from where they are to begin; a ring ends with its first vertex again."""
    for ring in range(len(first)):
        to, last = ring_offsets[ring], ring_offsets[ring + 1] - 1
        at = last - turn[ring] if turn[ring] else to
        j = first[ring]
        while True:
            for v in range(begin[j], end[j]):
                out[at] = codes[v]
                at += 1
                if at == last:
                    at = to
            j = following[j]
            if j == first[ring]:
                break
        out[last] = out[to]


class Joiner:
    """Takes the open pieces of blocks, row of blocks by row of blocks, and gives the features that are finished."""

    def __init__(self, last_row: NDArray[np.int64], *, connectivity: int = 4) -> None:
        """Prepare for the groups that `geoseg.vector.unite.unite` found.

        Args:
            last_row: By group, the last row of blocks that it reaches.
            connectivity: 4, or 8 for features whose pixels may touch at corners only.
        """
        self._multi = connectivity == 8
        self._last_row = last_row
        self._walks: list[OpenWalks] = []
        self._groups: list[NDArray[np.int64]] = []
        self._measures: list[Measures] = []

    def add(self, pieces: OpenPieces) -> None:
        """Take what a block hands on."""
        self._walks.append(pieces.walks)
        self._groups.append(pieces.groups)
        self._measures.append(pieces.measures)

    def finished(self, row: int) -> tuple[Rings, Measures] | None:
        """The features that reach no further than this row of blocks, all of which have been added."""
        if not self._walks:
            return None
        # block by block, and what nothing leaves stays as it is: outlines over the whole map are not copied each time
        ready: list[OpenWalks] = []
        for i, walks in enumerate(self._walks):
            done = self._last_row[walks.feature] <= row
            if done.any():
                ready.append(walks.where(done))
            self._walks[i] = walks.where(~done)
        self._walks = [walks for walks in self._walks if len(walks)]
        groups, measures = np.concatenate(self._groups), Measures.joined(self._measures)
        done_groups = self._last_row[groups] <= row
        self._groups, self._measures = [groups[~done_groups]], [measures.take(np.flatnonzero(~done_groups))]
        if not ready:
            return None
        walks = OpenWalks.joined(ready)
        ready.clear()
        rings, features = close(walks, multi=self._multi)
        del walks
        if not len(rings):
            return None
        order = np.argsort(features)
        place = order[np.searchsorted(features[order], groups[done_groups])]
        return rings, measures.take(np.flatnonzero(done_groups)).grouped(place, len(rings))
