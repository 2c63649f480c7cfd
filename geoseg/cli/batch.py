"""`geoseg batch`: a pipeline file run again and again, incrementally."""

import gc
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geoseg.cli.input_options import outside_option
from geoseg.cli.manner import goes_on, talk_options

if TYPE_CHECKING:
    from geoseg.jobs.batch_pairs import FoundPair
    from geoseg.jobs.batch_report import BatchReport, PairReport, SceneReport
    from geoseg.jobs.batch_survey import Found

__all__ = ["batch"]

F = TypeVar("F", bound=Callable[..., Any])


def _file(command: F) -> F:
    kind = click.Path(exists=True, dir_okay=False, path_type=Path)
    return click.argument("file", type=kind, metavar="FILE")(command)


@click.group()
def batch() -> None:
    """Run a pipeline file: again and again, only what is new or changed.

    FILE is YAML; geoseg batch schema prints what it may hold, for editors that check it.
    """


@batch.command("run")
@_file
@outside_option
@talk_options
def run(file: Path, quiet: bool, verbose: int, log_format: str) -> int:
    """Run the pipeline once: what is new or changed is computed, what failed is tried again in time.

    Safe to start twice, and to kill: the second start does nothing and says who is at work, and the next run goes on
    where a killed one was.

    Exit codes: 0 all done; 1 some scenes or pairs failed, the others are done; 2 wrong usage, nothing could start, or
    another run is on; 3 nothing failed, but the deadline left some for the next run; 130 interrupted, 143 terminated.
    """
    from geoseg.cli.show import show_table
    from geoseg.cli.talk import Talk, set_up_logging
    from geoseg.jobs.batch_survey import as_text
    from geoseg.jobs.pipeline import load_pipeline

    goes_on()
    verbosity = -1 if quiet else verbose
    set_up_logging(verbosity, log_format)  # type: ignore[arg-type] # one of click's choices
    pipeline = load_pipeline(file)

    from geoseg.jobs.batch import run_batch

    gc.freeze()
    gc.enable()
    with Talk(verbosity=verbosity, log_format=log_format) as talk:  # type: ignore[arg-type]
        report = run_batch(pipeline, listen=talk, say=talk.say)
        talk.say(_in_words(report))
    if not quiet:
        rows: list[SceneReport | PairReport] = [*report.scenes, *(report.pairs or ())]
        show_table(
            ("scene", "became", "seconds", "tries", "next_try", "reason"),
            [
                (s.id, s.became, f"{s.seconds:.1f}", s.tries, as_text(s.next_try), s.reason)
                for s in rows
                if s.became not in ("unchanged", "gone", "outside")
            ],
        )
    sys.stdout.flush()
    return report.exit_code


@batch.command("status")
@_file
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(file: Path, as_json: bool) -> None:
    """Show where each scene stands: done, new, changed, quarantined with reason, tries and next try.

    So it does of the change between two dates, named change/BEFORE_AFTER, where the pipeline asks for it.

    Nothing is opened, computed or changed. A table on a terminal, CSV in a pipe.
    """
    from geoseg.cli.show import show_table
    from geoseg.jobs.batch_pairs import survey_pairs
    from geoseg.jobs.batch_state import BATCH_LOCK, read_pairs, read_state
    from geoseg.jobs.batch_survey import find_inputs, survey
    from geoseg.jobs.lock import holder_of
    from geoseg.jobs.pipeline import load_pipeline
    from geoseg.jobs.pipeline_options import asked_of

    pipeline = load_pipeline(file)
    rows, fault = read_state(pipeline.state_file)
    asked, now = asked_of(pipeline), datetime.now(UTC)
    found: list[Found | FoundPair] = [*survey(pipeline, find_inputs(pipeline), rows, settings=asked.settings, now=now)]
    if asked.change is not None:
        moving = [scene.id for scene in found if scene.due]
        known, settings = read_pairs(pipeline.state_file), asked.change.key(())
        found += survey_pairs(pipeline, rows, known, settings=settings, now=now, moving=moving)
    holder = holder_of(pipeline.output, BATCH_LOCK)
    if fault:
        click.echo(fault, err=True)
    if holder is not None:
        click.echo(f"a run is on: {holder}", err=True)
    if as_json:
        click.echo(json.dumps([_plain(scene) for scene in found], indent=2))
        return
    show_table(
        ("scene", "standing", "tries", "next_try", "reason", "input"),
        [(s.id, s.standing, s.row.tries, _next(s), s.reason, _input(s)) for s in found],
    )


def _input(scene: "Found | FoundPair") -> str:
    """What it is made of: the file of a scene, the scenes of a change."""
    from geoseg.jobs.batch_survey import Found

    return scene.row.href if isinstance(scene, Found) else f"{scene.row.before} and {scene.row.after}"


def _next(scene: "Found | FoundPair") -> str:
    from geoseg.jobs.batch_survey import as_text

    if scene.standing != "quarantined":
        return ""
    if scene.due:
        return "next run"
    return as_text(scene.next_try) or "never"


def _plain(scene: "Found | FoundPair") -> dict[str, Any]:
    return {
        "scene": scene.id,
        "standing": scene.standing,
        "tries": scene.row.tries,
        "next_try": _next(scene) or None,
        "reason": scene.reason or None,
        "input": _input(scene),
        "due": scene.due,
    }


