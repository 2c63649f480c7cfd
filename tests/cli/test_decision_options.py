"""`geoseg run --cost-matrix`, `--min-confidence` and `--tta`: in every output, and part of what makes a run."""

import csv
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from tests.conftest import Command, WriteScene, read

COSTS = ",class 0,class 1,class 2,class 3\nclass 0,0,1,9,2\nclass 1,1,0,5,2\nclass 2,2,2,0,2\nclass 3,1,4,1,0\n"


@pytest.fixture
def scene(write_scene: WriteScene) -> Path:
    return write_scene(shape=(128, 150), descriptions=("green", "red", "nir"))


def test_undecided_pixels_are_a_class_in_every_output(
    scene: Path, random_unet: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    out = tmp_path / "out"
    ended = geoseg_command("run", scene, "-o", out, "-m", random_unet, "--min-confidence", 0.4, "--probabilities", "-q")
    assert ended.code == 0, ended.err
    classes, confidence = read(out / "scene/scene_classes.tif"), read(out / "scene/scene_confidence.tif")
    undecided = classes == 254
    assert 0 < undecided.sum() < classes.size
    assert confidence[undecided].max() <= 40
    assert confidence[~undecided].min() >= 40
    rows = list(csv.DictReader((out / "scene/scene_areas.csv").read_text("utf-8").splitlines()))
    assert (rows[-1]["class_id"], rows[-1]["class_name"]) == ("254", "undecided")
    assert int(rows[-1]["pixels"]) == undecided.sum()
    assert float(rows[-1]["expected_ha"]) == 0
    # expected areas leave nothing out: the probabilities of undecided pixels are those of the classes
    assert sum(float(r["expected_ha"]) for r in rows) == pytest.approx(sum(float(r["area_ha"]) for r in rows))
    with rasterio.open(out / "scene/scene_probabilities.tif") as dataset:
        assert dataset.descriptions == ("class 0", "class 1", "class 2", "class 3", "undecided")
    polygons = gpd.read_file(out / "scene/scene_polygons.gpkg", layer="landcover")
    assert "undecided" in set(polygons["class_name"])
    item = json.loads((out / "scene/scene.json").read_text("utf-8"))
    assert item["properties"]["geoseg:parameters"]["decision"] == {"costs": None, "min_confidence": 0.4}


def test_another_decision_is_another_run(
    scene: Path, random_unet: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    (tmp_path / "costs.csv").write_text(COSTS, encoding="utf-8")
    common = ("run", scene, "-o", tmp_path / "out", "-m", random_unet, "--no-polygons", "-q", "--window", 64)
    maps: list[NDArray[np.uint8]] = []
    for more in ((), ("--cost-matrix", tmp_path / "costs.csv"), ("--tta", "d4")):
        if maps:
            refused = geoseg_command(*common, *more)
            assert (refused.code, "results of another input, model or options" in refused.err) == (1, True)
        assert geoseg_command(*common, *more, "--overwrite").code == 0
        maps.append(read(tmp_path / "out/scene/scene_classes.tif"))
    assert not np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--min-confidence", 0), "range"),
        (("--tta", "turns"), "'turns' is not one of 'none', 'flips', 'd4'"),
        (
            ("--cost-matrix", "costs.csv", "--min-confidence", 0.5),
            "exclude one another: give the matrix a row 'reject'",
        ),
        (("--cost-matrix", "other.csv"), "the model has no class 'sand'"),
        (("--cost-matrix", "none.csv"), "does not exist"),
    ],
)
def test_what_makes_no_decision_is_refused_before_anything_runs(
    scene: Path, random_unet: Path, tmp_path: Path, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch,
    words: tuple[object, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("costs.csv").write_text(COSTS, encoding="utf-8")
    Path("other.csv").write_text(COSTS.replace("class 3", "sand"), encoding="utf-8")
    ended = geoseg_command("run", scene, "-o", "out", "-m", random_unet, *words)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert not Path("out").exists()
