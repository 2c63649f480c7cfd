"""What is known of the ground: label rasters, or polygons drawn on a scene's grid, as class indices."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from rasterio.transform import Affine

from geoseg.area.vector_file import PARQUET, checked_file
from geoseg.errors import InputError, ParameterError, printable, reason_of
from geoseg.legend import Legend, LegendClass, default_color
from geoseg.scene.class_raster import ClassRaster, ClassReader, open_class_raster
from geoseg.train.config import ClassSpec, TrainSpec
from geoseg.train.losses import IGNORE
from geoseg.train.outline import outline

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = [
    "UNKNOWN",
    "FilledLabels",
    "LabelReader",
    "NoLabels",
    "PolygonLabels",
    "Polygons",
    "RasterLabels",
    "check_grid",
    "class_index",
    "legend_of_rasters",
    "open_label_raster",
    "read_polygons",
    "unknown_values",
]

UNKNOWN = 254
"""Index of a value that is neither a class nor to be ignored; there are at most 254 classes, 0 to 253."""

_GRID_TOLERANCE_PX = 0.05


class LabelReader(Protocol):
    """Labels on the grid of a scene. One reader for one thread."""

    def read(self, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """Class indices (row, col) of a window inside the scene; `IGNORE` where there is no label."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class RasterLabels:
    """Reads the labels of a class raster."""

    def __init__(self, raster: ClassRaster, index: NDArray[np.uint8]) -> None:
        """Prepare to read.

        Args:
            raster: On the scene's grid.
            index: Of each of 256 class values: the index of its class, or `IGNORE`.
        """
        self._reader, self._index = ClassReader(raster), index

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """See `LabelReader.read`."""
        indices: NDArray[np.uint8] = self._index[self._reader.read(row, col, height, width)]
        return indices

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


