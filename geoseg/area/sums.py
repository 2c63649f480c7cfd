"""Sums of pixels, area and confidence per class and per polygon: integers, the same for every cut and every order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.area.interpolate import area_beyond
from geoseg.area.pixel_area import PixelAreas
from geoseg.errors import ParameterError
from geoseg.kernels import njit

__all__ = ["ClassTotals", "Sums", "class_totals", "run_sums"]

N_VALUES = 256
_FIELDS = ("pixels", "units", "conf_sum", "conf_pixels")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """Counts of groups of pixels; those of two blocks add up to those of both."""

    pixels: NDArray[np.int64]
    """(n,) number of pixels."""
    units: NDArray[np.int64]
    """(n,) area in units of `PixelAreas.unit_m2`."""
    conf_sum: NDArray[np.int64]
    """(n,) sum of confidence in percent."""
    conf_pixels: NDArray[np.int64]
    """(n,) number of pixels that have a confidence."""

    def __post_init__(self) -> None:
        for name in _FIELDS:
            array = getattr(self, name)
            if array.dtype != np.int64 or array.shape != self.pixels.shape or array.ndim != 1:
                raise ParameterError(
                    f"{name} is an array of {array.dtype} with shape {array.shape}: "
                    f"give int64 with shape ({len(self.pixels)},), so that sums are exact"
                )

    @classmethod
    def zeros(cls, n: int) -> Self:
        """Sums of ``n`` groups without pixels."""
        return cls(**{f: np.zeros(n, dtype=np.int64) for f in _FIELDS})

    def __len__(self) -> int:
        return len(self.pixels)

    def __add__(self, other: Self) -> Self:
        if type(other) is not type(self) or len(other) != len(self):
            raise ParameterError(f"sums of {len(self)} and {len(other)} groups do not add up: sum the same groups")
        return type(self)(
            pixels=self.pixels + other.pixels,
            units=self.units + other.units,
            conf_sum=self.conf_sum + other.conf_sum,
            conf_pixels=self.conf_pixels + other.conf_pixels,
        )

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Pixels, units, and sum and pixels of the confidence."""
        return self.pixels, self.units, self.conf_sum, self.conf_pixels

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Sums":
        """Those of some groups."""
        return Sums(**{f: getattr(self, f)[index] for f in _FIELDS})

    def grouped(self, group: NDArray[np.int64], n: int) -> "Sums":
        """Added up in ``n`` larger groups, which ``group`` gives for each one."""
        larger = Sums.zeros(n)
        for f in _FIELDS:
            np.add.at(getattr(larger, f), group, getattr(self, f))
        return larger

    @staticmethod
    def joined(parts: "Sequence[Sums]") -> "Sums":
        """Those of one list of groups after the other."""
        return Sums(**{f: np.concatenate([getattr(p, f) for p in parts]) for f in _FIELDS})

    def area_m2(self, unit_m2: float) -> NDArray[np.float64]:
        """(n,) areas in m²."""
        return np.asarray(self.units * unit_m2, dtype=np.float64)

    def mean_conf(self) -> NDArray[np.float64]:
        """(n,) mean confidence in percent, NaN where no pixel has one."""
        mean = np.full(len(self), np.nan)
        np.divide(self.conf_sum, self.conf_pixels, out=mean, where=self.conf_pixels > 0)
        return mean


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassTotals(Sums):
    """`Sums` per class value, at index 0 to 255; nodata is counted at its value like a class."""

    def __post_init__(self) -> None:
        Sums.__post_init__(self)
        if len(self) != N_VALUES:
            raise ParameterError(f"totals of {len(self)} class values: give all {N_VALUES}")

    @classmethod
    def zero(cls) -> Self:
        """Totals of no pixels."""
        return cls.zeros(N_VALUES)


def class_totals(
    classes: NDArray[np.uint8],
    areas: PixelAreas,
    *,
    row_off: int = 0,
    col_off: int = 0,
    confidence: NDArray[np.uint8] | None = None,
) -> ClassTotals:
    """Pixels, area and confidence of each class value in a block.

    Args:
        classes: (rows, cols) class values of the block.
        areas: Pixel areas of the scene.
        row_off: First row of the block in the scene.
        col_off: First column of the block in the scene.
        confidence: (rows, cols) percent, 255 where there is none.

    Raises:
        ParameterError: If the block is not within the scene, or the confidence has another shape.

    Example:
        >>> from odc.geo.geobox import GeoBox
        >>> areas = PixelAreas.of(GeoBox.from_bbox((0, 0, 2, 1), crs="EPSG:4326", resolution=1))
        >>> totals = class_totals(np.array([[3, 3]], dtype=np.uint8), areas)
        >>> print(f"{totals.area_m2(areas.unit_m2)[3] / 1e6:.3f} km²")
        24616.928 km²
    """
    if classes.dtype != np.uint8:
        raise ParameterError(f"class values are {classes.dtype}: give uint8")
    totals = ClassTotals.zero()
    percent = _percent(confidence, classes.shape)
    if classes.size:
        _add(classes, percent, *areas.lattice(row_off, col_off, *classes.shape), *totals.arrays)
    return totals


