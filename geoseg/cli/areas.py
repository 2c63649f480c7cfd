"""`geoseg areas`: the areas of a class map, with their uncertainty from a reference sample, or that sample."""

import math
import re
import shlex
import sys
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geoseg.cli.input_options import legend_option, outside_option
from geoseg.cli.manner import talk_options
from geoseg.cli.output_options import zone_options, zones_of
from geoseg.errors import OutputError, ParameterError, printable

if TYPE_CHECKING:
    import pandas as pd

    from geoseg.area.population import MapTotals
    from geoseg.cli.talk import Talk
    from geoseg.legend import Legend

__all__ = ["areas"]

F = TypeVar("F", bound=Callable[..., Any])

_ALLOCATIONS = ("compromise", "proportional", "equal", "neyman")
_PAIR = re.compile(r"\s*(.+?)\s*=([^=,]+)(?:,|$)")  # names may have commas and equals signs
_MOST_ROWS = 100  # on a terminal
_SAMPLINGS = ("stratified", "random", "post-stratified")
_COUNTED = (
    "areas are counted pixels: classification errors bias them, and they have no uncertainty; "
    "with a reference sample (--reference, and --design to draw one) they have"
)
_MODEL_BASED = (
    "model_expected_ha is model-based: what the model's own probabilities lead to expect, right only as far as they "
    "are calibrated here; it is no design-based estimate and has no interval (--reference gives one)"
)


def _reference_options(command: F) -> F:
    """What a reference sample is, and how it was drawn."""
    for option in (
        click.option("--kappa", is_flag=True, help="Also kappa, which is not recommended."),
        click.option("--fpc", is_flag=True, help="Correct variances for the finite number of pixels."),
        click.option("--level", type=click.FloatRange(50, 99.99), default=95, show_default=True, metavar="PERCENT",
                     help="Confidence level of the intervals."),
        click.option("--sampling", type=click.Choice(_SAMPLINGS), default="stratified", show_default=True,
                     help="How the points were drawn: in each stratum, or at random or on a grid over the whole map, "
                          "which can be post-stratified by its classes."),
        click.option("--strata", metavar="RASTER|COLUMN",
                     help="Where the points were drawn from, if not from the classes of the map: a raster on its grid, "
                          "or a column of the points, with COLUMN_px (pixels of the stratum) beside it."),
        click.option("--reference-column", default="truth", show_default=True, metavar="COLUMN",
                     help="Their class, by value or name; empty where not labelled yet."),
        click.option("--reference", metavar="FILE[:LAYER]",
                     help="Points whose true class is known, from a random sample."),
    ):  # fmt: skip
        command = option(command)
    return command


