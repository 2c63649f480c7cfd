"""Tables on stdout: framed on a terminal, CSV in a pipe."""

import csv
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from geoseg.errors import printable
from geoseg.jobs.outcome import Summary
from geoseg.outputs.tables import cell, read_rows

__all__ = ["show_areas", "show_table"]


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table; numbers to the right."""
    if not sys.stdout.isatty():
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([cell(value) for value in row] for row in rows)
        return
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[i]) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # from plain text, never from markup: names come from files
        table.add_row(*(Text(printable(value)) for value in row))
    Console(highlight=False).print(table)


def _is_number(value: object) -> bool:
    text = str(value).replace(",", "").replace("%", "").strip()
    return bool(text) and text.replace(".", "", 1).replace("-", "", 1).isdigit()


def show_areas(summary: Summary) -> None:
    """Hectares and percent of each class, per scene, and of the one map of all."""
    rows: list[tuple[object, ...]] = []
    for outcome in (*summary.outcomes, *(() if summary.whole is None else (summary.whole,))):
        for area in () if outcome.table is None else read_rows(outcome.table):
            if area["pixels"] != "0":
                hectares, percent, conf = (
                    f"{float(area[name]):.{digits}f}" if area[name] else ""
                    for name, digits in (("area_ha", 1), ("percent", 1), ("mean_conf", 0))
                )
                rows.append((outcome.id, area["class_name"], hectares, percent, conf))
    if rows:
        show_table(("scene", "class", "hectares", "percent", "mean_conf"), rows)
