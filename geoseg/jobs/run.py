"""Many scenes, one model: `geoseg run` as a function."""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.errors import OutputError, printable
from geoseg.inference.recipe import recipe_for
from geoseg.jobs.cluster import Pool
from geoseg.jobs.outcome import Event, Listener, Options, SceneOutcome, Summary
from geoseg.jobs.plan import ScenePlan, plan_blocks
from geoseg.jobs.runner import Runner, named
from geoseg.jobs.versions import versions
from geoseg.models.load import Model
from geoseg.outputs.names import safe_name
from geoseg.outputs.records import write_json
from geoseg.outputs.staging import clean_leftovers
from geoseg.outputs.tables import write_combined_areas
from geoseg.scene.open import open_scene, scene_name

__all__ = ["plan_run", "run"]

_OWN_NAMES = ("areas.csv", "run.json", "report.html")
"""Files of the output folder: areas.csv.tif is a name that a scene can have, too."""


def _ignore(_: Event) -> None:
    """Nobody listens."""


def plan_run(
    rasters: Sequence[str], model: Model, options: Options, *, at_once: int = 1, listen: Listener = _ignore
) -> Iterator[ScenePlan | SceneOutcome]:
    """For each raster its plan, with a scene id that is unique in the run, or why there is none.

    Args:
        rasters: What `find_rasters` gave.
        model: As loaded.
        options: What the user chose.
        at_once: Blocks that can compute at the same time.
        listen: Told what was decided.
    """
    taken = set(_OWN_NAMES)
    for href in rasters:
        # before anything can fail: a file that is mended until the next run must not shift the names of others
        name = _unique(safe_name(scene_name(href)), taken)
        try:
            scene = open_scene(href, bands=options.bands, scale=options.scale, offset=options.offset)
            scene = replace(scene, id=name)
            recipe = recipe_for(scene, model, options.choices)
            plan = ScenePlan(recipe=recipe, blocks=plan_blocks(scene, block_size=options.block_size, at_once=at_once))
        except Exception as error:  # noqa: BLE001 - whatever one input does, it must not stop the others
            message = named(error, href)
            listen(Event(kind="failed", scene=href, text=message))
            yield SceneOutcome(href=href, id="", status="failed", error=message)
            continue
        for note in recipe.notes:
            listen(Event(kind="note", scene=scene.id, text=note))
        listen(Event(kind="planned", scene=scene.id, n_blocks=len(plan.blocks), pixels=scene.height * scene.width))
        yield plan


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
    rasters: Sequence[str],
    output: Path,
    model: Model,
    options: Options,
    *,
    pool: Pool,
    listen: Listener = _ignore,
) -> Summary:
    """Segment every raster and leave its outputs in a folder of its own; one that fails never stops the others.

    Args:
        rasters: What `find_rasters` gave.
        output: Folder of all outputs; made if missing.
        model: As loaded.
        options: What the user chose.
        pool: Where blocks are computed.
        listen: Told what happens, in the caller's thread.

    Raises:
        OutputError: If nothing can be written into the output folder.
    """
    began = time.monotonic()
    with _alone(output):
        return _run(rasters, output, model, options, pool, listen, began)


def _run(
    rasters: Sequence[str],
    output: Path,
    model: Model,
    options: Options,
    pool: Pool,
    listen: Listener,
    began: float,
) -> Summary:
    started = datetime.now(UTC)
    clean_leftovers(output)
    if pool.threads is not None and options.choices.threads is None:
        options = replace(options, choices=replace(options.choices, threads=pool.threads))
    plans = plan_run(rasters, model, options, at_once=max(1, pool.slots // 2), listen=listen)
    outcomes = Runner(output, options, pool, listen).run(plans)
    order = {href: i for i, href in enumerate(rasters)}
    done = tuple(sorted(outcomes, key=lambda o: order[o.href]))
    tables = {o.id: o.areas for o in done if o.areas is not None}
    summary = Summary(output=output, outcomes=done, seconds=time.monotonic() - began)
    if tables:
        write_combined_areas(tables, output / "areas.csv")
    write_json(output / "run.json", _record(summary, model, options, started))
    return summary


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """The output folder, made if missing, seen to be writable, and held so that no second run works in it.

    The lock is on the folder itself: nothing is left behind, and the kernel frees it whatever the end.
    """
    probe = output / f".geoseg.{secrets.token_hex(4)}.part"  # a name that is cleaned up, should we be killed here
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink(missing_ok=True)  # the run that holds the folder may have been faster
        handle = os.open(output, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OutputError(
            f"cannot write into {printable(output)}: {(error.strerror or str(error)).lower()}; choose another --output"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another run is writing into {printable(output)}: wait for it to end, or choose another --output"
            ) from error
        yield
    finally:
        os.close(handle)


def _record(summary: Summary, model: Model, options: Options, started: datetime) -> dict[str, Any]:
    """run.json: what was asked, with what, and what became of each input."""
    return {
        "geoseg": __version__,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(summary.seconds, 3),
        "versions": versions(),
        "model": {"name": model.card.name, "version": model.card.version, "digest": model.digest},
        "options": asdict(replace(options, zones=None)) | options.parameters,
        "scenes": [
            {
                "id": o.id,
                # what follows a question mark is a token more often than not
                "input": printable(o.href.split("?", 1)[0]),
                "status": o.status,
                "error": o.error,
                "seconds": round(o.seconds, 3),
                "pixels": o.pixels,
                "polygons": o.n_polygons,
                "notes": list(o.notes),
            }
            for o in summary.outcomes
        ],
    }
