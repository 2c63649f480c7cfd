"""The page of an evaluation: everything in one file, nothing from elsewhere, no text that runs."""

import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import geoseg
from geoseg.evaluate.calibration import Reliability
from geoseg.evaluate.ruler import BorderRule
from geoseg.legend import Legend, LegendClass
from geoseg.outputs.evaluation_page import _diagram, write_evaluation_page
from geoseg.outputs.png import png_bytes
from tests.evaluate.conftest import as_map, mistaken, natural
from tests.outputs.pages import EVIL, Page, decoded


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    legend = Legend(
        classes=tuple(
            LegendClass(value=v, name=n, color=c)
            for v, (n, c) in enumerate(
                zip((EVIL, "forest", "grass", "crop"), ("#0000ff", "#00aa00", "#aaff00", "#ffcc00"), strict=True), 1
            )
        )
    )
    truth = natural()
    mapped, percent = mistaken(truth), np.full(truth.shape, 90, np.uint8)
    found = geoseg.evaluate_map(
        as_map(mapped), as_map(truth), legend=legend, reference_legend=legend, borders=BorderRule(),
        confidence=as_map(percent, legend=None), instances=("forest",),
    )  # fmt: skip
    tables = {
        "summary": found.summary_table(), "classes": found.class_table(), "scenes": found.scene_table(),
        "objects": found.object_table(),
    }  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_evaluation_page(
        path, found, {k: t for k, t in tables.items() if t is not None}, title=EVIL, notes=[EVIL], failed=[(EVIL, EVIL)]
    )
    return Page(path.read_text("utf-8"))


def test_the_page_is_whole_and_holds_everything_itself(page: Page) -> None:
    assert page.open == []
    assert page.tags.count("img") == 36  # twelve windows, three pictures each
    assert page.tags.count("svg") == 2
    assert all(s.startswith("data:image/png;base64,") for s in page.sources)
    for heading in ("Overall", "Classes", "Confusion", "Confidence and accuracy", "Objects", "Scenes", "Where most"):
        assert heading in page.text


def test_headings_of_tables_are_words(page: Page) -> None:
    for heading in ("IoU, low", "mapped, ha", "bias, % of reference", "boundary F1", "AP at 0.5, low", "mean IoU"):
        assert heading in page.text
    assert re.findall(r"\b[a-z0-9]+_(?:low|high|px|ha|pct|m|name|iou|f1)\b|\bn_\w+", page.text) == []


def test_a_text_from_a_file_is_shown_and_never_run(page: Page) -> None:
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in page.text


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_pictures_are_those_of_the_windows(page: Page) -> None:
    pictures = [decoded(b64decode(s.split(",", 1)[1])) for s in page.sources[:3]]
    assert {p.shape for p in pictures} == {(16, 16, 3)}
    differs = (pictures[0] != pictures[1]).any(axis=2)
    wrong = (pictures[2] == (200, 30, 30)).all(axis=2)
    assert wrong.any()
    assert not (wrong & ~differs).any()
    said = re.findall(r"([\d.]+) % of (\d+) px wrong", page.text)[0]
    assert wrong.sum() == round(float(said[0]) / 100 * int(said[1]))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@settings(max_examples=10)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_pictures_read_back_as_they_were(rgb: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(decoded(png_bytes(rgb)), rgb)


def test_a_perfect_map_has_no_worst_window(tmp_path: Path) -> None:
    truth = natural((40, 50))
    found = geoseg.evaluate_map(as_map(truth), as_map(truth))
    tables = {"summary": found.summary_table(), "classes": found.class_table()}
    write_evaluation_page(tmp_path / "p.html", found, tables, title="t", notes=[], failed=[])
    page = Page((tmp_path / "p.html").read_text("utf-8"))
    assert "nothing is wrong" in page.text
    assert "img" not in page.tags


def test_the_reliability_diagram_has_a_bar_and_a_mark_for_each_bin_with_pixels() -> None:
    known = Reliability(
        edges=np.array([0.0, 0.5, 0.75, 1.0]),
        pixels=np.array([0, 30, 10]),
        confidence=np.array([np.nan, 0.7, 0.9]),
        accuracy=np.array([np.nan, 0.6, 0.8]),
    )
    drawn = _diagram(known)
    # 300 px for all of confidence from x = 50, and for all of accuracy from y = 310 up
    assert re.findall(r'<circle cx="([0-9.]+)" cy="([0-9.]+)"', drawn) == [("260.0", "130.0"), ("320.0", "70.0")]
    bars = re.findall(r'<rect x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)" height="([0-9.]+)" fill="#(?:4f|99)', drawn)
    assert bars == [
        ("200.0", "130.0", "74.0", "180.0"), ("200.0", "344", "74.0", "45.0"),
        ("275.0", "70.0", "74.0", "240.0"), ("275.0", "344", "74.0", "15.0"),
    ]  # fmt: skip
    assert f"calibration error {known.ece:.4f}" in drawn
