"""The write path: a file under its final name is complete and verified, or it is not there.

Every output goes through it: written aside in the same folder under a hidden random name, closed, opened again and
compared with what was meant, fsynced, renamed, the folder fsynced. Why reading back is not optional: on a full disk
rasterio closes a broken GeoTIFF without an error (GDAL's error at close is not passed on), and a killed GeoTIFF opens
and reads as nodata.

A killed process leaves hidden files at most.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from geoseg.errors import GeosegError, OutputError, printable
from geoseg.outputs.crash import crash_point
from geoseg.outputs.names import safe_name

__all__ = [
    "ASIDE_NAME",
    "Aside",
    "Published",
    "check_folder",
    "check_name",
    "fsync_folder",
    "outdated_sides",
    "publish",
    "sha256_of",
]

ASIDE_NAME = re.compile(r"^\..+\.[0-9a-f]{8}\.part(\..*|-journal|-wal|-shm)?$", re.DOTALL)
"""Hidden names of files on their way."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_OF_ROOM = {errno.EROFS, errno.EACCES, errno.EPERM}  # more room would not help
_BEHIND_NAMES = {".gpkg": ("-wal", "-shm", "-journal"), ".tif": (".ovr", ".msk")}
_SHAPEFILE = ".shp"
_INDEXES = (
    ".qix", ".sbn", ".sbx", ".fbn", ".fbx", ".ain", ".aih", ".atx", ".ixs", ".mxs", ".idm", ".ind",
    ".shx", ".dbf", ".prj", ".cpg", ".qpj",
)  # fmt: skip
_SAID_WHEN_FULL = ("no transaction is active", "disk is full")  # SQLite
_SAID_OF_ANY_FAILURE = "Unexpected I/O failure"  # FlatGeobuf
_LIKELY_FULL = 1 << 30
_NEARLY_FULL = 1 << 20  # with fewer bytes free than this, or than were written, a failure is put down to the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A file that was verified and is now under its final name."""

    path: Path
    """Final name."""
    size: int
    """Bytes of that file."""
    sha256: str
    """Hex digest of that file; empty where none was asked for."""
    sides: tuple[Path, ...] = field(default=())
    """Final names of the side files (``.aux.xml``, ``.qml``, ``.dbf`` ...), sorted."""


def check_folder(path: Path) -> None:
    """Whether the folder is there that a file is to be written into: better known before the work than after.

    Raises:
        OutputError: If there is none, or it cannot be written into.
    """
    folder = printable(path.parent)
    if not path.parent.is_dir():
        nearest = next(p for p in path.parents if p.exists())
        if nearest.is_dir():
            raise OutputError(f"cannot write {printable(path)}: there is no folder {folder}; create it, then run again")
        raise OutputError(
            f"cannot write {printable(path)}: {printable(nearest)} is a file and no folder; choose another output"
        )
    if not os.access(path.parent, os.W_OK):
        raise OutputError(
            f"cannot write {printable(path)}: the folder {folder} is read-only; make it writable, or choose another "
            "output"
        )


def check_name(path: Path) -> None:
    """Whether a name can be that of a file: better known before the work than after.

    Raises:
        OutputError: If it is taken by something that is no file, or too long.
    """
    try:
        info = path.stat()
    except OSError as error:
        info = None
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(f"cannot write {printable(path)}: {error.strerror}; give a shorter name") from error
    if info is not None and not stat.S_ISREG(info.st_mode):
        raise OutputError(
            f"cannot write {printable(path)}: the name is taken by something that is not a file; "
            "remove it or choose another output"
        )


