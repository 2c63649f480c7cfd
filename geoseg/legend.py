"""The legend: class values with their names and colours."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from geoseg.errors import ParameterError

__all__ = ["NODATA", "PROBABILITY_STEPS", "Legend", "LegendClass", "default_color"]

NODATA = 255
"""Class value that means "no observation"."""

PROBABILITY_STEPS = 254
"""Class probabilities are stored as bytes in this many steps: 254 means 1, and `NODATA` "no observation"."""

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")

# Okabe and Ito's colours, then a second ring: told apart also with a colour-vision deficiency.
_PALETTE = (
    "#0072b2", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999",
    "#1b4965", "#6a994e", "#bc4b51", "#8d6b94", "#c9ada7", "#4a4e69", "#a7c957", "#f4a259",
)  # fmt: skip


def default_color(index: int) -> str:
    """A colour for the class at this position, ``#rrggbb``; repeats after sixteen."""
    return _PALETTE[index % len(_PALETTE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendClass:
    """One class of a class map."""

    value: int
    """Number in the class map, 0 to 255."""
    name: str
    """What people call it."""
    color: str
    """``#rrggbb``."""
    file_value: int | None = None
    """Number in the raster that the map was read from, where that is another: a product may count in hundreds."""

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 255:
            raise ParameterError(f"class {self.name!r} has value {self.value}: choose one from 0 to 255")
        if not self.name.strip():
            raise ParameterError(f"the class with value {self.value} has no name: give it one")
        if not _COLOR.fullmatch(self.color):
            raise ParameterError(f"class {self.name!r} has colour {self.color!r}: write it as '#rrggbb'")

    @property
    def class_id(self) -> int:
        """Number in tables, polygons and labels: that of the raster that the map was read from."""
        return self.value if self.file_value is None else self.file_value

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        return int(self.color[1:3], 16), int(self.color[3:5], 16), int(self.color[5:7], 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """The classes of a map, in the order of the model's outputs."""

    classes: tuple[LegendClass, ...]
    """At least one class; values, numbers in files and names are unique."""
    nodata: int = field(default=NODATA)
    """Class value that means "no observation"."""
    file_nodata: int | None = None
    """Its number in the raster that the map was read from, where that is another."""

    def __post_init__(self) -> None:
        if not self.classes:
            raise ParameterError("a legend needs at least one class")
        for what, items in (("value", self.values), ("number", self.class_ids), ("name", self.names)):
            twice = sorted({str(x) for x in items if list(items).count(x) > 1})
            if twice:
                raise ParameterError(f"the legend has the {what} {', '.join(twice)} twice: make each one unique")
        if self.nodata in self.values or not 0 <= self.nodata <= 255:
            raise ParameterError(f"nodata {self.nodata} is a class value or outside 0 to 255: choose another")

    def __iter__(self) -> Iterator[LegendClass]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def values(self) -> tuple[int, ...]:
        """Class values in the order of the model's outputs."""
        return tuple(c.value for c in self.classes)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Numbers of the classes in tables and files, in the same order."""
        return tuple(c.class_id for c in self.classes)

    @property
    def nodata_id(self) -> int:
        """Number of "no observation" in files and labels."""
        return self.nodata if self.file_nodata is None else self.file_nodata

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs."""
        return tuple(c.name for c in self.classes)

    @classmethod
    def unnamed(cls, values: tuple[int, ...], *, nodata: int = NODATA) -> "Legend":
        """A legend for a class map of which only the values are known: ``class 1``, ``class 2`` ..."""
        return cls(
            classes=tuple(
                LegendClass(value=v, name=f"class {v}", color=default_color(i)) for i, v in enumerate(values)
            ),
            nodata=nodata,
        )
