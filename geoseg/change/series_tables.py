"""The tables of a series: matrices of intervals, areas by date, when and how often; DataFrames as they are written."""

from typing import TYPE_CHECKING

import numpy as np

from geoseg.change.intensity import intensity_analysis
from geoseg.change.series import Timeline
from geoseg.change.series_block import SeriesCounts
from geoseg.change.tables import intensity_table, matrix_table
from geoseg.change.transitions import Transitions
from geoseg.legend import Legend

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["area_series", "interval_intensity", "interval_matrices", "series_summary"]

_HA_M2 = 10_000


def interval_matrices(
    intervals: tuple[Transitions, ...], legend: Legend, timeline: Timeline, unit_m2: float
) -> "pd.DataFrame":
    """The transition matrix of each interval, and last that from the first date to the last, one below the other.

    Returns:
        ``before`` and ``after``, the dates, and the columns of `geoseg.change.tables.matrix_table`.
    """
    import pandas as pd

    tables = []
    for (a, b), counts in zip(_pairs(timeline), intervals, strict=True):
        table = matrix_table(counts, legend, unit_m2)
        table.insert(0, "before", pd.Series([timeline.labels[a]] * len(table), dtype="str"))
        table.insert(1, "after", pd.Series([timeline.labels[b]] * len(table), dtype="str"))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def area_series(counts: SeriesCounts, legend: Legend, timeline: Timeline, unit_m2: float) -> "pd.DataFrame":
    """The area of each class on each date.

    Returns:
        ``date``, ``class_id``, ``class_name``, ``pixels``, ``area_m2``, ``area_ha`` and ``percent`` (of what was
        observed on that date: with gaps, areas of two dates are of different land, and percents tell more);
        ``mapped_ha`` of the maps as they are, where rules change them; ``expected_ha``, the sum of posteriors times
        areas, where all dates decide together.
    """
    import pandas as pd

    k = len(legend)
    rows = []
    expected = counts.expected
    for t, label in enumerate(timeline.labels):
        pixels, units = _on_date(counts.intervals, t)
        observed = int(units.sum())
        columns = {
            "date": pd.Series([label] * k, dtype="str"),
            "class_id": np.array(legend.values, dtype=np.int64),
            "class_name": pd.Series(legend.names, dtype="str"),
            "pixels": pixels,
            "area_m2": units * unit_m2,
            "area_ha": units * unit_m2 / _HA_M2,
            "percent": 100 * (units / observed) if observed else np.full(k, np.nan),
        }
        if counts.plain is not None:
            columns["mapped_ha"] = _on_date(counts.plain, t)[1] * unit_m2 / _HA_M2
        if expected is not None:
            columns["expected_ha"] = expected[t].area_m2(unit_m2) / _HA_M2
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def _on_date(intervals: tuple[Transitions, ...], t: int) -> "tuple[np.ndarray, np.ndarray]":
    """(K,) pixels and units of each class on a date: rows of the interval that it begins, columns of the last one."""
    n = len(intervals) - 1
    counts, axis = (intervals[t], 1) if t < n else (intervals[n - 1], 0)
    return counts.pixels.sum(axis=axis)[:-1], counts.units.sum(axis=axis)[:-1]


def series_summary(counts: SeriesCounts, timeline: Timeline, unit_m2: float) -> "pd.DataFrame":
    """When land changed first, and how often.

    Returns:
        ``measure`` (``first change``, ``changes``, ``change``), ``value``, ``pixels``, ``area_ha`` and ``percent`` (of
        what was observed on two dates at least; of an interval, on both its dates). ``first change`` has a row for each
        date and one for ``never``, ``changes`` for each number; ``change`` the land with another class, for each
        interval and from the first date to the last, with its yearly share as ``percent_year``.
    """
    import pandas as pd

    rows: list[tuple[str, str, int, int, float, float]] = []
    nan = float("nan")
    d = len(timeline)
    compared = int(counts.first.units[:d].sum())
    for t in range(d):
        share = 100 * int(counts.first.units[t]) / compared if compared else nan
        name = "never" if t == 0 else timeline.labels[t]
        rows.append(("first change", name, int(counts.first.pixels[t]), int(counts.first.units[t]), share, nan))
    for n in range(d):
        share = 100 * int(counts.count.units[n]) / compared if compared else nan
        rows.append(("changes", str(n), int(counts.count.pixels[n]), int(counts.count.units[n]), share, nan))
    years = timeline.years
    for (a, b), interval in zip(_pairs(timeline), counts.intervals, strict=True):
        units = interval.units[:-1, :-1]
        both, changed = int(units.sum()), int(units.sum() - np.trace(units))
        share = 100 * changed / both if both else nan
        length = None if years is None else sum(years[a:b])
        name = f"{timeline.labels[a]} to {timeline.labels[b]}"
        rows.append(("change", name, interval.n_changed, changed, share, nan if length is None else share / length))
    table = pd.DataFrame(rows, columns=["measure", "value", "pixels", "units", "percent", "percent_year"])
    table.insert(3, "area_ha", table["units"] * unit_m2 / _HA_M2)
    return table.drop(columns="units").astype({"measure": "str", "value": "str"})


def interval_intensity(counts: SeriesCounts, legend: Legend, timeline: Timeline) -> "pd.DataFrame":
    """Intensity analysis of all intervals: which was fast, and in each what changed more than if all had changed alike.

    Returns:
        ``before`` and ``after``, the dates, and the columns of `geoseg.change.tables.intensity_table`; level
        ``interval`` is the change of the map in a year of the interval, against that of the whole time.
    """
    import pandas as pd

    steps = counts.intervals[:-1]
    years = timeline.years or (1.0,) * len(steps)
    found = intensity_analysis([c.units[:-1, :-1] for c in steps], years)
    tables = []
    for t, interval in enumerate(steps):
        speed = float(found.interval[t])
        whole = pd.DataFrame(
            {
                "level": ["interval"], "from_name": [""], "to_name": [""], "intensity": [100 * speed],
                "uniform": [100 * found.uniform], "above": ["yes" if speed > found.uniform else "no"],
            }
        )  # fmt: skip
        table = intensity_table(interval, legend, years=years[t])
        table = pd.concat([whole.astype(table.dtypes.to_dict()), table], ignore_index=True)
        table.insert(0, "before", pd.Series([timeline.labels[t]] * len(table), dtype="str"))
        table.insert(1, "after", pd.Series([timeline.labels[t + 1]] * len(table), dtype="str"))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _pairs(timeline: Timeline) -> list[tuple[int, int]]:
    """Places of the dates of each interval, and last of the whole time."""
    d = len(timeline)
    return [*((t, t + 1) for t in range(d - 1)), (0, d - 1)]
