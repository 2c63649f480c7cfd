"""A STAC 1.1 item per scene: what was made, from what, where and how.

Extension schemas live on the web, so only the core schema is ever validated; extension fields are written by hand.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from odc.geo.geobox import GeoBox

from geoseg.errors import OutputError, ParameterError
from geoseg.legend import NODATA, PROBABILITY_STEPS, Legend
from geoseg.outputs.aside import Published
from geoseg.outputs.footprint import footprint
from geoseg.outputs.records import write_json
from geoseg.scene.guard import without_query

__all__ = ["ItemInfo", "write_item"]

_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_MEDIA_TYPES: Final = {
    ".tif": _COG,
    ".gpkg": "application/geopackage+sqlite3",
    ".fgb": "application/vnd.flatgeobuf",
    ".parquet": "application/vnd.apache.parquet",
    ".shp": "application/vnd.shp",
    ".csv": "text/csv",
    ".png": "image/png",
}
_TITLES: Final = {
    "classes": "Land-cover classes",
    "confidence": "Confidence (percent)",
    "polygons": "Land-cover polygons",
    "areas": "Area of each class",
    "zones": "Area of each class in each zone",
    "probabilities": "Probability of each class",
    "change": "Land-cover change",
    "matrix": "Transition matrix",
    "pairs": "Area of each transition",
    "components": "Gain, loss, net change and swap of each class",
    "summary": "Change of the map",
    "intensity": "Intensity analysis",
    "strata": "Strata for a reference sample of change",
    "picture": "What changed, as a picture",
    "first": "Date of the first change",
    "last": "Date of the last change",
    "count": "Number of changes",
    "final": "Land cover on the last date observed",
    "matrices": "Transition matrices of all intervals",
}
_OF_SERIES: Final = ("first", "last", "count", "final")
_ROLES: Final = {
    **dict.fromkeys(
        ("areas", "zones", "matrix", "pairs", "components", "summary", "intensity", "matrices"), "metadata"
    ),
    "picture": "overview",
}
_EXTENSIONS: Final = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)
_RASTER: Final = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PYSTAC = threading.Lock()
_SHA256_MULTIHASH = "1220"  # code of sha2-256, then 32 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemInfo:
    """What an item says besides its files."""

    id: str
    """Scene id."""
    geobox: GeoBox
    """The pixel grid of the rasters."""
    legend: Legend
    """Classes and colours."""
    legends: Mapping[str, Legend] = field(default_factory=dict)
    """Those of assets that have another, by their key."""
    processed: datetime
    """When the run ended, with a time zone."""
    acquired: datetime | None = None
    """When the scene was taken; without a time zone it is taken as UTC."""
    period: tuple[datetime, datetime] | None = None
    """Instead, where the result is of two dates, the earlier and the later."""
    model: str = ""
    """Name of the model and its version."""
    software: Mapping[str, str] = field(default_factory=dict)
    """Name to version (``processing:software``)."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What shaped the result, plain JSON values, under ``geoseg:parameters``."""
    source: str = ""
    """What the user named as input: kept as its last path component, which has no secrets in it."""


def write_item(path: Path, assets: Mapping[str, Published], info: ItemInfo) -> Published:
    """The STAC item of a scene, beside its files.

    STAC wants a time. Where the acquisition is unknown, ``datetime`` is null and the interval runs from 1970 to the
    processing, the only bounds that surely hold: a date of processing as ``datetime`` would pass for an acquisition.

    Args:
        path: Final name, ``<scene>.json``.
        assets: The published files by asset key, in the folder of ``path``, or in any folder that is moved there
            together. A key is ``classes``, ``confidence``, ``polygons``, ``areas``, ``zones``, ``probabilities``,
            of two dates ``change``, ``matrix``, ``pairs``, ``components``, ``summary``, ``intensity`` or
            ``picture``, or of a series ``first``, ``last``, ``count``, ``final`` or ``matrices``; what follows an
            underscore tells several of a kind apart (``polygons_shp``).
        info: What else there is to say.

    Returns:
        The published file.

    Raises:
        ParameterError: If an asset is of no known kind.
        OutputError: If it cannot be written, or is no item when read back.
    """
    # pystac fills a table of its extensions at the first item, which must not happen in two threads at once
    with _PYSTAC:
        item = _item(path, assets, info)
    return write_json(path, item)


