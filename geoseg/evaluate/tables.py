"""The tables of an evaluation, from plain counts; DataFrames as they are written."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.evaluate.bootstrap import Interval
from geoseg.evaluate.boundary import BorderScores
from geoseg.evaluate.calibration import Reliability, reliability
from geoseg.evaluate.scores import Margins, class_scores, scores
from geoseg.legend import Legend

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ALL",
    "border_means",
    "calibration_table_of",
    "class_table_of",
    "extent_of",
    "matrix_table_of",
    "reliability_of",
    "zone_table_of",
]

ALL: Final = "all"
"""What the rows of all scenes or classes together are called."""
_HA_M2: Final = 10_000
_BY_CLASS: Final = ("iou", "f1", "precision", "recall")
_BY_BORDER: Final = {
    "iou": "boundary_iou",
    "precision": "boundary_precision",
    "recall": "boundary_recall",
    "f1": "boundary_f1",
    "asd_m": "asd_m",
    "surface_dice": "surface_dice",
    "beyond": "beyond",
}


def extent_of(pixels: NDArray[np.int64], area_m2: float) -> tuple[int, float, float]:
    """Pixels that were compared, their area in hectares, and the share of the reference that was not mapped."""
    compared, unmapped = int(pixels[:-1, :-1].sum()), int(pixels[:-1, -1].sum())
    return compared, area_m2 / _HA_M2, unmapped / max(compared + unmapped, 1)


def reliability_of(by_percent: NDArray[np.int64]) -> Reliability:
    """Confidence against accuracy, of counts (K, 101, 2) by class, percent, and whether they are right."""
    total = by_percent.sum(axis=0)
    return reliability(np.arange(len(total)) / 100, total[:, 0], total[:, 1])


def border_means(borders: BorderScores) -> dict[str, NDArray[np.float64]]:
    """Means over the classes that have the score, (...) of (..., K)."""
    means = {}
    for name in ("iou", "f1", "asd_m", "surface_dice"):
        values = getattr(borders, name)
        known = np.isfinite(values)
        n = known.sum(axis=-1)
        means[_BY_BORDER[name]] = np.full(n.shape, np.nan)
        np.divide(np.where(known, values, 0.0).sum(axis=-1), n, out=means[_BY_BORDER[name]], where=n > 0)
    return means


def class_table_of(
    legend: Legend,
    margins: Margins,
    area_m2: NDArray[Any],
    between: Interval | None,
    borders: BorderScores | None = None,
) -> "pd.DataFrame":
    """One row per class of a legend, see `Evaluation.class_table`."""
    import pandas as pd

    found = class_scores(margins)
    reference, mapped = area_m2.sum(axis=1) / _HA_M2, area_m2.sum(axis=0) / _HA_M2
    bias = np.full(len(legend), np.nan)
    np.divide(100 * (mapped - reference), reference, out=bias, where=reference > 0)
    intervals_of = {} if between is None else {"iou_low": between.low, "iou_high": between.high}
    pixels = {"reference_px": margins.reference, "mapped_px": margins.predicted}
    drawn = {} if borders is None else {column: getattr(borders, name) for name, column in _BY_BORDER.items()}
    whole = all((values == np.floor(values)).all() for values in pixels.values())
    return pd.DataFrame(
        {
            "class_id": np.array(legend.class_ids, dtype=np.int64),
            "class_name": pd.Series(legend.names, dtype="str"),
            "iou": found.iou,
            **intervals_of,
            **{name: getattr(found, name) for name in _BY_CLASS[1:]},
            **{name: values.astype(np.int64) if whole else values for name, values in pixels.items()},
            "reference_ha": reference,
            "mapped_ha": mapped,
            "bias_ha": mapped - reference,
            "bias_pct": bias,
            **drawn,
        }
    )


def matrix_table_of(legend: Legend, pixels: NDArray[np.int64], area_m2: NDArray[np.float64]) -> "pd.DataFrame":
    """The confusion matrix, see `Evaluation.matrix_table`."""
    import pandas as pd

    own = {"measure", "reference_id", "reference", "no_class"}
    header = [f"{c.name} ({c.value})" if c.name in own else c.name for c in legend]
    rows = []
    for measure, values in (("pixels", pixels), ("area_ha", area_m2 / _HA_M2)):
        ids, names = [*legend.values, None], [*legend.names, "no_class"]
        rows += [[measure, i, n, *r] for i, n, r in zip(ids, names, values.tolist(), strict=True)]
    columns = ["measure", "reference_id", "reference", *header, "no_class"]
    return pd.DataFrame(rows, columns=columns, dtype=object).astype({"measure": "str", "reference": "str"})


def calibration_table_of(known: Reliability) -> "pd.DataFrame":
    """Confidence and accuracy in bins, see `Evaluation.calibration_table`."""
    import pandas as pd

    return pd.DataFrame(
        {
            "low": known.edges[:-1],
            "high": known.edges[1:],
            "pixels": known.pixels,
            "confidence": known.confidence,
            "accuracy": known.accuracy,
        }
    )


def zone_table_of(legend: Legend, zone_ids: Sequence[Any], total: NDArray[np.float64]) -> "pd.DataFrame":
    """Scores by zone and class, see `Evaluation.zone_table`, from (zones, K, K, 2) pixels and square metres."""
    import pandas as pd

    tables = []
    for zone, both in zip(zone_ids, total, strict=True):
        margins = Margins.of(both[..., 0])
        if not margins.total:
            continue
        whole = scores(margins)
        areas = float(both[..., 1].sum()) / _HA_M2
        first = pd.DataFrame(
            {
                "class_name": [ALL],
                "pixels": float(margins.total),
                "accuracy": float(whole.accuracy),
                "miou": float(whole.miou),
                "reference_ha": areas,
                "mapped_ha": areas,
            }
        )
        each = class_table_of(legend, margins, both[..., 1], None).rename(columns={"reference_px": "pixels"})
        each = each[margins.reference + margins.predicted > 0]
        order = ["class_id", "class_name", "pixels", "accuracy", "miou", *each.columns[2:]]
        columns = list(dict.fromkeys(c for c in order if c != "mapped_px"))
        part = pd.concat([first, each]).reindex(columns=columns)
        part.insert(0, "zone", pd.Series([zone] * len(part), index=part.index))
        tables.append(part)
    if not tables:
        return pd.DataFrame({"zone": [], "class_name": []})
    table = pd.concat(tables, ignore_index=True)
    ids = [None if i != i else int(i) for i in table["class_id"]]
    return table.assign(class_id=pd.Series(ids, dtype=object)).astype({"class_name": "str"})
