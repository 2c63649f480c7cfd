"""Worked examples that lie beside the repository, where there are any."""

import json
from pathlib import Path
from typing import Any

import pytest

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference"


@pytest.fixture
def example(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The worked example that a test names, as ``file/id``."""
    name, _, example_id = request.param.partition("/")
    path = REFERENCE / f"{name}.json"
    if not path.is_file():
        pytest.skip("worked examples are not here")
    found: list[dict[str, Any]] = [e for e in json.loads(path.read_text())["examples"] if e["id"] == example_id]
    assert found, f"{request.param} is not among the worked examples"
    return found[0]
