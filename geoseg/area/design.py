"""The sampling design of a reference sample: how many points, how many in each stratum, and which pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from geoseg.area.population import MapTotals
from geoseg.area.turns import beside
from geoseg.errors import ParameterError, SceneError, printable
from geoseg.kernels import njit
from geoseg.scene.class_raster import ClassRaster, ClassReader

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = [
    "ALLOCATIONS",
    "Allocation",
    "Drawn",
    "allocate",
    "allocate_for",
    "design_points",
    "draw",
    "expected_se",
    "sample_size",
    "shares",
]

Allocation = Literal["compromise", "proportional", "equal", "neyman"]
ALLOCATIONS: Final[tuple[Allocation, ...]] = get_args(Allocation)
"""``compromise``: rare strata get a minimum, the others by size, as Olofsson et al. (2014) recommend; ``proportional``
to size, near the best for overall accuracy and areas; ``equal``, best for user's accuracies; ``neyman``, by size and
expected spread."""

RARE: Final = 50
"""Points that a rare stratum gets by default; 50 to 100 is the advice."""
_FEWEST = 2  # with one there is no variance
_STRIP_PIXELS = 16 << 20
_BY_ROUNDING = 1e-3  # relative: whole points are not the exact shares that a target is met by


def sample_size(
    weights: Sequence[float], users: Sequence[float], *, target_se: float, population: float = math.inf
) -> float:
    """Points that a stratified sample needs for this standard error of overall accuracy; round up.

    That is for the best allocation, which is Neyman's; others need more, as `allocate_for` knows. With one stratum it
    is the size of a simple random sample for a proportion: ``target_se`` is then the half width of the wanted interval
    over 1.96.

    Args:
        weights: Shares of the strata in the map; they need not sum to 1.
        users: Expected user's accuracy of each.
        target_se: Standard error wanted.
        population: Pixels of the map; makes a difference for small maps only.

    Raises:
        ParameterError: If an accuracy is outside 0 to 1, or the target is not positive.

    Example:
        >>> round(sample_size([0.02, 0.015, 0.32, 0.645], [0.7, 0.6, 0.9, 0.95], target_se=0.01), 2)
        640.54

    Reference: Cochran (1977), equation 5.25; Olofsson et al. (2014), equation 13.
    """
    share, spread = np.array(weights) / np.sum(weights), _spread(users)
    if not target_se > 0:
        raise ParameterError(f"a standard error of {target_se} cannot be aimed at: give a positive one, such as 0.01")
    return float((share @ spread) ** 2 / (target_se**2 + (share @ spread**2) / population))


def expected_se(points: Sequence[int], sizes: Sequence[int], users: Sequence[float]) -> float:
    """Standard error of overall accuracy to be expected of a sample; that of strata without points is left out.

    Args:
        points: Of each stratum.
        sizes: Pixels of the strata.
        users: Expected user's accuracy of each.

    Raises:
        ParameterError: If an accuracy is outside 0 to 1.

    Example:
        >>> round(expected_se([75, 75, 162, 328], [20_000, 15_000, 320_000, 645_000], [0.7, 0.6, 0.9, 0.95]), 4)
        0.0109

    Reference: Cochran (1977), equation 5.6.
    """
    n, size, spread = np.array(points), np.array(sizes, dtype=np.float64), _spread(users)
    drawn = n > 0
    left = 1 / n[drawn] - 1 / size[drawn]
    return math.sqrt(float((size[drawn] * spread[drawn]) ** 2 @ left)) / float(size.sum())


def shares(method: Allocation, weights: Sequence[float], users: Sequence[float]) -> NDArray[np.float64]:
    """Shares of the strata in the sample by this rule, before any minimum; they sum to 1.

    Args:
        method: The rule.
        weights: Shares of the strata in the map.
        users: Expected user's accuracy of each; used by ``neyman`` alone.

    Raises:
        ParameterError: If the rule is not known, an accuracy is outside 0 to 1, or all strata are empty.
    """
    if method not in ALLOCATIONS:
        raise ParameterError(f"there is no allocation {method!r}: choose one of {', '.join(ALLOCATIONS)}")
    raw = np.array(weights, dtype=np.float64)
    if not raw.any():
        raise ParameterError("no stratum has a pixel, so there is nothing to draw from: check the map's nodata value")
    if method == "equal":
        raw = (raw > 0).astype(np.float64)
    elif method == "neyman":
        spread = _spread(users)
        raw = raw * (spread if (raw * spread).any() else 1.0)
    return np.asarray(raw / raw.sum())


def allocate(
    n: int,
    sizes: Sequence[int],
    *,
    method: Allocation = "compromise",
    users: Sequence[float],
    minimum: int | None = None,
) -> NDArray[np.int64]:
    """Points for each stratum.

    Each stratum gets the minimum at least, or all its pixels; what is left goes to the others by the rule.

    Args:
        n: Points in all.
        sizes: Pixels of the strata; an empty one gets no points.
        method: The rule.
        users: Expected user's accuracy of each; used by ``neyman`` alone.
        minimum: Points for each stratum, at least 2; by default 2, for ``compromise`` 50 or what ``n`` allows.

    Returns:
        (h,) points, ``n`` in all, none above the stratum's pixels.

    Raises:
        ParameterError: If ``n`` is more than all pixels or less than the minimum asks for.

    Example:
        >>> allocate(640, [20_000, 15_000, 320_000, 645_000], users=[0.8] * 4, minimum=75).tolist()
        [75, 75, 162, 328]
    """
    most = np.array(sizes, dtype=np.int64)
    strata = int((most > 0).sum())
    if n > most.sum():
        raise ParameterError(f"{n} points cannot be drawn from {most.sum()} pixels: ask for fewer")
    if minimum is None:
        minimum = max(_FEWEST, min(RARE, n // max(strata, 1))) if method == "compromise" else _FEWEST
    least = np.minimum(max(minimum, _FEWEST), most)
    if least.sum() > n:
        raise ParameterError(
            f"{n} points do not give each of {strata} strata {max(minimum, _FEWEST)}: "
            f"ask for {least.sum()} points or more, or for a lower minimum"
        )
    share = shares(method, most.tolist(), users)
    points, free = np.zeros(len(most)), most > 0
    while free.any():
        rest = n - points[~free].sum()
        part = share * free
        target = rest * (part / part.sum() if part.any() else free / free.sum())
        below, above = free & (target < least), free & (target > most)
        if not (below | above).any():
            points[free] = target[free]
            break
        # what is too much at one end is missing at the other: the end that is further off is settled first
        if (least - target)[below].sum() >= (target - most)[above].sum():
            points[below], free = least[below], free & ~below
        else:
            points[above], free = most[above], free & ~above
    whole = np.floor(points + 1e-9).astype(np.int64)
    largest = np.argsort(-(points - whole), kind="stable")
    whole[largest[: n - int(whole.sum())]] += 1
    return whole


def allocate_for(
    target_se: float,
    sizes: Sequence[int],
    *,
    method: Allocation = "compromise",
    users: Sequence[float],
    minimum: int | None = None,
) -> NDArray[np.int64]:
    """The fewest points for each stratum, by this rule, that make this standard error of overall accuracy likely.

    Args:
        target_se: Standard error wanted.
        sizes: Pixels of the strata.
        method: As for `allocate`.
        users: Expected user's accuracy of each.
        minimum: As for `allocate`.

    Raises:
        ParameterError: If an accuracy is outside 0 to 1, or the target is not positive.

    Example:
        The 641 points of Olofsson et al. (2014) are for the best allocation:

        >>> sizes, users = [20_000, 15_000, 320_000, 645_000], [0.7, 0.6, 0.9, 0.95]
        >>> [int(allocate_for(0.01, sizes, method=m, users=users).sum()) for m in ("neyman", "compromise", "equal")]
        [641, 689, 1164]
    """
    most, best = sum(sizes), sample_size(sizes, users, target_se=target_se, population=sum(sizes))

    def tried(n: int) -> tuple[NDArray[np.int64], bool]:
        points = allocate(n, sizes, method=method, users=users, minimum=minimum)
        return points, expected_se(points.tolist(), sizes, users) <= target_se * (1 + _BY_ROUNDING)

    fewest = sum(min(max(minimum or 0, _FEWEST), size) for size in sizes)
    low = min(max(math.ceil(best), fewest, 1), most)
    points, enough = tried(low)
    high, step = low, 1
    while not enough:  # all pixels leave no error
        low, high, step = high, min(high + step, most), 2 * step
        points, enough = tried(high)
    while high - low > 1:
        middle = (low + high) // 2
        found, enough = tried(middle)
        if enough:
            points, high = found, middle
        else:
            low = middle
    return points


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Pixels of a sample, by class value and then by row and column."""

    value: NDArray[np.uint8]
    """(n,) class value."""
    row: NDArray[np.int64]
    """(n,) row in the map."""
    col: NDArray[np.int64]
    """(n,) column in the map."""


