"""Accuracy and area from a map and a reference sample: the ratio estimator of Stehman (2014), once, for all cases.

Every accuracy and every share of area is a ratio of two totals, R = Y / X, of values y and x of the sampled pixels:

    overall accuracy            y = [map = reference]           x = 1
    area share of class k       y = [reference = k]             x = 1
    user's accuracy of k        y = [map = k = reference]       x = [map = k]
    producer's accuracy of k    y = [map = k = reference]       x = [reference = k]

A total is estimated per stratum and summed. Strata may be anything: where they are the map classes this is Olofsson et
al. (2013, 2014) to the last digit, one stratum alone is a simple random sample.

Where pixels differ in area (degrees), y and x are multiplied by the pixel's area, because pixels were drawn with equal
probability. The true area of each stratum is known from the map, so its total is the known area times the ratio of
sampled areas (Cochran 1977, chapter 6, separate ratio estimator): a map without errors then gives its own areas,
without variance. With equal areas nothing of this is left in the formulas.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.area.estimate_notes import notes_on
from geoseg.area.sample import Floats, Sample, Strata, check_sample, pooled
from geoseg.errors import ParameterError

__all__ = ["AreaEstimates", "Estimate", "Sampling", "estimate_areas", "normal_quantile"]

Sampling = Literal["stratified", "random", "post-stratified"]
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """Estimates with standard errors; NaN is what the sample says nothing of."""

    value: Floats
    """One, or one for each class."""
    se: Floats
    """Standard errors, NaN where there is no variance to be had."""
    quantile: float
    """Standard errors on each side of the interval."""

    @property
    def low(self) -> Floats:
        """Lower end of the interval; as in the papers it is not cut off at 0."""
        return np.asarray(self.value - self.quantile * self.se)

    @property
    def high(self) -> Floats:
        """Upper end of the interval; not cut off at 1 or at the area of the map."""
        return np.asarray(self.value + self.quantile * self.se)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AreaEstimates:
    """What a reference sample says about a map."""

    classes: tuple[str, ...]
    """Class names, in the order of all arrays."""
    counts: NDArray[np.int64]
    """(k, k) points, rows by map class, columns by reference class."""
    cells: Floats
    """(k, k) estimated shares of the area, rows by map class, columns by reference class; they sum to 1."""
    overall: Estimate
    """Overall accuracy."""
    users: Estimate
    """(k,) user's accuracy: share of what is mapped as k that is k."""
    producers: Estimate
    """(k,) producer's accuracy: share of what is k that is mapped as k."""
    share: Estimate
    """(k,) share of the area that is k."""
    area: Estimate
    """(k,) area that is k, in the unit of ``total_area``."""
    total_area: float
    """Area that the shares are of: that of all strata with points."""
    points_by_stratum: NDArray[np.int64]
    """(h,) points used."""
    level: float
    """Confidence level of the intervals."""
    notes: tuple[str, ...]
    """What has to be said about these numbers."""


def normal_quantile(level: float) -> float:
    """Standard errors on each side of an interval of this confidence; 1.96 at 0.95, as the papers have it.

    Raises:
        ParameterError: If the level is not between 0 and 1.

    Example:
        >>> normal_quantile(0.95), round(normal_quantile(0.9), 4)
        (1.96, 1.6449)
    """
    if not 0 < level < 1:
        raise ParameterError(f"confidence level {level} is not between 0 and 1: 0.95 is the usual one")
    return 1.96 if level == 0.95 else NormalDist().inv_cdf((1 + level) / 2)


