"""Pipelines over small scenes, for tests of batches."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from geoseg.jobs.pipeline import Pipeline, load_pipeline

PLAIN: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "inputs": ["in"],
    "model": "kmeans:3",
    "steps": {"segment": {}},
    "output": "out",
}
"""Class maps and areas of all that lies in ``in``, into ``out``."""


def write_pipeline(folder: Path, changes: Mapping[str, Any] | None = None, name: str = "pipeline.yaml") -> Path:
    """A pipeline file in a folder: `PLAIN` with some keys changed, or left out where they are None."""
    content = {k: v for k, v in (PLAIN | dict(changes or {})).items() if v is not None}
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def pipeline_in(folder: Path, **changes: Any) -> Pipeline:
    """A pipeline that was read."""
    return load_pipeline(write_pipeline(folder, changes))


def summary_of(pipeline: Pipeline) -> dict[str, Any]:
    """What the last run left as JSON."""
    content: dict[str, Any] = json.loads(pipeline.summary_file.read_text("utf-8"))
    return content


def edit_state(path: Path, sql: str, *values: object) -> None:
    """Change a state file behind the back of geoseg, as time would."""
    with sqlite3.connect(path) as connection:
        connection.execute(sql, values)
    connection.close()
