"""The tables of an evaluation on a terminal, and in a pipe."""

import sys
from typing import TYPE_CHECKING, Any

from geoseg.cli.show import show_table

if TYPE_CHECKING:
    from geoseg.jobs.evaluate import Evaluated

__all__ = ["show_evaluation"]

_SHOWN = 40


def show_evaluation(found: "Evaluated") -> None:
    """All tables that fit on a terminal, that of the classes in a pipe."""
    from geoseg.outputs.evaluation_page import WORDS

    classes: Any = found.tables["classes"]
    summary: Any = found.tables["summary"]
    if not sys.stdout.isatty():
        show_table(list(classes.columns), list(classes.itertuples(index=False, name=None)))
        return
    rows = [
        (WORDS.get(row.measure, row.measure), _share(row.value), _between(row.low, row.high))
        for row in summary.itertuples()
    ]
    interval = f"{100 * found.evaluation.level:g} % interval"
    show_table(("measure", "value", interval), rows)
    there = classes[(classes.reference_px > 0) | (classes.mapped_px > 0)]
    show_table(
        ("class", "IoU", interval, "F1", "precision", "recall", "reference ha", "mapped ha", "bias %"),
        [
            (
                row.class_name, _share(row.iou), _between(row.iou_low, row.iou_high), _share(row.f1),
                _share(row.precision), _share(row.recall), f"{row.reference_ha:.1f}", f"{row.mapped_ha:.1f}",
                _number(row.bias_pct, "+.1f"),
            )
            for row in there.itertuples()
        ],
    )  # fmt: skip
    if "boundary_f1" in classes:
        show_table(
            ("class", "boundary IoU", "boundary F1", "surface distance m", "surface Dice", "beyond reach"),
            [
                (r.class_name, _share(r.boundary_iou), _share(r.boundary_f1), _number(r.asd_m, ".2f"),
                 _share(r.surface_dice), _share(r.beyond))
                for r in there.itertuples()
            ],
        )  # fmt: skip
    if "objects" in found.tables:
        objects: Any = found.tables["objects"]
        show_table(
            (
                "objects of", "reference", "mapped", "found", "PQ", interval, "SQ", "RQ", "AP", interval, "AP 0.5",
                "AP 0.75",
            ),
            [
                (
                    r.class_name, r.n_reference, r.n_mapped, r.n_found, _share(r.pq), _between(r.pq_low, r.pq_high),
                    _share(r.sq), _share(r.rq), _share(r.ap), _between(r.ap_low, r.ap_high), _share(r.ap50),
                    _share(r.ap75),
                )
                for r in objects.itertuples()
            ],
        )  # fmt: skip
    if len(found.evaluation.scenes) > 1:
        _show_scenes(found.tables["scenes"])
    if "zones" in found.tables:
        _show_zones(found.tables["zones"])


def _show_scenes(scenes: Any) -> None:
    # the worst, and the row of all
    worst = scenes.iloc[:-1].sort_values("miou", kind="stable").head(_SHOWN)
    shown = [*worst.itertuples(), *scenes.iloc[-1:].itertuples()]
    rows = [(r.scene, r.pixels, _share(r.accuracy), _share(r.miou), _share(r.mf1), _share(r.unmapped)) for r in shown]
    show_table(("scene", "pixels", "accuracy", "mean IoU", "mean F1", "unmapped"), rows)


def _show_zones(zones: Any) -> None:
    if "accuracy" not in zones:
        return
    whole = zones[zones.class_id.isna()].head(_SHOWN)
    rows = [(r.zone, f"{r.reference_ha:.1f}", _share(r.accuracy), _share(r.miou)) for r in whole.itertuples()]
    show_table(("zone", "hectares", "accuracy", "mean IoU"), rows)


def _number(value: float, form: str) -> str:
    return "" if value != value else format(value, form)


def _share(value: float) -> str:
    return _number(value, ".4f")


def _between(low: float, high: float) -> str:
    return "" if low != low else f"{low:.3f} to {high:.3f}"
