"""Landsat Collection 2, Level-1 and Level-2, 4 to 9: a folder or a tar file with its MTL metadata."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from geoseg.errors import SceneError, printable
from geoseg.scene.assemble import Layer, QualityLayer, assemble
from geoseg.scene.products.place import Place
from geoseg.scene.products.wanted import Wanted
from geoseg.scene.raster import percent_in, time_in
from geoseg.scene.scene import Scene

__all__ = ["MTL", "NO_GROUND_BITS", "open_landsat"]

MTL = re.compile(r"(?P<id>[^/]+)_MTL\.(?P<kind>json|txt)$")
"""The metadata that make files a bundle; JSON and text say the same."""
_OLI = {
    1: "coastal", 2: "blue", 3: "green", 4: "red", 5: "nir", 6: "swir16", 7: "swir22", 9: "cirrus",
}  # fmt: skip
_TM = {1: "blue", 2: "green", 3: "red", 4: "nir", 5: "swir16", 7: "swir22"}
"""By band number; the panchromatic band has a pixel size of its own, the thermal ones another unit: not for models."""
_FILL_BIT = 1 << 0
NO_GROUND_BITS = _FILL_BIT | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4
"""Of QA_PIXEL: fill, dilated cloud, cirrus, cloud, cloud shadow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    """The groups of an MTL file, flat within each."""

    name: str
    groups: Mapping[str, Mapping[str, str]]

    def get(self, group: str, key: str) -> str:
        return self.groups.get(group, {}).get(key, "")

    def number(self, group: str, key: str, shown: str) -> float:
        text = self.get(group, key)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise SceneError(
                f"{shown}: {self.name} has no {key} in {group} to go by ({printable(text) or 'missing'}), so it is not "
                "known what stored numbers mean; pass --scale and --offset"
            )
        return value


def open_landsat(href: str, wanted: Wanted) -> Scene:
    """The scene of a Landsat Collection 2 bundle, in reflectance: of the surface (Level-2), or at the sensor (Level-1).

    Level-1 reflectance is divided by the sine of the sun's elevation at the middle of the scene, as USGS describes it.
    The fill bit of QA_PIXEL is always honoured, those of clouds where it is asked for.

    Args:
        href: The folder, the tar file, or the MTL file of a bundle.
        wanted: What the user asks for.

    Raises:
        SceneError: If it is incomplete, of a sensor that is not known, or its metadata do not say what numbers mean.
        ParameterError: If bands are named that have names.
    """
    shown = printable(href)
    named = Path(href)
    in_file = named.is_file() and MTL.search(named.name)
    place = Place.at(str(named.parent), deep=False) if in_file else Place.at(href)
    found = sorted(n for n in place.names if MTL.search(n) and (not in_file or n == named.name))
    products = {n.rpartition("_MTL.")[0] for n in found}
    if len(products) != 1:
        raise SceneError(f"{shown}: holds {len(products) or 'no'} Landsat bundles; name the MTL file of one")
    metadata = _parse(place.read(found[0]), Path(found[0]).name, shown)
    level = metadata.get("PRODUCT_CONTENTS", "PROCESSING_LEVEL")
    craft = metadata.get("IMAGE_ATTRIBUTES", "SPACECRAFT_ID")
    number = re.match(r"LANDSAT_(\d)$", craft)
    collection = metadata.get("PRODUCT_CONTENTS", "COLLECTION_NUMBER")
    if number is None or int(number[1]) < 4 or level[:2] not in ("L1", "L2") or collection.lstrip("0") != "2":
        raise SceneError(
            f"{shown}: {metadata.name} says {printable(craft) or 'no craft'}, level {printable(level) or 'unknown'}, "
            f"collection {printable(collection) or 'unknown'}; geoseg knows "
            "Landsat 4 to 9 of Collection 2; name the files of the bands with --band-files"
        )
    files = {Path(n).name: n for n in place.names if Path(n).parent == Path(found[0]).parent}
    layers = _layers(metadata, _OLI if int(number[1]) >= 8 else _TM, level, place, files, shown, wanted)
    quality_file = files.get(metadata.get("PRODUCT_CONTENTS", "FILE_NAME_QUALITY_L1_PIXEL"))
    if quality_file is None:
        wanted.refuse_clouds(href, "has no QA_PIXEL file")
    bits = NO_GROUND_BITS if wanted.mask_clouds else _FILL_BIT
    quality = (
        () if quality_file is None else (QualityLayer(href=place.file(quality_file), title="QA_PIXEL", bits=bits),)
    )
    what = "surface" if level.startswith("L2") else "top of atmosphere"
    told = f"{what} reflectance by {metadata.name}"
    return assemble(
        href,
        layers,
        scene_id="",
        product=f"Landsat {number[1]} {level}, Collection 2, "
        + (f"--scale and --offset instead of {told}" if wanted.scaled else told),
        quality=quality,
        clouds="" if quality_file is None else "QA_PIXEL: cloud, dilated cloud, shadow, cirrus",
        acquired=_acquired(metadata),
        cloud_percent=percent_in(metadata.get("IMAGE_ATTRIBUTES", "CLOUD_COVER")),
        metadata=[place.file(found[0])],
        scaled=True,
    )


