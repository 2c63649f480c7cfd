import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.errors import ParameterError
from geoseg.outputs.tables import cell, write_areas, write_combined_areas


def table(names: list[str]) -> pd.DataFrame:
    n = len(names)
    return pd.DataFrame(
        {
            "class_id": np.arange(n, dtype=np.uint8),
            "class_name": names,
            "pixels": np.arange(n, dtype=np.int64) * 10**12,
            "area_m2": np.linspace(0, 1, n) / 3,
            "mean_conf": [math.nan] * n,
        }
    )


def rows(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text("utf-8").splitlines()))


def test_numbers_come_back_to_the_last_bit(tmp_path: Path) -> None:
    areas = table(["Wald", "Wasser, tief", 'so "genannt"'])
    write_areas(areas, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes().endswith(b",\n")
    found = rows(tmp_path / "a.csv")[1:]
    assert [r[1] for r in found] == list(areas.class_name)
    assert [int(r[2]) for r in found] == list(areas.pixels)
    assert [float(r[3]) for r in found] == list(areas.area_m2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("\t=1", "\\t=1"),
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("Wald", "Wald"),
        (-2, "-2"),
        (np.float64(0.1), "0.1"),
        (np.uint8(7), "7"),
        (math.nan, ""),
        (None, ""),
        (True, "True"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text(max_size=20), max_size=5))
def test_no_name_breaks_the_table_or_starts_a_formula(tmp_path: Path, names: list[str]) -> None:
    write_areas(table(names), tmp_path / "a.csv")
    found = rows(tmp_path / "a.csv")
    assert [len(r) for r in found] == [5] * (len(names) + 1)
    assert not any(r[1].startswith(("=", "+", "-", "@", "\t", "\r")) for r in found)


def test_scenes_are_put_below_each_other(tmp_path: Path) -> None:
    write_combined_areas({"=s1": table(["a"]), "s2": table(["b", "c"])}, tmp_path / "areas.csv")
    assert [r[:3] for r in rows(tmp_path / "areas.csv")] == [
        ["scene", "class_id", "class_name"],
        ["'=s1", "0", "a"],
        ["s2", "0", "b"],
        ["s2", "1", "c"],
    ]


def test_no_scene_gives_a_header(tmp_path: Path) -> None:
    write_combined_areas({}, tmp_path / "areas.csv")
    assert (tmp_path / "areas.csv").read_text() == "scene\n"


def test_tables_that_differ_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="the areas of 's2' have columns"):
        write_combined_areas({"s1": table(["a"]), "s2": table(["b"]).drop(columns="pixels")}, tmp_path / "areas.csv")


def test_columns_are_written_as_their_values_are_one_by_one(tmp_path: Path) -> None:
    table = pd.DataFrame({
        "mixed": ["=1+1", 1, 1.0, True, None, math.nan],
        "names": pd.array(["Wald", "a, b", 'say "no"', None, "-x", "Wald"], dtype="str"),
        "numbers": [0.1, math.nan, 1e300, -0.0, 1 / 3, math.inf],
        "counts": np.array([2**62, 0, -1, 7, 7, 7]),
        "small": np.array([0.1, 0.5, 1, 2, 3, 4], dtype=np.float32),
    })  # fmt: skip
    path = tmp_path / "all.csv"
    write_areas(table, path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [list(table.columns), *([cell(v) for v in row] for row in table.itertuples(index=False, name=None))]
