"""Letting go of scenes that failed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geoseg.errors import InputError, printable
from geoseg.jobs.batch_state import BATCH_LOCK, SceneRow, State
from geoseg.jobs.lock import hold
from geoseg.jobs.pipeline import Pipeline

__all__ = ["release"]


def release(pipeline: Pipeline, scenes: Sequence[str]) -> list[SceneRow]:
    """Let scenes that failed be tried again by the next run, as if for the first time.

    Args:
        pipeline: Whose scenes.
        scenes: Their ids or their files; none for all.

    Returns:
        The scenes that were released.

    Raises:
        HeldError: If a run is on.
        InputError: If a name is none of a scene that failed.
    """
    with hold(pipeline.output, BATCH_LOCK), State.open(pipeline.state_file, pipeline.spec.name) as state:
        failed = {row.id: row for row in state.rows().values() if row.status == "failed" or row.deaths}
        if scenes:
            by_name = {name: row for row in failed.values() for name in (row.id, row.href, Path(row.href).name)}
            places = {str(Path(name).absolute()): name for name in scenes}
            by_name |= {name: by_name[place] for place, name in places.items() if place in by_name}
            if unknown := [name for name in scenes if name not in by_name]:
                known = ", ".join(printable(i) for i in sorted(failed)) or "none"
                raise InputError(f"{printable(unknown[0])} is no scene that failed: those are {known}")
            failed = {by_name[name].id: by_name[name] for name in scenes}
        released = [replace(row, tries=0, deaths=0, tried_at=0.0) for row in failed.values()]
        state.put(released)
    return released
