"""Results that are older than a pipeline keeps: not made, or removed, file by file, where it made them itself."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from geoseg.errors import OutputError, printable
from geoseg.jobs.batch_state import SceneRow, State
from geoseg.jobs.batch_survey import Found
from geoseg.jobs.outcome import SceneOutcome
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.pipeline_options import Asked
from geoseg.jobs.pipeline_parts import Retention
from geoseg.jobs.places import Dated, older_than_kept
from geoseg.jobs.results import place_of, read_item, results_in
from geoseg.jobs.run import plan_run
from geoseg.outputs.aside import fsync_folder

__all__ = ["not_worth_computing", "remove_old", "remove_results"]


def not_worth_computing(pipeline: Pipeline, due: Iterable[Found], asked: Asked, state: State) -> list[SceneRow]:
    """New scenes that are older than what is kept, as rows that say so; what cannot be opened is none of them.

    Args:
        pipeline: Says what is kept.
        due: Scenes to be computed.
        asked: What for.
        state: Knows the dates of the others.
    """
    rule = pipeline.spec.retention
    if rule is None:
        return []
    dated = {row.id: _dated(row) for row in state.rows().values() if row.status in ("done", "retired")}
    new: dict[str, SceneRow] = {}
    for scene in due:
        if scene.standing != "new":
            there = results_in(pipeline.output / scene.id)
            if there is not None and scene.id not in dated:
                dated[scene.id] = Dated(id=scene.id, place=there.place, acquired=there.acquired)
            continue
        plan = next(plan_run([scene.href], asked.model, asked.options))
        if isinstance(plan, SceneOutcome):
            continue  # it fails, and says so, when it is run
        source = plan.recipe.scene
        acquired = "" if source.acquired is None else source.acquired.isoformat()
        new[scene.id] = replace(
            scene.row, status="retired", own=False, place=place_of(plan.recipe.geobox), acquired=acquired
        )
        dated[scene.id] = _dated(new[scene.id])
    return [new[scene.id] for scene in _old(dated.values(), rule) if scene.id in new]


def remove_old(output: Path, state: State, rule: Retention) -> Iterator[tuple[SceneRow, bool]]:
    """Remove what is older than what is kept, of the results that the pipeline made itself.

    Yields:
        The scene, and whether results of it were removed now.

    Raises:
        OutputError: If a file cannot be removed.
    """
    rows = state.rows()
    dated = [_dated(row) for row in rows.values() if row.status in ("done", "retired")]
    for scene in _old(dated, rule):
        row = rows[scene.id]
        if not row.own:
            continue
        # the row first: a removal that is cut off is then taken up again, and not taken for results to be made
        if row.status == "done":
            state.put([replace(row, status="retired")])
        yield row, remove_results(output / row.id, row.key)


def _old(scenes: Iterable[Dated], rule: Retention) -> list[Dated]:
    return older_than_kept(list(scenes), keep_dates=rule.keep_dates, keep_days=rule.keep_days)


def _dated(row: SceneRow) -> Dated:
    return Dated(id=row.id, place=row.place, acquired=row.acquired)


def remove_results(folder: Path, key: str) -> bool:
    """Remove the results of a scene that have this run key, and the folder if nothing else is in it.

    Removed are the files that its record names, with their side files, and the record last, so that a removal that is
    cut off can be taken up again. Whatever else lies in the folder is the user's and stays.

    Returns:
        Whether there were such results.

    Raises:
        OutputError: If a file cannot be removed.
    """
    item = read_item(folder)
    try:
        made = item is not None and item["properties"]["geoseg:parameters"]["key"] == key
        # a record that leads out of the folder is none of ours
        names = [PurePath(asset["href"]) for asset in item["assets"].values()] if item is not None else []
    except (KeyError, TypeError, AttributeError):
        return False
    if not made or folder.is_symlink() or any(name.is_absolute() or len(name.parts) != 1 for name in names):
        return False
    stems = tuple(f"{name.stem}." for name in names if name.stem.startswith(f"{folder.name}_"))
    record = folder / f"{folder.name}.json"
    try:
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith(stems) and entry != record and not entry.is_dir():
                entry.unlink()
        record.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
        fsync_folder(folder.parent)
    except OSError as error:
        raise OutputError(
            f"cannot remove the results in {printable(folder)}, which are older than retention keeps: "
            f"{(error.strerror or str(error)).lower()}; mend that, or leave retention out of the pipeline"
        ) from error
    return True
