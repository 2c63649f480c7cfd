"""`geoseg areas` as a user runs it: real maps, points and strata in, tables and points out."""

import csv
import io
import json
import signal
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.area.population import map_totals
from geoseg.cli.areas import _give as give
from geoseg.scene.class_raster import open_class_raster
from tests.commands import Forks
from tests.conftest import Command, Ended

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data"
UTM = Affine(10, 0, 600_000, 0, -10, 5_000_000)
SHAPE = (90, 120)


def truth() -> NDArray[np.uint8]:
    row, col = np.indices(SHAPE)
    field = np.sin(row / 13) + np.cos(col / 17)
    return np.asarray(np.digitize(field, [-0.5, 0.8]) + 1, dtype=np.uint8)


def mapped() -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    wrong = rng.random(SHAPE) < 0.12
    pixels = np.where(wrong, rng.integers(1, 4, SHAPE), truth()).astype(np.uint8)
    pixels[:10] = 255
    return pixels


def write_map(path: Path, pixels: NDArray[Any], **changes: Any) -> Path:
    stack = pixels if pixels.ndim == 3 else pixels[None]
    profile = {"crs": "EPSG:32633", "transform": UTM, "nodata": 255, "dtype": stack.dtype} | changes
    with rasterio.open(
        path, "w", driver="GTiff", count=len(stack), height=stack.shape[1], width=stack.shape[2], **profile
    ) as dataset:
        dataset.write(stack)
    return path


@pytest.fixture
def map_path(tmp_path: Path) -> Path:
    return write_map(tmp_path / "map.tif", mapped())


def rows_of(ended: Ended) -> list[dict[str, str]]:
    assert ended.code == 0, ended.err
    return list(csv.DictReader(io.StringIO(ended.out)))


def label(points: Path, column: str = "truth") -> None:
    """Do the interpreter's work: write the true class of each point into its column."""
    frame = pyogrio.read_dataframe(points)
    col, row = (frame.geometry.x - 600_000) // 10, (5_000_000 - frame.geometry.y) // 10
    frame[column] = [str(v) for v in truth()[row.astype(int), col.astype(int)]]
    pyogrio.write_dataframe(frame, points)