def run_sums(
    shape: tuple[int, int],
    rows: NDArray[np.int64],
    cols: NDArray[np.int32],
    labels: NDArray[np.int32],
    n: int,
    areas: PixelAreas,
    *,
    row_off: int = 0,
    col_off: int = 0,
    confidence: NDArray[np.uint8] | None = None,
) -> Sums:
    """Pixels, area and confidence of each of the components 1 to ``n`` in a block; label 0 is left out.

    Component ``k`` is at index ``k - 1``. The sums over the components of a class are those of `class_totals`, to the
    last digit. Memory: 32 bytes per component.

    Args:
        shape: Rows and columns of the block.
        rows: (rows + 1,) first run of each row.
        cols: (runs,) first column of each run.
        labels: (runs,) its component, 0 for none.
        n: Number of components.
        areas: Pixel areas of the scene.
        row_off: First row of the block in the scene.
        col_off: First column of the block in the scene.
        confidence: (rows, cols) percent, 255 where there is none.

    Raises:
        ParameterError: If the block is not within the scene, or the confidence has another shape.
    """
    sums = Sums.zeros(n)
    percent = _percent(confidence, shape)
    _add_runs(rows, cols, labels, shape[1], percent, *areas.lattice(row_off, col_off, *shape), *sums.arrays)
    return sums


def _percent(confidence: NDArray[np.uint8] | None, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The confidence of a block, with no pixels where there is none."""
    if len(shape) != 2 or (confidence is not None and confidence.shape != shape):
        raise ParameterError(
            f"a block of shape {shape} with confidence of shape {None if confidence is None else confidence.shape}: "
            "give rows and columns, the same for both"
        )
    return np.zeros((0, 0), dtype=np.uint8) if confidence is None else confidence


@njit(nogil=True, cache=True)
def _add_runs(
    rows: NDArray[np.int64],
    cols: NDArray[np.int32],
    labels: NDArray[np.int32],
    width: int,
    confidence: NDArray[np.uint8],
    begin: NDArray[np.int64],
    before: NDArray[np.int64],
    terms: NDArray[np.float64],
    pixels: NDArray[np.int64],
    units: NDArray[np.int64],
    conf_sum: NDArray[np.int64],
    conf_pixels: NDArray[np.int64],
) -> None:
    """Add the runs of components counted from 1, row by row; the lattice as in `Lattice`."""
    with_confidence = confidence.size > 0
    for r in range(len(rows) - 1):
        k, at, area = 0, np.int64(0), np.int64(0)
        first, past = rows[r], rows[r + 1]
        for i in range(first - 1, past):  # what lies before the first run ends where that begins
            end = np.int64(cols[i + 1] if i + 1 < past else width)
            while begin[k + 1] < end:
                k += 1
            start, so_far = at, area
            at, area = end, before[r, k] + area_beyond(terms, r, k, end - begin[k])
            if i < first or labels[i] <= 0:
                continue
            group = labels[i] - 1
            pixels[group] += end - start
            units[group] += area - so_far
            if with_confidence:
                total, known = 0, 0
                for c in range(start, end):
                    if confidence[r, c] != 255:
                        total += confidence[r, c]
                        known += 1
                conf_sum[group] += total
                conf_pixels[group] += known


@njit(nogil=True, cache=True)
def _add(
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    begin: NDArray[np.int64],
    before: NDArray[np.int64],
    terms: NDArray[np.float64],
    pixels: NDArray[np.int64],
    units: NDArray[np.int64],
    conf_sum: NDArray[np.int64],
    conf_pixels: NDArray[np.int64],
) -> None:
    """Add the pixels of class values, run by run."""
    height, width = classes.shape
    with_confidence = confidence.size > 0
    for r in range(height):
        k, at, area = 0, 0, np.int64(0)
        for end in range(width + 1):  # the first time nothing ends, but the area before the block is found
            if 0 < end < width and classes[r, end] == classes[r, end - 1]:
                continue
            while begin[k + 1] < end:
                k += 1
            start, so_far = at, area
            at, area = end, before[r, k] + area_beyond(terms, r, k, end - begin[k])
            if end == 0:
                continue
            group = classes[r, start]
            pixels[group] += end - start
            units[group] += area - so_far
            if with_confidence:
                total, known = 0, 0
                for c in range(start, end):
                    if confidence[r, c] != 255:
                        total += confidence[r, c]
                        known += 1
                conf_sum[group] += total
                conf_pixels[group] += known
