"""How a prediction is held against a reference: on which grid, in which classes, in which parts."""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.change.grids import Alignment, align
from geoseg.change.index import NONE, places
from geoseg.change.legends import CommonLegend, CrosswalkRow, common_legend, named_class
from geoseg.change.maps import ClassSource
from geoseg.change.sampling import ReadMap
from geoseg.errors import ParameterError, printable
from geoseg.inference.decision import UNDECIDED
from geoseg.inference.lattice import Block, blocks
from geoseg.legend import Legend

__all__ = ["Matching", "Pixels", "Plan"]

BLOCK_PX: Final = 2048
"""Side of a block: some 8 bytes a pixel in each that is in work."""
_LARGEST_WINDOW: Final = 256
_SMALLEST_WINDOW: Final = 16
_FEWEST: Final = 64
_MOST: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """How the classes of the two are brought together."""

    crosswalk: tuple[CrosswalkRow, ...] = ()
    """Classes that count as others; the reference is the side ``before``, the prediction the side ``after``."""
    ignore: tuple[str, ...] = ()
    """Classes of the reference, by name or value, whose pixels are left out: clouds, "unlabelled"."""

    @property
    def swapped(self) -> "Matching":
        """The same, with the reference as the side ``after``."""
        other = {"before": "after", "after": "before", "1": "2", "2": "1"}
        return replace(
            self, crosswalk=tuple(replace(row, side=other.get(row.side, row.side)) for row in self.crosswalk)
        )

    def ignored(self, reference: ClassSource) -> list[int]:
        """Class values of a reference that are left out.

        Raises:
            ParameterError: If a name is that of no class; a label raster without names may happen to lack a value.
        """
        values = []
        for text in self.ignore:
            found = named_class(reference.legend, text)
            if found is not None:
                values.append(found.value)
            elif reference.named or not (text.isascii() and text.isdigit()):
                known = ", ".join(printable(n) for n in reference.legend.names[:10])
                raise ParameterError(
                    f"{printable(text)!r} is to be left out, and is no class of {reference.name} ({known}): name one "
                    "of these"
                )
        return values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pixels:
    """A block of both."""

    truth: NDArray[np.uint8]
    """(rows, cols) places of the reference in the legend, `NONE` where it says nothing."""
    mapped: NDArray[np.uint8]
    """(rows, cols) of the prediction."""
    confidence: NDArray[np.uint8] | None
    """(rows, cols) percent, 255 where there is none."""
    lacking: tuple[tuple[int, ...], tuple[int, ...]]
    """Class values of reference and prediction that their legends lack."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """All that the work on a block has to know; travels to workers."""

    reference: ClassSource
    """What is true."""
    prediction: ReadMap
    """Reads what is scored."""
    prediction_nodata: int
    """Of the prediction."""
    alignment: Alignment
    """The common grid: pixels of the reference, which is never resampled."""
    common: CommonLegend
    """The classes of both; the reference is its side ``before``."""
    window_px: int
    """Side of the windows of which the worst are shown: a power of two."""
    unit_px: int
    """Side of the parts that an interval of one scene is drawn from: windows, or squares of them."""
    notes: tuple[str, ...]
    """How grids and classes were matched."""

    @classmethod
    def of(cls, prediction: ClassSource, reference: ClassSource, matching: Matching) -> Self:
        """How a prediction is held against a reference.

        The reference is left as it is: a prediction on another grid is brought onto that of the reference, so that
        several predictions are scored on the same pixels.

        Raises:
            InputError: If they do not overlap.
            ParameterError: If their classes have nothing in common, or the matching names a class that there is not.
        """
        names = (reference.name, prediction.name)
        alignment = align(reference.geobox, prediction.geobox, names=names)
        decided, undecided = _decided(prediction, reference, matching)
        common = common_legend(
            reference.legend,
            decided,
            named=(reference.named, prediction.named),
            crosswalk=matching.crosswalk,
            names=names,
        )
        lookup, lookup_mapped = common.before.copy(), common.after.copy()
        ignored = matching.ignored(reference)
        kept = set(common.after[list(decided.values)].tolist())
        mapped = [common.legend.names[place] for place in common.before[ignored].tolist() if place in kept]
        lookup[ignored] = NONE
        lookup_mapped[undecided] = NONE
        notes = [*alignment.notes, *common.notes]
        if undecided:
            notes.append(f"what {prediction.name} leaves undecided has no class there")
        if mapped:
            notes.append(
                f"ignored where the reference has it: {', '.join(map(printable, mapped))}; mapped elsewhere it is an "
                "error, with scores of 0 in the means: a crosswalk can unite it with another class"
            )
        window, unit = _sides(alignment.geobox)
        return cls(
            reference=reference,
            prediction=prediction.read,
            prediction_nodata=prediction.legend.nodata,
            alignment=alignment,
            common=replace(common, lookups=(lookup, lookup_mapped)),
            window_px=window,
            unit_px=unit,
            notes=tuple(notes),
        )

    @property
    def geobox(self) -> GeoBox:
        """The common grid."""
        return self.alignment.geobox

    @property
    def shape(self) -> tuple[int, int]:
        """Its rows and columns."""
        return int(self.geobox.shape[0]), int(self.geobox.shape[1])

    @property
    def legend(self) -> Legend:
        """The classes of both."""
        return self.common.legend

    def blocks(self) -> list[Block]:
        """The blocks of the common grid; none cuts a window."""
        return list(blocks(*self.shape, block_height=BLOCK_PX, block_width=BLOCK_PX))

    def pixels(self, block: Block) -> Pixels:
        """Both in a block of the common grid."""
        there = replace(
            block, row_off=block.row_off + self.alignment.row_off, col_off=block.col_off + self.alignment.col_off
        )
        truth, lacks_truth = places(self.reference.read(there)[0], self.common.before)
        values, confidence = self.alignment.after.take(block, self.prediction, self.prediction_nodata)
        mapped, lacks_mapped = places(values, self.common.after)
        lacking = [tuple(np.flatnonzero(each).tolist()) for each in (lacks_truth, lacks_mapped)]
        return Pixels(truth=truth, mapped=mapped, confidence=confidence, lacking=(lacking[0], lacking[1]))


def _decided(prediction: ClassSource, reference: ClassSource, matching: Matching) -> tuple[Legend, list[int]]:
    """The classes of a prediction without that of the pixels it leaves undecided, and the value of that.

    A class that is never true would count 0 in each mean. Where the reference has one of the name, or the crosswalk
    speaks of it, it is a class as others are.
    """
    legend = prediction.legend
    found = [c for c in legend if c.name in (UNDECIDED, f"{UNDECIDED} {c.value}")][-1:]
    meant = [named_class(reference.legend, c.name) for c in found]
    meant += [
        named_class(legend, row.source) for row in matching.crosswalk if row.side in ("after", "both", "all", "2")
    ]
    rest = tuple(c for c in legend if c not in found)
    if not found or not rest or not prediction.named or any(m is not None and m.name == found[0].name for m in meant):
        return legend, []
    return replace(legend, classes=rest), [found[0].value]


def _sides(geobox: GeoBox) -> tuple[int, int]:
    """Sides of windows and of units: of a small map some tens, of a large one at most a thousand."""
    shape = (int(geobox.shape[0]), int(geobox.shape[1]))

    def n(side: int) -> int:
        return _ceil(shape[0], side) * _ceil(shape[1], side)

    window = _LARGEST_WINDOW
    while window > _SMALLEST_WINDOW and n(window) < _FEWEST:
        window //= 2
    unit = window
    while n(unit) > _MOST:
        unit *= 2
    return window, unit


def _ceil(length: int, side: int) -> int:
    return -(-length // side)
