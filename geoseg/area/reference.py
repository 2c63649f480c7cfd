"""Reference points: what somebody says of places, read from a vector file and set on the pixels of a map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.area.pixel_area import PixelAreas
from geoseg.area.sample import listed
from geoseg.area.turns import beside, full_turn
from geoseg.area.vector_file import PARQUET, checked_file
from geoseg.errors import InputError, printable, reason_of
from geoseg.legend import Legend
from geoseg.scene.class_raster import ClassRaster, ClassReader
from geoseg.scene.ogr_path import ogr_path

if TYPE_CHECKING:
    import pandas as pd
    from odc.geo.geobox import GeoBox

__all__ = ["Places", "ReferencePoints", "StatedStrata", "areas_at", "classes_at", "places_of", "read_reference"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StatedStrata:
    """The strata that the points themselves name, with their sizes."""

    names: tuple[str, ...]
    """What the column says."""
    index: NDArray[np.int64]
    """(n,) the stratum of each point."""
    pixels: NDArray[np.float64]
    """(h,) pixels of each stratum."""
    areas_m2: NDArray[np.float64] | None
    """(h,) true area of each stratum, where the file says."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferencePoints:
    """Points with a label, in the CRS of the map."""

    path: str
    """The file."""
    x: NDArray[np.float64]
    """(n,) in the CRS of the map; infinite where that has no place for the point."""
    y: NDArray[np.float64]
    """(n,) likewise."""
    truth: NDArray[np.int64]
    """(n,) places of the labels in the legend."""
    n_unlabelled: int
    """Points left out because they have no label yet."""
    n_nowhere: int
    """Points left out because they have no position."""
    strata: StatedStrata | None = field(default=None)
    """Where the points name them."""
    drawn_from: NDArray[np.float64] | None = field(default=None)
    """(n,) what a column ``stratum`` beside ``stratum_px`` says, used or not; NaN where that is no number."""


def read_reference(
    path: str, *, column: str, legend: Legend, geobox: "GeoBox", strata_column: str | None = None
) -> ReferencePoints:
    """The labelled points of a vector file.

    Labels are class values or class names of the legend, names in any case of letters. A point whose label is empty, or
    the legend's nodata value, is not labelled yet.

    Args:
        path: A file of points with a CRS, a GeoPackage, shapefile, FlatGeobuf, GeoJSON or GeoParquet, or
            ``FILE:LAYER``.
        column: The column with the labels.
        legend: The classes of the map.
        geobox: The grid of the map.
        strata_column: A column with the stratum that a point was drawn from. The column of that name with ``_px`` has
            the pixels of the stratum, the same at all its points, and one with ``_m2``, if any, its true area.

    Raises:
        InputError: If the file cannot be read, is not of points, lacks a CRS or a column, or has labels that are not in
            the legend, or if sizes of strata are missing or differ.
    """
    from pyproj import Transformer

    table, name = _read_points(path)
    for wanted in (column, *((strata_column, f"{strata_column}_px") if strata_column else ())):
        if wanted not in table:
            known = listed([str(c) for c in table.columns if c != table.geometry.name])
            raise InputError(f"{name}: has no column {printable(wanted)!r}; it has {known}")
    has_label, truth = _labels(table[column], legend, name, column)
    somewhere = ~np.asarray(table.geometry.isna() | table.geometry.is_empty)
    usable = has_label & somewhere
    strata = _stated_strata(table, strata_column, usable, name) if strata_column else None
    points = table.geometry[usable]
    assert geobox.crs is not None  # a class raster has one
    to_map = Transformer.from_crs(table.crs, geobox.crs.proj, always_xy=True)
    x, y = to_map.transform(points.x.to_numpy(), points.y.to_numpy())
    return ReferencePoints(
        path=path,
        x=np.asarray(x, dtype=np.float64),
        y=np.asarray(y, dtype=np.float64),
        truth=truth[usable],
        n_unlabelled=int((~has_label).sum()),
        n_nowhere=int((has_label & ~somewhere).sum()),
        strata=strata,
        drawn_from=_drawn_from(table, usable),
    )


