"""Removing results that are older than a pipeline keeps: only what it made itself, file by file."""

from pathlib import Path, PurePath

from geoseg.errors import OutputError, printable
from geoseg.jobs.results import read_item
from geoseg.outputs.aside import fsync_folder

__all__ = ["remove_results"]


def remove_results(folder: Path, key: str) -> bool:
    """Remove the results of a scene that have this run key, and the folder if nothing else is in it.

    Removed are the files that its record names, with their side files, and the record last, so that a removal that is
    cut off can be taken up again. Whatever else lies in the folder is the user's and stays.

    Returns:
        Whether there were such results.

    Raises:
        OutputError: If a file cannot be removed.
    """
    item = read_item(folder)
    try:
        made = item is not None and item["properties"]["geoseg:parameters"]["key"] == key
        # a record that leads out of the folder is none of ours
        names = [PurePath(asset["href"]) for asset in item["assets"].values()] if item is not None else []
    except (KeyError, TypeError, AttributeError):
        return False
    if not made or folder.is_symlink() or any(name.is_absolute() or len(name.parts) != 1 for name in names):
        return False
    stems = tuple(f"{name.stem}." for name in names if name.stem.startswith(f"{folder.name}_"))
    record = folder / f"{folder.name}.json"
    try:
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith(stems) and entry != record and not entry.is_dir():
                entry.unlink()
        record.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
        fsync_folder(folder.parent)
    except OSError as error:
        raise OutputError(
            f"cannot remove the results in {printable(folder)}, which are older than retention keeps: "
            f"{(error.strerror or str(error)).lower()}; mend that, or leave retention out of the pipeline"
        ) from error
    return True
