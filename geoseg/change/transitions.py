"""What became what: counts of every pair of classes, as integers that add up over blocks."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.area.interpolate import Lattice, row_units
from geoseg.area.pixel_area import PixelAreas
from geoseg.area.sums import Sums
from geoseg.change.codes import ChangeCodes
from geoseg.errors import ParameterError
from geoseg.kernels import njit

__all__ = ["Transitions", "count_transitions"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transitions:
    """Pixels, area and confidence of every pair of classes, "no observation" of either date being the last one.

    Counts of two blocks add up to those of both. Rows are the first date, columns the second.
    """

    n_classes: int
    """Classes of the legend, K."""
    sums: Sums
    """Of all pairs, row by row, ``(K + 1) ** 2`` of each."""

    def __post_init__(self) -> None:
        if len(self.sums) != (self.n_classes + 1) ** 2:
            raise ParameterError(
                f"counts of {len(self.sums)} pairs for {self.n_classes} classes: give {(self.n_classes + 1) ** 2}, "
                "those with 'no observation' included"
            )

    @classmethod
    def zero(cls, n_classes: int) -> Self:
        """Of no pixels."""
        return cls(n_classes=n_classes, sums=Sums.zeros((n_classes + 1) ** 2))

    def __add__(self, other: "Transitions") -> "Transitions":
        return Transitions(n_classes=self.n_classes, sums=self.sums + other.sums)

    def _square(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        return counts.reshape(self.n_classes + 1, self.n_classes + 1)

    @property
    def pixels(self) -> NDArray[np.int64]:
        """(K + 1, K + 1) pixels."""
        return self._square(self.sums.pixels)

    @property
    def units(self) -> NDArray[np.int64]:
        """(K + 1, K + 1) area in units of `PixelAreas.unit_m2`."""
        return self._square(self.sums.units)

    @property
    def mean_conf(self) -> NDArray[np.float64]:
        """(K + 1, K + 1) mean confidence in percent, NaN where no pixel has one."""
        return self.sums.mean_conf().reshape(self.n_classes + 1, self.n_classes + 1)

    @property
    def n_compared(self) -> int:
        """Pixels with an observation on both dates."""
        return int(self.pixels[:-1, :-1].sum())

    @property
    def n_changed(self) -> int:
        """Pixels with another class on the second date."""
        return self.n_compared - int(np.trace(self.pixels[:-1, :-1]))

    def transposed(self) -> "Transitions":
        """With the dates swapped."""
        k = self.n_classes + 1
        return Transitions(
            n_classes=self.n_classes, sums=self.sums.take(np.arange(k * k, dtype=np.int64).reshape(k, k).T.ravel())
        )

    def occurring(self) -> NDArray[np.int64]:
        """(n, 2) pairs of different classes that occur, row by row."""
        counts = self.pixels[:-1, :-1].copy()
        np.fill_diagonal(counts, 0)
        return np.argwhere(counts)


def count_transitions(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    areas: PixelAreas,
    codes: ChangeCodes,
    *,
    row_off: int = 0,
    col_off: int = 0,
    confidence: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.unsignedinteger], Transitions]:
    """The change codes of a block, and its counts.

    Sums over a row of the counts, "no observation" included, are the first date's class totals to the last bit; those
    over a column the second date's. Memory: the codes, and the areas of one row of pixels.

    Args:
        before: (rows, cols) places in the legend on the first date, see `geoseg.change.index`.
        after: (rows, cols) on the second date.
        areas: Pixel areas of the map.
        codes: A code for each pair; a pair without one is counted, and its pixels get the code of no change.
        row_off: First row of the block in the map.
        col_off: First column of the block in the map.
        confidence: (rows, cols) percent, 255 where there is none.

    Raises:
        ParameterError: If the dates differ in shape, or the block is not within the map.

    Example:
        >>> from odc.geo.geobox import GeoBox
        >>> from geoseg.legend import Legend
        >>> areas = PixelAreas.of(GeoBox.from_bbox((0, 0, 3, 1), crs="EPSG:32633", resolution=1))
        >>> two = ChangeCodes.of(Legend.unnamed((1, 2)))
        >>> was, now = np.array([[0, 0, 255]], np.uint8), np.array([[0, 1, 1]], np.uint8)
        >>> found, counts = count_transitions(was, now, areas, two)
        >>> found.tolist(), counts.pixels.tolist()
        ([[0, 1, 255]], [[1, 1, 0], [0, 0, 0], [0, 1, 0]])
    """
    for what, block in (("second date", after), ("confidence", confidence)):
        if block is not None and block.shape != before.shape:
            raise ParameterError(f"the {what} of {block.shape} px and the first date of {before.shape} px: cut alike")
    k = len(codes.legend)
    found = Transitions.zero(k)
    out = np.empty(before.shape, dtype=codes.dtype)
    if before.size:
        _count(
            before,
            after,
            np.zeros((0, 0), dtype=np.uint8) if confidence is None else confidence,
            codes.table,
            k,
            areas.lattice(row_off, col_off, *before.shape),
            out,
            found.sums.pixels,
            found.sums.units,
            found.sums.conf_sum,
            found.sums.conf_pixels,
        )
    return out, found


@njit(nogil=True, cache=True)
def _count(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    table: NDArray[np.unsignedinteger],
    k: int,
    lattice: Lattice,
    out: NDArray[np.unsignedinteger],
    pixels: NDArray[np.int64],
    units: NDArray[np.int64],
    conf_sum: NDArray[np.int64],
    conf_pixels: NDArray[np.int64],
) -> None:
    """Row by row. Sums are kept by pair of bytes, so that a pixel takes neither a branch nor a product."""
    height, width = before.shape
    area = np.empty(width, dtype=np.int64)
    codes = table.ravel()
    sums = np.zeros((1 << 16, 2), dtype=np.int64)
    for r in range(height):
        row_units(lattice, r, area)
        for c in range(width):
            pair = (np.int64(before[r, c]) << 8) | np.int64(after[r, c])
            sums[pair, 0] += 1
            sums[pair, 1] += area[c]
            out[r, c] = codes[pair]
    for b in range(256):
        for a in range(256):
            at = min(b, k) * (k + 1) + min(a, k)
            pixels[at] += sums[(b << 8) | a, 0]
            units[at] += sums[(b << 8) | a, 1]
    if confidence.size > 0:
        _add_confidence(before, after, confidence, k, conf_sum, conf_pixels)


@njit(nogil=True, cache=True)
def _add_confidence(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    k: int,
    conf_sum: NDArray[np.int64],
    conf_pixels: NDArray[np.int64],
) -> None:
    for r in range(before.shape[0]):
        for c in range(before.shape[1]):
            if confidence[r, c] != 255:
                at = min(int(before[r, c]), k) * (k + 1) + min(int(after[r, c]), k)
                conf_sum[at] += confidence[r, c]
                conf_pixels[at] += 1
