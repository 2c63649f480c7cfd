"""Many pairs of class maps: `geoseg change` as a function."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from geoseg.errors import InputError, printable
from geoseg.jobs.change import change_pair
from geoseg.jobs.change_imagery import SIDES, Mapping, Side, find_sides, segmented
from geoseg.jobs.change_maps import as_map, pair_maps, with_unique_names
from geoseg.jobs.change_options import ChangeOptions, MapInput
from geoseg.jobs.cluster import Pool
from geoseg.jobs.lock import hold
from geoseg.jobs.outcome import Event, Listener, SceneOutcome, Summary
from geoseg.jobs.places_run import PlaceJob, record_of, tell, work_on_places
from geoseg.outputs.records import write_json
from geoseg.outputs.staging import clean_leftovers
from geoseg.outputs.tables import write_combined_areas
from geoseg.scene.guard import without_query

__all__ = ["Pair", "change_maps", "compare_pairs", "expected_pairs"]

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
    mapping: Mapping | None = None,
    listen: Listener = _ignore,
) -> Summary:
    """Compare all maps of one date with those of another; a pair that fails never stops the others.

    Imagery is segmented first, into ``output/before`` and ``output/after``.

    Args:
        before: A class map, a folder with finished results of ``geoseg run``, or imagery.
        after: Of the second date.
        output: Folder of all outputs, with a folder for each pair; made if missing.
        options: What the user chose.
        pool: A cluster to work on; by default threads of this process.
        mapping: How imagery becomes class maps.
        listen: Told what happens, in the caller's thread.

    Returns:
        What became of each pair, ``areas`` being its table of pairs of classes, and of each scene that failed before.

    Raises:
        InputError: If a side is nothing that can be compared, or no map of one shows the place of one of the other.
        OutputError: If nothing can be written into the output folder.
    """
    began, started = time.monotonic(), datetime.now(UTC)
    found = find_sides(before, after, output, with_model=mapping is not None)
    maps = [side.maps for side in found]
    if len(maps[0]) > 1 and {m.classes for m in maps[0]} == {m.classes for m in maps[1]}:
        raise InputError(
            f"{printable(before)} and {printable(after)} are the same {len(maps[0])} maps: give the runs of two "
            "dates, or the folders of two scenes in it"
        )
    images = any(side.rasters for side in found)
    # what cannot be paired is known before a folder is made, unless it has to be segmented first
    named, outcomes = ([], []) if images else _paired(found, (before, after), listen)
    with hold(output) as unlocked:
        if unlocked is not None:
            listen(Event(kind="note", scene=printable(output), text=unlocked))
        clean_leftovers(output)
        if images and mapping is not None:
            one, two = (
                segmented(side, output / date, mapping, listen) if side.rasters else side
                for side, date in zip(found, SIDES, strict=True)
            )
            named, outcomes = _paired((one, two), (before, after), listen)
        for outcome in compare_pairs(named, output, options, pool):
            tell(outcome, listen)
            outcomes.append(outcome)
        summary = Summary(output=output, outcomes=tuple(outcomes), seconds=time.monotonic() - began)
        tables = {o.id: o.table for o in outcomes if o.table is not None}
        if tables:
            write_combined_areas(tables, output / "change.csv")
        named_as = {"before": printable(without_query(before)), "after": printable(without_query(after))}
        if mapping is not None:
            named_as |= {"model": mapping.model.card.name, "model_digest": mapping.model.digest}
        write_json(output / "change.json", record_of(summary, "pairs", options.parameters, started, named_as))
    return summary


def expected_pairs(sides: tuple[Side, Side], said: tuple[str, str], listen: Listener = _ignore) -> list[Pair]:
    """What would be compared with what, with the names of the outputs; of imagery the raster stands for its map.

    Args:
        sides: As found.
        said: What the user named.
        listen: Told what has no counterpart.

    Raises:
        InputError: If no map of one side shows the place of one of the other.
    """
    one, two = (Side(maps=(*side.maps, *map(as_map, side.rasters))) for side in sides)
    return _paired((one, two), said, listen)[0]


def _paired(sides: tuple[Side, Side], said: tuple[str, str], listen: Listener) -> tuple[list[Pair], list[SceneOutcome]]:
    """What is compared with what, and what became of scenes that are not."""
    outcomes = [outcome for side in sides for outcome in side.failed]  # of which was told when they failed
    found = pair_maps(sides[0].maps, sides[1].maps)
    for href, text in found.failed:
        outcomes.append(SceneOutcome(href=href, id="", status="failed", error=text))
        listen(Event(kind="failed", scene=href, text=text))
    for note in found.notes:
        listen(Event(kind="note", scene="maps", text=note))
    named = with_unique_names(found.pairs)
    if not named and not outcomes:
        raise InputError(
            f"no map of {printable(said[0])} shows the place of one of {printable(said[1])}: give two dates of "
            "one place"
        )
    return named, outcomes


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
