"""A pipeline file: read, validated with messages that name file, line and key, and resolved to paths."""

import glob
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from geoseg.errors import InputError, printable
from geoseg.jobs.pipeline_parts import (
    Compute,
    Duration,
    Line,
    Notify,
    Part,
    Retention,
    Retries,
    Schedule,
    Written,
)
from geoseg.jobs.pipeline_steps import Steps, VectorizeStep
from geoseg.models.plain_yaml import Lines, PlainYamlError, read_plain_yaml_with_lines
from geoseg.models.spec_file import validated, where

__all__ = ["Pipeline", "PipelineSpec", "load_pipeline", "pipeline_schema"]


_NAME = Written(r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$", "landcover-2 (lower case letters, digits, dashes)")


class PipelineSpec(Part):
    """A pipeline: from a folder of scenes to maps, polygons and areas, again and again."""

    version: Literal[1] = Field(description="Of this format")
    name: Annotated[str, _NAME] = Field(
        description="Lower case letters, digits and dashes; names units, jobs and metrics",
    )
    description: Annotated[str, Field(max_length=1000)] = Field(default="", description="For people")
    inputs: tuple[Line, ...] = Field(
        min_length=1, description="Files, products, STAC items, folders (searched through all levels), globs and URLs"
    )
    model: Line = Field(description="A shipped model, kmeans:K, a card (.yaml), or a file with its card inside")
    trust_model: bool = Field(default=False, description="Accept a model that is a program (TorchScript, .pt2)")
    steps: Steps = Field(
        default=Steps(vectorize=VectorizeStep()), description="What is made of each scene; as geoseg run if left out"
    )
    output: Line = Field(description="Folder of the results, of this pipeline alone")
    compute: Compute = Field(default=Compute(), description="Where it is computed")
    concurrency: int = Field(default=8, ge=1, le=1000, description="Scenes that are under way at the same time")
    retries: Retries = Field(default=Retries(), description="What becomes of scenes that fail")
    retention: Retention | None = Field(default=None, description="Which dates are kept; all if left out")
    deadline: Duration | None = Field(default=None, description="No scene is started when so much time has passed")
    notify: Notify | None = Field(default=None, description="Who is told at the end")
    metrics: Line | None = Field(default=None, description="File for a Prometheus text collector, .prom")
    schedule: Schedule | None = Field(default=None, description="When it runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A pipeline file that was read: relative paths in it start at its folder, wherever it is run from."""

    path: Path
    """The file, absolute."""
    spec: PipelineSpec
    """What it says."""
    lines: Lines = field(repr=False)
    """Where it says it."""

    @property
    def output(self) -> Path:
        """Folder of all results."""
        return self.resolve(self.spec.output)

    @property
    def state_file(self) -> Path:
        """What is known of each scene: one SQLite file; losing it costs time, not truth."""
        return self.output / "batch.sqlite"

    @property
    def summary_file(self) -> Path:
        """What became of the last run, as JSON."""
        return self.output / "batch.json"

    @property
    def metrics_file(self) -> Path | None:
        """For Prometheus."""
        return None if self.spec.metrics is None else self.resolve(self.spec.metrics)

    @property
    def model(self) -> str:
        """The model as `load_model` takes it: a bare word is a shipped one, anything else a path."""
        name = self.spec.model
        is_path = "/" in name or Path(name).suffix != ""
        return str(self.resolve(name)) if is_path else name

    def resolve(self, text: str) -> Path:
        """A path of the file as an absolute one."""
        folder, below = self._split(text)
        return folder / below

    def _split(self, text: str) -> tuple[Path, Path]:
        """The folder that a path starts from, and the rest of it; an absolute path is all rest."""
        folder, below = self.path.parent, Path(text)
        # the folder is the real one, so going up takes its last name away: files are known by their names
        while below.parts[:1] == ("..",):
            folder, below = folder.parent, Path(*below.parts[1:])
        return folder, below

    def inputs(self) -> list[str]:
        """The inputs as `find_rasters` takes them, without those that match nothing.

        Raises:
            InputError: If a folder that is named is not there: an unmounted disk must not pass for an empty one.
        """
        from geoseg.scene.guard import DRIVERS, is_remote  # brings GDAL, which a file need not be read with
        from geoseg.scene.products.band_files import BAND

        named = []
        for i, text in enumerate(self.spec.inputs):
            if is_remote(text):
                named.append(text)
                continue
            path = self.resolve(text)
            if glob.has_magic(text) and not path.exists():
                folder, below = self._split(text)
                # the folder of the file may have brackets in its name, too
                named.append(str(Path(glob.escape(str(folder)), below)))
            elif path.exists() or path.suffix.lower() in DRIVERS or BAND in path.name:
                named.append(str(path))  # a file that is missing is a scene that fails, and is tried again
            else:
                raise InputError(
                    f"{self.where(('inputs', i))}: there is no folder {printable(path)}: check the path, and that "
                    "its disk is mounted"
                )
        return named

    def where(self, key: tuple[str | int, ...]) -> str:
        """File, line and key, for a message."""
        return where(self.path, key, self.lines)


def load_pipeline(path: Path) -> Pipeline:
    """The pipeline in a YAML file.

    Only plain YAML is read: no tags, anchors or aliases, at most 1 MiB, each key once.

    Raises:
        InputError: If the file cannot be read, or breaks a rule; all broken rules are named, with line and key.
    """
    shown = printable(path)
    try:
        content, lines = read_plain_yaml_with_lines(path)
    except PlainYamlError as error:
        raise InputError(f"cannot read the pipeline {shown}: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{shown} is not a pipeline: it should hold keys such as version, name, inputs and output")
    steps = content.get("steps")
    if isinstance(steps, dict):
        # a step that is named and says no more is asked for with its defaults, not left out
        content = content | {"steps": {k: {} if v is None else v for k, v in steps.items()}}
    spec = validated(PipelineSpec, content, path=path, lines=lines, what="pipeline")
    return Pipeline(path=path.parent.resolve() / path.name, spec=spec, lines=lines)


def pipeline_schema() -> dict[str, Any]:
    """JSON schema of a pipeline file, for editors that check YAML while it is written."""
    schema = PipelineSpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
