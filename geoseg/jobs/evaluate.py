"""`geoseg evaluate` as a function: class maps in files against references, scene by scene, and what is left of it."""

import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from geoseg import __version__
from geoseg.area.zones import Zones
from geoseg.change.maps import source_of_file
from geoseg.errors import GeosegError, InputError, OutputError, ParameterError, printable
from geoseg.evaluate.evaluation import Evaluation
from geoseg.evaluate.plan import Matching
from geoseg.evaluate.ruler import BorderRule
from geoseg.evaluate.scene_scores import SceneScores, score_scene
from geoseg.evaluate.vector_reference import VectorReference, is_vector, read_vector_reference
from geoseg.jobs.change_options import MapInput
from geoseg.jobs.evaluate_pairs import Scored, ScoredPair, find_references, pair_scenes
from geoseg.jobs.lock import hold
from geoseg.jobs.outcome import Event, Listener
from geoseg.jobs.versions import versions
from geoseg.outputs.evaluation_page import write_evaluation_page
from geoseg.outputs.records import write_json
from geoseg.outputs.staging import clean_leftovers, staging
from geoseg.outputs.tables import write_areas
from geoseg.outputs.together import held_stage
from geoseg.scene.class_raster import open_class_raster
from geoseg.scene.guard import without_query

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EvaluateOptions", "Evaluated", "MadeMaps", "check_output", "evaluate_files", "pairs_of", "vectors_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """What the user may choose of an evaluation."""

    matching: Matching = field(default_factory=Matching)
    """Crosswalk, and classes of the reference to leave out."""
    legend: str | None = None
    """A well-known legend to take class names from, for prediction and reference."""
    borders: BorderRule | None = None
    """What is a border in the right place, where that is wanted."""
    instances: tuple[str, ...] = ()
    """Classes, by name or value, whose objects are to be found."""
    class_column: str = "class"
    """Of a reference of polygons or points."""
    elsewhere: str | None = None
    """Class of what no polygon of a reference covers."""
    zones: Zones | None = None
    """Where scores are wanted for, too."""
    level: float = 0.95
    """Of the intervals, a share."""
    kappa: bool = False
    """Whether kappa is told."""
    overwrite: bool = False
    """Replace finished outputs."""

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ParameterError(f"an interval of level {self.level}: give a share above 0 and below 1, such as 0.95")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """What became of an evaluation."""

    evaluation: Evaluation
    """Of the scenes that could be scored."""
    failed: tuple[tuple[str, str], ...]
    """Names of the others, and why."""
    tables: "dict[str, pd.DataFrame]"
    """By name, as they are written."""
    record: dict[str, Any]
    """All of it as plain values for JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeMaps:
    """Maps that were made in order to be scored."""

    maps: tuple[MapInput, ...]
    """At least one."""
    said: str
    """What the record calls them."""
    failed: tuple[tuple[str, str], ...]
    """Scenes of which there is none, and why."""
    record: dict[str, Any]
    """How they were made, as plain values for JSON."""


def _ignore(_: Event) -> None:
    """Nobody listens."""


def evaluate_files(
    prediction: str | MadeMaps,
    reference: str,
    options: EvaluateOptions,
    *,
    output: Path | None = None,
    listen: Listener = _ignore,
) -> Evaluated:
    """Score class maps in files; a scene that fails never stops the others.

    Args:
        prediction: A class map, or a folder of them: the output of ``geoseg run``, or rasters; or maps that were just
            made.
        reference: Likewise, what is true; or a vector file of polygons or points.
        options: What the user chose.
        output: Folder of the tables, which appear together; None writes nothing.
        listen: Told what happens, in the caller's thread.

    Raises:
        InputError: If either holds no class map, nothing is a pair, or no scene could be scored.
        OutputError: If the folder holds something else, or anything cannot be written.
    """
    started, began = datetime.now(UTC), time.monotonic()
    if output is not None:
        check_output(output, overwrite=options.overwrite)
    vectors = vectors_of(reference, options)
    made = prediction if isinstance(prediction, MadeMaps) else None
    maps = find_references(prediction) if isinstance(prediction, str) else prediction.maps
    found = pairs_of(maps, reference, is_vectors=vectors is not None)
    for note in found.notes:
        listen(Event(kind="note", scene="scenes", text=note))
    for href, text in found.failed:
        listen(Event(kind="failed", scene=printable(href), text=text))
    if vectors is not None and vectors.points is not None and (options.borders is not None or options.instances):
        raise ParameterError(
            f"{vectors.name} holds points, which have no borders and are no objects: leave --boundaries and "
            "--instances out"
        )
    before = [*(() if made is None else made.failed), *found.failed]
    scenes, failed = _scenes(found.pairs, vectors, options, listen, alone=len(found.pairs) == 1 and not before)
    lost = [*before, *failed]
    if not scenes:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise InputError(f"no scene could be scored: {lost[0][1]}{more}")
    evaluation = Evaluation.of(scenes, level=options.level, zone_ids=() if options.zones is None else options.zones.ids)
    tables = _tables(evaluation, options)
    record = {
        "geoseg": __version__,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 3),
        "versions": versions(),
        "prediction": prediction.said if isinstance(prediction, MadeMaps) else printable(without_query(prediction)),
        "reference": printable(without_query(reference)),
        "options": {
            "crosswalk": [asdict(row) for row in options.matching.crosswalk],
            "ignore": list(options.matching.ignore),
            "legend": options.legend,
            "instances": list(options.instances),
            "elsewhere": options.elsewhere,
            "borders": None if options.borders is None else asdict(options.borders),
            "level": options.level,
            "zones": None if options.zones is None else options.zones.digest,
        },
        **({} if made is None else made.record),
        "notes": [*evaluation.notes, *(f"{printable(name)}: {text}" for name, text in _told_once(scenes))],
        "failed": [{"scene": printable(name), "error": text} for name, text in lost],
        **{name: _plain(table) for name, table in tables.items()},
    }
    result = Evaluated(evaluation=evaluation, failed=tuple(lost), tables=tables, record=record)
    if output is not None:
        _write(result, output, overwrite=options.overwrite)
    return result


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse a folder that cannot be made, or is not to be replaced, before any work is done.

    Raises:
        OutputError: If nothing can be written there, or something is there that may not be replaced.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        TemporaryDirectory(prefix=".geoseg-", dir=output.parent).cleanup()
    except OSError as error:
        raise OutputError(
            f"cannot write into {printable(output.parent)}: {(error.strerror or str(error)).lower()}; choose another "
            "--output"
        ) from error
    if not output.exists():
        return
    if not (output / f"{output.resolve().name}.json").is_file():
        raise OutputError(
            f"results would go to {printable(output)}, which is there and holds no evaluation of geoseg; move it away, "
            "or choose another --output"
        )
    if not overwrite:
        raise OutputError(f"{printable(output)} is already there: pass --overwrite or choose another --output")


def vectors_of(reference: str, options: EvaluateOptions) -> VectorReference | None:
    """The polygons or points that a reference is; None where it is rasters.

    Raises:
        InputError: If they cannot be used.
        ParameterError: If they lack the column, or are points that are said to be all that there are.
    """
    if not is_vector(reference):
        return None
    return read_vector_reference(reference, column=options.class_column, elsewhere=options.elsewhere)


def pairs_of(predictions: Sequence[MapInput], reference: str, *, is_vectors: bool) -> Scored:
    """What is held against what; polygons and points are the reference of every prediction.

    Raises:
        InputError: If nothing is a pair.
    """
    if not is_vectors:
        return pair_scenes(predictions, find_references(reference))
    pairs = [ScoredPair(name=m.name, prediction=m, reference=None) for m in predictions]
    return Scored(pairs=tuple(pairs), notes=(), failed=())


def _scenes(
    pairs: Sequence[ScoredPair],
    vectors: VectorReference | None,
    options: EvaluateOptions,
    listen: Listener,
    *,
    alone: bool,
) -> tuple[list[SceneScores], list[tuple[str, str]]]:
    """The scores of each pair, and those that failed; of a pair that is all there is the failure is the whole's."""
    scenes: list[SceneScores] = []
    failed: list[tuple[str, str]] = []
    with ThreadPoolExecutor(os.cpu_count() or 1, "geoseg-evaluate") as pool:
        for pair in pairs:
            try:
                scored = _score(pair, vectors, options, pool)
            except GeosegError as error:
                if alone:
                    raise InputError(f"no scene could be scored: {error}") from error
                failed.append((pair.name, str(error)))
                listen(Event(kind="failed", scene=pair.name, text=f"{printable(pair.name)}: {error}"))
                continue
            listen(Event(kind="done", scene=pair.name, pixels=int(scored.counts.pixels.sum())))
            scenes.append(scored)
    for note in _told_once(scenes):
        listen(Event(kind="note", scene=note[0], text=note[1]))
    return scenes, failed


