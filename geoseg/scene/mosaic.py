"""Files that touch or overlap on one pixel grid -> one scene, so that no window ends at the border of a file."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Literal

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.errors import ParameterError
from geoseg.scene.scene import Member, Scene

__all__ = ["Priority", "joined", "mosaic_fingerprint", "mosaics"]

Priority = Literal["order", "newest"]
"""Which of several files that are valid at a pixel is taken there."""

_OFF_GRID = 0.01
"""Largest distance, in pixels, of a file's pixels from the grid of the others, anywhere in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A scene on the grid of the first of those like it."""

    scene: Scene
    row: int
    col: int

    @property
    def row_end(self) -> int:
        return self.row + self.scene.height

    @property
    def col_end(self) -> int:
        return self.col + self.scene.width

    def touches(self, other: "_Placed") -> bool:
        """Whether two rectangles have a point in common, be it on their borders."""
        return (
            self.row <= other.row_end
            and other.row <= self.row_end
            and self.col <= other.col_end
            and other.col <= self.col_end
        )


def mosaics(scenes: Sequence[Scene], priority: Priority = "order") -> list[list[Scene]]:
    """The scenes in groups that `joined` makes one scene of, each in order of priority, in order of their firsts.

    In a group all have one CRS, lie on one pixel grid, and have the same bands in the same type and unit; each touches
    or overlaps another.

    Args:
        scenes: What `open_scene` gave, in the order named.
        priority: ``order``: those named first; ``newest``: those taken last, and of one time those named first.
    """
    grids: list[list[_Placed]] = []
    for scene in scenes:
        for grid in grids:
            placed = _placed(scene, grid[0].scene)
            if placed is not None:
                grid.append(placed)
                break
        else:
            grids.append([_Placed(scene=scene, row=0, col=0)])
    groups = [[placed.scene for placed in group] for grid in grids for group in _connected(grid)]
    order = {id(scene): i for i, scene in enumerate(scenes)}
    if priority == "newest":
        groups = [sorted(group, key=_age) for group in groups]
    return sorted(groups, key=lambda group: min(order[id(scene)] for scene in group))


def _age(scene: Scene) -> float:
    """Less for what was taken later; most where that is not known."""
    return math.inf if scene.acquired is None else -scene.acquired.timestamp()


def _placed(scene: Scene, first: Scene) -> _Placed | None:
    """Where a scene lies on the grid of another; None where it does not."""
    if scene.geobox.crs != first.geobox.crs or _content(scene) != _content(first):
        return None
    across: Affine = ~first.geobox.transform @ scene.geobox.transform
    col, row = round(across.c), round(across.f)
    corners = np.array([[0, 0], [scene.width, 0], [0, scene.height], [scene.width, scene.height]])
    off = [np.subtract(across @ (x, y), (x + col, y + row)) for x, y in corners]
    return None if np.abs(off).max() > _OFF_GRID else _Placed(scene=scene, row=row, col=col)


def _content(scene: Scene) -> object:
    """What has to be the same in all files of a mosaic: names, types and units of the bands, in any order."""
    bands = sorted((b.name, b.dtype, b.scale, b.offset) for b in scene.bands)
    return bands, scene.scaled, bool(scene.masks)


def _connected(grid: list[_Placed]) -> list[list[_Placed]]:
    """The scenes of a grid in groups that hang together, each in the order of the scenes."""
    left, groups = list(range(len(grid))), []
    while left:
        group, waiting = set(), [left.pop(0)]
        while waiting:
            here = waiting.pop()
            group.add(here)
            near = [i for i in left if grid[i].touches(grid[here])]
            left = [i for i in left if i not in near]
            waiting += near
        groups.append([grid[i] for i in sorted(group)])
    return groups


def joined(scenes: Sequence[Scene]) -> Scene:
    """One scene of several, from `mosaics`, on the smallest part of their grid that holds all of them.

    Where several are valid at a pixel, the first has it. The time is that of all of them, where it is one day.

    Raises:
        ParameterError: If they do not lie on one grid, or differ in their bands.
    """
    first = scenes[0]
    placed = [_placed(scene, first) for scene in scenes]
    known = [p for p in placed if p is not None]
    if len(known) < len(scenes):
        raise ParameterError("scenes on several grids, or of different bands, are no mosaic: join those of `mosaics`")
    top, left = min(p.row for p in known), min(p.col for p in known)
    bottom, right = max(p.row_end for p in known), max(p.col_end for p in known)
    transform = first.geobox.transform @ Affine.translation(left, top)
    members = tuple(Member(scene=p.scene, row_off=p.row - top, col_off=p.col - left) for p in known)
    days = {scene.acquired.date() if scene.acquired else None for scene in scenes}
    return replace(
        first,
        id=_name(scene.id for scene in scenes),
        geobox=GeoBox((bottom - top, right - left), transform, first.geobox.crs),
        acquired=first.acquired if len(days) == 1 else None,
        members=members,
        fingerprint=mosaic_fingerprint(members, [scene.fingerprint for scene in scenes]),
    )


def _name(ids: Iterable[str]) -> str:
    every = sorted(ids)
    # of sorted names, what the first and the last begin with, all do
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(every[0], every[-1], strict=False))
    start = "".join(letter for letter, _ in pairs).rstrip("_-. ")
    return f"{start}_mosaic" if start else "mosaic"


def mosaic_fingerprint(members: Sequence[Member], fingerprints: Sequence[str]) -> str:
    """Hash of what identifies the content of a mosaic.

    Args:
        members: In order of priority.
        fingerprints: Of each, as it is.
    """
    places = [f"{p} {m.row_off} {m.col_off}" for m, p in zip(members, fingerprints, strict=True)]
    return hashlib.sha256("\n".join(places).encode()).hexdigest()
