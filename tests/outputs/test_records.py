import json
import math
from pathlib import Path

import pytest

from geoseg.errors import OutputError
from geoseg.outputs.records import write_json, write_text


def test_json_comes_back(tmp_path: Path) -> None:
    payload = {"scenes": [{"id": "Zürich 東", "seconds": 0.1}], "none": None}
    write_json(tmp_path / "run.json", payload)
    assert json.loads((tmp_path / "run.json").read_text("utf-8")) == payload
    assert (tmp_path / "run.json").read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("payload", [{"a": math.nan}, {"a": object()}])
def test_what_json_cannot_say_is_refused(tmp_path: Path, payload: object) -> None:
    with pytest.raises(OutputError, match=r"cannot write run\.json as JSON: .*give plain finite values"):
        write_json(tmp_path / "run.json", payload)
    assert not list(tmp_path.iterdir())


def test_names_that_are_no_unicode_are_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "scene \udcff")
    assert (tmp_path / "a.txt").read_text() == "scene \\udcff"
