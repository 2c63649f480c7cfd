"""A class map against reference points: which strata, which pixels, what is left out, and the estimates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from geoseg.area.estimate import AreaEstimates, Sampling, estimate_areas
from geoseg.area.population import MapTotals, strata_by_class, strata_by_raster
from geoseg.area.reference import Places, ReferencePoints, areas_at, classes_at, places_of
from geoseg.area.sample import Sample, Strata
from geoseg.errors import InputError, ParameterError, printable
from geoseg.scene.class_raster import ClassRaster

__all__ = ["Assessment", "assess"]

_UNLIKELY = 1e-6
"""Probability below which points do not look drawn at random; for a sample on a grid it is lower still."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assessment:
    """The estimates for a map, with what was done to get them."""

    held: MapTotals
    """The map with its counts."""
    estimates: AreaEstimates
    """Areas in m², classes in the order of the legend of ``held``."""
    notes: tuple[str, ...]
    """What has to be said: of the points first, then of the estimates."""


def assess(
    held: MapTotals,
    points: ReferencePoints,
    *,
    strata: ClassRaster | None = None,
    sampling: Sampling = "stratified",
    fpc: bool = False,
    level: float = 0.95,
) -> Assessment:
    """Accuracy and error-adjusted areas of a map from reference points.

    The strata are those of ``strata`` if given, else those that the points name, else the classes of the map. Points
    on nodata or outside the map are left out and counted. Where the points name their strata, these may reach beyond
    the map (the map of one scene, the sample of a country): such points then stay in the sample as zeros, so that the
    estimates are for the part of the strata that the map shows (Stehman 2014, the domain as an indicator).

    Args:
        held: The map with its counts.
        points: Reference points, labelled in the legend of ``held``.
        strata: A raster of the strata on the grid of the map.
        sampling: How the points were drawn, as for `estimate_areas`.
        fpc: Whether variances get the finite population correction.
        level: Confidence level of the intervals.

    Raises:
        InputError: If no point can be used.
        ParameterError: If the options contradict each other, or for what `estimate_areas` refuses.
    """
    if sampling == "random" and (strata is not None or points.strata is not None):
        raise ParameterError(
            "points of a random sample are not drawn from strata: leave the strata out, or post-stratify by them"
        )
    places = places_of(points.x, points.y, held.raster.geobox)
    mapped = held.index_of(classes_at(held.raster, places))
    areas = areas_at(held.areas, places)
    seen = mapped >= 0
    from_column = strata is None and points.strata is not None
    by_class = strata is None and points.strata is None and sampling == "stratified"
    notes = _notes_on_points(points, places, seen, by_class=by_class, beyond=from_column)
    if by_class and points.drawn_from is not None:
        ids = np.array(held.legend.class_ids)[mapped[seen]]
        if not np.array_equal(points.drawn_from[seen], ids):
            notes.append("the points name other strata that they were drawn from: --strata stratum uses those")
    if sampling != "stratified":
        notes += _notes_on_chance(held, np.bincount(mapped[seen], minlength=len(held.pixels)))
    if points.strata is not None and strata is None:
        used, index = np.ones(len(seen), dtype=np.bool_), points.strata.index
        parts = Strata(names=points.strata.names, sizes=points.strata.pixels, areas=points.strata.areas_m2)
    elif strata is not None:
        parts, by_value = strata_by_raster(held, strata)
        index = by_value[classes_at(strata, places)]
        used = seen & (index >= 0)
        outside = int((seen & (index < 0)).sum())
        notes += [f"{_points(outside)} on no stratum left out"] if outside else []
        shown = float(parts.sizes.sum() / held.pixels.sum())
        if shown < 1:
            notes.append(f"the strata cover {100 * shown:.4g} % of the map: all estimates are for that part only")
    else:
        parts, index, used = strata_by_class(held), mapped, seen
    if not (seen & used).any():
        raise InputError(
            f"{printable(points.path)}: none of its points can be used"
            + "".join(f"; {note}" for note in notes if "left out" in note)
            + f"; check that they are labelled and lie on {printable(held.raster.href)}"
        )
    sample = Sample(stratum=index[used], mapped=mapped[used], reference=points.truth[used], areas=areas[used])
    estimates = estimate_areas(
        sample,
        parts,
        held.legend.names,
        # strata from a column may be those of more than this map
        total_area=float(held.areas_m2.sum()) if from_column else None,
        sampling=sampling,
        fpc=fpc,
        level=level,
    )
    return Assessment(held=held, estimates=estimates, notes=(*notes, *estimates.notes))


def _notes_on_chance(held: MapTotals, drawn: NDArray[np.int64]) -> list[str]:
    """Whether each class has about as many points as a random sample of the map gives it.

    Args:
        held: The map with its counts.
        drawn: (k,) points on each class of the map.
    """
    expected = drawn.sum() * held.pixels / held.pixels.sum()
    rare = expected < 5  # too few for the chi-squared distribution: together one cell
    cells = np.stack([np.append(n[~rare], n[rare].sum()) for n in (drawn, expected)])
    statistic = float((np.diff(cells, axis=0)[0] ** 2 / np.maximum(cells[1], 1)).sum())
    if chi2.sf(statistic, max(1, cells.shape[1] - 1)) >= _UNLIKELY:
        return []
    worst = int(np.argmax((drawn - expected) ** 2 / np.maximum(expected, 1)))
    said = (
        f"warning: the points do not look drawn at random from the whole map: {drawn[worst]} lie on "
        f"{held.legend.names[worst]}, where {expected[worst]:.2g} were to be expected; if they were drawn by stratum, "
        "areas and accuracies are wrong: leave --sampling out"
    )
    return [said]


def _notes_on_points(
    points: ReferencePoints,
    places: Places,
    seen: NDArray[np.bool_],
    *,
    by_class: bool,
    beyond: bool,
) -> list[str]:
    """What became of the points.

    Args:
        points: The points.
        places: Their pixels.
        seen: (n,) whether the map has a class there.
        by_class: Whether they are taken as drawn from each class of the map.
        beyond: Whether their strata may reach beyond the map.
    """
    notes = []
    if by_class:
        notes.append("taken as drawn at random within each class of the map; see --sampling and --strata")
    within, kept = places.inside & ~seen, "left out" if not beyond else "kept as land beyond it"
    for n, what in (
        (points.n_unlabelled, "without a label left out"),
        (points.n_nowhere, "without a position left out"),
        (int((~places.inside).sum()), f"outside the map {kept}"),
        (int(within.sum()), f"on nodata {kept}"),
    ):
        notes += [f"{_points(n)} {what}"] if n else []
    pixel = np.stack([places.row, places.col])[:, seen]
    shared = pixel.shape[1] - np.unique(pixel, axis=1).shape[1]
    if shared:
        notes.append(f"{_points(shared)} in a pixel that has one already: all are used, as if drawn twice")
    return notes


def _points(n: int) -> str:
    return f"{n} point{'' if n == 1 else 's'}"
