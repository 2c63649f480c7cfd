"""Where each scene of a pipeline stands, told without opening a raster: what `run` works from and `status` shows."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from geoseg.errors import InputError, printable
from geoseg.jobs.batch_state import PairRow, SceneRow
from geoseg.jobs.duration import parse_duration
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.pipeline_parts import Retries
from geoseg.jobs.places import Dated, older_than_kept
from geoseg.jobs.results import results_in
from geoseg.outputs.names import safe_name
from geoseg.scene.guard import is_remote, without_query
from geoseg.scene.inputs import find_rasters
from geoseg.scene.open import scene_name
from geoseg.scene.products.recognise import local_files

__all__ = ["STANDINGS", "Found", "Standing", "as_text", "find_inputs", "next_try", "shown", "signature", "survey"]

Standing = Literal["done", "new", "changed", "unchecked", "quarantined", "refused", "retired", "gone"]
STANDINGS: dict[Standing, str] = {
    "done": "finished, and nothing has changed since",
    "new": "has no results yet",
    "changed": "has results of another input, model or parameter: they will be replaced",
    "unchecked": "has results that the state does not know: the next run compares them with the input",
    "quarantined": "failed; tried again after a while, up to a limit",
    "refused": "its results would lie where those of another input do",
    "retired": "older than retention keeps: its results were removed, or never made",
    "gone": "its input is not there any more; its results are",
}
"""Where a scene can stand, and what that means."""
_SIDES = ("", ".aux.xml", ".ovr", ".msk")
_TAKEN = frozenset(
    {"areas.csv", "run.json", "report.html", "batch.json", "batch.log", "batch.sqlite", "batch.sqlite.damaged"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where one scene stands."""

    href: str
    """As it is opened: a URL may carry a token, which must not be shown."""
    row: SceneRow
    """What is known; of a new scene just the names."""
    standing: Standing
    """See `STANDINGS`."""
    signature: str = ""
    """Of the file now."""
    reason: str = ""
    """Why it failed, or is refused."""
    due: bool = False
    """Whether the next run works on it."""
    next_try: datetime | None = None
    """When a quarantined scene is tried again; None for never, or for at once where it is due."""

    @property
    def id(self) -> str:
        """Name of its outputs."""
        return self.row.id


def find_inputs(pipeline: Pipeline) -> list[str]:
    """All rasters of a pipeline, now; an empty folder has none, which is no error.

    Raises:
        InputError: If a folder that is named is not there, or the output folder is one of them.
    """
    named = pipeline.inputs()
    try:
        return find_rasters(named, exclude=pipeline.output)
    except InputError as error:
        if "no rasters found" in str(error):
            return []
        raise


def signature(href: str) -> str:
    """What changes when a file does, told without opening it; empty if it is remote or gone.

    Its side files count, and all files of a product.
    The time of the inode's change is in it: a file that is written in place with its old size and time is seen, too.
    Times are only ever compared for being the same.
    """
    if is_remote(href):
        return ""
    stats = []
    # by their names within the product, which may be moved as a whole
    inside = [(str(path), os.path.relpath(path, href)) for path in local_files(href)]
    for name, shown_as in [*((href + ending, ending) for ending in _SIDES), *inside]:
        try:
            info = os.stat(name)  # noqa: PTH116 - pathlib would take a zero byte for a fault of ours
        except (OSError, ValueError):
            continue
        stats.append((shown_as, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_dev))
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest() if stats else ""


def survey(
    pipeline: Pipeline, hrefs: Iterable[str], rows: Mapping[str, SceneRow], *, settings: str, now: datetime
) -> list[Found]:
    """Where each scene stands: inputs in their order, then those whose input is gone.

    Args:
        pipeline: Whose scenes.
        hrefs: From `find_inputs`.
        rows: What the state knows, by id.
        settings: Digest of model and parameters, as in rows; see `settings_of`.
        now: With a time zone.
    """
    taken = _TAKEN if pipeline.spec.steps.change is None else _TAKEN | {"change"}
    owners, refused = _owners(list(hrefs), rows, taken)
    old = _too_old(pipeline, rows)
    found = []
    for href, scene_id in owners:
        if scene_id in refused and refused[scene_id] != href:
            found.append(_refuse(href, scene_id, refused[scene_id]))
            continue
        row = rows.get(scene_id)
        known = shown(href)
        if row is None or row.href != known:
            # the results of a tree that was moved are found under their names, and compared
            row = SceneRow(id=scene_id, href=known, status="begun") if row is None else replace(row, href=known)
            row = replace(row, signature="") if row.status == "done" else row
        found.append(_stand(pipeline, href, row, settings, now, retired=scene_id in old))
    here = {f.row.id for f in found}
    gone = [r for r in rows.values() if r.id not in here and (pipeline.output / r.id / f"{r.id}.json").is_file()]
    return [*found, *(Found(href=r.href, row=r, standing="gone") for r in sorted(gone, key=lambda r: r.id))]


