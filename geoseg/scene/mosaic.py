"""Files that touch or overlap on one pixel grid -> one scene, so that no window ends at the border of a file."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.errors import ParameterError, printable
from geoseg.scene.mosaic_order import Priority, in_order
from geoseg.scene.scene import Band, Member, Scene

__all__ = ["apart", "joined", "mosaic_fingerprint", "mosaics"]

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


def mosaics(scenes: Sequence[Scene], priority: Priority = "order", *, wanted: Sequence[str] = ()) -> list[list[Scene]]:
    """The scenes in groups that `joined` makes one scene of, each in order of priority, in order of their firsts.

    In a group all have one CRS, lie on one pixel grid, and have the same bands in the same type; each touches or
    overlaps another. Where units are known they may differ.

    Args:
        scenes: What `open_scene` gave, in the order named.
        priority: See `in_order`.
        wanted: Names of the bands that are of use, where not all are: then others may differ.
    """
    grids: list[list[_Placed]] = []
    for scene in scenes:
        for grid in grids:
            placed = _placed(scene, grid[0].scene, wanted)
            if placed is not None:
                grid.append(placed)
                break
        else:
            grids.append([_Placed(scene=scene, row=0, col=0)])
    groups = [[placed.scene for placed in group] for grid in grids for group in _connected(grid)]
    order = {id(scene): i for i, scene in enumerate(scenes)}
    groups = [in_order(group, priority) if len(group) > 1 else group for group in groups]
    return sorted(groups, key=lambda group: min(order[id(scene)] for scene in group))


def apart(groups: Sequence[Sequence[Scene]], *, wanted: Sequence[str] = ()) -> list[str]:
    """Why scenes that touch, in one CRS, are in different groups of `mosaics`: a line for each two groups that do."""
    said = []
    for i, group in enumerate(groups):
        for other in groups[i + 1 :]:
            near = next(((a, b) for a in group for b in other if _is_near(a, b)), None)
            if near is not None:
                one, two = near
                said.append(
                    f"{printable(two.id)} touches {printable(one.id)} and stays a scene of its own: "
                    f"{_difference(one, two, wanted)}"
                )
    return said


def _is_near(one: Scene, two: Scene) -> bool:
    """Whether the outlines of two scenes of one CRS have a point in common, to a pixel."""
    if one.geobox.crs != two.geobox.crs:
        return False
    a, b = one.geobox.boundingbox, two.geobox.boundingbox
    slack = abs(one.geobox.resolution.x)
    return bool(
        a.left - slack <= b.right
        and b.left - slack <= a.right
        and a.bottom - slack <= b.top
        and b.bottom - slack <= a.top
    )


def _difference(one: Scene, two: Scene, wanted: Sequence[str]) -> str:
    """What keeps the second of two scenes from being joined to the first."""
    ours, theirs = (dict(_bands(scene, wanted)) for scene in (one, two))
    if ours.keys() != theirs.keys():
        shown = (printable(", ".join(sorted(bands))) for bands in (theirs, ours))
        return "its bands are {}, those of the other {}".format(*shown)
    if ours != theirs:
        kinds = (", ".join(sorted(set(bands.values()))) for bands in (theirs, ours))
        return "its pixels are {}, those of the other {}".format(*kinds)
    if bool(one.masks) != bool(two.masks):
        return "one has a mask of its own and the other has none"
    if _content(one, wanted) != _content(two, wanted):
        return "the unit of one is known and that of the other is not; pass --scale and --offset"
    return f"its pixels are off the other's grid by {_off_grid(one, two)[2]:.2g} px; warp it with gdalwarp -tap"


def _placed(scene: Scene, first: Scene, wanted: Sequence[str] = ()) -> _Placed | None:
    """Where a scene lies on the grid of another; None where it does not."""
    if scene.geobox.crs != first.geobox.crs or _content(scene, wanted) != _content(first, wanted):
        return None
    row, col, off = _off_grid(first, scene)
    return None if off > _OFF_GRID else _Placed(scene=scene, row=row, col=col)


def _off_grid(first: Scene, scene: Scene) -> tuple[int, int, float]:
    """Row and column of a scene on the grid of another, and by how many pixels it is off that at most."""
    across: Affine = ~first.geobox.transform @ scene.geobox.transform
    col, row = round(across.c), round(across.f)
    corners = np.array([[0, 0], [scene.width, 0], [0, scene.height], [scene.width, scene.height]])
    off = [np.subtract(across @ (x, y), (x + col, y + row)) for x, y in corners]
    return row, col, float(np.abs(off).max())


def _content(scene: Scene, wanted: Sequence[str]) -> object:
    """What has to be the same in all files of a mosaic: names and types of the bands, in any order, and their kind."""
    bands = _bands(scene, wanted)
    return bands, scene.scaled or _units_of(scene, [name for name, _ in bands]), bool(scene.masks)


def _bands(scene: Scene, wanted: Sequence[str]) -> list[tuple[str, str]]:
    """Names and types of the bands that are wanted, where the scene has all of them; else of all that it has."""
    has = {b.name for b in scene.bands}
    return sorted((b.name, b.dtype) for b in scene.bands if b.name in wanted or not has.issuperset(wanted or (None,)))


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

    Where several are valid at a pixel, the first has it. The time is that of all of them, where it is one day. It has
    the bands that all of them have; where scale or offset of one differ, pixels are brought to the unit of the first as
    they are read, and are float32.

    Raises:
        ParameterError: If they do not lie on one grid, or differ in their bands.
    """
    first = scenes[0]
    names = [b.name for b in first.bands if all(b.name in {o.name for o in s.bands} for s in scenes)]
    placed = [_placed(scene, first, names) for scene in scenes]
    known = [p for p in placed if p is not None]
    if len(known) < len(scenes):
        raise ParameterError("scenes on several grids, or of different bands, are no mosaic: join those of `mosaics`")
    top, left = min(p.row for p in known), min(p.col for p in known)
    bottom, right = max(p.row_end for p in known), max(p.col_end for p in known)
    transform = first.geobox.transform @ Affine.translation(left, top)
    members = tuple(Member(scene=p.scene, row_off=p.row - top, col_off=p.col - left) for p in known)
    days = {scene.acquired.date() if scene.acquired else None for scene in scenes}
    same = all(_units_of(scene, names) == _units_of(first, names) for scene in scenes)
    return replace(
        first,
        bands=tuple(b if same else _converted(b) for b in first.bands if b.name in names),
        product=first.product if all(scene.product == first.product for scene in scenes) else "",
        cloud_percent=None,
        id=_name(scene.id for scene in scenes),
        geobox=GeoBox((bottom - top, right - left), transform, first.geobox.crs),
        acquired=first.acquired if len(days) == 1 else None,
        members=members,
        fingerprint=mosaic_fingerprint(members, [scene.fingerprint for scene in scenes]),
    )


def _units_of(scene: Scene, names: Sequence[str]) -> list[tuple[float, float]]:
    by_name = {b.name: b for b in scene.bands}
    return [(by_name[name].scale, by_name[name].offset) for name in names]


def _converted(band: Band) -> Band:
    return replace(band, dtype="float32", nodata=None)


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
    units = [sorted((b.name, b.scale, b.offset) for b in m.scene.bands) for m in members]
    same = all(unit == units[0] for unit in units)
    places = [
        f"{p} {m.row_off} {m.col_off}{'' if same else f' {unit}'}"
        for m, p, unit in zip(members, fingerprints, units, strict=True)
    ]
    return hashlib.sha256("\n".join(places).encode()).hexdigest()
