"""Work on the maps of many places: one after the other here, some at a time on a cluster."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from geoseg import __version__
from geoseg.errors import GeosegError, printable
from geoseg.jobs.cluster import LostWorkersError, Pool
from geoseg.jobs.outcome import Event, Listener, SceneOutcome, Summary
from geoseg.jobs.versions import versions

__all__ = ["PlaceJob", "PlaceResult", "record_of", "tell", "work_on_places"]


class PlaceResult(Protocol):
    """What became of one place."""

    @property
    def folder(self) -> Path:
        """Where its outputs are."""

    @property
    def n_polygons(self) -> int | None:
        """None where polygons were not made."""

    @property
    def pixels(self) -> int:
        """Of the common grid."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided and found out."""

    @property
    def unchanged(self) -> bool:
        """Whether the same was finished before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceJob:
    """The work on one place; travels to workers."""

    name: str
    """Of its outputs."""
    inputs: tuple[str, ...]
    """Its maps, by date."""
    function: Callable[..., PlaceResult]
    """Does the work."""
    arguments: tuple[Any, ...]
    """Of the function."""
    table: str
    """What its main table is called: the end of the file's name."""


def work_on_places(jobs: Sequence[PlaceJob], pool: Pool | None) -> Iterator[SceneOutcome]:
    """What becomes of each place, in their order; one that fails never stops the others."""
    waiting = list(jobs)
    running: list[tuple[PlaceJob, float, Callable[[], PlaceResult]]] = []
    while waiting or running:
        # here, one after the other; on a cluster some at a time, each of which has its blocks done by all workers
        while waiting and len(running) < (1 if pool is None else max(1, pool.slots)):
            job, began = waiting.pop(0), time.monotonic()
            if pool is None:
                running.append((job, began, lambda j=job: j.function(*j.arguments)))  # type: ignore[misc]
            else:
                future = pool.submit(job.function, *job.arguments)
                running.append((job, began, lambda f=future: pool.result_of(f)))  # type: ignore[misc]
        job, began, result = running.pop(0)
        href = " and ".join(printable(i) for i in job.inputs)
        try:
            done = result()
        except Exception as error:  # noqa: BLE001 - whatever one place does, it must not stop the others
            seconds = time.monotonic() - began
            yield SceneOutcome(href=href, id=job.name, status="failed", error=_said(error, job.name), seconds=seconds)
            if isinstance(error, LostWorkersError):
                waiting = []  # as in a run: those under way fail, and those after them are not begun
            continue
        yield SceneOutcome(
            href=href,
            id=job.name,
            status="unchanged" if done.unchanged else "done",
            seconds=time.monotonic() - began,
            pixels=done.pixels,
            n_polygons=done.n_polygons,
            notes=done.notes,
            table=done.folder / f"{done.folder.name}_{job.table}.csv",
        )


def _said(error: Exception, name: str) -> str:
    if isinstance(error, GeosegError):
        return f"{printable(name)}: {error}"
    return f"{printable(name)}: unexpected {type(error).__name__}: {printable(error)}; run with -vv and report it"


def tell(outcome: SceneOutcome, listen: Listener) -> None:
    """Tell what became of a place."""
    assert outcome.status != "outside"  # of areas of interest and mosaics, which places have not
    assert outcome.status != "joined"
    for note in outcome.notes:
        listen(Event(kind="note", scene=outcome.id, text=note))
    listen(Event(kind=outcome.status, scene=outcome.id, text=outcome.error or "", pixels=outcome.pixels))


def record_of(
    summary: Summary, kind: str, parameters: Mapping[str, Any], started: datetime, named: Mapping[str, Any]
) -> dict[str, Any]:
    """The record of a run: what was asked, and what became of each place.

    Args:
        summary: What became of it.
        kind: What the places are called, such as ``pairs``.
        parameters: The options.
        started: When it began.
        named: What the user named, by key.
    """
    return {
        "geoseg": __version__,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(summary.seconds, 3),
        "versions": versions(),
        **named,
        "options": dict(parameters),
        kind: [
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
