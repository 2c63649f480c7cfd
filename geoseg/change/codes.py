"""One number for each pair of classes: what the pixels of a change map say."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.change.index import MOST_CLASSES, NONE
from geoseg.errors import ParameterError
from geoseg.legend import Legend, LegendClass

__all__ = ["NO_CHANGE", "ChangeCodes"]

NO_CHANGE: Final = 0
"""Code of pixels that have the same class on both dates."""
_STABLE: Final = LegendClass(value=NO_CHANGE, name="no change", color="#e8e8e4")
_FROM_SHARE: Final = 0.25  # of a pair's colour; the rest is that of what it became


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChangeCodes:
    """A code for each pair of different classes, from 1 on."""

    legend: Legend
    """The classes of both dates."""
    pairs: NDArray[np.int64]
    """(n, 2) place of the class before and of the class after in the legend; the pair at index ``i`` has code
    ``i + 1``."""
    table: NDArray[np.unsignedinteger] = field(init=False)
    """(256, 256) the code of each pair of places; nodata where either is no observation, `NO_CHANGE` where the pair has
    no code."""

    def __post_init__(self) -> None:
        if len(self.legend) > MOST_CLASSES:
            raise ParameterError(
                f"{len(self.legend)} classes on two dates: change is told between at most {MOST_CLASSES}; unite some "
                "with a crosswalk"
            )
        table = np.full((NONE + 1, NONE + 1), NO_CHANGE, dtype=self.dtype)
        table[NONE, :] = table[:, NONE] = self.nodata
        table[self.pairs[:, 0], self.pairs[:, 1]] = 1 + np.arange(len(self.pairs))
        object.__setattr__(self, "table", table)

    @classmethod
    def of(cls, legend: Legend, occurring: Iterable[tuple[int, int]] | NDArray[np.int64] | None = None) -> Self:
        """Codes for all pairs of different classes, row by row of the matrix, so that they mean the same in every map.

        Args:
            legend: The classes of both dates.
            occurring: Pairs of places that get a code instead: where there are too many for bytes, only those that are
                there.

        Example:
            >>> ChangeCodes.of(Legend.unnamed((1, 2, 3))).pairs.tolist()
            [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
        """
        if occurring is None:
            k = len(legend)
            occurring = [(i, j) for i in range(k) for j in range(k) if i != j]
        return cls(legend=legend, pairs=np.array(list(occurring), dtype=np.int64).reshape(-1, 2))

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """The smallest that holds every code and nodata."""
        return np.uint8 if len(self.pairs) < np.iinfo(np.uint8).max else np.uint16

    @property
    def nodata(self) -> int:
        """Where either date has no observation: the largest number there is."""
        return int(np.iinfo(self.dtype).max)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the pairs in the order of their codes, such as ``forest to bare``; unique."""
        names = [f"{self.legend.names[i]} to {self.legend.names[j]}" for i, j in self.pairs]
        seen = {_STABLE.name} | {n for n in names if names.count(n) > 1}
        return tuple(f"{n} ({code})" if n in seen else n for code, n in enumerate(names, 1))

    @property
    def colors(self) -> tuple[str, ...]:
        """Of the pairs, ``#rrggbb``: the colour of what it became, with some of what it was."""
        classes = self.legend.classes
        return tuple(_mixed(classes[i].rgb, classes[j].rgb) for i, j in self.pairs)

    def change_legend(self) -> Legend:
        """The pairs as the classes of a map, "no change" first.

        Raises:
            ParameterError: If the codes do not fit bytes.
        """
        if self.dtype != np.uint8:
            raise ParameterError(
                f"{len(self)} kinds of change, and a change map of bytes has room for 254: unite classes with a "
                "crosswalk"
            )
        kinds = enumerate(zip(self.names, self.colors, strict=True), 1)
        classes = tuple(LegendClass(value=v, name=n, color=c) for v, (n, c) in kinds)
        return Legend(classes=(_STABLE, *classes), nodata=self.nodata)

    def polygon_legend(self) -> Legend | None:
        """The pairs only, for polygons: no change is nodata there. None where there is no pair."""
        legend = self.change_legend()
        return replace(legend, classes=legend.classes[1:], nodata=NO_CHANGE) if len(self) else None


def _mixed(was: tuple[int, int, int], now: tuple[int, int, int]) -> str:
    rgb = (round(_FROM_SHARE * a + (1 - _FROM_SHARE) * b) for a, b in zip(was, now, strict=True))
    return "#{:02x}{:02x}{:02x}".format(*rgb)