def _in_words(report: "BatchReport") -> str:
    """One line for people."""
    from geoseg.jobs.duration import said

    named = ("done", "unchanged", "failed", "quarantined", "refused", "waiting", "retired", "left")
    lots: list[list[str]] = [[s.became for s in report.scenes], [p.became for p in report.pairs or ()]]
    counts = [", ".join(f"{n} {name}" for name in named if (n := became.count(name))) for became in lots]
    compared = f"; change: {counts[1] or 'no pairs of dates'}" if report.pairs is not None else ""
    return f"{report.pipeline}: {counts[0] or 'no scenes'}{compared} in {said(report.seconds)}"


@batch.command("validate")
@_file
def validate(file: Path) -> None:
    """Check the file, its model, its zones and its inputs; nothing is computed."""
    from geoseg.jobs.batch_survey import find_inputs
    from geoseg.jobs.pipeline import load_pipeline
    from geoseg.jobs.pipeline_options import asked_of
    from geoseg.jobs.words import counted

    pipeline = load_pipeline(file)
    asked = asked_of(pipeline)
    for note in asked.notes:
        click.echo(note, err=True)
    n = len(find_inputs(pipeline))
    click.echo(
        f"{file}: pipeline {pipeline.spec.name}, model {asked.model.card.name}, {counted(n, 'raster')} now; all is well"
    )


@batch.command("retry")
@_file
@click.argument("scenes", nargs=-1, metavar="[SCENE...]")
def retry(file: Path, scenes: tuple[str, ...]) -> None:
    """Release quarantined scenes, by name or by file, changes by change/NAME, or all: the next run tries them again."""
    from geoseg.jobs.pipeline import load_pipeline

    pipeline = load_pipeline(file)

    from geoseg.jobs.batch_retry import release

    for name in release(pipeline, scenes):
        click.echo(name)


@batch.command("schedule")
@_file
@click.option(
    "--as",
    "kind",
    required=True,
    type=click.Choice(("cron", "systemd", "slurm", "kubernetes", "airflow")),
    help="Whose files to write.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder to write them into [print them]."
)
@click.option("--image", metavar="NAME", help="Image with geoseg in it, for kubernetes [geoseg:VERSION].")
@click.option("--claim", metavar="NAME", help="PersistentVolumeClaim of the data, for kubernetes [geoseg-data].")
@click.option("--mount", metavar="PATH", help="Where it is mounted, for kubernetes [what the paths have in common].")
def schedule(file: Path, kind: str, output: Path | None, **container: str | None) -> None:
    """Write what runs the pipeline on its schedule: a crontab line, systemd units, a SLURM script, a CronJob, a DAG."""
    from geoseg.jobs.pipeline import load_pipeline
    from geoseg.jobs.schedule import Container, schedule_texts
    from geoseg.outputs.records import write_text

    given = {name: value for name, value in container.items() if value is not None}
    if given and kind != "kubernetes":
        raise click.UsageError(f"--{next(iter(given))} is of no use with --as {kind}: it is for kubernetes")
    texts = schedule_texts(load_pipeline(file), kind, Container(**given) if kind == "kubernetes" else None)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if output is not None:
            write_text(output / name, text)
            click.echo(output / name)
        else:
            if len(texts) > 1:
                click.echo(f"# {name}")
            click.echo(text)


@batch.command("serve")
@_file
@click.option("--run-now", is_flag=True, help="Also run at the start, whatever the schedule says.")
@talk_options
def serve(file: Path, run_now: bool, quiet: bool, verbose: int, log_format: str) -> int:
    """Stay in the foreground and run the pipeline on its schedule, each run in a process of its own.

    Runs do not overlap. A run that was missed while this was not running, or the machine slept, is made up once.
    SIGTERM and SIGINT (Ctrl-C) are passed on to the run that is on; when it has ended, this ends with exit code 0.
    """
    from geoseg.cli.talk import Talk, set_up_logging
    from geoseg.jobs.cron import time_zone
    from geoseg.jobs.pipeline import load_pipeline
    from geoseg.jobs.serve import batch_command, cron_trigger, was_missed
    from geoseg.jobs.serve import serve as serve_runs

    verbosity = -1 if quiet else verbose
    set_up_logging(verbosity, log_format)  # type: ignore[arg-type] # one of click's choices
    pipeline = load_pipeline(file)
    when = pipeline.spec.schedule
    if when is None:
        raise click.UsageError(f"{file} has no schedule: add one, such as 'schedule: {{cron: \"0 6 * * 1\"}}'")
    words = ["-q"] * quiet + ["-v"] * verbose + ["--log-format", log_format]
    # plain lines: no progress bar of ours may stand where the runs' own lines go
    with Talk(verbosity=verbosity, log_format="json" if log_format == "json" else "plain") as talk:
        missed = was_missed(pipeline, datetime.now(UTC))
        if missed and not run_now:
            talk.say("a run was missed: it is made up now")
        trigger = cron_trigger(when.times, time_zone(when.time_zone))
        return serve_runs(batch_command(pipeline, *words), trigger, say=talk.say, at_once=run_now or missed)


@batch.command("schema")
def schema() -> None:
    """Print the JSON schema of a pipeline file."""
    from geoseg.jobs.pipeline import pipeline_schema

    click.echo(json.dumps(pipeline_schema(), indent=2))
