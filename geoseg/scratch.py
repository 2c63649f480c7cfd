"""A folder for what a program keeps on the disk while it runs; those of dead programs are removed."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

__all__ = ["hold_folder", "is_abandoned", "remove_folder", "scratch_folder"]

Kind = Literal["dask", "evaluate", "train"]
"""What a folder is for: a cluster in this program, maps that are scored and not kept, the meeting of processes."""

_OURS = re.compile(r"geoseg-(?:dask|evaluate|train)-")
_HELD = "held"


@contextmanager
def scratch_folder(kind: Kind) -> Iterator[Path]:
    """A new folder in the temporary folder of the machine, ``geoseg-<kind>-...``, removed at the end.

    A program that is killed leaves its folder. Whether its owner lives is told by a lock of the kernel, which goes with
    the process: numbers of processes are given anew, and mean nothing in another container on the same disk. Folders
    without a lock, of other users, or on disks without locks are left alone. The next one to start, whatever its kind,
    removes those of the dead.
    """
    _remove_stale(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=f"geoseg-{kind}-"))
    held = hold_folder(folder)
    try:
        yield folder
    finally:
        remove_folder(folder)
        if held is not None:
            os.close(held)


def hold_folder(folder: Path) -> int | None:
    """The lock of a folder, as an open file, which goes with the process; None on disks without locks."""
    # under another name until it is held: nobody may find it free
    new = folder / f"{_HELD}.new"
    # for reading and writing: network file systems give exclusive locks on nothing else
    file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(folder / _HELD)
    except OSError:
        os.close(file)
        return None
    return file


def _remove_stale(where: Path) -> None:
    """Remove the folders of this user whose owners are dead; whatever goes wrong is no reason not to start."""
    with suppress(OSError):
        for folder in filter(_is_ours, where.iterdir()):
            with suppress(OSError):
                if is_abandoned(folder):
                    remove_folder(folder)


def _is_ours(folder: Path) -> bool:
    return _OURS.match(folder.name) is not None


def remove_folder(folder: Path) -> None:
    """Remove a folder that was held, its lock last: who is killed meanwhile leaves one that is seen to be abandoned."""
    with suppress(OSError):
        for entry in folder.iterdir():
            if entry.name == _HELD:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def is_abandoned(folder: Path) -> bool:
    """Whether a folder of this user was held and nobody does so any more.

    Raises:
        OSError: If that cannot be told: it has no lock, say, not yet or never.
    """
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        return False
    file = os.open(folder / _HELD, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(file)
