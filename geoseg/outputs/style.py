"""How results look when they are opened: QGIS styles and the class names of rasters.

QGIS shows an embedded colour table as 256 entries; a ``.qml`` beside the file shows the real classes only. Class names
and an attribute table go into ``.aux.xml`` (GDAL's PAM), which rasterio cannot write. Names come from strangers, so all
XML is built as a tree, never as text.
"""

from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from geoseg.errors import printable
from geoseg.legend import Legend

__all__ = ["pam_xml", "raster_qml", "vector_qml"]

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"

# GDAL's GDALRATFieldType and GDALRATFieldUsage
_INTEGER, _STRING = 0, 2
_RAT_COLUMNS = (
    ("Value", _INTEGER, 5),  # GFU_MinMax
    ("Class", _STRING, 2),  # GFU_Name
    ("Red", _INTEGER, 6),
    ("Green", _INTEGER, 7),
    ("Blue", _INTEGER, 8),
    ("Alpha", _INTEGER, 9),
)


def raster_qml(legend: Legend) -> str:
    """QGIS style of a class map: one entry per class, nodata unlisted and so transparent."""
    qgis = Element("qgis", version="3.22.0", styleCategories="Symbology")
    renderer = SubElement(
        SubElement(qgis, "pipe"),
        "rasterrenderer",
        type="paletted",
        band="1",
        opacity="1",
        alphaBand="-1",
        nodataColor="",
    )
    palette = SubElement(renderer, "colorPalette")
    for c in legend:
        SubElement(
            palette, "paletteEntry", value=str(c.value), color=c.color.lower(), label=printable(c.name), alpha="255"
        )
    return _DOCTYPE + tostring(qgis, encoding="unicode") + "\n"


def vector_qml(legend: Legend, *, column: str = "class_id") -> str:
    """QGIS style of polygons: one filled symbol without outline per class, chosen by ``column``.

    Symbol properties are written as ``prop``, which QGIS reads from 2.0 on.
    """
    qgis = Element("qgis", version="3.22.0", styleCategories="Symbology")
    renderer = SubElement(qgis, "renderer-v2", type="categorizedSymbol", attr=column, symbollevels="0", forceraster="0")
    categories = SubElement(renderer, "categories")
    symbols = SubElement(renderer, "symbols")
    for i, c in enumerate(legend):
        SubElement(
            categories,
            "category",
            render="true",
            symbol=str(i),
            value=str(c.class_id),
            label=printable(c.name),
            type="long",
        )
        symbol = SubElement(symbols, "symbol", type="fill", name=str(i), alpha="1", clip_to_extent="1", force_rhr="0")
        layer = SubElement(symbol, "layer", {"class": "SimpleFill", "pass": "0", "locked": "0", "enabled": "1"})
        rgba = ",".join(map(str, (*c.rgb, 255)))
        # an outline would hide the smallest polygons
        for key, value in (("color", rgba), ("style", "solid"), ("outline_style", "no"), ("outline_color", rgba)):
            SubElement(layer, "prop", k=key, v=value)
    return _DOCTYPE + tostring(qgis, encoding="unicode") + "\n"


def pam_xml(legend: Legend | None, *, srs_wkt: str | None = None, existing: str | None = None) -> str:
    """GDAL's ``.aux.xml`` of a raster: category names, a raster attribute table, a CRS.

    Args:
        legend: The classes; None for a raster that has none.
        srs_wkt: The CRS, for those that GeoTIFF keys cannot express; it goes before what is in the file.
        existing: What a driver has already put there, kept where it says other things.
    """
    root = fromstring(existing) if existing else Element("PAMDataset")  # noqa: S314 written by GDAL a moment ago
    if srs_wkt is not None:
        for old in root.findall("SRS"):
            root.remove(old)
        # transforms count x before y, whatever the order of the CRS's own axes
        srs = Element("SRS", dataAxisToSRSAxisMapping=_axis_mapping(srs_wkt))
        srs.text = srs_wkt
        root.insert(0, srs)
    if legend is not None:
        _add_classes(root, legend)
    return tostring(root, encoding="unicode") + "\n"


def _add_classes(root: Element, legend: Legend) -> None:
    band = root.find("PAMRasterBand[@band='1']")
    if band is None:
        band = SubElement(root, "PAMRasterBand", band="1")
    names = {c.value: printable(c.name) for c in legend}
    categories = SubElement(band, "CategoryNames")
    for value in range(max(names) + 1):
        SubElement(categories, "Category").text = names.get(value, "")
    table = SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_RAT_COLUMNS):
        field = SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
            SubElement(field, tag).text = text
    for index, c in enumerate(legend):
        row = SubElement(table, "Row", index=str(index))
        for cell in (c.value, names[c.value], *c.rgb, 255):
            SubElement(row, "F").text = str(cell)


def _axis_mapping(wkt: str) -> str:
    from pyproj import CRS

    crs = CRS.from_wkt(wkt)
    first = crs.axis_info[0].direction if crs.axis_info else "east"
    return "2,1" if first in {"north", "south"} and len(crs.axis_info) > 1 else "1,2"
