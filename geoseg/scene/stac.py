"""STAC items -> scenes: assets become bands by their common names, with the scale and offset that the item states."""

import hashlib
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from geoseg.errors import ParameterError, SceneError, printable
from geoseg.scene.assemble import Layer, QualityLayer, assemble
from geoseg.scene.fetch import fetch, refuse_elsewhere
from geoseg.scene.guard import is_remote, without_query
from geoseg.scene.names import COMMON_NAMES, common_name
from geoseg.scene.products.band_files import QUALITY
from geoseg.scene.products.landsat import MTL
from geoseg.scene.products.wanted import Wanted
from geoseg.scene.raster import percent_in
from geoseg.scene.scene import Scene

__all__ = ["is_item_name", "item_files", "item_names", "open_item", "split_item_name"]

_PICTURES = {"thumbnail", "overview", "visual", "metadata"}
"""Roles of assets that are not measurements."""
_RASTER = re.compile(r"\.(?:tiff?|jp2|j2k|img)$", re.IGNORECASE)
_API = re.compile(r"/(?:items(?:/[^/]+)?|search)/?$")
"""How the addresses of items end in a STAC API."""
_KEPT: dict[str, tuple[float, list[Mapping[str, Any]]]] = {}
"""When a collection was read, and its items."""
_KEPT_S = 600
"""For so long: tokens in addresses of assets are good for some three quarters of an hour."""
_BANDS = COMMON_NAMES | {"cirrus"}
"""Bands of reflectance: no panchromatic and no thermal ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _AssetBand:
    """A band of an asset, as the item describes it."""

    key: str
    """Of the asset."""
    href: str
    """What GDAL opens."""
    index: int
    """Band in the file."""
    title: str
    """What the item calls it."""
    name: str
    """Its common name; empty where nothing tells it."""
    scale: float | None
    offset: float | None
    nodata: float | None
    """As the item states them."""
    rank: tuple[float, int]
    """Of several files of a band the lowest is taken: finest pixels first, then GeoTIFF before others."""


def split_item_name(href: str) -> tuple[str, str]:
    """The file or URL, and the id of the item in it that is meant; empty where none is named.

    Example:
        >>> split_item_name("items.json#S2B_33UVU")
        ('items.json', 'S2B_33UVU')
    """
    file, _, item = href.partition("#")
    return file, item


def is_item_name(href: str) -> bool:
    """Whether a name is that of a STAC item or item collection: JSON, perhaps with ``#`` and the id of an item."""
    file = without_query(split_item_name(href)[0])
    if MTL.search(file):
        return False
    if file.startswith(("http://", "https://")) and _API.search(file):
        return True
    return file.lower().endswith((".json", ".geojson")) and not file.startswith("/vsi")


def item_names(href: str) -> list[str]:
    """The items that a file or URL holds, as names that `open_item` takes: the file's, ``#``, and the item's id.

    Raises:
        SceneError: If it cannot be read or holds no items.
    """
    file, one = split_item_name(href)
    if one:
        return [href]
    items = _items(file)
    if is_remote(file):
        _keep(file, items)
    return [f"{file}#{item['id']}" for item in items]


def item_files(href: str) -> list[Path]:
    """The file of an item on this machine, and its assets that lie here, too; what is gone or no item has none."""
    file, one = split_item_name(href)
    try:
        info = Path(file).stat()
        items = [item for item in _items_at(file, info.st_mtime_ns, info.st_size) if str(item["id"]) == one or not one]
    except (OSError, SceneError):
        items = []
    hrefs = [str(a["href"]) for i in items for a in dict(i["assets"]).values() if isinstance(a, dict) and "href" in a]
    return [Path(file), *(Path(file).parent / name for name in hrefs if not is_remote(name))]


