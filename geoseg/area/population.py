"""What a class map holds, counted by blocks: pixels and true area of each class, and of strata on the same grid."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.area.pixel_area import PixelAreas
from geoseg.area.sample import Strata
from geoseg.area.sums import ClassTotals, class_totals
from geoseg.errors import ParameterError, SceneError, printable
from geoseg.legend import Legend
from geoseg.scene.class_raster import ClassRaster, ClassReader

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = [
    "MapTotals",
    "check_same_grid",
    "is_same_grid",
    "map_totals",
    "strata_by_class",
    "strata_by_raster",
    "windows",
]

_WINDOW_PIXELS = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapTotals:
    """A class map with its counts."""

    raster: ClassRaster
    """The map."""
    legend: Legend
    """Its classes, those without a name included."""
    areas: PixelAreas
    """Of its pixels."""
    totals: ClassTotals
    """By class value."""

    @property
    def pixels(self) -> NDArray[np.int64]:
        """(k,) pixels of the classes, in the order of the legend."""
        return self.totals.pixels[list(self.legend.values)]

    @property
    def areas_m2(self) -> NDArray[np.float64]:
        """(k,) true areas of the classes, in the order of the legend."""
        return self.totals.area_m2(self.areas.unit_m2)[list(self.legend.values)]

    def index_of(self, values: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Places of class values in the legend, -1 for nodata."""
        table = np.full(256, -1, dtype=np.int64)
        table[list(self.legend.values)] = np.arange(len(self.legend))
        return np.asarray(table[values])


def windows(raster: ClassRaster) -> Iterator[tuple[int, int, int, int]]:
    """Row, column, height and width of windows of some four million pixels, along the file's blocks."""
    shape, block_shape = raster.geobox.shape, raster.block_shape
    cols = min(shape[1], max(1, _WINDOW_PIXELS // (block_shape[0] * block_shape[1])) * block_shape[1])
    rows = min(shape[0], max(1, _WINDOW_PIXELS // (block_shape[0] * cols)) * block_shape[0])
    for row in range(0, shape[0], rows):
        for col in range(0, shape[1], cols):
            yield row, col, min(rows, shape[0] - row), min(cols, shape[1] - col)


def map_totals(raster: ClassRaster) -> MapTotals:
    """Pixels and true areas of the classes of a map; memory is that of one window.

    Raises:
        SceneError: If the map cannot be read, or has no pixel of a class.
    """
    areas = PixelAreas.of(raster.geobox)
    totals = ClassTotals.zero()
    with ClassReader(raster) as reader:
        for row, col, height, width in windows(raster):
            totals += class_totals(reader.read(row, col, height, width), areas, row_off=row, col_off=col)
    legend = raster.legend_of(np.flatnonzero(totals.pixels).tolist())
    held = MapTotals(raster=raster, legend=legend, areas=areas, totals=totals)
    if not held.pixels.any():
        raise SceneError(f"{printable(raster.href)}: all pixels are nodata: there is nothing to count")
    return held


def strata_by_class(held: MapTotals) -> Strata:
    """The map classes as strata, in the order of the legend."""
    return Strata(
        names=held.legend.names,
        sizes=held.pixels.astype(np.float64),
        areas=held.areas_m2,
        holds=np.eye(len(held.legend), dtype=np.bool_) & (held.pixels > 0),
    )


def strata_by_raster(held: MapTotals, strata: ClassRaster) -> tuple[Strata, NDArray[np.int64]]:
    """The strata of another raster on the grid of the map, counted where the map has a class.

    Args:
        held: The map with its counts.
        strata: A categorical raster on the same grid; its nodata belongs to no stratum.

    Returns:
        The strata, and (256,) the index of the stratum of each value, -1 for none.

    Raises:
        ParameterError: If the rasters lie on different grids, or no pixel has both a class and a stratum.
        SceneError: If one of them cannot be read.
    """
    check_same_grid(held.raster, strata)
    totals = ClassTotals.zero()
    both = np.zeros(1 << 16, dtype=np.int64)
    with ClassReader(held.raster) as reader, ClassReader(strata) as other:
        for window in windows(held.raster):
            classes, values = reader.read(*window), other.read(*window)
            values = np.where(classes == held.legend.nodata, np.uint8(strata.legend.nodata), values)
            totals += class_totals(values, held.areas, row_off=window[0], col_off=window[1])
            pairs = values.astype(np.uint16) << 8 | classes
            both += np.bincount(pairs.ravel(), minlength=1 << 16)
    present = [int(v) for v in np.flatnonzero(totals.pixels) if v != strata.legend.nodata]
    if not present:
        raise ParameterError(
            f"{printable(strata.href)} has no stratum where {printable(held.raster.href)} has a class: "
            "check that it is the raster of the strata"
        )
    names = dict(zip(*(getattr(strata.legend_of(present), part) for part in ("values", "names")), strict=True))
    index = np.full(256, -1, dtype=np.int64)
    index[present] = np.arange(len(present))
    return (
        Strata(
            names=tuple(names[v] for v in present),
            sizes=totals.pixels[present].astype(np.float64),
            areas=totals.area_m2(held.areas.unit_m2)[present],
            holds=both.reshape(256, 256)[np.ix_(present, held.legend.values)] > 0,
        ),
        index,
    )


def check_same_grid(one: ClassRaster, other: ClassRaster) -> None:
    """Refuse rasters whose pixels are not the same places.

    Raises:
        ParameterError: If shape, CRS or transform differ; positions may by a thousandth of a pixel.
    """
    a, b = one.geobox, other.geobox
    if a.crs != b.crs or not is_same_grid(a, b.transform, (b.shape[0], b.shape[1])):
        raise ParameterError(
            f"{printable(other.href)} is not on the grid of {printable(one.href)} ({_grid(b)} and {_grid(a)}): "
            "warp it there first, with gdalwarp -r near"
        )


def is_same_grid(geobox: "GeoBox", transform: Affine, shape: tuple[int, int]) -> bool:
    """Whether pixels of this transform and shape are those of the grid, to a thousandth of a pixel."""
    places = np.array([(0, 0), (shape[1], 0), (0, shape[0])], dtype=np.float64)
    back = np.array([(~geobox.transform @ transform) @ (x, y) for x, y in places])
    return tuple(geobox.shape) == tuple(shape) and bool(np.abs(back - places).max() < 1e-3)


def _grid(box: "GeoBox") -> str:
    crs = box.crs.proj if box.crs is not None else None
    epsg = crs.to_epsg() if crs is not None else None
    t = box.transform
    return (
        f"{box.shape[1]} x {box.shape[0]} px of {abs(t.a):.6g} from {t.c:.10g}, {t.f:.10g} in "
        f"{f'EPSG:{epsg}' if epsg else 'another CRS'}"
    )
