"""A scene's outputs appear together: a hidden folder beside the final one, renamed into place at success."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoseg.errors import GeosegError, OutputError, printable
from geoseg.outputs.aside import ASIDE_NAME, fsync_folder
from geoseg.outputs.crash import crash_point

__all__ = ["clean_leftovers", "staging"]

_FOLDER = re.compile(r"^\.(?P<name>.+)\.[0-9a-f]{8}\.(?P<state>staging|parts|old)$", re.DOTALL)


@contextmanager
def staging(final: Path, *, overwrite: bool = False, within: Path | None = None) -> Iterator[Path]:
    """A hidden folder beside ``final`` that becomes ``final`` when the block ends well, and vanishes when it does not.

    A scene's outputs appear together. When an existing folder is overwritten, files in it that are not the scene's
    (whose names do not start with the folder's name and ``_`` or ``.``) are the user's: they are carried over.

    Args:
        final: The folder to be; its parent exists.
        overwrite: Whether an existing folder may be replaced.
        within: Folder of the same disk for the hidden one, where others may clean up beside ``final`` meanwhile.

    Yields:
        The folder to publish into.

    Raises:
        OutputError: If ``final`` is there and may not be replaced, or a rename fails.
    """
    if not overwrite:
        _refuse_existing(final)
    token = secrets.token_hex(4)
    stage = (within or final.parent) / f".{final.name}.{token}.staging"
    old = final.with_name(f".{final.name}.{token}.old")
    try:
        stage.mkdir()
    except OSError as error:
        raise OutputError(
            f"cannot write into {printable(final.parent)}: {error.strerror}; mend that, then run again"
        ) from error
    try:
        yield stage
        try:
            _put_in_place(stage, old, final, overwrite=overwrite)
        except GeosegError:
            raise
        except OSError as error:
            raise OutputError(
                f"cannot put the results in place as {printable(final)}: {error}; mend that, then run again"
            ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _put_in_place(stage: Path, old: Path, final: Path, *, overwrite: bool) -> None:
    """Swap the folders; between the two renames ``final`` is absent, and :func:`clean_leftovers` puts it back."""
    fsync_folder(stage)
    crash_point("staged")
    if not overwrite:
        _refuse_existing(final)
    if final.exists():
        final.rename(old)
        crash_point("old_aside")
    try:
        stage.rename(final)
    except OSError:
        if old.exists():
            old.rename(final)
        raise
    crash_point("stage_renamed")
    fsync_folder(final.parent)  # before the old one goes: not every disk keeps the order of names
    crash_point("stage_synced")
    _retire(old, final)


def clean_leftovers(folder: Path, *, of: str | None = None) -> list[str]:
    """Remove what killed runs left in a folder, and put back a folder that was set aside and never replaced.

    Call it under the lock that keeps other runs out of the folder.

    Args:
        folder: Where the outputs are.
        of: Name of the one output folder whose leftovers are meant, where others may be on their way; all by default.

    Returns:
        Names of what was removed or put back, sorted.
    """
    found = []
    for entry in sorted(folder.iterdir()):
        if of is None and ASIDE_NAME.match(entry.name) and entry.is_file():
            entry.unlink(missing_ok=True)  # one who is refused the folder tries whether it can be written into
        elif (match := _FOLDER.match(entry.name)) and entry.is_dir() and not entry.is_symlink():
            final = folder / match["name"]
            if of not in (None, final.name):
                continue
            if match["state"] != "old":
                shutil.rmtree(entry)
            elif final.exists():
                _retire(entry, final)
            else:
                entry.rename(final)
        else:
            continue
        found.append(entry.name)
    if found:
        fsync_folder(folder)
    return found


def _retire(old: Path, final: Path) -> None:
    """Remove a replaced folder after moving what is the user's into the new one."""
    if not old.is_dir():
        return
    for entry in old.iterdir():
        ours = entry.name.startswith((f"{final.name}_", f"{final.name}.", "."))
        if not ours and not (final / entry.name).exists():
            entry.rename(final / entry.name)
    shutil.rmtree(old)
    crash_point("old_removed")


def _refuse_existing(final: Path) -> None:
    if os.path.exists(final):  # noqa: PTH110 False for names too long for the disk, of which mkdir then says so
        raise OutputError(f"{printable(final)} is already there: pass --overwrite or choose another output folder")
