"""The work of a pipeline: scenes that are due, what changed between dates, and what is too old to be kept."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from geoseg.errors import printable
from geoseg.jobs.batch_page import write_batch_page
from geoseg.jobs.batch_pairs import shown_pair
from geoseg.jobs.batch_report import Became, PairReport, SceneReport
from geoseg.jobs.batch_state import PairRow, SceneRow, State
from geoseg.jobs.batch_survey import Found, find_inputs, next_try, shown, signature, survey
from geoseg.jobs.cluster import Pool, connect
from geoseg.jobs.duration import parse_duration
from geoseg.jobs.journal import parts_folder
from geoseg.jobs.lock import STATE
from geoseg.jobs.outcome import Event, Listener, SceneOutcome
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.pipeline_options import Asked
from geoseg.jobs.pipeline_parts import Retention
from geoseg.jobs.results import results_in
from geoseg.jobs.retention import not_worth_computing, remove_old
from geoseg.jobs.run import plan_run, run
from geoseg.jobs.standing import standing_of
from geoseg.jobs.words import counted
from geoseg.outputs.tables import write_combined_areas
from geoseg.outputs.together import together

if TYPE_CHECKING:
    from geoseg.jobs.batch_change import ChangeStage

__all__ = ["Batch", "silent"]


def silent(_: Event) -> None:
    """Nobody listens."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """One run of a pipeline, with the output folder held and the state open."""

    pipeline: Pipeline
    state: State
    asked: Asked
    listen: Listener
    say: Callable[[str], None]
    began: float
    reports: dict[str, SceneReport]
    """What became of each, by input, filled as it goes: refused ones share their ids with others."""
    pairs: dict[str, PairReport]
    """What became of the change between two scenes, by id."""
    workers: ExitStack = field(default_factory=ExitStack)
    """Ends them."""
    pool: Pool | None = None
    """Where blocks are computed, once anything is."""
    touched: bool = False
    """Whether any results came or went."""

    def run(self) -> None:
        """Do all that is due, and report what became of each scene."""
        with self.workers:
            self._run()

    def _run(self) -> None:
        for note in self.asked.notes:
            self.say(note)
        dead = self.state.bury()
        if dead:
            names = ", ".join(printable(shown_pair(row.id) if isinstance(row, PairRow) else row.id) for row in dead)
            self.say(f"an earlier run died while these were under way: {names}; they are tried again, each alone")
        hrefs = find_inputs(self.pipeline)
        if not hrefs:
            self.say(f"{printable(self.pipeline.path)}: no rasters in its inputs now")
        rows = self.state.rows()
        found = survey(self.pipeline, hrefs, rows, settings=self.asked.settings, now=datetime.now(UTC))
        # failed once, and taken away since: nothing is left to tell
        known = {scene.id for scene in found} | {row.id for row in rows.values() if row.status == "retired"}
        self.state.forget(rows.keys() - known)
        for scene in found:
            self.reports[scene.href] = _report_of(scene)
            if scene.standing == "refused":
                self.listen(Event(kind="failed", scene=scene.id, text=scene.reason))
        rule = self.pipeline.spec.retention
        due = [scene for scene in found if scene.due]
        if rule is not None:
            due = self._without_the_old(due)
        self._compute(due)
        # before anything is removed: the change to the previous date is wanted even where that is not kept
        stage = self._compare()
        if rule is not None:
            self._retire(rule)
            if stage is not None:
                stage.retire()
        if self.touched or not (self.pipeline.output / "areas.csv").is_file():
            self._combine()
        if stage is not None:
            stage.combine()
        write_batch_page(self.pipeline, self.asked, self.reports.values())

    def _compute(self, due: list[Found]) -> None:
        groups = list(self._groups(due))
        while groups and not self._late():
            # whoever has nothing to compute starts no workers, and imports no network
            waiting = [scene for scene in groups.pop(0) if not self._adopt(scene)]
            if waiting:
                groups.insert(0, waiting)
                break
        while groups and not self._late():
            self._group([scene for scene in groups.pop(0) if not self._adopt(scene)])
        if groups:
            n = sum(map(len, groups))
            left = f"{counted(n, 'scene')} {'is' if n == 1 else 'are'}"
            self.say(f"the deadline of {self.pipeline.spec.deadline} has passed: {left} left for the next run")

    def _compare(self) -> "ChangeStage | None":
        """Compare each scene with the previous date of its place, where the pipeline asks for it."""
        if self.asked.change is None:
            return None
        from geoseg.jobs.batch_change import ChangeStage

        stage = ChangeStage(
            pipeline=self.pipeline,
            state=self.state,
            options=self.asked.change,
            listen=self.listen,
            reports=self.pairs,
        )
        compute = self.pipeline.spec.compute
        # in one process threads do it: a pair has its blocks done by all of them
        elsewhere = bool(compute.workers or compute.scheduler or compute.scheduler_file)
        left = stage.run(pool=lambda: self._workers() if elsewhere else None, late=self._late)
        if left:
            pairs = f"{counted(left, 'pair')} of dates {'is' if left == 1 else 'are'}"
            self.say(f"the deadline of {self.pipeline.spec.deadline} has passed: {pairs} left for the next run")
        return stage

    def _workers(self) -> Pool:
        """Where blocks are computed; begun when it is first asked for."""
        if self.pool is None:
            pool: Pool = self.workers.enter_context(_pool(self.pipeline, self.asked))
            if pool.remote:
                pool.refuse_workers_without(self.pipeline.output)
            self.pool = pool
        return self.pool

    def _late(self) -> bool:
        deadline = self.pipeline.spec.deadline
        return deadline is not None and time.monotonic() - self.began >= parse_duration(deadline).total_seconds()

    def _groups(self, due: list[Found]) -> Iterator[list[Found]]:
        """Scenes that go together: those that never failed first, and last, each alone, those that a run died with."""
        at_once = self.pipeline.spec.concurrency
        for again in (False, True):
            scenes = [s for s in due if not s.row.deaths and (s.standing == "quarantined") == again]
            yield from (scenes[i : i + at_once] for i in range(0, len(scenes), at_once))
        yield from ([scene] for scene in due if scene.row.deaths)

    def _adopt(self, scene: Found) -> bool:
        """Whether a scene has the very results it would get; then they are taken for done."""
        folder = self.pipeline.output / scene.id
        # a run that died after its last rename has left parts, which the next run of that scene removes
        if not (folder / f"{scene.id}.json").is_file() or parts_folder(self.pipeline.output / STATE, scene.id).exists():
            return False
        now = signature(scene.href)  # before it is opened: what is written into it later is seen the next time
        plan = next(plan_run([scene.href], self.asked.model, self.asked.options, listen=silent))
        if isinstance(plan, SceneOutcome) or standing_of(folder, plan.recipe, self.asked.options).kind != "done":
            return False
        # results that a killed run of this pipeline had begun are its own
        own = scene.row.own or (scene.row.status == "begun" and bool(scene.row.settings))
        self._finish(scene, now, own=own)
        self.reports[scene.href] = replace(self.reports[scene.href], became="unchanged", reason="", tries=0)
        self.listen(Event(kind="unchanged", scene=scene.id))
        return True

    def _group(self, scenes: list[Found]) -> None:
        """Compute scenes at the same time, and remember what became of them."""
        if not scenes:
            return
        now = {scene.href: signature(scene.href) for scene in scenes}
        settings = self.asked.settings
        # begun: should this process die, what lies there then is compared with the input, not trusted
        self.state.put(
            replace(
                scene.row,
                status="failed" if scene.row.status == "failed" else "begun",
                signature=now[scene.href],
                settings=settings,
                under_way=True,
            )
            for scene in scenes
        )
        by_href = {scene.href: scene for scene in scenes}
        # whose results are there, and are others than wanted: these are replaced, and no others
        there = {s.href for s in scenes if (self.pipeline.output / s.id / f"{s.id}.json").is_file()}
        for overwrite in (False, True):
            hrefs = [scene.href for scene in scenes if (scene.href in there) == overwrite]
            if not hrefs:
                continue
            options = replace(self.asked.options, overwrite=overwrite)
            summary = run(
                hrefs, self.pipeline.output, self.asked.model, options, pool=self._workers(), listen=self.listen
            )
            for outcome in summary.outcomes:
                self._remember(by_href[outcome.href], outcome, now[outcome.href])
        self.touched = True

    def _remember(self, scene: Found, outcome: SceneOutcome, now: str) -> None:
        assert outcome.status != "joined"  # a pipeline makes no mosaics
        report = replace(self.reports[scene.href], seconds=outcome.seconds, pixels=outcome.pixels)
        if outcome.status == "failed":
            row = replace(
                scene.row,
                status="failed",
                signature=now,
                settings=self.asked.settings,
                tries=scene.row.tries + 1,
                deaths=0,
                reason=outcome.error or "",
                tried_at=datetime.now(UTC).timestamp(),
            )
            self.state.put([row])
            at = next_try(row, self.pipeline.spec.retries)
            report = replace(report, became="failed", reason=row.reason, tries=row.tries, next_try=at)
        else:
            self._finish(scene, now, own=outcome.status == "done" or scene.row.own)
            reason = outcome.error or ""  # of a scene outside of the area of interest
            report = replace(report, became=outcome.status, reason=reason, tries=0, next_try=None)
        self.reports[scene.href] = report

    def _finish(self, scene: Found, now: str, *, own: bool) -> None:
        results = results_in(self.pipeline.output / scene.id)
        row = SceneRow(
            id=scene.id,
            href=shown(scene.href),
            status="done",
            signature=now,
            settings=self.asked.settings,
            # a file that went in this instant: the next run finds no such results, and makes them
            key="" if results is None else results.key,
            place="" if results is None else results.place,
            acquired="" if results is None else results.acquired,
            own=own,
        )
        self.state.put([row])

    def _without_the_old(self, due: list[Found]) -> list[Found]:
        """Scenes that are worth computing: not those that would be removed at the end of this very run."""
        old = {row.id: row for row in not_worth_computing(self.pipeline, due, self.asked, self.state)}
        self.state.put(old.values())
        for scene in due:
            if scene.id in old:
                self.reports[scene.href] = replace(self.reports[scene.href], became="retired")
                self.listen(Event(kind="note", scene=scene.id, text="older than retention keeps: not computed"))
        return [scene for scene in due if scene.id not in old]

    def _retire(self, rule: Retention) -> None:
        """Remove results that are older than what is kept."""
        by_id = {report.id: href for href, report in self.reports.items() if report.became != "refused"}
        for row, removed in remove_old(self.pipeline.output, self.state, rule):
            if removed:
                self.touched = True
                self.listen(
                    Event(kind="note", scene=row.id, text="older than retention keeps: its results are removed")
                )
            if row.id in by_id:
                self.reports[by_id[row.id]] = replace(self.reports[by_id[row.id]], became="retired")

    def _combine(self) -> None:
        """The areas of all scenes in one table: `run` knows only those that it was given."""
        done = [row.id for row in self.state.rows().values() if row.status == "done"]
        tables = {name: self.pipeline.output / name / f"{name}_areas.csv" for name in sorted(done)}
        tables = {name: table for name, table in tables.items() if table.is_file()}
        path = self.pipeline.output / "areas.csv"
        if tables:
            without = () if self.asked.options.probabilities else ("expected_ha",)
            with together([path]) as (file,):  # as the page: see there
                write_combined_areas(tables, file, without=without)
        else:
            path.unlink(missing_ok=True)


def _report_of(scene: Found) -> SceneReport:
    """What is told of a scene of which nothing becomes."""
    row = scene.row
    became: dict[str, Became] = {
        "quarantined": "quarantined",
        "refused": "refused",
        "retired": "retired",
        "gone": "gone",
    }
    return SceneReport(
        id=row.id,
        href=shown(scene.href),
        became="left" if scene.due else became.get(scene.standing, "unchanged"),  # until something becomes of it
        reason=scene.reason,
        tries=row.tries,
        next_try=scene.next_try,
    )


def _pool(pipeline: Pipeline, asked: Asked) -> Any:
    """Where blocks are computed."""
    from geoseg.inference.engine import choose_device

    compute = pipeline.spec.compute
    elsewhere = compute.scheduler or compute.scheduler_file
    file = None if compute.scheduler_file is None else str(pipeline.resolve(compute.scheduler_file))
    return connect(
        workers=compute.workers,
        scheduler=compute.scheduler,
        scheduler_file=file,
        # the devices of a cluster are its workers' own: this machine need not have one like them
        accelerated=not elsewhere and str(choose_device(asked.options.choices.device).type) != "cpu",
    )
