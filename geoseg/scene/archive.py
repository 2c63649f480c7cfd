"""Members of zip and tar files: listed and read in place, never unpacked."""

import tarfile
import zipfile
from functools import lru_cache
from pathlib import Path

from geoseg.errors import SceneError, printable

__all__ = ["archive_of", "is_archive", "member_href", "member_size", "members", "read_member"]

_KINDS = {".zip": "/vsizip/", ".tar": "/vsitar/"}
_MAX_MEMBERS = 20_000
_MAX_TEXT_BYTES = 64 << 20
_MAX_RATIO = 1000  # what deflate reaches at most on anything is 1032


def is_archive(path: str) -> bool:
    """Whether a name is that of an archive that can be read in place."""
    return Path(path).suffix.lower() in _KINDS


def member_href(archive: str, name: str) -> str:
    """What GDAL opens for a member of an archive.

    Raises:
        SceneError: If the archive's own name has braces, which mark its ends for GDAL.
    """
    if set("{}") & set(archive):
        raise SceneError(f"{printable(archive)}: has braces in its path, which GDAL cannot read in place; rename it")
    return f"{_KINDS[Path(archive).suffix.lower()]}{{{archive}}}/{name}"


def archive_of(href: str) -> str | None:
    """The archive that a name of `member_href` leads into; None for any other name."""
    for start in _KINDS.values():
        if href.startswith(f"{start}{{") and "}/" in href:
            return href.removeprefix(f"{start}{{").partition("}/")[0]
    return None


def members(archive: str) -> dict[str, int]:
    """Names of the regular files in an archive and their sizes in bytes, unpacked.

    Raises:
        SceneError: If it cannot be read, or declares members beyond reason.
    """
    path = Path(archive)
    try:
        info = path.stat()
        return _members(archive, info.st_size, info.st_mtime_ns)
    except SceneError:
        raise
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it ends too soon"
        raise SceneError(
            f"{printable(archive)}: cannot be read as an archive: {printable(reason)}; copy or download it again"
        ) from error


@lru_cache(maxsize=64)
def _members(archive: str, size: int, _changed: int) -> dict[str, int]:
    if Path(archive).suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as file:
            infos = file.infolist()
            listed = {i.filename: i.file_size for i in infos if not i.is_dir()}
            bomb = any(i.file_size > _MAX_RATIO * 2 * max(i.compress_size, 1) for i in infos)
    else:
        listed, bomb = {}, False
        with tarfile.open(archive, "r:") as file:
            for member in file:
                if member.isreg():
                    listed[member.name] = member.size
                if len(listed) > _MAX_MEMBERS:
                    break
    if bomb or len(listed) > _MAX_MEMBERS:
        raise SceneError(
            f"{printable(archive)}: declares {len(listed)} members of {sum(listed.values()) >> 20} MiB in {size} "
            "bytes: beyond reason for a product; unpack what is meant of it"
        )
    return listed


def member_size(href: str) -> int:
    """Bytes of the member that a name of `member_href` leads to.

    Raises:
        SceneError: If it is not there.
    """
    archive, _, name = href.partition("{")[2].partition("}/")
    sizes = members(archive)
    if name not in sizes:
        raise SceneError(f"{printable(archive)}: has no member {printable(name)}; download it again")
    return sizes[name]


def read_member(archive: str, name: str) -> bytes:
    """The bytes of a small member: metadata.

    Raises:
        SceneError: If it is not there, is too long for metadata, or is damaged.
    """
    size = member_size(member_href(archive, name))
    if size > _MAX_TEXT_BYTES:
        raise SceneError(
            f"{printable(archive)}: its member {printable(name)} has {size >> 20} MiB, too long for metadata"
        )
    try:
        if Path(archive).suffix.lower() == ".zip":
            with zipfile.ZipFile(archive) as zipped:
                return zipped.read(name)
        with tarfile.open(archive, "r:") as file:
            stream = file.extractfile(name)
            assert stream is not None  # only regular files are listed
            return stream.read()
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError, RuntimeError) as error:
        raise SceneError(
            f"{printable(archive)}: its member {printable(name)} is damaged: {printable(error)}; download it again"
        ) from error