def _layers(
    metadata: _Metadata,
    names: Mapping[int, str],
    level: str,
    place: Place,
    files: Mapping[str, str],
    shown: str,
    wanted: Wanted,
) -> list[Layer]:
    group = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS" if level.startswith("L2") else "LEVEL1_RADIOMETRIC_RESCALING"
    present = {
        band: files[file]
        for band in names
        if (file := metadata.get("PRODUCT_CONTENTS", f"FILE_NAME_BAND_{band}")) in files
    }
    if not present:
        raise SceneError(f"{shown}: none of the band files that {metadata.name} names is there; download them")
    wanted.refuse_names(shown, [names[band] for band in present])
    sun = 1.0
    if level.startswith("L1") and not wanted.scaled:
        elevation = metadata.number("IMAGE_ATTRIBUTES", "SUN_ELEVATION", shown)
        if elevation <= 0:
            raise SceneError(f"{shown}: taken with the sun {elevation:g} degrees high: it has no reflectance to map")
        sun = math.sin(math.radians(elevation))
    layers = []
    for band, file in present.items():
        if wanted.scaled:
            scale, offset = wanted.scaling(1.0, 0.0)
        else:
            scale = metadata.number(group, f"REFLECTANCE_MULT_BAND_{band}", shown) / sun
            offset = metadata.number(group, f"REFLECTANCE_ADD_BAND_{band}", shown) / sun
        title = f"{'SR_' if level.startswith('L2') else ''}B{band}"
        layers.append(Layer(name=names[band], href=place.file(file), title=title, scale=scale, offset=offset, nodata=0))
    return layers


def _acquired(metadata: _Metadata) -> datetime | None:
    date, time = (metadata.get("IMAGE_ATTRIBUTES", key) for key in ("DATE_ACQUIRED", "SCENE_CENTER_TIME"))
    # seven digits of a second are one too many for ISO
    return time_in(f"{date}T{time[:15]}+00:00") or time_in(date)


def _parse(content: bytes, name: str, shown: str) -> _Metadata:
    try:
        text = content.decode("utf-8")
        groups = _json_groups(json.loads(text)) if name.endswith(".json") else _text_groups(text)
    except (ValueError, RecursionError) as error:
        raise SceneError(f"{shown}: {printable(name)} cannot be read: {printable(error)}; download it again") from error
    return _Metadata(name=name, groups=groups)


def _json_groups(content: Any) -> dict[str, dict[str, str]]:
    top = content.get("LANDSAT_METADATA_FILE") if isinstance(content, dict) else None
    if not isinstance(top, dict):
        raise ValueError("it has no LANDSAT_METADATA_FILE")  # noqa: TRY004 - the file is wrong, not the program
    return {name: {k: str(v) for k, v in group.items()} for name, group in top.items() if isinstance(group, dict)}


def _text_groups(text: str) -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = {}
    open_groups: list[str] = []
    for line in text.splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            open_groups.append(value)
        elif key == "END_GROUP":
            del open_groups[-1:]
        elif equals and open_groups:
            groups.setdefault(open_groups[-1], {})[key] = value.strip('"')
    if not groups:
        raise ValueError("it has no groups of values")
    return groups
