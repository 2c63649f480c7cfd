"""One prediction against one reference, block by block, in threads, in memory that does not grow with the map."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.area.metric import Metric
from geoseg.area.pixel_area import PixelAreas
from geoseg.area.zone_grid import place_zones
from geoseg.area.zone_sums import zone_sums
from geoseg.area.zones import Zones
from geoseg.change.legends import named_class
from geoseg.change.maps import ClassSource
from geoseg.change.shares import ClassShares
from geoseg.errors import InputError, ParameterError, printable
from geoseg.evaluate.border_sums import N_BORDER_SUMS
from geoseg.evaluate.boundary import border_blocks, count_borders, in_metres
from geoseg.evaluate.counts import MapCounts, count_block
from geoseg.evaluate.instances import Matches, match_objects
from geoseg.evaluate.objects import find_objects
from geoseg.evaluate.plan import BLOCK_PX, Matching, Plan
from geoseg.evaluate.probabilities import ShareCounts, count_shares
from geoseg.evaluate.ruler import BorderRule, Ruler
from geoseg.inference.lattice import Block
from geoseg.kernels import njit
from geoseg.legend import Legend

__all__ = ["SceneScores", "score_scene"]

_REST = 255


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneScores:
    """What is known of one scene."""

    name: str
    """What it is called."""
    plan: Plan
    """How it was held against its reference."""
    counts: MapCounts
    """What was counted."""
    unit_m2: float
    """Square metres in a unit of area of the counts."""
    borders: NDArray[np.float64] | None = None
    """(K, n) sums of borders in pixels and metres, see `geoseg.evaluate.boundary`; None where they were not asked
    for."""
    shares: ShareCounts | None = None
    """Of class probabilities; None where there are none."""
    objects: dict[int, Matches] = field(default_factory=dict)
    """Objects found and missed, by the place of their class; those of classes that were asked for."""
    by_zone: NDArray[np.float64] | None = None
    """(zones, K, K, 2) pixels and square metres, those on a zone's border by the part that is inside; None where no
    zones were given."""
    notes: tuple[str, ...] = ()
    """What a user wants to know."""

    @property
    def legend(self) -> Legend:
        """Classes of prediction and reference."""
        return self.plan.legend


def score_scene(
    name: str,
    prediction: ClassSource,
    reference: ClassSource,
    executor: Executor,
    *,
    matching: Matching | None = None,
    borders: BorderRule | None = None,
    instances: Sequence[str] = (),
    zones: Zones | None = None,
    listen: Callable[[Block], Any] = lambda _: None,
) -> SceneScores:
    """Hold a prediction against a reference.

    Args:
        name: What the scene is called.
        prediction: What is scored; with confidence and probabilities, these are scored too.
        reference: What is true.
        executor: Runs the work on blocks.
        matching: How classes are brought together.
        borders: What is a border in the right place, where that is wanted.
        instances: Classes, by name or value, whose objects are to be found.
        zones: Where scores are wanted for, too.
        listen: Told of every block that is done.

    Raises:
        InputError: If the two do not overlap, or have no pixel in common.
        ParameterError: If their classes have nothing in common.
    """
    matching = matching or Matching()
    while True:
        plan = Plan.of(prediction, reference, matching)
        areas = PixelAreas.of(plan.geobox)
        counts = MapCounts.zero(plan)
        for found in executor.map(partial(count_block, plan, areas), plan.blocks()):
            counts = counts.plus(plan, found)
            listen(found.block)
        if not any(counts.lacking):
            break
        # a file may name some of its classes only
        reference, prediction = (
            replace(source, legend=source.extend(values))
            for source, values in zip((reference, prediction), counts.lacking, strict=True)
        )
    if not counts.compared.any():
        raise InputError(
            f"{prediction.name} and {reference.name} have no pixel that has a class in both: nothing can "
            "be scored; check their nodata values with gdalinfo"
        )
    notes = list(plan.notes)
    if counts.n_unmapped:
        share = counts.n_unmapped / int(counts.pixels[:-1].sum())
        notes.append(
            f"{100 * share:.4g} % of the pixels of {reference.name} have no class in {prediction.name} and are left out"
        )
    by_zone = None
    if zones is not None:
        by_zone, said = _by_zone(plan, areas, counts, zones)
        notes += said
    return SceneScores(
        name=name,
        plan=plan,
        counts=counts,
        unit_m2=areas.unit_m2,
        borders=None if borders is None else _borders(plan, borders, executor),
        objects=_objects(plan, instances, executor),
        shares=None if prediction.shares is None else _shares(plan, prediction.shares, executor),
        by_zone=by_zone,
        notes=tuple(dict.fromkeys(notes)),
    )


def _borders(plan: Plan, rule: BorderRule, executor: Executor) -> NDArray[np.float64]:
    """Sums of the borders of all classes, in pixels and metres."""
    ruler = Ruler.of(Metric.of(plan.geobox), rule)
    total = np.zeros((len(plan.legend), N_BORDER_SUMS), dtype=np.int64)
    for found in executor.map(partial(count_borders, plan, ruler), border_blocks(plan)):
        total += found
    return in_metres(total, ruler)


def _objects(plan: Plan, instances: Sequence[str], executor: Executor) -> dict[int, Matches]:
    """What became of the objects of some classes; none of a class that a scene of labels without names lacks."""
    named = [named_class(plan.legend, text) for text in instances]
    missing = [t for t, c in zip(instances, named, strict=True) if c is None and not (t.isascii() and t.isdigit())]
    if missing:
        known = ", ".join(printable(n) for n in plan.legend.names[:10])
        raise ParameterError(
            f"objects of {printable(missing[0])!r} are asked for, and there is no such class ({known})"
        )
    things = [plan.legend.values.index(c.value) for c in named if c is not None]
    if not things:
        return {}
    found = find_objects(plan, things, executor)
    return {k: match_objects(found, k) for k in things}


def _shares(plan: Plan, shares: ClassShares, executor: Executor) -> ShareCounts:
    return sum(executor.map(partial(count_shares, plan, shares), plan.blocks()), ShareCounts.zero())


def _by_zone(
    plan: Plan, areas: PixelAreas, counts: MapCounts, zones: Zones
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Pixels and areas of each pair of classes in each zone; both are read once for each 255 pairs that occur."""
    k = len(plan.legend)
    placed, pairs = place_zones(zones, plan.geobox), np.argwhere(counts.compared)
    out = np.zeros((len(zones), k, k, 2))
    for first in range(0, len(pairs), _REST):
        some = pairs[first : first + _REST]
        numbers = np.full((256, 256), _REST, dtype=np.uint8)
        numbers[some[:, 0], some[:, 1]] = np.arange(len(some))

        def numbered(
            row_off: int, col_off: int, height: int, width: int, numbers: NDArray[np.uint8] = numbers
        ) -> NDArray[np.uint8]:
            both = plan.pixels(Block(row_off=row_off, col_off=col_off, height=height, width=width))
            return np.asarray(_numbered(both.truth, both.mapped, numbers))

        found = zone_sums(numbered, placed, areas, n_zones=len(zones), block=(BLOCK_PX, BLOCK_PX))
        # a pair that no zone has is in the last column, of zeros
        sums = np.pad(found.whole + found.part, ((0, 0), (0, 1), (0, 0)))
        out[:, some[:, 0], some[:, 1]] = sums[:, found.column[np.arange(len(some))]]
    out[..., 1] *= areas.unit_m2
    return out, placed.notes


@njit(nogil=True, cache=True)
def _numbered(truth: NDArray[np.uint8], mapped: NDArray[np.uint8], numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Number of the pair of each pixel."""
    out = np.empty(truth.shape, dtype=np.uint8)
    for r in range(truth.shape[0]):
        for c in range(truth.shape[1]):
            out[r, c] = numbers[truth[r, c], mapped[r, c]]
    return out
