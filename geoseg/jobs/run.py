"""Many scenes, one model: `geoseg run` as a function."""

import fcntl
import logging
import math
import os
import secrets
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from geoseg import __version__
from geoseg.area.sums import ClassTotals
from geoseg.errors import GeosegError, OutputError, ParameterError, printable
from geoseg.inference.recipe import Choices, Recipe, recipe_for
from geoseg.jobs.block import compute_block
from geoseg.jobs.cluster import Pool
from geoseg.jobs.plan import ScenePlan, check_block_size, plan_blocks
from geoseg.jobs.publish import finished_areas, publish_scene
from geoseg.jobs.versions import versions
from geoseg.models.load import Model
from geoseg.outputs.names import safe_name
from geoseg.outputs.records import write_json
from geoseg.outputs.staging import clean_leftovers
from geoseg.outputs.tables import write_combined_areas
from geoseg.scene.guard import is_remote
from geoseg.scene.open import open_scene, scene_name

__all__ = ["Event", "Options", "SceneOutcome", "Summary", "plan_run", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user may choose of a run."""

    choices: Choices = field(default_factory=Choices)
    """How the model is run."""
    bands: tuple[str, ...] | None = None
    """Names for the bands of the files, in file order."""
    scale: float | None = None
    """Physical value per stored unit."""
    offset: float | None = None
    """Physical value of a stored 0."""
    block_size: int | None = None
    """Pixels along a side of a block; None lets the planner choose."""
    formats: tuple[str, ...] = ("gpkg",)
    """Of the polygons; none for no polygons."""
    overwrite: bool = False
    """Replace finished outputs."""

    def __post_init__(self) -> None:
        if self.block_size is not None:
            check_block_size(self.block_size)
        for what, value in (("scale", self.scale), ("offset", self.offset)):
            if value is not None and (not math.isfinite(value) or (what == "scale" and value == 0)):
                raise ParameterError(f"{what} {value} gives no physical values: give a finite number, as scale not 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOutcome:
    """What became of one input."""

    href: str
    """What the user named or what was found in a folder."""
    id: str
    """Name of its outputs."""
    status: Literal["done", "failed", "unchanged"]
    """``unchanged``: the same scene, model and options were finished before."""
    error: str | None = None
    """Reason and mend, where it failed."""
    seconds: float = 0.0
    """From its first block to its outputs."""
    pixels: int = 0
    """Of the scene."""
    n_polygons: int | None = None
    """None where polygons were not made."""
    notes: tuple[str, ...] = ()
    """What was decided and said aloud."""
    areas: Any = field(default=None, repr=False)
    """Area table, a DataFrame, where it was made now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened that a progress bar or a log wants to know."""

    kind: Literal["planned", "note", "block", "publishing", "done", "failed", "unchanged"]
    """What happened."""
    scene: str
    """Id of the scene, or what was named where there is no scene."""
    text: str = ""
    """The note or the error."""
    n_blocks: int = 0
    """Blocks of the scene."""
    pixels: int = 0
    """Pixels that are finished with this event, or of the scene that is planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of a run."""

    output: Path
    """The folder of all outputs."""
    outcomes: tuple[SceneOutcome, ...]
    """One per input, in their order."""
    seconds: float
    """Of the whole run, planning included."""

    @property
    def n_failed(self) -> int:
        """Inputs that failed."""
        return sum(o.status == "failed" for o in self.outcomes)


@dataclass(slots=True, kw_only=True)
class _Job:
    """A scene under way."""

    plan: ScenePlan
    recipe: Recipe
    folder: Path
    parts_folder: Path
    results: list[Any] = field(default_factory=list)
    started: float = 0.0
    failed: bool = False


_log = logging.getLogger(__name__)

_OWN_NAMES = ("areas.csv", "run.json", "report.html")
"""Files of the output folder: areas.csv.tif is a name that a scene can have, too."""

Listener = Callable[[Event], None]


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
            message = _named(error, href)
            listen(Event(kind="failed", scene=href, text=message))
            yield SceneOutcome(href=href, id="", status="failed", error=message)
            continue
        for note in recipe.notes:
            listen(Event(kind="note", scene=scene.id, text=note))
        listen(Event(kind="planned", scene=scene.id, n_blocks=len(plan.blocks), pixels=scene.height * scene.width))
        yield plan


def _named(error: BaseException, href: str, where: str = "") -> str:
    """An error as a message that names the file; one that geoseg did not raise on purpose says so."""
    shown = printable(href)
    if not isinstance(error, GeosegError):
        _log.debug("unexpected error", exc_info=error)
        at = f"{where}: " if where else ""
        kind = type(error).__name__
        message = f"{shown}: {at}unexpected {kind}: {printable(error)}; run with -vv for the details and report it"
    else:
        message = str(error) if shown in str(error) else f"{shown}: {error}"
    return _without_token(message, href)


def _without_token(text: str, href: str) -> str:
    """What follows a question mark in a URL is a token more often than not: it reaches no log and no record."""
    query = printable(href).partition("?")[2] if is_remote(href) else ""
    return text.replace(f"?{query}", "?...") if query else text


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
    outcomes = _Runner(output, options, pool, listen).run(plans)
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


class _Runner:
    """Keeps the pool's slots full with blocks, in order, and publishes each scene when its last block is done."""

    def __init__(self, output: Path, options: Options, pool: Pool, listen: Listener) -> None:
        self._output, self._options, self._pool, self._listen = output, options, pool, listen
        self._outcomes: list[SceneOutcome] = []
        self._blocks: dict[Any, tuple[_Job, int]] = {}
        self._publishing: dict[Any, _Job] = {}
        self._waiting: deque[tuple[_Job, int]] = deque()
        self._jobs: list[_Job] = []

    def run(self, plans: Iterator[ScenePlan | SceneOutcome]) -> list[SceneOutcome]:
        from distributed import as_completed

        finished = as_completed(loop=self._pool.client.loop, raise_errors=False)
        try:
            self._feed(plans, finished)
            for future in finished:
                if future in self._publishing:
                    self._published(future)
                else:
                    self._computed(future, finished)
                self._feed(plans, finished)
        finally:
            for job in self._jobs:
                shutil.rmtree(job.parts_folder, ignore_errors=True)
        return self._outcomes

    def _feed(self, plans: Iterator[ScenePlan | SceneOutcome], finished: Any) -> None:
        """Submit blocks until all slots are taken; plan further scenes only as they are needed."""
        while len(self._blocks) < self._pool.slots:
            while not self._waiting:
                plan = next(plans, None)
                if plan is None:
                    return
                if isinstance(plan, SceneOutcome):
                    self._outcomes.append(plan)
                else:
                    self._start(plan)
            job, i = self._waiting.popleft()
            if job.failed:
                continue
            block = job.plan.blocks[i]
            path = job.parts_folder / f"{block.row_off}_{block.col_off}.tif"
            # a damaged file stays damaged; a server may answer the next time
            retries = 2 if is_remote(job.recipe.scene.href) else 0
            future = self._pool.submit_block(compute_block, job.recipe, block, path, retries=retries)
            self._blocks[future] = (job, i)
            finished.add(future)

    def _start(self, plan: ScenePlan) -> None:
        scene = plan.recipe.scene
        folder = self._output / scene.id
        job = _Job(
            plan=plan,
            recipe=plan.recipe,
            folder=folder,
            parts_folder=self._output / f".{scene.id}.{secrets.token_hex(4)}.parts",
            started=time.monotonic(),
        )
        self._jobs.append(job)
        if folder.exists() and not (folder / f"{scene.id}.json").is_file():
            # never replaced, whatever was asked for: these are not results of an earlier run
            message = (
                f"{printable(scene.href)}: its results would go to {printable(folder)}, which is there and holds no "
                "results of geoseg; move it away, or choose another --output"
            )
            self._fail(job, message)
            return
        if folder.exists() and not self._options.overwrite:
            areas = finished_areas(folder, plan.recipe.key, self._options.formats)
            if areas is not None:
                self._end(job, status="unchanged", areas=areas)
            else:
                message = (
                    f"{printable(scene.href)}: {printable(folder)} holds results of another input, model or options; "
                    "pass --overwrite to replace them, or choose another --output"
                )
                self._fail(job, message)
            return
        try:
            job.parts_folder.mkdir()
        except OSError as error:
            self._fail(job, f"{printable(scene.href)}: cannot write into {printable(self._output)}: {error.strerror}")
            return
        self._waiting.extend((job, i) for i in range(len(plan.blocks)))

    def _computed(self, future: Any, finished: Any) -> None:
        job, i = self._blocks.pop(future)
        block = job.plan.blocks[i]
        if job.failed:
            return
        error = future.exception() if future.status != "finished" else None
        if future.status != "finished":
            self._fail(job, self._reason(job, error, f"block at row {block.row_off}, column {block.col_off}"))
            return
        job.results.append(future.result())
        self._listen(Event(kind="block", scene=job.recipe.scene.id, pixels=block.height * block.width))
        if len(job.results) == len(job.plan.blocks):
            self._listen(Event(kind="publishing", scene=job.recipe.scene.id))
            task = self._pool.submit(
                publish_scene,
                job.recipe,
                [r.part for r in job.results],
                sum((r.totals for r in job.results), ClassTotals.zero()),
                job.folder,
                self._options.formats,
                self._options.overwrite,
            )
            self._publishing[task] = job
            finished.add(task)

    def _published(self, future: Any) -> None:
        job = self._publishing.pop(future)
        if future.status != "finished":
            self._fail(job, self._reason(job, future.exception(), "writing the outputs"))
            return
        result = future.result()
        shutil.rmtree(job.parts_folder, ignore_errors=True)
        self._end(job, status="done", areas=result.areas, n_polygons=result.n_polygons)

    def _reason(self, job: _Job, error: BaseException | None, where: str) -> str:
        """Error of a task as a message that names the file, whatever it was."""
        href = job.recipe.scene.href
        if type(error).__name__ == "KilledWorker":
            mend = "give it more memory, or fewer --workers"
            return f"{printable(href)}: {where}: the worker process died again and again; {mend}"
        return _named(error or RuntimeError("the task was cancelled"), href, where)

    def _fail(self, job: _Job, message: str) -> None:
        job.failed = True
        self._pool.client.cancel([f for f, (j, _) in self._blocks.items() if j is job])
        shutil.rmtree(job.parts_folder, ignore_errors=True)
        self._listen(Event(kind="failed", scene=job.recipe.scene.id, text=message))
        self._end(job, status="failed", error=message)

    def _end(self, job: _Job, *, status: Literal["done", "failed", "unchanged"], **what: Any) -> None:
        scene = job.recipe.scene
        if status != "failed":
            self._listen(Event(kind=status, scene=scene.id, pixels=scene.height * scene.width))
        self._outcomes.append(
            SceneOutcome(
                href=scene.href,
                id=scene.id,
                status=status,
                seconds=time.monotonic() - job.started,
                pixels=scene.height * scene.width,
                notes=job.recipe.notes,
                **what,
            )
        )


def _record(summary: Summary, model: Model, options: Options, started: datetime) -> dict[str, Any]:
    """run.json: what was asked, with what, and what became of each input."""
    return {
        "geoseg": __version__,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(summary.seconds, 3),
        "versions": versions(),
        "model": {"name": model.card.name, "version": model.card.version, "digest": model.digest},
        "options": asdict(options),
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
