"""The tables of change: matrix, pairs, classes, summary, intensities; DataFrames as they are written."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.change.codes import ChangeCodes
from geoseg.change.components import change_components
from geoseg.change.intensity import intensity_analysis
from geoseg.change.transitions import Transitions
from geoseg.legend import Legend

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["component_table", "intensity_table", "matrix_table", "pair_table", "summary_table"]

_HA_M2 = 10_000
_ENDS = ("total", "no_data", "map_total")


def matrix_table(counts: Transitions, legend: Legend, unit_m2: float) -> "pd.DataFrame":
    """The transition matrix in pixels, hectares and percent, one below the other: rows before, columns after.

    Returns:
        ``measure`` (``pixels``, ``area_ha`` or ``percent``, of what was observed on both dates), ``from_id``,
        ``from_name``, a column for each class after, and ``total`` (observed on both dates), ``no_data`` (not observed
        after) and ``map_total``, their sum: the area table of the map before. The last three rows of each measure are
        the same for the columns, and there ``map_total`` is the area table of the map after.
    """
    import pandas as pd

    header = [*_distinct(legend), *_ENDS]
    units = _framed(counts.units)
    observed = units[len(legend), len(legend)]
    measures = {
        "pixels": _framed(counts.pixels),
        # totals are those of the integers, as in an area table, not sums of rounded areas
        "area_ha": units * unit_m2 / _HA_M2,
        "percent": 100 * (units / observed) if observed else np.full(units.shape, np.nan),
    }
    rows: list[list[Any]] = []
    ids, names = [*legend.values, *([None] * 3)], [*legend.names, *_ENDS]
    for measure, values in measures.items():
        for value, name, row in zip(ids, names, values.tolist(), strict=True):
            rows.append([measure, value, name, *row])
    table = pd.DataFrame(rows, columns=["measure", "from_id", "from_name", *header], dtype=object)
    return table.astype({"measure": "str", "from_name": "str"})


def _distinct(legend: Legend) -> list[str]:
    """Class names as columns: one that is the name of another column is followed by its value."""
    own = {"measure", "from_id", "from_name", *_ENDS}
    return [f"{c.name} ({c.value})" if c.name in own else c.name for c in legend]


def _framed(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows and columns of classes, then of totals, "no observation" and both together."""
    inner = counts[:-1, :-1]
    k = len(inner)
    out = np.zeros((k + 3, k + 3), dtype=np.int64)
    out[:k, :k] = inner
    out[:k, k], out[:k, k + 1] = inner.sum(axis=1), counts[:-1, -1]
    out[k, :k], out[k + 1, :k] = inner.sum(axis=0), counts[-1, :-1]
    out[k, k], out[k, k + 1], out[k + 1, k], out[k + 1, k + 1] = (
        inner.sum(),
        counts[:-1, -1].sum(),
        counts[-1, :-1].sum(),
        counts[-1, -1],
    )
    out[:, k + 2] = out[:, k] + out[:, k + 1]
    out[k + 2] = out[k] + out[k + 1]
    return out


def pair_table(counts: Transitions, plain: Transitions, codes: ChangeCodes, unit_m2: float) -> "pd.DataFrame":
    """Every pair of classes that occurs, the unchanged ones too, the largest change first.

    Args:
        counts: Of the change map.
        plain: Of the two maps as they are.
        codes: Of the change map.
        unit_m2: `PixelAreas.unit_m2` of the map.

    Returns:
        ``change_id`` (value in the change map, 0 for unchanged), ``from_id``, ``from_name``, ``to_id``, ``to_name``,
        ``pixels``, ``area_m2``, ``area_ha``, ``percent`` (of what was observed on both dates), ``mean_conf`` (percent;
        NaN where there is none) and ``mapped_ha``: the pair's area where the two maps are compared as they are.
    """
    import pandas as pd

    legend, k = codes.legend, len(codes.legend)
    pixels, units = counts.pixels[:-1, :-1], counts.units[:-1, :-1]
    at = np.argwhere((pixels > 0) | (plain.pixels[:-1, :-1] > 0))
    changed = at[:, 0] != at[:, 1]
    order = np.lexsort((at[:, 1], at[:, 0], -units[at[:, 0], at[:, 1]], ~changed))
    i, j = at[order].T
    value, name = np.array(legend.values, dtype=np.int64), np.array(legend.names, dtype=object)
    area_m2, observed = units * unit_m2, int(units.sum())
    mapped_m2 = plain.units[:-1, :-1] * unit_m2
    return pd.DataFrame(
        {
            "change_id": codes.table[:k, :k].astype(np.int64)[i, j],
            "from_id": value[i],
            "from_name": pd.Series(name[i], dtype="str"),
            "to_id": value[j],
            "to_name": pd.Series(name[j], dtype="str"),
            "pixels": pixels[i, j],
            "area_m2": area_m2[i, j],
            "area_ha": area_m2[i, j] / _HA_M2,
            "percent": 100 * (units[i, j] / observed) if observed else np.full(len(i), np.nan),
            "mean_conf": counts.mean_conf[i, j],
            "mapped_ha": mapped_m2[i, j] / _HA_M2,
        }
    )


