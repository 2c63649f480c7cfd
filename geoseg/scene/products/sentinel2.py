"""Sentinel-2 Level-1C and Level-2A in SAFE format, as a folder or a zip file."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.errors import SceneError, printable
from geoseg.scene.assemble import Layer, QualityLayer, assemble
from geoseg.scene.products.place import Place, parse_xml
from geoseg.scene.products.wanted import Wanted
from geoseg.scene.raster import percent_in, time_in
from geoseg.scene.scene import Scene

__all__ = ["METADATA", "SCL_NO_GROUND", "open_safe"]

METADATA = re.compile(r"(?:^|/)MTD_MSIL(1C|2A)\.xml$")
"""The file that makes a folder a product."""
_NAMES = {
    "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge071", "B06": "rededge075",
    "B07": "rededge078", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16",
    "B12": "swir22",
}  # fmt: skip
"""In the order of the product's own band numbers, which start at 0."""
_IMAGE = re.compile(r"GRANULE/([^/]+)/IMG_DATA/(?:R(\d\d)m/)?[^/]+_(B\d[\dA]|SCL)(?:_\d\dm)?\.jp2$")
_CLASSES = re.compile(r"GRANULE/[^/]+/QI_DATA/MSK_CLASSI_B00\.jp2$")
_TILE = re.compile(r"GRANULE/[^/]+/MTD_TL\.xml$")
_HARMONISED_SINCE = 4.0
SCL_NO_GROUND = (0, 1, 3, 8, 9, 10)
"""No data, saturated or defective, cloud shadow, cloud of medium and of high probability, thin cirrus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Radiometry:
    """What stored numbers mean: reflectance = (stored + offset) / quantification."""

    level: str
    baseline: str
    quantification: float
    offsets: dict[int, float]


def open_safe(href: str, wanted: Wanted) -> Scene:
    """The scene of a Sentinel-2 product: all its bands on the 10 m grid, in reflectance.

    Each band is read from the finest file there is of it. What stored numbers mean comes from the product's metadata
    alone, never from its date or name: products processed again carry the offset of baseline 04.00 for any date.

    Args:
        href: The folder or the zip file.
        wanted: What the user asks for.

    Raises:
        SceneError: If it is incomplete, or its metadata do not say what stored numbers mean.
        ParameterError: If bands are named that have names.
    """
    place = Place.at(href)
    shown = printable(href)
    main = [name for name in place.names if METADATA.search(name)]
    if len(main) != 1:
        raise SceneError(
            f"{shown}: holds {len(main) or 'no'} files MTD_MSIL1C.xml or MTD_MSIL2A.xml; name one Sentinel-2 product"
        )
    root = main[0].rpartition("/")[0]
    inside = [n for n in place.names if not root or n.startswith(f"{root}/")]
    described = parse_xml(place.read(main[0]), f"{shown}: {Path(main[0]).name}")
    radiometry = _radiometry(described, shown, wanted)
    images = _images(inside, shown)
    wanted.refuse_names(href, [_NAMES[b] for b in images if b in _NAMES])
    layers = []
    for band, name in _NAMES.items():
        if band in images:
            scale, offset = wanted.scaling(
                1 / radiometry.quantification,
                radiometry.offsets.get(list(_NAMES).index(band), 0.0) / radiometry.quantification,
            )
            layers.append(
                Layer(name=name, href=place.file(images[band]), title=band, scale=scale, offset=offset, nodata=0)
            )
    clouds, quality = _clouds(place, images, inside, radiometry.level)
    if not quality:
        wanted.refuse_clouds(href, f"has no {'SCL band' if radiometry.level == '2A' else 'MSK_CLASSI_B00.jp2'}")
    told = f"quantification {radiometry.quantification:g}, offset {_told(radiometry.offsets)} from {Path(main[0]).name}"
    return assemble(
        href,
        layers,
        scene_id="",
        product=f"Sentinel-2 L{radiometry.level}, baseline {radiometry.baseline}, "
        + (f"--scale and --offset instead of {told}" if wanted.scaled else told),
        quality=quality if wanted.mask_clouds else (),
        clouds=clouds,
        acquired=_sensed(place, inside, main[0]),
        cloud_percent=percent_in(described.findtext(".//Cloud_Coverage_Assessment")),
        metadata=[place.file(main[0])],
        scaled=True,
    )


def _told(offsets: dict[int, float]) -> str:
    different = sorted(set(offsets.values())) or [0.0]
    return f"{different[0]:g}" if len(different) == 1 else f"{different[0]:g} to {different[-1]:g}"


def _radiometry(root: ET.Element, shown: str, wanted: Wanted) -> _Radiometry:
    level = "2A" if root.tag.endswith("Level-2A_User_Product") else "1C"
    quantification = _number(root, "BOA_QUANTIFICATION_VALUE" if level == "2A" else "QUANTIFICATION_VALUE", shown)
    key = "BOA_ADD_OFFSET" if level == "2A" else "RADIO_ADD_OFFSET"
    try:
        offsets = {int(node.get("band_id", "")): float(node.text or "") for node in root.iter(key)}
    except ValueError as error:
        raise SceneError(f"{shown}: its metadata have a {key} that is no number; download it again") from error
    baseline = (root.findtext(".//PROCESSING_BASELINE") or "").strip()
    if not offsets and not wanted.scaled and baseline >= f"{_HARMONISED_SINCE:05.2f}" and baseline[:2].isdigit():
        raise SceneError(
            f"{shown}: baseline {printable(baseline)}, but its metadata have no {key}, so it is not known whether its "
            "pixels carry the offset of 1000; pass --scale 0.0001 --offset -0.1 if they do, --scale 0.0001 if not"
        )
    return _Radiometry(
        level=level, baseline=printable(baseline) or "not known", quantification=quantification, offsets=offsets
    )


def _number(root: ET.Element, key: str, shown: str) -> float:
    text = root.findtext(f".//{key}")
    try:
        value = float(text or "")
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise SceneError(f"{shown}: its metadata have no {key} to go by ({printable(text)}); download it again")
    return value


def _images(names: list[str], shown: str) -> dict[str, str]:
    """For each band, and for SCL, its finest file."""
    found: dict[str, tuple[int, str]] = {}
    granules = set()
    for name in names:
        match = _IMAGE.search(name)
        if match is not None:
            granules.add(match[1])
            rank = (int(match[2] or 0), name)
            found[match[3]] = min(found.get(match[3], rank), rank)
    if len(granules) > 1:
        raise SceneError(
            f"{shown}: holds {len(granules)} granules, as products before December 2016 do; name the images of one "
            "with --band-files"
        )
    if not set(found) & set(_NAMES):
        raise SceneError(f"{shown}: holds no image files GRANULE/*/IMG_DATA/*.jp2; download or unpack it again")
    return {band: name for band, (_, name) in sorted(found.items())}


def _clouds(place: Place, images: dict[str, str], names: list[str], level: str) -> tuple[str, tuple[QualityLayer, ...]]:
    """The mask of clouds, in words and as bands."""
    if "SCL" in images:
        layer = QualityLayer(href=place.file(images["SCL"]), title="SCL", values=SCL_NO_GROUND)
        return "SCL: shadow, cloud of medium or high probability, cirrus, defective", (layer,)
    classes = [name for name in names if _CLASSES.search(name)]
    if level == "1C" and classes:
        href = place.file(classes[0])
        return "MSK_CLASSI: opaque cloud, cirrus", tuple(
            QualityLayer(href=href, title=title, index=i, values=(1,))
            for i, title in ((1, "opaque clouds"), (2, "cirrus clouds"))
        )
    return "", ()


def _sensed(place: Place, names: list[str], main: str) -> datetime | None:
    """When it was sensed: 1. what the tile says, 2. when the product's data take began."""
    tiles = [name for name in names if _TILE.search(name)]
    for name, key in (*((t, "SENSING_TIME") for t in tiles[:1]), (main, "PRODUCT_START_TIME")):
        text = parse_xml(place.read(name), f"{printable(place.href)}: {Path(name).name}").findtext(f".//{key}")
        if (sensed := time_in(text or "")) is not None:
            return sensed
    return None