def open_item(href: str, wanted: Wanted) -> Scene:
    """The scene of a STAC item: its bands of reflectance, on the finest of their grids.

    Bands are known by ``eo:common_name`` (STAC 1.1 ``bands``) or ``eo:bands``, else by what they or their assets are
    called. Scale, offset and nodata are those that the item states for a band or an asset, else the file's.

    Args:
        href: A file or URL, with ``#`` and the id of the item where it holds several.
        wanted: What the user asks for.

    Raises:
        SceneError: If it is no item, has no assets that are bands, or they lie where an item may not lead.
        ParameterError: If bands are named that have names.
    """
    file, one = split_item_name(href)
    shown = printable(without_query(file))
    items = [item for item in _items_again(file) if str(item["id"]) == one] if one else _items(file)
    if len(items) != 1:
        what = f"no item {printable(one)}" if one else f"{len(items)} items"
        raise SceneError(f"{shown}: holds {what}; name one as {shown}#ID, or run over all of them")
    item, properties = _parsed(items[0], file, shown)
    assets = {
        key: asset
        for key, asset in item.assets.items()
        if not _PICTURES & set(asset.roles or ()) and _RASTER.search(without_query(asset.href))
    }
    for asset in assets.values():
        refuse_elsewhere(asset.get_absolute_href() or asset.href, file, shown)
    bands = _chosen(
        [band for key, asset in assets.items() for band in _bands(key, asset, shown) if key.lower() not in QUALITY]
    )
    if not bands:
        raise SceneError(
            f"{shown}: item {printable(item.id)} has no assets that are known bands; it has "
            f"{printable(', '.join(item.assets)) or 'none'}; name the rasters themselves"
        )
    wanted.refuse_names(href, [b.name for b in bands])
    _refuse_twice_shifted(properties, bands, wanted, shown)
    masks = [
        QualityLayer(href=_opened(asset), title=known.title, values=known.values, bits=known.bits)
        for key, asset in assets.items()
        if (known := QUALITY.get(key.lower())) is not None
    ]
    if not masks:
        wanted.refuse_clouds(shown, f"has no asset called {', '.join(q.title for q in QUALITY.values())}")
    landsat = "landsat" in str(properties.get("platform", properties.get("constellation", ""))).lower()
    stated = all(b.scale is not None or b.offset is not None for b in bands)
    return assemble(
        href,
        [_layer(b, wanted, _name(b, bands, landsat=landsat)) for b in bands],
        scene_id=str(item.id),
        product=f"STAC item {printable(item.id)}, "
        + (
            "--scale and --offset"
            if wanted.scaled
            else "scale and offset of the item"
            if stated
            else "files as they are"
        ),
        quality=masks[:1] if wanted.mask_clouds else (),
        clouds=f"{masks[0].title}: cloud and shadow" if masks else "",
        acquired=item.datetime or item.common_metadata.start_datetime,
        cloud_percent=percent_in(properties.get("eo:cloud_cover")),
        identity=hashlib.sha256(json.dumps(_identity(items[0]), sort_keys=True).encode()).hexdigest(),
        scaled=True if stated or wanted.scaled else None,
    )


def _items(file: str) -> list[Mapping[str, Any]]:
    """The items of a file or URL, in their order."""
    shown = printable(without_query(file))
    text = fetch(file)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SceneError(f"{shown}: not JSON: {printable(error)}; name a STAC item or item collection") from error
    kind = content.get("type") if isinstance(content, dict) else None
    items = content.get("features", []) if kind == "FeatureCollection" else [content] if kind == "Feature" else []
    if not items or not all(
        isinstance(i, dict) and "stac_version" in i and i.get("id") and "assets" in i for i in items
    ):
        raise SceneError(
            f"{shown}: neither a STAC item nor a collection of items (type {printable(kind) if kind else 'missing'}); "
            "of a catalogue, name the items"
        )
    return items


def _items_again(file: str) -> list[Mapping[str, Any]]:
    """The items of a collection, which are asked for in turn: it is read once for all that follow soon."""
    if not is_remote(file):
        try:
            info = Path(file).stat()
        except OSError:
            return _items(file)
        return _items_at(file, info.st_mtime_ns, info.st_size)
    read, items = _KEPT.get(file, (-math.inf, []))
    if time.monotonic() - read > _KEPT_S:
        items = _items(file)
        _keep(file, items)
    return items


def _keep(url: str, items: list[Mapping[str, Any]]) -> None:
    """Keep the items of one URL; of the one before, none."""
    _KEPT.clear()
    _KEPT[url] = time.monotonic(), items


@lru_cache(maxsize=1)
def _items_at(file: str, _mtime_ns: int, _size: int) -> list[Mapping[str, Any]]:
    """The items of a file as it was at a time: each of a collection is asked for in turn."""
    return _items(file)


def _identity(item: Mapping[str, Any]) -> list[Any]:
    """What of an item identifies its content: tokens in its names come and go."""
    assets = {
        key: [without_query(str(asset.get("href"))), *(asset.get(k) for k in ("file:checksum", "file:size"))]
        for key, asset in item["assets"].items()
        if isinstance(asset, dict)
    }
    return [item["id"], *((item.get("properties") or {}).get(k) for k in ("updated", "created")), assets]


def _parsed(item: Mapping[str, Any], file: str, shown: str) -> tuple[Any, Mapping[str, Any]]:
    """The item with absolute names, which are relative to where it was read, and its properties."""
    import pystac

    try:
        parsed = pystac.Item.from_dict(dict(item), href=file if is_remote(file) else str(Path(file).absolute()))
    except Exception as error:
        # pystac raises whatever its parts do
        raise SceneError(f"{shown}: item {printable(item['id'])} is no valid STAC: {printable(error)}") from error
    return parsed, parsed.properties


