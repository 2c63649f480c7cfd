"""Several grids as one: the part of the first that the others cover, and where its pixels lie in each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.area.turns import full_turn
from geoseg.change.sampling import Sampled, Shifted
from geoseg.errors import InputError

__all__ = ["Alignment", "align", "align_all"]

_SAME: Final = 0.01  # pixels that two grids may differ by and be the same one
_MOST_ERROR: Final = 0.02  # pixels of the second map, in the middle between nodes
_COARSEST: Final = 64  # pixels between nodes
_COARSER: Final = 1.5  # pixels of the second map along one of the first from which on the most frequent class is taken
_PROBE: Final = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """A grid that two maps have in common."""

    geobox: GeoBox
    """The part of the first map's grid that the second covers."""
    row_off: int
    """Its first row in the first map."""
    col_off: int
    """Its first column in the first map."""
    after: Shifted | Sampled
    """Where its pixels lie in the second map."""
    notes: tuple[str, ...]
    """What a user wants to know: how the second map was brought onto the grid, what is left out."""


def align(before: GeoBox, after: GeoBox, *, names: tuple[str, str] = ("the first map", "the second map")) -> Alignment:
    """The common grid of two maps: pixels of the first.

    Args:
        before: Grid of the first map.
        after: Grid of the second.
        names: What the maps are called in messages.

    Raises:
        InputError: If they do not overlap.
    """
    placed, window, notes = _placed(before, after, names)
    top, left, bottom, right = window
    notes = (*notes, *_common_part(window, [(Shifted(row_off=0, col_off=0), before), (placed, after)], names))
    common = before[top:bottom, left:right]
    return Alignment(geobox=common, row_off=top, col_off=left, after=_from(placed, window, common), notes=notes)


def align_all(
    grids: Sequence[GeoBox], *, names: Sequence[str]
) -> tuple[GeoBox, tuple[Shifted | Sampled, ...], tuple[str, ...]]:
    """The common grid of several maps: pixels of the first, where all others lie.

    Args:
        grids: Of the maps, in their order.
        names: What they are called in messages.

    Returns:
        The grid; where its pixels lie in each map, the first one too; and what a user wants to know.

    Raises:
        InputError: If they have no area in common.
    """
    first = grids[0]
    window = (0, 0, int(first.shape[0]), int(first.shape[1]))
    found: list[tuple[Shifted | Sampled, GeoBox]] = []
    notes: tuple[str, ...] = ()
    for grid, name in zip(grids[1:], names[1:], strict=True):
        placed, there, said = _placed(first, grid, (names[0], name))
        window = (
            max(window[0], there[0]), max(window[1], there[1]), min(window[2], there[2]), min(window[3], there[3])
        )  # fmt: skip
        if window[0] >= window[2] or window[1] >= window[3]:
            raise InputError(
                f"no area is common to {', '.join(names[: len(found) + 2])}, though each overlaps {names[0]}: give "
                "maps of one place"
            )
        found.append((placed, grid))
        notes += said
    notes = (*notes, *_common_part(window, [(Shifted(row_off=0, col_off=0), first), *found], names))
    common = first[window[0] : window[2], window[1] : window[3]]
    every: list[Shifted | Sampled] = [Shifted(row_off=0, col_off=0), *(placed for placed, _ in found)]
    return common, tuple(_from(placed, window, common) for placed in every), notes


_Window = tuple[int, int, int, int]
"""First and end row and column in the first map, (top, left, bottom, right)."""


def _placed(
    before: GeoBox, after: GeoBox, names: tuple[str, str]
) -> tuple[Shifted | Sampled, _Window, tuple[str, ...]]:
    """Where the pixels of the first grid lie in the second, the part of it that the second covers, and what to say.

    Raises:
        InputError: If they do not overlap.
    """
    same_crs = _is_same_crs(before, after)
    if same_crs:
        after = _beside(before, after)
    shape = int(after.shape[0]), int(after.shape[1])
    shift = _whole_shift(before, after) if same_crs else None
    if shift is not None:
        top, left = max(0, -shift[0]), max(0, -shift[1])
        bottom, right = (min(int(n), m - s) for n, m, s in zip(before.shape, shape, shift, strict=True))
        placed: Shifted | Sampled = Shifted(row_off=shift[0], col_off=shift[1])
        notes: tuple[str, ...] = ()
    else:
        sampled = _sampled(before, after, same_crs=same_crs)
        top, left, bottom, right = _covered(before, after, same_crs=same_crs)
        placed, notes = sampled, (_how(sampled, names),)
    if top >= bottom or left >= right:
        raise InputError(
            f"{names[0]} and {names[1]} do not overlap: the first covers {_where(before)}, the second {_where(after)}, "
            "and no pixel of the first has its centre in the second; give two maps of one place"
        )
    return placed, (top, left, bottom, right), notes


