"""Names and colours of the classes of a raster, as far as the file itself states them.

rasterio gives colour tables only. Category names and raster attribute tables (of ``.aux.xml`` files, of HFA, of any
driver) are read from the VRT that GDAL writes of an open raster: one parser for all formats, and GDAL alone reads the
side files, which the guard has let through. ``.vat.dbf`` is the same table as ArcGIS writes it.

Everything here comes from strangers: sizes are bounded, XML with entities is not parsed, and a table that makes no
sense is passed over, since a class map is useful without names.
"""

import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import rasterio.shutil
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, MemoryFile

from geoseg.scene.guard import is_remote

__all__ = ["RGB", "StatedClasses", "names_tag", "stated_classes"]

RGB = tuple[int, int, int]

_MAX_XML_BYTES = 16 << 20
_MAX_DBF_BYTES = 16 << 20
_MAX_NAME = 200  # characters; what follows is cut off
_MAX_TAG = 20_000
_INT32 = 2**31

# GDAL's GDALRATFieldUsage
_USAGE_NAME, _USAGE_MIN, _USAGE_MIN_MAX, _USAGE_RGB = 2, 3, 5, (6, 7, 8)
_NAME_COLUMN = re.compile(r"class|name|label|legend|land.?cover|descr|categor", re.IGNORECASE)
_VALUE_COLUMNS = {"value", "class_value", "classvalue", "minmax", "pixel value", "code"}
_CLASSES_TAG = re.compile(r"(?<!\S)(\d{1,3})\s*[=:](.*?)(?=[\s,;]+\d{1,3}\s*[=:]|$)")
_NUMBER, _TEXT, _OTHER = "number", "text", "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedClasses:
    """What a file says about its classes."""

    names: Mapping[int, str]
    """Class value to a name that is not blank."""
    colors: Mapping[int, RGB]
    """Class value to red, green and blue."""
    origin: str
    """Where the names are from; empty where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    name: str
    usage: int
    kind: str
    cells: Sequence[str]


def stated_classes(dataset: DatasetReader, href: str, band: int) -> StatedClasses:
    """Names and colours of the classes, from the first of these that has some.

    Names: 1. category names, 2. the raster attribute table, 3. a ``.vat.dbf`` beside the file, 4. a tag ``CLASSES`` or
    ``legend`` with text like ``1=water 2=forest``. Colours: 1. the colour table, 2. and 3. those tables. Values are
    those that a pixel of the band can have, within 32 bits.
    """
    held = np.iinfo(dataset.dtypes[band - 1])
    possible = range(max(int(held.min), -_INT32), min(int(held.max) + 1, _INT32))
    root = _described_by_gdal(dataset)
    described = None if root is None else root.find(f"VRTRasterBand[@band='{band}']")
    tables = [
        ("its raster attribute table", _pam_table(described)),
        ("the .vat.dbf beside it", [] if is_remote(href) else list(_vat_table(href))),
    ]
    sources: list[tuple[str, dict[int, str]]] = [("its category names", _categories(described))]
    sources += [(origin, _names(columns)) for origin, columns in tables]
    sources += [(f"its tag {key}", _in_tag(dataset, band, key)) for key in ("CLASSES", "legend")]
    kept = ((o, {v: name for v, name in n.items() if v in possible}) for o, n in sources)
    origin, names = next(((o, n) for o, n in kept if n), ("", {}))
    palettes = (_color_table(dataset, band), *(_colors(columns) for _, columns in tables))
    chosen = next((p for p in palettes if p), {})
    colors = {v: rgb for v, rgb in chosen.items() if v in possible}
    return StatedClasses(names=names, colors=colors, origin=origin)


def _described_by_gdal(dataset: DatasetReader) -> ET.Element | None:
    """The VRT of a raster; it is made in memory and never opened."""
    try:
        with MemoryFile(ext=".vrt") as file:
            rasterio.shutil.copy(dataset, file.name, driver="VRT")
            file.seek(0)
            text = file.read(_MAX_XML_BYTES + 1)
    except (RasterioError, OSError):
        return None
    if len(text) > _MAX_XML_BYTES or b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return None
    try:
        return ET.fromstring(text)  # noqa: S314 - written by GDAL; entities were refused above
    except ET.ParseError:
        return None


def _categories(band: ET.Element | None) -> dict[int, str]:
    found = [] if band is None else band.findall("CategoryNames/Category")
    return dict(_named(enumerate(e.text or "" for e in found)))


def _named(pairs: Iterable[tuple[float, str]]) -> Iterator[tuple[int, str]]:
    """What can be a class: a whole value with a name that is not blank."""
    for value, text in pairs:
        name = " ".join(text.split())[:_MAX_NAME]
        if name and float(value).is_integer():
            yield int(value), name


def _pam_table(band: ET.Element | None) -> list[_Column]:
    """Columns of GDAL's raster attribute table; one with the values is added where rows are bins of equal width."""
    table = None if band is None else band.find("GDALRasterAttributeTable")
    if table is None:
        return []
    rows = [[cell.text or "" for cell in row.findall("F")] for row in table.findall("Row")]
    fields = table.findall("FieldDefn")
    rows = [row for row in rows if len(row) == len(fields)]
    columns = [
        _Column(
            name=field.findtext("Name", ""),
            usage=int(_number(field.findtext("Usage", "0")) or 0),
            kind=_TEXT if field.findtext("Type", "").strip() == "2" else _NUMBER,
            cells=[row[i] for row in rows],
        )
        for i, field in enumerate(fields)
    ]
    first, width = _number(table.get("Row0Min", "")), _number(table.get("BinSize", ""))
    if first is not None and width is not None:
        cells = [repr(first + i * width) for i in range(len(rows))]
        columns.append(_Column(name="", usage=_USAGE_MIN_MAX, kind=_NUMBER, cells=cells))
    return columns


