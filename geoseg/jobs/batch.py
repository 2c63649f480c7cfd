"""A pipeline run once: what is new or changed is computed, what failed is tried again in time, the rest is left alone.

The results themselves say what is done: their records carry the run key, a hash over input, model and parameters. The
state file remembers what they cannot tell, above all failures, and saves opening what has not changed.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoseg.errors import GeosegError, InputError, OutputError, printable
from geoseg.jobs.batch_lock import alone
from geoseg.jobs.batch_report import BatchReport, SceneReport, write_metrics, write_summary
from geoseg.jobs.batch_state import SceneRow, State
from geoseg.jobs.batch_survey import Found, find_inputs, next_try, shown, signature, survey
from geoseg.jobs.cluster import Pool, connect
from geoseg.jobs.duration import parse_duration
from geoseg.jobs.notify import notify
from geoseg.jobs.outcome import Event, Listener, SceneOutcome
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.pipeline_options import Asked, asked_of
from geoseg.jobs.places import Dated, older_than_kept
from geoseg.jobs.publish import finished_areas
from geoseg.jobs.results import place_of, results_in
from geoseg.jobs.retention import remove_results
from geoseg.jobs.run import plan_run, run
from geoseg.outputs.tables import write_combined_areas

__all__ = ["release", "run_batch"]

Say = Callable[[str], None]
_NOTHING = frozenset({"new", "changed", "unchecked"})


def _silent(_: Event) -> None:
    """Nobody listens."""


def run_batch(pipeline: Pipeline, *, listen: Listener = _silent, say: Say = print) -> BatchReport:
    """Run a pipeline once, and leave summary, metrics and areas of all scenes.

    Args:
        pipeline: What is to be done.
        listen: Told what happens to scenes, in the caller's thread.
        say: Told what else a user would want to know, a line each.

    Returns:
        What became of each scene; its exit code is the command's.

    Raises:
        BusyError: If another run of a batch holds the output folder.
        GeosegError: If nothing could start: a model or zones that cannot be used, an output that cannot be written.
            That, too, is in the summary, and told to whoever is to be notified.
    """
    began, started = time.monotonic(), datetime.now(UTC)
    plain = BatchReport(pipeline=pipeline.spec.name, started=started, seconds=0.0)
    with alone(pipeline.output), State.open(pipeline.state_file, pipeline.spec.name) as state:
        for note in state.notes:
            say(note)
        state.set_fact("started", started.isoformat())
        scenes: list[SceneReport] = []
        try:
            batch = _Batch(
                pipeline=pipeline, state=state, asked=asked_of(pipeline), listen=listen, say=say, began=began
            )
            scenes = batch.run()
        except GeosegError as error:
            report = replace(plain, seconds=time.monotonic() - began, error=str(error))
            with suppress(OutputError):
                _leave(pipeline, state, report, say)
            raise
        except BaseException:
            # somebody ends it, and waits: no scene is to blame, and nobody is told
            state.nothing_under_way()
            with suppress(OutputError):
                write_summary(replace(plain, seconds=time.monotonic() - began, interrupted=True), pipeline.summary_file)
            raise
        report = replace(plain, seconds=time.monotonic() - began, scenes=tuple(scenes))
        _leave(pipeline, state, report, say)
    return report


def release(pipeline: Pipeline, scenes: Sequence[str]) -> list[SceneRow]:
    """Let scenes that failed be tried again by the next run, as if for the first time.

    Args:
        pipeline: Whose scenes.
        scenes: Their ids or their files; none for all.

    Returns:
        The scenes that were released.

    Raises:
        BusyError: If a run is on.
        InputError: If a name is none of a scene that failed.
    """
    with alone(pipeline.output), State.open(pipeline.state_file, pipeline.spec.name) as state:
        failed = {row.id: row for row in state.rows().values() if row.status == "failed" or row.deaths}
        if scenes:
            by_name = {name: row for row in failed.values() for name in (row.id, row.href, Path(row.href).name)}
            places = {str(Path(name).absolute()): name for name in scenes}
            by_name |= {name: by_name[place] for place, name in places.items() if place in by_name}
            if unknown := [name for name in scenes if name not in by_name]:
                known = ", ".join(printable(i) for i in sorted(failed)) or "none"
                raise InputError(f"{printable(unknown[0])} is no scene that failed: those are {known}")
            failed = {by_name[name].id: by_name[name] for name in scenes}
        released = [replace(row, tries=0, deaths=0, tried_at=0.0) for row in failed.values()]
        state.put(released)
    return released


def _leave(pipeline: Pipeline, state: State, report: BatchReport, say: Say) -> None:
    """Summary, metrics, and word to whoever is to be told."""
    write_summary(report, pipeline.summary_file)
    if report.exit_code == 0:
        state.set_fact("succeeded", str(report.started.timestamp()))
    if pipeline.metrics_file is not None:
        words = {"failed": "quarantined", "begun": "unfinished"}
        standings = Counter(words.get(row.status, row.status) for row in state.rows().values())
        write_metrics(report, pipeline.metrics_file, standings=standings, succeeded=float(state.fact("succeeded") or 0))
    who = pipeline.spec.notify
    if who is not None and (who.when == "always" or report.exit_code):
        for failure in notify(who, report.as_json, pipeline.path.parent):
            say(f"{failure}; what was computed stands")


@dataclass(slots=True, kw_only=True)
class _Batch:
    """One run of a pipeline, with the output folder held and the state open."""

    pipeline: Pipeline
    state: State
    asked: Asked
    listen: Listener
    say: Say
    began: float
    reports: dict[str, SceneReport] = field(default_factory=dict)
    """By input: refused ones share their ids with others."""
    touched: bool = False
    """Whether any results came or went."""

    def run(self) -> list[SceneReport]:
        """Do all that is due; what became of each scene."""
        for note in self.asked.notes:
            self.say(note)
        dead = self.state.bury()
        if dead:
            names = ", ".join(printable(row.id) for row in dead)
            self.say(f"an earlier run died while these were under way: {names}; they are tried again, each alone")
        hrefs = find_inputs(self.pipeline)
        if not hrefs:
            self.say(f"{printable(self.pipeline.path)}: no rasters in its inputs now")
        found = survey(
            self.pipeline, hrefs, self.state.rows(), settings=self.asked.settings, now=datetime.now(UTC)
        )  # fmt: skip
        for scene in found:
            self.reports[scene.href] = _report_of(scene)
            if scene.standing == "refused":
                self.listen(Event(kind="failed", scene=scene.id, text=scene.reason))
        self._compute(self._without_the_old([scene for scene in found if scene.due]))
        self._retire()
        if self.touched or not (self.pipeline.output / "areas.csv").is_file():
            self._combine()
        return [self.reports[scene.href] for scene in found]

    def _compute(self, due: list[Found]) -> None:
        groups = list(self._groups(due))
        while groups and not self._late():
            # whoever has nothing to compute starts no workers, and imports no network
            waiting = [scene for scene in groups.pop(0) if not self._adopt(scene)]
            if waiting:
                groups.insert(0, waiting)
                break
        if groups and not self._late():
            with _pool(self.pipeline, self.asked) as pool:
                while groups and not self._late():
                    self._group([scene for scene in groups.pop(0) if not self._adopt(scene)], pool)
        for scene in (scene for group in groups for scene in group):
            self.reports[scene.href] = replace(self.reports[scene.href], became="left")
        if groups:
            n = sum(map(len, groups))
            self.say(f"the deadline of {self.pipeline.spec.deadline} has passed: {n} scenes are left for the next run")

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
        if not (folder / f"{scene.id}.json").is_file():
            return False
        now = signature(scene.href)  # before it is opened: what is written into it later is seen the next time
        plan = next(plan_run([scene.href], self.asked.model, self.asked.options, listen=_silent))
        if isinstance(plan, SceneOutcome) or finished_areas(folder, plan.recipe.key, self.asked.options) is None:
            return False
        # results that a killed run of this pipeline had begun are its own
        own = scene.row.own or (scene.row.status == "begun" and bool(scene.row.settings))
        self._finish(scene, now, own=own)
        self.reports[scene.href] = replace(self.reports[scene.href], became="unchanged", reason="", tries=0)
        self.listen(Event(kind="unchanged", scene=scene.id))
        return True

    def _group(self, scenes: list[Found], pool: Pool) -> None:
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
            summary = run(hrefs, self.pipeline.output, self.asked.model, options, pool=pool, listen=self.listen)
            for outcome in summary.outcomes:
                self._remember(by_href[outcome.href], outcome, now[outcome.href])
        self.touched = True

    def _remember(self, scene: Found, outcome: SceneOutcome, now: str) -> None:
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
            report = replace(report, became=outcome.status, reason="", tries=0, next_try=None)
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
        rule = self.pipeline.spec.retention
        if rule is None:
            return due
        dated = [_dated(row) for row in self.state.rows().values() if row.status in ("done", "retired")]
        fresh: dict[str, Found] = {}
        for scene in due:
            if scene.standing != "new":
                continue
            plan = next(plan_run([scene.href], self.asked.model, self.asked.options, listen=_silent))
            if isinstance(plan, SceneOutcome):
                continue  # it fails, and says so, when it is run
            source = plan.recipe.scene
            acquired = "" if source.acquired is None else source.acquired.isoformat()
            row = replace(scene.row, place=place_of(source.geobox), acquired=acquired)
            fresh[scene.id] = replace(scene, row=row)
            dated = [*(d for d in dated if d.id != scene.id), _dated(row)]
        old = {s.id for s in older_than_kept(dated, keep_dates=rule.keep_dates, keep_days=rule.keep_days)} & set(fresh)
        for scene in (fresh[i] for i in sorted(old)):
            self.state.put([replace(scene.row, status="retired", own=False)])
            self.reports[scene.href] = replace(self.reports[scene.href], became="retired")
            self.listen(Event(kind="note", scene=scene.id, text="older than retention keeps: not computed"))
        return [scene for scene in due if scene.id not in old]

    def _retire(self) -> None:
        """Remove results that are older than what is kept, of those that this pipeline has made."""
        rule = self.pipeline.spec.retention
        rows = self.state.rows()
        if rule is None:
            return
        dated = [_dated(row) for row in rows.values() if row.status in ("done", "retired")]
        by_id = {report.id: href for href, report in self.reports.items() if report.became != "refused"}
        for scene in older_than_kept(dated, keep_dates=rule.keep_dates, keep_days=rule.keep_days):
            row = rows[scene.id]
            if not row.own:
                continue
            # first, so that a removal that is cut off is taken up again, and is not taken for results to be made
            if row.status == "done":
                self.state.put([replace(row, status="retired")])
            if remove_results(self.pipeline.output / row.id, row.key):
                self.touched = True
                self.listen(
                    Event(kind="note", scene=row.id, text="older than retention keeps: its results are removed")
                )
            if row.id in by_id:
                self.reports[by_id[row.id]] = replace(self.reports[by_id[row.id]], became="retired")

    def _combine(self) -> None:
        """The areas of all scenes in one table: `run` knows only those that it was given."""
        tables = {}
        for row in sorted(self.state.rows().values(), key=lambda r: r.id):
            if row.status == "done":
                table = finished_areas(self.pipeline.output / row.id, row.key, self.asked.options)
                if table is not None:
                    tables[row.id] = table
        path = self.pipeline.output / "areas.csv"
        if tables:
            write_combined_areas(tables, path)
        else:
            path.unlink(missing_ok=True)


def _report_of(scene: Found) -> SceneReport:
    """What is told of a scene of which nothing becomes."""
    row = scene.row
    became = {"quarantined": "quarantined", "refused": "refused", "retired": "retired", "gone": "gone"}
    return SceneReport(
        id=row.id,
        href=shown(scene.href),
        became=became.get(scene.standing, "unchanged"),  # type: ignore[arg-type] # one of them
        reason=scene.reason,
        tries=row.tries,
        next_try=scene.next_try,
    )


def _dated(row: SceneRow) -> Dated:
    return Dated(id=row.id, place=row.place, acquired=row.acquired)


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
