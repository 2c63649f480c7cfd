"""`geoseg evaluate`: how good class maps are, held against what is true."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.input_options import (
    band_files_option,
    band_options,
    clouds_option,
    legend_option,
    mosaic_of,
    mosaic_options,
)
from geoseg.cli.manner import talk_options
from geoseg.cli.options import (
    by_user,
    compute_options,
    decision_of,
    decision_options,
    segment_options,
    segment_options_of,
    trust_option,
)
from geoseg.cli.output_options import min_area_of, min_area_option, zone_options, zones_of

if TYPE_CHECKING:
    from geoseg.cli.talk import Talk
    from geoseg.evaluate.ruler import BorderRule
    from geoseg.jobs.evaluate import Evaluated, EvaluateOptions

__all__ = ["evaluate"]

_WITH_MODEL = (
    "scenes", "labels", "maps", "fit_temperature", "bands", "scale", "offset", "mosaic", "mosaic_outputs",
    "mask_clouds", "band_files", "window", "overlap", "blend", "batch_size", "device", "precision", "threads", "tta",
    "cost_matrix", "min_confidence", "block_size", "seed", "restart", "force", "native_grid", "min_area", "trust_model",
)  # fmt: skip


@click.command()
@click.argument("prediction", metavar="[PREDICTION", required=False)
@click.argument("reference", metavar="REFERENCE]", required=False)
@click.option("-m", "--model", metavar="NAME|CARD.yaml", help="Score what this model makes of --scenes instead.")
@trust_option
@click.option("--scenes", multiple=True, metavar="PATH", help="With --model: rasters, folders or globs to map.")
@click.option("--labels", metavar="PATH", help="With --model: what is true there, as REFERENCE.")
@click.option(
    "--maps",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --model: folder in which the maps stay, as geoseg run leaves them [they are removed].",
)
@click.option(
    "--fit-temperature",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="CARD.yaml",
    help="With --model: fit the temperature that makes confidence right on these scenes, and write a card with it, "
    "beside the weights; scores are then those with it.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the tables (CSV and JSON) and of a page with pictures of the worst windows; made if missing.",
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
@click.option("--boundaries", is_flag=True, help="Also how well borders lie: boundary IoU and F1, surface distance.")
@click.option(
    "--tolerance",
    metavar="DISTANCE",
    help="With --boundaries, within which a border is in the right place, such as 10m or 1.5px [2px].",
)
@click.option(
    "--band",
    type=click.IntRange(1, 512),
    metavar="PX",
    help="With --boundaries, width of the bands of boundary IoU [7, which is 2 % of the diagonal of 256 px].",
)
@click.option(
    "--instances",
    multiple=True,
    metavar="CLASS",
    help="Also whether objects of this class are found: panoptic quality and average precision of its connected "
    "components; may be given several times.",
)
@click.option(
    "--class-column",
    metavar="COLUMN",
    help="Of a REFERENCE of polygons or points: their class, a name or the value in PREDICTION [class].",
)
@click.option(
    "--elsewhere",
    metavar="CLASS",
    help="Of a REFERENCE of polygons: the class of what none covers, where they are all that there are, such as "
    "background [not known].",
)
@click.option("--kappa", is_flag=True, help="Also kappa, which is not recommended.")
@click.option("--json", "as_json", is_flag=True, help="All tables as JSON on stdout, in place of the shown ones.")
@band_options
@mosaic_options
@clouds_option
@band_files_option
@compute_options
@decision_options
@segment_options
@min_area_option
@zone_options
@legend_option
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace an evaluation or a card that is there, and in --maps what another model or other options made.",
)
@talk_options
def evaluate(prediction: str | None, reference: str | None, **asked: Any) -> int:
    """How good PREDICTION is, held against REFERENCE: accuracy, IoU, F1, precision, recall, area bias.

    Each is a class map, a folder of class maps, or the output folder of geoseg run. Scenes are paired by name, else by
    place. The reference is left on its grid, and a prediction on another one is brought onto it; classes are matched by
    name. REFERENCE may also be a vector file of polygons or points, FILE or FILE:LAYER.

    With --model, --scenes are mapped as geoseg run maps them, with the same options, and the stitched maps are scored.

    Exit codes: 0 all scored, 1 some scenes failed, 2 wrong usage or nothing could be scored, 130 interrupted.
    """
    from geoseg.cli.talk import Talk, set_up_logging

    verbosity = -1 if asked["quiet"] else asked["verbose"]
    set_up_logging(verbosity, asked["log_format"])

    _check_usage(prediction, reference, asked)

    from geoseg.change.legends import read_crosswalk
    from geoseg.evaluate.plan import Matching
    from geoseg.jobs.evaluate import EvaluateOptions, evaluate_files

    crosswalk = asked["crosswalk"]
    truth: str = reference if asked["labels"] is None else asked["labels"]  # type: ignore[assignment]
    options = EvaluateOptions(
        matching=Matching(
            crosswalk=() if crosswalk is None else read_crosswalk(crosswalk, sides=("reference", "prediction")),
            ignore=asked["ignore"],
        ),
        legend=asked["legend"],
        borders=_borders(asked),
        instances=asked["instances"],
        class_column=_class_column(asked, truth),
        elsewhere=asked["elsewhere"],
        zones=zones_of(asked),
        level=asked["level"] / 100,
        kappa=asked["kappa"],
        overwrite=asked["overwrite"],
    )
    with Talk(verbosity=verbosity, log_format=asked["log_format"]) as talk:
        for note in () if options.zones is None else options.zones.notes:
            talk.say(note)
        if asked["model"] is not None:
            found = _of_model(asked, options, talk)
        else:
            assert prediction is not None
            found = evaluate_files(prediction, truth, options, output=asked["output"], listen=talk)
        for note in found.evaluation.notes:
            talk.say(note)
        if asked["output"] is not None:
            talk.say(f"tables and page in {asked['output']}")
    if asked["as_json"]:
        click.echo(json.dumps(found.record, indent=2, ensure_ascii=False))
    elif not asked["quiet"] or asked["output"] is None:  # without files the table is all there is
        from geoseg.cli.show_evaluation import show_evaluation

        show_evaluation(found)
    sys.stdout.flush()
    return 1 if found.failed else 0


def _check_usage(prediction: str | None, reference: str | None, asked: dict[str, Any]) -> None:
    """What is scored is named once, and no option is given that would do nothing."""
    if asked["model"] is None:
        for name in _WITH_MODEL:
            if by_user(name):
                raise click.UsageError(f"--{name.replace('_', '-')} is of no use without --model")
        if prediction is None or reference is None:
            raise click.UsageError("name PREDICTION and REFERENCE, or --model with --scenes and --labels")
    elif prediction is not None:
        raise click.UsageError("--model makes the prediction: name --scenes and --labels, and no PREDICTION")
    elif not asked["scenes"] or asked["labels"] is None:
        raise click.UsageError("--model needs --scenes to map and --labels to hold the maps against")
    elif asked["restart"] and asked["maps"] is None:
        raise click.UsageError("--restart is of no use without --maps: maps that do not stay are always computed anew")
    elif asked["mosaic"] is not None and asked["fit_temperature"] is not None:
        raise click.UsageError(
            "--fit-temperature looks at each file by itself: leave --mosaic out, and evaluate the new card with it"
        )


def _of_model(asked: dict[str, Any], options: "EvaluateOptions", talk: "Talk") -> "Evaluated":
    """The scores of a model's maps, with a temperature fitted before if that is asked for."""
    from geoseg.jobs.cluster import connect
    from geoseg.jobs.evaluate_model import LabelledScenes, check_new_card, evaluate_model, temperature_of, write_card
    from geoseg.jobs.evaluate_pairs import scenes_among
    from geoseg.models.load import load_model
    from geoseg.scene.inputs import find_rasters

    mosaic, min_area = mosaic_of(asked), min_area_of(asked)
    model, card = load_model(asked["model"], trust=asked["trust_model"]), asked["fit_temperature"]
    rasters = find_rasters(asked["scenes"], exclude=asked["maps"], band_files=asked["band_files"])
    tried = LabelledScenes(
        model=model,
        rasters=tuple(scenes_among(rasters)),
        labels=asked["labels"],
        running=segment_options_of(
            asked,
            decided=decision_of(asked, model.legend),
            formats=(),
            probabilities=True,
            min_area=min_area,
            **mosaic,
        ),
        scoring=options,
    )
    if card is not None:
        check_new_card(model, card, overwrite=asked["overwrite"])
        fitted = temperature_of(tried, listen=talk)
        write_card(model, fitted, card)
        talk.say(
            f"temperature {fitted.value:.4f} from {fitted.n} labelled pixels: negative log-likelihood "
            f"{fitted.nll_before:.4f} at 1, {fitted.nll_after:.4f} with it; card {card}; these scenes no longer tell "
            "how well it is calibrated, others do"
        )
        tried = replace(tried, model=load_model(str(card), trust=asked["trust_model"]))
    with connect(accelerated=tried.running.choices.device.partition(":")[0] != "cpu") as pool:
        return evaluate_model(tried, pool=pool, maps=asked["maps"], output=asked["output"], listen=talk)


def _borders(asked: dict[str, Any]) -> "BorderRule | None":
    """What is a border in the right place, where that is asked for."""
    from geoseg.evaluate.ruler import BorderRule
    from geoseg.vector.simplify import parse_distance

    if not asked["boundaries"]:
        for name in ("tolerance", "band"):
            if asked[name] is not None:
                raise click.UsageError(f"--{name} is of no use without --boundaries")
        return None
    given: dict[str, Any] = {}
    if asked["tolerance"] is not None:
        given["tolerance"] = parse_distance(asked["tolerance"])
    if asked["band"] is not None:
        given["band_px"] = asked["band"]
    return BorderRule(**given)


def _class_column(asked: dict[str, Any], reference: str) -> str:
    from geoseg.evaluate.vector_reference import is_vector

    for name in ("class_column", "elsewhere"):
        if asked[name] is not None and not is_vector(reference):
            raise click.UsageError(f"--{name.replace('_', '-')} is of no use for a reference of rasters")
    return asked["class_column"] or "class"
