"""The blocks of many scenes kept in flight, and each scene published when its last block is done."""

import logging
import math
import queue
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from geoseg.errors import GeosegError, ResourceError, printable
from geoseg.inference.lattice import Block
from geoseg.inference.recipe import Recipe
from geoseg.jobs.block import Computed, compute_block
from geoseg.jobs.cluster import TICK_S, Pool
from geoseg.jobs.journal import Journal
from geoseg.jobs.outcome import Event, Listener, Options, SceneOutcome
from geoseg.jobs.plan import ScenePlan
from geoseg.jobs.publish import DamagedPartsError, publish_scene
from geoseg.jobs.restore import restore_block, undamaged_rasters
from geoseg.jobs.room import check_room, needed_bytes
from geoseg.jobs.standing import Standing, cut_of, parts_key, recut, standing_of
from geoseg.jobs.words import were
from geoseg.models.match import look_for_doubts
from geoseg.outputs.crash import crash_point
from geoseg.scene.guard import is_remote, without_token
from geoseg.scene.stac import split_item_name

__all__ = ["Runner", "named"]

_log = logging.getLogger(__name__)
_REPAIRS = 3
"""Times that damaged parts of a scene are computed again: a disk that damages them again and again is no place."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Job:
    """A scene under way."""

    plan: ScenePlan
    recipe: Recipe
    folder: Path
    blocks: tuple[Block, ...] = ()
    compute: Any = None
    n_done: int = 0
    n_resumed: int = 0
    repairs: int = 0
    started: float = field(default_factory=time.monotonic)
    notes: tuple[str, ...] = ()
    failed: bool = False

    @property
    def id(self) -> str:
        return self.recipe.scene.id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What a future computes: a block of a scene, or its outputs."""

    job: _Job
    block: Block | None = None

    @property
    def where(self) -> str:
        if self.block is None:
            return "writing the outputs"
        return f"block at row {self.block.row_off}, column {self.block.col_off}"


