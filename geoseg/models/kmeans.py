"""Unsupervised classes: cluster centres of a scene's own pixels (Lloyd 1982, seeded by k-means++)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError, ParameterError
from geoseg.legend import default_color
from geoseg.models.card import CardClass, ModelCard

__all__ = ["DEFAULT_CLUSTERS", "MAX_CLUSTERS", "Centres", "fit_centres", "kmeans_card"]

DEFAULT_CLUSTERS = 6
"""Clusters of plain ``kmeans``."""
MAX_CLUSTERS = 32
"""More could not be told apart by colour."""

_ITERATIONS = 100
_UNUSED = 1000.0
"""Where a centre without pixels lies, in standard deviations: no pixel is nearest to it."""
_MIN_SPREAD = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Centres:
    """Cluster centres in standardised units, the darkest first."""

    mean: tuple[float, ...]
    """Per band, in the units of the samples."""
    std: tuple[float, ...]
    """Per band, above 0; 1 for a constant band."""
    centres: tuple[tuple[float, ...], ...]
    """Per cluster and band: (physical value - mean) / std."""
    spread: float
    """Standard deviation of the samples about their centres, pooled over bands and clusters, in standardised units."""


def kmeans_card(k: int = DEFAULT_CLUSTERS) -> ModelCard:
    """The card of ``kmeans:k``: any bands in any unit, classes ``cluster 1`` (the darkest) to ``cluster k``.

    Raises:
        ModelError: If k is not from 2 to 32.
    """
    if not 2 <= k <= MAX_CLUSTERS:
        raise ModelError(f"kmeans:{k} asks for {k} clusters: choose from 2 to {MAX_CLUSTERS}")
    return ModelCard(
        name="kmeans",
        version="1",
        description=(
            f"{k} clusters of the scene's own pixels, the darkest first, in any bands. "
            "The clusters have no meaning until someone looks at them, and differ from scene to scene."
        ),
        license="Apache-2.0",
        kind="kmeans",
        units="any",
        # one pixel at a time: windows need neither overlap nor alignment
        output_stride=1,
        overlap=0.0,
        blend="flat",
        classes=tuple(CardClass(value=i + 1, name=f"cluster {i + 1}", color=default_color(i)) for i in range(k)),
        source="Arthur and Vassilvitskii (2007), k-means++: the advantages of careful seeding",
    )


def fit_centres(samples: NDArray[np.float32], *, k: int, seed: int) -> Centres:
    """Cluster centres of samples, ordered from dark to bright.

    The same samples and seed give the same centres. Where there are fewer distinct samples than clusters, the last
    clusters stay empty.

    Args:
        samples: (sample, band), finite, physical values.
        k: Number of clusters, 2 to 32.
        seed: Of the random draws.

    Returns:
        Centres in units standardised by the samples' mean and standard deviation.

    Raises:
        ParameterError: If there are no samples, or one is not finite, or k is out of range.

    Example:
        >>> fit_centres(np.array([[1.0], [1.0], [3.0], [3.0]], np.float32), k=2, seed=0).centres
        ((-1.0,), (1.0,))
    """
    if samples.ndim != 2 or 0 in samples.shape:
        raise ParameterError(f"clusters need samples of shape (sample, band), got {samples.shape}")
    if not 2 <= k <= MAX_CLUSTERS:
        raise ParameterError(f"cannot make {k} clusters: choose from 2 to {MAX_CLUSTERS}")
    if not np.isfinite(samples).all():
        raise ParameterError("samples hold NaN or infinity: leave out the pixels without an observation")
    physical = samples.astype(np.float64)
    mean = physical.mean(axis=0)
    std = physical.std(axis=0)
    # a constant band has a rounding error for a standard deviation, not 0
    std = np.where(std > 1e-7 * np.maximum(np.abs(mean), 1e-30), std, 1.0)
    points = (physical - mean) / std
    centres = _lloyd(points, _seeds(points, k, np.random.default_rng(seed)))
    distance, label = _nearest(points, centres)
    used = np.bincount(label, minlength=k) > 0
    centres[~used] = _UNUSED
    # by brightness, then by band: ties must not depend on the order of the draws
    order = np.lexsort((*centres.T[::-1], centres.sum(axis=1)))
    return Centres(
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        centres=tuple(tuple(row) for row in centres[order].tolist()),
        spread=max(float(np.sqrt(distance.mean() / points.shape[1])), _MIN_SPREAD),
    )


def _seeds(points: NDArray[np.float64], k: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Greedy k-means++: of a few candidates, drawn in proportion to squared distance, the one that helps most."""
    n = len(points)
    trials = 2 + int(np.log(k))
    chosen = [int(rng.integers(n))]
    distance = _squared(points, points[chosen[0]])
    while len(chosen) < k:
        cumulated = np.cumsum(distance)
        drawn = np.searchsorted(cumulated, rng.random(trials) * cumulated[-1], side="right")
        remaining = [np.minimum(distance, _squared(points, points[i])) for i in np.minimum(drawn, n - 1)]
        best = int(np.argmin([r.sum() for r in remaining]))
        chosen.append(int(min(drawn[best], n - 1)))
        distance = remaining[best]
    return points[chosen]


def _lloyd(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move each centre to the mean of its points until no label changes."""
    label = np.full(len(points), -1)
    for _ in range(_ITERATIONS):
        _, moved = _nearest(points, centres)
        if np.array_equal(moved, label):
            break
        label = moved
        count = np.bincount(label, minlength=len(centres))
        for band in range(points.shape[1]):
            total = np.bincount(label, weights=points[:, band], minlength=len(centres))
            # an empty cluster stays where it is
            centres[:, band] = np.where(count > 0, total / np.maximum(count, 1), centres[:, band])
    return centres


def _nearest(points: NDArray[np.float64], centres: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Squared distance to the nearest centre, and which; of equal ones the first."""
    best = np.full(len(points), np.inf)
    label = np.zeros(len(points), np.intp)
    for i, centre in enumerate(centres):
        distance = _squared(points, centre)
        closer = distance < best
        best[closer] = distance[closer]
        label[closer] = i
    return best, label


def _squared(points: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    # band by band, not by a matrix product: its summation order differs between machines
    total = np.zeros(len(points))
    for band in range(points.shape[1]):
        total += (points[:, band] - centre[band]) ** 2
    return total
