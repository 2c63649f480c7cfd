"""A class map as polygons with their attributes: a GeoDataFrame, or a stream of Arrow batches for files."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.area.metric import Metric
from geoseg.area.perimeter import perimeters_m
from geoseg.area.pixel_area import PixelAreas
from geoseg.errors import ParameterError
from geoseg.inference.lattice import Block, blocks
from geoseg.legend import Legend
from geoseg.scene.class_map import occurring, read_class_map
from geoseg.scene.gsd import gsd_m
from geoseg.vector.blocks import polygonize_blocks
from geoseg.vector.features import Features, geometry_field
from geoseg.vector.measure import Measures, Pixels
from geoseg.vector.rings import Rings
from geoseg.vector.shapes import Shapes
from geoseg.vector.simplify import AreaChange, Distance, area_change, simplify_coverage
from geoseg.vector.unite import Grid

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr
    from odc.geo.geobox import GeoBox

__all__ = ["BLOCK_PX", "Drawn", "Outlines", "Vectorizer", "blocks_over", "vectorize", "vectorize_array"]

BLOCK_PX: Final = 2048
"""Side of a block: one in work takes up to 25 bytes a pixel, rings included, where the map is noisy; else few."""
T = TypeVar("T")
_ROWS: Final = 50_000  # features of a batch that was simplified


def blocks_over(rows: int, cols: int) -> Grid:
    """The blocks that a map is taken in: smaller ones where there would be a single one, for several to work on."""
    side = BLOCK_PX if rows * cols > BLOCK_PX**2 else BLOCK_PX // 2
    return Grid.of(list(blocks(rows, cols, block_height=side, block_width=side)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """How polygons are drawn."""

    connectivity: Literal[4, 8] = 4
    """With 8, pixels that touch at a corner are one feature, a multipolygon."""
    smooth: bool = False
    """Whether the stairs of pixels are rounded."""
    simplify: Distance | None = None
    """Tolerance of the simplification of shared borders, smoothed ones where they are; None leaves every vertex."""

    def __post_init__(self) -> None:
        if self.connectivity not in (4, 8):
            raise ParameterError(f"connectivity {self.connectivity}: choose 4 or 8")


@dataclass(slots=True, kw_only=True, eq=False)
class Drawn:
    """What was drawn when the features of a map were gone through last."""

    n: int = 0
    """Number of features."""
    pixels: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))
    """By class value, their area in pixels of the map."""
    outlined: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))
    """By class value, the area within their outlines, in pixels."""
    class_ids: NDArray[np.int32] = field(default_factory=lambda: np.arange(256, dtype=np.int32))
    """By class value, the number that people know the class by."""

    @classmethod
    def of(cls, shapes: Shapes, measures: Measures, *, along_pixels: bool) -> "Drawn":
        """Some features; within outlines along the edges of pixels lie just these pixels."""
        pixels, outlined = (
            np.bincount(measures.class_id, weights=weights, minlength=256).astype(np.float64)
            for weights in (measures.sums.pixels, measures.sums.pixels if along_pixels else shapes.areas_px())
        )
        return cls(n=len(measures), pixels=pixels, outlined=outlined)

    def add(self, other: "Drawn") -> None:
        """Count others, too."""
        self.n += other.n
        self.pixels += other.pixels
        self.outlined += other.outlined

    def clear(self) -> None:
        """Begin anew."""
        self.n, self.pixels[:], self.outlined[:] = 0, 0, 0

    @property
    def area_change(self) -> AreaChange | None:
        """What smoothing and simplification did to the areas of classes; None where there are no features."""
        values = np.flatnonzero(self.pixels)
        return area_change(self.class_ids[values], self.pixels[values], self.outlined[values])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vectorizer:
    """What is known of a class map, and how its polygons are drawn."""

    geobox: "GeoBox"
    """Of the map."""
    legend: Legend
    """Its classes and nodata."""
    grid: Grid
    """The blocks it is taken in; the polygons do not depend on them."""
    read: Callable[[Block], Pixels]
    """Gives the pixels of a block; called twice for each."""
    outlines: Outlines = field(default_factory=Outlines)
    """How polygons are drawn."""
    areas: PixelAreas | None = None
    """True pixel areas; None where the map has no CRS."""
    with_probabilities: bool = False
    """Whether the pixels come with the probability of each class."""

    def go_through(
        self,
        finish: Callable[[Shapes, Measures, NDArray[np.int64]], T],
        executor: Executor,
        *,
        at_once: int = 1,
        done: Callable[[Block], None] | None = None,
    ) -> Iterator[T]:
        """What ``finish`` makes of all features, some at a time.

        It is given outlines in pixel coordinates, what was summed up in them, and their first pixels. Memory is that of
        the blocks in work and of the features that go on beyond them; to simplify borders, all features are held.
        ``done`` is told of each block that was traced.
        """
        nodata, smooth = self.legend.nodata, self.outlines.smooth
        options: Any = {"connectivity": self.outlines.connectivity, "at_once": at_once, "done": done}
        if self.outlines.simplify is None:
            drawn = _Outlined(finish=finish, smooth=smooth)
            yield from polygonize_blocks(self.grid, self.read, drawn, executor, nodata=nodata, **options)
            return
        # Borders to nodata are simplified as those between classes are: nodata is drawn, too, and then left out.
        found = list(polygonize_blocks(self.grid, self.read, _pair, executor, nodata=-1, **options))
        if found:
            for some in _simplified(found, nodata, smooth, self.outlines.simplify.pixels(self._gsd_m())):
                yield finish(*some)

    def columns(self, shapes: Shapes, measures: Measures, metric: Metric | None) -> dict[str, NDArray[Any]]:
        """The attributes of features by name; ``class_name`` is that of ``class_id``.

        Raises:
            ParameterError: If there is a class that the legend lacks.
        """
        unknown = sorted(set(np.unique(measures.class_id).tolist()) - set(self.legend.values))
        if unknown:
            known = f"{', '.join(map(str, self.legend.values))}; nodata {self.legend.nodata}"
            raise ParameterError(
                f"the class map has the values {', '.join(map(str, unknown))}, which the legend ({known}) lacks: "
                "add them to the legend"
            )
        nan = np.full(len(measures), np.nan)
        columns: dict[str, NDArray[Any]] = {
            "class_id": self._ids()[measures.class_id],
            "class_name": self._names()[measures.class_id],
            "area_m2": nan if self.areas is None else measures.sums.area_m2(self.areas.unit_m2),
            "perim_m": nan
            if metric is None
            else perimeters_m(shapes.points, shapes.ring_offsets, shapes.first_rings, metric),
            "mean_conf": measures.sums.mean_conf(),
        }
        if measures.probabilities is not None:
            total = measures.probabilities.sum(axis=1)
            for k, number in enumerate(self.legend.class_ids):
                mean = nan.copy()
                np.divide(measures.probabilities[:, k], total, out=mean, where=total > 0)
                columns[f"p_{number}"] = mean
        return columns

    def features(
        self,
        executor: Executor,
        *,
        at_once: int = 1,
        drawn: Drawn | None = None,
        done: Callable[[Block], None] | None = None,
    ) -> Features:
        """All polygons as a stream of Arrow batches; each time it is gone through, they are made anew.

        Args:
            executor: Runs the work on blocks.
            at_once: Blocks that it can work on at the same time.
            drawn: Told what is drawn.
            done: Told of each block that was traced, each time.
        """
        import pyarrow as pa

        columns: list[tuple[str, Any]] = [("class_id", pa.int32()), ("class_name", pa.string())]
        columns += [(name, pa.float64()) for name in ("area_m2", "perim_m", "mean_conf")]
        if self.with_probabilities:
            columns += [(f"p_{number}", pa.float64()) for number in self.legend.class_ids]
        schema = pa.schema([geometry_field(), *(pa.field(*c) for c in columns)])
        # without what reads the pixels: this goes to the workers with every block
        finish = _Batch(vectorizer=replace(self, read=_unread), metric=self._metric(), schema=schema)

        def batches() -> "Iterator[pa.RecordBatch]":
            if drawn is not None:
                drawn.clear()
                drawn.class_ids = self._ids()
            for batch, counts in self.go_through(finish, executor, at_once=at_once, done=done):
                if drawn is not None:
                    drawn.add(counts)
                yield batch

        return Features(
            schema=schema,
            geometry_type="Polygon" if self.outlines.connectivity == 4 else "MultiPolygon",
            crs=None if self.geobox.crs is None else self.geobox.crs.proj,
            batches=batches,
        )

    def geodataframe(self, executor: Executor, *, at_once: int = 1) -> "gpd.GeoDataFrame":
        """All polygons in memory, in the row-major order of their first pixels."""
        import geopandas as gpd
        import pandas as pd

        metric = self._metric()

        def finish(
            shapes: Shapes, measures: Measures, first: NDArray[np.int64]
        ) -> tuple[NDArray[np.object_], dict[str, NDArray[Any]], NDArray[np.int64]]:
            geometries = shapes.on_map(self.geobox.transform).geometries()
            return geometries, self.columns(shapes, measures, metric), first

        none = Measures.none(self.with_probabilities * len(self.legend))
        found = [(_ZERO[:0].astype(object), self.columns(_NO_SHAPES, none, None), _ZERO[:0])]
        found += self.go_through(finish, executor, at_once=at_once)
        geometries, tables, firsts = zip(*found, strict=True)
        order = np.argsort(np.concatenate(firsts))
        table = {name: np.concatenate([t[name] for t in tables])[order] for name in tables[0]}
        columns = pd.DataFrame(table).astype({"class_name": "str"})
        crs = None if self.geobox.crs is None else self.geobox.crs.proj
        return gpd.GeoDataFrame(columns, geometry=np.concatenate(geometries)[order], crs=crs)

    def _metric(self) -> Metric | None:
        return None if self.geobox.crs is None else Metric.of(self.geobox)

    def _gsd_m(self) -> float | None:
        return None if self.geobox.crs is None else gsd_m(self.geobox)

    def _ids(self) -> NDArray[np.int32]:
        ids = np.arange(256, dtype=np.int32)
        ids[list(self.legend.values)] = self.legend.class_ids
        return ids

    def _names(self) -> NDArray[np.object_]:
        names = np.full(256, None, dtype=object)
        for c in self.legend:
            names[c.value] = c.name
        return names


def _pair(rings: Rings, measures: Measures) -> tuple[Rings, Measures]:
    return rings, measures


def _unread(_: Block) -> Pixels:
    raise AssertionError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlined:
    """Hands on the outlines of rings."""

    finish: Callable[[Shapes, Measures, NDArray[np.int64]], Any]
    smooth: bool

    def __call__(self, rings: Rings, measures: Measures) -> Any:
        return self.finish(Shapes.of(rings, smooth=self.smooth), measures, rings.first_pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Makes an Arrow batch of features, and counts what is in it."""

    vectorizer: Vectorizer
    metric: Metric | None
    schema: Any

    def __call__(self, shapes: Shapes, measures: Measures, _: NDArray[np.int64]) -> tuple[Any, Drawn]:
        import pyarrow as pa

        values = self.vectorizer.columns(shapes, measures, self.metric)
        wkb = shapes.on_map(self.vectorizer.geobox.transform).wkb()
        attributes = list(self.schema)[1:]
        arrays = [pa.array(values[f.name], f.type, from_pandas=True) for f in attributes]
        outlines = self.vectorizer.outlines
        counts = Drawn.of(shapes, measures, along_pixels=not outlines.smooth and outlines.simplify is None)
        return pa.RecordBatch.from_arrays([wkb, *arrays], schema=self.schema), counts


