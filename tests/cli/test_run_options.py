"""Each option of `geoseg run` changes something that can be seen."""

import json
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import rasterio
import shapely
import yaml

from tests.conftest import Command, Ended, WriteScene, blobs, read

Look = Callable[[Path, Ended], object]


def item(out: Path) -> dict[str, object]:
    content: dict[str, dict[str, dict[str, object]]] = json.loads((out / "scene" / "scene.json").read_text("utf-8"))
    return content["properties"]["geoseg:parameters"]


def options(out: Path) -> dict[str, object]:
    content: dict[str, dict[str, object]] = json.loads((out / "run.json").read_text("utf-8"))
    return content["options"]


def choices(out: Path) -> dict[str, object]:
    found = options(out)["choices"]
    assert isinstance(found, dict)
    return found


def files(out: Path) -> set[str]:
    return {p.suffix for p in (out / "scene").iterdir()}


def tags(out: Path) -> str:
    with rasterio.open(out / "scene" / "scene_classes.tif") as dataset:
        return str(dataset.tags()["GEOSEG_KEY"])


def polygons(out: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(out / "scene" / "scene_polygons.gpkg", layer="landcover")


CASES: list[tuple[list[object], Look]] = [
    (["-m", "kmeans:4"], lambda out, _: len(pd.read_csv(out / "scene" / "scene_areas.csv"))),
    (["--bands", "a,b,c"], lambda out, _: item(out)["bands"]),
    (["--scale", 0.5], lambda out, _: item(out)["scale"]),
    (["--offset", 3], lambda out, _: item(out)["offset"]),
    (["--window", 64], lambda out, _: item(out)["window"]),
    (["--overlap", 0.5], lambda out, _: item(out)["stride"]),
    (["--blend", "hann"], lambda out, _: item(out)["blend"]),
    (["--precision", "float32"], lambda out, _: item(out)["precision"]),
    (["--seed", 5], lambda out, _: tags(out)),
    (["--format", "shp"], lambda out, _: {".shp", ".dbf", ".prj", ".shx"} <= files(out)),
    (["-f", "fgb", "-f", "parquet"], lambda out, _: {".fgb", ".parquet"} <= files(out)),
    (["--no-polygons"], lambda out, _: ".gpkg" in files(out)),
    (["--probabilities"], lambda out, _: (out / "scene" / "scene_probabilities.tif").is_file()),
    (["--min-area", "9px"], lambda out, _: len(polygons(out))),
    (["--connectivity", "8"], lambda out, _: len(polygons(out))),
    (["--smooth"], lambda out, _: polygons(out).perim_m.sum()),
    (["--simplify", "20m"], lambda out, _: polygons(out).perim_m.sum()),
    (["--zones", "zones.gpkg", "--zone-id", "name"], lambda out, _: (out / "scene" / "scene_zones.csv").is_file()),
    (["-q"], lambda _, ended: (bool(ended.err), bool(ended.out))),
    (["-v"], lambda _, ended: "a block of" in ended.err),
    (["-vv"], lambda _, ended: "1 block, " in ended.err),
    (["--log-format", "json"], lambda _, ended: ended.err.startswith("{")),
    # what changes no result is in the record at least
    (["--batch-size", 2], lambda out, _: choices(out)["batch_size"]),
    (["--threads", 1], lambda out, _: choices(out)["threads"]),
    (["--block-size", 512], lambda out, _: options(out)["block_size"]),
    (["--force"], lambda out, _: choices(out)["force"]),
]


_PLAIN: list[tuple[Path, Ended]] = []


@pytest.fixture
def plain(write_scene: WriteScene, geoseg_command: Command) -> Callable[[Look], object]:
    """A function that looks at a run with no option beside the model; it is made once."""
    if not _PLAIN:
        path = write_scene()
        out = path.parents[1] / "plain"
        _PLAIN.append((out, geoseg_command("run", path, "-o", out, "-m", "kmeans:3")))
    return lambda look: look(*_PLAIN[0])


@pytest.mark.parametrize(("words", "look"), CASES, ids=lambda value: str(value[0]) if isinstance(value, list) else "")
def test_an_option_changes_what_it_says(
    words: list[object], look: Look, plain: Callable[[Look], object], write_scene: WriteScene, geoseg_command: Command
) -> None:
    before = plain(look)
    path = write_scene()
    out = path.parents[1] / "out"
    if "--zones" in words:
        words = [path.parent / w if w == "zones.gpkg" else w for w in words]
        square = shapely.box(400_100, 4_999_500, 400_500, 4_999_900)
        gpd.GeoDataFrame({"name": ["here"]}, geometry=[square], crs=32633).to_file(path.parent / "zones.gpkg")
    ended = geoseg_command("run", path, "-o", out, *([] if "-m" in words else ["-m", "kmeans:3"]), *words)
    assert ended.code == 0, ended.err
    assert look(out, ended) != before


def test_a_seed_gives_the_same_clusters_again(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene()
    maps = []
    for i in range(2):
        out = path.parents[1] / f"out{i}"
        assert geoseg_command("run", path, "-o", out, "-m", "kmeans:3", "--seed", 5).code == 0
        maps.append((out / "scene" / "scene_classes.tif").read_bytes())
    assert maps[0] == maps[1]


def test_force_goes_on_where_the_unit_does_not_fit(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene(pixels=blobs(40, 50, n_bands=4, seed=3), descriptions=("blue", "green", "red", "nir"))
    words = ["run", path, "-o", path.parents[1] / "out", "-m", "spectral", "--no-polygons"]
    refused = geoseg_command(*words)
    assert refused.code == 1
    assert "needs reflectance; the file holds uint16 and states no scale; " in refused.err
    forced = geoseg_command(*words, "--force")
    assert forced.code == 0
    assert "because of --force" in forced.err
    assert geoseg_command(*words, "--scale", 0.0001, "--overwrite").code == 0


def test_several_formats_are_several_assets_of_the_item(write_scene: WriteScene, geoseg_command: Command) -> None:
    import pystac

    path = write_scene()
    out = path.parents[1] / "out"
    words = [w for name in ("gpkg", "shp", "fgb", "parquet", "shp") for w in ("-f", name)]
    assert geoseg_command("run", path, "-o", out, "-m", "kmeans:3", *words).code == 0
    assets = pystac.Item.from_file(str(out / "scene" / "scene.json")).assets
    polygons = {name: asset for name, asset in assets.items() if name.startswith("polygons")}
    assert len(polygons) == 4
    assert len({asset.media_type for asset in polygons.values()}) == 4
    for asset in polygons.values():
        assert asset.title is not None
        assert asset.title.startswith("Land-cover polygons")
        assert (out / "scene" / asset.href).is_file()


@pytest.mark.parametrize(
    ("content", "words", "look"),
    [
        ({"overlap": 0.5}, [], lambda out: item(out)["stride"]),
        ({"model": "kmeans:4"}, [], lambda out: len(pd.read_csv(out / "scene" / "scene_areas.csv"))),
        ({"no-polygons": True}, [], lambda out: ".gpkg" in files(out)),
        ({"polygons": False}, [], lambda out: ".gpkg" in files(out)),
        ({"format": ["fgb", "shp"]}, [], lambda out: {".shp", ".fgb"} <= files(out)),
        ({"bands": ["a", "b", "c"]}, [], lambda out: item(out)["bands"]),
        ({"batch_size": 3}, [], lambda out: choices(out)["batch_size"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_option_file_sets_options_and_the_command_line_wins(
    content: dict[str, object],
    words: list[str],
    look: Callable[[Path], object],
    write_scene: WriteScene,
    geoseg_command: Command,
    tmp_path: Path,
) -> None:
    path = write_scene()
    config = tmp_path / "options.yaml"
    config.write_text(yaml.safe_dump({"model": "kmeans:3", "output": str(tmp_path / "out")} | content))
    assert geoseg_command("run", path, "-o", tmp_path / "plain", "-m", "kmeans:3").code == 0
    ended = geoseg_command("run", path, "--config", config, *words)
    assert ended.code == 0, ended.err
    assert look(tmp_path / "out") != look(tmp_path / "plain")
    won = geoseg_command("run", path, "--config", config, "-o", tmp_path / "won", "--window", 128)
    assert won.code == 0
    assert item(tmp_path / "won")["window"] == 128


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("overlapp: 0.5", "option 'overlapp' is not known; known are"),
        ("inputs: [a.tif]", "option 'inputs' is not known"),
        ("config: other.yaml", "option 'config' is not known"),
        ("- overlap", "is not a mapping of options to values, such as 'overlap: 0.5'"),
        ("overlap: [", "cannot be read"),
        ("overlap: much", "'much' is not a valid float"),
        ("no-polygons: maybe", "option 'no-polygons' is true or false, not 'maybe'"),
        ("a: &a [*a]", "option 'a' is not known"),
    ],
)
def test_a_bad_option_file_says_what_is_wrong_with_it(
    content: str, reason: str, geoseg_command: Command, tmp_path: Path
) -> None:
    config = tmp_path / "options.yaml"
    config.write_text(content)
    ended = geoseg_command("run", tmp_path, "-o", tmp_path / "out", "--config", config)
    assert ended.code == 2
    assert reason in " ".join(ended.err.split())


def test_every_line_of_talk_parses_as_json_whatever_happens(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    good, bad = write_scene("in/good.tif"), tmp_path / "in" / "bad.tif"
    bad.write_bytes(b"nothing")
    words = ["--log-format", "json", "-o", tmp_path / "out"]
    runs = [
        (1, ["run", good, bad, "-m", "kmeans:2", "-vv", *words]),
        (2, ["run", good, "-m", "no such model", *words]),
        (2, ["run", good, *words, "--workers", 1, "--scheduler", "x"]),
        (2, ["run", good, "--log-format=json", "--overlap", 7, "-o", tmp_path / "out"]),
    ]
    events = set()
    for code, line in runs:
        ended = geoseg_command(*line)
        assert ended.code == code
        records = [json.loads(text) for text in ended.err.splitlines()]
        assert records
        assert all({"time", "level", "event"} <= set(r) for r in records)
        events |= {r["event"] for r in records}
    assert {"planned", "note", "block", "publishing", "done", "failed", "message", "ended"} <= events


def test_quiet_says_errors_only(write_scene: WriteScene, geoseg_command: Command, tmp_path: Path) -> None:
    good, bad = write_scene("in/good.tif"), tmp_path / "in" / "bad.tif"
    bad.write_bytes(b"nothing")
    ended = geoseg_command("run", good, bad, "-q", "-m", "kmeans:2", "-o", tmp_path / "out")
    assert ended.code == 1
    assert ended.out == ""
    assert [line.split(":")[0] for line in ended.err.splitlines()] == ["error"]


def test_a_dry_run_writes_nothing_and_counts_right(write_scene: WriteScene, geoseg_command: Command) -> None:
    from geoseg.inference.lattice import Lattice

    path = write_scene(shape=(700, 1100))
    out = path.parents[1] / "out"
    words = ["--window", 256, "--overlap", 0.5, "--block-size", 512]
    ended = geoseg_command("run", path, "-o", out, "-m", "kmeans:3", "--dry-run", *words)
    assert ended.code == 0, ended.err
    assert not out.exists()
    header, row = ended.out.splitlines()
    told = dict(zip(header.split(","), row.split(","), strict=True))
    lattice = Lattice.cover(700, 1100, window=256, overlap=0.5, output_stride=1)
    assert (told["scene"], told["pixels"]) == ("scene", "1100 x 700")
    assert int(told["windows"]) == lattice.n_windows
    assert int(told["blocks"]) == 2 * 3
    assert int(told["forward passes"]) >= lattice.n_windows
    assert float(told["memory MiB"]) > 0
    assert float(told["seconds"]) > 0


def test_a_dry_run_says_what_would_fail(write_scene: WriteScene, geoseg_command: Command, tmp_path: Path) -> None:
    ended = geoseg_command(
        "run", write_scene(), tmp_path / "no.tif", "-o", tmp_path / "out", "-m", "kmeans:3", "--dry-run"
    )
    assert ended.code == 1
    assert "no.tif: cannot be read" in ended.err
    assert not (tmp_path / "out").exists()


def test_the_table_of_areas_is_the_table_on_disk(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene()
    out = path.parents[1] / "out"
    ended = geoseg_command("run", path, "-o", out, "-m", "kmeans:3")
    table = pd.read_csv(out / "areas.csv")
    lines = [line.split(",") for line in ended.out.splitlines()]
    assert lines[0] == ["scene", "class", "hectares", "percent", "mean_conf"]
    assert [line[1] for line in lines[1:]] == table.class_name.tolist()
    assert [line[2] for line in lines[1:]] == [f"{a:.1f}" for a in table.area_ha]
    assert read(out / "scene" / "scene_classes.tif").size == table.pixels.sum()