def _told_once(scenes: Sequence[SceneScores]) -> list[tuple[str, str]]:
    """Each note once, with the scene, or the number of scenes, that it is true of."""
    by_text: dict[str, list[str]] = {}
    for s in scenes:
        for note in s.notes:
            by_text.setdefault(note, []).append(s.name)
    return [(names[0] if len(names) == 1 else f"{len(names)} scenes", text) for text, names in by_text.items()]


def _score(pair: ScoredPair, vectors: VectorReference | None, options: EvaluateOptions, pool: Executor) -> SceneScores:
    raster = open_class_raster(pair.prediction.classes, legend=options.legend)
    mapped = source_of_file(raster, pair.prediction.confidence, pair.prediction.probabilities)
    names = {mapped.name: "the prediction"}
    said = [f"the prediction: {note}" for note in raster.notes]
    if pair.reference is None:
        assert vectors is not None
        vectors.check_names(mapped, options.matching)
        truth = vectors.on(raster.geobox)
    else:
        labels = open_class_raster(pair.reference.classes, legend=options.legend)
        truth = source_of_file(labels)
        said += [f"the reference: {note}" for note in labels.notes]
    names[truth.name] = "the reference"
    found = score_scene(
        pair.name,
        mapped,
        truth,
        pool,
        matching=options.matching,
        borders=options.borders,
        instances=options.instances,
        zones=options.zones,
    )
    for note in found.notes:
        text = note
        for name, what in names.items():  # alike in all scenes, so that it is told once
            text = text.replace(name, what)
        said.append(text)
    return replace(found, notes=tuple(said))