class Aside:
    """A file on its way: written under :attr:`tmp`, then :meth:`finish`-ed or :meth:`discard`-ed.

    For writers that are fed bit by bit; :func:`publish` is the short form for all others.
    """

    def __init__(self, path: Path) -> None:
        """Choose the hidden name beside ``path``; nothing is created yet.

        Raises:
            OutputError: If the folder is not there, or the name is taken by something that is no file.
        """
        self.path = path
        self.tmp = path.with_name(f".{_hidden(path.stem)}.{secrets.token_hex(4)}.part{path.suffix}")
        check_folder(path)
        check_name(path)
        crash_point("begin")

    def finish(self, verify: Callable[[Path], None], *, checksum: bool = True) -> Published:
        """Verify, sync and rename what was written to :attr:`tmp`; on any error remove it and leave the old file.

        Args:
            verify: Opens the file, reads all of it and raises if it is not what was meant.
            checksum: Whether to take one.

        Raises:
            OutputError: If it does not read back as it was meant, or cannot be synced or renamed.
        """
        with self.guard(), ThreadPoolExecutor(1, "geoseg-checksum") as pool:
            crash_point("written")
            # both only read the file: at the same time
            reading = pool.submit(sha256_of, self.tmp) if checksum else None
            verify(self.tmp)
            crash_point("verified")
            files = self._files()
            for file in files:
                _fsync(file)
            crash_point("synced")
            size, digest = self.tmp.stat().st_size, "" if reading is None else reading.result()
            sides = self._rename([f for f in files if f != self.tmp])
            crash_point("renamed")
            fsync_folder(self.path.parent)
            crash_point("folder_synced")
        return Published(path=self.path, size=size, sha256=digest, sides=tuple(sides))

    def discard(self) -> None:
        """Remove what was written, side files included."""
        for file in self._files():
            with suppress(OSError):
                file.unlink()

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn any error into an :class:`OutputError` that names the file, and remove what was written."""
        try:
            yield
        except GeosegError as error:
            message = self._with_room(str(error), error)
            self.discard()
            if message == str(error):
                raise
            raise type(error)(message) from error
        except Exception as error:
            reason = str(error) or type(error).__name__
            message = self._with_room(f"cannot write {printable(self.path)}: {printable(reason)}", error)
            self.discard()
            raise OutputError(message) from error
        except BaseException:  # an interrupt, too, leaves nothing behind
            self.discard()
            raise

    def _with_room(self, message: str, error: BaseException) -> str:
        """The message, with what was written and what is free when the disk may be the reason.

        Drivers say anything on a full disk ("cannot read", "bad directory"), or nothing until it is read back.
        """
        try:
            written = sum(f.stat().st_size for f in self._files())
            free = shutil.disk_usage(self.path.parent).free
        except OSError:  # the folder went away: the message says enough
            return message
        if _errno_of(error) in _NOT_OF_ROOM:
            return message
        # SQLite and FlatGeobuf give the room back before they fail to say why
        full = _errno_of(error) in _FULL or any(said in message for said in _SAID_WHEN_FULL)
        full |= _SAID_OF_ANY_FAILURE in message and free < _LIKELY_FULL
        if not full and free >= max(_NEARLY_FULL, written):
            return message
        return (
            f"{message}; the disk of {printable(self.path.parent)} is nearly full "
            f"({_mib(written)} of this file written, {_mib(free)} free): "
            "free more than that or choose another output folder, then run again"
        )

    def _files(self) -> list[Path]:
        """The file and its side files, as far as they are there; side files share the stem up to ``.part``."""
        try:
            return sorted(f for f in self.path.parent.iterdir() if f.name.startswith(self.tmp.stem))
        except OSError:
            return []

    def _rename(self, sides: list[Path]) -> list[Path]:
        """Side files first, the file that others open last; an old one is withdrawn before, so no mix is ever seen."""
        outdated = outdated_sides(self.path)
        if sides or outdated:
            self.path.unlink(missing_ok=True)
        for side in outdated:
            side.unlink(missing_ok=True)
        finals = []
        for side in sides:
            finals.append(self.path.with_name(self.path.stem + side.name.removeprefix(self.tmp.stem)))
            side.replace(finals[-1])
            crash_point("side_renamed")
        self.tmp.replace(self.path)
        return finals


def publish(
    path: Path, write: Callable[[Path], None], verify: Callable[[Path], None], *, checksum: bool = True
) -> Published:
    """Write a file so that its final name is either absent, old or complete, whatever happens.

    Args:
        path: Final name; its folder exists.
        write: Writes and closes the file it is given, which has the suffix of ``path``. Side files it leaves beside
            it with the same stem are published too. They are renamed before the file itself, and an existing file is
            withdrawn first: for files with sides a kill in that instant leaves no file rather than a mix.
        verify: Opens the file it is given, reads all of it and raises if it is not what was meant.
        checksum: Whether to take one.

    Returns:
        The file under its final name, with size and checksum.

    Raises:
        OutputError: With the path, the reason and the mend; nothing is left of the attempt, the old file stays.
    """
    aside = Aside(path)
    with aside.guard():
        write(aside.tmp)
    return aside.finish(verify, checksum=checksum)


def outdated_sides(path: Path) -> list[Path]:
    """Files beside a name that readers would take for parts of a new file of that name, though they are of an old one.

    A GeoPackage that is open in QGIS, or was when that crashed, has a log beside it: SQLite would write its pages over
    those of the new file. Indexes of an old shapefile hide shapes of the new one, and overviews of an old raster show
    what it was.
    """
    sides = [path.with_name(f"{path.name}{end}") for end in _BEHIND_NAMES.get(path.suffix, ())]
    if path.suffix == _SHAPEFILE:
        sides = [path.with_suffix(end) for end in _INDEXES]
    # of os.path: False for names too long for the disk
    return [side for side in sides if os.path.isfile(side) or os.path.islink(side)]  # noqa: PTH113, PTH114


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable; Windows has no such call and needs none."""
    if os.name != "nt":
        _fsync(folder)


def _hidden(stem: str) -> str:
    """A stem that leaves room for what drivers put behind a name, without what they take for an address."""
    return safe_name(stem).replace("!", "_")


def _fsync(path: Path) -> None:
    # an error here condemns the file and is never retried: a second fsync reports success over lost pages
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _errno_of(error: BaseException | None) -> int | None:
    """The first system error number in a chain of causes."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MiB"
