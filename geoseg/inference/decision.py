"""What turns probabilities into a class: the most likely one, the one of least expected cost, or none at all."""

import csv
import io
import math
import stat
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import InputError, ParameterError, printable
from geoseg.legend import Legend, LegendClass

__all__ = ["REJECT", "UNDECIDED", "Costs", "Decision", "read_costs"]

REJECT = "reject"
"""Row of a cost matrix: what it costs to leave a pixel undecided."""
UNDECIDED = "undecided"
"""What the class of pixels that are left so is called, unless the model has one of this name."""
_COLOR = "#d0d0d0"
_MOST_BYTES = 1 << 20

Costs = tuple[tuple[float, ...], ...]
"""Cost of each decision (row) for each truth (column)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How a class is chosen from the probabilities of a pixel; the default is the most likely one."""

    costs: Costs | None = None
    """Cost of deciding d (row) where t (column) is true, for each class in the order of the legend; one more row is
    that of leaving the pixel undecided. The decision of least expected cost is taken, the first of equal ones."""
    min_confidence: float | None = None
    """Pixels whose most likely class is less probable are left undecided."""

    def __post_init__(self) -> None:
        if self.costs is not None and self.min_confidence is not None:
            raise ParameterError(
                "a cost matrix says itself when a pixel is left undecided: leave min_confidence out, and give the "
                "matrix a row 'reject'"
            )
        if self.min_confidence is not None and not 0 < self.min_confidence <= 1:
            raise ParameterError(f"min_confidence {self.min_confidence}: choose a probability above 0, at most 1")
        if self.costs is None:
            return
        n = len(self.costs[0]) if self.costs else 0
        if n < 1 or len(self.costs) not in (n, n + 1) or any(len(row) != n for row in self.costs):
            raise ParameterError("costs should be as many rows as columns, or one more row: that of no decision")
        if not all(math.isfinite(cost) and cost >= 0 for row in self.costs for cost in row):
            raise ParameterError("costs should be finite numbers, none below 0")

    @property
    def rejects(self) -> bool:
        """Whether pixels can be left undecided."""
        return self.min_confidence is not None or (self.costs is not None and len(self.costs) > len(self.costs[0]))

    def legend(self, legend: Legend) -> Legend:
        """The classes of the map: those of the model, and last ``undecided`` where pixels can be left so.

        Its number is 254, or the highest below that no class has.

        Raises:
            ParameterError: If the costs are those of another number of classes, or no number is left.
        """
        if self.costs is not None and len(self.costs[0]) != len(legend):
            raise ParameterError(
                f"the costs are for {len(self.costs[0])} classes, the model has {len(legend)}: "
                f"{', '.join(legend.names)}"
            )
        if not self.rejects:
            return legend
        free = [value for value in range(254, -1, -1) if value not in (*legend.values, legend.nodata)]
        if not free:
            raise ParameterError(f"the model has {len(legend)} classes: no number is left for undecided pixels")
        name = UNDECIDED if UNDECIDED not in legend.names else f"{UNDECIDED} {free[0]}"
        one = LegendClass(value=free[0], name=name, color=_COLOR)
        return Legend(classes=(*legend.classes, one), nodata=legend.nodata)


def read_costs(path: Path, legend: Legend) -> Costs:
    """A cost matrix from a CSV file: a row for each decision, a column for each class that may be true.

    The first line names the columns, the first cell of each further line its row, by name or number of the class, each
    class once, in any order. One more row may be called ``reject``. Comma or semicolon, whichever the first line has.

    Args:
        path: A file of at most 1 MiB.
        legend: Of the model.

    Returns:
        Costs in the order of the legend, the row ``reject`` last: see `Decision`.

    Raises:
        InputError: If it is no such table; the message names file and line.
    """
    name = printable(path)
    lines = [(n, line) for n, line in enumerate(_text(path, name).splitlines(), 1) if line.strip(" ,;\t")]
    if not lines:
        raise InputError(f"{name}: is empty: write a line of class names, and a row for each")
    delimiter = ";" if ";" in lines[0][1] else ","
    cells = [(n, [c.strip() for c in next(csv.reader(io.StringIO(line), delimiter=delimiter))]) for n, line in lines]
    numbers = {key: i for i, one in enumerate(legend) for key in (str(one.value), one.name)}
    columns = [_class(text, numbers, f"{name}: line {cells[0][0]}", legend) for text in cells[0][1][1:]]
    _each_once(columns, f"{name}: line {cells[0][0]}: the columns", legend)
    rows: dict[int, tuple[float, ...]] = {}
    for n, row in cells[1:]:
        where = f"{name}: line {n}"
        if len(row) != len(columns) + 1:
            raise InputError(f"{where} has {len(row)} cells, the first line has {len(columns) + 1}: mend that line")
        is_reject = row[0].lower() == REJECT and row[0] not in numbers
        place = len(legend) if is_reject else _class(row[0], numbers, where, legend)
        if place in rows:
            raise InputError(f"{where}: {printable(row[0])} has two rows: leave one out")
        costs = dict(zip(columns, (_cost(text, where) for text in row[1:]), strict=True))
        rows[place] = tuple(costs[i] for i in range(len(legend)))
    _each_once([place for place in rows if place < len(legend)], f"{name}: the rows", legend)
    return tuple(rows[place] for place in sorted(rows))


def _class(text: str, numbers: dict[str, int], where: str, legend: Legend) -> int:
    if text not in numbers:
        raise InputError(f"{where}: the model has no class {printable(text)!r}, only {', '.join(legend.names)}")
    return numbers[text]


def _each_once(places: list[int], what: str, legend: Legend) -> None:
    missing = [name for i, name in enumerate(legend.names) if i not in places]
    twice = [name for i, name in enumerate(legend.names) if places.count(i) > 1]
    if missing or twice:
        wrong = f"lack {', '.join(missing)}" if missing else f"have {', '.join(twice)} twice"
        raise InputError(f"{what} {wrong}: each class of the model needs one")


def _cost(text: str, where: str) -> float:
    try:
        cost = float(text)
    except ValueError as error:
        raise InputError(
            f"{where}: {printable(text)!r} is no number: write what the mistake costs, 0 for none"
        ) from error
    if not math.isfinite(cost) or cost < 0:
        raise InputError(f"{where}: a cost is a finite number, not below 0, and not {printable(text)}")
    return cost


def _text(path: Path, name: str) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            raise InputError(f"{name}: is no table of at most 1 MiB: give a CSV file")
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}; give a CSV file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: is not text in UTF-8: give a CSV file") from error
