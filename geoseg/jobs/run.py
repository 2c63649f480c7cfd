"""Many scenes, one model: `geoseg run` as a function."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from geoseg.errors import printable
from geoseg.inference.lattice import Block
from geoseg.inference.recipe import recipe_for
from geoseg.jobs.cluster import Pool
from geoseg.jobs.journal import Journal
from geoseg.jobs.lock import STATE, hold
from geoseg.jobs.outcome import Event, Listener, Options, SceneOutcome, Summary
from geoseg.jobs.places_run import PlaceJob, tell, work_on_places
from geoseg.jobs.plan import ScenePlan, plan_blocks
from geoseg.jobs.run_records import write_run_records
from geoseg.jobs.runner import Runner, named
from geoseg.jobs.whole import WHOLE, whole_map
from geoseg.models.at_gsd import at_gsd_of
from geoseg.models.load import Model
from geoseg.outputs.names import safe_name
from geoseg.outputs.staging import clean_leftovers
from geoseg.scene.guard import is_remote, without_query
from geoseg.scene.mosaic import apart, joined, mosaics
from geoseg.scene.mosaic_order import Priority
from geoseg.scene.open import open_scene, scene_name
from geoseg.scene.scene import Scene

__all__ = ["Raster", "plan_run", "run", "shown"]

Raster = str | tuple[str, str]
"""What is segmented: a raster or a product, or the two dates of a pair."""

_OWN_NAMES = ("areas.csv", "run.json", "report.html")
"""Files of the output folder: areas.csv.tif is a name that a scene can have, too."""


def _ignore(_: Event) -> None:
    """Nobody listens."""


def plan_run(
    rasters: Sequence[Raster], model: Model, options: Options, *, at_once: int = 1, listen: Listener = _ignore
) -> Iterator[ScenePlan | SceneOutcome]:
    """For each raster its plan, with a scene id that is unique in the run, or why there is none.

    Pixels are not looked at: whoever computes them does it before, see `geoseg.models.match.look_for_doubts`.

    Args:
        rasters: What `find_rasters` gave; pairs of them, before and after, for a model of two dates.
        model: As loaded.
        options: What the user chose.
        at_once: Blocks that can compute at the same time.
        listen: Told what was decided.
    """
    taken = {*_OWN_NAMES, *(() if options.target is None else (WHOLE,))}
    if options.mosaic is not None:
        yield from _plan_mosaics(rasters, model, options, at_once, listen, taken)
        return
    for raster in rasters:
        href = shown(raster)
        # before anything can fail: a file that is mended until the next run must not shift the names of others
        wanted = safe_name(scene_name(raster)) if isinstance(raster, str) else _pair_name(*raster)
        name = _unique(wanted, taken)
        if name != wanted:
            text = (
                f"{printable(without_query(href))} is called this, for an input before it has the name "
                f"{printable(wanted)}: give files names of their own, or such numbers change as files come and go"
            )
            listen(Event(kind="note", scene=name, text=text))
        try:
            scene = replace(_opened(raster, options), id=name)
            (plan,) = _planned([(scene, None)], model, options, at_once, listen)
        except Exception as error:  # noqa: BLE001 - whatever one input does, it must not stop the others
            plan = _failed(href, error, listen)
        _tell(plan, listen)
        yield plan


def _plan_mosaics(
    rasters: Sequence[Raster], model: Model, options: Options, at_once: int, listen: Listener, taken: set[str]
) -> Iterator[ScenePlan | SceneOutcome]:
    """Plans of the scenes that the rasters are together; a raster that cannot be opened fails alone."""
    scenes = []
    for raster in rasters:
        try:
            scenes.append(_opened(raster, options))
        except Exception as error:  # noqa: BLE001 - whatever one input does, it must not stop the others
            yield _failed(shown(raster), error, listen)
    card = model.card
    wanted = [b.name for b in card.bands] if all(b.required for b in card.bands) else []
    groups = mosaics(scenes, options.mosaic or "order", wanted=wanted)
    for note in apart(groups, wanted=wanted):
        listen(Event(kind="note", scene="mosaic", text=note))
    for group in groups:
        scene = joined(group) if len(group) > 1 else group[0]
        each = len(group) > 1 and options.mosaic_outputs == "each"
        ids = [_unique(safe_name(s.id), taken) for s in (group if each else [scene])]
        try:
            if len(group) > 1:
                listen(
                    Event(
                        kind="note", scene=scene.id if each else ids[0], text=_mosaic_note(group, scene, options.mosaic)
                    )
                )
            parts = _parts_of(scene, ids) if each else [(replace(scene, id=ids[0]), None)]
            plans = _planned(parts, model, options, at_once, listen)
        except Exception as error:  # noqa: BLE001 - whatever one input does, it must not stop the others
            plans = [_failed(s.href, error, listen) for s in (group if each else [scene])]
        for plan in plans:
            _tell(plan, listen)
            yield plan
        if not each:
            for other in group[1:]:
                yield SceneOutcome(href=other.href, id=ids[0], status="joined")


def _parts_of(mosaic: Scene, ids: Sequence[str]) -> list[tuple[Scene, Block | None]]:
    """For each file of a mosaic the mosaic as its scene, and the part of it that is the file's own."""
    return [
        (
            replace(mosaic, id=name, href=m.scene.href, acquired=m.scene.acquired),
            Block(row_off=m.row_off, col_off=m.col_off, height=m.scene.height, width=m.scene.width),
        )
        for name, m in zip(ids, mosaic.members, strict=True)
    ]