def component_table(counts: Transitions, legend: Legend, unit_m2: float) -> "pd.DataFrame":
    """Gain, loss, net and swap of each class in hectares, and of what was observed on both dates.

    Returns:
        ``class_id``, ``class_name``, ``before_ha``, ``after_ha``, ``unchanged_ha``, ``gain_ha``, ``loss_ha``,
        ``net_ha``, ``swap_ha``, ``total_ha``, ``exchange_ha``, ``shift_ha`` and ``net_percent`` (of the class before;
        NaN where there was none).
    """
    import pandas as pd

    parts = change_components(counts.units[:-1, :-1])
    amounts = {
        "before": parts.before, "after": parts.after, "unchanged": parts.persistence, "gain": parts.gain,
        "loss": parts.loss, "net": parts.net, "swap": parts.swap, "total": parts.total, "exchange": parts.exchange,
        "shift": parts.shift,
    }  # fmt: skip
    table = pd.DataFrame(
        {
            "class_id": np.array(legend.values, dtype=np.int64),
            "class_name": pd.Series(legend.names, dtype="str"),
            **{f"{name}_ha": amount * unit_m2 / _HA_M2 for name, amount in amounts.items()},
        }
    )
    share = np.full(len(legend), np.nan)
    np.divide(parts.net, parts.before, out=share, where=parts.before > 0)
    return table.assign(net_percent=100 * share)


def summary_table(counts: Transitions, plain: Transitions, unit_m2: float, *, years: float | None) -> "pd.DataFrame":
    """The change of the whole map.

    Returns:
        ``measure``, ``area_ha``, ``percent`` (of what was observed on both dates). Measures: ``compared``,
        ``unchanged``, ``change`` with its parts ``quantity`` and ``allocation`` and of the latter ``exchange`` and
        ``shift``; ``change_per_year`` where the time between the dates is known; ``mapped_change``, that of the two
        maps as they are; ``not_comparable``, without an observation on one date or both.
    """
    import pandas as pd

    parts = change_components(counts.units[:-1, :-1])
    compared = int(counts.units[:-1, :-1].sum())
    amounts: dict[str, Any] = {
        "compared": compared,
        "unchanged": parts.persistence.sum(),
        "change": parts.map_change,
        "quantity": parts.map_quantity,
        "allocation": parts.map_allocation,
        "exchange": parts.map_exchange,
        "shift": parts.map_shift,
        **({} if years is None else {"change_per_year": parts.map_change / years}),
        "mapped_change": change_components(plain.units[:-1, :-1]).map_change,
        "not_comparable": counts.units.sum() - compared,
    }
    units = np.array(list(amounts.values()), dtype=np.float64)
    return pd.DataFrame(
        {
            "measure": pd.Series(list(amounts), dtype="str"),
            "area_ha": units * unit_m2 / _HA_M2,
            "percent": 100 * (units / compared) if compared else np.full(len(units), np.nan),
        }
    )


def intensity_table(counts: Transitions, legend: Legend, *, years: float | None) -> "pd.DataFrame":
    """Intensity analysis of the interval: what changed more, and what less, than if all had changed alike.

    Args:
        counts: Of the change map.
        legend: The classes.
        years: Between the dates; None takes the interval as one, and intensities are not yearly.

    Returns:
        ``level``, ``from_name``, ``to_name``, ``intensity`` and ``uniform`` (percent a year, or of the interval) and
        ``above``, whether the first is greater. Levels: ``loss`` and ``gain`` of a class, against the map's change;
        ``to``, what other classes gave to a class, against its gain spread evenly over them; ``from``, what a class
        gave to others, against its loss spread evenly over them. Rows with nothing to divide by are left out.
    """
    import pandas as pd

    found = intensity_analysis([counts.units[:-1, :-1]], [1.0 if years is None else years])
    names = legend.names
    rows: list[tuple[str, str, str, float, float]] = []
    whole = float(found.interval[0])
    for i, name in enumerate(names):
        rows.append(("loss", name, "", float(found.loss[0, i]), whole))
        rows.append(("gain", "", name, float(found.gain[0, i]), whole))
    pairs: Sequence[tuple[int, int]] = [(i, j) for i in range(len(names)) for j in range(len(names)) if i != j]
    for i, j in pairs:
        rows.append(("to", names[i], names[j], float(found.to_class[0, i, j]), float(found.to_uniform[0, j])))
        rows.append(("from", names[i], names[j], float(found.from_class[0, i, j]), float(found.from_uniform[0, i])))
    order = {"loss": 0, "gain": 1, "to": 2, "from": 3}
    rows = sorted((r for r in rows if not np.isnan(r[3])), key=lambda r: order[r[0]])
    return pd.DataFrame(
        {
            "level": pd.Series([r[0] for r in rows], dtype="str"),
            "from_name": pd.Series([r[1] for r in rows], dtype="str"),
            "to_name": pd.Series([r[2] for r in rows], dtype="str"),
            "intensity": [100 * r[3] for r in rows],
            "uniform": [100 * r[4] for r in rows],
            "above": pd.Series(["yes" if r[3] > r[4] else "no" for r in rows], dtype="str"),
        }
    )
