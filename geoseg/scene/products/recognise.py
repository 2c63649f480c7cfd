"""What lies behind a name: a product of many files, and which kind; told without opening a raster."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from geoseg.errors import SceneError, printable
from geoseg.scene.archive import is_archive, members
from geoseg.scene.guard import DRIVERS, is_remote, without_query
from geoseg.scene.products import hls, landsat, sentinel2
from geoseg.scene.products.band_files import BAND, name_of_pattern, open_band_files, plain_patterns
from geoseg.scene.products.variables import open_variables
from geoseg.scene.products.wanted import Wanted
from geoseg.scene.scene import Scene
from geoseg.scene.stac import is_item_name, item_files, open_item, split_item_name

__all__ = ["is_product_folder", "local_files", "looks_like_product", "opener_of", "products_among", "scene_name"]

Opener = Callable[[str, Wanted], Scene]

_SAFE_METADATA = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
_STORES = (".nc", ".zarr")
_ARCHIVE = re.compile(r"(?:S2[A-Z]_MSIL(?:1C|2A)_.*\.zip|L[CTEO]0\d_L[12]\w\w_\d{6}_\d{8}_.*\.tar)$", re.IGNORECASE)
_PACKED = re.compile(r"\.(?:tar\.\w+|tgz|gz|7z|rar)$", re.IGNORECASE)


def opener_of(href: str) -> Opener | None:
    """What opens a product; None for anything else, which is then a raster or nothing.

    Raises:
        SceneError: If it is an archive that holds no product, or a folder that holds several.
    """
    if is_item_name(href) and not landsat.MTL.match(Path(href).name):
        return open_item
    if is_remote(href):
        return None
    path = Path(href)
    if path.suffix.lower() in _STORES and path.exists():
        return open_variables
    if BAND in path.name:
        return open_band_files
    if hls.GRANULE.match(path.name) and path.suffix.lower() != ".tif":
        return hls.open_hls if not path.is_dir() else _in_folder(path)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        if path.name in _SAFE_METADATA:
            return lambda named, wanted: sentinel2.open_safe(str(Path(named).parent), wanted)
        if landsat.MTL.match(path.name):
            return landsat.open_landsat
        if is_archive(href):
            return _in_archive(href)
        if _PACKED.search(path.name):
            raise SceneError(f"{printable(href)}: a compressed archive cannot be read in place; unpack it first")
    return None


def _in_archive(href: str) -> Opener:
    names = members(href)
    if any(sentinel2.METADATA.search(name) for name in names):
        return sentinel2.open_safe
    if any(landsat.MTL.search(name) for name in names):
        return landsat.open_landsat
    raise SceneError(f"{printable(href)}: an archive that holds no product geoseg knows; unpack it")


def _in_folder(folder: Path) -> Opener | None:
    """What opens the one product that a folder holds; None where it holds none."""
    if is_product_folder(folder):
        return sentinel2.open_safe
    try:
        names = sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError as error:
        raise SceneError(f"{printable(folder)}: cannot be read: {error.strerror or error}; check the path") from error
    found = products_among(folder, names)
    taken = {name for members in found.values() for name in members}
    others = [n for n in names if n not in taken and Path(n).suffix.lower() in DRIVERS]
    if len(found) > 1 or (found and others):
        raise SceneError(
            f"{printable(folder)}: holds {len(found)} products and {len(others)} other rasters; name one: "
            f"{printable(next(iter(found)))}"
        )
    if not found:
        return None
    one = next(iter(found))
    opener = opener_of(one)
    assert opener is not None  # only products were found
    return lambda _, wanted: opener(one, wanted)


def products_among(folder: Path, names: Iterable[str]) -> dict[str, list[str]]:
    """The products that files of a folder are parts of: names that `open_scene` takes, and the files of each.

    Landsat bundles are found by their MTL file, HLS granules by their common name, others by files that are plainly
    called after their bands.
    """
    left = sorted(names)
    found: dict[str, list[str]] = {}

    def take(href: Path, members: Iterable[str]) -> None:
        mine = list(members)
        found[str(href)] = mine
        left[:] = [n for n in left if n not in set(mine)]

    for name in list(left):
        match = landsat.MTL.match(name)
        if match is None or name not in left:
            continue
        bundle = [n for n in left if n.startswith(f"{match['id']}_")]
        # metadata alone, beside a raster that was made from the bundle, are no bundle
        if any(re.search(r"_B\d+\.TIF$", n, re.IGNORECASE) for n in bundle):
            take(folder / name, bundle)
    for name in list(left):
        match = hls.GRANULE.match(name)
        if match is not None and match["band"] and name in left:
            take(folder / match["id"], [n for n in left if n.startswith(f"{match['id']}.")])
    for href, mine in plain_patterns(folder, left).items():
        take(Path(href), mine)
    return found


def is_product_folder(folder: Path) -> bool:
    """Whether a folder as a whole is a product."""
    if folder.suffix.lower() == ".zarr":
        return True
    return any((folder / name).is_file() for name in _SAFE_METADATA)


def looks_like_product(path: Path) -> bool:
    """Whether a file that is found in a folder is a product, by its name."""
    return _ARCHIVE.match(path.name) is not None


def scene_name(href: str) -> str:
    """Name of a scene: the file's or folder's, without its place and suffix; a query of a URL is no part of it."""
    file, item = split_item_name(href)
    if item and is_item_name(href):
        return item
    path = Path(without_query(file if is_item_name(href) else href))
    if is_remote(href):
        return path.stem
    if BAND in path.name:
        return name_of_pattern(href)
    if path.name in _SAFE_METADATA:
        path = path.parent.absolute()
    mtl, granule = landsat.MTL.match(path.name), hls.GRANULE.match(path.name)
    if mtl is not None:
        return mtl["id"]
    if granule is not None and not granule["band"]:
        return granule["id"]
    return path.stem.removesuffix(".SAFE")


def local_files(href: str) -> list[Path]:
    """All files of a product or a STAC item on this machine; empty for anything else."""
    if is_remote(href):
        return []
    if is_item_name(href):
        return item_files(href)
    path = Path(href)
    if path.name in _SAFE_METADATA:
        path = path.parent
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    mtl, granule = landsat.MTL.match(path.name), hls.GRANULE.match(path.name)
    if mtl is not None:
        return _starting(path.parent, f"{mtl['id']}_")
    if granule is not None and not granule["band"]:
        return _starting(path.parent, f"{granule['id']}.")
    if BAND in path.name:
        return _starting(path.parent, path.name.partition(BAND)[0])
    return []


def _starting(folder: Path, start: str) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.name.startswith(start))
    except OSError:
        return []
