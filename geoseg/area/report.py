"""Estimates as tables: the areas of the classes, the error matrix, and the accuracy of the whole."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.area.agreement import disagreement, kappa
from geoseg.area.assess import Assessment
from geoseg.area.population import MapTotals

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["counted_table", "estimates_table", "expected_table", "matrix_table", "summary_table"]

_M2_PER_HA = 10_000.0


def counted_table(held: MapTotals) -> "pd.DataFrame":
    """``class_id``, ``class_name``, ``pixels``, ``area_m2``, ``area_ha``, ``percent`` of the classes of a map."""
    import pandas as pd

    present = held.pixels > 0
    area = held.areas_m2[present]
    return pd.DataFrame(
        {
            **_classes(held, present),
            "pixels": held.pixels[present],
            "area_m2": area,
            "area_ha": area / _M2_PER_HA,
            "percent": 100 * area / area.sum(),
        }
    )


def expected_table(held: MapTotals, expected_m2: NDArray[np.float64]) -> "pd.DataFrame":
    """``class_id``, ``class_name``, ``pixels``, ``mapped_ha``, ``model_expected_ha`` of the classes of a map."""
    import pandas as pd

    shown = (held.pixels > 0) | (expected_m2 > 0)
    return pd.DataFrame(
        {
            **_classes(held, shown),
            "pixels": held.pixels[shown],
            "mapped_ha": held.areas_m2[shown] / _M2_PER_HA,
            "model_expected_ha": expected_m2[shown] / _M2_PER_HA,
        }
    )


def estimates_table(found: Assessment) -> "pd.DataFrame":
    """One row per class that the map or the reference has.

    Returns:
        ``class_id``, ``class_name``, ``pixels`` and ``mapped_ha`` as counted; ``area_ha``, the error-adjusted area,
        with ``se_ha`` and the interval ``low95_ha`` to ``high95_ha`` (or another level); ``users`` and ``producers``
        accuracy with ``users_se`` and ``producers_se``; ``n_map`` and ``n_ref``, points by map and by reference class.
    """
    import pandas as pd

    estimates, held, shown = found.estimates, found.held, _shown(found)
    level = f"{100 * estimates.level:g}"
    return pd.DataFrame(
        {
            **_classes(held, shown),
            "pixels": held.pixels[shown],
            "mapped_ha": held.areas_m2[shown] / _M2_PER_HA,
            "area_ha": estimates.area.value[shown] / _M2_PER_HA,
            "se_ha": estimates.area.se[shown] / _M2_PER_HA,
            f"low{level}_ha": estimates.area.low[shown] / _M2_PER_HA,
            f"high{level}_ha": estimates.area.high[shown] / _M2_PER_HA,
            "users": estimates.users.value[shown],
            "users_se": estimates.users.se[shown],
            "producers": estimates.producers.value[shown],
            "producers_se": estimates.producers.se[shown],
            "n_map": estimates.counts.sum(axis=1)[shown],
            "n_ref": estimates.counts.sum(axis=0)[shown],
        }
    )


def matrix_table(found: Assessment) -> "pd.DataFrame":
    """The error matrix twice: in ``points``, then as ``share`` of the area.

    Returns:
        ``measure``, ``map_class`` (and ``total`` below), then a column for each reference class, and ``total``.
    """
    import pandas as pd

    shown = _shown(found)
    names = [n for n, ok in zip(found.held.legend.names, shown, strict=True) if ok]
    rows: list[list[Any]] = []
    for measure, matrix in (("points", found.estimates.counts), ("share", found.estimates.cells)):
        part = matrix[np.ix_(shown, shown)]
        whole = np.vstack([part, part.sum(axis=0)])
        rows += [
            [measure, name, *line, sum(line)]
            # lists of Python's own numbers: points stay whole in a column that also has shares
            for name, line in zip([*names, "total"], whole.tolist(), strict=True)
        ]
    return pd.DataFrame(rows, columns=["measure", "map_class", *names, "total"], dtype=object)


def summary_table(found: Assessment, *, with_kappa: bool = False) -> "pd.DataFrame":
    """``measure``, ``value``, ``se``, ``low95``, ``high95`` of the map as a whole.

    Overall accuracy; what it lacks to 1 as quantity and allocation disagreement (exchange and shift), which have no
    standard errors here; the points used and the area they speak for.
    """
    import pandas as pd

    estimates = found.estimates
    parts = disagreement(estimates.cells)
    overall = [float(v) for v in (estimates.overall.value, estimates.overall.se)]
    interval = [float(v) for v in (estimates.overall.low, estimates.overall.high)]
    rows: list[list[Any]] = [
        ["overall_accuracy", *overall, *interval],
        *(
            [name, value, None, None, None]
            for name, value in (
                ("quantity_disagreement", parts.quantity),
                ("allocation_disagreement", parts.allocation),
                ("exchange", parts.exchange),
                ("shift", parts.shift),
                *((("kappa", kappa(estimates.cells)),) if with_kappa else ()),
                ("points", int(estimates.counts.sum())),
                ("area_ha", estimates.total_area / _M2_PER_HA),
            )
        ),
    ]
    level = f"{100 * estimates.level:g}"
    return pd.DataFrame(rows, columns=["measure", "value", "se", f"low{level}", f"high{level}"], dtype=object)


def _shown(found: Assessment) -> NDArray[np.bool_]:
    """Classes that the map or the reference has."""
    counts = found.estimates.counts
    return np.asarray((found.held.pixels > 0) | (counts.sum(axis=0) > 0) | (counts.sum(axis=1) > 0))


def _classes(held: MapTotals, shown: NDArray[np.bool_]) -> dict[str, Any]:
    import pandas as pd

    names = [n for n, ok in zip(held.legend.names, shown, strict=True) if ok]
    return {
        "class_id": np.array(held.legend.class_ids, dtype=np.int64)[shown],
        "class_name": pd.Series(names, dtype="str"),
    }