def _opened(asset: Any) -> str:
    """What GDAL opens for an asset."""
    href: str = asset.get_absolute_href() or asset.href
    return href.removeprefix("file://")


def _bands(key: str, asset: Any, shown: str) -> list[_AssetBand]:
    """The bands of an asset: STAC 1.1 has one list of them, 1.0 two that go in step."""
    extra = asset.extra_fields
    lists = [extra.get(name) for name in ("bands", "eo:bands", "raster:bands")]
    if any(each is not None and not isinstance(each, list) for each in lists):
        raise SceneError(f"{shown}: asset {printable(key)} has bands that are no list; mend the item")
    merged: list[dict[str, Any]] = []
    for each in lists:
        for i, band in enumerate(each or []):
            if i == len(merged):
                merged.append({})
            merged[i] |= band if isinstance(band, dict) else {}
    found = []
    for i, band in enumerate(merged or [{}], 1):

        def stated(*names: str, band: Mapping[str, Any] = band) -> Any:
            # 1. the band's own, 2. the asset's
            return next((source[n] for source in (band, extra) for n in names if source.get(n) is not None), None)

        title = str(band.get("name") or (key if len(merged) < 2 else f"{key} {i}"))
        common = str(stated("eo:common_name", "common_name") or "").lower()
        name = common if common in _BANDS else _first_known(title, key if len(merged) < 2 else "")
        metres = _number(stated("raster:spatial_resolution", "spatial_resolution", "gsd"), shown, key)
        found.append(
            _AssetBand(
                key=key,
                href=_opened(asset),
                index=i,
                title=title,
                # a common name that is none of reflectance says what it is, too
                name="" if common and common not in _BANDS and not common.startswith("rededge") else name,
                scale=_number(stated("raster:scale", "scale"), shown, key),
                offset=_number(stated("raster:offset", "offset"), shown, key),
                nodata=_nodata(stated("nodata")),
                rank=(
                    math.inf if metres is None else metres,
                    0 if "tif" in without_query(asset.href).lower()[-5:] else 1,
                ),
            )
        )
    return found


def _first_known(*titles: str) -> str:
    return next((name for title in titles if (name := common_name(title)) in _BANDS), "")


def _number(value: Any, shown: str, key: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SceneError(
            f"{shown}: asset {printable(key)} states {printable(value)} where a number belongs; mend the item"
        )
    return float(value)


def _nodata(value: Any) -> float | None:
    """A nodata value; "nan" and the like, which JSON has no numbers for, hold without being stated."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _chosen(bands: Sequence[_AssetBand]) -> list[_AssetBand]:
    """Of every band that is known the best file; the items' order."""
    best: dict[str, _AssetBand] = {}
    for band in bands:
        if band.name and (band.name not in best or band.rank < best[band.name].rank):
            best[band.name] = band
    return list(best.values())


def _name(band: _AssetBand, bands: Sequence[_AssetBand], *, landsat: bool) -> str:
    """What models call it: the one near infrared band of Landsat is narrow, which STAC says by its name."""
    alone = not any(b.name == "nir" for b in bands)
    return "nir" if landsat and alone and band.name == "nir08" else band.name


def _layer(band: _AssetBand, wanted: Wanted, name: str) -> Layer:
    scale, offset = band.scale, band.offset
    if wanted.scaled:
        scale, offset = wanted.scaling(1.0, 0.0)
    elif scale is not None or offset is not None:
        scale, offset = 1.0 if scale is None else scale, 0.0 if offset is None else offset
    if scale == 0:
        raise ParameterError(f"asset {printable(band.key)}: scale 0 gives no values; pass --scale and --offset")
    return Layer(
        name=name, href=band.href, index=band.index, title=band.title, scale=scale, offset=offset, nodata=band.nodata
    )


def _refuse_twice_shifted(
    properties: Mapping[str, Any], bands: Sequence[_AssetBand], wanted: Wanted, shown: str
) -> None:
    """Refuse an item that says that the offset of Sentinel-2 is in the pixels already, and states it all the same."""
    if wanted.scaled or properties.get("earthsearch:boa_offset_applied") is not True:
        return
    shifted = [b for b in bands if b.offset]
    if shifted:
        raise SceneError(
            f"{shown}: says that the offset was applied to its pixels (earthsearch:boa_offset_applied), and states an "
            f"offset of {shifted[0].offset:g} for {printable(shifted[0].title)}; pass --scale 0.0001 --offset 0 if it "
            "was applied, --scale 0.0001 --offset -0.1 if not"
        )
