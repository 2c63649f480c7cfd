"""Tables as CSV: the areas of a scene, and of all scenes in one."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg.errors import OutputError, ParameterError, printable
from geoseg.outputs.aside import Published
from geoseg.outputs.records import write_text

__all__ = ["cell", "read_areas", "read_rows", "write_areas", "write_combined_areas"]

# what a spreadsheet takes for the start of a formula (OWASP, CSV injection), full-width forms included
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_areas(areas: Any, path: Path) -> Published:
    """A table of areas as CSV: UTF-8, comma, dot, one header line, a newline after the last row.

    Numbers are written so that they read back to the last bit; missing values are empty cells. Texts are made safe by
    :func:`cell`.

    Args:
        areas: DataFrame, one row per class; the index is not written.
        path: Final name, ``.csv``.

    Raises:
        OutputError: If it cannot be written or does not read back.
    """
    return _write_rows(path, [list(areas.columns), *_rows(areas)])


def read_areas(path: Path, *, without: Sequence[str] = ()) -> Any:
    """A table of areas as a DataFrame; texts as they were made safe.

    Args:
        path: A file of :func:`write_areas`.
        without: Columns to leave out, where they are.
    """
    import pandas as pd

    # a class may be called None or NA: only an empty number is a missing one
    empty = {"percent": [""], "mean_conf": [""]}
    table = pd.read_csv(path, dtype={"class_name": "str"}, keep_default_na=False, na_values=empty)
    return table.drop(columns=list(without), errors="ignore")


def read_rows(path: Path, *, without: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a table of areas as texts by column, in a tenth of the time that a DataFrame takes."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k not in without} for row in csv.DictReader(file)]


def write_combined_areas(areas: Mapping[str, Any], path: Path, *, without: Sequence[str] = ()) -> Published:
    """The tables of several scenes below each other, with a ``scene`` column first; see :func:`write_areas`.

    Args:
        areas: Scene id to DataFrame, or to a file of :func:`write_areas`, all with the same columns; none at all gives
            a table with a header only.
        path: Final name, ``.csv``.
        without: Columns of files to leave out.

    Raises:
        ParameterError: If the tables differ in their columns.
        OutputError: If it cannot be written or does not read back.
    """
    header: list[str] = []
    cells: list[list[str]] = []
    for scene, table in areas.items():
        if isinstance(table, Path):
            found = read_rows(table, without=without)
            columns = list(found[0]) if found else header
            rows = [list(row.values()) for row in found]  # made safe when they were written
        else:
            columns = [cell(name) for name in table.columns]
            rows = [[cell(value) for value in row] for row in _rows(table)]
        if header and columns != header:
            raise ParameterError(f"the areas of {scene!r} have columns {columns}, others {header}: make them the same")
        header = columns
        cells.extend([cell(scene), *row] for row in rows)
    return _write_cells(path, [["scene", *header], *cells])


def cell(value: object) -> str:
    """A value as the text of a CSV cell.

    Text from strangers (class names, scene ids) is shown, never run: control characters become backslash escapes, and
    a text that a spreadsheet would take for a formula gets an apostrophe in front. Numbers stay numbers.

    Example:
        >>> cell("=HYPERLINK(1)"), cell(-1.5), cell("Wald")
        ("'=HYPERLINK(1)", '-1.5', 'Wald')
    """
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        text = printable(value)
        return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
    item = getattr(value, "item", None)  # a numpy scalar as the Python number, which prints shortest
    return str(item() if item is not None else value)


def _rows(table: Any) -> list[list[Any]]:
    return [list(row) for row in table.itertuples(index=False, name=None)]


def _write_rows(path: Path, rows: list[list[Any]]) -> Published:
    return _write_cells(path, [[cell(value) for value in row] for row in rows])


def _write_cells(path: Path, cells: list[list[str]]) -> Published:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(cells)
    # what a reader of CSV will make of it, before it is written
    if list(csv.reader(io.StringIO(text.getvalue(), newline=""))) != cells:
        raise OutputError(f"the table {path.name} has cells that CSV cannot hold: rename the classes or scenes in it")
    return write_text(path, text.getvalue())
