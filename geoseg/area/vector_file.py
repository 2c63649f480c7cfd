"""The door through which vector files come in: zones, reference points.

Files come from strangers: only regular local files of a few formats are opened, and only where their first bytes are
those of the format, because GDAL goes by content and would read under a ``.geojson`` name a description that leads to
other files or the network.
"""

import stat
from pathlib import Path

from geoseg.errors import InputError, ParameterError, printable
from geoseg.scene.guard import is_remote

__all__ = ["FORMATS", "PARQUET", "checked_file"]

FORMATS = {
    ".gpkg": (b"SQLite format 3\0",),
    ".shp": (b"\0\0\x27\x0a",),
    ".fgb": (b"fgb",),
    ".geojson": (b"{",),
    ".json": (b"{",),
    ".parquet": (b"PAR1",),
    ".geoparquet": (b"PAR1",),
}
"""Suffix to what such a file starts with."""

_SHAPEFILE_PARTS = (".dbf", ".shx", ".prj", ".cpg", ".qix", ".sbn", ".sbx")
_VSI = "/vsi"
PARQUET = (".parquet", ".geoparquet")
"""Suffixes of files without layers."""


def checked_file(source: str, what: str) -> tuple[Path, str | None]:
    """Path and layer of ``FILE`` or ``FILE:LAYER``; a file that exists under the whole name goes first.

    Args:
        source: As the user gave it.
        what: Is read from it, for messages: ``zones``.

    Raises:
        InputError: If it is no regular local file of a known format that starts as its suffix says.
        ParameterError: If a layer is named in a file that has none.
    """
    path, layer = _split(source, what)
    _check_file(path, source, what)
    if layer is not None and path.suffix.lower() in PARQUET:
        raise ParameterError(f"{printable(path)}: a Parquet file has no layers; leave out ':{printable(layer)}'")
    return path, layer


def _split(source: str, what: str) -> tuple[Path, str | None]:
    if is_remote(source) or source.startswith(_VSI):
        raise InputError(f"{printable(source)}: {what} are read from local files only; download the file first")
    before, colon, layer = source.rpartition(":")
    try:
        whole = Path(source).exists()
    except (ValueError, OSError):  # a zero byte, or longer than a name can be
        whole = False
    if colon and layer and not whole and Path(before).suffix.lower() in FORMATS:
        return Path(before), layer
    return Path(source), None


def _check_file(path: Path, source: str, what: str) -> None:
    name, suffix = printable(source), path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"{name}: {printable(suffix) or 'no suffix'!r} is not a format geoseg reads {what} from "
            f"({', '.join(FORMATS)}); convert it with ogr2ogr new.gpkg"
        )
    parts = [path.with_suffix(s) for s in _SHAPEFILE_PARTS] if suffix == ".shp" else []
    for part in (path, *(p for p in parts if p.exists())):
        try:
            info = part.stat()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"{name}: cannot be read: {printable(reason).lower()}; check the path") from error
        if not stat.S_ISREG(info.st_mode):  # a named pipe would hang the opening for ever
            raise InputError(f"{printable(part)}: not a regular file but a folder, pipe or device; name a vector file")
    with path.open("rb") as stream:
        start = stream.read(256)
    if suffix in (".geojson", ".json"):
        start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start.startswith(FORMATS[suffix]):
        raise InputError(
            f"{name}: does not start as a {suffix} file does, so it is another format, damaged or empty; "
            "export it again, for example with ogr2ogr new.gpkg"
        )
