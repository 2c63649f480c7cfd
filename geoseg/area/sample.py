"""The reference sample of a map and the strata it was drawn from, as values."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError, printable

__all__ = ["Sample", "Strata", "check_sample", "listed", "pooled"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strata:
    """The parts of the map that the sample was drawn from."""

    names: tuple[str, ...]
    """How they are called in notes."""
    sizes: Floats
    """(h,) pixels of the whole map, after nodata; without finite population correction anything proportional."""
    areas: Floats | None = field(default=None)
    """(h,) true area, in the unit of `Sample.areas`; None where pixels count alike or it is not known."""
    holds: NDArray[np.bool_] | None = field(default=None)
    """(h, k) whether the map has class k in stratum h; None where that is not known."""

    def __post_init__(self) -> None:
        n = len(self.names)
        if n == 0 or self.sizes.shape != (n,) or (self.areas is not None and self.areas.shape != (n,)):
            raise ParameterError(f"{n} strata with sizes of shape {self.sizes.shape}: give one size for each")
        if not (np.isfinite(self.sizes).all() and (self.sizes >= 0).all() and self.sizes.sum() > 0):
            raise ParameterError("strata have sizes that are negative, missing or all zero: give their pixel counts")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """The reference points, each a pixel with what the map and what the reference say."""

    stratum: NDArray[np.int64]
    """(n,) index of the stratum it was drawn from."""
    mapped: NDArray[np.int64]
    """(n,) index of its class in the map; -1 where the strata reach beyond the map and the point is outside."""
    reference: NDArray[np.int64]
    """(n,) index of its class in the reference; not looked at outside the map."""
    areas: Floats | None = field(default=None)
    """(n,) true area of its pixel, positive; None where all pixels count alike."""

    def __post_init__(self) -> None:
        for name in ("mapped", "reference", "areas"):
            values = getattr(self, name)
            if values is not None and values.shape != self.stratum.shape:
                raise ParameterError(
                    f"{len(self.stratum)} points have {name} of shape {values.shape}: give one for each"
                )


def pooled(sample: Sample, strata: Strata) -> tuple[Sample, Strata]:
    """The same points, drawn from one stratum of all."""
    return (
        Sample(
            stratum=np.zeros_like(sample.stratum),
            mapped=sample.mapped,
            reference=sample.reference,
            areas=sample.areas,
        ),
        Strata(
            names=("the whole map",),
            sizes=strata.sizes.sum(keepdims=True),
            areas=None if strata.areas is None else strata.areas.sum(keepdims=True),
            holds=None if strata.holds is None else np.asarray(strata.holds.any(axis=0, keepdims=True)),
        ),
    )


def check_sample(sample: Sample, strata: Strata, n_classes: int, *, fpc: bool) -> None:
    """Refuse points that do not fit the strata and classes.

    Raises:
        ParameterError: If no point is on the map, an index is out of range, a stratum with points has no size, or
            fewer pixels than points where the finite population correction is wanted.
    """
    if not (sample.mapped >= 0).any():
        raise ParameterError("no reference point is on the map: nothing can be estimated")
    inside = sample.mapped >= 0
    for what, index, most in (
        ("stratum", sample.stratum, len(strata.names)),
        ("map class", sample.mapped[inside], n_classes),
        ("reference class", sample.reference[inside], n_classes),
    ):
        if index.min() < 0 or index.max() >= most:
            raise ParameterError(f"a point has {what} {index.min()} to {index.max()}: there are 0 to {most - 1}")
    if sample.areas is not None and not (sample.areas[inside] > 0).all():
        raise ParameterError("a reference point lies in a pixel without area: it is beyond the pole; leave it out")
    drawn = np.bincount(sample.stratum, minlength=len(strata.names))
    empty = (drawn > 0) & (strata.sizes <= 0)
    if empty.any():
        raise ParameterError(
            f"{listed(strata.names, empty)} has reference points but a size of 0: "
            "give the strata that the points were drawn from"
        )
    if fpc and (drawn > strata.sizes).any():
        raise ParameterError(
            f"more reference points than pixels in {listed(strata.names, drawn > strata.sizes)}: "
            "give sizes in pixels, or leave the finite population correction out"
        )


def listed(names: Sequence[str], chosen: NDArray[np.bool_] | None = None) -> str:
    """Names with commas, those chosen; after the first six their number."""
    wanted = [n for n, ok in zip(names, chosen, strict=True) if ok] if chosen is not None else list(names)
    shown = ", ".join(printable(name) for name in wanted[:6])
    return shown if len(wanted) <= 6 else f"{shown} and {len(wanted) - 6} more"
