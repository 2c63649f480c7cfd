"""`geoseg evaluate` as a user runs it: class maps and references in, scores out."""

import csv
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from numpy.typing import NDArray
from scipy.ndimage import label

from geoseg.evaluate.scores import Margins, scores
from geoseg.jobs.lock import hold
from geoseg.outputs.staging import clean_leftovers
from tests.cli.test_change import NAMES, UTM, natural, write_map
from tests.conftest import Command


def mistaken(truth: NDArray[np.uint8], *, seed: int) -> NDArray[np.uint8]:
    """Another land in places."""
    mapped, other = np.roll(truth, 1, axis=1), natural(*truth.shape, seed=seed)
    at = np.random.default_rng(seed).random(truth.shape) < 0.1
    mapped[at] = other[at]
    return mapped


@pytest.fixture(scope="module")
def lots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with predictions and labels of three places, named alike."""
    folder = tmp_path_factory.mktemp("lots")
    for i, place in enumerate(("north", "mid", "south")):
        truth = natural(60, 80, seed=i)
        shifted = UTM @ UTM.translation(0, 100 * i)
        write_map(folder / "labels" / f"{place}_label.tif", truth, transform=shifted)
        write_map(folder / "maps" / f"{place}.tif", mistaken(truth, seed=i + 10), transform=shifted)
    return folder


def pixels(folder: Path, place: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    from tests.conftest import read

    return read(folder / "labels" / f"{place}_label.tif"), read(folder / "maps" / f"{place}.tif")


def matrix(truth: NDArray[np.uint8], mapped: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.array([[int(((truth == t) & (mapped == m)).sum()) for m in NAMES] for t in NAMES])


def test_folders_are_scored_scene_by_scene_and_together(lots: Path, tmp_path: Path, geoseg_command: Command) -> None:
    out = tmp_path / "scores"
    ended = geoseg_command("evaluate", lots / "maps", lots / "labels", "-o", out, "--kappa")
    assert ended.code == 0, ended.err
    assert "from 3 scenes, drawn again; so few scenes make them rough" in ended.err
    matrices = {place: matrix(*pixels(lots, place)) for place in ("mid", "north", "south")}
    scenes = pd.read_csv(out / "scores_scenes.csv").set_index("scene")
    assert list(scenes.index) == [*matrices, "all"]
    for name, each in [*matrices.items(), ("all", sum(matrices.values()))]:
        expected = scores(Margins.of(np.asarray(each)))
        for column in ("accuracy", "miou", "fwiou", "kappa"):
            assert scenes[column][name] == pytest.approx(float(getattr(expected, column)), rel=1e-12)
    summary = pd.read_csv(out / "scores_summary.csv").set_index("measure")
    assert (summary.low[:6] <= summary.value[:6]).all()
    assert (summary.value[:6] <= summary.high[:6]).all()
    table = pd.read_csv(out / "scores_matrix.csv")
    counted = table[table.measure == "pixels"][list(NAMES.values())].to_numpy()[:4]
    np.testing.assert_array_equal(counted, sum(matrices.values()))
    record = json.loads((out / "scores.json").read_text())
    assert record["summary"][1]["value"] == pytest.approx(summary.value["miou"])
    assert record["failed"] == []
    page = (out / "scores.html").read_text()
    assert f"{summary.value['miou']:.4f}" in page
    assert page.count("<img") == 36
    assert sorted(p.name for p in out.iterdir()) == [
        "scores.html", "scores.json", "scores_classes.csv", "scores_matrix.csv", "scores_scene_classes.csv",
        "scores_scenes.csv", "scores_summary.csv",
    ]  # fmt: skip


def test_stdout_has_the_classes_as_csv_or_everything_as_json(
    lots: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    words = ("evaluate", lots / "maps/mid.tif", lots / "labels/mid_label.tif")
    plain = geoseg_command(*words)
    rows = list(csv.DictReader(io.StringIO(plain.out)))
    assert [r["class_name"] for r in rows] == list(NAMES.values())
    truth, mapped = pixels(lots, "mid")
    both = (truth != 255) & (mapped != 255)
    hit, either = (truth == 1) & (mapped == 1), ((truth == 1) | (mapped == 1)) & both
    assert float(rows[0]["iou"]) == pytest.approx(hit.sum() / either.sum())
    said = geoseg_command(*words, "--json")
    assert json.loads(said.out)["classes"][0]["iou"] == pytest.approx(float(rows[0]["iou"]))
    assert "they say nothing of other scenes" in said.err
    quiet = geoseg_command(*words, "-q")
    assert (quiet.out, quiet.err) == (plain.out, "")  # the table is all there is
    filed = geoseg_command(*words, "-q", "-o", tmp_path / "scores")
    assert (filed.out, filed.err) == ("", "")


def test_the_level_widens_intervals_and_kappa_is_told_only_when_asked_for(lots: Path, geoseg_command: Command) -> None:
    words = ("evaluate", lots / "maps/mid.tif", lots / "labels/mid_label.tif", "--json")
    narrow, wide = (json.loads(geoseg_command(*words, "--level", level).out)["summary"] for level in (60, 99))
    assert wide[0]["low"] < narrow[0]["low"] < narrow[0]["value"] < narrow[0]["high"] < wide[0]["high"]
    assert "kappa" not in [row["measure"] for row in narrow]


def test_zones_count_what_is_inside_them(lots: Path, tmp_path: Path, geoseg_command: Command) -> None:
    left, top = UTM @ (0, 100)
    zones = gpd.GeoDataFrame(
        {"name": ["west", "east"]},
        geometry=[shapely.box(left, top - 600, left + 300, top), shapely.box(left + 300, top - 600, left + 800, top)],
        crs="EPSG:32633",
    )
    zones.to_file(tmp_path / "zones.gpkg")
    out = tmp_path / "e"
    words = ("evaluate", lots / "maps", lots / "labels", "--zones", tmp_path / "zones.gpkg", "--zone-id", "name")
    assert geoseg_command(*words, "-o", out).code == 0
    table = pd.read_csv(out / "e_zones.csv").set_index(["zone", "class_name"])
    assert "of the maps lies in" not in geoseg_command(*words, "-o", out, "--overwrite").err
    outside = geoseg_command("evaluate", lots / "maps/south.tif", lots / "labels/south_label.tif", *words[3:])
    assert "no pixel of the maps lies in 2 of 2 zones: west, east" in outside.err
    truth, mapped = pixels(lots, "mid")
    for name, part in (("west", np.s_[:, :30]), ("east", np.s_[:, 30:])):
        expected = matrix(truth[part], mapped[part])
        assert table.accuracy[name, "all"] == pytest.approx(np.trace(expected) / expected.sum())
        assert table.pixels[name, "all"] == pytest.approx(expected.sum())
        hit = expected[1, 1]
        assert table.iou[name, "forest"] == pytest.approx(hit / (expected[1].sum() + expected[:, 1].sum() - hit))


def test_a_crosswalk_says_of_which_side_it_speaks(lots: Path, tmp_path: Path, geoseg_command: Command) -> None:
    (tmp_path / "walk.csv").write_text(
        "from,to,map\nwater,wet,reference\nforest,water,reference\nwater,wet,prediction\n"
    )
    words = ("evaluate", lots / "maps/mid.tif", lots / "labels/mid_label.tif", "--json")
    found = json.loads(geoseg_command(*words, "--crosswalk", tmp_path / "walk.csv").out)
    plain = json.loads(geoseg_command(*words).out)
    iou = {row["class_name"]: row["iou"] for row in found["classes"]}
    assert iou["wet"] == pytest.approx(plain["classes"][0]["iou"])
    # forest of the reference is called water, which the prediction now has nowhere
    assert iou["water"] == iou["forest"] == 0
    (tmp_path / "walk.csv").write_text("from,to,map\nwater,wet,before\n")
    refused = geoseg_command(*words, "--crosswalk", tmp_path / "walk.csv")
    assert refused.code == 2
    assert "reference, prediction or both as its map" in refused.err


def test_ignored_classes_of_the_reference_do_not_count(lots: Path, geoseg_command: Command) -> None:
    words = ("evaluate", lots / "maps/mid.tif", lots / "labels/mid_label.tif", "--json")
    found = json.loads(geoseg_command(*words, "--ignore", "water", "--ignore", 2).out)
    truth, mapped = pixels(lots, "mid")
    kept = (truth != 255) & (truth > 2) & (mapped != 255)
    assert found["scenes"][0]["pixels"] == kept.sum()
    assert found["summary"][0]["value"] == pytest.approx((truth == mapped)[kept].mean())


def test_scenes_without_a_name_in_common_are_paired_by_place(
    lots: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    for i, place in enumerate(("south", "north", "mid")):
        truth, _ = pixels(lots, place)
        shifted = UTM @ UTM.translation(0, 100 * ("north", "mid", "south").index(place))
        write_map(tmp_path / "other" / f"t{i}.tif", truth, transform=shifted)
    write_map(tmp_path / "other" / "t9.tif", natural(60, 80), transform=UTM @ UTM.translation(5000, 0))
    ended = geoseg_command("evaluate", lots / "maps", tmp_path / "other", "--json")
    assert "no prediction for t9: left out" in ended.err
    by_name = json.loads(geoseg_command("evaluate", lots / "maps", lots / "labels", "--json").out)
    assert json.loads(ended.out)["scenes"] == by_name["scenes"]


def test_a_scene_that_fails_is_named_and_the_others_are_scored(
    lots: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    for place in ("north", "mid"):
        truth, _ = pixels(lots, place)
        write_map(tmp_path / "labels" / f"{place}.tif", truth)
    (tmp_path / "labels" / "south.tif").write_bytes(b"nothing")
    ended = geoseg_command("evaluate", lots / "maps", tmp_path / "labels", "--json")
    assert ended.code == 1
    assert "south" in ended.err
    record = json.loads(ended.out)
    # the label of mid lies where north does
    assert [s["scene"] for s in record["scenes"]] == ["north"]
    assert sorted(f["scene"] for f in record["failed"]) == ["mid", "south"]


def test_where_all_fail_each_reason_is_said_once(lots: Path, tmp_path: Path, geoseg_command: Command) -> None:
    maps, labels = tmp_path / "maps", tmp_path / "labels"
    truth, mapped = pixels(lots, "mid")
    write_map(labels / "mid.tif", truth)
    for name in ("mid", "north"):
        write_map(maps / f"{name}.tif", mapped, transform=UTM @ UTM.translation(0, 5000))
    alone = geoseg_command("evaluate", maps / "mid.tif", labels / "mid.tif")
    assert alone.code == 2
    assert alone.err.count("do not overlap") == 1
    for name in ("one", "two"):  # paired with north by place, if they could be read
        (labels / f"{name}.tif").write_bytes(b"nothing")
    every = geoseg_command("evaluate", maps, labels)
    assert every.code == 2
    assert "do not overlap" in every.err
    assert "one.tif: cannot be opened" in every.err
    assert "two.tif: cannot be opened" in every.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("maps", "nowhere"), "there is no such file or folder"),
        (("maps/mid.tif", "labels/north_label.tif"), "do not overlap"),
        (("maps", "labels", "--level", "20"), "50<=x<=99.99"),
        (("maps", "labels", "--ignore", "snow"), "'snow' is to be left out"),
        (("maps", "labels", "--zones", "labels"), "--zones and --zone-id go together"),
        (("maps", "labels", "--legend", "nonsense"), "nonsense"),
    ],
)
def test_what_cannot_start_is_one_clear_line(lots: Path, geoseg_command: Command, words: Any, said: str) -> None:
    ended = geoseg_command("evaluate", *(lots / w if (lots / w.split("/")[0]).exists() else w for w in words))
    assert ended.code == 2
    assert said in ended.err


def test_an_output_that_cannot_be_made_is_refused_before_anything_is_scored(
    lots: Path, tmp_path: Path, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("geoseg.jobs.evaluate.score_scene", lambda *_, **__: pytest.fail("scored"))
    words = ("evaluate", lots / "maps", lots / "labels", "-o", tmp_path / "file" / "scores")
    result = geoseg_command(*words)
    assert result.code == 2
    assert "cannot write into" in result.err
    assert "choose another --output" in result.err


def test_finished_tables_and_other_folders_are_not_replaced(
    lots: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    words = ("evaluate", lots / "maps/mid.tif", lots / "labels/mid_label.tif", "-o", tmp_path / "e")
    assert geoseg_command(*words).code == 0
    before = (tmp_path / "e" / "e.json").read_bytes()
    refused = geoseg_command(*words)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert (tmp_path / "e" / "e.json").read_bytes() == before
    assert geoseg_command(*words, "--overwrite", "--level", 90).code == 0
    assert json.loads((tmp_path / "e" / "e.json").read_text())["options"]["level"] == 0.9
    (tmp_path / "mine").mkdir()
    other = geoseg_command(*words[:-1], tmp_path / "mine", "--overwrite")
    assert other.code == 2
    assert "holds no evaluation of geoseg" in other.err


def test_boundaries_are_told_with_the_tolerance_that_was_given(lots: Path, geoseg_command: Command) -> None:
    words = ("evaluate", lots / "maps/mid.tif", lots / "labels/mid_label.tif", "--json")
    plain, near, far, wide = (
        json.loads(geoseg_command(*words, *more).out)["classes"][0]
        for more in (
            (), ("--boundaries", "--tolerance", "1m"), ("--boundaries", "--tolerance", "30m"),
            ("--boundaries", "--band", 1),
        )
    )  # fmt: skip
    assert "boundary_f1" not in plain
    assert near["boundary_f1"] < far["boundary_f1"]
    assert near["boundary_iou"] == far["boundary_iou"] != wide["boundary_iou"]
    assert near["asd_m"] == far["asd_m"]
    for option, value in (("--tolerance", "1m"), ("--band", 3)):
        refused = geoseg_command(*words, option, value)
        assert refused.code == 2
        assert "of no use without --boundaries" in refused.err


def test_objects_are_told_of_the_classes_that_are_asked_for(lots: Path, geoseg_command: Command) -> None:
    words = ("evaluate", lots / "maps", lots / "labels", "--json", "--instances", "crop", "--instances", 1)
    told = json.loads(geoseg_command(*words, "--boundaries").out)
    found = told["objects"]
    border = {row["measure"]: row for row in told["summary"]}["boundary_f1"]
    assert 0 < border["low"] < border["value"] < border["high"] < 1
    assert [row["class_name"] for row in found] == ["water", "crop"]
    for row, value in zip(found, (1, 4), strict=True):
        sides = [[label(side == value)[1] for side in pixels(lots, place)] for place in ("north", "mid", "south")]
        n_reference, n_mapped = (sum(n) for n in zip(*sides, strict=True))
        assert row["n_reference"] == n_reference
        assert row["n_mapped"] <= n_mapped  # without those of which the reference says nothing
        assert row["pq"] == pytest.approx(row["sq"] * row["rq"])
        for name in ("pq", "ap", "ap50", "ap75"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
        assert row["ap50"] >= row["ap75"]
    refused = geoseg_command("evaluate", lots / "maps/mid.tif", lots / "labels/mid_label.tif", "--instances", "houses")
    assert refused.code == 2
    assert "objects of 'houses' are asked for" in refused.err


def test_polygons_and_points_are_references_for_every_scene(
    lots: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    x, y = UTM @ (40, 0)
    frame = gpd.GeoDataFrame({"kind": ["water", "forest"]}, crs="EPSG:32633", geometry=[
        shapely.box(x, y - 5000, x + 100, y), shapely.box(x + 100, y - 5000, x + 200, y),
    ])  # fmt: skip
    frame.to_file(tmp_path / "polygons.gpkg")
    words = ("evaluate", lots / "maps", tmp_path / "polygons.gpkg", "--class-column", "kind", "--json")
    found = json.loads(geoseg_command(*words).out)
    assert [s["scene"] for s in found["scenes"]] == ["mid", "north", "south", "all"]
    mapped = np.concatenate([pixels(lots, place)[1][:, 40:60] for place in ("north", "mid", "south")])
    assert found["matrix"][0]["water"] == (mapped[:, :10] == 1).sum()
    assert found["matrix"][1]["water"] == (mapped[:, 10:] == 1).sum()
    everywhere = json.loads(geoseg_command(*words, "--elsewhere", "crop").out)
    assert everywhere["scenes"][0]["pixels"] == (pixels(lots, "mid")[1] != 255).sum()
    frame.set_geometry(frame.centroid).to_file(tmp_path / "points.gpkg")
    dots = ("evaluate", lots / "maps/mid.tif", tmp_path / "points.gpkg", "--class-column", "kind")
    nowhere = geoseg_command(*dots)
    assert nowhere.code == 2  # they lie below the map
    assert "has nothing on the map" in nowhere.err
    assert "have no borders" in geoseg_command(*dots, "--boundaries").err
    rasters = geoseg_command("evaluate", lots / "maps", lots / "labels", "--class-column", "kind")
    assert "--class-column is of no use" in rasters.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a.tif",), "name PREDICTION and REFERENCE"),
        (("a.tif", "b.tif", "--window", "64"), "--window is of no use without --model"),
        (("-m", "spectral", "a.tif"), "no PREDICTION"),
        (("-m", "spectral", "--scenes", "a.tif"), "--labels to hold the maps against"),
    ],
)
def test_a_prediction_is_named_once(words: tuple[str, ...], said: str, geoseg_command: Command) -> None:
    ended = geoseg_command("evaluate", *words)
    assert ended.code == 2
    assert said in ended.err


def test_what_others_write_beside_it_is_left_alone(lots: Path, tmp_path: Path, geoseg_command: Command) -> None:
    others = [tmp_path / ".run.0123abcd.staging", tmp_path / ".run.0123abcd.parts"]
    for folder in (*others, tmp_path / ".scores.0123abcd.staging"):
        folder.mkdir()
        (folder / "half").touch()
    (tmp_path / ".run.json.0123abcd.part").touch()
    words = ["evaluate", lots / "maps" / "mid.tif", lots / "labels" / "mid_label.tif", "-o", tmp_path / "scores"]
    assert geoseg_command(*words).code == 0
    assert {p.name for p in tmp_path.iterdir()} == {*(p.name for p in others), ".run.json.0123abcd.part", "scores"}
    with hold(tmp_path, Path(".scores.lock")):
        ended = geoseg_command(*words, "--overwrite")
    assert ended.code == 2
    assert f": process {os.getpid()} of " in ended.err


def test_evaluations_and_cleaning_runs_do_not_disturb_each_other(
    lots: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    stop = threading.Event()

    def clean() -> None:
        while not stop.is_set():
            clean_leftovers(tmp_path)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    words = ["evaluate", lots / "maps" / "mid.tif", lots / "labels" / "mid_label.tif"]
    try:
        codes = [geoseg_command(*words, "-o", tmp_path / f"scores{i}").code for i in range(5)]
    finally:
        stop.set()
        cleaner.join()
    assert codes == [0] * 5
    assert {p.name for p in tmp_path.iterdir()} == {f"scores{i}" for i in range(5)}
