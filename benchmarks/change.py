"""Comparing two class maps against rasterio and numpy on whole arrays: ``python -m benchmarks.change``.

Both give the change code of every pixel and the transition matrix, from the same two tiled GeoTIFFs, in processes of
their own. Wall time starts when everything is imported and compiled and the files' legends are known.

- ``numpy``: both maps read whole, a code by arithmetic, the matrix by ``numpy.bincount``; areas are those of the plane.
- ``geoseg``: blocks in threads, true areas of every pair. ``geoseg --tolerance 1`` leaves slivers out besides.
- ``geoseg with shift``: also the shift between the maps, which a command measures once for each pair.
- ``geoseg --probabilities``: the probabilities of eight classes on both dates decide, read from their rasters.
- ``geoseg series``: three dates, each for itself; ``series --accuracy``: they decide together by a hidden Markov model.

Memory is the peak of the process while it works, less what it held when it was ready.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray

from benchmarks.measure import measured
from benchmarks.zonal import make_map

__all__ = ["main", "make_later"]

_CLASSES: Final = 8
_NODATA: Final = 255
Matrix = NDArray[np.int64]


def make_later(before: Path) -> Path:
    """The same map a pixel to the side, with another class in a tenth of it, in squares of 64 px."""
    after = before.with_name(f"later_{before.name}")
    if after.exists():
        return after
    changed = np.random.default_rng(5).random((64, 64)) < 0.1
    with rasterio.open(before) as source:
        pixels, profile = np.roll(source.read(1), 1, axis=1), source.profile
    there = np.tile(changed.repeat(64, 0).repeat(64, 1), [-(-n // 4096) for n in pixels.shape])
    there = there[: pixels.shape[0], : pixels.shape[1]]
    pixels[there] = pixels[there] % _CLASSES + 1
    with rasterio.open(after, "w", **profile, num_threads="ALL_CPUS") as target:
        target.write(pixels, 1)
    return after


def make_probabilities(classes: Path) -> Path:
    """Probabilities of eight classes for a map: most for its class, the rest by chance."""
    path = classes.with_name(f"shares_{classes.name}")
    if path.exists():
        return path
    rng = np.random.default_rng(9)
    with rasterio.open(classes) as source:
        profile = source.profile | {"count": _CLASSES}
        with rasterio.open(path, "w", **profile, num_threads="ALL_CPUS") as target:
            for _, window in source.block_windows(1):
                pixels = source.read(1, window=window)
                shares = rng.integers(0, 12, (_CLASSES, *pixels.shape)).astype(np.uint8)
                shares[:, pixels == _NODATA] = _NODATA
                known = pixels != _NODATA
                rows, cols = np.nonzero(known)
                at = pixels[known] - 1
                shares[at, rows, cols] = 0
                shares[at, rows, cols] = 254 - shares[:, known].sum(axis=0)
                target.write(shares, window=window)
            target.descriptions = [f"class {i + 1}" for i in range(_CLASSES)]
    return path


def _numpy(before: Path, after: Path) -> Callable[[], Matrix]:
    def run() -> Matrix:
        with rasterio.open(before) as one, rasterio.open(after) as two:
            was, now = one.read(1), two.read(1)
        known = (was != _NODATA) & (now != _NODATA)
        pairs = was.astype(np.int32) * 256 + now
        matrix = np.bincount(pairs[known], minlength=1 << 16).reshape(256, 256)
        codes = np.where(was == now, 0, (was - 1) * (_CLASSES - 1) + now - (now > was)).astype(np.uint8)
        codes[~known] = _NODATA
        return matrix[1 : _CLASSES + 1, 1 : _CLASSES + 1]

    return run


def _geoseg(
    before: Path, after: Path, *, tolerance: int = 0, shift: bool = False, by_shares: bool = False
) -> Callable[[], Matrix]:
    from geoseg.change.block_change import block_change
    from geoseg.change.comparison import Comparison, Rules
    from geoseg.change.maps import source_of_file
    from geoseg.change.posterior_rule import PosteriorRule
    from geoseg.change.transitions import Transitions
    from geoseg.jobs.change_blocks import plan_blocks
    from geoseg.scene.class_raster import open_class_raster

    one, two = (
        source_of_file(open_class_raster(path), None, make_probabilities(path) if by_shares else None)
        for path in (before, after)
    )
    rules = Rules(tolerance=tolerance, posterior=PosteriorRule() if by_shares else None)
    comparison = Comparison.of(one, two, rules)

    def run() -> Matrix:
        if shift:
            comparison.measured_shift()
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            counts = pool.map(lambda block: block_change(comparison, block).counts, plan_blocks(comparison))
            return sum(counts, Transitions.zero(_CLASSES)).pixels[:-1, :-1]

    return run


def _series(before: Path, after: Path, *, accuracy: float | None = None) -> Callable[[], Matrix]:
    from geoseg.change.maps import source_of_file
    from geoseg.change.series import Series, SeriesRules, Timeline
    from geoseg.change.series_block import SeriesCounts, series_block
    from geoseg.change.temporal import TemporalRule
    from geoseg.scene.class_raster import open_class_raster

    # the first date again: a series has three
    sources = [source_of_file(open_class_raster(path)) for path in (before, after, before)]
    rules = SeriesRules(temporal=None if accuracy is None else TemporalRule(accuracy=accuracy))
    series = Series.of(sources, Timeline.of(["before", "after", "again"], [None] * 3), rules)

    def run() -> Matrix:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            counts = pool.map(lambda block: series_block(series, block).counts, series.cut())
            return sum(counts, SeriesCounts.zero(series)).intervals[0].pixels[:-1, :-1]

    return run


_MAKE: Final[dict[str, Callable[[Path, Path], Callable[[], Matrix]]]] = {
    "numpy": _numpy,
    "geoseg": _geoseg,
    "geoseg with shift": lambda before, after: _geoseg(before, after, shift=True),
    "geoseg --tolerance 1": lambda before, after: _geoseg(before, after, tolerance=1),
    "geoseg --probabilities": lambda before, after: _geoseg(before, after, by_shares=True),
    "geoseg series": _series,
    "series --accuracy": lambda before, after: _series(before, after, accuracy=0.9),
}


_PLAIN: Final = ("numpy", "geoseg", "geoseg with shift", "geoseg series")
"""Those that count every difference: all count the same."""


def contend(contender: str, folder: Path, side: int) -> None:
    """One run of one contender in this process; prints seconds, bytes and the matrix as JSON."""
    for small in (64, side):
        before = make_map(folder, small)
        run = _MAKE[contender](before, make_later(before))
        if small != side:
            run()  # imports and compiled code
    matrix, cost = measured(run)
    print(json.dumps({**asdict(cost), "matrix": matrix.tolist()}))


def _compare(folder: Path, side: int, contenders: list[str], repeat: int) -> list[dict[str, Any]]:
    print(f"\n{side} x {side} px\n{'':22}{'seconds':>9}{'x numpy':>9}{'CPU s':>8}{'Mpx/s':>8}{'added MiB':>11}")
    maps = make_map(folder, side), make_later(make_map(folder, side))
    if "geoseg --probabilities" in contenders:
        for path in maps:
            make_probabilities(path)
    rows: list[dict[str, Any]] = []
    for contender in contenders:
        command = [sys.executable, "-m", "benchmarks.change", "--contend", contender, str(folder), str(side)]
        runs = []
        for _ in range(repeat):
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                raise SystemExit(f"{contender} ended with code {ended.returncode}: {ended.stderr}")
            runs.append(json.loads(ended.stdout))
        seconds = sorted(run["seconds"] for run in runs)[len(runs) // 2]
        cpu_s = sorted(run["cpu_s"] for run in runs)[len(runs) // 2]
        row = {"contender": contender, "side": side, "seconds": round(seconds, 4), "cpu_s": round(cpu_s, 4)}
        row |= {"added_mib": max(run["added_bytes"] for run in runs) >> 20, "matrix": runs[0]["matrix"]}
        rows.append(row)
        if contender in _PLAIN and row["matrix"] != rows[0]["matrix"]:
            raise SystemExit(f"{contender} counts other pixels than {contenders[0]}: one of them is wrong")
        times = rows[0]["seconds"] / seconds
        rate = side**2 / 1e6 / seconds
        print(f"{contender:22}{seconds:9.3f}{times:9.2f}{cpu_s:8.2f}{rate:8.0f}{row['added_mib']:11}", flush=True)
    return rows


def main() -> None:
    """Run the benchmark and print a table; JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[4096, 8192, 16_384], help="pixels a side")
    parser.add_argument("--contenders", nargs="+", default=list(_MAKE), choices=list(_MAKE))
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--folder", type=Path, help="where the maps are made, and kept; a temporary one by default")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--contend", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contend:
        contender, folder, side = args.contend
        contend(contender, Path(folder), int(side))
        return
    print(f"# {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="geoseg-bench-") as name:
        folder = args.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [row for side in args.sizes for row in _compare(folder, side, args.contenders, args.repeat)]
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
