"""The blocks of many scenes kept in flight, and each scene published when its last block is done."""

import logging
import secrets
import shutil
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from geoseg.errors import GeosegError, printable
from geoseg.inference.recipe import Recipe
from geoseg.jobs.block import compute_block
from geoseg.jobs.cluster import Pool
from geoseg.jobs.outcome import Event, Listener, Options, SceneOutcome
from geoseg.jobs.plan import ScenePlan
from geoseg.jobs.publish import finished_areas, publish_scene
from geoseg.scene.guard import is_remote

__all__ = ["Runner", "named"]

_log = logging.getLogger(__name__)


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


class Runner:
    """Keeps the pool's slots full with blocks, in order, and publishes each scene when its last block is done."""

    def __init__(self, output: Path, options: Options, pool: Pool, listen: Listener) -> None:
        """Prepare to run scenes into an output folder that is there and held."""
        self._output, self._options, self._pool, self._listen = output, options, pool, listen
        self._outcomes: list[SceneOutcome] = []
        self._blocks: dict[Any, tuple[_Job, int]] = {}
        self._publishing: dict[Any, _Job] = {}
        self._waiting: deque[tuple[_Job, int]] = deque()
        self._jobs: list[_Job] = []

    def run(self, plans: Iterator[ScenePlan | SceneOutcome]) -> list[SceneOutcome]:
        """Run every plan; what became of each, in the order in which they ended."""
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
        """Submit blocks until all slots are taken; plan further scenes only as they are needed.

        No more scenes are published at once than blocks are in flight: each holds the pieces it has workers make.
        """
        while len(self._blocks) + len(self._publishing) < 2 * self._pool.slots and len(self._blocks) < self._pool.slots:
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
            probabilities = self._options.probabilities
            future = self._pool.submit_block(compute_block, job.recipe, block, path, probabilities, retries=retries)
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
            areas = finished_areas(folder, plan.recipe.key, self._options)
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
                job.results,
                job.folder,
                self._options,
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
        for note in result.notes:
            self._listen(Event(kind="note", scene=job.recipe.scene.id, text=note))
        notes = (*job.recipe.notes, *result.notes)
        self._end(job, status="done", areas=result.areas, n_polygons=result.n_polygons, notes=notes)

    def _reason(self, job: _Job, error: BaseException | None, where: str) -> str:
        """Error of a task as a message that names the file, whatever it was."""
        href = job.recipe.scene.href
        if type(error).__name__ == "KilledWorker":
            mend = "give it more memory, or fewer --workers"
            return f"{printable(href)}: {where}: the worker process died again and again; {mend}"
        return named(error or RuntimeError("the task was cancelled"), href, where)

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
                **({"notes": job.recipe.notes} | what),
            )
        )


def named(error: BaseException, href: str, where: str = "") -> str:
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