def _drawn_from(table: Any, usable: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    if not {"stratum", "stratum_px"} <= set(table.columns):
        return None
    import pandas as pd

    return np.asarray(pd.to_numeric(table["stratum"][usable], errors="coerce"), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """The pixels of a map that hold points."""

    inside: NDArray[np.bool_]
    """(n,) whether the point is on the grid at all."""
    row: NDArray[np.int64]
    """(n,) row of its pixel, 0 outside."""
    col: NDArray[np.int64]
    """(n,) column of its pixel, 0 outside."""


def places_of(x: NDArray[np.float64], y: NDArray[np.float64], geobox: "GeoBox") -> Places:
    """The pixels that contain points; one on an edge belongs to the pixel that begins there.

    A point that is outside is looked for a turn of longitude further, too: maps go on beyond the antimeridian, or count
    from 0 to 360 degrees.
    """
    inside, row, col = _pixels(x, y, geobox)
    turn = None if geobox.crs is None or inside.all() else full_turn(geobox.crs.proj)
    if turn is not None:
        middle, _ = geobox.transform @ (geobox.shape[1] / 2, geobox.shape[0] / 2)
        inside, row, col = _pixels(np.where(inside, x, beside(x, middle, turn)), y, geobox)
    return Places(
        inside=inside,
        row=np.where(inside, row, 0).astype(np.int64),
        col=np.where(inside, col, 0).astype(np.int64),
    )


def _pixels(
    x: NDArray[np.float64], y: NDArray[np.float64], geobox: "GeoBox"
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Whether points are on the grid, and their rows and columns."""
    inverse = ~geobox.transform
    with np.errstate(invalid="ignore"):
        col = np.floor(inverse.a * x + inverse.b * y + inverse.c)
        row = np.floor(inverse.d * x + inverse.e * y + inverse.f)
        return (row >= 0) & (col >= 0) & (row < geobox.shape[0]) & (col < geobox.shape[1]), row, col


def classes_at(raster: ClassRaster, places: Places) -> NDArray[np.uint8]:
    """(n,) class values of pixels, nodata outside; only blocks of the file that hold a point are read.

    Raises:
        SceneError: If the raster cannot be read there.
    """
    values = np.full(len(places.row), raster.legend.nodata, dtype=np.uint8)
    rows, cols = raster.block_shape
    height, width = raster.geobox.shape
    at = np.flatnonzero(places.inside)
    blocks = places.row[at] // rows * (width // cols + 1) + places.col[at] // cols
    with ClassReader(raster) as reader:
        for block in np.unique(blocks):
            mine = at[blocks == block]
            row, col = places.row[mine[0]] // rows * rows, places.col[mine[0]] // cols * cols
            pixels = reader.read(int(row), int(col), int(min(rows, height - row)), int(min(cols, width - col)))
            values[mine] = pixels[places.row[mine] - row, places.col[mine] - col]
    return values


def areas_at(areas: PixelAreas, places: Places) -> NDArray[np.float64]:
    """(n,) true areas in m² of pixels, NaN outside."""
    return np.where(places.inside, areas.units_at(places.row, places.col) * areas.unit_m2, np.nan)


def _read_points(path: str) -> tuple[Any, str]:
    """All features of the layer, and the file's name for messages."""
    import geopandas as gpd
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    file, layer = checked_file(path, "points")
    name = printable(path)
    try:
        if file.suffix.lower() in PARQUET:
            return _checked_points(gpd.read_parquet(file), name), name
        with ogr_path(file) as opened:
            layers = [str(each[0]) for each in pyogrio.list_layers(opened) if each[1] is not None]
            if layer is None and len(layers) > 1:
                raise InputError(
                    f"{name}: has the layers {listed(layers)}: name one, as in {name}:{printable(layers[0])}"
                )
            if layer is not None and layer not in layers:
                raise InputError(f"{name}: has no layer {printable(layer)!r} with geometries; it has {listed(layers)}")
            if not layers:
                raise InputError(f"{name}: has no layer with geometries: name a file of points")
            table = pyogrio.read_dataframe(opened, layer=layer or layers[0])
    except (DataSourceError, DataLayerError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        reason = reason_of(error)
        raise InputError(f"{name}: cannot be read as a vector file: {reason}; check it with ogrinfo") from error
    return _checked_points(table, name), name


def _checked_points(table: Any, name: str) -> Any:
    """The features, if they are points with a CRS."""
    if table.crs is None:
        raise InputError(f"{name}: has no CRS, so its points have no place; assign it, for example with ogr2ogr -a_srs")
    present = table.geometry[~table.geometry.isna()]
    single = present.geom_type.to_numpy() == "MultiPoint"
    if single.any() and (present[single].count_coordinates() <= 1).all():
        table = table.explode(index_parts=False, ignore_index=True)
        present = table.geometry[~table.geometry.isna()]
    kinds = sorted({str(k) for k in present.geom_type} - {"Point"})
    if kinds:
        raise InputError(f"{name}: holds {listed(kinds)}, and reference points are points: name a file of points")
    if len(table) == 0:
        raise InputError(f"{name}: has no features: name a file of points")
    return table


def _labels(
    column: "pd.Series[Any]", legend: Legend, name: str, column_name: str
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether there is a label, and its place in the legend."""
    known = _label_table(legend)
    has_label, truth = np.zeros(len(column), dtype=np.bool_), np.full(len(column), -1, dtype=np.int64)
    unknown: dict[str, None] = {}
    for i, value in enumerate(column.tolist()):
        text = _label_text(value)
        if text in ("", str(legend.nodata_id)):
            continue
        has_label[i] = True
        place = known.get(text, known.get(text.casefold(), -1))
        if place < 0:
            unknown[text] = None
        truth[i] = place
    if unknown:
        classes = [f"{c.class_id} {c.name}" for c in legend]
        raise InputError(
            f"{name}: column {printable(column_name)!r} has labels that are no class of the map: "
            f"{listed(list(unknown))}; known are {', '.join(map(printable, classes))}"
        )
    return has_label, truth


def _label_table(legend: Legend) -> Mapping[str, int]:
    """What a label may be, in order of precedence: a name, the name in other letters, a value."""
    texts: Sequence[tuple[str, int]] = [
        *((c.name.strip(), i) for i, c in enumerate(legend)),
        *((c.name.strip().casefold(), i) for i, c in enumerate(legend)),
        *((str(c.class_id), i) for i, c in enumerate(legend)),
    ]
    return dict(reversed(texts))


def _label_text(value: object) -> str:
    """A label as text; a whole number that a format keeps as 3.0 is 3."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return text[:-2] if text.endswith(".0") and text[:-2].isdigit() else text


def _stated_strata(table: Any, column: str, usable: NDArray[np.bool_], name: str) -> StatedStrata:
    """Strata from columns; those whose points have no label yet are strata too."""
    shown = printable(column)
    texts = [_label_text(v) for v in table[column].tolist()]
    if not all(texts):
        raise InputError(f"{name}: {texts.count('')} points have no {shown!r}: fill in where they were drawn from")
    names = sorted(set(texts))
    index = np.array([names.index(t) for t in texts], dtype=np.int64)

    def one_each(of: str) -> NDArray[np.float64]:
        values = _numbers(table[of], name, of)
        first = np.array([values[np.argmax(index == h)] for h in range(len(names))])
        if not (values == first[index]).all() or not (first > 0).all():
            raise InputError(
                f"{name}: {printable(of)!r} is missing, not positive, or differs within a stratum; mend it"
            )
        return first

    return StatedStrata(
        names=tuple(f"stratum {n}" if n.isdigit() else n for n in names),
        index=index[usable],
        pixels=one_each(f"{column}_px"),
        areas_m2=one_each(f"{column}_m2") if f"{column}_m2" in table else None,
    )


def _numbers(column: "pd.Series[Any]", name: str, of: str) -> NDArray[np.float64]:
    try:
        return np.asarray(column.to_numpy(dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {printable(of)!r} holds texts, and sizes of strata are numbers; mend it") from error