class Runner:
    """Keeps the pool's slots full with blocks, in order, and publishes each scene when its last block is done.

    What is finished is in the journal before anybody is told. When a worker process dies, Dask gives what it had to
    others; a task whose workers died again and again may have been beside the one that kills them, so it is tried once
    more, alone, before its scene is given up.
    """

    def __init__(self, output: Path, options: Options, pool: Pool, journal: Journal, listen: Listener) -> None:
        """Prepare to run scenes into an output folder that is there and held."""
        self._output, self._options, self._pool = output, options, pool
        self._journal, self._listen = journal, listen
        self._outcomes: list[SceneOutcome] = []
        self._in_flight: dict[Any, _Task] = {}
        self._n_blocks = 0  # of those in flight
        self._waiting: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()
        self._alone: _Task | None = None
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.lost: str | None = None
        """Why no scene could be begun any more."""

    def run(self, plans: Iterator[ScenePlan | SceneOutcome]) -> list[SceneOutcome]:
        """Run every plan; what became of each, in the order in which they ended.

        Where the workers are lost for good, scenes under way fail and those after them are not begun.
        """
        try:
            self._feed(plans)
            while self._in_flight:
                try:
                    future = self._ended.get(timeout=TICK_S)
                except queue.Empty:
                    self._pool.check()
                    continue
                self._take(future)
                self._feed(plans)
        except ResourceError as error:
            for task in (*self._in_flight.values(), *self._waiting, *self._suspects):
                if not task.job.failed:
                    self._fail(task.job, named(error, task.job.recipe.scene.href))
            self.lost = str(error)
        return self._outcomes

    def _feed(self, plans: Iterator[ScenePlan | SceneOutcome]) -> None:
        """Submit blocks until all slots are taken; plan further scenes only as they are needed.

        No more scenes are published at once than blocks are in flight: each holds the pieces it has workers make.
        """
        slots = self._pool.slots
        while self._alone is None and len(self._in_flight) < 2 * slots and self._n_blocks < slots:
            while not self._waiting:
                plan = next(plans, None)
                if plan is None:
                    self._try_suspect()
                    return
                if isinstance(plan, SceneOutcome):
                    self._outcomes.append(plan)
                else:
                    self._start(plan)
            task = self._waiting.popleft()
            if not task.job.failed:
                self._submit(task)

    def _try_suspect(self) -> None:
        """When all else is done: a task whose workers died, with nothing beside it that could be the reason."""
        while self._suspects and not self._in_flight:
            task = self._suspects.popleft()
            if not task.job.failed:
                self._alone = task
                self._submit(task)

    def _submit(self, task: _Task) -> None:
        job, block = task.job, task.block
        if block is None:
            self._listen(Event(kind="publishing", scene=job.id))
            computed = Computed.of(self._journal.results(job.id))
            future = self._pool.submit(publish_scene, job.recipe, computed, job.folder, self._options)
        else:
            path = self._journal.folder(job.id) / f"{block.row_off}_{block.col_off}.tif"
            # a damaged file stays damaged; a server may answer the next time
            retries = 2 if any(is_remote(b.href) for b in job.recipe.bands) else 0
            future = self._pool.submit_block(
                job.compute, job.recipe, block, path, self._options.probabilities, retries=retries
            )
            self._n_blocks += 1
        self._in_flight[future] = task
        future.add_done_callback(self._ended.put)

    def _start(self, plan: ScenePlan) -> None:
        scene = plan.recipe.scene
        job = _Job(plan=plan, recipe=plan.recipe, folder=self._output / scene.id, notes=plan.recipe.notes)
        standing = standing_of(job.folder, plan.recipe, self._options)
        refusal = standing.refusal(scene.href, job.folder, overwrite=self._options.overwrite)
        if refusal is not None:
            self._fail(job, refusal)
        elif standing.kind == "done":
            self._journal.forget(job.id)  # a run may have died between the last rename and this
            if self._options.restart:
                self._note(
                    job, "--restart alone leaves finished results as they are: add --overwrite to compute them again"
                )
            self._end(job, status="unchanged")
        else:
            try:
                self._begin(job, standing)
            except GeosegError as error:
                self._fail(job, named(error, scene.href))

    def _begin(self, job: _Job, standing: Standing) -> None:
        """Take up the scene where an earlier run left it, or begin it."""
        probabilities = self._options.probabilities
        rasters = standing.finished is not None and standing.finished.rasters and not self._options.restart
        restored = rasters and undamaged_rasters(job.folder, probabilities=probabilities)
        if not restored:
            recipe, force = job.recipe, self._options.choices.force
            for text in look_for_doubts(recipe.model, recipe.scene, recipe.bands, force=force):
                self._note(job, text)
        key = parts_key(job.recipe, probabilities=probabilities)
        if self._options.restart:
            self._journal.forget(job.id)
        # a run with more workers would cut it otherwise, and do all of it again
        before = self._journal.cut(job.id, key) if self._options.block_size is None else None
        job.blocks = job.plan.blocks if before is None else recut(job.plan, before)
        finished = self._journal.begin(job.id, key, cut_of(job.blocks))
        waiting = [block for block in job.blocks if block not in finished]
        if waiting:
            self._note(job, check_room(self._output, needed_bytes(job.plan, self._options)))
        job.compute = compute_block
        if restored:
            job.compute = partial(restore_block, folder=job.folder)
            self._note(job, "its rasters are finished and unchanged: only what is made from them is made anew")
        job.n_done = job.n_resumed = len(finished)
        if finished:
            pixels = sum(block.height * block.width for block in finished)
            self._listen(Event(kind="resumed", scene=job.id, n_blocks=len(finished), pixels=pixels))
        self._waiting.extend(_Task(job=job, block=block) for block in waiting)
        self._publish_if_complete(job)

    def _publish_if_complete(self, job: _Job) -> None:
        if job.n_done == len(job.blocks):
            self._submit(_Task(job=job))

    def _take(self, future: Any) -> None:
        """What became of a task."""
        task = self._in_flight.pop(future)
        job = task.job
        if task.block is not None:
            self._n_blocks -= 1
        alone, self._alone = self._alone is task, None if self._alone is task else self._alone
        if job.failed:
            return
        if future.status == "finished":
            ended = self._published if task.block is None else self._computed
            try:
                ended(job, future.result())
            except GeosegError as error:  # the journal's disk is full
                self._fail(job, named(error, job.recipe.scene.href, task.where))
            return
        if future.status != "error":
            # cancelled, and not by us: the scheduler went away, or came back without its memory;
            # or lost with a worker that died before its result was fetched
            self._waiting.appendleft(task)
            self._pool.check()
            return
        reason = future.exception()
        if type(reason).__name__ == "KilledWorker" and not alone:
            self._suspects.append(task)
        elif isinstance(reason, DamagedPartsError) and reason.blocks and job.repairs < _REPAIRS:
            self._repair(job, reason)
        else:
            self._fail(job, self._reason(task, reason))

    def _computed(self, job: _Job, result: Any) -> None:
        block = result.part.block
        crash_point("block_done")
        self._journal.add(job.id, result)
        crash_point("block_journaled")
        job.n_done += 1
        self._listen(Event(kind="block", scene=job.id, pixels=block.height * block.width))
        self._publish_if_complete(job)

    def _published(self, job: _Job, result: Any) -> None:
        crash_point("scene_published")
        self._journal.forget(job.id)
        crash_point("scene_forgotten")
        for note in result.notes:
            self._note(job, note)
        self._end(job, status="done", n_polygons=result.n_polygons)

    def _repair(self, job: _Job, error: DamagedPartsError) -> None:
        """Compute damaged blocks again; the others stay."""
        job.repairs += 1
        self._note(job, f"{were(len(error.blocks), 'finished block')} damaged on the disk and computed again")
        self._journal.drop(job.id, error.blocks)
        job.n_done -= len(error.blocks)
        self._waiting.extendleft(_Task(job=job, block=block) for block in error.blocks)

    def _note(self, job: _Job, text: str | None) -> None:
        if text is not None:
            job.notes = (*job.notes, text)
            self._listen(Event(kind="note", scene=job.id, text=text))

    def _reason(self, task: _Task, error: BaseException | None) -> str:
        """Error of a task as a message that names the file, whatever it was."""
        href = task.job.recipe.scene.href
        if type(error).__name__ == "KilledWorker":
            timeout = self._pool.timeout
            reason = "" if timeout is None else f", or was ended after the block timeout of {timeout:g} s,"
            mend = "give it more memory, or fewer --workers"
            return f"{printable(href)}: {task.where}: the worker process died{reason} again and again; {mend}"
        return named(error or RuntimeError("the task was cancelled"), href, task.where)

    def _fail(self, job: _Job, message: str) -> None:
        job.failed = True
        self._pool.client.cancel([f for f, task in self._in_flight.items() if task.job is job])
        self._listen(Event(kind="failed", scene=job.id, text=message))
        self._end(job, status="failed", error=message)

    def _end(self, job: _Job, *, status: Literal["done", "failed", "unchanged"], **what: Any) -> None:
        scene, pixels = job.recipe.scene, math.prod(job.recipe.shape)
        if status != "failed":
            self._listen(Event(kind=status, scene=scene.id, pixels=pixels))
        self._outcomes.append(
            SceneOutcome(
                href=scene.href,
                id=scene.id,
                status=status,
                seconds=time.monotonic() - job.started,
                pixels=pixels,
                n_blocks=len(job.blocks),
                n_resumed=job.n_resumed,
                notes=job.notes,
                table=None if status == "failed" else job.folder / f"{scene.id}_areas.csv",
                # the tables of a run have the same columns, whenever their scenes were finished
                without=() if self._options.probabilities else ("expected_ha",),
                **what,
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
        known = (shown, without_token(shown, href), printable(split_item_name(href)[0]))
        message = str(error) if any(name in str(error) for name in known) else f"{shown}: {error}"
    return without_token(message, href)
