"""The page of a run: the maps as they are, every text shown and none run, bounded in the number of scenes."""

import re
from base64 import b64decode
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from geoseg.legend import Legend, LegendClass
from geoseg.outputs.run_page import SceneLine, write_run_page
from geoseg.outputs.tables import write_areas
from tests.outputs.pages import EVIL, Page, decoded

LEGEND = Legend(
    classes=(LegendClass(value=1, name=EVIL, color="#0000ff"), LegendClass(value=4, name="forest", color="#00aa00"))
)
COLOURS = {1: (0, 0, 255), 4: (0, 170, 0), 255: (236, 236, 232)}
MAP = np.repeat(np.array([[1, 1, 4, 255]], np.uint8), 6, axis=0)
ERROR = "broken.tif: cannot be opened: check with gdalinfo"


def leave(folder: Path, name: str, classes: NDArray[np.uint8] = MAP) -> Path:
    """What a run leaves of a scene, as far as the page needs it; the table."""
    place = folder / name
    place.mkdir()
    confidence = np.where(classes == 255, 255, np.linspace(0, 100, classes.shape[1]).astype(np.uint8))
    for what, pixels in (("classes", classes), ("confidence", confidence)):
        with rasterio.open(
            place / f"{name}_{what}.tif", "w", driver="GTiff", height=pixels.shape[0], width=pixels.shape[1], count=1,
            dtype="uint8", nodata=255, crs="EPSG:32633", transform=Affine(10, 0, 0, 0, -10, 0),
        ) as dataset:  # fmt: skip
            dataset.write(pixels.astype(np.uint8), 1)
    table = place / f"{name}_areas.csv"
    counts = [int((classes == c.value).sum()) for c in LEGEND]
    rows = {"class_id": LEGEND.class_ids, "class_name": LEGEND.names, "area_m2": [100.0 * n for n in counts]}
    write_areas(pd.DataFrame({**rows, "area_ha": [0.01 * n for n in counts]}), table)
    return table


def page_of(folder: Path, scenes: list[SceneLine]) -> tuple[Page, str]:
    write_run_page(folder / "report.html", scenes, LEGEND, title=EVIL, facts={EVIL: EVIL})
    text = (folder / "report.html").read_text("utf-8")
    return Page(text), text


def test_nothing_is_wider_than_the_page(tmp_path: Path) -> None:
    name = "x" * 100
    _, text = page_of(tmp_path, [SceneLine(name=name, status="done", table=leave(tmp_path, name), notes=("y" * 300,))])
    width = int(re.findall(r"max-width: (\d+)px", text)[0])
    assert width < 1200
    drawings = re.findall(r'<svg [^>]*width="(\d+)" height="(\d+)" viewBox="0 0 (\d+) (\d+)"', text)
    assert len(drawings) == text.count("<svg") == 1
    assert all(int(w) < width and (w, h) == box for w, h, *rest in drawings for box in [tuple(rest)])
    # drawings shrink with the window, texts without a space are broken, and tables move in a frame of their own
    body, rules = text.split("<body>")[1], text.split("<body>")[0]
    assert "svg { max-width: 100%; height: auto; }" in rules
    assert re.search(r"body {[^}]*overflow-wrap: break-word", rules)
    assert re.search(r"figcaption {[^}]*overflow-wrap: anywhere", rules)
    assert body.count("<table") == len(re.findall(r'<div class="wide"><table', body))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pictures_bars_and_links_are_those_of_the_maps(tmp_path: Path) -> None:
    name = 'a#b"><script>?'
    scenes = [
        SceneLine(name=name, status="done", table=leave(tmp_path, name), seconds=2.5, pixels=24, notes=(EVIL,)),
        SceneLine(name=EVIL, status="failed", error=ERROR + EVIL),
    ]
    page, text = page_of(tmp_path, scenes)
    assert page.open == []
    assert "script" not in page.tags
    assert "\x1b" not in page.text
    assert "1 done, 1 failed" in page.text
    assert page.text.index(ERROR) < page.text.index("Share of each class")
    pictures = [decoded(b64decode(s.split(",", 1)[1])) for s in page.sources if s.startswith("data:")]
    np.testing.assert_array_equal(pictures[0], np.array([[COLOURS[v] for v in row] for row in MAP.tolist()]))
    assert pictures[1][0, :, 0].tolist() == [0, 84, 168, 236]  # percents 0, 33, 66, none
    links = [s for s in page.sources if not s.startswith("data:")]
    assert [(tmp_path / unquote(link)).name for link in links] == [
        f"{name}_{end}" for end in ("areas.csv", "classes.tif", "confidence.tif")
    ]
    assert all((tmp_path / unquote(link)).is_file() and not set(link) & set('#?":<>') for link in links)
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', text)]
    assert widths[0] / sum(widths) == pytest.approx(2 / 3, abs=1e-3)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_large_map_is_shown_small_and_a_lost_one_is_said(tmp_path: Path) -> None:
    table = leave(tmp_path, "large", np.full((700, 1000), 4, np.uint8))
    (tmp_path / "large" / "large_confidence.tif").unlink()
    page, _ = page_of(tmp_path, [SceneLine(name="large", status="unchanged", table=table)])
    (picture,) = [decoded(b64decode(s.split(",", 1)[1])) for s in page.sources if s.startswith("data:")]
    assert picture.shape == (179, 256, 3)
    assert "large_confidence.tif" in page.text
    assert "No such file" in page.text


def test_the_page_of_many_scenes_stays_small_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    table = leave(tmp_path, "one")
    scenes = [SceneLine(name="one", status="done", table=table)] * 700
    page, text = page_of(tmp_path, [*scenes, SceneLine(name="x", status="failed", error=ERROR)])
    assert "700 done, 1 failed" in page.text
    assert ERROR in page.text
    assert page.tags.count("img") == 120
    assert page.tags.count("rect") == 400
    assert re.findall(r"and (\d+) more", page.text) == ["500", "640", "201"]
    assert len(text) < 500_000
