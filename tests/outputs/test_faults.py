"""Full disks, file size limits and kill -9 while each kind of output is written: an error or a complete file."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from odc.geo.geobox import GeoBox

from geoseg.errors import OutputError
from geoseg.legend import Legend
from geoseg.outputs.aside import Published
from geoseg.outputs.atomic import CRASH_POINTS, clean_leftovers, staging
from geoseg.outputs.cog import write_class_cog, write_confidence_cog
from geoseg.outputs.parts import Part, PartWriter
from geoseg.outputs.records import write_json
from geoseg.outputs.stac import ItemInfo, write_item
from geoseg.outputs.tables import write_areas
from geoseg.outputs.vectors import FORMATS, write_polygons

Writer = Callable[[Path], Published | Part]

_KINDS = {
    "part": "s.tif",
    "classes": "s_classes.tif",
    "confidence": "s_confidence.tif",
    **{name: f"s_polygons{f.suffix}" for name, f in FORMATS.items()},
    "areas": "s_areas.csv",
    "record": "run.json",
    "item": "s.json",
}


@pytest.fixture(scope="module")
def writers(
    tmp_path_factory: pytest.TempPathFactory, rasters: Any, geobox: GeoBox, legend: Legend, whole: Any, write_parts: Any
) -> dict[str, Writer]:
    """A function for each kind of output that writes it to a path."""
    block = whole(rasters)
    parts = write_parts(tmp_path_factory.mktemp("parts"), rasters, [block])
    rng = np.random.default_rng(3)
    corners = rng.random((3000, 2)) * 1e5
    polygons = gpd.GeoDataFrame(
        {"class_id": rng.integers(1, 3, 3000), "class_name": "水", "area_m2": rng.random(3000)},
        geometry=gpd.GeoSeries(shapely.box(*corners.T, *(corners + 9).T), crs=32633),
    )
    areas = pd.DataFrame({"class_id": np.arange(4000), "area_m2": rng.random(4000)})
    info = ItemInfo(
        id="s",
        geobox=geobox,
        legend=legend,
        processed=datetime(2026, 1, 1, tzinfo=UTC),
        parameters={str(i): i for i in range(3000)},
    )

    def write_part(path: Path) -> Part:
        with PartWriter(path, block=block) as writer:
            for row in range(0, block.height, 100):
                writer.write_rows(rasters[0][row : row + 100], rasters[1][row : row + 100])
            return writer.finish()

    def polygon_writer(name: str) -> Writer:
        return lambda path: write_polygons(polygons, path, format=name, legend=legend)

    return {
        "part": write_part,
        "classes": lambda path: write_class_cog(path, parts, geobox=geobox, legend=legend, metadata={}),
        "confidence": lambda path: write_confidence_cog(path, parts, geobox=geobox, metadata={}),
        **{name: polygon_writer(name) for name in FORMATS},
        "areas": lambda path: write_areas(areas, path),
        "record": lambda path: write_json(path, {"rows": list(range(20000))}),
        "item": lambda path: write_item(path, {}, info),
    }


@pytest.mark.parametrize("kind", _KINDS)
def test_a_full_disk_gives_an_error_or_a_complete_file(
    kind: str, writers: dict[str, Writer], small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    whole = writers[kind](tmp_path / _KINDS[kind])
    step = 64 if whole.size > 2**18 else 16
    failed, kib = 0, 4
    while isinstance(written := _try(writers[kind], small_disk(kib) / _KINDS[kind]), OutputError):
        assert re.search(r"is nearly full \(.*free more than that or choose another output folder", str(written))
        failed += 1
        kib += step
    assert failed > 1
    # the file is the one that a roomy disk gets; a GeoPackage holds the time it was written
    assert written.size == whole.size
    assert kind == "gpkg" or written.sha256 == whole.sha256
    assert not [f for f in written.path.parent.iterdir() if f.name.startswith(".")]


def _try(write: Writer, path: Path) -> Published | Part | OutputError:
    try:
        return write(path)
    except OutputError as error:
        assert not list(path.parent.iterdir())
        return error


@pytest.mark.parametrize("name", ["s.fgb", "s.gpkg"])
def test_a_disk_that_was_full_is_named_though_the_driver_gave_the_room_back(
    name: str, legend: Legend, small_disk: Callable[[int], Path]
) -> None:
    """The features of a batch pass what the disk has, which is more than counts for nearly full by itself."""
    turns = np.linspace(0, 2 * np.pi, 4000)
    circle = shapely.polygons(np.column_stack([np.cos(turns), np.sin(turns)]))
    many = gpd.GeoDataFrame({"class_id": np.ones(60, np.int32)}, geometry=[circle] * 60, crs=32633)
    with pytest.raises(OutputError, match=r"is nearly full \(.*free more than that or choose another output folder"):
        write_polygons(many, small_disk(3000) / name, format=name[2:], legend=legend)


def test_a_full_disk_leaves_the_old_file(writers: dict[str, Writer], small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(300)
    (disk / "s_confidence.tif").write_text("old")
    with pytest.raises(OutputError, match="is nearly full"):
        writers["confidence"](disk / "s_confidence.tif")
    assert [(f.name, f.read_text()) for f in disk.iterdir()] == [("s_confidence.tif", "old")]


def test_a_full_disk_leaves_no_folder(writers: dict[str, Writer], small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(300)

    def run() -> None:
        with staging(disk / "s") as stage:
            for kind in ("areas", "confidence"):
                writers[kind](stage / _KINDS[kind])

    with pytest.raises(OutputError, match="is nearly full"):
        run()
    assert not list(disk.iterdir())


_RUN = """
import resource, sys
from pathlib import Path
import geopandas as gpd, numpy as np, shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from geoseg.errors import OutputError
from geoseg.inference.lattice import Block
from geoseg.legend import Legend
from geoseg.outputs.cog import write_class_cog
from geoseg.outputs.parts import PartWriter
from geoseg.outputs.vectors import FORMATS, write_polygons

out, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
legend = Legend.unnamed((0, 1, 2))
pixels = np.random.default_rng(0).integers(0, 3, (700, 800), dtype=np.uint8)
boxes = gpd.GeoDataFrame({"class_id": [1] * 4000}, geometry=gpd.GeoSeries([shapely.box(0, 0, 1, 1)] * 4000, crs=32633))

def write_raster():
    with PartWriter(out / "p.tif", block=Block(row_off=0, col_off=0, height=700, width=800)) as writer:
        writer.write_rows(pixels, pixels)
        part = writer.finish()
    grid = GeoBox((700, 800), Affine(1, 0, 0, 0, -1, 9), "EPSG:32633")
    write_class_cog(out / "s_classes.tif", [part], geobox=grid, legend=legend, metadata={})

def polygon_writer(name):
    path = out / f"s_polygons{FORMATS[name].suffix}"
    return lambda: write_polygons(boxes, path, format=name, legend=legend)

errors = 0
for write in [*map(polygon_writer, FORMATS), write_raster]:
    try:
        write()
    except OutputError:
        errors += 1
sys.exit(errors)
"""


def _run(out: Path, *, limit: int = 0, crash_at: str = "", skip: str = "") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "GEOSEG_CRASH_AT": crash_at, "GDAL_SKIP": skip}
    return subprocess.run(
        [sys.executable, "-c", _RUN, out, str(limit)], env=environment, capture_output=True, check=False
    )


def test_a_file_size_limit_gives_an_error_for_every_kind(tmp_path: Path) -> None:
    done = _run(tmp_path, limit=40000)
    # the raster and all formats but one: 4000 equal boxes fit as GeoParquet
    assert done.returncode == len(FORMATS), done.stderr.decode()
    assert [f.name for f in tmp_path.iterdir()] == ["s_polygons.parquet"]


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Names and sizes of what an undisturbed run leaves."""
    folder = tmp_path_factory.mktemp("complete")
    assert _run(folder).returncode == 0
    return {f.name: f.stat().st_size for f in folder.iterdir()}


def test_everything_is_written_where_the_vrt_driver_is_off(tmp_path: Path, complete: dict[str, int]) -> None:
    assert _run(tmp_path, skip="VRT").returncode == 0
    assert {f.name: f.stat().st_size for f in tmp_path.iterdir()} == complete


def test_the_write_path_needs_no_heavy_import() -> None:
    heavy = "{'rasterio', 'pandas', 'numpy'}"
    code = f"import sys, geoseg.outputs.atomic, geoseg.outputs.records; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "n"),
    # the seventh publication is the class map; the eighth side file is the first of its two
    [*((point, 7) for point in CRASH_POINTS[:7] if point != "side_renamed"), *(("side_renamed", n) for n in (2, 8))],
)
def test_kill_9_leaves_complete_files_only(tmp_path: Path, point: str, n: int, complete: dict[str, int]) -> None:
    assert _run(tmp_path, crash_at=f"{point}:{n}").returncode == -signal.SIGKILL
    clean_leftovers(tmp_path)
    left = {f.name: f.stat().st_size for f in tmp_path.iterdir()}
    assert left.items() <= complete.items()
    # the file that others open comes last: where it is, its sides are
    for main, sides in (("s_polygons.shp", (".shx", ".dbf", ".prj")), ("s_classes.tif", (".qml", ".tif.aux.xml"))):
        assert main not in left or all(main.rsplit(".", 1)[0] + side in left for side in sides)
