"""What is summed up over the pixels of polygons: integers, so that pieces of a polygon add up to it exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.area.pixel_area import PixelAreas
from geoseg.area.sums import Sums, run_sums
from geoseg.inference.lattice import Block
from geoseg.kernels import njit
from geoseg.vector.label import Runs

__all__ = ["Measures", "Pixels"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measures:
    """Class and sums of polygons."""

    class_id: NDArray[np.uint8]
    """(n,) class value."""
    sums: Sums
    """Pixels, area and confidence, n of each."""
    probabilities: NDArray[np.int64] | None = None
    """(n, K) sums of the probability of each class, in 254ths, where there are any."""

    def __len__(self) -> int:
        return len(self.class_id)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Measures":
        """Those of some polygons."""
        return Measures(
            class_id=self.class_id[index],
            sums=self.sums.take(index),
            probabilities=None if self.probabilities is None else self.probabilities[index],
        )

    def grouped(self, group: NDArray[np.int64], n: int) -> "Measures":
        """Added up in ``n`` groups, each of at least one polygon of one class."""
        class_id = np.zeros(n, dtype=np.uint8)
        class_id[group] = self.class_id
        probabilities = None
        if self.probabilities is not None:
            probabilities = np.zeros((n, self.probabilities.shape[1]), dtype=np.int64)
            np.add.at(probabilities, group, self.probabilities)
        return Measures(class_id=class_id, sums=self.sums.grouped(group, n), probabilities=probabilities)

    @classmethod
    def none(cls, n_classes: int = 0) -> "Measures":
        """Of no polygons, with the probabilities of so many classes."""
        probabilities = np.zeros((0, n_classes), dtype=np.int64) if n_classes else None
        return cls(class_id=np.zeros(0, dtype=np.uint8), sums=Sums.zeros(0), probabilities=probabilities)

    @classmethod
    def joined(cls, parts: "list[Measures]") -> "Measures":
        """Those of one list after the other."""
        probabilities = [p.probabilities for p in parts if p.probabilities is not None]
        return cls(
            class_id=np.concatenate([p.class_id for p in parts]),
            sums=Sums.joined([p.sums for p in parts]),
            probabilities=np.concatenate(probabilities) if probabilities else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pixels:
    """The pixels of a block, as far as polygons ask for them."""

    classes: NDArray[np.uint8]
    """(rows, cols) class values."""
    areas: PixelAreas | None = None
    """True pixel areas of the scene; None where the map has no CRS: areas are zero then."""
    confidence: NDArray[np.uint8] | None = None
    """(rows, cols) percent, 255 where there is none."""
    probabilities: NDArray[np.uint8] | None = None
    """(K, rows, cols) probability of each class in 254ths, 255 where there is none."""

    def measured(self, runs: Runs, block: Block) -> Measures:
        """Class and sums of each component of the block."""
        n = len(runs.class_id)
        if self.areas is None:
            sums = Sums.zeros(n)
            sums.pixels[:] = runs.pixels
        else:
            sums = run_sums(
                runs.shape,
                runs.rows,
                runs.cols,
                runs.labels,
                n,
                self.areas,
                row_off=block.row_off,
                col_off=block.col_off,
                confidence=self.confidence,
            )
        probabilities = None
        if self.probabilities is not None:
            probabilities = np.zeros((n, len(self.probabilities)), dtype=np.int64)
            _add_probabilities(runs.rows, runs.cols, runs.labels, self.probabilities, probabilities)
        return Measures(class_id=runs.class_id, sums=sums, probabilities=probabilities)


@njit(nogil=True, cache=True)
def _add_probabilities(
    rows: NDArray[np.int64],
    cols: NDArray[np.int32],
    labels: NDArray[np.int32],
    probabilities: NDArray[np.uint8],
    sums: NDArray[np.int64],
) -> None:
    n_cols = probabilities.shape[2]
    for k in range(len(probabilities)):
        for r in range(len(rows) - 1):
            for i in range(rows[r], rows[r + 1]):
                if labels[i] <= 0:
                    continue
                for c in range(cols[i], cols[i + 1] if i + 1 < rows[r + 1] else n_cols):
                    if probabilities[k, r, c] != 255:
                        sums[labels[i] - 1, k] += probabilities[k, r, c]
