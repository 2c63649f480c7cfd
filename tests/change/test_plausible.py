"""Transitions that cannot be, from a table."""

from pathlib import Path

import numpy as np
import pytest

from geoseg.change.plausible import PlausibleRow, implausible_pairs, read_plausible
from geoseg.errors import InputError, ParameterError
from geoseg.legend import Legend, LegendClass

LEGEND = Legend(
    classes=(
        LegendClass(value=10, name="water", color="#000000"),
        LegendClass(value=20, name="built", color="#000000"),
        LegendClass(value=30, name="crop", color="#000000"),
    )
)


def test_later_rows_go_before_earlier_ones_and_a_star_is_any_class(tmp_path: Path) -> None:
    path = tmp_path / "plausible.csv"
    path.write_text("from,to,plausible\nBuilt,*,no\n20,30,yes\n*,water,forbidden\n")
    pairs = implausible_pairs(LEGEND, read_plausible(path))
    assert np.argwhere(pairs).tolist() == [[1, 0], [2, 0]]  # what stays water is no transition


def test_a_transition_that_no_row_names_is_plausible() -> None:
    assert not implausible_pairs(LEGEND, ()).any()


def test_a_class_that_neither_map_has_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"'ice', which is no class of the maps \(water, built, crop\)"):
        implausible_pairs(LEGEND, [PlausibleRow(source="ice", target="*", plausible=False)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from,to\na,b\n", "has no column plausible"),
        ("from,to,plausible\na,b,maybe\n", "line 2 is not understood"),
        ("from,to,plausible\n", "no rows"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "plausible.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_plausible(path)