def _vat_table(href: str) -> Iterator[_Column]:
    """Columns of the dBASE table that ArcGIS puts beside a raster as ``NAME.tif.vat.dbf``.

    The format: a header of 32 bytes with the number of rows and the lengths of header and row, 32 bytes per column,
    then rows of fixed-width text. Only what is needed here is read; anything else gives no columns.
    """
    path = Path(f"{href}.vat.dbf")
    if not path.is_file() or not 33 < path.stat().st_size <= _MAX_DBF_BYTES:
        return
    data = path.read_bytes()
    n_rows, header, length = struct.unpack_from("<IHH", data, 4)
    if length < 2 or header > len(data):
        return
    rows = [data[header + i * length : header + (i + 1) * length] for i in range(min(n_rows, len(data) // length))]
    rows = [row for row in rows if len(row) == length and row[:1] != b"*"]  # a star marks a row as deleted
    start = 1
    for place in range(32, header - 32, 32):
        if data[place : place + 1] == b"\r":
            break
        name, width = data[place : place + 11].split(b"\0")[0], data[place + 16]
        kind = {b"C": _TEXT, b"N": _NUMBER, b"F": _NUMBER}.get(data[place + 11 : place + 12], _OTHER)
        cells = [_decoded(row[start : start + width]).strip() for row in rows]
        yield _Column(name=_decoded(name), usage=0, kind=kind, cells=cells)
        start += width


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _values(columns: Sequence[_Column]) -> list[float] | None:
    """The class value of each row: the column of that use, else of that name; a row without one gets NaN."""
    for column in columns:
        if column.usage in (_USAGE_MIN, _USAGE_MIN_MAX) or column.name.strip().lower() in _VALUE_COLUMNS:
            numbers = [_number(cell) for cell in column.cells]
            if any(n is not None for n in numbers):
                return [math.nan if n is None else n for n in numbers]
    return None


def _names(columns: Sequence[_Column]) -> dict[int, str]:
    values = _values(columns)
    texts = [c for c in columns if c.kind == _TEXT and any(cell.strip() for cell in c.cells)]
    # the column of that use, else of such a name, the finest of several levels last as in CORINE's LABEL1 to LABEL3
    best = [c for c in texts if c.usage == _USAGE_NAME] or [c for c in texts if _NAME_COLUMN.search(c.name)][-1:]
    if values is None or not best:
        return {}
    return dict(_named(zip(values, best[0].cells, strict=True)))


def _colors(columns: Sequence[_Column]) -> dict[int, RGB]:
    values = _values(columns)
    channels = []
    for name, usage in zip(("red", "green", "blue"), _USAGE_RGB, strict=True):
        found = [c for c in columns if c.usage == usage] or [c for c in columns if c.name.strip().lower() == name]
        channels += found[:1]
    if values is None or len(channels) != 3:
        return {}
    cells = [[_number(cell) for cell in channel.cells] for channel in channels]
    # HFA and ArcGIS also write shares of 1
    highest = max((n for column in cells for n in column if n is not None), default=0.0)
    fraction = highest <= 1 and any(n not in (None, 0.0, 1.0) for column in cells for n in column)
    found_colors = {}
    for value, *rgb in zip(values, *cells, strict=True):
        levels = [-1 if n is None else round(n * 255 if fraction else n) for n in rgb]
        if value.is_integer() and all(0 <= n <= 255 for n in levels):
            found_colors[int(value)] = (levels[0], levels[1], levels[2])
    return found_colors


def _color_table(dataset: DatasetReader, band: int) -> dict[int, RGB]:
    try:
        table = dataset.colormap(band)
    except ValueError:  # none
        return {}
    return {v: (c[0], c[1], c[2]) for v, c in table.items()}


def _in_tag(dataset: DatasetReader, band: int, key: str) -> dict[int, str]:
    """Classes in a tag of the band or the file: ``1=water 2=forest``, or ``10: Tree cover`` line by line."""
    return _named_in(dataset.tags(band).get(key) or dataset.tags().get(key, ""))


def names_tag(names: Mapping[int, str]) -> str:
    """Names by class value as the text of a tag ``CLASSES``; empty where it would not read back as these.

    Example:
        >>> names_tag({1: "water", 2: "forest, open"})
        '1=water, 2=forest, open'
        >>> names_tag({1: "water 2: deep"})
        ''
    """
    text = ", ".join(f"{value}={name}" for value, name in names.items())
    return text if _named_in(text) == dict(names) else ""


def _named_in(text: str) -> dict[int, str]:
    text = " ".join(text.split())[:_MAX_TAG]
    if not _CLASSES_TAG.match(text):  # a sentence with a time in it is no list of classes
        return {}
    return dict(_named((int(value), name.strip(" ,;")) for value, name in _CLASSES_TAG.findall(text)))
