"""The change between each two dates of a place in one run of a pipeline: what is new or changed is compared."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from geoseg.errors import GeosegError
from geoseg.jobs.batch_pairs import FoundPair, change_folder, shown_pair, survey_pairs
from geoseg.jobs.batch_report import PairBecame, PairReport
from geoseg.jobs.batch_state import PairRow, State
from geoseg.jobs.batch_survey import next_try
from geoseg.jobs.change_maps import find_map
from geoseg.jobs.change_options import ChangeOptions
from geoseg.jobs.change_run import Pair, compare_pairs
from geoseg.jobs.cluster import Pool
from geoseg.jobs.lock import hold
from geoseg.jobs.outcome import Event, Listener, SceneOutcome
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.results import results_in
from geoseg.jobs.retention import remove_results
from geoseg.outputs.staging import clean_leftovers
from geoseg.outputs.tables import write_combined_areas

__all__ = ["ChangeStage"]


@dataclass(slots=True, kw_only=True)
class ChangeStage:
    """The comparisons of one run, with the batch held and its state open."""

    pipeline: Pipeline
    state: State
    options: ChangeOptions
    listen: Listener
    reports: dict[str, PairReport]
    """What became of each, by id, filled as it goes."""
    touched: bool = False
    """Whether any results came or went."""

    def run(self, *, pool: Callable[[], Pool | None], late: Callable[[], bool]) -> int:
        """Compare what is due.

        Args:
            pool: The cluster to work on, if any; asked for only when there is work.
            late: Whether nothing more may be begun.

        Returns:
            Pairs that are left for the next run.
        """
        found = survey_pairs(
            self.pipeline,
            self.state.rows(),
            self.state.pairs(),
            settings=self.options.key(()),
            now=datetime.now(UTC),
        )
        self.state.forget_pairs(self.state.pairs().keys() - {pair.row.id for pair in found})
        for pair in found:
            self.reports[pair.row.id] = _report_of(pair)
        groups = list(self._groups([pair for pair in found if pair.due]))
        if groups and not late():
            with ExitStack() as held:
                # as geoseg run and geoseg change hold them: neither may write what is read or made here
                for folder in (self.pipeline.output, change_folder(self.pipeline)):
                    if (note := held.enter_context(hold(folder))) is not None:
                        self.listen(Event(kind="note", scene=str(folder), text=note))
                clean_leftovers(change_folder(self.pipeline))
                workers = pool()
                while groups and not late():
                    self._group(groups.pop(0), workers)
        return sum(map(len, groups))

    def _groups(self, due: list[FoundPair]) -> Iterator[list[FoundPair]]:
        """Pairs that go together: those that never failed first, and last, each alone, those that a run died with."""
        at_once = self.pipeline.spec.concurrency
        for again in (False, True):
            some = [p for p in due if not p.row.deaths and (p.standing == "quarantined") == again]
            yield from (some[i : i + at_once] for i in range(0, len(some), at_once))
        yield from ([pair] for pair in due if pair.row.deaths)

    def _group(self, pairs: list[FoundPair], pool: Pool | None) -> None:
        self.state.put(
            replace(
                pair.row,
                status="failed" if pair.row.status == "failed" else "begun",
                signature=pair.signature,
                under_way=True,
            )
            for pair in pairs
        )
        by_id = {pair.row.id: pair for pair in pairs}
        named: list[Pair] = []
        for pair in pairs:
            try:
                maps = tuple(find_map(self.pipeline.output / scene) for scene in (pair.row.before, pair.row.after))
            except GeosegError as error:
                self._remember(pair, SceneOutcome(href=pair.id, id=pair.row.id, status="failed", error=str(error)))
                continue
            named.append((pair.row.id, (maps[0], maps[1])))
        for outcome in compare_pairs(named, change_folder(self.pipeline), self.options, pool):
            self._remember(by_id[outcome.id], outcome)

    def _remember(self, pair: FoundPair, outcome: SceneOutcome) -> None:
        for note in outcome.notes:
            self.listen(Event(kind="note", scene=pair.id, text=note))
        assert outcome.status != "outside"  # of areas of interest and mosaics, which pairs have not
        assert outcome.status != "joined"
        report = replace(self.reports[pair.row.id], seconds=outcome.seconds)
        if outcome.status == "failed":
            row = replace(
                pair.row,
                status="failed",
                signature=pair.signature,
                tries=pair.row.tries + 1,
                deaths=0,
                under_way=False,
                reason=outcome.error or "",
                tried_at=datetime.now(UTC).timestamp(),
            )
            at = next_try(row, self.pipeline.spec.retries)
            report = replace(report, became="failed", reason=row.reason, tries=row.tries, next_try=at)
        else:
            results = results_in(change_folder(self.pipeline) / pair.row.id)
            row = PairRow(
                id=pair.row.id,
                before=pair.row.before,
                after=pair.row.after,
                status="done",
                signature=pair.signature,
                # a file that went in this instant: the next run finds no such results, and makes them
                key="" if results is None else results.key,
                # results that a killed run of this pipeline had begun are its own
                own=outcome.status == "done"
                or pair.row.own
                or (pair.row.status == "begun" and pair.row.signature != ""),
            )
            report = replace(report, became=outcome.status, reason="", tries=0, next_try=None)
            self.touched = self.touched or outcome.status == "done"
        self.state.put([row])
        self.reports[pair.row.id] = report
        self.listen(Event(kind=outcome.status, scene=pair.id, text=outcome.error or "", pixels=outcome.pixels))

    def retire(self) -> None:
        """Remove the change to scenes that retention does not keep, where this pipeline made it."""
        scenes = self.state.rows()
        for row in self.state.pairs().values():
            after = scenes.get(row.after)
            if row.status != "done" or not row.own or after is None or after.status != "retired":
                continue
            if remove_results(change_folder(self.pipeline) / row.id, row.key):
                self.touched = True
                text = "older than retention keeps: its results are removed"
                self.listen(Event(kind="note", scene=shown_pair(row.id), text=text))
            self.state.forget_pairs([row.id])
            if row.id in self.reports:
                self.reports[row.id] = replace(self.reports[row.id], became="retired")

    def combine(self) -> None:
        """The changes of all pairs in one table; not of those that are gone, which overlap with others in time."""
        path = change_folder(self.pipeline) / "change.csv"
        if not self.touched and path.is_file():
            return
        there = [name for name, report in self.reports.items() if report.became not in ("gone", "retired")]
        tables = {name: path.parent / name / f"{name}_pairs.csv" for name in sorted(there)}
        tables = {name: table for name, table in tables.items() if table.is_file()}
        if tables:
            write_combined_areas(tables, path)
        else:
            path.unlink(missing_ok=True)


def _report_of(pair: FoundPair) -> PairReport:
    """What is told of a pair of which nothing becomes."""
    became: dict[str, PairBecame] = {"quarantined": "quarantined", "waiting": "waiting", "gone": "gone"}
    return PairReport(
        id=pair.id,
        before=pair.row.before,
        after=pair.row.after,
        became="left" if pair.due else became.get(pair.standing, "unchanged"),  # until something becomes of it
        reason=pair.reason,
        tries=pair.row.tries,
        next_try=pair.next_try,
    )
