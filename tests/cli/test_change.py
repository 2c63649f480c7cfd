"""`geoseg change` as a user runs it: class maps and finished runs in, a folder of change out."""

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
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter, maximum_filter
from shapely.geometry import box

from geoseg.change.tolerance import without_slivers
from tests.conftest import Command, WriteScene, read

UTM = Affine(10, 0, 600_000, 0, -10, 5_000_000)
NAMES = {1: "water", 2: "forest", 3: "grass", 4: "crop"}
REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


def natural(rows: int, cols: int, *, sigma: float = 3.0, seed: int = 0) -> NDArray[np.uint8]:
    """Classes 1 to 4 in smooth blobs, with some nodata (255)."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.standard_normal((rows, cols)), sigma) for _ in range(5)]
    classes = np.argmax(fields, axis=0).astype(np.uint8) + 1
    classes[classes == 5] = 255
    return np.asarray(classes)


def later(before: NDArray[np.uint8], *, seed: int = 7) -> NDArray[np.uint8]:
    """The same a pixel to the side, with another land in places."""
    after = np.roll(before, 1, axis=1)
    other = natural(*before.shape, seed=seed)
    places = gaussian_filter(np.random.default_rng(seed).standard_normal(before.shape), 6) > 0.06
    after[places] = other[places]
    return after


def write_map(path: Path, pixels: NDArray[Any], *, names: Any = NAMES, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile: dict[str, Any] = {"crs": "EPSG:32633", "transform": UTM, "nodata": 255, "dtype": pixels.dtype} | changes
    tags = profile.pop("tags", {})
    height, width = pixels.shape
    with rasterio.open(path, "w", driver="GTiff", count=1, height=height, width=width, **profile) as dataset:
        dataset.write(pixels, 1)
        dataset.update_tags(**tags)
        if names:
            dataset.update_tags(CLASSES=", ".join(f"{v}={n}" for v, n in names.items()))
    return path


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    one = natural(120, 150)
    return write_map(tmp_path / "place_20190617.tif", one), write_map(tmp_path / "place_20230908.tif", later(one))


NAME = "place_20190617_20230908"


def outputs(folder: Path) -> dict[str, Path]:
    return {p.name.removeprefix(f"{folder.name}_"): p for p in folder.iterdir()}


def test_a_pair_leaves_map_polygons_tables_and_an_item(two: Any, tmp_path: Path, geoseg_command: Command) -> None:
    out = tmp_path / "out"
    ended = geoseg_command("change", *two, "-o", out)
    assert ended.code == 0, ended.err
    folder = out / NAME
    found = outputs(folder)
    assert set(found) == {
        "change.tif", "change.tif.aux.xml", "change.qml", "polygons.gpkg", "matrix.csv", "pairs.csv",
        "components.csv", "summary.csv", "intensity.csv", f"{NAME}.json",
    }  # fmt: skip
    assert sorted(p.name for p in out.iterdir() if not p.name.startswith(".")) == ["change.csv", "change.json", NAME]
    one, other = (read(p) for p in two)
    codes = read(found["change.tif"])
    expected = np.where(one == other, 0, 1 + 3 * (one.astype(int) - 1) + other - (other > one) - 1)
    np.testing.assert_array_equal(codes, np.where((one == 255) | (other == 255), 255, expected))
    with rasterio.open(found["change.tif"]) as dataset:
        assert (dataset.nodata, dataset.crs.to_epsg(), dataset.transform) == (255, 32633, UTM)
        assert dataset.descriptions == ("land-cover change",)
        assert dataset.colormap(1)[0][:3] == (0xE8, 0xE8, 0xE4)
        assert dataset.tags()["GEOSEG_BEFORE"] == "place_20190617.tif"
    item = json.loads(found[f"{NAME}.json"].read_text())
    pystac.Item.from_dict({**item, "stac_extensions": []}).validate()
    assert item["properties"]["start_datetime"] == "2019-06-17T00:00:00Z"
    assert item["properties"]["end_datetime"] == "2023-09-08T00:00:00Z"
    assert set(item["assets"]) == {"change", "polygons", "matrix", "pairs", "components", "summary", "intensity"}
    summary = pd.read_csv(found["summary.csv"]).set_index("measure").area_ha
    assert summary.change / summary.change_per_year == pytest.approx(4.23, abs=0.01)
    shown = list(csv.DictReader(ended.out.splitlines()))
    assert sum(float(r["hectares"]) for r in shown) == pytest.approx(summary.change, rel=1e-3)
    combined = pd.read_csv(out / "change.csv")
    assert set(combined.scene) == {NAME}
    record = json.loads((out / "change.json").read_text())
    assert [p["status"] for p in record["pairs"]] == ["done"]


def test_totals_of_the_matrix_are_the_area_tables_of_both_maps(
    two: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    assert geoseg_command("change", *two, "-o", tmp_path / "out").code == 0
    matrix = pd.read_csv(tmp_path / "out" / NAME / f"{NAME}_matrix.csv")
    for path, after in zip(two, (False, True), strict=True):
        geoseg_command("areas", path, "-o", tmp_path / "areas.csv", "--overwrite")
        table = pd.read_csv(tmp_path / "areas.csv")
        for measure in ("pixels", "area_ha"):
            part = matrix[matrix.measure == measure]
            totals = part.iloc[-1][list(NAMES.values())].tolist() if after else part.map_total[:4].tolist()
            assert totals == table[{"pixels": "pixels", "area_ha": "area_ha"}[measure]].tolist()


def test_polygons_rasterize_back_to_the_change_map_in_every_format(
    two: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    formats = ("gpkg", "shp", "fgb", "parquet")
    ended = geoseg_command("change", *two, "-o", tmp_path / "out", *[w for f in formats for w in ("-f", f)])
    assert ended.code == 0, ended.err
    folder = tmp_path / "out" / NAME
    codes = read(folder / f"{NAME}_change.tif")
    for suffix in formats:
        path = folder / f"{NAME}_polygons.{suffix}"
        found = (
            gpd.read_parquet(path)
            if suffix == "parquet"
            else gpd.read_file(path, layer="change" if suffix == "gpkg" else None)
        )
        assert list(found.columns) == [
            "change_id", "from_id", "from_name", "to_id", "to_name", "area_m2", "mean_conf", "geometry",
        ]  # fmt: skip
        assert shapely.coverage_is_valid(found.geometry.array)
        shapes = zip(found.geometry, found.change_id, strict=True)
        again = rasterize(shapes, out_shape=codes.shape, transform=UTM, fill=0, dtype="uint8")
        np.testing.assert_array_equal(again, np.where(codes == 255, 0, codes))
        assert found.from_name.tolist() == [NAMES[v] for v in found.from_id]
        assert (found.from_id != found.to_id).all()


def test_a_map_against_itself_is_diagonal_without_polygons(tmp_path: Path, geoseg_command: Command) -> None:
    path = write_map(tmp_path / "a" / "m.tif", natural(60, 70))
    again = write_map(tmp_path / "b" / "m.tif", natural(60, 70))
    ended = geoseg_command("change", path, again, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    folder = tmp_path / "out" / "m_m"
    pairs = pd.read_csv(folder / "m_m_pairs.csv")
    assert (pairs.change_id == 0).all()
    assert len(gpd.read_file(folder / "m_m_polygons.gpkg", layer="change")) == 0
    assert set(np.unique(read(folder / "m_m_change.tif"))) == {0, 255}


def test_swapped_dates_are_warned_of_and_transpose(two: Any, tmp_path: Path, geoseg_command: Command) -> None:
    forth = geoseg_command("change", *two, "-o", tmp_path / "forth")
    back = geoseg_command("change", *two[::-1], "-o", tmp_path / "back")
    assert "are the two swapped" not in forth.err
    assert "place_20230908 (2023-09-08) was taken after place_20190617 (2019-06-17): are the two swapped?" in back.err
    one, other = (
        pd.read_csv(next((tmp_path / side).glob("*/*_matrix.csv"))).query("measure == 'pixels'").iloc[:, 3:].to_numpy()
        for side in ("forth", "back")
    )
    np.testing.assert_array_equal(one, other.T)


def test_a_map_of_several_blocks_is_that_of_the_whole(tmp_path: Path, geoseg_command: Command) -> None:
    one = natural(2100, 2200, sigma=6)
    other = later(one)
    paths = [write_map(tmp_path / n, p, tiled=True) for n, p in (("a.tif", one), ("b.tif", other))]
    ended = geoseg_command("change", *paths, "-o", tmp_path / "out", "--tolerance", 2, "-f", "fgb")
    assert ended.code == 0, ended.err
    codes = read(tmp_path / "out" / "a_b" / "a_b_change.tif")
    real = np.asarray(
        without_slivers(*(np.where(p == 255, 255, p - 1).astype(np.uint8) for p in (one, other)), tolerance=2)
    )
    b = np.where(one == 255, 255, one - 1)
    np.testing.assert_array_equal((codes > 0) & (codes < 255), (real != b) & (b != 255) & (real != 255))
    found = gpd.read_file(tmp_path / "out" / "a_b" / "a_b_polygons.fgb")
    assert found.geometry.is_valid.all()
    again = rasterize(zip(found.geometry, found.change_id, strict=True), out_shape=codes.shape, transform=UTM, fill=0)
    np.testing.assert_array_equal(again, np.where(codes == 255, 0, codes))
    plain = pd.read_csv(tmp_path / "out" / "a_b" / "a_b_matrix_plain.csv")
    kept = pd.read_csv(tmp_path / "out" / "a_b" / "a_b_matrix.csv")
    assert plain.map_total[:4].tolist() == kept.map_total[:4].tolist() == [int((one == v).sum()) for v in range(1, 5)]
    assert plain.iloc[6, 3:7].tolist() == [int((other == v).sum()) for v in range(1, 5)]


@pytest.mark.parametrize("words", [[], ["-j", "2"]], ids=str)
def test_small_patches_are_merged_in_map_polygons_and_tables_alike(
    tmp_path: Path, geoseg_command: Command, words: list[str]
) -> None:
    one = natural(600, 640)
    paths = [write_map(tmp_path / n, p) for n, p in (("a.tif", one), ("b.tif", later(one)))]
    ended = geoseg_command("change", *paths, "-o", tmp_path / "out", "--min-area", "0.3ha", *words)
    assert ended.code == 0, ended.err
    folder = tmp_path / "out" / "a_b"
    codes, pairs = read(folder / "a_b_change.tif"), pd.read_csv(folder / "a_b_pairs.csv")
    found = gpd.read_file(folder / "a_b_polygons.gpkg", layer="change")
    changed = pairs[(pairs.change_id > 0) & (pairs.pixels > 0)].set_index("change_id")
    assert changed.pixels.to_dict() == {
        int(v): int(n) for v, n in zip(*np.unique(codes[(codes > 0) & (codes < 255)], return_counts=True), strict=True)
    }
    np.testing.assert_allclose(found.groupby("change_id").area_m2.sum(), changed.area_m2.sort_index(), rtol=1e-12)
    assert pairs.pixels.sum() == (codes < 255).sum()
    from geoseg.change.detect import detect_change
    from geoseg.vector.min_area import parse_min_area
    from tests.change.test_detect import array

    arrays = [array(read(p), UTM) for p in paths]
    np.testing.assert_array_equal(codes, detect_change(*arrays, min_area=parse_min_area("0.3ha")).codes)


def test_tables_for_zones_add_up(two: Any, tmp_path: Path, geoseg_command: Command) -> None:
    halves = [box(600_000, 4_990_000, 600_705, 5_000_100), box(600_705, 4_990_000, 603_000, 5_000_100)]
    zoned = gpd.GeoDataFrame({"name": ["west", "east"]}, geometry=halves, crs=32633)
    zoned.loc[2] = ["elsewhere", box(0, 0, 10, 10)]
    zoned.to_file(tmp_path / "zones.gpkg")
    words = ("--zones", tmp_path / "zones.gpkg", "--zone-id", "name")
    ended = geoseg_command("change", *two, "-o", tmp_path / "out", *words)
    assert ended.code == 0, ended.err
    assert "1 of 3 zones have no pixel with a class on both dates: elsewhere" in ended.err
    folder = tmp_path / "out" / NAME
    zones, pairs = (pd.read_csv(folder / f"{NAME}_{kind}.csv") for kind in ("zones", "pairs"))
    keys = ["change_id", "from_id", "to_id"]
    both = zones.groupby(keys).area_m2.sum()
    np.testing.assert_allclose(both, pairs.set_index(keys).area_m2[both.index], rtol=1e-9)
    assert len(both) == len(pairs)
    np.testing.assert_allclose(zones.groupby("zone").percent.sum(), 100)


def test_a_reference_sample_gives_the_area_of_change_with_its_uncertainty(
    tmp_path: Path, geoseg_command: Command
) -> None:
    one = natural(600, 640)
    real = later(one)  # what truly is there on the second date
    real[real == 255] = one[real == 255]
    seen = real.copy()
    patches = gaussian_filter(np.random.default_rng(3).standard_normal(one.shape), 4) > 0.09
    seen[patches] = one[patches]  # the map misses some of it
    seen[(one == 1) & (real == 4)] = 1  # and one kind of change wholly
    paths = [write_map(tmp_path / n, p) for n, p in (("a.tif", one), ("b.tif", seen))]
    ended = geoseg_command("change", *paths, "-o", tmp_path / "out", "--strata-buffer", 3, "--no-polygons")
    assert ended.code == 0, ended.err
    change, strata = (tmp_path / "out" / "a_b" / f"a_b_{kind}.tif" for kind in ("change", "strata"))
    codes, near = read(change), maximum_filter((read(change) % 255 > 0).astype(np.uint8), size=7) > 0
    np.testing.assert_array_equal(read(strata), np.where((codes == 0) & near, 13, codes))
    item = json.loads((tmp_path / "out" / "a_b" / "a_b.json").read_text())
    assert item["assets"]["strata"]["href"].endswith("a_b_strata.tif")
    assert not (tmp_path / "out" / "a_b" / ".strata").exists()

    drawn = tmp_path / "points.gpkg"
    ended = geoseg_command("areas", strata, "--design", 1500, "-o", drawn)
    assert ended.code == 0, ended.err
    assert f"then: geoseg areas {change} --reference {drawn} --strata {strata}" in ended.err
    points = gpd.read_file(drawn)
    row, col = ((5_000_000 - points.geometry.y) // 10).astype(int), ((points.geometry.x - 600_000) // 10).astype(int)
    was, now = one[row, col].astype(int), real[row, col].astype(int)
    kinds = [f"{NAMES[w]} to {NAMES[n]}" for w, n in zip(was, now, strict=True)]
    points["truth"] = np.where(was == now, "no change", kinds)
    points.to_file(drawn)
    table = tmp_path / "areas.csv"
    ended = geoseg_command("areas", change, "--reference", drawn, "--strata", strata, "-o", table)
    assert ended.code == 0, ended.err
    found = pd.read_csv(table).set_index("class_name")
    for name, truth in {
        "no change": (one == real) & (one != 255) & (real != 255),
        "water to forest": (one == 1) & (real == 2),
        "forest to grass": (one == 2) & (real == 3),
    }.items():
        estimate = found.loc[name]
        assert abs(estimate.area_ha - truth.sum() / 100) < 4 * estimate.se_ha
        assert estimate.se_ha > 0
    missed = found.loc["water to crop"]
    assert missed.mapped_ha == 0
    assert abs(missed.area_ha - ((one == 1) & (real == 4)).sum() / 100) < 4 * missed.se_ha
    stable = found.loc["no change"]
    # the map overstates what did not change; the sample tells
    assert stable.mapped_ha > stable.area_ha + 2 * stable.se_ha


def test_crosswalk_and_plausible_transitions_are_taken_from_tables(tmp_path: Path, geoseg_command: Command) -> None:
    one = natural(60, 70)
    a = write_map(tmp_path / "a.tif", one)
    b = write_map(tmp_path / "b.tif", later(one), names={1: "Water", 2: "conifers", 3: "grass", 4: "crop"})
    (tmp_path / "walk.csv").write_text("from,to,map\nconifers,forest,after\n")
    (tmp_path / "plausible.csv").write_text("from,to,plausible\nwater,*,no\n")
    ended = geoseg_command(
        "change", a, b, "-o", tmp_path / "out", "--crosswalk", tmp_path / "walk.csv",
        "--plausible", tmp_path / "plausible.csv",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "only" not in ended.err
    pairs = pd.read_csv(tmp_path / "out" / "a_b" / "a_b_pairs.csv")
    assert set(pairs.to_name) == set(NAMES.values())
    water = pairs[(pairs.from_name == "water") & (pairs.to_name != "water")]
    assert len(water)
    assert (water.pixels == 0).all()
    assert (water.mapped_ha > 0).all()


def test_a_map_that_names_some_of_its_classes_is_compared_in_all(tmp_path: Path, geoseg_command: Command) -> None:
    one = natural(60, 70)
    paths = [
        write_map(tmp_path / n, p, names={1: "water", 2: "forest"}) for n, p in (("a.tif", one), ("b.tif", later(one)))
    ]
    ended = geoseg_command("change", *paths, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    pairs = pd.read_csv(tmp_path / "out" / "a_b" / "a_b_pairs.csv")
    assert set(pairs.from_name) == {"water", "forest", "class 3", "class 4"}
    assert pairs.pixels.sum() == ((one != 255) & (later(one) != 255)).sum()


def test_finished_and_unchanged_it_is_skipped_and_others_are_not_replaced(
    two: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    out = tmp_path / "out"
    first = geoseg_command("change", *two, "-o", out)
    stamp = (out / NAME / f"{NAME}_change.tif").stat().st_mtime_ns
    again = geoseg_command("change", *two, "-o", out)
    assert (again.code, again.out) == (0, first.out)
    assert "unchanged" in again.err
    assert (out / NAME / f"{NAME}_change.tif").stat().st_mtime_ns == stamp
    other = geoseg_command("change", *two, "-o", out, "--tolerance", 1)
    assert other.code == 1
    assert "holds results of other maps or options; pass --overwrite" in other.err
    replaced = geoseg_command("change", *two, "-o", out, "--tolerance", 1, "--overwrite", "--no-polygons")
    assert replaced.code == 0, replaced.err
    assert not (out / NAME / f"{NAME}_polygons.gpkg").exists()
    same = geoseg_command("change", *two, "-o", out, "--tolerance", 1, "--overwrite", "--no-polygons")
    assert "unchanged since it was finished, skipped" in same.err
    (out / NAME / f"{NAME}_pairs.csv").unlink()
    damaged = geoseg_command("change", *two, "-o", out, "--tolerance", 1, "--no-polygons")
    assert f"are damaged or were changed: {NAME}_pairs.csv is missing; pass --overwrite" in damaged.err
    (out / NAME / f"{NAME}.json").unlink()
    foreign = geoseg_command("change", *two, "-o", out, "--overwrite")
    assert foreign.code == 1
    assert "holds no results of geoseg" in foreign.err


@pytest.fixture
def runs(write_scene: WriteScene, tmp_path: Path, geoseg_command: Command) -> tuple[Path, Path]:
    """Two finished runs of two places each, and a third place on one date only."""
    places = [Affine(10, 0, 399_960 + x, 0, -10, 5_000_040) for x in (0, 900, 5_000)]
    for year, kept in (("2019", places), ("2023", places[:2][::-1])):
        for i, transform in enumerate(kept):
            write_scene(f"{year}/s{i}_{year}0601.tif", transform=transform, seed=round(transform.c))
        ended = geoseg_command("run", tmp_path / year, "-o", tmp_path / f"run{year}", "-m", "kmeans:3", "--no-polygons")
        assert ended.code == 0, ended.err
    return tmp_path / "run2019", tmp_path / "run2023"


def test_finished_runs_are_paired_by_place_and_what_is_alone_is_named(
    runs: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    ended = geoseg_command("change", *runs, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    # the second run has its places in the other order
    names = ["s0_20190601_s1_20230601", "s1_20190601_s0_20230601"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir() and p.name[0] != ".") == names
    assert "left out: s2_20190601" in ended.err
    for name in names:
        folder = tmp_path / "out" / name
        assert (folder / f"{name}_confidence.tif").is_file()
        pairs = pd.read_csv(folder / f"{name}_pairs.csv")
        assert (pairs.change_id == 0).all()  # the same pixels on both dates
        assert pairs.mean_conf.between(1, 100).all()


def test_one_scene_of_a_run_can_be_compared(runs: Any, tmp_path: Path, geoseg_command: Command) -> None:
    scenes = runs[0] / "s0_20190601", runs[1] / "s1_20230601" / "s1_20230601_classes.tif"
    ended = geoseg_command("change", *scenes, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert (tmp_path / "out" / "s0_20190601_s1_20230601" / "s0_20190601_s1_20230601_confidence.tif").is_file()


@pytest.fixture
def likely(write_scene: WriteScene, tmp_path: Path, geoseg_command: Command) -> tuple[Path, Path]:
    """One place on two dates, mapped with the probabilities of the classes."""
    for year, seed in (("2019", 1), ("2023", 2)):
        write_scene(f"{year}/place_{year}0601.tif", seed=seed)
        words = ("-m", "kmeans:3", "--no-polygons", "--probabilities")
        ended = geoseg_command("run", tmp_path / year, "-o", tmp_path / f"run{year}", *words)
        assert ended.code == 0, ended.err
        _make_unsure(tmp_path / f"run{year}" / f"place_{year}0601" / f"place_{year}0601_probabilities.tif")
    return tmp_path / "run2019", tmp_path / "run2023"


def _make_unsure(path: Path) -> None:
    """K-means knows no doubt: here it has some, more in one place than in another."""
    with rasterio.open(path) as dataset:
        shares, profile, names = dataset.read(), dataset.profile, dataset.descriptions
    trust = np.random.default_rng(0).uniform(0.2, 0.99, shares.shape[1:])
    unsure = np.round(trust * shares + (1 - trust) * 254 / len(shares)).astype(np.uint8)
    with rasterio.open(path, "w", **profile | {"driver": "GTiff"}) as dataset:
        dataset.write(np.where(shares == 255, np.uint8(255), unsure))
        dataset.descriptions = names


def test_probabilities_of_two_runs_decide_with_a_prior_and_costs(
    likely: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    (tmp_path / "prior.csv").write_text("from,to,share\n*,*,1\n")
    (tmp_path / "costs.csv").write_text("from,to,cost\n*,*,50\ncluster 1,cluster 1,1\ncluster 2,cluster 2,1\n")
    name, changed = "place_20190601_20230601", {}
    for kind, words in {
        "plain": (),
        "usual": ("--probabilities",),
        "rare": ("--probabilities", "--prior", "0.02"),
        "alike": ("--probabilities", "--prior", tmp_path / "prior.csv"),
        "costly": ("--probabilities", "--costs", tmp_path / "costs.csv"),
    }.items():
        ended = geoseg_command("change", *likely, "-o", tmp_path / kind, *words)
        assert ended.code == 0, ended.err
        found = outputs(tmp_path / kind / name)
        changed[kind] = int(((codes := read(found["change.tif"])) > 0).sum() - (codes == 255).sum())
        assert ("matrix_plain.csv" in found) == (kind != "plain")
        polygons = gpd.read_file(found["polygons.gpkg"], layer="change")
        percent = read(found["confidence.tif"])
        at = rasterize([polygons.geometry.iloc[0]], out_shape=codes.shape, transform=_transform(found)).astype(bool)
        assert polygons.mean_conf.iloc[0] == pytest.approx(percent[at].mean())
    assert changed["rare"] < changed["usual"] < changed["alike"]
    assert changed["usual"] < changed["costly"]
    again = geoseg_command("change", *likely, "-o", tmp_path / "usual", "--probabilities", "--prior", "0.2")
    assert again.code == 1
    assert "other maps or options" in again.err


def _transform(found: dict[str, Path]) -> Affine:
    with rasterio.open(found["change.tif"]) as dataset:
        return Affine(*dataset.transform[:6])


def test_probabilities_that_are_not_there_are_one_clear_line(
    runs: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    scene = runs[0] / "s0_20190601", runs[1] / "s1_20230601"
    ended = geoseg_command("change", *scene, "-o", tmp_path / "out", "--probabilities")
    assert ended.code == 1
    errors = [line for line in ended.err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert "s0_20190601_classes.tif comes without class probabilities: map it with geoseg run" in errors[0]


def test_a_run_against_itself_is_refused_as_that(runs: Any, tmp_path: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("change", runs[0], f"{runs[0]}/", "-o", tmp_path / "out")
    assert ended.code == 2
    assert "are the same 3 maps: give the runs of two dates, or the folders of two scenes" in ended.err


def test_a_pair_that_fails_does_not_stop_the_others(runs: Any, tmp_path: Path, geoseg_command: Command) -> None:
    path = runs[1] / "s1_20230601" / "s1_20230601_classes.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    ended = geoseg_command("change", *runs, "-o", tmp_path / "out")
    assert ended.code == 1
    done = [p.name for p in (tmp_path / "out").iterdir() if p.is_dir() and p.name[0] != "."]
    assert done == ["s1_20190601_s0_20230601"]
    errors = [line for line in ended.err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert "s1_20230601_classes.tif" in errors[0]


def test_processes_leave_the_same_bytes(two: Any, tmp_path: Path, geoseg_command: Command) -> None:
    assert geoseg_command("change", *two, "-o", tmp_path / "one", "--tolerance", 1).code == 0
    ended = geoseg_command("change", *two, "-o", tmp_path / "two", "--tolerance", 1, "-j", 2)
    assert ended.code == 0, ended.err
    for kind in ("change.tif", "matrix.csv", "pairs.csv", "intensity.csv"):
        one, other = (tmp_path / n / NAME / f"{NAME}_{kind}" for n in ("one", "two"))
        assert one.read_bytes() == other.read_bytes(), kind


def _far(path: Path) -> Path:
    return write_map(path, natural(20, 20), transform=Affine(10, 0, 900_000, 0, -10, 6_000_000))


def _damaged(path: Path) -> Path:
    write_map(path, np.random.default_rng(0).integers(1, 5, (400, 400)).astype(np.uint8), compress="deflate")
    whole = bytearray(path.read_bytes())
    whole[2000:4000] = bytes(2000)
    path.write_bytes(whole)
    return path


BAD = {
    "no overlap": (_far, "do not overlap"),
    "no crs": (lambda p: write_map(p, natural(20, 20), crs=None), "has no CRS"),
    "other classes": (lambda p: write_map(p, natural(20, 20), names={1: "a", 2: "b", 3: "c", 4: "d"}), "crosswalk"),
    "only nodata": (lambda p: write_map(p, np.full((20, 20), 255, np.uint8)), "no pixel that both dates observed"),
    "damaged": (_damaged, "damaged or truncated"),
    "no raster": (lambda p: (p.write_text("no"), p)[1], "bad.tif"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("side", [0, 1])
def test_a_bad_side_is_one_clear_line(what: str, side: int, tmp_path: Path, geoseg_command: Command) -> None:
    make, said = BAD[what]
    sides = [write_map(tmp_path / "good.tif", natural(400, 400)), make(tmp_path / "bad.tif")]
    ended = geoseg_command("change", *(sides if side else sides[::-1]), "-o", tmp_path / "out")
    assert ended.code == 1
    errors = [line for line in ended.err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "bad.tif" in errors[0]
    assert not [p for p in (tmp_path / "out").iterdir() if p.is_dir() and p.name != ".geoseg"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.tif", "{0}"], "there is no such file or folder"),
        (["{0}", "{dir}"], "holds no finished results of geoseg run"),
        (["{0}", "{1}", "--crosswalk", "{dir}/none.csv"], "cannot be read"),
        (["{0}", "{1}", "--plausible", "{0}"], "plausible|table|UTF-8"),
        (["{0}", "{1}", "--tolerance", "65"], "tolerance"),
        (["{0}", "{1}", "--prior", "0.1"], "--prior is of no use without --probabilities"),
        (["{0}", "{1}", "--costs", "costs.csv"], "--costs is of no use without --probabilities"),
        (["{0}", "{1}", "--probabilities", "--prior", "2"], "above 0 and below 1"),
        (["{0}", "{1}", "--probabilities", "--prior", "none.csv"], "none.csv: cannot be read"),
        (["{0}", "{1}", "--min-area", "0.3"], "smallest area"),
        (["{0}", "{1}", "--zones", "z.gpkg"], "go together"),
        (["{0}", "{1}", "--legend", "mars"], "mars"),
    ],
)
def test_wrong_usage_is_one_clear_line(
    words: list[str], said: str, two: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    (tmp_path / "dir").mkdir()
    filled = [w.format(*two, dir=tmp_path / "dir") for w in words]
    ended = geoseg_command("change", *filled, "-o", tmp_path / "out")
    assert ended.code == 2
    lines = [line for line in ended.err.splitlines() if "rror" in line]
    assert len(lines) == 1
    assert pd.Series([lines[0]]).str.contains(said).all()


def test_real_class_maps_of_one_place_are_compared(tmp_path: Path, geoseg_command: Command) -> None:
    path = REAL / "class-maps" / "usda_cdl_2021_30m_nw.tif"
    if not path.is_file():
        pytest.skip("real data is not here")
    with rasterio.open(path) as dataset:
        pixels, profile = dataset.read(1), dataset.profile
        colors = dataset.colormap(1)
    changed = pixels.copy()
    changed[20:40, 30:60] = np.roll(pixels, 5, axis=1)[20:40, 30:60]
    profile.update(driver="GTiff")
    with rasterio.open(tmp_path / "later.tif", "w", **profile) as dataset:
        dataset.write(changed, 1)
        dataset.write_colormap(1, colors)
    ended = geoseg_command("change", path, tmp_path / "later.tif", "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    (found,) = (tmp_path / "out").glob("*/*_pairs.csv")
    pairs = pd.read_csv(found)
    observed = pairs[pairs.change_id > 0].pixels.sum()
    assert 0 < observed <= (pixels != changed).sum()
    with rasterio.open(next((tmp_path / "out").glob("*/*_change.tif"))) as dataset:
        assert dataset.dtypes == ("uint8",)  # of the many kinds that could be, few are


def test_a_picture_shows_maps_change_and_flows(two: Any, tmp_path: Path, geoseg_command: Command) -> None:
    from matplotlib.image import imread

    a = write_map(tmp_path / "a.tif", read(two[0]), names={1: "$x_1$", 2: "f" * 60, 3: "湖", 4: "crop"})
    b = write_map(tmp_path / "b.tif", read(two[1]), names={1: "$x_1$", 2: "f" * 60, 3: "湖", 4: "crop"})
    for one, other, name in ((a, b, "a_b"), (a, a, "a_a")):
        ended = geoseg_command("change", one, other, "-o", tmp_path / "out", "--picture", "--no-polygons")
        assert ended.code == 0, ended.err
        path = tmp_path / "out" / name / f"{name}_picture.png"
        pixels = imread(path)
        assert pixels.shape[:2] == (620, 2000)
        colors = len(np.unique(pixels[..., :3].reshape(-1, 3), axis=0))
        assert colors > 50
        item = json.loads(path.with_name(f"{name}.json").read_text())
        assert item["assets"]["picture"]["type"] == "image/png"
