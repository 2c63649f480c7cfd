"""The series of many places: `geoseg series` as a function."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from geoseg.errors import printable
from geoseg.jobs.change_options import MapInput
from geoseg.jobs.cluster import Pool
from geoseg.jobs.lock import hold
from geoseg.jobs.outcome import Event, Listener, SceneOutcome, Summary
from geoseg.jobs.places_run import PlaceJob, record_of, tell, work_on_places
from geoseg.jobs.series import one_series
from geoseg.jobs.series_maps import find_series
from geoseg.jobs.series_options import SeriesOptions
from geoseg.outputs.records import write_json
from geoseg.outputs.staging import clean_leftovers
from geoseg.outputs.tables import write_combined_areas
from geoseg.scene.guard import without_query

__all__ = ["series_maps"]


def _ignore(_: Event) -> None:
    """Nobody listens."""


def series_maps(
    named: Sequence[str],
    output: Path,
    options: SeriesOptions,
    *,
    dates: Sequence[datetime] | None = None,
    pool: Pool | None = None,
    listen: Listener = _ignore,
) -> Summary:
    """Go through the maps of each place by date; a place that fails never stops the others.

    Args:
        named: Class maps, folders of finished scenes, and output folders of ``geoseg run``.
        output: Folder of all outputs, with a folder for each place; made if missing.
        options: What the user chose.
        dates: Of the maps of each that is named, where they do not say themselves.
        pool: A cluster to work on; by default threads of this process.
        listen: Told what happens, in the caller's thread.

    Returns:
        What became of each place; ``areas`` is its table of areas by date.

    Raises:
        InputError: If one holds no class map, or no place has maps of three dates.
        ParameterError: If there is not a date for each.
        OutputError: If nothing can be written into the output folder.
    """
    began, started = time.monotonic(), datetime.now(UTC)
    found = find_series(named, dates)
    outcomes = [SceneOutcome(href=href, id="", status="failed", error=text) for href, text in found.failed]
    for outcome in outcomes:
        listen(Event(kind="failed", scene=outcome.href, text=outcome.error or ""))
    for note in found.notes:
        listen(Event(kind="note", scene="maps", text=note))
    with hold(output) as unlocked:
        if unlocked is not None:
            listen(Event(kind="note", scene=printable(output), text=unlocked))
        clean_leftovers(output)
        for outcome in work_on_places([_job(name, maps, output, options) for name, maps in found.series], pool):
            tell(outcome, listen)
            outcomes.append(outcome)
        summary = Summary(output=output, outcomes=tuple(outcomes), seconds=time.monotonic() - began)
        tables = {o.id: o.table for o in outcomes if o.table is not None}
        if tables:
            write_combined_areas(tables, output / "series.csv", without=("mapped_ha", "expected_ha"))
        inputs = {"inputs": [printable(without_query(name)) for name in named]}
        write_json(output / "series.json", record_of(summary, "series", options.parameters, started, inputs))
    return summary


def _job(name: str, maps: tuple[MapInput, ...], output: Path, options: SeriesOptions) -> PlaceJob:
    return PlaceJob(
        name=name,
        inputs=tuple(m.classes for m in maps),
        function=one_series,
        arguments=(maps, output / name, options),
        table="areas",
    )
