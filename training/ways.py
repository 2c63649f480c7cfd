"""Simple ways to make a class map, which a network should beat: majority, thresholds, random forests.

- ``majority``: the class that most training pixels have, everywhere.
- ``thresholds``: 15 thresholds on some numbers of a pixel (a tree of 16 leaves).
- ``random forest``: 200 trees on the band values of a pixel.
- ``forest, surroundings``: 200 trees on these and the means and standard deviations of each band in squares around it.

The last three learn from pixels drawn from all training scenes, once as they come and once ``balanced``, weighted so
that all classes count alike.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

__all__ = [
    "NOT_LABELLED",
    "PIXELS",
    "SIDES",
    "TREES",
    "Classes",
    "Floats",
    "Numbers",
    "Way",
    "contrasts",
    "simple_ways",
    "surroundings",
]

NOT_LABELLED: Final = 255
PIXELS: Final = 200_000
"""That a way learns from."""
TREES: Final = 200
"""Of a forest."""
SIDES: Final = (5, 15, 45)
"""Of the squares around a pixel."""
_LEAVES: Final = 16
_AT_ONCE: Final = 1 << 17
_SEED: Final = 0

Floats = NDArray[np.float32]
Classes = NDArray[np.uint8]
Way = Callable[[Floats], Classes]
"""From a scene's bands (band, row, col) to a class map (row, col)."""
Numbers = Callable[[Floats], Floats]
"""From a scene's bands (band, row, col) to numbers of each pixel (number, row, col)."""


def contrasts(pixels: Floats) -> Floats:
    """Bands, their mean, and the normalised difference of each two of them, 0 where both are 0."""
    found = [*pixels, pixels.mean(axis=0)]
    for a, b in combinations(pixels, 2):
        found.append(np.divide(a - b, a + b, out=np.zeros_like(a), where=a + b > 0))
    return np.stack(found)


def surroundings(sides: Sequence[int] = SIDES) -> Numbers:
    """Bands, and their mean and standard deviation in squares of these sides around each pixel."""

    def numbers(pixels: Floats) -> Floats:
        found = [pixels]
        # about the mean of the band: squares of large numbers less each other would be rounding errors
        about = pixels - pixels.mean(axis=(1, 2), keepdims=True)
        for side in sides:
            mean = uniform_filter(about, size=(0, side, side), mode="reflect")
            square = uniform_filter(about * about, size=(0, side, side), mode="reflect")
            found += [mean + (pixels - about), np.sqrt(np.maximum(square - mean * mean, 0))]
        return np.concatenate(found)

    return numbers


def simple_ways(
    read: Sequence[tuple[NDArray[Any], Classes]],
    *,
    thresholds_on: Numbers = contrasts,
    sides: Sequence[int] = SIDES,
    ignore: int = NOT_LABELLED,
    pixels: int = PIXELS,
    trees: int = TREES,
) -> Iterator[tuple[str, Way]]:
    """Each way by its name, one after the other: they are large.

    Args:
        read: Bands (band, row, col) and labels (row, col) of the scenes of training.
        thresholds_on: The numbers of a pixel that thresholds are on.
        sides: Of the squares around a pixel, in pixels.
        ignore: What a pixel without a label has.
        pixels: At most so many of them are learnt from.
        trees: Of a forest.
    """
    known = np.concatenate([labels[labels != ignore] for _, labels in read])
    most_often = np.uint8(np.bincount(known).argmax())
    yield "majority", lambda bands: np.full(bands.shape[1:], most_often)

    rng = np.random.default_rng(_SEED)
    drawn = np.sort(rng.choice(len(known), min(pixels, len(known)), replace=False))
    for name, numbers, learner in (
        ("thresholds", thresholds_on, _tree),
        ("random forest", np.asarray, _forest),
        ("forest, surroundings", surroundings(sides), _forest),
    ):
        values = _drawn(read, numbers, drawn, ignore)
        for weight, said in ((None, ""), ("balanced", ", balanced")):
            yield name + said, _by_pixel(learner(trees, weight).fit(values, known[drawn]), numbers)


def _drawn(
    read: Sequence[tuple[NDArray[Any], Classes]], numbers: Numbers, drawn: NDArray[np.int64], ignore: int
) -> Floats:
    """Numbers (pixel, number) of some of the labelled pixels of all scenes, which are counted through."""
    found, first = [], 0
    for pixels, labels in read:
        known = labels != ignore
        mine = drawn[slice(*np.searchsorted(drawn, [first, first + known.sum()]))] - first
        found.append(numbers(pixels.astype(np.float32))[:, known].T[mine])
        first += int(known.sum())
    return np.concatenate(found)


def _tree(_trees: int, weight: str | None) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_leaf_nodes=_LEAVES, class_weight=weight, random_state=_SEED)


def _forest(trees: int, weight: str | None) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(trees, min_samples_leaf=5, class_weight=weight, random_state=_SEED)


def _by_pixel(fitted: Any, numbers: Numbers) -> Way:
    def way(pixels: Floats) -> Classes:
        flat = numbers(pixels).reshape(-1, pixels.shape[1] * pixels.shape[2]).T
        parts = [fitted.predict(flat[i : i + _AT_ONCE]) for i in range(0, len(flat), _AT_ONCE)]
        found: Classes = np.concatenate(parts).astype(np.uint8).reshape(pixels.shape[1:])
        return found

    return way