def _item(path: Path, assets: Mapping[str, Published], info: ItemInfo) -> dict[str, Any]:
    import pystac

    where = footprint(info.geobox)
    processed = _utc(info.processed)
    acquired = None if info.acquired is None else _utc(info.acquired)
    start, end = (min(_EARLIEST, processed), processed) if info.period is None else map(_utc, info.period)
    item = pystac.Item(
        id=info.id,
        geometry=where.geometry if where else None,
        bbox=list(where.bbox) if where else None,
        datetime=acquired,
        start_datetime=None if acquired else start,
        end_datetime=None if acquired else end,
        properties=_properties(info, processed),
        stac_extensions=[*_EXTENSIONS, *([_RASTER] if "probabilities" in assets else [])],
    )
    for key, file in assets.items():
        item.add_asset(key, _asset(key.partition("_")[0], file, info.legends.get(key, info.legend)))
    values: dict[str, Any] = item.to_dict(include_self_link=False)
    try:
        pystac.Item.from_dict(values)
    except (pystac.STACError, KeyError, ValueError) as error:
        raise OutputError(f"{path.name} would not be a STAC item: {error}") from error
    return values


def _properties(info: ItemInfo, processed: datetime) -> dict[str, Any]:
    crs, a = info.geobox.crs, info.geobox.affine
    height, width = info.geobox.shape
    code = _code(info.geobox)
    properties: dict[str, Any] = {
        "created": processed.isoformat().replace("+00:00", "Z"),
        "proj:code": code,
        "proj:shape": [int(height), int(width)],
        "proj:transform": [a.a, a.b, a.c, a.d, a.e, a.f],
        "processing:level": "L4",
        "processing:datetime": processed.isoformat().replace("+00:00", "Z"),
        "geoseg:parameters": dict(info.parameters),
    }
    if code is None and crs is not None:
        properties["proj:wkt2"] = crs.proj.to_wkt()
    if info.software:
        properties["processing:software"] = dict(info.software)
    if info.model:
        properties["geoseg:model"] = info.model
    if info.source:
        properties["geoseg:source"] = without_query(info.source).rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
    return properties


def _code(geobox: GeoBox) -> str | None:
    """``EPSG:32633`` or ``ESRI:54008`` where the CRS is exactly that one."""
    authority = None if geobox.crs is None else geobox.crs.proj.to_authority(min_confidence=100)
    return None if authority is None else ":".join(authority)


def _asset(kind: str, file: Published, legend: Legend) -> Any:
    import pystac

    if kind not in _TITLES:
        raise ParameterError(f"there is no asset of kind {kind!r}: use {', '.join(_TITLES)}")
    extra: dict[str, Any] = {"file:size": file.size, "file:checksum": _SHA256_MULTIHASH + file.sha256}
    if kind in {"classes", "confidence", "change", "strata", *_OF_SERIES}:
        nodata = NODATA if kind == "confidence" else legend.nodata
        extra["bands"] = [{"name": kind, "data_type": "uint8", "nodata": nodata}]
    if kind == "probabilities":
        # all bands alike: what they have in common is said once, as STAC 1.1 has it
        extra |= {"data_type": "uint8", "nodata": NODATA, "raster:scale": 1 / PROBABILITY_STEPS, "raster:offset": 0}
        extra["bands"] = [{"name": c.name} for c in legend]
    if kind in {"classes", "polygons", "change", *_OF_SERIES}:
        extra["classification:classes"] = [
            {
                "value": c.value,
                "name": _identifier(c.name, c.value),
                "title": c.name,
                "description": c.name,
                "color_hint": c.color[1:].upper(),
            }
            for c in legend
        ]
    return pystac.Asset(
        href=f"./{file.path.name}",
        title=_TITLES[kind],
        media_type=_MEDIA_TYPES.get(file.path.suffix),
        roles=[_ROLES.get(kind, "data")],
        extra_fields=extra,
    )


def _identifier(name: str, value: int) -> str:
    """A class name as the classification extension wants it: ``^[0-9A-Za-z-_]+$``; the full name is the title."""
    text = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in name).strip("_")
    return text or f"class_{value}"


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