def draw(held: MapTotals, points: Sequence[int], *, seed: int) -> Drawn:
    """Random pixels of each class, without replacement.

    Which are drawn is decided by their ranks among the pixels of the class in reading order, so the result depends on
    the map and the seed, not on how the file is stored. Memory: one strip of whole rows of blocks.

    Args:
        held: The map with its counts.
        points: Points of each class of the legend, at most its pixels.
        seed: Of the random numbers.

    Raises:
        ParameterError: If a class has fewer pixels than points.
        SceneError: If the map cannot be read, or is no longer what was counted.
    """
    start, nothing = np.zeros(257, dtype=np.int64), np.zeros(0, dtype=np.int64)
    ranks: list[NDArray[np.int64]] = []
    wanted = dict(zip(held.legend.values, points, strict=True))
    for value in range(256):
        n, size = wanted.get(value, 0), int(held.totals.pixels[value])
        if n > size:
            raise ParameterError(f"{n} points of class {value} are wanted and it has {size} pixels: ask for fewer")
        # a generator for each class: more points of one leave those of the others as they are
        ranks.append(np.sort(np.random.default_rng([seed, value]).choice(size, n, replace=False)) if n else nothing)
        start[value + 1] = start[value] + n
    rank = np.concatenate(ranks)
    found = Drawn(
        value=np.repeat(np.arange(256, dtype=np.uint8), np.diff(start)),
        row=np.full(len(rank), -1, dtype=np.int64),
        col=np.full(len(rank), -1, dtype=np.int64),
    )
    following, seen = start[:-1].copy(), np.zeros(256, dtype=np.int64)
    raster = held.raster
    with ClassReader(raster) as reader:
        for row, height in _strips(raster):
            block = reader.read(row, 0, height, raster.geobox.shape[1])
            _pick(block, row, rank, start, following, seen, found.row, found.col)
    if not np.array_equal(seen, held.totals.pixels):
        raise SceneError(f"{printable(raster.href)}: changed while points were drawn from it: run again")
    return found


