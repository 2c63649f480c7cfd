"""Polygons, lines and points of a vector file, drawn on a scene's grid as class indices."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from rasterio.transform import Affine

from geoseg.area.vector_file import PARQUET, checked_file
from geoseg.errors import InputError, ParameterError, printable, reason_of
from geoseg.legend import Legend
from geoseg.train.config import ClassSpec, TrainSpec
from geoseg.train.labels import asked_legend
from geoseg.train.outline import outline
from geoseg.train.pixel_losses import IGNORE

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["PolygonLabels", "Polygons", "read_polygons"]


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
        legend = asked_legend((*((spec.background,) if spec.background else ()), *spec.classes))
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
        return asked_legend(classes)
    except ParameterError as error:
        raise InputError(f"{name}: {error}; choose another value or name for background") from error
