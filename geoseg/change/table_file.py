"""Small tables that users write: a crosswalk of classes, a list of transitions."""

import csv
import io
import os
import stat
from pathlib import Path
from typing import Final

from geoseg.errors import InputError, printable

__all__ = ["read_rows"]

_MOST_BYTES: Final = 1 << 20


def read_rows(
    path: str | os.PathLike[str], *, needed: tuple[str, ...], allowed: tuple[str, ...] = ()
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with a header, texts without outer blanks; empty rows and lines from ``#`` are left out.

    Comma or semicolon, whichever the header has. Column names do not mind case.

    Args:
        path: A local file of at most 1 MiB.
        needed: Columns that must be there.
        allowed: Further columns that may be.

    Returns:
        Line number and cells by column, in their order.

    Raises:
        InputError: If it is not such a file, a column is missing or not known, or a row does not fit.
    """
    name = printable(path)
    lines = list(enumerate(_text(Path(path), name).splitlines(), 1))
    lines = [(n, line) for n, line in lines if line.strip(" ,;\t") and not line.lstrip().startswith("#")]
    if not lines:
        raise InputError(f"{name}: is empty: write a header with {', '.join(needed)}, and a row for each entry")
    delimiter = ";" if ";" in lines[0][1] else ","
    cells = [(n, [c.strip() for c in next(csv.reader(io.StringIO(line), delimiter=delimiter))]) for n, line in lines]
    header = [c.lower() for c in cells[0][1]]
    known = (*needed, *allowed)
    wrong = [c for c in header if c not in known]
    missing = [c for c in needed if c not in header]
    if wrong or missing or len(set(header)) < len(header):
        what = f"has no column {missing[0]}" if missing else f"has a column {printable((wrong or header)[0])!r}"
        raise InputError(f"{name}: {what}: its columns are {', '.join(known)}, each once, named in the first line")
    for n, row in cells[1:]:
        if len(row) != len(header):
            raise InputError(f"{name}: line {n} has {len(row)} cells, the header has {len(header)}: mend that line")
    return [(n, dict(zip(header, row, strict=True))) for n, row in cells[1:]]


def _text(path: Path, name: str) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            raise InputError(f"{name}: is no table of at most 1 MiB: give a CSV file")
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise InputError(f"{name}: cannot be read: {reason}; give a CSV file") from error