def test_without_a_reference_areas_are_counted_and_that_is_said(map_path: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("areas", map_path, "-o", map_path.parent / "a.csv")
    rows = rows_of(ended)
    pixels = mapped()
    assert [int(r["pixels"]) for r in rows] == [(pixels == v).sum() for v in (1, 2, 3)]
    held = map_totals(open_class_raster(map_path))
    np.testing.assert_allclose([float(r["area_ha"]) for r in rows], held.areas_m2 / 1e4, rtol=1e-12)
    assert sum(float(r["percent"]) for r in rows) == pytest.approx(100)
    assert "they have no uncertainty" in ended.err
    assert (map_path.parent / "a.csv").read_text() == ended.out


def test_from_the_design_to_the_estimate(map_path: Path, tmp_path: Path, geoseg_command: Command) -> None:
    points = tmp_path / "points.gpkg"
    drawn = rows_of(geoseg_command("areas", map_path, "--design", 240, "--seed", 5, "-o", points))
    assert sum(int(r["points"]) for r in drawn) == 240
    nothing = geoseg_command("areas", map_path, "--reference", points)
    assert nothing.code == 2
    assert "none of its points can be used; 240 points without a label left out" in nothing.err
    label(points)
    ended = geoseg_command("areas", map_path, "--reference", points, "-o", tmp_path / "a.csv", "--kappa")
    rows = rows_of(ended)
    seen = mapped() != 255
    for row, value in zip(rows, (1, 2, 3), strict=True):
        true_ha = float(((truth() == value) & seen).sum()) / 100
        # UTM areas are true areas to a thousandth here; the interval is for them
        assert float(row["low95_ha"]) < true_ha < float(row["high95_ha"])
        assert 0.6 < float(row["users"]) < 1
        assert float(row["users_se"]) > 0
    assert sum(float(r["area_ha"]) for r in rows) == pytest.approx(sum(float(r["mapped_ha"]) for r in rows))
    assert "taken as drawn at random within each class" in ended.err
    assert "overall accuracy" in ended.err
    assert "kappa 0." in ended.err
    matrix = list(csv.reader((tmp_path / "a_matrix.csv").read_text().splitlines()))
    assert matrix[0] == ["measure", "map_class", "class 1", "class 2", "class 3", "total"]
    assert matrix[4][-1] == "240"
    assert float(matrix[8][-1]) == pytest.approx(1)
    summary = {r[0]: r[1] for r in csv.reader((tmp_path / "a_summary.csv").read_text().splitlines())}
    assert summary["points"] == "240"
    assert {"overall_accuracy", "kappa", "quantity_disagreement"} <= set(summary)
    # the sample names its strata, with the same result while the map is the one it was drawn from
    named = geoseg_command("areas", map_path, "--reference", points, "--strata", "stratum")
    for a, b in zip(rows_of(named), rows, strict=True):
        assert float(a["area_ha"]) == pytest.approx(float(b["area_ha"]), rel=1e-9)
        assert float(a["se_ha"]) == pytest.approx(float(b["se_ha"]), rel=1e-9)


def test_a_blind_sample_gives_the_same_estimate(map_path: Path, tmp_path: Path, geoseg_command: Command) -> None:
    tables = []
    for name, more in (("told.gpkg", ()), ("blind.gpkg", ("--blind",))):
        points = tmp_path / name
        drawn = geoseg_command("areas", map_path, "--design", 200, "-o", points, *more)
        assert drawn.code == 0, drawn.err
        assert ("codes in place of classes" in drawn.err) == bool(more)
        label(points)
        tables.append(rows_of(geoseg_command("areas", map_path, "--reference", points, "--strata", "stratum")))
    assert "class_name" not in pyogrio.read_dataframe(tmp_path / "blind.gpkg")
    for a, b in zip(*tables, strict=True):
        assert {k: float(v) for k, v in a.items() if k != "class_name"} == pytest.approx(
            {k: float(v) for k, v in b.items() if k != "class_name"}, rel=1e-9
        )


def test_the_same_seed_draws_the_same_points(map_path: Path, tmp_path: Path, geoseg_command: Command) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert (
            geoseg_command("areas", map_path, "--design", 50, "--seed", seed, "-o", tmp_path / f"{name}.gpkg").code == 0
        )
    a, b, c = (pyogrio.read_dataframe(tmp_path / f"{name}.gpkg").to_wkt() for name in "abc")
    assert a.equals(b)
    assert not a.geometry.equals(c.geometry)


def drawn_points(ended: Ended) -> list[int]:
    return [int(r["points"]) for r in rows_of(ended)]


def test_design_options_do_what_they_say(map_path: Path, tmp_path: Path, geoseg_command: Command) -> None:
    def design(*words: object) -> list[int]:
        return drawn_points(geoseg_command("areas", map_path, *words, "--overwrite", "-o", tmp_path / "p.gpkg"))

    sizes = np.array([(mapped() == v).sum() for v in (1, 2, 3)])
    assert design("--design", 300, "--allocation", "equal") == [100, 100, 100]
    np.testing.assert_allclose(
        design("--design", 300, "--allocation", "proportional"), 300 * sizes / sizes.sum(), atol=1
    )
    assert min(design("--design", 300, "--allocation", "proportional", "--minimum", 80)) == 80
    assert min(design("--design", 180)) == 50
    assert min(design("--design", 180, "--allocation", "proportional")) < 50
    expect = "class 1=0.5,CLASS 3=0.99"
    spread = sizes * np.sqrt([0.25, 0.16, 0.0099])
    by_spread = design("--design", 300, "--allocation", "neyman", "--expected-accuracy", expect)
    np.testing.assert_allclose(by_spread, 300 * spread / spread.sum(), atol=1)
    # p(1 - p) / SE² for alike strata, with the correction for 9600 px
    free = 0.16 / 0.02**2
    assert sum(design("--target-se", 0.02)) == np.ceil(free / (1 + free / sizes.sum()))
    fewer = 0.09 / 0.02**2
    assert sum(design("--target-se", 0.02, "--expected-accuracy", 0.9)) == np.ceil(fewer / (1 + fewer / sizes.sum()))
    # other allocations take more than the best, and each stratum has a variance
    assert sum(design("--target-se", 0.02, "--allocation", "equal")) > free
    assert design("--target-se", 0.3) == [2, 2, 2]


def test_classes_with_commas_in_their_names_can_be_given_accuracies(tmp_path: Path, geoseg_command: Command) -> None:
    path = write_map(tmp_path / "map.tif", mapped())
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(CLASSES="1=Developed, Open 2=Developed, High=Low 3=Bare")
    sizes = np.array([(mapped() == v).sum() for v in (1, 2, 3)])
    given = "developed, open=0.5,Developed, High=Low=0.6,3=0.99"
    words = ["--design", 300, "--allocation", "neyman", "--expected-accuracy", given, "-o", tmp_path / "p.gpkg"]
    ended = geoseg_command("areas", path, *words)
    spread = sizes * np.sqrt([0.25, 0.24, 0.0099])
    points = drawn_points(ended)
    np.testing.assert_allclose(points, 300 * spread / spread.sum(), atol=1)
    expected = np.sqrt((spread**2 * (1 / np.array(points) - 1 / sizes)).sum()) / sizes.sum()
    said = next(line for line in ended.err.splitlines() if "standard error of overall accuracy will be" in line)
    assert float(said.rsplit(" ", 1)[1]) == pytest.approx(expected, rel=0.01)


def test_reference_options_do_what_they_say(map_path: Path, tmp_path: Path, geoseg_command: Command) -> None:
    points = tmp_path / "points.gpkg"
    assert geoseg_command("areas", map_path, "--design", 900, "-o", points).code == 0
    label(points, "interpreted")

    def estimates(*words: object) -> list[dict[str, str]]:
        return rows_of(
            geoseg_command("areas", map_path, "--reference", points, "--reference-column", "interpreted", *words)
        )

    plain = estimates()
    wider = estimates("--level", 99)
    assert float(wider[0]["low99_ha"]) < float(plain[0]["low95_ha"])
    assert float(wider[0]["se_ha"]) == float(plain[0]["se_ha"])
    assert float(estimates("--fpc")[0]["se_ha"]) < float(plain[0]["se_ha"])
    post, at_random = estimates("--sampling", "post-stratified"), estimates("--sampling", "random")
    assert post[0]["area_ha"] == plain[0]["area_ha"]
    assert post[0]["se_ha"] != plain[0]["se_ha"]
    # without strata the points of each class count as they are
    frame = pyogrio.read_dataframe(points)
    share = (frame["interpreted"] == "1").mean()
    total = sum(float(r["mapped_ha"]) for r in plain)
    assert float(at_random[0]["area_ha"]) == pytest.approx(share * total, rel=1e-3)
    strata = write_map(tmp_path / "strata.tif", np.where(np.indices(SHAPE)[1] < 60, 1, 2).astype(np.uint8))
    assert estimates("--strata", strata)[0]["area_ha"] != plain[0]["area_ha"]


def test_a_stratified_sample_taken_as_a_random_one_is_told(tmp_path: Path, geoseg_command: Command) -> None:
    uneven = truth()
    uneven[:5, :12] = 4
    path = write_map(tmp_path / "uneven.tif", uneven)
    points = tmp_path / "points.gpkg"
    assert geoseg_command("areas", path, "--design", 200, "--allocation", "equal", "-o", points).code == 0
    label(points)
    said = "do not look drawn at random from the whole map: 50 lie on class 4, where 1.1 were to be expected"
    assert said not in geoseg_command("areas", path, "--reference", points).err
    for sampling in ("random", "post-stratified"):
        assert said in geoseg_command("areas", path, "--reference", points, "--sampling", sampling).err
    # a sample that was drawn so is none the worse for it
    place = np.random.default_rng(0).integers(0, SHAPE, (200, 2))
    at = shapely.points(600_005 + 10.0 * place[:, 1], 4_999_995 - 10.0 * place[:, 0])
    drawn = gpd.GeoDataFrame({"truth": [str(truth()[r, c]) for r, c in place]}, geometry=at, crs="EPSG:32633")
    drawn.to_file(tmp_path / "drawn.gpkg")
    ended = geoseg_command("areas", path, "--reference", tmp_path / "drawn.gpkg", "--sampling", "random")
    assert ended.code == 0
    assert "drawn at random" not in ended.err


def test_expected_areas_are_called_what_they_are(map_path: Path, tmp_path: Path, geoseg_command: Command) -> None:
    chances = np.stack([np.where(mapped() == v, 200, 27) for v in (1, 2, 3)]).astype(np.uint8)
    path = write_map(tmp_path / "probs.tif", chances)
    ended = geoseg_command("areas", map_path, "--probabilities", path)
    rows = rows_of(ended)
    assert list(rows[0]) == ["class_id", "class_name", "pixels", "mapped_ha", "model_expected_ha"]
    ha = np.array([float(r["mapped_ha"]) for r in rows])
    expected = (200 * ha + 27 * (ha.sum() - ha)) / 254
    np.testing.assert_allclose([float(r["model_expected_ha"]) for r in rows], expected, rtol=1e-9)
    assert "is model-based" in ended.err
    assert "no design-based estimate and has no interval" in ended.err


def test_files_that_are_there_are_not_replaced_unless_asked(
    map_path: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    points = tmp_path / "points.gpkg"
    assert geoseg_command("areas", map_path, "--design", 60, "-o", points).code == 0
    label(points)
    before = points.read_bytes()
    ended = geoseg_command("areas", map_path, "--design", 60, "-o", points)
    assert ended.code == 2
    assert f"{points} is there already: name another --output, or give --overwrite" in ended.err
    assert points.read_bytes() == before
    (tmp_path / "a_summary.csv").write_text("mine")
    ended = geoseg_command("areas", map_path, "--reference", points, "-o", tmp_path / "a.csv")
    assert ended.code == 2
    assert "a_summary.csv is there already" in ended.err
    assert not (tmp_path / "a.csv").exists()
    again = geoseg_command("areas", map_path, "--reference", points, "-o", tmp_path / "a.csv", "--overwrite")
    assert again.code == 0
    assert (tmp_path / "a_summary.csv").read_text().startswith("measure,value")


def test_quiet_gives_the_result_only_and_json_talks_json(map_path: Path, geoseg_command: Command) -> None:
    quiet = geoseg_command("areas", map_path, "-q")
    assert (quiet.code, quiet.err) == (0, "")
    assert quiet.out.startswith("class_id,")
    lines = geoseg_command("areas", map_path, "--log-format", "json").err.splitlines()
    assert any("no uncertainty" in json.loads(line)["text"] for line in lines)


def test_a_terminal_gets_framed_tables_with_the_matrix(
    map_path: Path, tmp_path: Path, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = tmp_path / "points.gpkg"
    assert geoseg_command("areas", map_path, "--design", 60, "-o", points).code == 0
    label(points)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    ended = geoseg_command("areas", map_path, "--reference", points)
    assert "│ points  │ class 1" in ended.out
    assert "overall_accuracy" in ended.out


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--design", 50], "name the file of the points with --output"),
        (["--design", 50, "-o", "p.shp"], "--output p.shp: name a file that ends with .gpkg"),
        (["-o", "a.txt"], "--output a.txt: name a file that ends with .csv"),
        (["--design", 50, "--target-se", 0.1, "-o", "p.gpkg"], "--design and --target-se exclude each other"),
        (["--reference", "r.gpkg", "--probabilities", "p.tif"], "--reference and --probabilities exclude each other"),
        (["--strata", "stratum"], "--strata is of no use without --reference"),
        (["--blind"], "--blind is of no use without --design"),
        (["--design", 50, "-o", "p.gpkg", "--kappa"], "--kappa is of no use without --reference"),
        (["--level", 20], "20.0 is not in the range"),
        (["--reference", "no.gpkg"], "no.gpkg: cannot be read: no such file"),
        (["--design", 99999, "-o", "p.gpkg"], "99999 points cannot be drawn from 9600 pixels"),
        (["--design", 60, "-o", "p.gpkg", "--minimum", 50], "ask for 150 points or more"),
        (["--design", 60, "-o", "p.gpkg", "--expected-accuracy", "moor=1"], "'moor', which is no class of the map"),
        (["--design", 60, "-o", "p.gpkg", "--expected-accuracy", "high"], "'high' is not understood"),
        (["--design", 60, "-o", "p.gpkg", "--expected-accuracy", "class 1=,"], "'class 1=,' is not understood"),
        (["--design", 60, "-o", "p.gpkg", "--expected-accuracy", "1.4"], "expected accuracies 1.4"),
        (["--probabilities", "no.tif"], "no.tif: cannot be read"),
        (["-o", "nowhere/a.csv"], "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_a_line(
    map_path: Path, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch, words: list[object], match: str
) -> None:
    monkeypatch.chdir(map_path.parent)
    ended = geoseg_command("areas", map_path, *words)
    assert ended.code == 2
    assert match in ended.err
    assert len([line for line in ended.err.splitlines() if line.lower().startswith("error")]) == 1
    assert sorted(p.name for p in map_path.parent.iterdir()) == ["map.tif"]


def test_inputs_that_are_no_class_map_or_no_reference_end_with_2(
    map_path: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    floats = write_map(tmp_path / "floats.tif", np.zeros(SHAPE, dtype=np.float32), nodata=None)
    ended = geoseg_command("areas", floats)
    assert ended.code == 2
    assert "float32" in ended.err
    frame = gpd.GeoDataFrame(
        {"truth": ["1", "marsh"]}, geometry=gpd.points_from_xy([600_105.0, 600_205], [4_999_505.0, 4_999_605])
    )
    for name, crs, column, match in (
        ("a", None, "truth", "has no CRS"),
        ("b", 32633, "truth", "no class of the map: marsh; known are 1 class 1"),
        ("c", 32633, "label", "has no column 'label'; it has truth"),
        ("d", 4326, "truth", "no class of the map"),
    ):
        path = tmp_path / f"{name}.geojson" if crs == 4326 else tmp_path / f"{name}.gpkg"
        written = frame if crs is None else frame.set_crs(crs)
        with pytest.warns(UserWarning, match="crs") if crs is None else _nothing():
            pyogrio.write_dataframe(written, path)
        ended = geoseg_command("areas", map_path, "--reference", path, "--reference-column", column)
        assert ended.code == 2, ended.err
        assert match in ended.err
        assert ended.err.count("\n") == 1


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def test_the_sample_points_of_the_repository_speak_for_a_sample_map(geoseg_command: Command) -> None:
    """Their strata are those of three scenes: for one of them, points elsewhere count as zeros."""
    path = SAMPLE / "truth" / "valley_west_20190617.tif"
    ended = geoseg_command(
        "areas", path, "--reference", SAMPLE / "reference_points.gpkg", "--reference-column", "class_20190617",
        "--strata", "stratum",
    )  # fmt: skip
    table = pd.DataFrame(rows_of(ended)).astype({"mapped_ha": float, "low95_ha": float, "high95_ha": float})
    assert ((table.low95_ha < table.mapped_ha) & (table.mapped_ha < table.high95_ha)).all()
    assert table.users.tolist() == ["1.0"] * 6  # it is the truth
    assert "250 points outside the map kept as land beyond it" in ended.err
    assert "that counts as no variance, which is not certainty" in ended.err


def test_areas_in_zones_add_up_to_those_of_the_map(map_path: Path, geoseg_command: Command) -> None:
    zones = map_path.with_name("zones.gpkg")
    halves = [shapely.box(599_900, 4_999_000, 600_555, 5_000_100), shapely.box(600_555, 4_999_000, 601_300, 5_000_100)]
    frame = gpd.GeoDataFrame({"half": ["west", "east"]}, geometry=halves, crs=32633)
    frame.to_crs(4326).to_file(zones, layer="halves")
    ended = geoseg_command("areas", map_path, "--zones", f"{zones}:halves", "--zone-id", "half")
    rows = rows_of(ended)
    assert {r["zone"] for r in rows} == {"west", "east"}
    whole = {r["class_id"]: float(r["area_m2"]) for r in rows_of(geoseg_command("areas", map_path))}
    for class_id, area in whole.items():
        found = sum(float(r["area_m2"]) for r in rows if r["class_id"] == class_id)
        assert found == pytest.approx(area, rel=1e-6)
    assert "no uncertainty" in ended.err


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")  # that is what the test is about
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--zones", "zones.gpkg"], "--zone-id"),
        (["--zones", "no_crs.shp", "--zone-id", "half"], "no_crs.shp has no CRS"),
        (["--zones", "zones.gpkg", "--zone-id", "other"], "no column 'other'"),
        (["--zones", "zones.gpkg", "--zone-id", "half", "--reference", "x.gpkg"], "exclude each other"),
        (["--legend", "moon"], "moon"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_zones_and_legends_that_cannot_be_used(
    map_path: Path, geoseg_command: Command, words: list[str], message: str
) -> None:
    frame = gpd.GeoDataFrame({"half": ["west"]}, geometry=[shapely.box(600_000, 4_999_000, 600_555, 5_000_100)])
    frame.set_crs(32633).to_file(map_path.with_name("zones.gpkg"))
    frame.to_file(map_path.with_name("no_crs.shp"))
    ended = geoseg_command("areas", map_path, *[map_path.with_name(w) if "." in w else w for w in words])
    assert ended.code == 2
    assert message in " ".join(ended.err.split())


@pytest.mark.parametrize("named", [True, False])
def test_on_a_terminal_a_long_table_is_shown_by_its_head_and_it_is_said_where_the_rest_is(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.DataFrame({"zone_id": [f"zone{i}" for i in range(2500)], "pixels": range(2500)})
    path = tmp_path / "zones.csv"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    give(table, [path] if named else [])
    shown = capsys.readouterr()
    assert "zone99 " in shown.out
    assert "zone100 " not in shown.out
    assert shown.err.startswith("100 of 2500 rows are shown: ")
    assert (str(path) if named else "--output FILE.csv") in shown.err
    assert not named or len(path.read_text("utf-8").splitlines()) == 2501

    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    give(table, [])  # in a pipe, all of it
    assert len(capsys.readouterr().out.splitlines()) == 2501


def test_what_a_killed_command_left_goes_with_the_next_one(
    map_path: Path, tmp_path: Path, geoseg_command: Command, forked: Forks
) -> None:
    (tmp_path / "out").mkdir()
    for words in (("-o", tmp_path / "out" / "a.csv"), ("--design", 30, "-o", tmp_path / "out" / "p.gpkg")):
        killed = forked.start("areas", map_path, *words, GEOSEG_CRASH_AT="written").end()
        assert killed.code == -signal.SIGKILL
        assert [p.name for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")] == []
        ended = geoseg_command("areas", map_path, *words)
        assert ended.code == 0, ended.err
        assert list((tmp_path / "out").iterdir()) == [words[-1]]
        words[-1].unlink()
