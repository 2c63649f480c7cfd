"""Letting go of scenes that failed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geoseg.errors import InputError, printable
from geoseg.jobs.batch_pairs import shown_pair
from geoseg.jobs.batch_state import BATCH_LOCK, PairRow, SceneRow, State
from geoseg.jobs.lock import hold
from geoseg.jobs.pipeline import Pipeline

__all__ = ["release"]


def release(pipeline: Pipeline, scenes: Sequence[str]) -> list[str]:
    """Let scenes and pairs that failed be tried again by the next run, as if for the first time.

    Args:
        pipeline: Whose scenes.
        scenes: Their ids or their files, pairs as in ``change/ID``; none for all.

    Returns:
        Names of what was released.

    Raises:
        HeldError: If a run is on.
        InputError: If a name is none of a scene that failed.
    """
    with hold(pipeline.output, BATCH_LOCK), State.open(pipeline.state_file, pipeline.spec.name) as state:
        rows: list[SceneRow | PairRow] = [*state.rows().values(), *state.pairs().values()]
        failed = {_names(row)[0]: row for row in rows if row.status == "failed" or row.deaths}
        if scenes:
            by_name = {name: known for known, row in failed.items() for name in _names(row)}
            places = {str(Path(name).absolute()): name for name in scenes}
            by_name |= {name: by_name[place] for place, name in places.items() if place in by_name}
            if unknown := [name for name in scenes if name not in by_name]:
                known = ", ".join(printable(i) for i in sorted(failed)) or "none"
                raise InputError(f"{printable(unknown[0])} is no scene that failed: those are {known}")
            failed = {by_name[name]: failed[by_name[name]] for name in scenes}
        state.put(replace(row, tries=0, deaths=0, tried_at=0.0) for row in failed.values())
    return list(failed)


def _names(row: SceneRow | PairRow) -> tuple[str, ...]:
    """What a row may be called, first what it is called in tables."""
    if isinstance(row, PairRow):
        return (shown_pair(row.id),)
    return (row.id, row.href, Path(row.href).name)
