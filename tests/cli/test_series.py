"""`geoseg series` as a user runs it: class maps and finished runs of three dates in, their history out."""

import csv
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pystac
import pytest
import rasterio
from rasterio.features import rasterize

import geoseg
from geoseg.change.series import SeriesRules
from geoseg.change.temporal import TemporalRule
from geoseg.legend import Legend, LegendClass
from tests.cli.test_change import NAMES, UTM, later, natural, write_map
from tests.conftest import Command, read

DATES = ("20150617", "20180620", "20230908")
NAME = f"place_{DATES[0]}_{DATES[2]}"
LEGEND = Legend(classes=tuple(LegendClass(value=v, name=n, color="#808080") for v, n in NAMES.items()))


def maps(folder: Path) -> list[Path]:
    one = natural(120, 150)
    two = later(one)
    every = (one, two, later(two, seed=9))
    return [write_map(folder / f"place_{d}.tif", p) for d, p in zip(DATES, every, strict=True)]


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    return maps(tmp_path)


def in_memory(paths: Any, **more: Any) -> Any:
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import wrap_xr

    arrays = [wrap_xr(read(p), GeoBox(read(p).shape, UTM, "EPSG:32633"), nodata=255) for p in paths]
    return geoseg.change_series(arrays, times=["2015-06-17", "2018-06-20", "2023-09-08"], legend=LEGEND, **more)


