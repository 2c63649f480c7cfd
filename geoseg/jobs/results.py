"""What the folder of a finished scene says of itself, without opening a raster."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from odc.geo.geobox import GeoBox

from geoseg.errors import printable
from geoseg.outputs.aside import sha256_of

__all__ = ["Results", "fault_in", "place_of", "read_item", "results_in"]

_ITEM_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The finished outputs of a scene."""

    folder: Path
    """Where they are; its name is the scene's id."""
    key: str
    """Run key they were made with."""
    place: str
    """Of the pixel grid: scenes on the same grid have the same place."""
    acquired: str
    """When the scene was taken, in ISO 8601; empty where not known."""


def read_item(folder: Path) -> dict[str, Any] | None:
    """The record of a finished scene; None if there is none, or it is none."""
    path = folder / f"{folder.name}.json"
    try:
        if path.stat().st_size > _ITEM_BYTES:
            return None
        item = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return item if isinstance(item, dict) else None


def fault_in(folder: Path, item: dict[str, Any] | None, *, thorough: bool = False) -> str | None:
    """What shows that results are not as they were finished; None where nothing does.

    All files are looked at for their size. Those that were written to after the record, which is written last, are
    compared with their checksums, but for GeoPackages: QGIS writes into them when it opens them.

    Args:
        folder: Where they are.
        item: Their record, from `read_item`.
        thorough: Whether all others are compared with their checksums, too, whatever their times are.

    Returns:
        The file and what is wrong with it, as the end of a sentence.
    """
    record = printable(f"{folder.name}.json")
    try:
        if item is None:
            return f"their record {record} cannot be read"
        sizes = {str(PurePath(asset["href"])): int(asset["file:size"]) for asset in item["assets"].values()}
        sums = {str(PurePath(asset["href"])): str(asset.get("file:checksum", "")) for asset in item["assets"].values()}
        _ = item["properties"]["geoseg:parameters"]["key"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"their record {record} is none of geoseg's"
    for name, size in sizes.items():
        try:
            found = (folder / name).stat()
        except (OSError, ValueError):
            return f"{printable(name)} is missing"
        if found.st_size != size:
            return f"{printable(name)} has {found.st_size:,} bytes instead of {size:,}"
        newer = found.st_mtime_ns > (folder / f"{folder.name}.json").stat().st_mtime_ns
        if (newer or thorough) and sums[name] and not name.endswith(".gpkg"):
            try:
                same = sums[name].endswith(sha256_of(folder / name))
            except OSError as error:
                return f"{printable(name)} cannot be read ({error.strerror})"
            if not same:
                return f"{printable(name)} is not what was written (its checksum differs)"
    return None


def results_in(folder: Path) -> Results | None:
    """The results in a folder; None if there are none, or a file is missing or of another size than when finished."""
    item = read_item(folder)
    try:
        if item is None or fault_in(folder, item) is not None:
            return None
        properties = item["properties"]
        return Results(
            folder=folder,
            key=str(properties["geoseg:parameters"]["key"]),
            place=_place(
                properties.get("proj:code") or properties["proj:wkt2"],
                properties["proj:shape"],
                properties["proj:transform"],
            ),
            acquired=str(properties.get("datetime") or ""),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def place_of(geobox: GeoBox) -> str:
    """The place of a pixel grid, the same as its results will say."""
    assert geobox.crs is not None  # open_scene refuses what has none
    authority = geobox.crs.proj.to_authority(min_confidence=100)
    crs = ":".join(authority) if authority else geobox.crs.proj.to_wkt()
    height, width = geobox.shape
    return _place(crs, [int(height), int(width)], list(geobox.affine[:6]))


def _place(crs: str, shape: list[int], transform: list[float]) -> str:
    # to a millionth of a unit: below that it is arithmetic that differs, not ground
    return hashlib.sha256(json.dumps([crs, shape, [round(float(v), 6) + 0.0 for v in transform]]).encode()).hexdigest()[
        :16
    ]