def estimate_areas(
    sample: Sample,
    strata: Strata,
    classes: Sequence[str],
    *,
    total_area: float | None = None,
    sampling: Sampling = "stratified",
    fpc: bool = False,
    level: float = 0.95,
) -> AreaEstimates:
    """Accuracy and error-adjusted areas of the classes of a map.

    Strata without a point are left out of the population, which a note says. In a stratum with one point there is no
    variance: standard errors that it would be part of are NaN. The area of a class that only strata without a point are
    mapped as, and that no point is, is NaN.

    Args:
        sample: The reference points.
        strata: Where they were drawn from.
        classes: Names of the classes that the sample's indices mean.
        total_area: Area of the whole map, that of all strata; by default the sum of their areas, else of their sizes.
        sampling: ``stratified``, points were drawn in each stratum; ``random``, at random or on a grid over the whole,
            and the strata are only its parts; ``post-stratified``, drawn so, but estimated by strata (Cochran 1977,
            5A.42).
        fpc: Whether variances get the finite population correction; a stratum of one pixel that was drawn
            has no variance without it, too. It assumes that no pixel was drawn twice. The papers on maps leave it out
            (Olofsson) or have it (Stehman); for small samples of large maps it is nothing.
        level: Confidence level of the intervals, from the normal distribution.

    Raises:
        ParameterError: If there is no point, an index is out of range, a stratum with points has no size, or the
            sizes are below the numbers of points where they are to correct variances.

    Example:
        Deforestation, with 10 % of the map in stratum ``mapped as loss`` and one omission in the other:

        >>> estimates = estimate_areas(
        ...     Sample(
        ...         stratum=np.repeat([0, 1], 50),
        ...         mapped=np.repeat([0, 1], 50),
        ...         reference=np.repeat([0, 1, 0, 1], [45, 5, 1, 49]),
        ...     ),
        ...     Strata(names=("loss", "rest"), sizes=np.array([10.0, 90.0])),
        ...     ("loss", "rest"),
        ... )
        >>> estimates.share.value.round(3).tolist(), estimates.share.se.round(4).tolist()
        ([0.108, 0.892], [0.0185, 0.0185])

    Reference: Stehman (2014), Int. J. Remote Sens. 35(13):4923-4939, equations 3, 25, 27, 28.
    """
    if sampling == "random":
        sample, strata = pooled(sample, strata)
    check_sample(sample, strata, len(classes), fpc=fpc)
    quantile = normal_quantile(level)
    n_by_stratum = np.bincount(sample.stratum, minlength=len(strata.names))
    extent = strata.sizes if strata.areas is None else strata.areas
    covered = float(extent[n_by_stratum > 0].sum() / extent.sum())
    covered_area = covered * (float(extent.sum()) if total_area is None else total_area)
    weighing = _Weighing.of(sample, strata, post_stratified=sampling == "post-stratified", fpc=fpc)

    order = weighing.order
    mapped, reference = sample.mapped[order], sample.reference[order]
    inside = mapped >= 0
    area = np.where(inside, 1.0 if sample.areas is None else sample.areas[order], 0.0)
    k = np.arange(len(classes))
    is_map = (mapped[:, None] == k) * area[:, None]  # (n, k)
    is_ref = ((reference[:, None] == k) & inside[:, None]) * area[:, None]
    both = is_map * (reference[:, None] == k)
    holds = strata.holds
    if holds is None:
        holds = np.ones((len(strata.names), len(classes)), dtype=np.bool_)

    def ratio(y: Floats, x: Floats, part: NDArray[np.bool_] | None = None) -> Estimate:
        value, se = weighing.ratio(y, x, part)
        return Estimate(value=value, se=se, quantile=quantile)

    overall = ratio(both.sum(axis=1, keepdims=True), area[:, None])
    share = ratio(is_ref, area[:, None])
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (mapped[inside], reference[inside]), 1)
    cells = np.zeros((len(classes), len(classes)))
    np.add.at(cells, (mapped[inside], reference[inside]), (weighing.expansion * area)[inside])
    stands_for = weighing.expansion * area / cells.sum()
    most = np.array([stands_for[mapped != i].max(initial=0.0) for i in k])
    coarseness = np.divide(most, share.value, out=np.zeros(len(k)), where=share.value > 0)
    below = (share.low < 0) & (share.value > 0)
    # of a class that only strata without points are mapped as, and that no point is, nothing is known
    sampled = holds[n_by_stratum > 0].any(axis=0)
    unknown = holds.any(axis=0) & ~sampled & (counts.sum(axis=0) == 0)
    value, se = (np.where(unknown, np.nan, v) for v in (share.value, share.se))
    share = Estimate(value=value, se=se, quantile=quantile)
    return AreaEstimates(
        classes=tuple(classes),
        counts=counts,
        cells=cells / cells.sum(),
        overall=Estimate(value=overall.value[0], se=overall.se[0], quantile=quantile),
        users=ratio(both, is_map, holds),
        producers=ratio(both, is_ref),
        share=share,
        area=Estimate(value=share.value * covered_area, se=share.se * covered_area, quantile=quantile),
        total_area=covered_area,
        points_by_stratum=n_by_stratum,
        level=level,
        notes=notes_on(
            strata,
            classes,
            n_by_stratum,
            counts,
            holds,
            unknown,
            below,
            coarseness,
            covered,
            post_stratified=sampling == "post-stratified",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Weighing:
    """How the values of the points, sorted by stratum, become totals and variances."""

    order: NDArray[np.int64]
    """(n,) points by stratum."""
    starts: NDArray[np.int64]
    """(g,) first point of each stratum that has any."""
    n: NDArray[np.int64]
    """(g,) points of these strata."""
    used: NDArray[np.int64]
    """(g,) which strata these are."""
    size: Floats
    """(n,) what is known of every pixel and, summed, of each stratum: 1, or the area."""
    mean_size: Floats
    """(g,) its mean over the points."""
    factor: Floats
    """(g,) from the mean of a value to its total in the stratum."""
    spread: Floats
    """(g,) from the variance of a value to that of the total."""

    @classmethod
    def of(cls, sample: Sample, strata: Strata, *, post_stratified: bool, fpc: bool) -> "_Weighing":
        order = np.argsort(sample.stratum, kind="stable")
        used, starts, n = np.unique(sample.stratum[order], return_index=True, return_counts=True)
        sizes = strata.sizes[used]
        # beyond the map a pixel's area is not known, so that the areas of strata that reach there are of no help
        by_area = sample.areas is not None and strata.areas is not None and bool((sample.mapped >= 0).all())
        if by_area:
            assert sample.areas is not None
            assert strata.areas is not None
            size, known = sample.areas[order], strata.areas[used]
        else:
            size, known = np.ones(len(order)), sizes
        mean_size = np.add.reduceat(size, starts) / n
        factor = known / mean_size
        # a pixel that is all of its stratum is known, whatever is assumed of the others; sizes may be shares, too
        is_whole = (n == 1) & (sizes == 1) & (strata.sizes.sum() > 1)
        left = 1 - n / sizes if fpc else np.where(is_whole, 0.0, 1.0)
        if post_stratified:
            weight, total = sizes / sizes.sum(), n.sum()
            spread = (factor / weight) ** 2 * (weight * left / total + (1 - weight) / total**2)
        else:
            spread = factor**2 * left / n
        return cls(
            order=order, starts=starts, n=n, used=used, size=size, mean_size=mean_size, factor=factor, spread=spread
        )

    @property
    def expansion(self) -> Floats:
        """(n,) pixels, or pixels corrected for the area known, that a point stands for."""
        return np.asarray(np.repeat(self.factor / self.n, self.n))

    def ratio(self, y: Floats, x: Floats, part: NDArray[np.bool_] | None) -> tuple[Floats, Floats]:
        """Ratios of totals and their standard errors, by column.

        Args:
            y: (n, m) values, sorted by stratum.
            x: (n, m) or (n, 1) values.
            part: (h, m) whether a stratum can have any part in a ratio; None where all have.
        """
        total_y, total_x = (self.factor @ self._means(values) for values in (y, x))
        total_x = np.broadcast_to(total_x, total_y.shape)
        defined = total_x > 0
        value = np.full(total_y.shape, np.nan)
        np.divide(total_y, total_x, out=value, where=defined)
        z = y - np.where(defined, value, 0.0) * x
        per_size = self._means(z) / self.mean_size[:, None]
        residual = z - self.size[:, None] * np.repeat(per_size, self.n, axis=0)
        residual[np.abs(residual) <= _ROUNDING * np.abs(z).max(axis=0)] = 0.0  # where all points of a stratum agree
        squares = np.add.reduceat(residual**2, self.starts, axis=0)
        # one point has no variance, unless it is all there is, or has no part in this
        alone = np.broadcast_to(((self.n == 1) & (self.spread > 0))[:, None], squares.shape)
        if part is not None:
            alone = alone & part[self.used]
        variance = np.where(alone, np.nan, squares / np.maximum(self.n - 1, 1)[:, None])
        se = np.full(total_y.shape, np.nan)
        np.divide(np.sqrt(self.spread @ variance), total_x, out=se, where=defined)
        return value, se

    def _means(self, values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, self.starts, axis=0) / self.n[:, None])
