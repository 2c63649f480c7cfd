"""A reference of polygons or points, as pixels of the grid of the prediction: rasterized block by block."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.features import rasterize

from geoseg.area.reference import _label_text as text_of  # the same rule for what a label says
from geoseg.area.reference import _read_points as read_point_table
from geoseg.area.reference import places_of
from geoseg.area.vector_file import FORMATS, checked_file
from geoseg.area.zone_file import read_zones
from geoseg.area.zone_grid import place_zones
from geoseg.area.zones import Zones
from geoseg.change.maps import ClassSource
from geoseg.errors import InputError, printable
from geoseg.inference.lattice import Block
from geoseg.legend import NODATA, Legend, LegendClass, default_color

__all__ = ["VectorReference", "is_vector", "read_vector_reference"]

_MOST: Final = 254


def is_vector(named: str) -> bool:
    """Whether what was named is a vector file, with or without a layer, by its suffix."""
    path = named.lower()
    return any(path.endswith(suffix) or f"{suffix}:" in path for suffix in FORMATS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorReference:
    """Polygons or points with a class, in their own CRS; set on the grid of each prediction in turn."""

    name: str
    """What they are called in messages."""
    legend: Legend
    """Their classes: numbers are values, texts names."""
    named: bool
    """Whether the classes are names."""
    zones: Zones | None
    """Polygons, those of a class united; None for points."""
    points: NDArray[np.float64] | None
    """(n, 2) x and y of points; None for polygons."""
    crs: Any
    """Of the points."""
    values: NDArray[np.uint8]
    """(n,) class value of each zone or point."""

    def on(self, geobox: GeoBox) -> ClassSource:
        """As the reference of a map with this grid; a pixel has the class that its centre, or a point in it, has.

        Raises:
            InputError: If nothing of it lies on the map.
            ParameterError: If there is no way from its CRS to that of the map.
        """
        read = self._polygons(geobox) if self.points is None else self._points(geobox)
        if not read.n:
            raise InputError(f"{self.name} has nothing on the map: give a reference for this place")

        def extend(_: Iterable[int]) -> Legend:
            return self.legend  # it was made of all values

        return ClassSource(
            name=self.name,
            geobox=geobox,
            legend=self.legend,
            named=self.named,
            read=read,
            has_confidence=False,
            extend=extend,
        )

    def _polygons(self, geobox: GeoBox) -> "_Polygons":
        assert self.zones is not None
        placed = place_zones(self.zones, geobox)
        parts, piece = shapely.get_parts(placed.pieces, return_index=True)
        return _Polygons(parts=parts, values=self.values[placed.zone[piece]], tree=shapely.STRtree(parts))

    def _points(self, geobox: GeoBox) -> "_Points":
        assert self.points is not None
        assert geobox.crs is not None  # a class raster has one
        to_map = Transformer.from_crs(self.crs, geobox.crs.proj, always_xy=True)
        x, y = (np.asarray(v, dtype=np.float64) for v in to_map.transform(self.points[:, 0], self.points[:, 1]))
        at = places_of(x, y, geobox)
        return _Points(row=at.row[at.inside], col=at.col[at.inside], values=self.values[at.inside])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Polygons:
    """Gives blocks of polygons; where they overlap, the class that comes later in the file counts."""

    parts: NDArray[Any]  # in (column, -row)
    values: NDArray[np.uint8]
    tree: Any

    @property
    def n(self) -> int:
        return len(self.parts)

    def __call__(self, block: Block) -> tuple[NDArray[np.uint8], None]:
        out = np.full((block.height, block.width), NODATA, dtype=np.uint8)
        near = np.sort(self.tree.query(shapely.box(block.col_off, -block.row_end, block.col_end, -block.row_off)))
        if len(near):
            to_map = _shifted(block)
            shapes = zip(self.parts[near], self.values[near].tolist(), strict=True)
            rasterize(shapes, out=out, transform=to_map)
        return out, None


def _shifted(block: Block) -> Any:
    from affine import Affine

    return Affine(1, 0, block.col_off, 0, -1, -block.row_off)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Points:
    """Gives blocks with the pixels that hold points; of several in one pixel the last in the file counts."""

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    values: NDArray[np.uint8]

    @property
    def n(self) -> int:
        return len(self.values)

    def __call__(self, block: Block) -> tuple[NDArray[np.uint8], None]:
        out = np.full((block.height, block.width), NODATA, dtype=np.uint8)
        row, col = self.row - block.row_off, self.col - block.col_off
        here = (row >= 0) & (col >= 0) & (row < block.height) & (col < block.width)
        out[row[here], col[here]] = self.values[here]
        return out, None


def read_vector_reference(source: str, *, column: str) -> VectorReference:
    """The labelled polygons or points of a vector file.

    Args:
        source: A local GeoPackage, shapefile, FlatGeobuf, GeoJSON or GeoParquet, or ``FILE:LAYER``.
        column: The class of each, a name, or the value that it has in the prediction. Points without one are left out.

    Raises:
        InputError: If it cannot be read, holds neither polygons nor points, lacks a CRS, or has too many classes.
        ParameterError: If it has no such column.
    """
    checked_file(source, "a reference")
    name = printable(source)
    if _holds_points(source):
        table, _ = read_point_table(source)
        if column not in table:
            known = ", ".join(printable(c) for c in table.columns if c != table.geometry.name)
            raise InputError(f"{name}: has no column {printable(column)!r}; it has {known}")
        texts = [text_of(v) for v in table[column].tolist()]
        used = np.array([t != "" for t in texts]) & ~np.asarray(table.geometry.isna() | table.geometry.is_empty)
        if not used.any():
            raise InputError(f"{name}: none of its points has a position and a class in {printable(column)!r}")
        legend, named, values = _classes([t for t, u in zip(texts, used, strict=True) if u], name)
        points = table.geometry[used]
        xy = np.column_stack([points.x.to_numpy(), points.y.to_numpy()])
        return VectorReference(
            name=name, legend=legend, named=named, zones=None, points=xy, crs=table.crs, values=values
        )
    zones = read_zones(source, id_column=column)
    legend, named, values = _classes([text_of(v) for v in zones.ids.tolist()], name)
    return VectorReference(
        name=name, legend=legend, named=named, zones=zones, points=None, crs=zones.crs, values=values
    )


def _holds_points(source: str) -> bool:
    """Whether the first geometry of the layer is a point."""
    import geopandas as gpd
    import pyogrio

    path, layer = checked_file(source, "a reference")
    try:
        if path.suffix.lower() in (".parquet", ".geoparquet"):
            kinds = gpd.read_parquet(path, columns=None).geom_type.dropna()
            return bool(len(kinds)) and "Point" in str(kinds.iloc[0])
        first = pyogrio.read_dataframe(path, layer=layer or 0, max_features=1, columns=[])
        return len(first) > 0 and "Point" in str(first.geom_type.iloc[0])
    except (ValueError, OSError, RuntimeError, AttributeError):
        return False  # whatever is wrong with it is said by who reads it as polygons


def _classes(texts: Sequence[str], name: str) -> tuple[Legend, bool, NDArray[np.uint8]]:
    """A legend of labels, whether they are names, and the value of each label."""
    seen = list(dict.fromkeys(texts))
    if all(t.isascii() and t.isdigit() and int(t) <= _MOST for t in seen):
        values = np.array([int(t) for t in texts], dtype=np.uint8)
        return Legend.unnamed(tuple(sorted({int(t) for t in seen}))), False, values
    keys = list(dict.fromkeys(" ".join(t.casefold().split()) for t in seen))
    if len(keys) > _MOST or "" in keys:
        raise InputError(f"{name}: has {len(keys)} classes, or one without a name: give 1 to {_MOST} names or values")
    first = {k: next(t for t in seen if " ".join(t.casefold().split()) == k) for k in keys}
    made = tuple(LegendClass(value=i + 1, name=first[k], color=default_color(i)) for i, k in enumerate(keys))
    values = np.array([keys.index(" ".join(t.casefold().split())) + 1 for t in texts], dtype=np.uint8)
    return Legend(classes=made, nodata=NODATA), True, values