def test_a_series_leaves_rasters_polygons_tables_a_picture_and_an_item(
    three: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    out = tmp_path / "out"
    # in any order: they are taken by date
    ended = geoseg_command("series", three[2], *three[:2], "-o", out, "--picture", "--maps")
    assert ended.code == 0, ended.err
    assert "maps are taken by date: place_20150617, place_20180620, place_20230908" in ended.err
    assert "every difference counts" in ended.err
    folder = out / NAME
    stem = {p.name.removeprefix(f"{NAME}_") for p in folder.iterdir() if not p.name.endswith((".xml", ".qml"))}
    assert stem == {
        "first_change.tif", "last_change.tif", "changes.tif", "final.tif", "polygons.gpkg", "areas.csv",
        "matrices.csv", "summary.csv", "intensity.csv", "picture.png", "classes_20150617.tif",
        "classes_20180620.tif", "classes_20230908.tif", f"{NAME}.json",
    }  # fmt: skip
    found = in_memory(three)
    for name, array in (
        ("first_change", found.first_change), ("last_change", found.last_change), ("changes", found.n_changes),
        ("final", found.final),
    ):  # fmt: skip
        np.testing.assert_array_equal(read(folder / f"{NAME}_{name}.tif"), array.values)
    for path, date in zip(three, DATES, strict=True):
        np.testing.assert_array_equal(read(folder / f"{NAME}_classes_{date}.tif"), read(path))
    with rasterio.open(folder / f"{NAME}_first_change.tif") as dataset:
        assert (dataset.nodata, dataset.crs.to_epsg(), dataset.transform) == (255, 32633, UTM)
        assert dataset.descriptions == ("date of the first change",)
        assert dataset.tags()["GEOSEG_DATES"] == "2015-06-17, 2018-06-20, 2023-09-08"
    polygons = gpd.read_file(folder / f"{NAME}_polygons.gpkg", layer="first_change")
    assert set(polygons.seen_date) == {"2018-06-20", "2023-09-08"}
    back = rasterize(zip(polygons.geometry, polygons.first_id, strict=True), out_shape=(120, 150), transform=UTM)
    np.testing.assert_array_equal(back, np.where(found.first_change == 255, 0, found.first_change))
    for kind, table in (("areas", found.areas), ("matrices", found.matrices), ("summary", found.summary)):
        written = pd.read_csv(folder / f"{NAME}_{kind}.csv")
        assert written.columns.tolist() == table.columns.tolist()
        assert len(written) == len(table)
    item = json.loads((folder / f"{NAME}.json").read_text())
    pystac.Item.from_dict({**item, "stac_extensions": []}).validate()
    assert item["properties"]["start_datetime"] == "2015-06-17T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2023-09-08T00:00:00Z"
    titles = [c["title"] for c in item["assets"]["first"]["classification:classes"]]
    assert titles == ["no change", "first seen 2018-06-20", "first seen 2023-09-08"]
    assert [c["title"] for c in item["assets"]["final"]["classification:classes"]] == list(NAMES.values())
    shown = list(csv.DictReader(ended.out.splitlines()))
    assert len(shown) == 12
    assert sum(float(r["percent"]) for r in shown) == pytest.approx(300, abs=0.01)
    assert set(pd.read_csv(out / "series.csv").scene) == {NAME}
    record = json.loads((out / "series.json").read_text())
    assert [s["status"] for s in record["series"]] == ["done"]

    again = geoseg_command("series", *three, "-o", out, "--picture", "--maps")
    assert again.code == 0
    assert json.loads((out / "series.json").read_text())["series"][0]["status"] == "unchanged"
    other = geoseg_command("series", *three, "-o", out)
    assert other.code == 1
    assert "holds results of other maps or options; pass --overwrite" in other.err
    assert geoseg_command("series", *three, "-o", out, "--overwrite", "--no-polygons").code == 0
    assert not (folder / f"{NAME}_polygons.gpkg").exists()


def test_the_options_are_those_of_the_rules(three: Any, tmp_path: Path, geoseg_command: Command) -> None:
    (tmp_path / "never.csv").write_text("from,to,plausible\nwater,*,no\n")
    (tmp_path / "prior.csv").write_text("from,to,share\n*,*,1\n" + "".join(f"{n},{n},50\n" for n in NAMES.values()))
    (tmp_path / "accuracy.csv").write_text(
        "truth,map,share\n*,*,1\nwater,water,9\nforest,forest,9\ngrass,grass,9\ncrop,crop,9\n"
    )
    out = tmp_path / "out"
    words = ["--accuracy", tmp_path / "accuracy.csv", "--prior", tmp_path / "prior.csv", "--decode", "marginal"]
    more = ["--fill-gaps", "--tolerance", 1, "--plausible", tmp_path / "never.csv", "--no-polygons"]
    ended = geoseg_command("series", *three, "-o", out, *words, *more)
    assert ended.code == 0, ended.err
    from geoseg.change.plausible import PlausibleRow
    from geoseg.change.posterior_rule import read_pair_numbers
    from geoseg.change.temporal import parse_accuracy

    rule = TemporalRule(
        accuracy=parse_accuracy(str(tmp_path / "accuracy.csv")),
        prior=read_pair_numbers(tmp_path / "prior.csv", "share"),
        decode="marginal",
        fill=True,
    )
    never = (PlausibleRow(source="water", target="*", plausible=False),)
    found = in_memory(three, rules=SeriesRules(temporal=rule, tolerance=1, plausible=never))
    folder = out / NAME
    for name, array in (
        ("first_change", found.first_change), ("changes", found.n_changes), ("final", found.final),
        ("confidence", found.confidence),
    ):  # fmt: skip
        np.testing.assert_array_equal(read(folder / f"{NAME}_{name}.tif"), array.values)
    areas = pd.read_csv(folder / f"{NAME}_areas.csv")
    assert areas.area_ha.tolist() == found.areas.area_ha.tolist()
    assert areas.expected_ha.tolist() == found.areas.expected_ha.tolist()
    assert (folder / f"{NAME}_matrices_plain.csv").is_file()


def finished_run(folder: Path, name: str, pixels: Any, when: str, shares: Any, **changes: Any) -> None:
    """What geoseg run leaves of a scene, as far as it matters here."""
    scene = folder / name
    write_map(scene / f"{name}_classes.tif", pixels, **changes)
    (scene / f"{name}.json").write_text(json.dumps({"properties": {"datetime": when}}))
    profile = {"crs": "EPSG:32633", "transform": UTM, "nodata": 255, "dtype": "uint8"} | changes
    height, width = pixels.shape
    path = scene / f"{name}_probabilities.tif"
    with rasterio.open(path, "w", driver="GTiff", count=4, height=height, width=width, **profile) as dataset:
        dataset.write(shares)
        dataset.descriptions = list(NAMES.values())


@pytest.fixture
def runs(tmp_path: Path) -> tuple[list[Path], Any, Any]:
    """Three output folders of runs, each with two places that lie side by side."""
    rng = np.random.default_rng(2)
    classes, every = [], []
    for year in (2019, 2020, 2021):
        shares = rng.dirichlet(np.full(4, 0.5), (40, 50)).transpose(2, 0, 1)
        stored = np.floor(254 * shares).astype(np.uint8)
        stored[0] += (254 - stored.sum(axis=0)).astype(np.uint8)
        pixels = (stored.argmax(axis=0) + 1).astype(np.uint8)
        seen = rng.random(pixels.shape) > 0.1
        pixels[~seen], stored[:, ~seen] = 255, 255
        folder = tmp_path / f"run{year}"
        for place, x in (("west", 0), ("east", 500)):
            moved = UTM @ UTM.translation(x / 10, 0)
            finished_run(folder, f"{place}_{year}", pixels, f"{year}-06-01T00:00:00Z", stored, transform=moved)
        classes.append(pixels)
        every.append(stored)
    return [tmp_path / f"run{y}" for y in (2019, 2020, 2021)], classes, every


def test_runs_are_grouped_by_place_and_their_probabilities_decide(
    runs: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    folders, classes, shares = runs
    (tmp_path / "trained.csv").write_text("class,share\n*,1\nwater,3\n")
    out = tmp_path / "out"
    options = ["--probabilities", "--training-shares", tmp_path / "trained.csv", "--prior", "0.1", "--no-polygons"]
    ended = geoseg_command("series", *folders[::-1], "-o", out, *options, "--workers", 1)
    assert ended.code == 0, ended.err
    names = ["east_2019_2021", "west_2019_2021"]
    assert sorted(p.name for p in out.iterdir() if p.is_dir() and not p.name.startswith(".")) == names
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import wrap_xr

    from geoseg.change.temporal import read_class_shares

    box = GeoBox((40, 50), UTM, "EPSG:32633")
    arrays = [wrap_xr(c, box, nodata=255) for c in classes]
    given = [wrap_xr(s, box, nodata=255, axis=1) for s in shares]
    rule = TemporalRule(prior=0.1, training=read_class_shares(tmp_path / "trained.csv"))
    times = ["2019-06-01", "2020-06-01", "2021-06-01"]
    found = geoseg.change_series(
        arrays, times=times, legend=LEGEND, probabilities=given, rules=SeriesRules(temporal=rule)
    )
    assert 0 < (found.n_changes == 1).sum() < 2000
    assert found.confidence is not None
    for name in names:
        np.testing.assert_array_equal(read(out / name / f"{name}_changes.tif"), found.n_changes.values)
        np.testing.assert_array_equal(read(out / name / f"{name}_confidence.tif"), found.confidence.values)


def test_one_folder_of_all_dates_is_grouped_too_and_what_is_short_is_named(
    runs: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    folders, _, _ = runs
    every = tmp_path / "every"
    every.mkdir()
    for folder in folders:
        for scene in folder.iterdir():
            if scene.name != "east_2020":
                scene.rename(every / scene.name)
    ended = geoseg_command("series", every, "-o", tmp_path / "out", "--no-polygons")
    assert ended.code == 0, ended.err
    assert "places with fewer than 3 dates, left out: east_2019, east_2021" in ended.err
    assert (tmp_path / "out" / "west_2019_2021").is_dir()


def test_a_place_that_fails_does_not_stop_the_others(runs: Any, tmp_path: Path, geoseg_command: Command) -> None:
    folders, _, _ = runs
    broken = folders[1] / "east_2020" / "east_2020_classes.tif"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    ended = geoseg_command("series", *folders, "-o", tmp_path / "out", "--no-polygons")
    assert ended.code == 1, ended.err
    assert "east_2020_classes.tif" in ended.err
    assert (tmp_path / "out" / "west_2019_2021" / "west_2019_2021_final.tif").is_file()
    assert not (tmp_path / "out" / "east_2019_2021").exists()


def test_probabilities_of_soft_rules_are_warned_of(runs: Any, tmp_path: Path, geoseg_command: Command) -> None:
    folders, _, _ = runs
    for item in (f for folder in folders[:2] for f in folder.glob("west*/*.json")):
        said = json.loads(item.read_text())
        said["properties"]["geoseg:model"] = "spectral 1"
        item.write_text(json.dumps(said))
    options = ["--probabilities", "--no-polygons", "-o"]
    ended = geoseg_command("series", *folders, *options, tmp_path / "series")
    assert ended.code == 0, ended.err
    assert "west_2019, west_2020: mapped with spectral, whose soft thresholds are no calibrated" in ended.err
    ended = geoseg_command("change", *folders[:2], *options, tmp_path / "change")
    assert ended.code == 0, ended.err
    assert ended.err.count("no calibrated probabilities") == 1
    ended = geoseg_command("series", *folders, "--no-polygons", "-o", tmp_path / "plain")
    assert "calibrated" not in ended.err


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (["--prior", "0.1"], 2, "--prior is of no use without --probabilities or --accuracy"),
        (["--fill-gaps"], 2, "--fill-gaps is of no use without"),
        (["--probabilities", "--accuracy", "0.9"], 2, "two kinds of evidence"),
        (["--accuracy", "0.9", "--training-shares", "x.csv"], 2, "--training-shares is of no use without --prob"),
        (["--accuracy", "1.2"], 2, "1.2 of the pixels are right"),
        (["--accuracy", "none.csv"], 2, "none.csv: cannot be read"),
        (["--dates", "2015,2016"], 2, "2 dates for 3 maps"),
        (["--dates", "2015,soon,2016"], 2, "'soon' is no date"),
        (["--dates", "2015,2016,2016"], 1, "at one time"),
        (["--probabilities"], 1, "comes without class probabilities"),
    ],
)
def test_wrong_usage_is_one_line_that_says_how_to_mend_it(
    three: Any, tmp_path: Path, geoseg_command: Command, words: Any, code: int, match: str
) -> None:
    ended = geoseg_command("series", *three, "-o", tmp_path / "out", *words)
    assert ended.code == code, ended.err
    assert match in ended.err
    assert "Traceback" not in ended.err


def test_two_dates_are_sent_to_geoseg_change(three: Any, tmp_path: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("series", *three[:2], "-o", tmp_path / "out")
    assert ended.code == 2
    assert "no place has maps of 3 dates" in ended.err
    assert "geoseg change" in ended.err


def test_maps_without_dates_keep_their_order_and_dates_can_be_given(tmp_path: Path, geoseg_command: Command) -> None:
    one = np.array([[1, 1, 2]], np.uint8)
    every = [write_map(tmp_path / f"{name}.tif", np.roll(one, i)) for i, name in enumerate(("b", "a", "c"))]
    ended = geoseg_command("series", *every, "-o", tmp_path / "out", "--no-polygons")
    assert ended.code == 0, ended.err
    assert "when b, a, c was taken is not known" in ended.err
    assert pd.read_csv(tmp_path / "out" / "b_c" / "b_c_areas.csv").date.unique().tolist() == ["b", "a", "c"]
    ended = geoseg_command("series", *every, "-o", tmp_path / "dated", "--no-polygons", "--dates", "2021,2019-05,2023")
    assert ended.code == 0, ended.err
    table = pd.read_csv(tmp_path / "dated" / "a_c" / "a_c_areas.csv")
    assert table.date.unique().tolist() == ["2019-05-01", "2021-01-01", "2023-01-01"]
