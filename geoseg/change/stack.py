"""Several class maps on one grid and in one legend: what a series is read from, block by block."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.change.grids import align_all
from geoseg.change.index import NONE, places
from geoseg.change.legends import CrosswalkRow, legend_of_all
from geoseg.change.maps import ClassSource
from geoseg.change.registration import Shift, border_shift, moved, window_offsets
from geoseg.change.sampling import ReadMap, Sampled, Shifted
from geoseg.change.shares import ClassShares, take_shares
from geoseg.inference.lattice import Block
from geoseg.legend import NODATA, PROBABILITY_STEPS, Legend

__all__ = ["Layer", "Stack"]

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One map of a stack; travels to workers."""

    name: str
    """What it is called in messages."""
    read: ReadMap
    """Gives a block of it."""
    nodata: int
    """Class value that means "no observation"."""
    placed: Shifted | Sampled
    """Where pixels of the common grid lie in it."""
    lookup: Bytes
    """(256,) place in the legend of each class value."""
    shares: ClassShares | None
    """Its class probabilities, where they are wanted."""

    def places(self, block: Block) -> tuple[Bytes, NDArray[np.bool_]]:
        """(rows, cols) places in the legend in a block of the common grid, and which values the legend lacks."""
        values, _ = self.placed.take(block, self.read, self.nodata)
        return places(values, self.lookup)

    def probabilities(self, block: Block, n_classes: int) -> Bytes:
        """(K, rows, cols) probabilities of the classes of the legend, 255 where there are none.

        Those of bands that count as one class are added up, and a class that the map does not know has none.
        """
        assert self.shares is not None
        bands = take_shares(self.placed, block, self.shares.read, len(self.shares.values))
        out = np.zeros((n_classes, block.height, block.width), dtype=np.uint8)
        none = bands[0] == NODATA
        for band, place in zip(bands, self.lookup[list(self.shares.values)], strict=True):
            # bands of a pixel add up to 254, on another grid to some more by rounding
            out[place] = np.minimum(out[place].astype(np.uint16) + band, PROBABILITY_STEPS)
        out[:, none] = NODATA
        return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """Maps of several dates."""

    geobox: GeoBox
    """The part of the first map's grid where all lie."""
    legend: Legend
    """Of all."""
    layers: tuple[Layer, ...]
    """The maps, in their order."""
    shifts: tuple[Shift | None, ...]
    """How far each map lies from the first, by class borders, as it is read; None where that cannot be told, as for the
    first itself."""
    notes: tuple[str, ...]
    """What was decided."""

    @classmethod
    def of(cls, sources: Sequence[ClassSource], *, crosswalk: Sequence[CrosswalkRow] = (), align: bool = False) -> Self:
        """Maps as they lie together.

        Args:
            sources: The maps, in their order.
            crosswalk: Classes that count as others.
            align: Whether maps are moved by the shift that their class borders show against the first.

        Raises:
            InputError: If they have no area in common.
            ParameterError: If a legend has nothing in common with the others, or the crosswalk does not fit them.
        """
        names = [s.name for s in sources]
        common = legend_of_all(
            [s.legend for s in sources], named=[s.named for s in sources], crosswalk=crosswalk, names=names
        )

        def stacked(grids: Sequence[GeoBox]) -> "tuple[Self, tuple[str, ...]]":
            geobox, placed, notes = align_all(grids, names=names)
            layers = tuple(
                Layer(name=s.name, read=s.read, nodata=s.legend.nodata, placed=p, lookup=lookup, shares=s.shares)
                for s, p, lookup in zip(sources, placed, common.lookups, strict=True)
            )
            made = cls(geobox=geobox, legend=common.legend, layers=layers, shifts=(), notes=())
            return made, notes

        made: Self
        grids = [s.geobox for s in sources]
        made, notes = stacked(grids)
        shifts = made.measured_shifts()
        said = [_told(names[i], names[0], shift) for i, shift in enumerate(shifts) if i]
        if align and any(s is not None for s in shifts):
            grids = [g if s is None else moved(g, s, made.geobox) for g, s in zip(grids, shifts, strict=True)]
            made, notes = stacked(grids)
            rest = made.measured_shifts()
            said = [
                _told(names[i], names[0], None)
                if shift is None
                else _told(names[i], names[0], shift)
                + " and is moved back"
                + ("" if rest[i] is None else f"; what is left is {rest[i]}")
                for i, shift in enumerate(shifts)
                if i
            ]
            shifts = rest
        every = (*notes, *common.notes, *said)
        return cls(geobox=made.geobox, legend=made.legend, layers=made.layers, shifts=shifts, notes=every)

    def measured_shifts(self) -> tuple[Shift | None, ...]:
        """How far each map lies from the first; None for that, and where it cannot be told."""
        shape = int(self.geobox.shape[0]), int(self.geobox.shape[1])
        windows = [
            Block(row_off=row, col_off=col, height=height, width=width)
            for row, col, height, width in window_offsets(shape)
        ]
        found: list[Shift | None] = [None]
        for layer in self.layers[1:]:
            # window by window: nine of them with all dates would be as much as a block
            pairs = ((self.layers[0].places(w)[0], layer.places(w)[0]) for w in windows)
            found.append(border_shift(pairs))
        return tuple(found)

    def places(self, block: Block) -> tuple[Bytes, tuple[tuple[int, ...], ...]]:
        """(D, rows, cols) places in the legend in a block, and for each map the values that its legend lacks."""
        out = np.full((len(self.layers), block.height, block.width), NONE, dtype=np.uint8)
        lacking: list[Iterable[int]] = []
        for t, layer in enumerate(self.layers):
            out[t], unknown = layer.places(block)
            lacking.append(np.flatnonzero(unknown).tolist())
        return out, tuple(tuple(values) for values in lacking)

    def probabilities(self, block: Block) -> Bytes:
        """(D, K, rows, cols) probabilities of the classes in a block."""
        return np.stack([layer.probabilities(block, len(self.legend)) for layer in self.layers])


def _told(name: str, first: str, shift: Shift | None) -> str:
    if shift is None:
        return f"how well {name} lies on {first} cannot be told from their class borders"
    return f"by its class borders, {name} lies {shift} of {first}"