def design_points(held: MapTotals, drawn: Drawn, *, seed: int, blind: bool = False) -> "gpd.GeoDataFrame":
    """The points at their pixels' centres in the CRS of the map, in random order, with a column to fill in.

    Args:
        held: The map with its counts.
        drawn: Pixels, by class.
        seed: Of the order.
        blind: Whether to hide what the map says: no names, and strata that are numbers in random order.

    Returns:
        ``id``, ``truth`` (empty), ``stratum`` (number of the class), ``class_name``, ``stratum_px`` and ``stratum_m2``
        (pixels and true area of the stratum, so that its weight travels with the sample), ``lon``, ``lat``.
    """
    import geopandas as gpd
    import pandas as pd
    from pyproj import Transformer

    rng = np.random.default_rng([seed, 256])
    order = rng.permutation(len(drawn.value))
    value, row, col = drawn.value[order].astype(np.int64), drawn.row[order] + 0.5, drawn.col[order] + 0.5
    box = held.raster.geobox
    assert box.crs is not None  # a class raster has one
    t = box.transform
    x, y = t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f
    lon, lat = Transformer.from_crs(box.crs.proj, 4326, always_xy=True).transform(x, y)
    lon = np.where(np.abs(lon) > 180, beside(lon, 0.0, 360.0), lon)
    columns: dict[str, Any] = {
        "id": np.arange(1, len(order) + 1),
        "truth": pd.Series([None] * len(order), dtype=object),
        "stratum": None,
    }
    if blind:
        codes = np.zeros(256, dtype=np.int64)
        codes[list(held.legend.values)] = rng.permutation(len(held.legend)) + 1
        columns["stratum"] = codes[value]
    else:
        classes = {c.value: c for c in held.legend}
        columns["stratum"] = np.array([classes[v].class_id for v in value.tolist()], dtype=np.int64)
        columns["class_name"] = [classes[v].name for v in value.tolist()]
    columns["stratum_px"] = held.totals.pixels[value]
    columns["stratum_m2"] = held.totals.area_m2(held.areas.unit_m2)[value]
    return gpd.GeoDataFrame(columns | {"lon": lon, "lat": lat}, geometry=gpd.points_from_xy(x, y), crs=box.crs.proj)


def _spread(users: Sequence[float]) -> NDArray[np.float64]:
    accuracy = np.array(users, dtype=np.float64)
    if not ((accuracy >= 0) & (accuracy <= 1)).all():
        raise ParameterError(f"expected accuracies {', '.join(map(str, users))}: give shares from 0 to 1")
    return np.sqrt(accuracy * (1 - accuracy))


def _strips(raster: ClassRaster) -> list[tuple[int, int]]:
    """First row and height of strips of whole rows, along the file's blocks."""
    height, width = raster.geobox.shape
    rows = raster.block_shape[0] * max(1, _STRIP_PIXELS // (raster.block_shape[0] * width))
    return [(row, min(rows, height - row)) for row in range(0, height, rows)]


@njit(nogil=True, cache=True)
def _pick(
    block: NDArray[np.uint8],
    row_off: int,
    rank: NDArray[np.int64],
    start: NDArray[np.int64],
    following: NDArray[np.int64],
    seen: NDArray[np.int64],
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
) -> None:
    """Note where the pixels of the wanted ranks are; ``seen`` and ``following`` go on from strip to strip."""
    for r in range(block.shape[0]):
        for c in range(block.shape[1]):
            v = block[r, c]
            i = following[v]
            if i < start[v + 1] and rank[i] == seen[v]:
                rows[i] = row_off + r
                cols[i] = c
                following[v] += 1
            seen[v] += 1