_ZERO: Final = np.zeros(1, dtype=np.int64)
_NO_SHAPES: Final = Shapes(points=np.empty((0, 2)), ring_offsets=_ZERO, polygon_offsets=_ZERO, feature_offsets=None)


def _simplified(
    found: list[tuple[Rings, Measures]], nodata: int, smooth: bool, tolerance_px: float
) -> Iterator[tuple[Shapes, Measures, NDArray[np.int64]]]:
    """All features with simplified borders, in the order of their first pixels; nodata is left out."""
    first = np.concatenate([rings.first_pixels for rings, _ in found])
    order = np.argsort(first)  # the same coverage in the same order, whatever the blocks
    geometry = np.concatenate([Shapes.of(rings, smooth=smooth).geometries() for rings, _ in found])[order]
    measures = Measures.joined([m for _, m in found]).take(order)
    keep = measures.class_id != nodata
    geometry, measures, first = (
        simplify_coverage(geometry, tolerance_px, keep=keep),
        measures.take(keep),
        first[order][keep],
    )
    for begin in range(0, len(geometry), _ROWS):
        rows = np.arange(begin, min(begin + _ROWS, len(geometry)))
        yield Shapes.of_geometries(geometry[rows]), measures.take(rows), first[rows]


def vectorize(
    classes: "xr.DataArray",
    *,
    legend: Legend | None = None,
    confidence: "xr.DataArray | None" = None,
    outlines: Outlines | None = None,
) -> "gpd.GeoDataFrame":
    """The polygons of a class map as a table: a valid coverage in the map's CRS.

    They share their borders vertex by vertex (`shapely.coverage_is_valid`) and, unless they are simplified, rasterize
    back to the class map; nodata stays empty. The same rings as GDAL's polygonize, plus a vertex wherever three regions
    meet. Blocks are worked on in as many threads as there are cores.

    Args:
        classes: (rows, cols) uint8 class map with a CRS and a transform, numpy or dask; it is held in memory whole.
        legend: Names of the classes. By default ``class 1``, ``class 2`` ..., and nodata as the map says, else 255.
        confidence: uint8 percent on the same grid, 255 where there is none.
        outlines: Connectivity, smoothing and simplification.

    Returns:
        One row per polygon, in the row-major order of their first pixels: ``class_id``, ``class_name``, ``area_m2``
        (sum of true pixel areas), ``perim_m`` (geodesic, holes included), ``mean_conf`` (percent, mean over the
        polygon's pixels) and ``geometry``. NaN where there is no CRS, or no confidence.

    Raises:
        ParameterError: If the map is not two-dimensional uint8 on a pixel grid, the confidence does not fit it, it
            has class values that the legend lacks, or its transform is degenerate.
    """
    class_map = read_class_map(classes, legend=legend, confidence=confidence)
    if class_map.transform.is_degenerate:
        raise ParameterError(
            f"the transform {tuple(class_map.transform)[:6]} maps pixels to a line or a point: "
            "give one whose pixels have an area"
        )
    pixels = np.asarray(class_map.classes)
    if legend is None:
        present = occurring(pixels)
        names = class_map.legend_of(present)
        legend = Legend(classes=names, nodata=class_map.nodata) if names else Legend.unnamed((0,))
    return vectorize_array(
        pixels,
        class_map.geobox,
        legend,
        areas=None if class_map.crs is None else PixelAreas.of(class_map.geobox),
        confidence=None if class_map.confidence is None else np.asarray(class_map.confidence),
        outlines=outlines,
    )


def vectorize_array(
    classes: NDArray[np.uint8],
    geobox: "GeoBox",
    legend: Legend,
    *,
    areas: PixelAreas | None,
    confidence: NDArray[np.uint8] | None = None,
    outlines: Outlines | None = None,
) -> "gpd.GeoDataFrame":
    """As `vectorize`, of a map whose parts are at hand: (rows, cols) arrays, their grid and legend."""

    def read(block: Block) -> Pixels:
        at = slice(block.row_off, block.row_end), slice(block.col_off, block.col_end)
        return Pixels(classes=classes[at], areas=areas, confidence=None if confidence is None else confidence[at])

    threads = os.cpu_count() or 1
    vectorizer = Vectorizer(
        geobox=geobox,
        legend=legend,
        grid=blocks_over(*classes.shape),
        read=read,
        outlines=outlines or Outlines(),
        areas=areas,
    )
    with ThreadPoolExecutor(threads, "geoseg-vector") as pool:
        return vectorizer.geodataframe(pool, at_once=threads)