def next_try(row: SceneRow | PairRow, retries: Retries) -> datetime | None:
    """When a scene or a pair that failed may be tried again; None if it was tried often enough.

    Each failure doubles the wait.
    """
    if max(row.tries, row.deaths) >= retries.limit:
        return None
    failed = datetime.fromtimestamp(row.tried_at, UTC)
    if row.tries < 1:
        return failed
    longest = parse_duration(retries.longest)
    # a power of two that no timedelta holds is beyond the longest wait anyway
    factor = 2 ** min(row.tries - 1, 40)
    wait = (
        longest
        if parse_duration(retries.backoff).total_seconds() * factor >= longest.total_seconds()
        else (parse_duration(retries.backoff) * factor)
    )
    return failed + wait


def _stand(pipeline: Pipeline, href: str, row: SceneRow, settings: str, now: datetime, *, retired: bool) -> Found:
    now_signature = signature(href)
    same = row.settings == settings and row.signature == now_signature
    plain = Found(href=href, row=row, standing="new", signature=now_signature, due=True)
    if retired:
        return replace(plain, standing="retired", due=False)
    if row.status == "failed":
        at = next_try(row, pipeline.spec.retries)
        if not same:
            # another file, or another model: what failed before says nothing about it
            return replace(plain, standing="quarantined", reason=row.reason, row=replace(row, tries=0, deaths=0))
        # a failure in the future was recorded by a clock that was wrong
        due = at is not None and (at <= now or row.tried_at > now.timestamp())
        return replace(plain, standing="quarantined", reason=row.reason, due=due, next_try=at)
    if row.status == "begun" and row.deaths >= pipeline.spec.retries.limit:
        reason = f"{row.deaths} runs died while it was under way alone; look at memory, then geoseg batch retry"
        return replace(plain, standing="quarantined", reason=reason, due=False)
    folder = pipeline.output / row.id
    if not (folder / f"{row.id}.json").is_file():
        return plain
    if row.status != "done":
        return replace(plain, standing="unchecked")
    if same and (results := results_in(folder)) is not None and results.key == row.key:
        return replace(plain, standing="done", due=is_remote(href))
    return replace(plain, standing="changed")


def _owners(
    hrefs: list[str], rows: Mapping[str, SceneRow], taken: frozenset[str]
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """The id of each input, and for ids that several inputs would have the one that has it.

    Results are found by name. Whoever has a name keeps it, so that a file that is added never takes the results of
    another; else the first in order has it.
    """
    named = [(href, safe_name(scene_name(href))) for href in hrefs]
    claims: dict[str, list[tuple[str, str]]] = {}
    for href, scene_id in named:
        claims.setdefault(scene_id.casefold(), []).append((href, scene_id))
    owner: dict[str, str] = {}
    for folded, claim in claims.items():
        if folded in taken:
            owner |= {scene_id: "" for _, scene_id in claim}
        elif len(claim) > 1:
            known = {row.href for _, i in claim if (row := rows.get(i)) is not None}
            first = next((href for href, _ in claim if shown(href) in known), claim[0][0])
            owner |= {scene_id: first for _, scene_id in claim}
    return named, owner


def _refuse(href: str, scene_id: str, owner: str) -> Found:
    other = f"those of {printable(shown(owner))}" if owner else "those of the batch itself"
    reason = (
        f"{printable(shown(href))}: its results would go to {printable(scene_id)}, where {other} "
        "are: give the files different names, or their folders a pipeline each"
    )
    row = SceneRow(id=scene_id, href=shown(href), status="failed", reason=reason)
    return Found(href=href, row=row, standing="refused", reason=reason)


def _too_old(pipeline: Pipeline, rows: Mapping[str, SceneRow]) -> set[str]:
    """Scenes of which it is known that retention does not keep them; without results, they are not computed again.

    Only those that were finished once have a date: what is new is computed first.
    """
    rule = pipeline.spec.retention
    if rule is None:
        return set()
    dated = [
        Dated(id=r.id, place=r.place, acquired=r.acquired) for r in rows.values() if r.status in ("done", "retired")
    ]
    old = older_than_kept(dated, keep_dates=rule.keep_dates, keep_days=rule.keep_days)
    return {scene.id for scene in old if rows[scene.id].status == "retired"}


def shown(href: str) -> str:
    """A name as it may be kept and shown: what follows a question mark in a URL is a token more often than not."""
    return without_query(href)


def as_text(moment: datetime | None) -> str:
    """A time for people and for JSON, in UTC."""
    return "" if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
