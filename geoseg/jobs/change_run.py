"""Many pairs of class maps: `geoseg change` as a function."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.errors import GeosegError, InputError, printable
from geoseg.jobs.change import change_pair
from geoseg.jobs.change_maps import find_maps, pair_maps, with_unique_names
from geoseg.jobs.change_options import ChangeOptions, ChangeResult, MapInput
from geoseg.jobs.cluster import Pool
from geoseg.jobs.lock import hold
from geoseg.jobs.outcome import Event, Listener, SceneOutcome, Summary
from geoseg.jobs.versions import versions
from geoseg.outputs.records import write_json
from geoseg.outputs.staging import clean_leftovers
from geoseg.outputs.tables import write_combined_areas

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
    found = pair_maps(find_maps(before), find_maps(after))
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
            _tell(outcome, listen)
            outcomes.append(outcome)
        summary = Summary(output=output, outcomes=tuple(outcomes), seconds=time.monotonic() - began)
        tables = {o.id: o.table for o in outcomes if o.table is not None}
        if tables:
            write_combined_areas(tables, output / "change.csv")
        write_json(output / "change.json", _record(summary, before, after, options, started))
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
    waiting = list(named)
    running: list[tuple[Pair, float, Callable[[], ChangeResult]]] = []
    while waiting or running:
        # here, one after the other; on a cluster some at a time, each of which has its blocks done by all workers
        while waiting and len(running) < (1 if pool is None else max(1, pool.slots)):
            pair = waiting.pop(0)
            arguments = (*pair[1], output / pair[0], options)
            began = time.monotonic()
            if pool is None:
                running.append((pair, began, lambda a=arguments: change_pair(*a)))  # type: ignore[misc]
            else:
                running.append((pair, began, pool.submit(change_pair, *arguments).result))
        (name, maps), began, result = running.pop(0)
        href = f"{printable(maps[0].classes)} and {printable(maps[1].classes)}"
        try:
            done = result()
        except Exception as error:  # noqa: BLE001 - whatever one pair does, it must not stop the others
            yield SceneOutcome(
                href=href, id=name, status="failed", error=_said(error, name), seconds=time.monotonic() - began
            )
            continue
        yield SceneOutcome(
            href=href,
            id=name,
            status="unchanged" if done.unchanged else "done",
            seconds=time.monotonic() - began,
            pixels=done.pixels,
            n_polygons=done.n_polygons,
            notes=done.notes,
            table=done.folder / f"{done.folder.name}_pairs.csv",
        )


def _said(error: Exception, name: str) -> str:
    if isinstance(error, GeosegError):
        return f"{printable(name)}: {error}"
    return f"{printable(name)}: unexpected {type(error).__name__}: {printable(error)}; run with -vv and report it"


def _tell(outcome: SceneOutcome, listen: Listener) -> None:
    for note in outcome.notes:
        listen(Event(kind="note", scene=outcome.id, text=note))
    listen(Event(kind=outcome.status, scene=outcome.id, text=outcome.error or "", pixels=outcome.pixels))


def _record(summary: Summary, before: str, after: str, options: ChangeOptions, started: datetime) -> dict[str, Any]:
    """change.json: what was asked, and what became of each pair."""
    return {
        "geoseg": __version__,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(summary.seconds, 3),
        "versions": versions(),
        "before": printable(before.split("?", 1)[0]),
        "after": printable(after.split("?", 1)[0]),
        "options": options.parameters,
        "pairs": [
            {
                "id": o.id,
                "input": printable(o.href),
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
