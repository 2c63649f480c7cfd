"""What lies behind a name: a product of many files, and which kind; told without opening a raster."""

import re
from collections.abc import Callable
from pathlib import Path

from geoseg.errors import SceneError, printable
from geoseg.scene.archive import is_archive, members
from geoseg.scene.guard import is_remote, without_query
from geoseg.scene.products.sentinel2 import METADATA, open_safe
from geoseg.scene.products.wanted import Wanted
from geoseg.scene.scene import Scene

__all__ = ["is_product_folder", "local_files", "looks_like_product", "opener_of", "scene_name"]

Opener = Callable[[str, Wanted], Scene]

_SAFE_METADATA = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
_SAFE_ARCHIVE = re.compile(r"S2[A-Z]_MSIL(1C|2A)_.*\.zip$", re.IGNORECASE)


def opener_of(href: str) -> Opener | None:
    """What opens a product; None for anything else, which is then a raster or nothing.

    Raises:
        SceneError: If it is an archive that holds no product.
    """
    if is_remote(href):
        return None
    path = Path(href)
    if path.is_dir():
        return open_safe if is_product_folder(path) else None
    if path.name in _SAFE_METADATA and path.is_file():
        return lambda named, wanted: open_safe(str(Path(named).parent), wanted)
    if is_archive(href) and path.is_file():
        if any(METADATA.search(name) for name in members(href)):
            return open_safe
        raise SceneError(f"{printable(href)}: an archive that holds no product geoseg knows; unpack it")
    return None


def is_product_folder(folder: Path) -> bool:
    """Whether a folder as a whole is a product."""
    return any((folder / name).is_file() for name in _SAFE_METADATA)


def looks_like_product(path: Path) -> bool:
    """Whether a file that is found in a folder is a product, by its name."""
    return _SAFE_ARCHIVE.match(path.name) is not None


def scene_name(href: str) -> str:
    """Name of a scene: the file's or folder's, without its place and suffix; a query of a URL is no part of it."""
    path = Path(without_query(href))
    if path.name in _SAFE_METADATA:
        path = path.parent.absolute()
    return path.stem.removesuffix(".SAFE")


def local_files(href: str) -> list[Path]:
    """All files of a product on this machine; empty for anything else."""
    path = Path(href)
    if path.name in _SAFE_METADATA:
        path = path.parent
    if is_remote(href) or not path.is_dir():
        return []
    return sorted(p for p in path.rglob("*") if p.is_file())
