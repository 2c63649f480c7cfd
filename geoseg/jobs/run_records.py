"""What a run leaves beside its scenes: areas.csv, report.html and run.json."""

from datetime import datetime
from typing import Any

from geoseg import __version__
from geoseg.errors import printable
from geoseg.jobs.outcome import Options, SceneOutcome, Summary
from geoseg.jobs.versions import versions
from geoseg.models.load import Model
from geoseg.outputs.records import write_json
from geoseg.outputs.run_page import SceneLine, write_run_page
from geoseg.outputs.tables import write_combined_areas
from geoseg.scene.guard import without_query

__all__ = ["model_and_digest", "write_run_records"]


def write_run_records(summary: Summary, model: Model, options: Options, started: datetime) -> None:
    """Write the areas of all scenes, the page, and the record, in this order: who finds the record finds the others.

    Args:
        summary: Of the run.
        model: As loaded.
        options: What the user chose.
        started: When the run began.

    Raises:
        OutputError: If one of them cannot be written.
    """
    folder = summary.output
    tables = {o.id: o.table for o in summary.outcomes if o.table is not None}
    if tables:
        write_combined_areas(tables, folder / "areas.csv", without=() if options.probabilities else ("expected_ha",))
    write_run_page(
        folder / "report.html",
        [_line(o) for o in (*(() if summary.whole is None else (summary.whole,)), *summary.outcomes)],
        options.choices.decision.legend(model.legend),
        title=f"{folder.resolve().name}: maps by {model.card.name}",
        facts={
            "model": model_and_digest(model),
            "geoseg": __version__,
            "begun": started.isoformat(sep=" ", timespec="seconds"),
            "took": f"{summary.seconds:.1f} s",
        },
    )
    write_json(folder / "run.json", _record(summary, model, options, started))


def model_and_digest(model: Model) -> str:
    """Which model it was, to the bit."""
    return f"{model.card.name} {model.card.version}, {model.digest}"


def _line(outcome: SceneOutcome) -> SceneLine:
    return SceneLine(
        name=outcome.id or _named(outcome),
        status=outcome.status,
        error=outcome.error,
        table=outcome.table,
        seconds=outcome.seconds,
        pixels=outcome.pixels,
        n_polygons=outcome.n_polygons,
        notes=outcome.notes,
    )


def _named(outcome: SceneOutcome) -> str:
    # what follows a question mark is a token more often than not
    return printable(without_query(outcome.href))


def _record(summary: Summary, model: Model, options: Options, started: datetime) -> dict[str, Any]:
    """run.json: what was asked, with what, and what became of each input."""
    return {
        "geoseg": __version__,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(summary.seconds, 3),
        "versions": versions(),
        "model": {"name": model.card.name, "version": model.card.version, "digest": model.digest},
        "options": options.as_asked,
        "scenes": [_became(o) for o in summary.outcomes],
        **({} if summary.whole is None else {"whole": _became(summary.whole)}),
    }


def _became(outcome: SceneOutcome) -> dict[str, Any]:
    return {
        "id": outcome.id,
        "input": _named(outcome),
        "status": outcome.status,
        "error": outcome.error,
        "seconds": round(outcome.seconds, 3),
        "pixels": outcome.pixels,
        "blocks": outcome.n_blocks,
        "resumed": outcome.n_resumed,
        "polygons": outcome.n_polygons,
        "notes": list(outcome.notes),
    }
