"""A pipeline run once: what is new or changed is computed, what failed is tried again in time, the rest is left alone.

The results themselves say what is done: their records carry the run key, a hash over input, model and parameters. The
state file remembers what they cannot tell, above all failures, and saves opening what has not changed.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from geoseg.errors import OutputError
from geoseg.jobs.batch_report import BatchReport, PairReport, SceneReport, write_metrics, write_summary
from geoseg.jobs.batch_state import BATCH_LOCK, State
from geoseg.jobs.batch_work import Batch, silent
from geoseg.jobs.lock import hold
from geoseg.jobs.notify import notify
from geoseg.jobs.outcome import Listener
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.pipeline_options import asked_of

__all__ = ["run_batch"]

Say = Callable[[str], None]


def run_batch(pipeline: Pipeline, *, listen: Listener = silent, say: Say = print) -> BatchReport:
    """Run a pipeline once, and leave summary, metrics and areas of all scenes.

    Args:
        pipeline: What is to be done.
        listen: Told what happens to scenes, in the caller's thread.
        say: Told what else a user would want to know, a line each.

    Returns:
        What became of each scene; its exit code is the command's.

    Raises:
        HeldError: If another run of a batch holds the output folder.
        GeosegError: If nothing could start: a model or zones that cannot be used, an output that cannot be written.
            That, too, is in the summary, and told to whoever is to be notified.
    """
    began, started = time.monotonic(), datetime.now(UTC)
    plain = BatchReport(pipeline=pipeline.spec.name, started=started, seconds=0.0)
    with hold(pipeline.output, BATCH_LOCK), State.open(pipeline.state_file, pipeline.spec.name) as state:
        for note in state.notes:
            say(note)
        state.set_fact("started", started.isoformat())
        reports: dict[str, SceneReport] = {}
        pairs: dict[str, PairReport] = {}
        compared = pipeline.spec.steps.change is not None

        def ended(**how: Any) -> BatchReport:
            return replace(
                plain,
                seconds=time.monotonic() - began,
                scenes=tuple(reports.values()),
                pairs=tuple(pairs.values()) if compared else None,
                **how,
            )

        try:
            Batch(
                pipeline=pipeline,
                state=state,
                asked=asked_of(pipeline),
                listen=listen,
                say=say,
                began=began,
                reports=reports,
                pairs=pairs,
            ).run()
        except Exception as error:
            with suppress(OutputError):
                state.nothing_under_way()
                _leave(pipeline, state, ended(error=str(error) or type(error).__name__), say)
            raise
        except BaseException:
            # somebody ends it, and waits: no scene is to blame, and nobody is told
            with suppress(OutputError):
                state.nothing_under_way()
                write_summary(ended(interrupted=True), pipeline.summary_file)
            raise
        report = ended()
        _leave(pipeline, state, report, say)
    return report


def _leave(pipeline: Pipeline, state: State, report: BatchReport, say: Say) -> None:
    """Summary, metrics, and word to whoever is to be told."""
    write_summary(report, pipeline.summary_file)
    if report.exit_code == 0:
        state.set_fact("succeeded", str(report.started.timestamp()))
    if pipeline.metrics_file is not None:
        words = {"failed": "quarantined", "begun": "unfinished"}
        standings = Counter(words.get(row.status, row.status) for row in state.rows().values())
        write_metrics(
            report,
            pipeline.metrics_file,
            standings=standings,
            pair_standings=Counter(words.get(row.status, row.status) for row in state.pairs().values()),
            succeeded=float(state.fact("succeeded") or 0),
        )
    who = pipeline.spec.notify
    if who is not None and (who.when == "always" or report.exit_code):
        for failure in notify(who, report.as_json, pipeline.path.parent):
            say(f"{failure}; what was computed stands")