class NoLabels:
    """Labels of an image that has none."""

    def read(self, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:  # noqa: ARG002 - of the protocol
        """See `LabelReader.read`."""
        return np.full((height, width), IGNORE, np.uint8)

    def close(self) -> None:
        """Nothing is open."""


class FilledLabels:
    """Labels, and where there are none those of another reader."""

    def __init__(self, labels: LabelReader, others: LabelReader) -> None:
        """Prepare to read both."""
        self._labels, self._others = labels, others

    def read(self, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """See `LabelReader.read`."""
        known = self._labels.read(row, col, height, width)
        return np.where(known == IGNORE, self._others.read(row, col, height, width), known)

    def close(self) -> None:
        """Close what is open; the last one opened first: rasterio's environments are a stack."""
        self._others.close()
        self._labels.close()


def legend_of_rasters(rasters: Sequence[ClassRaster], spec: TrainSpec) -> Legend:
    """The classes of some label rasters: those that are asked for, else all that the rasters name or hold.

    Raises:
        InputError: If two rasters name a value differently, or there are fewer than two classes.
    """
    if spec.classes:
        return _asked(spec.classes)
    found: dict[int, LegendClass] = {}
    by: dict[int, str] = {}
    for raster in rasters:
        for each in raster.legend:
            if each.value in spec.ignore:
                continue
            known = found.get(each.value)
            if known is not None and known.name != each.name and raster.named:
                raise InputError(
                    f"{printable(raster.href)}: calls the value {each.value} {printable(each.name)!r}, and "
                    f"{printable(by[each.value])} calls it {printable(known.name)!r}; say what it is with classes"
                )
            if known is None:
                found[each.value], by[each.value] = each, raster.href
    if len(found) < 2:
        names = ", ".join(printable(c.name) for c in found.values()) or "none"
        raise InputError(f"the labels have fewer than two classes ({names}): there is nothing to tell apart")
    return Legend(classes=tuple(found[v] for v in sorted(found)))


def _asked(classes: Sequence[ClassSpec]) -> Legend:
    return Legend(
        classes=tuple(
            LegendClass(value=c.value, name=c.name, color=c.color or default_color(i)) for i, c in enumerate(classes)
        )
    )


def open_label_raster(href: str, spec: TrainSpec) -> ClassRaster:
    """The class raster of a label file.

    Raises:
        SceneError: If it cannot be opened as one.
        InputError: If its values are beyond 0 to 254.
    """
    raster = open_class_raster(href, legend=spec.legend)
    other = [c.class_id for c in raster.legend if c.file_value is not None and c.file_value != c.value]
    if other:
        raise InputError(
            f"{printable(href)}: has the class {other[0]}, and classes of a model are numbered 0 to 254; "
            "reclassify it first, for example with gdal_calc.py"
        )
    return raster


def class_index(raster: ClassRaster, legend: Legend, ignore: Sequence[int]) -> NDArray[np.uint8]:
    """From the 256 values of a raster to the indices of classes; `UNKNOWN` for those that are nothing known."""
    index = np.full(256, UNKNOWN, np.uint8)
    index[list(legend.values)] = np.arange(len(legend))
    index[[raster.legend.nodata, *(v for v in ignore if 0 <= v <= 255)]] = IGNORE
    return index


def unknown_values(raster: ClassRaster, legend: Legend, ignore: Sequence[int]) -> InputError:
    """What to say of a label raster that holds values which are neither classes nor to be ignored."""
    known = {*legend.values, *ignore, raster.legend.nodata}
    counts = np.zeros(256, np.int64)
    rows, cols = raster.geobox.shape
    strip = max(1, (4 << 20) // cols)
    with ClassReader(raster) as reader:
        for row in range(0, rows, strip):
            counts += np.bincount(reader.read(row, 0, min(strip, rows - row), cols).ravel(), minlength=256)
    listed = ", ".join(f"{v} ({counts[v]} px)" for v in np.flatnonzero(counts).tolist() if v not in known)
    return InputError(
        f"{printable(raster.href)}: holds values that are no class: {listed}; the classes are "
        f"{', '.join(map(str, legend.values))}; add them to classes or to ignore"
    )


def check_grid(label: str, grid: GeoBox, scene: str, wanted: GeoBox) -> None:
    """See that a label raster lies on its scene's grid.

    Raises:
        InputError: If CRS, pixels, position or size differ.
    """
    mend = "bring it there with gdalwarp -r near -t_srs, -te and -tr of the image"
    if grid.crs != wanted.crs:
        raise InputError(
            f"{printable(label)}: its CRS is {_crs(grid)}, that of {printable(scene)} is {_crs(wanted)}; {mend}"
        )
    if grid.shape != wanted.shape:
        raise InputError(
            f"{printable(label)}: is {grid.shape[1]} x {grid.shape[0]} px, {printable(scene)} is "
            f"{wanted.shape[1]} x {wanted.shape[0]} px; {mend}"
        )
    rows, cols = wanted.shape
    to_pixel = ~wanted.transform
    off = 0.0
    for col, row in ((0, 0), (cols, 0), (0, rows), (cols, rows)):
        x, y = to_pixel @ (grid.transform @ (col, row))
        off = max(off, abs(x - col), abs(y - row))
    if not off <= _GRID_TOLERANCE_PX:
        raise InputError(
            f"{printable(label)}: its pixels are up to {off:.3g} px off those of {printable(scene)}; {mend}"
        )


def _crs(grid: GeoBox) -> str:
    crs = grid.crs
    epsg = None if crs is None else crs.epsg
    return f"EPSG:{epsg}" if epsg else printable(getattr(getattr(crs, "proj", None), "name", "unknown"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygons:
    """Labelled shapes of a file, in its own CRS."""

    name: str
    """The file, for messages."""
    frame: "gpd.GeoDataFrame"
    """Geometries."""
    index: NDArray[np.uint8]
    """Class index of each."""
    legend: Legend
    """The classes."""
    elsewhere: int = IGNORE
    """Class index of what no shape covers."""
    repaired: int = 0
    """How many of the shapes crossed themselves."""

    def on(self, geobox: GeoBox) -> "PolygonLabels":
        """Those on a scene's grid, ready to be drawn."""
        source, target = self.frame.crs, geobox.crs
        assert target is not None  # a scene has one
        shapes = self.frame.geometry
        if source != target.proj:
            # an edge that is straight in one CRS is bent in another: points every few pixels carry the bend
            there = outline(geobox, source)
            left, bottom, right, top = there.bounds
            step = 4 * max((right - left) / geobox.shape[1], (top - bottom) / geobox.shape[0])
            keep = np.flatnonzero(shapes.intersects(shapely.box(left, bottom, right, top)).to_numpy())
            shapes = shapes.iloc[keep].segmentize(step).to_crs(target.proj)
        else:
            keep = np.arange(len(shapes))
        inside = shapes.intersects(outline(geobox, target.proj)).to_numpy()
        return PolygonLabels(shapes.to_numpy()[inside], self.index[keep[inside]], geobox, elsewhere=self.elsewhere)


class PolygonLabels:
    """Draws shapes on the grid of a scene, window by window.

    A polygon has the pixels whose centre it holds; a line or a point those it touches. Where shapes overlap, the later
    one of the file lies on top. What no shape covers has no label, or is of the class that was named for it.
    """

    def __init__(
        self, shapes: NDArray[Any], index: NDArray[np.uint8], geobox: GeoBox, *, elsewhere: int = IGNORE
    ) -> None:
        """Prepare to draw shapes in the CRS of ``geobox``."""
        self._shapes, self._index, self._elsewhere = shapes, index, elsewhere
        self._transform: Affine = geobox.transform
        self._tree = shapely.STRtree(shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def read(self, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """See `LabelReader.read`."""
        transform = self._transform @ Affine.translation(col, row)
        corners = [transform @ (c, r) for c, r in ((0, 0), (width, 0), (width, height), (0, height))]
        chosen = np.sort(self._tree.query(shapely.Polygon(corners), predicate="intersects"))
        out = np.full((height, width), self._elsewhere, np.uint8)
        areal = shapely.get_dimensions(self._shapes[chosen]) == 2
        for touched, part in ((False, chosen[areal]), (True, chosen[~areal])):
            if len(part):
                pairs = zip(self._shapes[part], self._index[part].tolist(), strict=True)
                rasterize(pairs, out=out, transform=transform, all_touched=touched)
        return out

    def close(self) -> None:
        """Nothing is open."""


def read_polygons(source: str, spec: TrainSpec) -> Polygons:
    """The labelled shapes of a vector file, and the classes of its column.

    A column of whole numbers has class values, as a label raster has; any other has names. Classes that are not asked
    for by value or name are numbered from 1 in the order of their names. Without a column all shapes are of the one
    class that is asked for beside the background.

    Raises:
        InputError: If the file cannot be read, has no CRS or no shapes, or a class that is none of those asked for.
        ParameterError: If the column is not given, or the file has none of that name.
    """
    path, layer = checked_file(source, "labels")
    name = printable(path)
    column, kinds = spec.class_column, len(spec.classes)
    if column is None and not (kinds == 1 and spec.background is not None):
        raise ParameterError(
            f"{name}: which column has the classes? Name it with --class-column (class_column); where all shapes are "
            "of one class, such as building, name that in classes, and the class of the rest with background"
        )
    frame = _frame(path, layer, name)
    if column is not None and (column not in frame.columns or column == frame.geometry.name):
        columns = ", ".join(printable(c) for c in frame.columns if c != frame.geometry.name) or "none: it has none"
        raise ParameterError(f"{name} has no column {printable(column)!r} for the classes: choose one of {columns}")
    if frame.crs is None:
        raise InputError(f"{name}: has no CRS, so nothing says where it lies; set it, for example with ogr2ogr -a_srs")
    frame = frame[frame.geometry.notna() & ~frame.geometry.is_empty]
    if column is not None:
        frame = frame[frame[column].notna()]
    if not len(frame):
        raise InputError(f"{name}: has no shape{'' if column is None else f' with a class in {printable(column)}'}")
    values = [spec.classes[0].value] * len(frame) if column is None else frame[column].tolist()
    legend, index = _classes_of(values, spec, name)
    used = index != IGNORE
    # brought to another CRS as it is, a shape that crosses itself would lose parts
    crossed = ~frame.geometry.is_valid & used
    frame = frame.assign(**{frame.geometry.name: frame.geometry.where(~crossed, frame.geometry.make_valid())})
    elsewhere = IGNORE if spec.background is None else legend.values.index(spec.background.value)
    return Polygons(
        name=name,
        frame=frame[used],
        index=index[used],
        legend=legend,
        elsewhere=elsewhere,
        repaired=int(crossed.sum()),
    )


def _frame(path: Any, layer: str | None, name: str) -> "gpd.GeoDataFrame":
    import geopandas as gpd

    try:
        if path.suffix.lower() in PARQUET:
            return gpd.read_parquet(path)
        return gpd.read_file(path, layer=layer) if layer else gpd.read_file(path)
    except (ValueError, OSError, RuntimeError) as error:
        reason = reason_of(error)
        raise InputError(f"{name}: cannot be read: {reason}; check with ogrinfo that the file is whole") from error


def _classes_of(values: list[Any], spec: TrainSpec, name: str) -> tuple[Legend, NDArray[np.uint8]]:
    """The legend of a column, and the index of each of its values."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and float(v).is_integer() for v in values)
    keys: list[int | str] = [int(v) for v in values] if numbers else [str(v).strip() for v in values]
    present = sorted(set(keys), key=lambda k: (isinstance(k, str), k))
    if spec.ignore and not numbers:
        raise InputError(
            f"{name}: ignore is of no use for a column of class names: leave it out, and those shapes out of the file"
        )
    ignored = set(spec.ignore)
    if spec.classes:
        legend = _asked((*((spec.background,) if spec.background else ()), *spec.classes))
    elif numbers:
        kept = [int(k) for k in present if k not in ignored]
        if kept and not (min(kept) >= 0 and max(kept) <= 254):
            wrong = next(k for k in kept if not 0 <= k <= 254)
            raise InputError(
                f"{name}: has the class {wrong}, and classes are numbered 0 to 254: renumber the column, or choose "
                "one of names, which are numbered here"
            )
        legend = _made([(k, f"class {k}") for k in kept], name, spec.background)
    else:
        if len(present) > 253:
            raise InputError(f"{name}: has {len(present)} different names, and a model at most 253; is it that column?")
        taken = None if spec.background is None else spec.background.value
        free = (v for v in range(1, 255) if v != taken)
        legend = _made([(next(free), str(k)) for k in present], name, spec.background)
    known = {(c.value if numbers else c.name): i for i, c in enumerate(legend)}
    if unknown := [k for k in present if k not in known and k not in ignored]:
        shown = ", ".join(f"{printable(k)} ({keys.count(k)} shapes)" for k in unknown[:8])
        raise InputError(
            f"{name}: holds classes that are not asked for: {shown}; the classes are "
            f"{', '.join(printable(k) for k in known)}; add them to classes{' or to ignore' if numbers else ''}"
        )
    return legend, np.array([known.get(k, IGNORE) for k in keys], np.uint8)


def _made(pairs: list[tuple[int, str]], name: str, background: ClassSpec | None) -> Legend:
    first = () if background is None else (background,)
    if len(pairs) + len(first) < 2:
        raise InputError(
            f"{name}: has fewer than two classes, so there is nothing to tell apart: label another, or name the class "
            "of what no shape covers with background"
        )
    classes = (*first, *(ClassSpec(value=value, name=text) for value, text in pairs))
    try:
        return _asked(classes)
    except ParameterError as error:
        raise InputError(f"{name}: {error}; choose another value or name for background") from error