def _design_options(command: F) -> F:
    """How a sample is to be drawn."""
    for option in (
        click.option("--blind", is_flag=True,
                     help="Points that do not tell what the map says: no class, strata as codes."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random draw."),
        click.option("--minimum", type=click.IntRange(2), metavar="N",
                     help="Points for each stratum at least [2; with compromise 50, or what the number allows]."),
        click.option("--allocation", type=click.Choice(_ALLOCATIONS), default="compromise", show_default=True,
                     help="Points by stratum: rare ones a minimum and the rest by size; by size; equally; or by size "
                          "and expected spread."),
        click.option("--expected-accuracy", default="0.8", show_default=True, metavar="SHARE|NAME=SHARE,...",
                     help="User's accuracy to plan with, for --target-se, neyman, and the standard error that is "
                          "foretold."),
        click.option("--target-se", type=click.FloatRange(0, 0.5, min_open=True, max_open=True), metavar="SE",
                     help="Draw as many points as this standard error of overall accuracy takes, such as 0.01, by "
                          "the allocation chosen."),
        click.option("--design", type=click.IntRange(1), metavar="N",
                     help="Draw N points for labelling instead: a stratified random sample of the map's pixels."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.argument("classes", metavar="CLASSES.tif")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Table of areas (.csv; with a reference also NAME_matrix.csv and NAME_summary.csv), or the points (.gpkg).",
)
@_reference_options
@click.option(
    "--probabilities",
    metavar="PROBS.tif",
    help="Without a reference: areas expected from calibrated class probabilities, a band for each class.",
)
@_design_options
@zone_options
@legend_option
@outside_option
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@talk_options
def areas(classes: str, **asked: Any) -> None:
    """Areas of the classes of CLASSES.tif, any categorical raster, on the ellipsoid.

    With --reference the error-adjusted areas with standard errors and intervals, user's, producer's and overall
    accuracy (Olofsson et al. 2014, Stehman 2014). With --design the sample for it: label the column truth of the points
    without looking at the map, then give them as --reference. With --zones the areas in each zone.
    """
    from geoseg.cli.talk import Talk, set_up_logging

    verbosity = -1 if asked["quiet"] else asked["verbose"]
    set_up_logging(verbosity, asked["log_format"])
    _check_usage(asked)

    from geoseg.area.population import map_totals
    from geoseg.area.report import counted_table
    from geoseg.scene.class_raster import open_class_raster

    outputs, zones = _outputs(asked), zones_of(asked)
    raster = open_class_raster(classes, legend=asked["legend"])
    with Talk(verbosity=verbosity, log_format=asked["log_format"]) as talk:
        for note in raster.notes:
            talk.say(f"{classes}: {note}")
        if zones is not None:
            from geoseg.area.zone_areas import zone_areas

            found = zone_areas(raster, zones)
            for note in (*found.notes, _COUNTED):
                talk.say(note)
            _give(found.table, outputs)
            return
        held = map_totals(raster)
        if asked["design"] is not None or asked["target_se"] is not None:
            _design(held, asked, talk)
        elif asked["reference"] is not None:
            _assess(held, asked, outputs, talk)
        elif asked["probabilities"] is not None:
            _expect(held, asked, outputs, talk)
        else:
            talk.say(_COUNTED)
            _give(counted_table(held), outputs)


def _check_usage(asked: dict[str, Any]) -> None:
    """Options that contradict each other, or are of no use without another."""
    given = {name for name, value in asked.items() if value not in (None, False)}
    chosen = [way for way in ("design", "target_se", "reference", "probabilities", "zones") if way in given]
    if len(chosen) > 1:
        raise click.UsageError(f"{_option(chosen[0])} and {_option(chosen[1])} exclude each other: give one")
    context = click.get_current_context()
    designing = bool({"design", "target_se"} & given)
    for needs, names in (
        ("reference", ("reference_column", "strata", "sampling", "level", "fpc", "kappa")),
        ("design", ("expected_accuracy", "allocation", "minimum", "seed", "blind")),
    ):
        for name in names:
            by_user = context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
            if by_user and not (needs in given or (needs == "design" and designing)):
                raise click.UsageError(f"{_option(name)} is of no use without {_option(needs)}")
    if designing and asked["output"] is None:
        raise click.UsageError("name the file of the points with --output, such as points.gpkg")
    wanted = ".gpkg" if designing else ".csv"
    if asked["output"] is not None and asked["output"].suffix != wanted:
        raise click.UsageError(f"--output {printable(asked['output'])}: name a file that ends with {wanted}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _outputs(asked: dict[str, Any]) -> list[Path]:
    """Final names, none of which is taken: labels that took weeks are not to be replaced by accident."""
    path: Path | None = asked["output"]
    if path is None:
        return []
    more = ("_matrix", "_summary") if asked["reference"] is not None else ()
    outputs = [path, *(path.with_name(f"{path.stem}{part}.csv") for part in more)]
    from geoseg.outputs.aside import check_folder

    check_folder(path)
    for output in outputs:
        if output.exists() and not asked["overwrite"]:
            raise OutputError(f"{printable(output)} is there already: name another --output, or give --overwrite")
    return outputs


def _assess(held: "MapTotals", asked: dict[str, Any], outputs: list[Path], talk: "Talk") -> None:
    """Error-adjusted areas from reference points."""
    from geoseg.area.assess import assess
    from geoseg.area.reference import read_reference
    from geoseg.area.report import estimates_table, matrix_table, summary_table
    from geoseg.scene.class_raster import open_class_raster
    from geoseg.scene.guard import DRIVERS, is_remote

    strata = asked["strata"]
    by_raster = strata is not None and (is_remote(strata) or Path(strata).suffix.lower() in DRIVERS)
    points = read_reference(
        asked["reference"],
        column=asked["reference_column"],
        legend=held.legend,
        geobox=held.raster.geobox,
        strata_column=None if by_raster else strata,
    )
    found = assess(
        held,
        points,
        strata=open_class_raster(strata) if by_raster else None,
        sampling=asked["sampling"],
        fpc=asked["fpc"],
        level=asked["level"] / 100,
    )
    for note in found.notes:
        talk.say(note)
    overall, name = found.estimates.overall, f"{asked['level']:g} %"
    half = float(overall.high - overall.value)
    interval = f"± {100 * half:.2f} ({name} interval)" if math.isfinite(half) else "without a standard error"
    talk.say(
        f"overall accuracy {100 * float(overall.value):.2f} % {interval} from {found.estimates.counts.sum()} points; "
        f"area_ha is the error-adjusted area, mapped_ha what the map counts"
    )
    summary, matrix = summary_table(found, with_kappa=asked["kappa"]), matrix_table(found)
    if asked["kappa"]:
        value = summary.loc[summary["measure"] == "kappa", "value"].iloc[0]
        talk.say(f"kappa {value:.4f}")
    _give(estimates_table(found), outputs, matrix, summary)


def _expect(held: "MapTotals", asked: dict[str, Any], outputs: list[Path], talk: "Talk") -> None:
    """Areas from probabilities."""
    from geoseg.area.model_based import model_based_areas_m2
    from geoseg.area.report import expected_table

    expected = model_based_areas_m2(held, asked["probabilities"])
    talk.say(_MODEL_BASED)
    _give(expected_table(held, expected), outputs)


def _design(held: "MapTotals", asked: dict[str, Any], talk: "Talk") -> None:
    """Points for labelling."""
    from geoseg.area.design import allocate, allocate_for, design_points, draw, expected_se
    from geoseg.cli.show import show_table
    from geoseg.outputs.points import write_points
    from geoseg.outputs.together import together

    users = _expected_accuracies(asked["expected_accuracy"], held.legend)
    pixels = held.pixels.tolist()
    how_many: Any = {"method": asked["allocation"], "users": users, "minimum": asked["minimum"]}
    if asked["target_se"] is not None:
        points = allocate_for(asked["target_se"], pixels, **how_many)
    else:
        points = allocate(asked["design"], pixels, **how_many)
    error = expected_se(points.tolist(), pixels, users)
    drawn = draw(held, points.tolist(), seed=asked["seed"])
    frame = design_points(held, drawn, seed=asked["seed"], blind=asked["blind"])
    path: Path = asked["output"]
    how = {
        "DESCRIPTION": "Stratified random sample of pixels, without replacement, at their centres. Label the column "
        "truth with class values or names, without looking at the map. stratum_px and stratum_m2 are the pixels and "
        "the true area of the stratum that a point was drawn from.",
        "map": printable(Path(held.raster.href).name),
        "allocation": asked["allocation"],
        "seed": str(asked["seed"]),
    }
    with together([path]) as (file,):
        write_points(frame, file, metadata=how)
    told = "codes in place of classes" if asked["blind"] else "the map's class in stratum and class_name: hide them"
    n = int(points.sum())
    talk.say(
        f"{n} points in {path}; label the column truth, by class value or name, without looking at the map; the file "
        f"has {told}{'' if asked['blind'] else ' while labelling, or use --blind'}"
    )
    talk.say(
        f"if the user's accuracies are as expected ({printable(asked['expected_accuracy'])}), the standard error of "
        f"overall accuracy will be {error:.4f}"
    )
    talk.say(f"then: geoseg areas {_with_reference(held.raster.href, path)}")
    if not asked["quiet"]:
        rows = zip(held.legend.class_ids, held.legend.names, pixels, points.tolist(), strict=True)
        show_table(("class_id", "class_name", "pixels", "points"), [r for r in rows if r[2]])


def _with_reference(href: str, points: Path) -> str:
    """What to give `geoseg areas` when the points are labelled."""
    from geoseg.scene.guard import open_raster

    with open_raster(href) as dataset:
        change = dataset.tags().get("GEOSEG_STRATA_OF")
    if change is None:
        words = [href, "--reference", str(points)]
    else:  # strata of geoseg change are no classes: labels are those of the change map beside them
        beside = str(Path(href).with_name(Path(change).name))
        words = [beside, "--reference", str(points), "--strata", href]
    return printable(shlex.join(words))


def _expected_accuracies(text: str, legend: "Legend") -> list[float]:
    """``0.8``, or ``water=0.95,forest=0.9`` by names or values of classes, with 0.8 for those not named."""
    names = {name.casefold(): i for i, name in enumerate(legend.names)}
    known = {str(number): i for i, number in enumerate(legend.class_ids)} | names
    found = [0.8] * len(legend)
    pairs = list(_PAIR.finditer(text))
    try:
        if "".join(pair[0] for pair in pairs) != text:
            return [float(text)] * len(legend)
        given = [(pair[1], float(pair[2])) for pair in pairs]
    except ValueError as error:
        raise ParameterError(
            f"--expected-accuracy {printable(text)!r} is not understood: write 0.8, or water=0.95,forest=0.9"
        ) from error
    for name, share in given:
        if name.casefold() not in known:
            raise ParameterError(
                f"--expected-accuracy names {printable(name)!r}, which is no class of the map: "
                f"{', '.join(map(printable, legend.names))}"
            )
        found[known[name.casefold()]] = share
    return found


def _give(table: "pd.DataFrame", outputs: list[Path], *more: "pd.DataFrame") -> None:
    """Tables into files, and on stdout: all of them on a terminal, that of the areas in a pipe."""
    from geoseg.cli.show import show_table
    from geoseg.outputs.tables import csv_text, write_areas
    from geoseg.outputs.together import together

    with together(outputs) as files:
        for file, each in zip(files, (table, *more), strict=False):
            write_areas(each, file)
    if not sys.stdout.isatty():
        sys.stdout.write(csv_text(table))
        return
    for path, each in zip_longest(outputs, (table, *more)):
        head = each.head(_MOST_ROWS)
        show_table(list(each.columns), [[_short(v) for v in row] for row in head.itertuples(index=False, name=None)])
        if len(each) > len(head):
            where = f"all of them are in {printable(path)}" if path is not None else "--output FILE.csv has all of them"
            click.echo(f"{len(head)} of {len(each)} rows are shown: {where}", err=True)


def _short(value: object) -> object:
    """A number as people read it."""
    if isinstance(value, float):
        if value != value:
            return ""
        return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"
    return "" if value is None else value
