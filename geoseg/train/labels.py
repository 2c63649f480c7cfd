"""What is known of the ground as class indices on a scene's grid: label rasters, and readers of labels in general."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.errors import InputError, printable
from geoseg.legend import Legend, LegendClass, default_color
from geoseg.scene.class_raster import ClassRaster, ClassReader, open_class_raster
from geoseg.train.config import ClassSpec, TrainSpec
from geoseg.train.pixel_losses import IGNORE

__all__ = [
    "UNKNOWN",
    "FilledLabels",
    "LabelReader",
    "NoLabels",
    "RasterLabels",
    "asked_legend",
    "check_grid",
    "class_index",
    "legend_of_rasters",
    "open_label_raster",
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
        return asked_legend(spec.classes)
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


def asked_legend(classes: Sequence[ClassSpec]) -> Legend:
    """The legend of classes that are asked for."""
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
