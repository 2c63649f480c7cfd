"""Class areas per zone against rasterstats and exactextract alone: ``python -m benchmarks.zonal``.

Each contender runs in a process of its own on the same class map (a tiled GeoTIFF) and the same zones. Wall time starts
when everything is imported and compiled and the zones are in memory, and ends with the table of areas. Memory is the
peak of the process while it works, less what it held when it was ready. The others count in the plane of the map, so
that their areas differ from the true ones by the projection; the column ``area off`` is that, with what their rule for
pixels on the border adds: the largest difference of a zone's area from geoseg's, relative to it.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter

from benchmarks.measure import measured

__all__ = ["main"]

_CONTENDERS = ("geoseg", "exactextract", "rasterstats")
_N_CLASSES = 8
_PIXEL_M = 10
_LEFT, _TOP = 400_000, 6_600_000
_CRS = "EPSG:32633"

Areas = NDArray[np.float64]
"""(zones, classes) in m²."""


def make_map(folder: Path, side: int) -> Path:
    """A class map of smooth patches with specks; kept if it is there already."""
    path = folder / f"zonal_{side}.tif"
    if path.exists():
        return path
    rng = np.random.default_rng(3)
    field = gaussian_filter(rng.standard_normal((1024, 1024)).astype(np.float32), 8, mode="wrap")
    field += 0.2 * field.std() * rng.standard_normal(field.shape).astype(np.float32)
    ranks = np.digitize(field, np.quantile(field, np.linspace(0, 1, _N_CLASSES + 1)[1:-1])).astype(np.uint8) + 1
    repeats = -(-side // 1024)
    pixels = np.tile(ranks, (repeats, repeats))[:side, :side]
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint8", crs=_CRS, nodata=255,
        transform=from_origin(_LEFT, _TOP, _PIXEL_M, _PIXEL_M), tiled=True, blockxsize=512, blockysize=512,
        compress="DEFLATE", num_threads="ALL_CPUS",
    ) as dataset:  # fmt: skip
        dataset.write(pixels, 1)
    return path


def make_zones(folder: Path, side: int, n_zones: int) -> Path:
    """Star-shaped zones of 48 vertices that overlap a little and cover about half of the map together."""
    import geopandas as gpd
    import shapely

    path = folder / f"zonal_{side}_{n_zones}.gpkg"
    if path.exists():
        return path
    rng = np.random.default_rng(n_zones)
    radius = side * _PIXEL_M * (0.5 / (np.pi * n_zones)) ** 0.5
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    far = radius * rng.uniform(0.7, 1.3, (n_zones, 48))
    middle = radius * 1.3 + rng.random((n_zones, 2)) * (side * _PIXEL_M - 2.6 * radius)
    x = _LEFT + middle[:, :1] + far * np.cos(angle)
    y = _TOP - middle[:, 1:] + far * np.sin(angle)
    shapes = shapely.polygons(np.stack([x, y], axis=-1))
    gpd.GeoDataFrame({"id": np.arange(n_zones)}, geometry=shapes, crs=_CRS).to_file(path, layer="zones")
    return path


def _geoseg(class_map: Path, zones: Path) -> Callable[[], Areas]:
    from geoseg.area.zone_areas import zone_areas
    from geoseg.area.zone_file import read_zones
    from geoseg.legend import Legend

    read = read_zones(str(zones), id_column="id")
    legend = Legend.unnamed(tuple(range(1, _N_CLASSES + 1)))

    def run() -> Areas:
        table = zone_areas(class_map, read, legend=legend).table
        return np.asarray(table.area_m2).reshape(len(read), _N_CLASSES)

    return run


def _exactextract(class_map: Path, zones: Path) -> Callable[[], Areas]:
    import geopandas as gpd
    from exactextract import exact_extract

    frame = gpd.read_file(zones)

    def run() -> Areas:
        found = exact_extract(str(class_map), frame, ["unique", "frac", "count"], include_cols=["id"])
        areas = np.zeros((len(frame), _N_CLASSES))
        for feature in found:
            told = feature["properties"]
            areas[int(feature["id"]), np.asarray(told["unique"], dtype=np.int64) - 1] = told["frac"] * told["count"]
        return areas * _PIXEL_M**2

    return run


def _rasterstats(class_map: Path, zones: Path) -> Callable[[], Areas]:
    import geopandas as gpd
    from rasterstats import zonal_stats

    frame = gpd.read_file(zones)

    def run() -> Areas:
        found = zonal_stats(frame.geometry, str(class_map), categorical=True)
        areas = np.zeros((len(frame), _N_CLASSES))
        for zone, counts in enumerate(found):
            for value, count in counts.items():
                areas[zone, int(value) - 1] = count
        return areas * _PIXEL_M**2

    return run


_MAKE = {"geoseg": _geoseg, "exactextract": _exactextract, "rasterstats": _rasterstats}


def contend(contender: str, class_map: Path, zones: Path, warm_map: Path, warm_zones: Path, out: Path) -> None:
    """One run of one contender in this process; prints seconds and bytes as JSON."""
    _MAKE[contender](warm_map, warm_zones)()  # imports and compiled code
    run = _MAKE[contender](class_map, zones)
    areas, cost = measured(run)
    np.save(out, areas)
    print(json.dumps(asdict(cost)))


def main() -> None:
    """Run the benchmark and print a table; JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[2048, 8192], help="pixels a side")
    parser.add_argument("--zones", nargs="+", type=int, default=[10, 1000, 10_000], help="how many")
    parser.add_argument("--contenders", nargs="+", default=list(_CONTENDERS), choices=_CONTENDERS)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--contend", nargs=6, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contend:
        contender, *paths = args.contend
        contend(contender, *map(Path, paths))
        return
    print(f"# {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="geoseg-bench-") as name:
        folder = Path(name)
        for side in args.sizes:
            for n_zones in args.zones:
                rows += _compare(folder, side, n_zones, args.contenders, args.repeat)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def _compare(folder: Path, side: int, n_zones: int, contenders: list[str], repeat: int) -> list[dict[str, Any]]:
    paths = [make_map(folder, side), make_zones(folder, side, n_zones), make_map(folder, 64), make_zones(folder, 64, 3)]
    print(f"\n{n_zones} zones on {side} x {side} px")
    print(f"{'':13} {'seconds':>8} {'x geoseg':>9} {'added MiB':>10} {'area off':>9}")
    rows: list[dict[str, Any]] = []
    reference: Areas | None = None
    own = float("nan")
    for contender in contenders:
        if importlib.util.find_spec(contender) is None:
            print(f"{contender:13} not installed")
            continue
        out = folder / f"{contender}.npy"
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.zonal", "--contend", contender, *map(str, paths)]
        runs = []
        for _ in range(repeat):
            ended = subprocess.run([*command, str(out)], capture_output=True, text=True, check=False)
            if ended.returncode:
                raise SystemExit(f"{contender} ended with code {ended.returncode}: {ended.stderr}")
            runs.append(json.loads(ended.stdout))
        seconds = sorted(run["seconds"] for run in runs)[len(runs) // 2]
        added = max(run["added_bytes"] for run in runs) >> 20
        areas = np.load(out)
        if contender == "geoseg":
            reference, own = areas, seconds
        off = float("nan")
        if reference is not None:
            total = reference.sum(axis=1)
            off = float(np.max(np.abs(areas.sum(axis=1) - total) / total))
        print(f"{contender:13} {seconds:8.3f} {seconds / own:9.2f} {added:10} {off:9.1e}", flush=True)
        rows.append(
            {
                "contender": contender,
                "side": side,
                "zones": n_zones,
                "seconds": round(seconds, 4),
                "added_mib": added,
                "area_off": off,
            }
        )
    return rows


if __name__ == "__main__":
    main()
