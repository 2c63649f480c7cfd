"""Where the change between two dates of a place stands in a pipeline, told without opening a raster."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from geoseg.errors import printable
from geoseg.jobs.batch_state import PairRow, SceneRow
from geoseg.jobs.batch_survey import next_try, signature
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.places import Dated, pairs
from geoseg.jobs.results import results_in

__all__ = ["CHANGE", "PAIR_STANDINGS", "FoundPair", "PairStanding", "change_folder", "shown_pair", "survey_pairs"]

CHANGE = "change"
"""Folder in the output folder with a folder for each pair."""
PairStanding = Literal["done", "new", "changed", "unchecked", "waiting", "quarantined", "gone"]
PAIR_STANDINGS: dict[PairStanding, str] = {
    "done": "finished, and nothing has changed since",
    "new": "has no results yet",
    "changed": "its maps, or how they are compared, are others than those of its results: they will be replaced",
    "unchecked": "has results that the state does not know: the next run compares them with its maps",
    "waiting": "one of its scenes has no finished results now",
    "quarantined": "failed; tried again after a while, up to a limit",
    "gone": "its scenes do not follow each other any more; its results are there",
}
"""Where a pair can stand, and what that means."""
_MAPS = ("classes", "confidence", "probabilities")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPair:
    """Where the change between two scenes stands."""

    row: PairRow
    """What is known; of a new pair just the names."""
    standing: PairStanding
    """See `PAIR_STANDINGS`."""
    signature: str = ""
    """Of the maps now, and of how they are compared."""
    reason: str = ""
    """Why it failed, or waits."""
    due: bool = False
    """Whether the next run works on it."""
    next_try: datetime | None = None
    """When a quarantined pair is tried again; None for never, or for at once where it is due."""

    @property
    def id(self) -> str:
        """Name of its outputs, as it is shown."""
        return shown_pair(self.row.id)


def shown_pair(pair_id: str) -> str:
    """A pair as it is called in tables and messages: no scene has a slash in its name."""
    return f"{CHANGE}/{pair_id}"


def change_folder(pipeline: Pipeline) -> Path:
    """Folder of the results of all pairs."""
    return pipeline.output / CHANGE


def survey_pairs(
    pipeline: Pipeline,
    scenes: Mapping[str, SceneRow],
    rows: Mapping[str, PairRow],
    *,
    settings: str,
    now: datetime,
    moving: Iterable[str] = (),
) -> list[FoundPair]:
    """Where each pair stands: those that there should be, by place and date, then others that have results.

    Scenes that failed keep their place in the order of dates, so that their neighbours are not compared in between.

    Args:
        pipeline: Whose pairs.
        scenes: What the state knows of scenes, by id.
        rows: What it knows of pairs, by id.
        settings: Digest of how maps are compared.
        now: With a time zone.
        moving: Ids of scenes that the next run computes.
    """
    dated = [
        Dated(id=row.id, place=row.place, acquired=row.acquired) for row in scenes.values() if row.status != "retired"
    ]
    moving = set(moving)
    found = []
    for row in _wanted([(a.id, b.id) for a, b in pairs(dated)], rows):
        both = [scenes[row.before], scenes[row.after]]
        if lacking := [scene.id for scene in both if scene.status != "done"]:
            reason = f"{printable(lacking[0])} has no finished results now"
            found.append(FoundPair(row=row, standing="waiting", reason=reason))
            continue
        stands = _stand(pipeline, row, _signature(pipeline, row, settings), now)
        if stands.standing == "done" and moving & {row.before, row.after}:
            stands = replace(stands, standing="changed", due=True)
        found.append(stands)
    here = {pair.row.id for pair in found}
    return [*found, *_others(pipeline, scenes, (row for row in rows.values() if row.id not in here))]


def _wanted(names: list[tuple[str, str]], rows: Mapping[str, PairRow]) -> list[PairRow]:
    """The rows of pairs of scenes; a pair keeps its name, and a new one gets one that no other has."""
    from geoseg.jobs.change_maps import pair_name  # brings GDAL
    from geoseg.jobs.change_options import MapInput

    known = {(row.before, row.after): row for row in rows.values()}
    taken = {row.id.casefold() for row in rows.values()}
    wanted = []
    for before, after in names:
        row = known.get((before, after))
        if row is None:
            name = pair_name(MapInput(classes="", name=before), MapInput(classes="", name=after))
            if name.casefold() in taken:
                # told apart by what they are, so that it does not matter which came first
                name = f"{name}_{hashlib.sha256(json.dumps([before, after]).encode()).hexdigest()[:8]}"
            taken.add(name.casefold())
            row = PairRow(id=name, before=before, after=after, status="begun")
        wanted.append(row)
    return wanted


def _signature(pipeline: Pipeline, row: PairRow, settings: str) -> str:
    """What changes when a map is made anew, or is to be compared otherwise."""
    maps = [
        signature(str(pipeline.output / scene / f"{scene}_{kind}.tif"))
        for scene in (row.before, row.after)
        for kind in _MAPS
    ]
    return hashlib.sha256(json.dumps([settings, row.before, row.after, maps]).encode()).hexdigest()


def _stand(pipeline: Pipeline, row: PairRow, now_signature: str, now: datetime) -> FoundPair:
    same = row.signature == now_signature
    plain = FoundPair(row=row, standing="new", signature=now_signature, due=True)
    if row.status == "failed":
        at = next_try(row, pipeline.spec.retries)
        if not same:
            # other maps, or other rules: what failed before says nothing about them
            return replace(plain, standing="quarantined", reason=row.reason, row=replace(row, tries=0, deaths=0))
        # a failure in the future was recorded by a clock that was wrong
        due = at is not None and (at <= now or row.tried_at > now.timestamp())
        return replace(plain, standing="quarantined", reason=row.reason, due=due, next_try=at)
    if row.deaths >= pipeline.spec.retries.limit:
        reason = f"{row.deaths} runs died while it was under way alone; look at memory, then geoseg batch retry"
        return replace(plain, standing="quarantined", reason=reason, due=False)
    folder = change_folder(pipeline) / row.id
    if not (folder / f"{row.id}.json").is_file():
        return plain
    if row.status != "done":
        return replace(plain, standing="unchecked")
    if same and (results := results_in(folder)) is not None and results.key == row.key:
        return replace(plain, standing="done", due=False)
    return replace(plain, standing="changed")


def _others(pipeline: Pipeline, scenes: Mapping[str, SceneRow], rows: Iterable[PairRow]) -> list[FoundPair]:
    """Pairs that have results and are not asked for any more.

    That the earlier scene is older than retention keeps does not take the change to the later one away.
    """
    found = []
    for row in rows:
        if row.status == "done" and (change_folder(pipeline) / row.id / f"{row.id}.json").is_file():
            before, after = (scenes.get(name) for name in (row.before, row.after))
            kept = before is not None and before.status == "retired" and after is not None and after.status == "done"
            found.append(FoundPair(row=row, standing="done" if kept else "gone"))
    return sorted(found, key=lambda pair: pair.row.id)
