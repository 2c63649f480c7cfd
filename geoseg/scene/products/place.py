"""Where a product lies: a folder, or an archive that is read as one."""

import os
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.errors import SceneError, printable
from geoseg.scene.archive import is_archive, member_href, members, read_member

__all__ = ["Place", "parse_xml"]

_MAX_TEXT_BYTES = 64 << 20
_MAX_FILES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder, or an archive, and the names of the files in it."""

    href: str
    """The folder or archive."""
    names: tuple[str, ...]
    """Files relative to it, with slashes, sorted: what is opened is always one of these, whatever metadata say."""

    @classmethod
    def at(cls, href: str, *, deep: bool = True) -> "Place":
        """The files of a folder or of an archive; links to folders are not followed.

        Args:
            href: The folder or archive.
            deep: Whether a folder is searched through all levels.

        Raises:
            SceneError: If an archive cannot be read, or a folder holds more files than a product does.
        """
        if is_archive(href) and not Path(href).is_dir():
            return cls(href=href, names=tuple(sorted(members(href))))
        found = []
        for base, folders, names in os.walk(href):
            folders[:] = sorted(folders) if deep else []
            found += [os.path.relpath(os.path.join(base, n), href).replace(os.sep, "/") for n in names]  # noqa: PTH118
            if len(found) > _MAX_FILES:
                raise SceneError(f"{printable(href)}: holds more than {_MAX_FILES} files, so it is no one product")
        return cls(href=href, names=tuple(sorted(found)))

    @property
    def in_archive(self) -> bool:
        """Whether it is an archive."""
        return is_archive(self.href) and not Path(self.href).is_dir()

    def file(self, name: str) -> str:
        """What GDAL opens for one of the names."""
        return member_href(self.href, name) if self.in_archive else str(Path(self.href, name))

    def read(self, name: str) -> bytes:
        """The bytes of a file of metadata.

        Raises:
            SceneError: If it is not one of the names, too long, or cannot be read.
        """
        if self.in_archive:
            return read_member(self.href, name)
        path = Path(self.href, name)
        try:
            if not path.is_file() or path.stat().st_size > _MAX_TEXT_BYTES:
                raise SceneError(f"{printable(path)}: no regular file of at most {_MAX_TEXT_BYTES >> 20} MiB")
            return path.read_bytes()
        except OSError as error:
            raise SceneError(f"{printable(path)}: cannot be read: {error.strerror or error}; check the path") from error


def parse_xml(content: bytes, shown: str) -> ET.Element:
    """The root of an XML document of metadata, which has no entities.

    Raises:
        SceneError: If it is not XML, or has a document type or entities, which can grow without limit.
    """
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise SceneError(
            f"{shown}: has a document type or entities, as no metadata of a product has; download it again"
        )
    try:
        return ET.fromstring(content)  # noqa: S314 - entities were refused above
    except ET.ParseError as error:
        raise SceneError(f"{shown}: not XML: {error}; download it again") from error