def _tables(evaluation: Evaluation, options: EvaluateOptions) -> "dict[str, pd.DataFrame]":
    several = len(evaluation.scenes) > 1
    tables = {
        "summary": evaluation.summary_table(with_kappa=options.kappa),
        "classes": evaluation.class_table(),
        "scenes": evaluation.scene_table(with_kappa=options.kappa),
        "scene_classes": evaluation.scene_class_table() if several else None,
        "matrix": evaluation.matrix_table(),
        "calibration": evaluation.calibration_table(),
        "objects": evaluation.object_table(),
        "zones": evaluation.zone_table(),
    }
    return {name: table for name, table in tables.items() if table is not None}


def _plain(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows as plain values; what is not known is null."""
    rows: Sequence[dict[str, Any]] = table.astype(object).to_dict(orient="records")  # type: ignore[assignment]
    return [{str(name): _value(v) for name, v in row.items()} for row in rows]


def _value(value: Any) -> Any:
    import pandas as pd

    if pd.isna(value) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    value = getattr(value, "item", lambda: value)()
    return value if isinstance(value, int | float | bool) else printable(value)


def _write(result: Evaluated, output: Path, *, overwrite: bool) -> None:
    name = output.resolve().name
    # others may be at work in that folder: other evaluations, or the run whose results these are of
    with hold(output.parent, Path(f".{name}.lock")), held_stage(output.parent) as hidden:
        clean_leftovers(output.parent, of=name)
        with staging(output, overwrite=overwrite, within=hidden) as stage:
            for kind, table in result.tables.items():
                write_areas(table, stage / f"{name}_{kind}.csv")
            write_json(stage / f"{name}.json", result.record)
            write_evaluation_page(
                stage / f"{name}.html",
                result.evaluation,
                result.tables,
                title=f"{result.record['prediction']} against {result.record['reference']}",
                notes=result.record["notes"],
                failed=result.failed,
            )
