"""Results of a place that are there already, and the folder for the parts of those that are to be."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from geoseg.errors import OutputError, printable
from geoseg.jobs.results import fault_in, read_item

__all__ = ["parts_folder", "standing"]

R = TypeVar("R")


def standing(output: Path, key: str, finished: Callable[[dict[str, Any]], R | None], *, overwrite: bool) -> R | None:
    """The finished results of this very work; None if nothing is there, or what is there may be replaced.

    Args:
        output: The folder to be. Its parent is made if missing.
        key: Of the work.
        finished: Makes the results of the record of a folder that is whole and has this key; None if it cannot.
        overwrite: Whether others may be replaced.

    Raises:
        OutputError: If something else is there.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.exists():
        return None
    if not (output / f"{output.name}.json").is_file():
        raise OutputError(
            f"results would go to {printable(output)}, which is there and holds no results of geoseg; move it away, or "
            "choose another --output"
        )
    item = read_item(output)
    fault = fault_in(output, item, thorough=overwrite)
    found = None
    if item is not None and fault is None and item["properties"]["geoseg:parameters"]["key"] == key:
        found = finished(item)
    if fault is not None and not overwrite:
        raise OutputError(
            f"the results in {printable(output)} are damaged or were changed: {fault}; pass --overwrite to make them "
            "again, or choose another --output"
        )
    if found is None and not overwrite:
        raise OutputError(
            f"{printable(output)} holds results of other maps or options; pass --overwrite to replace them, or choose "
            "another --output"
        )
    return found


@contextmanager
def parts_folder(output: Path) -> Iterator[Path]:
    """A hidden folder for parts beside the outputs; a killed run's is removed by the next one."""
    folder = output.with_name(f".{output.name}.{secrets.token_hex(4)}.parts")
    try:
        folder.mkdir()
    except OSError as error:
        raise OutputError(
            f"cannot write into {printable(output.parent)}: {(error.strerror or str(error)).lower()}; choose another "
            "--output"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
