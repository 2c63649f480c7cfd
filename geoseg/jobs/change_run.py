"""Many pairs of class maps: `geoseg change` as a function."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from geoseg.errors import InputError, printable
from geoseg.jobs.change import change_pair
from geoseg.jobs.change_maps import find_maps, pair_maps, with_unique_names
from geoseg.jobs.change_options import ChangeOptions, MapInput
from geoseg.jobs.cluster import Pool
from geoseg.jobs.lock import hold
from geoseg.jobs.outcome import Event, Listener, SceneOutcome, Summary
from geoseg.jobs.places_run import PlaceJob, record_of, tell, work_on_places
from geoseg.outputs.records import write_json
from geoseg.outputs.staging import clean_leftovers
from geoseg.outputs.tables import write_combined_areas
from geoseg.scene.guard import without_query

__all__ = ["Pair", "change_maps", "compare_pairs"]

Pair = tuple[str, tuple[MapInput, MapInput]]
"""Name of the outputs, and the maps before and after."""


def _ignore(_: Event) -> None:
    """Nobody listens."""


def change_maps(
    before: str,
    after: str,
    output: Path,
    options: ChangeOptions,
    *,
    pool: Pool | None = None,
    listen: Listener = _ignore,
) -> Summary:
    """Compare all maps of one date with those of another; a pair that fails never stops the others.

    Args:
        before: A class map, or a folder with finished results of ``geoseg run``.
        after: Of the second date.
        output: Folder of all outputs, with a folder for each pair; made if missing.
        options: What the user chose.
        pool: A cluster to work on; by default threads of this process.
        listen: Told what happens, in the caller's thread.

    Returns:
        What became of each pair; ``areas`` is its table of pairs of classes.

    Raises:
        InputError: If a side holds no class map, or no map of one shows the place of one of the other.
        OutputError: If nothing can be written into the output folder.
    """
    began, started = time.monotonic(), datetime.now(UTC)
    sides = find_maps(before), find_maps(after)
    if len(sides[0]) > 1 and {m.classes for m in sides[0]} == {m.classes for m in sides[1]}:
        raise InputError(
            f"{printable(before)} and {printable(after)} are the same {len(sides[0])} maps: give the runs of two "
            "dates, or the folders of two scenes in it"
        )
    found = pair_maps(*sides)
    outcomes = [SceneOutcome(href=href, id="", status="failed", error=text) for href, text in found.failed]
    for outcome in outcomes:
        listen(Event(kind="failed", scene=outcome.href, text=outcome.error or ""))
    for note in found.notes:
        listen(Event(kind="note", scene="maps", text=note))
    named = with_unique_names(found.pairs)
    if not named and not outcomes:
        raise InputError(
            f"no map of {printable(before)} shows the place of one of {printable(after)}: give two dates of one place"
        )
    with hold(output) as unlocked:
        if unlocked is not None:
            listen(Event(kind="note", scene=printable(output), text=unlocked))
        clean_leftovers(output)
        for outcome in compare_pairs(named, output, options, pool):
            tell(outcome, listen)
            outcomes.append(outcome)
        summary = Summary(output=output, outcomes=tuple(outcomes), seconds=time.monotonic() - began)
        tables = {o.id: o.table for o in outcomes if o.table is not None}
        if tables:
            write_combined_areas(tables, output / "change.csv")
        named_as = {"before": printable(without_query(before)), "after": printable(without_query(after))}
        write_json(output / "change.json", record_of(summary, "pairs", options.parameters, started, named_as))
    return summary


def compare_pairs(
    named: Sequence[Pair], output: Path, options: ChangeOptions, pool: Pool | None
) -> Iterator[SceneOutcome]:
    """Compare pairs, and tell what became of each, in their order; one that fails never stops the others.

    Args:
        named: Pairs with unique names.
        output: Folder with a folder for each, there and held.
        options: What the user chose.
        pool: A cluster to work on; None for threads of this process.
    """
    jobs = [
        PlaceJob(
            name=name,
            inputs=tuple(m.classes for m in maps),
            function=change_pair,
            arguments=(*maps, output / name, options),
            table="pairs",
        )
        for name, maps in named
    ]
    return work_on_places(jobs, pool)
