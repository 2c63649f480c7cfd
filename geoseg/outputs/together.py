"""Several files that appear together: written into a hidden folder beside them, and renamed when all are there."""

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from geoseg.errors import GeosegError, OutputError, printable
from geoseg.outputs.aside import check_name, fsync_folder, outdated_sides
from geoseg.scratch import hold_folder, is_abandoned, remove_folder

__all__ = ["held_stage", "together"]

_SIDES = {".shp": (".cpg", ".dbf", ".prj", ".shx", ".qml"), ".fgb": (".qml",), ".geojson": (".qml",)}
_FOLDER = re.compile(r"\.geoseg\.[0-9a-f]{8}\.together")


@contextmanager
def together(paths: Sequence[Path], *, overwrite: bool = True) -> Iterator[list[Path]]:
    """Names to write to, which become the given ones when the block ends well, with the files of the same stem.

    Nothing appears when it does not. What a killed program left is removed the next time, as a folder that nobody
    holds (`geoseg.scratch`).

    Args:
        paths: Final names; their folders exist.
        overwrite: Whether files of these names are replaced; else one that is there at the end is an error.

    Raises:
        OutputError: If a folder is missing or cannot be written into, a name is taken by something that is no file, or
            a rename fails.
    """
    with ExitStack() as stack:
        stages: dict[Path, Path] = {}
        for path in paths:
            check_name(path)
            if path.parent not in stages:
                stages[path.parent] = stack.enter_context(held_stage(path.parent))
        try:
            yield [stages[path.parent] / path.name for path in paths]
        except GeosegError as error:
            message = str(error)
            for folder, stage in stages.items():  # which nobody has heard of
                message = message.replace(str(printable(stage)), str(printable(folder)))
            raise (error if message == str(error) else type(error)(message)) from error.__cause__
        there = [path for path in paths if path.exists()]
        if there and not overwrite:
            raise OutputError(
                f"{printable(there[0])} was written by something else meanwhile: name another output, or replace it"
            )
        try:
            # all old ones before any new one: files of one stem share side files
            for path in paths:
                _withdraw(stages[path.parent], path)
            for path in paths:
                _put_in_place(stages[path.parent], path)
            for folder in stages:
                fsync_folder(folder)
        except OSError as error:
            raise OutputError(f"cannot put {printable(path)} in place: {error.strerror}; then run again") from error


@contextmanager
def held_stage(folder: Path) -> Iterator[Path]:
    """A hidden folder in another one, locked while it is used: nobody who cleans up takes it for abandoned.

    Raises:
        OutputError: If the folder is missing or cannot be written into.
    """
    stage = folder / f".geoseg.{secrets.token_hex(4)}.together"
    try:
        for entry in folder.iterdir():
            if _FOLDER.fullmatch(entry.name):
                with suppress(OSError):
                    if is_abandoned(entry):
                        remove_folder(entry)
        stage.mkdir()
        held = hold_folder(stage)
    except OSError as error:
        raise OutputError(
            f"cannot write into {printable(folder)}: {(error.strerror or str(error)).lower()}; "
            "create it or choose another output"
        ) from error
    try:
        yield stage
    finally:
        remove_folder(stage)
        if held is not None:
            os.close(held)


def _sides(stage: Path, path: Path) -> list[Path]:
    """The side files of one of the files, as long as they are in the stage."""
    sides = [(stage / path.name).with_suffix(suffix) for suffix in _SIDES.get(path.suffix, ())]
    return [side for side in sides if side.is_file()]


def _withdraw(stage: Path, path: Path) -> None:
    """Remove an old file that has side files, or gets some, so that no mix is ever seen."""
    outdated = outdated_sides(path)
    if outdated or _sides(stage, path):
        path.unlink(missing_ok=True)
    for side in outdated:
        side.unlink(missing_ok=True)


def _put_in_place(stage: Path, path: Path) -> None:
    """Side files first, the file itself last."""
    for side in _sides(stage, path):
        side.replace(path.with_name(side.name))
    (stage / path.name).replace(path)
