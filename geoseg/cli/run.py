"""`geoseg run`: rasters in, a folder of outputs for each out."""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.input_options import (
    aoi_of,
    aoi_options,
    band_files_option,
    band_options,
    clouds_option,
    mosaic_of,
    mosaic_options,
    target_of,
    target_options,
)
from geoseg.cli.manner import goes_on, talk_options
from geoseg.cli.options import (
    chosen_of,
    cluster_options,
    compute_options,
    decision_of,
    decision_options,
    of_one_date,
    read_config,
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
    from geoseg.jobs.outcome import SceneOutcome
    from geoseg.jobs.plan import ScenePlan
    from geoseg.scene.target import Target

__all__ = ["run"]


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUTS...")
@output_option
@click.option(
    "-m",
    "--model",
    help="A shipped model, kmeans:K, a card (.yaml), or a model file with its card inside. See geoseg models. "
    "[a shipped one that fits, which is said]",
)
@trust_option
@band_options
@mosaic_options
@target_options
@aoi_options
@clouds_option
@band_files_option
@compute_options
@decision_options
@segment_options
@polygon_options
@outline_options
@zone_options
@click.option("--probabilities", is_flag=True, help="Also leave the probability of each class, and expected areas.")
@cluster_options
@click.option(
    "--block-timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="End a worker process whose block takes longer, and try the block on another.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace finished results of another input, model or options, and damaged ones."
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and what it would take.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="YAML file with values for these options.",
)
@talk_options
def run(inputs: tuple[str, ...], output: Path, model: str | None, **asked: Any) -> int:  # fmt: skip
    """Segment rasters: class map, confidence, polygons and areas for each.

    INPUTS are files, folders (searched through all levels), globs or URLs. Each raster gets a folder of its own below
    the output folder. A raster that fails is named with the reason, and the others are done. One that lies outside of
    the area of interest is skipped.

    Exit codes: 0 all done, 1 some failed, 2 wrong usage or nothing could start, 130 interrupted, 143 terminated; the
    same command goes on from there.
    """
    from geoseg.cli.talk import Talk, set_up_logging

    goes_on()
    verbosity = -1 if asked["quiet"] else asked["verbose"]
    set_up_logging(verbosity, asked["log_format"])

    from geoseg.jobs.cluster import connect
    from geoseg.jobs.run import plan_run
    from geoseg.jobs.run import run as run_scenes
    from geoseg.models.load import load_model
    from geoseg.scene.inputs import find_rasters

    refuse_idle_outlines(asked)
    mosaic = mosaic_of(asked)
    outlines, min_area = outlines_of(asked)
    zones = zones_of(asked)
    aoi = aoi_of(asked)
    rasters = find_rasters(inputs, exclude=output, band_files=asked["band_files"])
    chosen = None if model is not None else chosen_of(asked, rasters)
    loaded = of_one_date(load_model(chosen.name if chosen is not None else str(model), trust=asked["trust_model"]))
    options = segment_options_of(
        asked,
        decided=decision_of(asked, loaded.legend),
        formats=formats_of(asked),
        probabilities=asked["probabilities"],
        outlines=outlines,
        min_area=min_area,
        zones=zones,
        aoi=aoi,
        target=target_of(asked),
        **mosaic,
    )
    with Talk(verbosity=verbosity, log_format=asked["log_format"]) as talk:
        if chosen is not None:
            talk.say(chosen.said)
        for note in (*(() if zones is None else zones.notes), *(() if aoi is None else aoi.zones.notes)):
            talk.say(note)
        if asked["dry_run"]:
            from geoseg.cli.dry_run import print_plans
            from geoseg.jobs.lock import check_writable, holder_of

            check_writable(output)
            holder = holder_of(output)
            if holder is not None:
                talk.say(f"another run is at work there: {holder}; what it has finished of a scene is not counted")
            plans = plan_run(rasters, loaded, options, at_once=max(1, asked["workers"]), listen=talk)
            planned = list(plans)
            code = print_plans([(output, planned)], options, listen=talk)
            if options.target is not None:
                talk.say(_whole_said(planned, options.target))
            _see_that_some_touch(sum(getattr(plan, "status", "") == "outside" for plan in planned), len(planned))
            return code
        with connect(
            workers=asked["workers"],
            scheduler=asked["scheduler"],
            scheduler_file=asked["scheduler_file"],
            accelerated=options.choices.device.partition(":")[0] not in ("auto", "cpu"),
            block_timeout=asked["block_timeout"],
        ) as pool:
            # what was imported stays: no use in looking for garbage there, see main
            gc.freeze()
            gc.enable()
            summary = run_scenes(rasters, output, loaded, options, pool=pool, listen=talk)
        done = summary.n_scenes - summary.n_failed - summary.n_outside
        outside = f", {summary.n_outside} outside of the area of interest" if summary.n_outside else ""
        scenes = f"{done} of {summary.n_scenes} scenes done{outside}"
        talk.end(scenes, seconds=summary.seconds, output=output, any_done=done > 0)
    _see_that_some_touch(summary.n_outside, summary.n_scenes)
    if not asked["quiet"]:
        from geoseg.cli.show import show_areas

        show_areas(summary)
    sys.stdout.flush()
    return 0 if summary.is_complete else 1


def _see_that_some_touch(n_outside: int, n_scenes: int) -> None:
    from geoseg.errors import InputError

    if n_outside == n_scenes:
        raise InputError(f"none of the {n_scenes} scenes touches the area of interest: check its coordinates and CRS")


def _whole_said(planned: "list[ScenePlan | SceneOutcome]", target: "Target") -> str:
    """What the one map of all scenes would be."""
    from geoseg.jobs.plan import ScenePlan
    from geoseg.jobs.words import counted
    from geoseg.scene.target import target_grid

    recipes = [plan.recipe for plan in planned if isinstance(plan, ScenePlan)]
    if not recipes:
        return f"no scene to put on one grid in {target.crs}"
    grid = target_grid([r.geobox for r in recipes], target, names=[r.scene.id for r in recipes])
    return (
        f"one map of {counted(len(recipes), 'scene')} in {target.crs}: {grid.shape[1]} x {grid.shape[0]} px of "
        f"{grid.affine.a:.10g} units of the CRS"
    )
