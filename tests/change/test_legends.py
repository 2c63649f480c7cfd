"""Two legends as one, by name, by value, by a crosswalk."""

from pathlib import Path

import numpy as np
import pytest

from geoseg.change.index import NONE, UNKNOWN, places
from geoseg.change.legends import CrosswalkRow, common_legend, read_crosswalk
from geoseg.errors import InputError, ParameterError
from geoseg.legend import Legend, LegendClass


def legend(*classes: tuple[int, str], nodata: int = 255) -> Legend:
    colors = ["#0000ff", "#00ff00", "#ff0000", "#ffff00"]
    made = (LegendClass(value=v, name=n, color=c) for (v, n), c in zip(classes, colors, strict=False))
    return Legend(classes=tuple(made), nodata=nodata)


ONE = legend((1, "Water"), (2, "forest"), (3, "bare_soil"))
TWO = legend((10, "Forest"), (20, "water "), (1, "snow"), nodata=0)


def test_classes_are_matched_by_name_whatever_case_and_value() -> None:
    found = common_legend(ONE, TWO, names=("a.tif", "b.tif"))
    assert found.legend.names == ("Water", "forest", "bare_soil", "snow")
    assert found.legend.values[:3] == (1, 2, 3)
    assert found.legend.values[3] == 4  # 1 is taken
    assert [found.after[v] for v in (20, 10, 1, 0)] == [0, 1, 3, NONE]
    assert [found.before[v] for v in (1, 2, 3, 255, 9)] == [0, 1, 2, NONE, UNKNOWN]
    assert found.notes == (
        "only a.tif has: bare_soil",
        "only b.tif has: snow",
        "if some of these mean the same, say which with a crosswalk",
    )


def test_maps_without_a_common_class_are_refused_with_both_legends() -> None:
    with pytest.raises(ParameterError, match=r"no class of a \(Water, forest, bare_soil\) is one of b \(ice\)"):
        common_legend(ONE, legend((1, "ice")), names=("a", "b"))


def test_a_crosswalk_unites_and_renames() -> None:
    rows = [
        CrosswalkRow(side="after", source="snow", target="water"),
        CrosswalkRow(side="both", source="forest", target="trees"),
        CrosswalkRow(side="before", source="3", target="open land"),
    ]
    found = common_legend(ONE, TWO, crosswalk=rows)
    assert found.legend.names == ("Water", "trees", "open land")
    assert [found.after[v] for v in (20, 10, 1)] == [0, 1, 0]
    assert [found.before[v] for v in (1, 2, 3)] == [0, 1, 2]
    assert found.notes == ("only the first map has: open land",)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([CrosswalkRow(side="after", source="moor", target="x")], r"'moor', which is no class of b \(b: Forest"),
        ([CrosswalkRow(side="both", source="moor", target="x")], "no class of a or b"),
        (
            [CrosswalkRow(side="before", source="2", target=t) for t in ("x", "y")],
            "'2' twice: as 'x' and as 'y'",
        ),
    ],
)  # fmt: skip
def test_a_crosswalk_that_does_not_fit_is_refused(rows: list[CrosswalkRow], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        common_legend(ONE, TWO, crosswalk=rows, names=("a", "b"))


def test_a_map_without_names_is_matched_by_value_and_named_by_the_other() -> None:
    plain = Legend.unnamed((1, 3, 7))
    for first, second, named in ((ONE, plain, (True, False)), (plain, ONE, (False, True))):
        found = common_legend(first, second, named=named)
        names = dict(zip(found.legend.values, found.legend.names, strict=True))
        assert names == {1: "Water", 2: "forest", 3: "bare_soil", 7: "class 7"}
        assert "matched by value" in found.notes[0]
    assert common_legend(plain, plain, named=(False, False)).notes == ()
    (note,) = common_legend(plain, Legend.unnamed((2,)), named=(False, False)).notes
    assert note.startswith("warning: no value of the first map (1, 3, 7) is one of another map")
    other = common_legend(ONE, Legend.unnamed((101, 102)), named=(True, False), names=("a", "b"))
    assert "warning: no value of b (101, 102) is one of another map" in other.notes[1]


def test_more_classes_than_can_be_told_apart_are_refused() -> None:
    two = Legend(classes=tuple(LegendClass(value=v, name=f"b{v}", color="#000000") for v in range(1, 200)))
    one = Legend(classes=tuple(LegendClass(value=v, name=f"a{v}", color="#000000") for v in range(1, 200)))
    with pytest.raises(ParameterError, match="398 classes together"):
        common_legend(one, two)


def test_places_are_looked_up_and_what_the_legend_lacks_is_told() -> None:
    found, lacking = places(np.array([[1, 3, 9], [255, 2, 9]], np.uint8), common_legend(ONE, TWO).before)
    assert found.tolist() == [[0, 2, NONE], [NONE, 1, NONE]]
    assert np.flatnonzero(lacking).tolist() == [9]


def test_a_crosswalk_is_read_from_a_table(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_text("# mine\nMap;From;To\nafter;snow;water\n\n;forest;trees\n", encoding="utf-8-sig")
    assert read_crosswalk(path) == (
        CrosswalkRow(side="after", source="snow", target="water"),
        CrosswalkRow(side="both", source="forest", target="trees"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from\nwater\n", "has no column to"),
        ("from,to,why\na,b,c\n", "has a column 'why'"),
        ("from,to,from\na,b,c\n", "has a column"),
        ("from,to\na,b,c\n", "line 2 has 3 cells, the header has 2"),
        ("from,to,map\na,b,during\n", "line 2 is not understood"),
        ("from,to\na,\n", "line 2 is not understood"),
        ("from,to\n", "no rows"),
        ("", "is empty"),
        ("\xff", "UTF-8"),
    ],
)
def test_a_table_that_is_no_crosswalk_is_refused_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "walk.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=said) as refused:
        read_crosswalk(path)
    assert str(refused.value).startswith(str(path))


def test_a_table_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_crosswalk(tmp_path / "none.csv")
    large = tmp_path / "large.csv"
    large.write_bytes(b"a" * (1 << 21))
    with pytest.raises(InputError, match="1 MiB"):
        read_crosswalk(large)
    with pytest.raises(InputError, match="1 MiB"):
        read_crosswalk(tmp_path)
