"""`geoseg vectorize` as a user runs it: categorical rasters in, polygons out."""

import csv
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

from geoseg.vector import polygonize
from tests.conftest import Command, Ended

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "class-maps"
UTM = Affine(10, 0, 600_000, 0, -10, 5_000_000)


def natural(rows: int, cols: int, *, sigma: float = 3.0, seed: int = 0) -> NDArray[np.uint8]:
    """Classes 1 to 4 in smooth blobs, with some nodata (255)."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.standard_normal((rows, cols)), sigma) for _ in range(5)]
    classes = np.argmax(fields, axis=0).astype(np.uint8) + 1
    classes[classes == 5] = 255
    return np.asarray(classes)


def write_map(path: Path, pixels: NDArray[Any], **changes: Any) -> Path:
    profile = {"crs": "EPSG:32633", "transform": UTM, "nodata": 255, "dtype": pixels.dtype} | changes
    height, width = pixels.shape
    with rasterio.open(path, "w", driver="GTiff", count=1, height=height, width=width, **profile) as dataset:
        dataset.write(pixels, 1)
        if pixels.dtype == np.uint8:
            dataset.write_colormap(1, {v: (40 * v, 255 - 40 * v, 90, 255) for v in range(1, 5)})
    return path


@pytest.fixture
def map_path(tmp_path: Path) -> Path:
    return write_map(tmp_path / "map.tif", natural(120, 150))


def table(path: Path) -> Any:
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    return gpd.read_file(path, layer="landcover") if path.suffix == ".gpkg" else gpd.read_file(path)


def test_regions_are_merged_then_smoothed_then_simplified_in_whatever_order_they_are_asked_for(
    map_path: Path, geoseg_command: Command
) -> None:
    """The order that `--help` and README state."""
    least, smooth, simple = ["--min-area", "40px"], ["--smooth"], ["--simplify", "1px"]
    found = {}
    for name, words in {
        "merged": least, "smooth": least + smooth, "all": least + smooth + simple, "turned": simple + smooth + least,
        "unmerged": smooth + simple, "stairs": least + simple,
    }.items():  # fmt: skip
        path = map_path.with_name(f"{name}.gpkg")
        assert geoseg_command("vectorize", map_path, "-o", path, *words, "-q").code == 0
        found[name] = table(path)
    whole = found["all"]
    assert whole.geometry.geom_equals_exact(found["turned"].geometry, 0).all()
    # merged first, by what pixels say: the same regions with the same areas, whatever their borders look like
    assert len(found["unmerged"]) > len(found["merged"]) == len(whole)
    assert whole.area_m2.tolist() == found["merged"].area_m2.tolist()
    # simplified last: some of the smooth vertices and no others; stairs that are simplified have corners of pixels
    points = {name: {tuple(p) for p in shapely.get_coordinates(found[name].geometry.array)} for name in found}
    assert points["all"] < points["smooth"]
    assert points["stairs"] < points["merged"]
    assert not points["all"] <= points["merged"]


def test_every_format_holds_the_same_polygons(map_path: Path, geoseg_command: Command) -> None:
    paths = [map_path.with_name(f"p.{suffix}") for suffix in ("gpkg", "shp", "fgb", "parquet", "geojson")]
    ended = geoseg_command("vectorize", map_path, *[w for p in paths for w in ("-o", p)])
    assert ended.code == 0, ended.err
    expected = polygonize(natural(120, 150), transform=UTM)
    assert f"{len(expected)} polygons" in ended.err
    for path in paths:
        found = table(path)
        assert list(found.columns) == ["class_id", "class_name", "area_m2", "perim_m", "mean_conf", "geometry"]
        assert len(found) == len(expected)
        assert found.crs.to_epsg() == (4326 if path.suffix == ".geojson" else 32633)
        assert found.area_m2.sum() == pytest.approx(expected.pixels.sum() * 100, rel=1e-3)
        on_map = found.to_crs(32633).geometry.set_precision(1e-3).normalize()
        wanted = gpd.GeoSeries(expected.geometry, crs=32633).set_precision(1e-3).normalize()
        # an edge whose ends are rounded to 1e-9 degrees is as good as straight in UTM over some pixels
        if path.suffix != ".geojson":
            assert set(on_map.to_wkb()) == set(wanted.to_wkb())
        else:
            assert on_map.area.sum() == pytest.approx(wanted.area.sum(), rel=1e-7)


def test_a_map_of_several_blocks_gives_the_rings_of_the_whole(tmp_path: Path, geoseg_command: Command) -> None:
    classes = natural(2100, 2070, sigma=8.0)
    out = tmp_path / "p.fgb"
    assert geoseg_command("vectorize", write_map(tmp_path / "map.tif", classes), "-o", out).code == 0
    found, expected = table(out), polygonize(classes, transform=UTM)
    assert found.geometry.is_valid.all()
    assert set(found.normalize().to_wkb()) == set(gpd.GeoSeries(expected.geometry).normalize().to_wkb())
    shapes = zip(found.geometry, found.class_id, strict=True)
    again = rasterize(shapes, out_shape=classes.shape, transform=UTM, fill=255, dtype="uint8")
    np.testing.assert_array_equal(again, classes)


def test_small_regions_are_merged_and_no_area_is_lost(map_path: Path, geoseg_command: Command) -> None:
    out = map_path.with_name("p.gpkg")
    plain = map_path.with_name("plain.gpkg")
    assert geoseg_command("vectorize", map_path, "-o", plain).code == 0
    assert geoseg_command("vectorize", map_path, "-o", out, "--min-area", "0.5ha").code == 0
    before, after = table(plain), table(out)
    assert len(after) < len(before)
    assert after.area_m2.sum() == pytest.approx(before.area_m2.sum(), rel=1e-12)
    small = after[after.area_m2 < 5000]
    # what is left has no neighbour but nodata
    touching = small.sjoin(after[["geometry"]], predicate="touches")
    shared = [
        small.geometry[i].intersection(after.geometry[j]).length
        for i, j in zip(touching.index, touching.index_right, strict=True)
    ]
    assert not any(shared)


@pytest.mark.parametrize("words", [["--smooth"], ["--simplify", "15m"], ["--smooth", "--simplify", "1.5px"]], ids=str)
def test_drawn_otherwise_it_is_still_a_coverage_with_the_areas_of_the_pixels(
    map_path: Path, geoseg_command: Command, words: list[str]
) -> None:
    plain, out = map_path.with_name("plain.gpkg"), map_path.with_name("p.gpkg")
    assert geoseg_command("vectorize", map_path, "-o", plain).code == 0
    ended = geoseg_command("vectorize", map_path, "-o", out, *words)
    assert ended.code == 0, ended.err
    before, after = table(plain), table(out)
    assert after.geometry.is_valid.all()
    assert shapely.coverage_is_valid(after.geometry.array)
    assert sorted(after.area_m2) == sorted(before.area_m2)
    assert after.perim_m.sum() < before.perim_m.sum()
    assert "area change: " in ended.err
    assert tuple(after.total_bounds) == tuple(before.total_bounds)
    change = float(ended.err.split("area change: ")[1].split(" %")[0])
    assert after.area.sum() / before.area.sum() - 1 == pytest.approx(change / 100, abs=1e-6)


def test_an_area_of_interest_gives_the_polygons_of_the_map_with_nodata_outside(
    tmp_path: Path, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = natural(120, 150)
    # a class without a name that lies outside is none of the area's
    pixels[:5] = 9
    map_path = write_map(tmp_path / "map.tif", pixels)
    # no pixel's centre is on its edges
    area = shapely.Polygon([(600_203.4, 4_999_902.1), (601_107.9, 4_999_401.3), (600_411.7, 4_998_903.6)])
    gpd.GeoDataFrame(geometry=[area], crs="EPSG:32633").to_crs(4326).to_file(tmp_path / "area.gpkg")
    wanted = rasterize([area], pixels.shape, transform=UTM)
    cut = write_map(tmp_path / "cut.tif", np.where(wanted == 1, pixels, np.uint8(255)))
    words: list[object] = ["--min-area", "4px"]
    assert geoseg_command("vectorize", cut, "-o", tmp_path / "cut.gpkg", *words).code == 0
    words += ["--aoi", tmp_path / "area.gpkg"]
    assert geoseg_command("vectorize", map_path, "-o", tmp_path / "held.gpkg", *words).code == 0
    # a large map, which is read block by block
    monkeypatch.setattr("geoseg.jobs.vectorize.HELD_PX", 0)
    monkeypatch.setattr("geoseg.vector.vectorizer.BLOCK_PX", 64)
    assert geoseg_command("vectorize", map_path, "-o", tmp_path / "blocks.gpkg", *words).code == 0
    expected, held, blockwise = (
        {(row.class_id, row.geometry.normalize().wkb) for row in table(tmp_path / f"{name}.gpkg").itertuples()}
        for name in ("cut", "held", "blocks")
    )
    assert len(expected) > 20
    assert held == expected
    assert blockwise == expected


def test_damage_outside_of_the_area_of_interest_is_not_read(tmp_path: Path, geoseg_command: Command) -> None:
    path = write_map(
        tmp_path / "map.tif", natural(256, 256), tiled=True, blockxsize=64, blockysize=64, compress="deflate"
    )
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(CLASSES="1=kind-a 2=kind-b 3=kind-c 4=kind-d")
    with rasterio.open(path) as dataset:
        last = int(dataset.get_tag_item("BLOCK_OFFSET_3_3", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(last)
        file.write(b"\xff" * 64)
    assert geoseg_command("vectorize", path, "-o", tmp_path / "all.gpkg").code == 2
    words = ["--bbox", "600000,4999400,600600,5000000", "--bbox-crs", "EPSG:32633"]
    ended = geoseg_command("vectorize", path, "-o", tmp_path / "part.gpkg", *words)
    assert ended.code == 0, ended.err


def test_a_map_outside_of_the_area_of_interest_is_refused(
    tmp_path: Path, map_path: Path, geoseg_command: Command
) -> None:
    ended = geoseg_command("vectorize", map_path, "-o", tmp_path / "none.gpkg", "--bbox", "1,1,2,2")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "map.tif: lies outside of the area of interest (box 1,1,2,2)" in ended.err
    assert not (tmp_path / "none.gpkg").exists()


def test_pixels_that_touch_at_corners_can_be_one_feature(map_path: Path, geoseg_command: Command) -> None:
    four, eight = map_path.with_name("four.gpkg"), map_path.with_name("eight.gpkg")
    noisy = write_map(map_path.with_name("noisy.tif"), natural(40, 40, sigma=0.4))
    assert geoseg_command("vectorize", noisy, "-o", four).code == 0
    assert geoseg_command("vectorize", noisy, "-o", eight, "--connectivity", 8).code == 0
    parts, features = table(four), table(eight)
    assert len(features) < len(parts)
    assert features.geometry.is_valid.all()
    assert set(features.explode().normalize().to_wkb()) == set(parts.normalize().to_wkb())


def test_the_names_of_a_known_legend(tmp_path: Path, geoseg_command: Command) -> None:
    classes = np.where(natural(30, 30) == 1, 10, 80).astype(np.uint8)
    path = tmp_path / "map.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=30, width=30, dtype="uint8", crs="EPSG:32633", transform=UTM
    ) as dataset:
        dataset.write(classes, 1)
    out = tmp_path / "p.gpkg"
    assert geoseg_command("vectorize", path, "-o", out, "--legend", "worldcover").code == 0
    assert set(table(out).class_name) == {"Tree cover", "Permanent water bodies"}


def test_a_file_that_is_there_is_replaced_only_when_that_is_wanted(map_path: Path, geoseg_command: Command) -> None:
    out = map_path.with_name("p.gpkg")
    assert geoseg_command("vectorize", map_path, "-o", out).code == 0
    before = out.read_bytes()
    ended = geoseg_command("vectorize", map_path, "-o", out, "--smooth")
    assert ended.code == 2
    assert "is there already" in ended.err
    assert out.read_bytes() == before
    assert geoseg_command("vectorize", map_path, "-o", out, "--smooth", "--overwrite").code == 0
    assert out.read_bytes() != before


def test_a_file_with_the_name_of_a_side_file_is_not_replaced_either(map_path: Path, geoseg_command: Command) -> None:
    for side, output in (("p.dbf", "p.shp"), ("p.qml", "p.fgb")):
        theirs = map_path.with_name(side)
        theirs.write_text("theirs")
        ended = geoseg_command("vectorize", map_path, "-o", map_path.with_name(output))
        assert ended.code == 2
        assert f"{theirs}, beside which {map_path.with_name(output)} would be written, is there already" in ended.err
        assert theirs.read_text() == "theirs"
        theirs.unlink()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--min-area", "5 acres"], "acres"),
        (["--min-area", "-1ha"], "-1ha"),
        (["--simplify", "10"], "10"),
        (["--simplify", "0m"], "0"),
        (["--legend", "moon"], "moon"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_makes_no_sense_is_one_line(
    map_path: Path, geoseg_command: Command, words: list[str], message: str
) -> None:
    out = map_path.with_name("p.gpkg")
    ended = geoseg_command("vectorize", map_path, "-o", out, *words)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not out.exists()


def test_an_unknown_suffix_is_refused_before_anything_is_read(tmp_path: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("vectorize", tmp_path / "missing.tif", "-o", tmp_path / "p.dxf")
    assert ended.code == 2
    assert "p.dxf: no polygon format ends like this: choose one of .gpkg" in ended.err


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20), "float32"),
        (np.arange(400, dtype=np.uint16).reshape(20, 20), "more than 255 different values, from 0 to 399"),
    ],
    ids=["float", "too many classes"],
)
def test_a_raster_that_is_no_class_map_is_refused(
    tmp_path: Path, geoseg_command: Command, pixels: NDArray[Any], message: str
) -> None:
    path, out = write_map(tmp_path / "map.tif", pixels, nodata=None), tmp_path / "p.gpkg"
    ended = geoseg_command("vectorize", path, "-o", out)
    assert ended.code == 2
    assert "map.tif" in ended.err
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not out.exists()


def test_a_map_of_three_digit_codes_keeps_them_in_every_output(tmp_path: Path, geoseg_command: Command) -> None:
    codes = np.array([0, 111, 231, 311, 523], dtype=np.int16)
    small = natural(60, 70)
    small[small == 255] = 0
    path = write_map(tmp_path / "clc.tif", codes[small], nodata=0)
    out, parquet = tmp_path / "p.gpkg", tmp_path / "p.parquet"
    ended = geoseg_command("vectorize", path, "-o", out, "-o", parquet, "--legend", "corine", "--smooth")
    assert ended.code == 0, ended.err
    found = table(out)
    expected = polygonize(small, transform=UTM, nodata=0)
    assert sorted(found.class_id) == sorted(codes[expected.class_id].tolist())
    assert set(found.class_name) == {
        "Continuous urban fabric", "Pastures", "Broad-leaved forest", "Sea and ocean",
    }  # fmt: skip
    assert sorted(table(parquet).class_id) == sorted(found.class_id)
    style = gpd.read_file(out, layer="layer_styles").styleQML[0]
    assert all(f'value="{code}"' in style for code in (111, 231, 311, 523))
    counted = geoseg_command("areas", path, "--legend", "corine")
    rows = {int(row[0]): row for row in list(csv.reader(counted.out.splitlines()))[1:]}
    assert {v: int(row[2]) for v, row in rows.items()} == {int(codes[v]): int((small == v).sum()) for v in range(1, 5)}


@pytest.mark.parametrize("by", ["value", "name"])
def test_points_and_zones_of_a_map_of_three_digit_codes(tmp_path: Path, geoseg_command: Command, by: str) -> None:
    codes = np.array([-99, 111, 231, 311, 523], dtype=np.int16)
    small = natural(60, 70, seed=1)
    small[small == 255] = 0
    path = write_map(tmp_path / "clc.tif", codes[small], nodata=-99)
    points = tmp_path / "points.gpkg"
    drawn = geoseg_command("areas", path, "--design", 60, "--minimum", 5, "-o", points, "--legend", "corine")
    assert drawn.code == 0, drawn.err
    frame = gpd.read_file(points)
    assert set(frame.stratum) == set(codes[1:].tolist())
    frame["truth"] = frame.stratum.astype(str) if by == "value" else frame.class_name
    frame.loc[0, "truth"] = "-99"  # the file's nodata: not labelled
    frame.to_file(points, layer="points")
    ended = geoseg_command("areas", path, "--reference", points, "--legend", "corine")
    assert ended.code == 0, ended.err
    assert "1 point without a label left out" in ended.err
    assert "overall accuracy 100.00 %" in ended.err
    assert [int(row[0]) for row in list(csv.reader(ended.out.splitlines()))[1:]] == codes[1:].tolist()
    zones = tmp_path / "zones.gpkg"
    box = shapely.box(UTM.c, UTM.f - 600, UTM.c + 700, UTM.f)
    gpd.GeoDataFrame({"id": ["all"]}, geometry=[box], crs="EPSG:32633").to_file(zones)
    ended = geoseg_command("areas", path, "--zones", zones, "--zone-id", "id", "--legend", "corine")
    rows = list(csv.reader(ended.out.splitlines()))[1:]
    pixels = {int(row[1]): float(row[3]) for row in rows if float(row[3])}
    assert pixels == pytest.approx({int(codes[v]): int((small == v).sum()) for v in range(1, 5)})


PROGRAM = [sys.executable, "-c", "from geoseg.cli.main import main; main()", "vectorize"]


def test_a_pipe_hears_of_blocks_only_when_that_is_wanted(map_path: Path, geoseg_command: Command) -> None:
    files = [word for suffix in ("gpkg", "fgb") for word in ("-o", map_path.with_name(f"p.{suffix}"))]
    said = geoseg_command("vectorize", map_path, *files).err.splitlines()
    assert len(said) == 1
    assert "polygons in" in said[0]
    told = geoseg_command("vectorize", map_path, *files, "--overwrite", "-v").err.splitlines()
    assert "map.tif: 2 blocks, 0.0 Mpx" in told  # every file goes through all of them
    assert told.count("map.tif: a block of 0.0 Mpx is done") == 2


def test_quiet_says_nothing_and_json_talks_json(map_path: Path, geoseg_command: Command) -> None:
    out = map_path.with_name("p.gpkg")
    assert geoseg_command("vectorize", map_path, "-o", out, "-q") == Ended(code=0, out="", err="")
    said = geoseg_command("vectorize", map_path, "-o", out, "--overwrite", "--log-format", "json", "-v").err
    lines = [json.loads(line) for line in said.splitlines()]
    assert {"planned", "block", "message"} <= {line["event"] for line in lines}


def test_a_terminal_shows_a_bar(map_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    command = [*PROGRAM, str(map_path), "-o", str(map_path.with_name("p.gpkg"))]
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            said += piece
        os.close(ours)
    assert process.returncode == 0
    assert "1/1" in said.decode()
    assert "blocks" in said.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "point"),
    [("gpkg", "a block of"), ("gpkg", "written"), ("gpkg", "renamed"), ("shp", "side_renamed"), ("parquet", "synced")],
)
def test_a_kill_leaves_the_old_file_or_none_and_the_next_call_succeeds(
    tmp_path: Path, geoseg_command: Command, suffix: str, point: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder / f"p.{suffix}"
    small = write_map(tmp_path / "small.tif", natural(50, 50))
    assert geoseg_command("vectorize", small, "-o", out).code == 0
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    path = write_map(tmp_path / "map.tif", natural(2100, 50, sigma=1))  # two blocks
    crash = {} if point == "a block of" else {"GEOSEG_CRASH_AT": point}
    with subprocess.Popen(
        [*PROGRAM, str(path), "-o", str(out), "--overwrite", "-v"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=os.environ | crash,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if not crash and point in line:
                process.kill()
    assert process.returncode == -signal.SIGKILL
    # all of it is written in a folder of its own, whatever the point
    assert {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()} == before
    assert geoseg_command("vectorize", path, "-o", out, "--overwrite").code == 0
    assert {f.name for f in folder.iterdir()} == set(before)
    assert len(table(out)) == len(polygonize(natural(2100, 50, sigma=1), transform=UTM))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real class maps are not here")
@pytest.mark.parametrize(
    ("name", "known"), [("usda_cdl_2021_30m_nw", "Grass/Pasture"), ("chesapeake_7class_1m", "class 3")]
)
def test_real_class_maps(tmp_path: Path, geoseg_command: Command, name: str, known: str) -> None:
    out = tmp_path / "p.gpkg"
    assert geoseg_command("vectorize", REAL / f"{name}.tif", "-o", out, "--min-area", "400m2").code == 0
    found = table(out)
    assert found.geometry.is_valid.all()
    assert shapely.coverage_is_valid(found.geometry.array)
    assert known in set(found.class_name)
    with rasterio.open(REAL / f"{name}.tif") as dataset:
        pixels = dataset.read(1)
        valid = pixels != dataset.nodata if dataset.nodata is not None else np.ones_like(pixels, dtype=bool)
        assert found.area.sum() == pytest.approx(valid.sum() * abs(dataset.transform.determinant), rel=1e-9)
    if shutil.which("ogrinfo"):
        words = ["ogrinfo", "-so", str(out), "landcover"]
        told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        assert f"Feature Count: {len(found)}\n" in told
        assert "Geometry: Polygon\n" in told


def test_of_several_files_all_appear_or_none(tmp_path: Path, geoseg_command: Command) -> None:
    # twice round the Earth
    path = write_map(
        tmp_path / "wide.tif",
        np.ones((100, 100), dtype=np.uint8),
        crs="EPSG:4326",
        transform=Affine(8, 0, -400, 0, -1, 50),
    )
    out = tmp_path / "out"
    out.mkdir()
    ended = geoseg_command("vectorize", path, "-o", out / "p.gpkg", "-o", out / "p.geojson")
    assert ended.code == 2
    assert "p.geojson" in ended.err
    assert "wider than the world" in ended.err
    assert "together" not in ended.err
    assert not list(out.iterdir())


def test_a_file_given_twice_is_refused(map_path: Path, geoseg_command: Command) -> None:
    out = map_path.with_name("p.gpkg")
    ended = geoseg_command("vectorize", map_path, "-o", out, "-o", out)
    assert ended.code == 2
    assert "twice" in ended.err
