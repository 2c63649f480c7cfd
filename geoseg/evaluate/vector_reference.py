"""A reference of polygons or points, as pixels of the grid of the prediction: rasterized block by block."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.features import rasterize

from geoseg.area.reference import _label_text as text_of  # the same rule for what a label says
from geoseg.area.reference import _read_points as read_point_table
from geoseg.area.reference import places_of
from geoseg.area.vector_file import FORMATS, checked_file
from geoseg.area.zone_file import _read as read_polygon_table
from geoseg.area.zone_grid import place_zones
from geoseg.area.zones import Zones, zones_of
from geoseg.change.maps import ClassSource
from geoseg.errors import InputError, ParameterError, printable
from geoseg.evaluate.plan import Matching
from geoseg.inference.lattice import Block
from geoseg.legend import NODATA, Legend, LegendClass, default_color
from geoseg.scene.ogr_path import ogr_path

__all__ = ["PolygonPixels", "VectorReference", "is_vector", "read_vector_reference"]

_MOST: Final = 254
_ROW: Final = "polygon"
_ONE_AT_A_TIME: Final = Lock()
"""For rasterio, which silences a warning of its own while it rasterizes: in two threads at once it may come through."""


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
    """Polygons, a zone each, in the order of the file; None for points."""
    points: NDArray[np.float64] | None
    """(n, 2) x and y of points; None for polygons."""
    crs: Any
    """Of the points."""
    values: NDArray[np.uint8]
    """(n,) class value of each zone or point."""
    elsewhere: int = NODATA
    """Class value of what no polygon covers; nodata where the file says nothing of it."""

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

    def check_names(self, prediction: ClassSource, matching: Matching) -> None:
        """Refuse a prediction of values alone where these are names: nothing says which value is which name.

        Raises:
            ParameterError: If that is so, and no crosswalk says it.
        """
        if self.named and not prediction.named and not matching.crosswalk:
            names = ", ".join(printable(n) for n in self.legend.names[:10])
            values = ", ".join(map(str, prediction.legend.class_ids[:10]))
            raise ParameterError(
                f"the classes of {self.name} are names ({names}), and {prediction.name} has values without names "
                f"({values}): say which is which with --crosswalk, give names with --legend, or a --class-column of "
                "values"
            )

    def _polygons(self, geobox: GeoBox) -> "PolygonPixels":
        assert self.zones is not None
        placed = place_zones(self.zones, geobox)
        parts, piece = shapely.get_parts(placed.pieces, return_index=True)
        return PolygonPixels(
            parts=parts,
            feature=placed.zone[piece],
            values=np.append(np.uint8(self.elsewhere), self.values),
            tree=shapely.STRtree(parts),
        )

    def _points(self, geobox: GeoBox) -> "_Points":
        assert self.points is not None
        assert geobox.crs is not None  # a class raster has one
        to_map = Transformer.from_crs(self.crs, geobox.crs.proj, always_xy=True)
        x, y = (np.asarray(v, dtype=np.float64) for v in to_map.transform(self.points[:, 0], self.points[:, 1]))
        at = places_of(x, y, geobox)
        return _Points(row=at.row[at.inside], col=at.col[at.inside], values=self.values[at.inside])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolygonPixels:
    """Gives blocks of polygons; where they overlap, the one that comes later in the file counts."""

    parts: NDArray[Any]
    """(p,) polygons in (column, -row)."""
    feature: NDArray[np.int64]
    """(p,) which polygon of the file each is of, ascending where they overlap."""
    values: NDArray[np.uint8]
    """(n + 1,) class value of what no polygon covers, and of each polygon of the file."""
    tree: Any
    """Finds the parts that are near a block."""

    @property
    def n(self) -> int:
        """Parts on the map."""
        return len(self.parts)

    def features(self, block: Block) -> NDArray[np.int32]:
        """(rows, cols) number of the polygon that each pixel's centre lies in, counted from 1; 0 for none."""
        out = np.zeros((block.height, block.width), dtype=np.int32)
        near = self.tree.query(shapely.box(block.col_off, -block.row_end, block.col_end, -block.row_off))
        if len(near):
            near = near[np.argsort(self.feature[near], kind="stable")]
            shapes = zip(self.parts[near], (self.feature[near] + 1).tolist(), strict=True)
            with _ONE_AT_A_TIME:
                rasterize(shapes, out=out, transform=Affine(1, 0, block.col_off, 0, -1, -block.row_off))
        return out

    def __call__(self, block: Block) -> tuple[NDArray[np.uint8], None]:
        """Class values of a block."""
        return self.values[self.features(block)], None


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


def read_vector_reference(source: str, *, column: str, elsewhere: str | None = None) -> VectorReference:
    """The labelled polygons or points of a vector file.

    Args:
        source: A local GeoPackage, shapefile, FlatGeobuf, GeoJSON or GeoParquet, or ``FILE:LAYER``.
        column: The class of each, a name, or the value that it has in the prediction. Those without one are left out.
        elsewhere: Class of what no polygon covers, where the polygons are all that there are of theirs; None where
            nothing is known of it.

    Raises:
        InputError: If it cannot be read, holds neither polygons nor points, lacks a CRS, or has too many classes.
        ParameterError: If it has no such column, or points are said to be all that there are.
    """
    checked_file(source, "a reference")
    name = printable(source)
    if _holds_points(source):
        if elsewhere is not None:
            raise ParameterError(
                f"{name} holds points, and what lies between points is not known: leave --elsewhere out"
            )
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
    frame = read_polygon_table(*checked_file(source, "a reference"), column)
    texts = [text_of(v) for v in frame[column].tolist()]
    labelled = np.array([t != "" for t in texts], dtype=np.bool_)
    if not labelled.any():
        raise InputError(f"{name}: none of its polygons has a class in {printable(column)!r}")
    rest = [] if elsewhere is None else [elsewhere]
    legend, named, values = _classes([*(t for t in texts if t), *rest], name)
    # a zone for each, so that each is an object of its own
    frame = frame.loc[labelled].reset_index(drop=True)
    zones = zones_of(frame.assign(**{_ROW: np.arange(len(frame))}), _ROW, name=name)
    return VectorReference(
        name=name,
        legend=legend,
        named=named,
        zones=zones,
        points=None,
        crs=zones.crs,
        values=values[: len(frame)],
        elsewhere=NODATA if elsewhere is None else int(values[-1]),
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
        with ogr_path(path) as file:
            first = pyogrio.read_dataframe(file, layer=layer or 0, max_features=1, columns=[])
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