def _mosaic_note(group: Sequence[Scene], scene: Scene, priority: Priority | None) -> str:
    """What was joined, in its order, with what that goes by where it is not what was named first."""

    def why(s: Scene) -> str:
        if priority == "newest":
            return " (no date)" if s.acquired is None else f" ({s.acquired:%Y-%m-%d})"
        if priority == "least-cloud" and all(each.cloud_percent is not None for each in group):
            return f" ({s.cloud_percent:.3g} % cloud)"
        return ""

    names = ", ".join(f"{printable(s.id)}{why(s)}" for s in group[:10]) + (" ..." if len(group) > 10 else "")
    return f"one scene of {len(group)} files, {scene.width} x {scene.height} px, those that go first first: {names}"


def _planned(
    parts: Sequence[tuple[Scene, Block | None]], model: Model, options: Options, at_once: int, listen: Listener
) -> list[ScenePlan | SceneOutcome]:
    """The plans of a scene that has its id, or of parts of it; what became of it where nothing of it is wanted.

    Args:
        parts: The scene with the id of each part, and the part in its own pixels; None for all of it.
        model: As loaded.
        options: What the user chose.
        at_once: Blocks that can compute at the same time.
        listen: Told what lies outside.
    """
    choices, scene = options.choices, parts[0][0]
    there, notes = (scene, ()) if choices.force else at_gsd_of(model, scene, native_grid=choices.native_grid)
    made = scene if choices.native_grid else there  # the results are on its grid
    common = None
    plans: list[ScenePlan | SceneOutcome] = []
    for named_scene, own in parts:
        part = None if own is None else _on_grid(own, scene, made)
        geobox = made.geobox if part is None else made.geobox[part.row_off : part.row_end, part.col_off : part.col_end]
        inside = None if options.aoi is None else options.aoi.inside(geobox)
        href, name = named_scene.href, named_scene.id
        if options.aoi is not None and inside is None:
            reason = f"{printable(href)}: lies outside of the area of interest ({options.aoi.label}): skipped"
            listen(Event(kind="outside", scene=name, text=reason))
            plans.append(SceneOutcome(href=href, id=name, status="outside", error=reason))
            continue
        if common is None:  # what is found out of the scene is the same for all of its parts
            common = recipe_for(there, model, choices, look=False)
            common = replace(common, notes=(*notes, *common.notes))
        recipe = replace(
            common,
            scene=replace(there, id=name, href=href, acquired=named_scene.acquired),
            part=part,
            inside=None if inside is None or inside.is_whole else inside,
        )
        blocks = plan_blocks(
            there, block_size=options.block_size, at_once=at_once, native=recipe.native, shape=recipe.shape
        )
        plans.append(ScenePlan(recipe=recipe, blocks=blocks))
    return plans


def _on_grid(part: Block, scene: Scene, made: Scene) -> Block:
    """A part of a scene on the grid of the same outline that results are on; parts that touch still do."""
    down, across = made.height / scene.height, made.width / scene.width
    top, left = round(part.row_off * down), round(part.col_off * across)
    bottom, right = round(part.row_end * down), round(part.col_end * across)
    # a file smaller than half a pixel of the results still has one
    top, left = min(top, made.height - 1), min(left, made.width - 1)
    return Block(row_off=top, col_off=left, height=max(bottom - top, 1), width=max(right - left, 1))


def _tell(plan: ScenePlan | SceneOutcome, listen: Listener) -> None:
    """Tell of a plan; outside of what catches errors of inputs, so that one of the listener's ends the run."""
    if isinstance(plan, ScenePlan):
        for note in plan.recipe.notes:
            listen(Event(kind="note", scene=plan.recipe.scene.id, text=note))
        pixels = math.prod(plan.recipe.shape)
        listen(Event(kind="planned", scene=plan.recipe.scene.id, n_blocks=len(plan.blocks), pixels=pixels))


def _failed(href: str, error: Exception, listen: Listener) -> SceneOutcome:
    message = named(error, href)
    listen(Event(kind="failed", scene=href, text=message))
    return SceneOutcome(href=href, id="", status="failed", error=message)


def shown(raster: Raster) -> str:
    """What a raster, or a pair of them, is called in messages and records."""
    return raster if isinstance(raster, str) else " and ".join(raster)