def _beside(grid: GeoBox, other: GeoBox) -> GeoBox:
    """The other grid with longitudes counted as in the first one, from -180 or from 0."""
    turn = None if grid.crs is None else full_turn(grid.crs.proj)
    if turn is None:
        return other
    middle, its = ((g.transform @ (g.shape[1] / 2, g.shape[0] / 2))[0] for g in (grid, other))
    turns = round((middle - its) / turn)
    return GeoBox(other.shape, Affine.translation(turns * turn, 0) @ other.transform, other.crs) if turns else other


def _from(placed: Shifted | Sampled, window: _Window, common: GeoBox) -> Shifted | Sampled:
    """The same counted from the first pixel of the common grid."""
    if isinstance(placed, Sampled):
        return replace(placed, to_map=common.affine)
    return Shifted(row_off=placed.row_off + window[0], col_off=placed.col_off + window[1])


def _common_part(
    window: _Window, maps: Sequence[tuple[Shifted | Sampled, GeoBox]], names: Sequence[str]
) -> tuple[str, ...]:
    """What to say where the common area leaves out a part of the first map, or of another on its grid."""
    height, width = window[2] - window[0], window[3] - window[1]
    shapes = {
        name: (int(grid.shape[0]), int(grid.shape[1]))
        for (placed, grid), name in zip(maps, names, strict=True)
        if isinstance(placed, Shifted)
    }
    larger = [f"{name} has {h} x {w} px" for name, (h, w) in shapes.items() if (h, w) != (height, width)]
    if not larger:
        return ()
    more = f", and {len(larger) - 3} more are larger" if len(larger) > 3 else ""
    return (f"only the common area is compared, {height} x {width} px of {names[0]}: {', '.join(larger[:3])}{more}",)


def _is_same_crs(before: GeoBox, after: GeoBox) -> bool:
    if before.crs is None or after.crs is None:
        return before.crs is None and after.crs is None
    one, two = before.crs.proj, after.crs.proj
    return bool(one == two or one.equals(two, ignore_axis_order=True))


def _whole_shift(before: GeoBox, after: GeoBox) -> tuple[int, int] | None:
    """Rows and columns from the first grid to the second, where they are the same but for that."""
    between = ~after.affine @ before.affine
    row, col = round(between.f), round(between.c)
    height, width = before.shape
    # over the whole map: pixels of 10 and of 10.001 m are not the same
    corners = [(0, 0), (width, 0), (0, height), (width, height)]
    off = max(max(abs(x - c - col), abs(y - r - row)) for c, r in corners for x, y in [between @ (c, r)])
    return (row, col) if off < _SAME else None


def _sampled(before: GeoBox, after: GeoBox, *, same_crs: bool) -> Sampled:
    """The second map at the pixels of the first, with as many points and nodes as it takes."""
    draft = _positions(before, after, same_crs=same_crs)
    scale = _scale(draft, before)
    # at one pixel to the pixel and the next whole number, so that no pixel of the second map is passed over
    points = 1 if scale < _COARSER else math.ceil(scale - _SAME)
    spacing = _COARSEST
    while spacing > 1 and _error(draft, before, spacing) > _MOST_ERROR:
        spacing //= 2
    return replace(draft, spacing=spacing, points=points)


def _probes(length: int) -> NDArray[np.float64]:
    return np.linspace(0, length, _PROBE)


def _scale(sampled: Sampled, grid: GeoBox) -> float:
    """Pixels of the second map along one of the first: the median over the grid."""
    rows, cols = (g.ravel() for g in np.meshgrid(*map(_probes, grid.shape), indexing="ij"))
    at = [np.stack(sampled.at(rows + dr, cols + dc)) for dr, dc in ((0, 0), (0, 1), (1, 0))]
    right, down = at[1] - at[0], at[2] - at[0]
    with np.errstate(invalid="ignore"):
        area = np.abs(right[0] * down[1] - right[1] * down[0])
    area = area[np.isfinite(area)]
    return float(np.sqrt(np.median(area))) if len(area) else 1.0


