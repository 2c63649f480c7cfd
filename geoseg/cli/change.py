"""`geoseg change`: what became what between two dates."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.input_options import band_options, clouds_option, legend_option
from geoseg.cli.manner import talk_options
from geoseg.cli.options import (
    by_user,
    cluster_options,
    compute_options,
    segment_options,
    segment_options_of,
    trust_option,
)
from geoseg.cli.output_options import (
    formats_of,
    outline_options,
    outlines_of,
    output_option,
    polygon_options,
    refuse_idle_outlines,
    zone_options,
    zones_of,
)

if TYPE_CHECKING:
    from geoseg.change.posterior_rule import PosteriorRule
    from geoseg.cli.talk import Talk
    from geoseg.jobs.change_options import ChangeOptions
    from geoseg.jobs.outcome import Options, Summary
    from geoseg.models.load import Model

__all__ = ["change"]

_SHOWN = 20
_OF_THE_MODEL = (
    "bands", "scale", "offset", "mask_clouds", "window", "overlap", "blend", "batch_size", "device", "precision",
    "threads", "block_size", "seed", "force", "block_timeout", "trust_model",
)  # fmt: skip
"""Options that say nothing where nothing is segmented."""
_OF_MAPS = ("tolerance", "crosswalk", "plausible", "prior", "costs", "picture", "strata_buffer", "legend")
"""Options that say nothing where a model of two dates tells change itself."""


@click.command()
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="AFTER")
@output_option
@click.option(
    "-m",
    "--model",
    help="For imagery: a shipped model, kmeans:K, a card (.yaml) or a model file, to segment it with first.",
)
@trust_option
@band_options
@clouds_option
@compute_options
@segment_options
@click.option(
    "--tolerance",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    metavar="PX",
    help="Misregistration that is no change: a pixel stays changed only if the class it had is absent after, or the "
    "class it has was absent before, within so many pixels.",
)
@click.option("--align", is_flag=True, help="Move AFTER back by the shift that its image, or its class borders, show.")
@click.option(
    "--crosswalk",
    metavar="TABLE.csv",
    help="Classes that count as others: columns from (name or value), to (name) and map (before, after or both).",
)
@click.option(
    "--plausible",
    metavar="TABLE.csv",
    help="Transitions that can be or not: columns from, to (* for any class) and plausible (yes or no). What cannot "
    "be is no change.",
)
@click.option(
    "--probabilities",
    is_flag=True,
    help="Let the class probabilities of both dates decide, which geoseg run --probabilities keeps: a pixel is "
    "changed if that is more likely than not, and confidence is the posterior of what it is.",
)
@click.option(
    "--prior",
    metavar="SHARE|TABLE.csv",
    help="With --probabilities, what was to be expected: the share of the land that changes [0.05], or columns "
    "from, to (* for any class) and share (of the land, in any unit).",
)
@click.option(
    "--costs",
    metavar="TABLE.csv",
    help="With --probabilities, what mistakes cost: columns from, to (* for any class) and cost, of missing that "
    "change, or, for a class to itself, of calling change what is none; 1 where no row says.",
)
@polygon_options
@click.option("--picture", is_flag=True, help="Also draw before, after, change and flows as a PNG; needs matplotlib.")
@click.option(
    "--strata-buffer",
    type=click.IntRange(1, 64),
    metavar="PX",
    help="Also a raster of strata for a reference sample (geoseg areas --design): the kinds of change, no change "
    "within so many pixels of change, and no change elsewhere.",
)
@outline_options
@zone_options
@legend_option
@cluster_options
@click.option(
    "--block-timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="End a worker process whose block of imagery takes longer, and try the block on another.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace finished results of other inputs or options, and damaged ones."
)
@click.option("--dry-run", is_flag=True, help="Say what would be compared; print what segmenting would take.")
@talk_options
def change(before: str, after: str, output: Path, **asked: Any) -> int:
    """What became what from BEFORE to AFTER: change map, polygons, transition matrix and more.

    Each is a class map, the folder of a finished scene, or the output folder of geoseg run, whose scenes are paired by
    place. With --model either may be imagery (a file, folder or glob): it is segmented first, as by geoseg run, into
    the folders before and after of the output folder. A second map on another grid is brought onto that of the first;
    classes are matched by name. A model of two dates tells change itself: it is run over both scenes of each pair.

    Exit codes: 0 all done, 1 some pairs failed, 2 wrong usage or nothing could start, 130 interrupted, 143
    terminated.
    """
    from geoseg.cli.talk import Talk, set_up_logging

    verbosity = -1 if asked["quiet"] else asked["verbose"]
    set_up_logging(verbosity, asked["log_format"])

    from geoseg.change.comparison import Rules
    from geoseg.change.legends import read_crosswalk
    from geoseg.change.plausible import read_plausible
    from geoseg.jobs.change_options import ChangeOptions
    from geoseg.legends import well_known
    from geoseg.models.load import load_model

    refuse_idle_outlines(asked)
    model = None if asked["model"] is None else load_model(asked["model"], trust=asked["trust_model"])
    if model is None:
        idle = [name.replace("_", "-") for name in _OF_THE_MODEL if by_user(name)]
        if idle:
            raise click.UsageError(f"--{idle[0]} is of no use without --model")
    if model is not None and model.card.dates > 1:
        return _run_pairs(before, after, output, model, asked)
    outlines, min_area = outlines_of(asked)
    if asked["legend"] is not None:
        well_known(asked["legend"])
    options = ChangeOptions(
        rules=Rules(
            crosswalk=() if asked["crosswalk"] is None else read_crosswalk(asked["crosswalk"]),
            tolerance=asked["tolerance"],
            align=asked["align"],
            plausible=() if asked["plausible"] is None else read_plausible(asked["plausible"]),
            posterior=_posterior(asked),
        ),
        min_area=min_area,
        formats=formats_of(asked),
        outlines=outlines,
        zones=zones_of(asked),
        legend=asked["legend"],
        picture=asked["picture"],
        strata_buffer=asked["strata_buffer"],
        overwrite=asked["overwrite"],
        restart=asked["restart"],
    )
    with Talk(verbosity=verbosity, log_format=asked["log_format"]) as talk:
        for note in () if options.zones is None else options.zones.notes:
            talk.say(note)
        if options.rules.tolerance == 0:
            talk.say("every difference counts, those of misregistration too; --tolerance 1 leaves their slivers out")
        if asked["dry_run"]:
            return _dry_run(before, after, output, _mapping_options(asked, options) if model else None, model, talk)
        summary = _compare(before, after, output, options, model, asked, talk)
        done = len(summary.outcomes) - summary.n_failed
        said = f"{done} of {len(summary.outcomes)} pairs done"
        talk.end(said, seconds=summary.seconds, output=output, any_done=done > 0)
    if not asked["quiet"]:
        _show(summary)
    sys.stdout.flush()
    return 1 if summary.n_failed else 0


def _compare(
    before: str,
    after: str,
    output: Path,
    options: "ChangeOptions",
    model: "Model | None",
    asked: dict[str, Any],
    talk: "Talk",
) -> "Summary":
    """Segment what has to be, and compare."""
    from geoseg.jobs.change_imagery import Mapping
    from geoseg.jobs.change_run import change_maps
    from geoseg.jobs.cluster import connect

    elsewhere = {name: asked[name] for name in ("workers", "scheduler", "scheduler_file") if asked[name]}
    if model is None:
        if not elsewhere:
            return change_maps(before, after, output, options, listen=talk)
        with connect(**elsewhere) as pool:
            return change_maps(before, after, output, options, pool=pool, listen=talk)
    mapped = _mapping_options(asked, options)
    accelerated = mapped.choices.device.partition(":")[0] not in ("auto", "cpu")
    with connect(**elsewhere, accelerated=accelerated, block_timeout=asked["block_timeout"]) as pool:
        mapping = Mapping(model=model, options=mapped, pool=pool)
        shared = pool if elsewhere else None
        return change_maps(before, after, output, options, pool=shared, mapping=mapping, listen=talk)


def _run_pairs(before: str, after: str, output: Path, model: "Model", asked: dict[str, Any]) -> int:
    """A model of two dates: run over each pair of scenes as over one."""
    from geoseg.cli.show import show_areas
    from geoseg.cli.talk import Talk
    from geoseg.jobs.change_imagery import find_pairs
    from geoseg.jobs.cluster import connect
    from geoseg.jobs.outcome import Event
    from geoseg.jobs.run import plan_run, run

    for name in _OF_MAPS:
        if by_user(name):
            raise click.UsageError(
                f"--{name.replace('_', '-')} compares class maps, and model {model.card.name} tells change itself from "
                "both dates: leave one out"
            )
    outlines, min_area = outlines_of(asked)
    zones = zones_of(asked)
    options = segment_options_of(
        asked,
        formats=formats_of(asked),
        probabilities=asked["probabilities"],
        outlines=outlines,
        min_area=min_area,
        zones=zones,
        align=asked["align"],
    )
    found = find_pairs(before, after, output)
    pairs = [(one.classes, two.classes) for one, two in found.pairs]
    with Talk(verbosity=-1 if asked["quiet"] else asked["verbose"], log_format=asked["log_format"]) as talk:
        for note in (*(() if zones is None else zones.notes), *found.notes):
            talk.say(note)
        for href, text in found.failed:
            talk(Event(kind="failed", scene=href, text=text))
        if asked["dry_run"]:
            from geoseg.cli.dry_run import print_plans

            code = print_plans([(output, plan_run(pairs, model, options, listen=talk))], options, listen=talk)
            return 1 if found.failed else code
        with connect(
            workers=asked["workers"],
            scheduler=asked["scheduler"],
            scheduler_file=asked["scheduler_file"],
            accelerated=options.choices.device.partition(":")[0] not in ("auto", "cpu"),
            block_timeout=asked["block_timeout"],
        ) as pool:
            summary = run(pairs, output, model, options, pool=pool, listen=talk)
        done = len(summary.outcomes) - summary.n_failed
        n = len(summary.outcomes) + len(found.failed)
        talk.end(f"{done} of {n} pairs done", seconds=summary.seconds, output=output, any_done=done > 0)
    if not asked["quiet"]:
        show_areas(summary)
    sys.stdout.flush()
    return 1 if summary.n_failed or found.failed else 0


def _mapping_options(asked: dict[str, Any], options: "ChangeOptions") -> "Options":
    """Of the runs over imagery: what polygons and zones are wanted for is the change."""
    return segment_options_of(asked, formats=(), probabilities=options.rules.posterior is not None)


def _dry_run(
    before: str, after: str, output: Path, mapped: "Options | None", model: "Model | None", talk: "Talk"
) -> int:
    """Say what would be compared, and print what segmenting it first would take."""
    from geoseg.cli.dry_run import print_plans
    from geoseg.jobs.change_imagery import SIDES, find_sides
    from geoseg.jobs.change_run import expected_pairs
    from geoseg.jobs.lock import holder_of
    from geoseg.jobs.run import plan_run

    sides = find_sides(before, after, output, with_model=model is not None)
    holder = holder_of(output)
    if holder is not None:
        talk.say(f"another run is at work there: {holder}; what it has finished of a scene is not counted")
    code = 0
    if model is not None and mapped is not None:
        plans = [
            (output / date, plan_run(side.rasters, model, mapped, listen=talk))
            for date, side in zip(SIDES, sides, strict=True)
            if side.rasters
        ]
        code = print_plans(plans, mapped, listen=talk)
    for name, maps in expected_pairs(sides, (before, after), talk):
        talk.say(f"{name}: {maps[0].classes} and {maps[1].classes} would be compared")
    return code


def _posterior(asked: dict[str, Any]) -> "PosteriorRule | None":
    """How probabilities decide, where they do."""
    from geoseg.change.posterior_rule import USUAL_PRIOR, PosteriorRule, parse_prior, read_pair_numbers

    if not asked["probabilities"]:
        for name in ("prior", "costs"):
            if asked[name] is not None:
                raise click.UsageError(f"--{name} is of no use without --probabilities")
        return None
    return PosteriorRule(
        prior=USUAL_PRIOR if asked["prior"] is None else parse_prior(asked["prior"]),
        costs=() if asked["costs"] is None else read_pair_numbers(asked["costs"], "cost"),
    )


def _show(summary: "Summary") -> None:
    """Hectares of each transition, per pair; the largest of them on a terminal, all in a pipe."""
    from geoseg.cli.show import show_table

    rows: list[tuple[object, ...]] = []
    for outcome in summary.outcomes:
        if outcome.areas is None:
            continue
        changed = outcome.areas[(outcome.areas.change_id > 0) & (outcome.areas.pixels > 0)]
        for row in changed.head(_SHOWN if sys.stdout.isatty() else len(changed)).itertuples():
            conf = "" if row.mean_conf != row.mean_conf else f"{row.mean_conf:.0f}"
            rows.append((outcome.id, row.from_name, row.to_name, f"{row.area_ha:.2f}", f"{row.percent:.3f}", conf))
    if rows:
        show_table(("pair", "before", "after", "hectares", "percent", "mean_conf"), rows)