def _opened(raster: Raster, options: Options) -> Scene:
    """The scene of a raster, or that of a pair."""
    from geoseg.change.pair_scene import pair_scenes  # most runs have no pairs

    scenes = [
        open_scene(
            href, bands=options.bands, scale=options.scale, offset=options.offset, mask_clouds=options.mask_clouds
        )
        for href in ((raster,) if isinstance(raster, str) else raster)
    ]
    return scenes[0] if isinstance(raster, str) else pair_scenes(*scenes, align_images=options.align)


def _pair_name(before: str, after: str) -> str:
    from geoseg.jobs.change_maps import pair_name
    from geoseg.jobs.change_options import MapInput

    return pair_name(*(MapInput(classes=href, name=safe_name(scene_name(href))) for href in (before, after)))


def _absolute(href: str) -> str:
    return href if is_remote(href) else os.path.abspath(href)  # noqa: PTH100


def _unique(name: str, taken: set[str]) -> str:
    """The name, or the name with a number: scene.tif and scene.tiff, or a/scene.tif and b/scene.tif, are two scenes."""
    candidate, n = name, 1
    # file systems of Windows and macOS do not tell a.tif from A.tif
    while candidate.casefold() in taken:
        n += 1
        candidate = f"{name}_{n}"
    taken.add(candidate.casefold())
    return candidate


def run(
    rasters: Sequence[Raster],
    output: Path,
    model: Model,
    options: Options,
    *,
    pool: Pool,
    listen: Listener = _ignore,
) -> Summary:
    """Segment every raster and leave its outputs in a folder of its own; one that fails never stops the others.

    Args:
        rasters: What `find_rasters` gave; pairs of them, before and after, for a model of two dates.
        output: Folder of all outputs; made if missing.
        model: As loaded.
        options: What the user chose.
        pool: Where blocks are computed.
        listen: Told what happens, in the caller's thread.

    Raises:
        OutputError: If nothing can be written into the output folder, or another run holds it.
        ParameterError: If the device is not there.
        ResourceError: If a worker of a cluster does not see the output folder, or has another geoseg.
    """
    from geoseg.inference.engine import choose_device

    began, started = time.monotonic(), datetime.now(UTC)
    if pool.threads is not None and options.choices.threads is None:
        options = replace(options, choices=replace(options.choices, threads=pool.threads))
    if not pool.remote:  # the devices of a cluster are its workers' own: this machine need not have one like them
        options = replace(options, choices=replace(options.choices, device=str(choose_device(options.choices.device))))
    with hold(output) as unlocked:
        if unlocked is not None:
            listen(Event(kind="note", scene=str(output), text=unlocked))
        clean_leftovers(output)
        if pool.remote:
            # machines have no working folder in common
            output = output.resolve()
            rasters = [_absolute(r) if isinstance(r, str) else (_absolute(r[0]), _absolute(r[1])) for r in rasters]
            pool.refuse_workers_without(output)
        with Journal(output / STATE) as journal:
            for note in journal.notes:
                listen(Event(kind="note", scene=str(output), text=note))
            runner = Runner(output, options, pool, journal, listen)
            outcomes = runner.run(plan_run(rasters, model, options, at_once=max(1, pool.slots // 2), listen=listen))
        clean_leftovers(output)  # of workers that died
        order = {shown(raster): i for i, raster in enumerate(rasters)}
        for href in order.keys() - {o.href for o in outcomes}:
            message = f"{printable(href)}: not begun: {runner.lost}"
            outcomes.append(SceneOutcome(href=href, id="", status="failed", error=message))
        done = tuple(sorted(outcomes, key=lambda o: order[o.href]))
        whole = _whole(done, output, model, options, pool, listen)
        summary = Summary(output=output, outcomes=done, seconds=time.monotonic() - began, whole=whole)
        write_run_records(summary, model, options, started)
    return summary


def _whole(
    outcomes: Sequence[SceneOutcome], output: Path, model: Model, options: Options, pool: Pool, listen: Listener
) -> SceneOutcome | None:
    """The one map of all scenes that are finished, where it is asked for; what became of it."""
    target = options.target
    finished = [o for o in outcomes if o.status in ("done", "unchanged")]
    if target is None or not finished:
        return None
    for missing in (o for o in outcomes if o.status == "failed"):
        text = f"without {printable(without_query(missing.href))}, which failed: run again when it is mended"
        listen(Event(kind="note", scene=target.name, text=text))
    listen(Event(kind="publishing", scene=target.name))
    if (output / WHOLE).is_dir():
        clean_leftovers(output / WHOLE)
    folders = [output / o.id for o in finished]
    legend = options.choices.decision.legend(model.legend)
    job = PlaceJob(
        name=target.name,
        inputs=(str(output),),
        function=whole_map,
        arguments=(folders, output / WHOLE / target.name, target, legend, options),
        table="areas",
    )
    (outcome,) = work_on_places([job], pool)
    tell(outcome, listen)
    return outcome
