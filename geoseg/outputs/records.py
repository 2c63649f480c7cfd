"""Text and JSON through the write path: run.json, reports, STAC items."""

import json
from pathlib import Path
from typing import Any

from geoseg.errors import OutputError
from geoseg.outputs.aside import Published, publish

__all__ = ["write_json", "write_text"]


def write_text(path: Path, text: str) -> Published:
    """A text file in UTF-8, lines ending as given.

    Raises:
        OutputError: If it cannot be written or does not read back the same.
    """
    # lone surrogates come from file names that are no UTF-8
    data = text.encode("utf-8", "backslashreplace")

    def verify(tmp: Path) -> None:
        if tmp.read_bytes() != data:
            raise OutputError(f"{path.name} did not read back as it was meant")

    return publish(path, lambda tmp: _write_bytes(tmp, data), verify)


def write_json(path: Path, payload: Any) -> Published:
    """A JSON file, indented, keys in the order given, one newline at the end.

    Raises:
        OutputError: If it cannot be written, does not read back the same, or holds what JSON has no word for (NaN).
    """
    try:
        text = json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OutputError(f"cannot write {path.name} as JSON: {error}; give plain finite values") from error
    return write_text(path, f"{text}\n")


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)
