"""Names of local files as pyogrio leaves them alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.errors import InputError, printable

__all__ = ["ogr_path"]

_HANDLES = Path("/proc/self/fd")


@contextmanager
def ogr_path(path: Path) -> Iterator[str]:
    """What to give pyogrio as the name of a local file.

    pyogrio reads a name as an address: what stands before a ``!`` is taken for an archive, what follows a ``;`` in the
    last part is cut off, and so are line breaks. A folder that is called so is named by a handle of it instead.

    Raises:
        InputError: If the file itself is called so, or the folder is and the system has no such handles.
        OSError: If the folder cannot be opened.
    """
    name = os.fspath(path)
    if _stays(name):
        yield name
        return
    if not _stays(f"./{path.name}") or not _HANDLES.is_dir():
        raise InputError(
            f"{printable(path)}: GDAL's bindings take an exclamation mark, semicolon or line break in a name for "
            "something else: rename it"
        )
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield str(_HANDLES / str(folder) / path.name)
    finally:
        os.close(folder)


def _stays(name: str) -> bool:
    from pyogrio.util import vsi_path

    return bool(vsi_path(name) == name)