def _error(sampled: Sampled, grid: GeoBox, spacing: int) -> float:
    """Largest error in the middle of cells of the lattice, in pixels of the second map."""
    if sampled.crs is None:
        return 0.0
    begins = [np.unique(_probes(max(int(n) - 1, 1)) // spacing * spacing) for n in grid.shape]
    rows, cols = (g.ravel() for g in np.meshgrid(*begins, indexing="ij"))
    corners = [np.stack(sampled.at(rows + dr, cols + dc)) for dr in (0, spacing) for dc in (0, spacing)]
    middle = np.stack(sampled.at(rows + spacing / 2, cols + spacing / 2))
    with np.errstate(invalid="ignore"):
        error = np.abs(sum(corners) / 4 - middle).max(axis=0)
    error = error[np.isfinite(error)]
    return float(error.max()) if len(error) else 0.0


def _covered(before: GeoBox, after: GeoBox, *, same_crs: bool) -> tuple[int, int, int, int]:
    """First and end row and column of the first grid that the second may reach, (top, left, bottom, right)."""
    back = _positions(after, before, same_crs=same_crs)
    rows, cols = (g.ravel() for g in np.meshgrid(*map(_probes, after.shape), indexing="ij"))
    row, col = back.at(rows, cols)
    usable = np.isfinite(row) & np.isfinite(col)
    if not usable.any():
        return 0, 0, 0, 0
    spread = [2.0 * (not same_crs)] * 2  # an outline between probes bulges by less than this
    top, left = (max(0, math.floor(n[usable].min() - s + _SAME)) for n, s in zip((row, col), spread, strict=True))
    bottom, right = (
        min(int(length), math.ceil(n[usable].max() + s - _SAME))
        for n, s, length in zip((row, col), spread, before.shape, strict=True)
    )
    # pixels that the second map's own extent leaves out are nodata; a strip of them only is no overlap
    if not same_crs and top < bottom and left < right and not _reaches(before, after, (top, left, bottom, right)):
        return 0, 0, 0, 0
    return top, left, bottom, right


def _reaches(before: GeoBox, after: GeoBox, window: tuple[int, int, int, int]) -> bool:
    """Whether a pixel centre of a window of the first grid, on a lattice, lies in the second."""
    top, left, bottom, right = window
    there = _positions(before, after, same_crs=False)
    lines = [np.unique(np.round(np.linspace(a, b - 1, 4 * _PROBE))) + 0.5 for a, b in ((top, bottom), (left, right))]
    row, col = there.at(*(g.ravel() for g in np.meshgrid(*lines, indexing="ij")))
    return bool(((row >= 0) & (row < after.shape[0]) & (col >= 0) & (col < after.shape[1])).any())


def _positions(grid: GeoBox, other: GeoBox, *, same_crs: bool) -> Sampled:
    """Where positions of one grid lie in another."""
    return Sampled(
        to_map=grid.affine,
        crs=None if same_crs or grid.crs is None else grid.crs.proj.to_wkt(),
        source_crs=None if same_crs or other.crs is None else other.crs.proj.to_wkt(),
        to_source=~other.affine,
        shape=(int(other.shape[0]), int(other.shape[1])),
        spacing=_COARSEST,
        points=1,
    )


def _how(sampled: Sampled, names: tuple[str, str]) -> str:
    how = (
        "the nearest pixel"
        if sampled.points == 1
        else f"the most frequent of {sampled.points} x {sampled.points} points in each pixel"
    )
    what = "another grid" if sampled.crs is None else "another CRS"
    return f"{names[1]} has {what} and is brought onto that of {names[0]}, by {how}"


def _where(grid: GeoBox) -> str:
    """The extent of a grid for a message, in degrees where that can be told."""
    rows, cols = (g.ravel() for g in np.meshgrid(*map(_probes, grid.shape), indexing="ij"))
    a = grid.affine
    x, y = a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f
    if grid.crs is not None:
        lon, lat = Transformer.from_crs(grid.crs.proj, 4326, always_xy=True).transform(x, y)
        if np.isfinite(lon).all() and np.isfinite(lat).all():
            return f"{lon.min():.4f} to {lon.max():.4f} east, {lat.min():.4f} to {lat.max():.4f} north"
    return f"x {x.min():.10g} to {x.max():.10g}, y {y.min():.10g} to {y.max():.10g}"
