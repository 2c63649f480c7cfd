"""What a polygon format is: how features are written, opened again, and what the format makes of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.legend import Legend
from geoseg.vector.features import BATCH_BYTES, Features

__all__ = ["Context", "Stored", "VectorFormat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a writer knows besides the polygons."""

    layer: str
    """Layer name, for formats that have one: short, lower case, the same in every file."""
    legend: Legend
    """Classes with their colours, for the style."""
    metadata: Mapping[str, str]
    """Provenance, kept where the format has a place for it."""
    column: str = "class_id"
    """Column with the value in the legend, which chooses the symbol."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stored:
    """Features as they lie in an open file."""

    names: tuple[str, ...]
    """Columns, ``geometry`` among them."""
    crs: Any
    """A pyproj CRS; None where there is none."""
    batches: Iterator[Any]
    """Arrow record batches with these columns, to be gone through once."""
    bounds: Any = None
    """(left, bottom, right, top) as the file states them; None where it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFormat:
    """How polygons are kept in one format."""

    suffix: str
    """Of the file, with its dot."""
    write: Callable[[Features, Path, Context], None]
    """Writes features to a path, batch by batch and in one go through them, and closes it."""
    open: Callable[[Path, Context], AbstractContextManager[Stored]]
    """Opens what a path holds; raises if the file is damaged."""
    prepare: Callable[[Features], Features] = lambda features: features
    """Features as the format keeps them to the last bit, such as with coordinates in its CRS; refuses what is unfit."""
    keeps_crs: bool = True
    """Whether any CRS reads back as the same one."""
    batch_bytes: int = BATCH_BYTES
    """Bytes of the outlines of a batch that is written, as long as no single feature has more."""
    sides: tuple[str, ...] = ()
    """Suffixes of the files that lie beside it."""
