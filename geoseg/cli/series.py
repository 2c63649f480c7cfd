"""`geoseg series`: the history of a place over three dates or more."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.input_options import legend_option, outside_option
from geoseg.cli.manner import talk_options
from geoseg.cli.options import cluster_options
from geoseg.cli.output_options import (
    drawing_options,
    formats_of,
    outlines_of,
    output_option,
    polygon_options,
    refuse_idle_outlines,
)

if TYPE_CHECKING:
    from geoseg.change.temporal import TemporalRule
    from geoseg.jobs.outcome import Summary

__all__ = ["series"]

_TEMPORAL = ("prior", "training_shares", "decode", "fill_gaps")


@click.command()
@click.argument("maps", nargs=-1, required=True, metavar="MAPS...")
@output_option
@click.option(
    "--dates",
    metavar="DATE,...",
    help="When each of MAPS was taken, in their order, such as 2015-06-17,2018,2023-06 [their tags, names or items].",
)
@click.option(
    "--probabilities",
    is_flag=True,
    help="Let all dates decide together what each was, by a hidden Markov model of the class probabilities that geoseg "
    "run --probabilities keeps.",
)
@click.option(
    "--accuracy",
    metavar="SHARE|TABLE.csv",
    help="Likewise by the classes of the maps: the share of pixels that are right, such as 0.85, or columns truth, map "
    "(* for any class) and share (how frequent, in any unit).",
)
@click.option(
    "--prior",
    metavar="SHARE|TABLE.csv",
    help="With one of these, what was to be expected: the share of the land that changes in a year [0.05], or columns "
    "from, to (* for any class) and share (of the land, in any unit). Without dates, from date to date.",
)
@click.option(
    "--training-shares",
    metavar="TABLE.csv",
    help="With --probabilities, columns class (* for any) and share: what the model was trained with, which "
    "probabilities are divided by [all alike].",
)
@click.option(
    "--decode",
    type=click.Choice(["path", "marginal"]),
    help="The likeliest history of each pixel, or the likeliest class of each date for itself [path].",
)
@click.option(
    "--fill-gaps", is_flag=True, help="Give dates without an observation the class that the others speak for."
)
@click.option(
    "--tolerance",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    metavar="PX",
    help="Misregistration that is no change, from each date to what was there before: as in geoseg change.",
)
@click.option("--align", is_flag=True, help="Move maps by the shift that their class borders show against the first.")
@click.option(
    "--crosswalk",
    metavar="TABLE.csv",
    help="Classes that count as others: columns from (name or value), to (name) and map (its number by date, or all).",
)
@click.option(
    "--plausible",
    metavar="TABLE.csv",
    help="Transitions that can be or not: columns from, to (* for any class) and plausible (yes or no). What cannot "
    "be is no change.",
)
@polygon_options
@click.option("--maps", "keep_maps", is_flag=True, help="Also leave the class map of each date, as it counts.")
@click.option(
    "--picture", is_flag=True, help="Also draw first change, changes and areas over time as a PNG; needs matplotlib."
)
@drawing_options
@legend_option
@outside_option
@cluster_options
@click.option("--overwrite", is_flag=True, help="Replace finished results of other maps or options.")
@click.option("--restart", is_flag=True, help="Go through again what a run that died had finished of a place.")
@talk_options
def series(maps: tuple[str, ...], output: Path, **asked: Any) -> int:
    """When land changed, how often, and what it is, over three dates or more.

    MAPS are class maps, folders of finished scenes, or output folders of geoseg run, whose scenes are grouped by place;
    each group is taken by date. Maps on other grids are brought onto that of the first; classes are matched by name.

    Exit codes: 0 all done, 1 some places failed, 2 wrong usage or nothing could start, 130 interrupted.
    """
    from geoseg.cli.talk import Talk, set_up_logging

    verbosity = -1 if asked["quiet"] else asked["verbose"]
    set_up_logging(verbosity, asked["log_format"])

    from geoseg.change.legends import read_crosswalk
    from geoseg.change.plausible import read_plausible
    from geoseg.change.series import SeriesRules
    from geoseg.jobs.cluster import connect
    from geoseg.jobs.series_maps import parse_dates
    from geoseg.jobs.series_options import SeriesOptions
    from geoseg.jobs.series_run import series_maps
    from geoseg.legends import well_known

    refuse_idle_outlines(asked)
    outlines, _ = outlines_of(asked)
    if asked["legend"] is not None:
        well_known(asked["legend"])
    options = SeriesOptions(
        rules=SeriesRules(
            crosswalk=() if asked["crosswalk"] is None else read_crosswalk(asked["crosswalk"]),
            tolerance=asked["tolerance"],
            align=asked["align"],
            plausible=() if asked["plausible"] is None else read_plausible(asked["plausible"]),
            temporal=_temporal(asked),
        ),
        formats=formats_of(asked),
        outlines=outlines,
        legend=asked["legend"],
        maps=asked["keep_maps"],
        picture=asked["picture"],
        overwrite=asked["overwrite"],
        restart=asked["restart"],
    )
    dates = None if asked["dates"] is None else parse_dates(asked["dates"])
    with Talk(verbosity=verbosity, log_format=asked["log_format"]) as talk:
        if options.rules.is_plain:
            talk.say(
                "every difference counts, mistakes of the maps too; --accuracy 0.85 or --probabilities lets all dates "
                "decide together"
            )
        elsewhere = {name: asked[name] for name in ("workers", "scheduler", "scheduler_file") if asked[name]}
        if elsewhere:
            with connect(**elsewhere) as pool:
                summary = series_maps(maps, output, options, dates=dates, pool=pool, listen=talk)
        else:
            summary = series_maps(maps, output, options, dates=dates, listen=talk)
        done = len(summary.outcomes) - summary.n_failed
        said = f"{done} of {len(summary.outcomes)} places done"
        talk.end(said, seconds=summary.seconds, output=output, any_done=done > 0)
    if not asked["quiet"]:
        _show(summary)
    sys.stdout.flush()
    return 1 if summary.n_failed else 0


def _temporal(asked: dict[str, Any]) -> "TemporalRule | None":
    """How dates decide together, where they do."""
    from geoseg.change.posterior_rule import USUAL_PRIOR, parse_prior
    from geoseg.change.temporal import TemporalRule, parse_accuracy, read_class_shares

    if asked["probabilities"] and asked["accuracy"] is not None:
        raise click.UsageError("--probabilities and --accuracy are two kinds of evidence: give one of them")
    if not asked["probabilities"] and asked["accuracy"] is None:
        for name in _TEMPORAL:
            if asked[name]:
                option = name.replace("_", "-")
                raise click.UsageError(f"--{option} is of no use without --probabilities or --accuracy")
        return None
    if asked["training_shares"] is not None and not asked["probabilities"]:
        raise click.UsageError("--training-shares is of no use without --probabilities")
    return TemporalRule(
        accuracy=None if asked["accuracy"] is None else parse_accuracy(asked["accuracy"]),
        prior=USUAL_PRIOR if asked["prior"] is None else parse_prior(asked["prior"]),
        training=() if asked["training_shares"] is None else read_class_shares(asked["training_shares"]),
        decode=asked["decode"] or "path",
        fill=asked["fill_gaps"],
    )


def _show(summary: "Summary") -> None:
    """Hectares of each class on each date, per place."""
    from geoseg.cli.show import show_table

    rows: list[tuple[object, ...]] = []
    for outcome in summary.outcomes:
        if outcome.areas is None:
            continue
        rows.extend(
            (outcome.id, row.date, row.class_name, f"{row.area_ha:.2f}", f"{row.percent:.3f}")
            for row in outcome.areas[outcome.areas.pixels > 0].itertuples()
        )
    if rows:
        show_table(("place", "date", "class", "hectares", "percent"), rows)
