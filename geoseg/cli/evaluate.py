"""`geoseg evaluate`: how good class maps are, held against what is true."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import legend_option, talk_options, zone_options, zones_of

if TYPE_CHECKING:
    from geoseg.jobs.evaluate import Evaluated

__all__ = ["evaluate"]

_SHOWN = 40
_WORDS = {
    "accuracy": "pixel accuracy",
    "miou": "mean IoU",
    "mf1": "mean F1 (Dice)",
    "mprecision": "mean precision",
    "mrecall": "mean recall",
    "fwiou": "frequency-weighted IoU",
    "kappa": "kappa",
    "ece": "expected calibration error",
    "overconfidence": "mean confidence less accuracy",
}


@click.command()
@click.argument("prediction", metavar="PREDICTION")
@click.argument("reference", metavar="REFERENCE")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the tables (CSV and JSON); made if missing.",
)
@click.option(
    "--crosswalk",
    metavar="TABLE.csv",
    help="Classes that count as others: columns from (name or value), to (name) and map (prediction, reference or "
    "both).",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="CLASS",
    help="A class of the reference, by name or value, whose pixels are left out; may be given several times.",
)
@click.option(
    "--level",
    type=click.FloatRange(50, 99.99),
    default=95,
    show_default=True,
    metavar="PERCENT",
    help="Of the intervals, from scenes drawn again, or parts of the only one.",
)
@click.option("--kappa", is_flag=True, help="Also kappa, which is not recommended.")
@click.option("--json", "as_json", is_flag=True, help="All tables as JSON on stdout, in place of the shown ones.")
@zone_options
@legend_option
@click.option("--overwrite", is_flag=True, help="Replace an evaluation that is in the output folder.")
@talk_options
def evaluate(prediction: str, reference: str, **asked: Any) -> int:
    """How good PREDICTION is, held against REFERENCE: accuracy, IoU, F1, precision, recall, area bias.

    Each is a class map, a folder of class maps, or the output folder of geoseg run. Scenes are paired by name, else by
    place. The reference is left on its grid, and a prediction on another one is brought onto it; classes are matched by
    name.

    Exit codes: 0 all scored, 1 some scenes failed, 2 wrong usage or nothing could be scored, 130 interrupted.
    """
    from geoseg.cli.talk import Talk, set_up_logging

    verbosity = -1 if asked["quiet"] else asked["verbose"]
    set_up_logging(verbosity, asked["log_format"])

    from geoseg.change.legends import read_crosswalk
    from geoseg.evaluate.plan import Matching
    from geoseg.jobs.evaluate import EvaluateOptions, evaluate_files

    crosswalk = asked["crosswalk"]
    options = EvaluateOptions(
        matching=Matching(
            crosswalk=() if crosswalk is None else read_crosswalk(crosswalk, sides=("reference", "prediction")),
            ignore=asked["ignore"],
        ),
        legend=asked["legend"],
        zones=zones_of(asked),
        level=asked["level"] / 100,
        kappa=asked["kappa"],
        overwrite=asked["overwrite"],
    )
    with Talk(verbosity=verbosity, log_format=asked["log_format"]) as talk:
        for note in () if options.zones is None else options.zones.notes:
            talk.say(note)
        found = evaluate_files(prediction, reference, options, output=asked["output"], listen=talk)
        for note in found.evaluation.notes:
            talk.say(note)
        if asked["output"] is not None:
            talk.say(f"tables in {asked['output']}")
    if asked["as_json"]:
        click.echo(json.dumps(found.record, indent=2, ensure_ascii=False))
    elif not asked["quiet"]:
        _show(found)
    sys.stdout.flush()
    return 1 if found.failed else 0


def _show(found: "Evaluated") -> None:
    """All tables that fit on a terminal, that of the classes in a pipe."""
    from geoseg.cli.show import show_table

    classes: Any = found.tables["classes"]
    summary: Any = found.tables["summary"]
    if not sys.stdout.isatty():
        show_table(list(classes.columns), list(classes.itertuples(index=False, name=None)))
        return
    rows = [
        (_WORDS.get(row.measure, row.measure), _share(row.value), _between(row.low, row.high))
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
    if len(found.evaluation.scenes) > 1:
        _show_scenes(found.tables["scenes"])
    if "zones" in found.tables:
        _show_zones(found.tables["zones"])


def _show_scenes(scenes: Any) -> None:
    from geoseg.cli.show import show_table

    # the worst, and the row of all
    worst = scenes.iloc[:-1].sort_values("miou", kind="stable").head(_SHOWN)
    shown = [*worst.itertuples(), *scenes.iloc[-1:].itertuples()]
    rows = [(r.scene, r.pixels, _share(r.accuracy), _share(r.miou), _share(r.mf1), _share(r.unmapped)) for r in shown]
    show_table(("scene", "pixels", "accuracy", "mean IoU", "mean F1", "unmapped"), rows)


def _show_zones(zones: Any) -> None:
    from geoseg.cli.show import show_table

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
