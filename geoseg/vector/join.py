"""Chains of several blocks put together to rings, and the polygons that are finished with them.

Each block hands on rings, chains and sums of the features that go on beyond it; they are finished with the last row of
blocks that they reach.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.kernels import njit
from geoseg.vector.measure import Measures
from geoseg.vector.rings import Rings, arrange, gather

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
        """Some of the walks."""
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
    is_ring = walks.ends[:, 0] == walks.ends[:, 1]
    codes = np.empty(len(walks.codes) + len(walks), dtype=np.int64)
    offsets, first = _follow(walks.codes, walks.offsets, following, is_ring, codes)
    return arrange(codes[: offsets[-1]], offsets, walks.component[first], walks.feature[first], multi=multi)


@njit(nogil=True, cache=True)
def _follow(
    codes: NDArray[np.int64],
    offsets: NDArray[np.int64],
    following: NDArray[np.int64],
    is_ring: NDArray[np.bool_],
    out: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Walk from chain to chain; rings begin with their row-major first edge that goes right, and end with its corner.

    Returns:
        First vertex of each ring, and the end; a walk of each ring.
    """
    n_walks = len(following)
    done = np.zeros(n_walks, dtype=np.bool_)
    new_offsets = np.empty(n_walks + 1, dtype=np.int64)
    first = np.empty(n_walks, dtype=np.int64)
    new_offsets[0] = 0
    buffer = np.empty(len(codes), dtype=np.int64)
    n = 0
    k = 0
    for i in range(n_walks):
        if done[i]:
            continue
        m = 0
        j = i
        while not done[j]:
            done[j] = True
            for v in range(offsets[j] + int(is_ring[j]), offsets[j + 1]):  # a ring's last vertex is its first
                buffer[m] = codes[v]
                m += 1
            j = following[j]
        begin = -1
        for v in range(m):
            here, then = buffer[v], buffer[v + 1 if v + 1 < m else 0]
            goes_right = here >> 32 == then >> 32 and here >> 1 < then >> 1
            if goes_right and (begin < 0 or here < buffer[begin]):
                begin = v
        out[n : n + m - begin] = buffer[begin:m]
        out[n + m - begin : n + m + 1] = buffer[: begin + 1]
        n += m + 1
        first[k] = i
        k += 1
        new_offsets[k] = n
    return new_offsets[: k + 1], first[:k]


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
