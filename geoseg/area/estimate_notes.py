"""What has to be said beside estimates from a reference sample, so that nothing about them is hidden."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.area.sample import Strata, listed

__all__ = ["FEW", "FEW_OMISSIONS", "notes_on"]

FEW: Final = 20
"""Reference points below which a stratum's variance is itself too uncertain (practice asks for 20 to 30)."""

FEW_OMISSIONS: Final = 5
"""Points of a class that was mapped as another, below which its interval is short: none found counts as none there."""


def notes_on(
    strata: Strata,
    classes: Sequence[str],
    n_by_stratum: NDArray[np.int64],
    counts: NDArray[np.int64],
    holds: NDArray[np.bool_],
    unknown: NDArray[np.bool_],
    below: NDArray[np.bool_],
    coarseness: NDArray[np.float64],
    covered: float,
    *,
    post_stratified: bool = False,
) -> tuple[str, ...]:
    """What a reader of the numbers has to know, one sentence each.

    Args:
        strata: As for `geoseg.area.estimate.estimate_areas`.
        classes: (k) names.
        n_by_stratum: (h,) points.
        counts: (k, k) points, rows by map class.
        holds: (h, k) whether a stratum holds a map class.
        unknown: (k,) whether nothing is known of a class, as only strata without points are mapped as it.
        below: (k,) whether the interval of a class' area reaches below 0.
        coarseness: (k,) what one more omission, at a point that stands for most, would add to the area of a class,
            relative to it.
        covered: Share of the map that lies in strata with points.
        post_stratified: Whether the sample was drawn without regard to the strata: else a pixel that is all of its
            stratum has a variance, of zero.
    """
    notes = []
    missed = (n_by_stratum == 0) & (strata.sizes > 0)
    single = (n_by_stratum == 1) & (post_stratified | (strata.sizes > 1))
    if missed.any():
        notes.append(
            f"no reference point in {listed(strata.names, missed)}, {_percent(1 - covered)} of the map: "
            "all estimates are for the rest only"
        )
    if single.any():
        notes.append(
            f"one reference point in {listed(strata.names, single)}: it has no variance, so standard errors it "
            "is part of are left empty; label more points there, or merge the stratum with another"
        )
    few = [f"{name} ({n})" for name, n in zip(strata.names, n_by_stratum, strict=True) if 1 < n < FEW]
    if few:
        notes.append(f"fewer than {FEW} reference points in {listed(few)}: standard errors are themselves uncertain")
    in_map, in_reference = holds.any(axis=0), counts.sum(axis=0) > 0
    unseen = in_map & ~in_reference & ~unknown
    if unseen.any():
        notes.append(
            f"never seen in the reference: {listed(classes, unseen)}: area estimated as 0, producer's accuracy "
            "not defined"
        )
    unmapped = ~in_map & in_reference
    if unmapped.any():
        notes.append(f"in the reference but not in the map: {listed(classes, unmapped)}")
    faultless = (counts.sum(axis=1) > 0) & (np.diag(counts) == counts.sum(axis=1))
    if faultless.any():
        notes.append(
            f"no error among the points mapped as {listed(classes, faultless)}: that counts as no variance, "
            "which is not certainty"
        )
    omissions = counts.sum(axis=0) - np.diag(counts)
    unsure = in_reference & (omissions < FEW_OMISSIONS) & (coarseness > 0.1)
    if unsure.any():
        notes.append(
            f"fewer than {FEW_OMISSIONS} points show omissions of {listed(classes, unsure)}, and one more could add "
            "over 10 % to the area: their intervals are likely too short; more points in the large strata, or a "
            "stratum of their surroundings, would tell"
        )
    if below.any():
        notes.append(
            f"the interval of {listed(classes, below)} reaches below 0: too few points of the class for the "
            "normal distribution"
        )
    return tuple(notes)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
