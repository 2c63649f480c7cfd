"""What TorchScript and .pt2 archives say of themselves: a card that geoseg put in when it wrote them.

Both are zip archives in which further files may lie; these are read without loading the program.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError, printable, reason_of
from geoseg.models.formats import Described

__all__ = ["CARD_FILE", "describe_exported", "describe_torchscript"]

CARD_FILE = "geoseg_card.json"
"""Name of the card among the further files of an archive."""
_MAX_CARD = 1 << 20
_UNKNOWN = ("bands", "units", "classes", "output")


def describe_torchscript(path: Path) -> Described:
    """The card in a TorchScript archive."""
    return _describe(path, "torchscript")


def describe_exported(path: Path) -> Described:
    """The card in a .pt2 archive."""
    return _describe(path, "pt2")


def _describe(path: Path, kind: str) -> Described:
    found = _card_in(path)
    if found is None:
        content = {"name": path.stem[:100], "version": "1", "kind": kind, "weights": path.name}
        return Described(content=content, folder=path.parent, unknown=_UNKNOWN)
    return Described(content={**found, "kind": kind, "weights": path.name}, folder=path.parent)


def _card_in(path: Path) -> dict[str, Any] | None:
    shown = printable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            # torch puts further files into a folder of its own, below one that is called like the archive
            for info in archive.infolist():
                if info.filename.rsplit("/", 1)[-1] == CARD_FILE:
                    if info.file_size > _MAX_CARD:
                        raise ModelError(f"{shown}: the card in it is larger than 1 MiB: that describes no model")
                    card = json.loads(archive.read(info))
                    if not isinstance(card, dict):
                        raise ModelError(f"{shown}: what should be a card in it is none")
                    return card
    # NotImplementedError: zipfile knows no such compression
    except (OSError, zipfile.BadZipFile, ValueError, RecursionError, NotImplementedError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{shown} is no archive of torch ({reason_of(error)}): get the file again") from error
    return None
