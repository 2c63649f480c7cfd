"""The page of a batch: all its scenes, where that of a run has those that it was given."""

from collections.abc import Iterable

from geoseg import __version__
from geoseg.jobs.batch_report import SceneReport
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.pipeline_options import Asked
from geoseg.jobs.run_records import model_and_digest
from geoseg.outputs.run_page import SceneLine, write_run_page
from geoseg.outputs.together import together

__all__ = ["write_batch_page"]


def write_batch_page(pipeline: Pipeline, asked: Asked, reports: Iterable[SceneReport]) -> None:
    """Write ``report.html`` into the output folder of a pipeline.

    Args:
        pipeline: That was run.
        asked: What it asks for.
        reports: What became of each scene.

    Raises:
        OutputError: If it cannot be written.
    """
    output, model = pipeline.output, asked.model
    lines = []
    for report in reports:
        table = output / report.id / f"{report.id}_areas.csv"
        lines.append(
            SceneLine(
                name=report.id,
                status=report.became,
                error=f"{report.id}: {report.reason}" if report.reason else None,
                table=table if table.is_file() else None,
                seconds=report.seconds,
                pixels=report.pixels,
            )
        )
    # a run that begins in that folder meanwhile, as it may, would clean up what is published the short way
    with together([output / "report.html"]) as (page,):
        write_run_page(
            page,
            lines,
            asked.options.choices.decision.legend(model.legend),
            title=f"{pipeline.spec.name}: maps by {model.card.name}",
            facts={"model": model_and_digest(model), "geoseg": __version__, "pipeline": pipeline.path.name},
            output=output,
        )
