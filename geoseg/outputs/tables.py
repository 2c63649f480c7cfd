"""Tables as CSV: the areas of a scene, and of all scenes in one."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.errors import OutputError, ParameterError, printable
from geoseg.outputs.aside import Published
from geoseg.outputs.records import write_text

__all__ = ["cell", "csv_text", "read_areas", "read_rows", "write_areas", "write_combined_areas"]

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
    return write_text(path, csv_text(areas, name=path.name))


def csv_text(table: Any, *, name: str = "of results") -> str:
    """A DataFrame as CSV, as :func:`write_areas` has it; a column at a time.

    Args:
        table: The index is not written.
        name: Said where the table cannot be CSV.

    Raises:
        OutputError: If there are texts that CSV cannot hold.
    """
    header = [cell(column) for column in table.columns]
    columns = [_cells(table.iloc[:, i]) for i in range(len(header))]
    texts = {text for i, column in enumerate(columns) if not _is_numeric(table.iloc[:, i]) for text in column}
    _check([[text, text] for text in (*header, *texts)], name)
    return _text([header, *zip(*columns, strict=True)])


def _is_numeric(column: Any) -> bool:
    return column.dtype.kind in "iuf" and isinstance(column.dtype, np.dtype)


def _cells(column: Any) -> list[str]:
    """`cell` of the values of a column; texts, of which there are few, once for each."""
    if _is_numeric(column):
        cells = list(map(str, column.tolist()))
        for i in np.flatnonzero(column.isna()).tolist():
            cells[i] = ""
        return cells
    known: dict[tuple[type, Any], str] = {}
    cells = []
    for value in column.tolist():
        key = (type(value), value)  # True is not 1
        text = known.get(key)
        if text is None:
            text = known[key] = cell(value)
        cells.append(text)
    return cells


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
            rows = [list(row) for row in zip(*(_cells(table[name]) for name in table.columns), strict=True)]
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


def _write_cells(path: Path, cells: list[list[str]]) -> Published:
    _check(cells, path.name)
    return write_text(path, _text(cells))


def _text(cells: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue()


def _check(cells: list[list[str]], name: str) -> None:
    """What a reader of CSV will make of it, before it is written."""
    if list(csv.reader(io.StringIO(_text(cells), newline=""))) != cells:
        raise OutputError(f"the table {name} has cells that CSV cannot hold: rename the classes or scenes in it")
