"""From a class map to polygons against the alternatives and the limit: ``python -m benchmarks.vectorize``.

Two tables, each with all contenders on the same masks in one run, in turn, each in a process of its own. The first is
from the mask in memory to the finished GeoDataFrame, measured by ``rasterio.features.shapes`` with geopandas (ratio:
how many times faster). The second is from the mask's file to the finished GeoPackage, measured by the limit, which
reads the mask once and writes the same polygons once (ratio: how many times slower). Wall time starts when everything
is imported and compiled; commands include their start, and what they take for a tiny mask is printed below. Memory is
the peak of the process tree while it works, less what it held when it was ready. ``--memory`` measures something else:
see `memory`.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.inference import _Peak
from benchmarks.masks import KINDS
from benchmarks.vectorize_contenders import FRAME, TO_FILE

__all__ = ["main"]


def measure(contender: str, kind: str, side: int, folder: Path, *options: str) -> dict[str, Any] | None:
    """One run of one contender: seconds, memory in MiB and what came of it; None if it is not installed."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.vectorize_contenders",
        contender,
        kind,
        str(side),
        str(folder),
        *options,
    ]
    environment = {**os.environ, "GDAL_CACHEMAX": "32"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if line != "ready":
            if process.wait() or not line:
                raise SystemExit(f"{contender} did not get ready: {line}")
            print(f"{contender:14} left out: {line}", flush=True)
            return None
        peak = _Peak(process.pid)
        before = peak.peak
        peak.start()
        process.stdin.write("go\n")
        process.stdin.flush()
        seconds = process.stdout.readline()
        top = peak.stop()
        found = process.stdout.readline()
    if not found:
        raise SystemExit(f"{contender} ended with code {process.returncode}")
    return {
        "contender": contender, "kind": kind, "side": side, "seconds": float(seconds), "ready_mib": before >> 20,
        "added_mib": (top - before) >> 20, **json.loads(found),
    }  # fmt: skip


def compare(names: list[str], kind: str, side: int, folder: Path, repeat: int) -> list[dict[str, Any]]:
    """Contenders in turn, round by round, so that a machine that slows down slows all of them; the median counts."""
    runs: dict[str, list[dict[str, Any]]] = {}
    left_out: set[str] = set()
    for _ in range(repeat):
        for name in [n for n in names if n not in left_out]:
            row = measure(name, kind, side, folder)
            if row is None:
                left_out.add(name)
            else:
                runs.setdefault(name, []).append(row)
    rows = []
    for name, found in runs.items():
        row = sorted(found, key=lambda r: float(r["seconds"]))[len(found) // 2]
        rows.append(row | {"added_mib": max(int(r["added_mib"]) for r in found), "contender": name})
    return rows


def show(rows: list[dict[str, Any]], kind: str, side: int, reference: str, *, faster: bool) -> None:
    """One table, with the ratio to the reference where that has run."""
    base = next((float(r["seconds"]) for r in rows if r["contender"] == reference), float("nan"))
    what = f"x faster than {reference}" if faster else f"x {reference}"
    print(f"\n{kind}, {side} px a side")
    print(
        f"{'':14} {'seconds':>8} {'Mpx/s':>8} {'polygons/s':>11} {'added MiB':>10} {'valid':>6} {'areas':>6} {what:>22}"
    )
    for row in rows:
        seconds = float(row["seconds"])
        row["ratio"] = round(base / seconds if faster else seconds / base, 3)
        rates = f"{side * side / 1e6 / seconds:8.2f} {row['polygons'] / seconds:11.0f}"
        print(
            f"{row['contender']:14} {seconds:8.3f} {rates} "
            f"{row['added_mib']:10} {_yes(row['valid']):>6} {_yes(row['areas_equal']):>6} {row['ratio']:22.2f}",
            flush=True,
        )


def _yes(value: object) -> str:
    return "yes" if value else "NO"


def memory(sides: list[int], kind: str, folder: Path) -> list[dict[str, Any]]:
    """Peak memory of masks made on the fly and streamed to FlatGeobuf and GeoParquet, at several sizes.

    The mask has the same boundary density at every size, is never whole anywhere, and the polygons leave in batches.
    """
    rows: list[dict[str, Any]] = []
    for suffix in (".fgb", ".parquet"):
        print(f"\n{kind}, on the fly to {suffix}")
        print(f"{'px a side':>10} {'seconds':>8} {'polygons':>10} {'ready MiB':>10} {'added':>10} {'peak':>9} {'x':>6}")
        first = 0
        for side in sides:
            row = measure("stream", kind, side, folder, "--suffix", suffix)
            assert row is not None
            peak = row["ready_mib"] + row["added_mib"]
            first = first or peak
            print(
                f"{side:10} {row['seconds']:8.2f} {row['polygons']:10} {row['ready_mib']:10} {row['added_mib']:10} "
                f"{peak:9} {peak / first:6.2f}",
                flush=True,
            )
            rows.append(row | {"suffix": suffix})
    return rows


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Run the benchmark and print its tables; JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=_numbers, default=[1024, 4096], help="pixels a side, with commas between")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}, with commas between")
    parser.add_argument("--contenders", nargs="+", default=[*FRAME, *TO_FILE], choices=[*FRAME, *TO_FILE])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--memory", type=_numbers, help="measure memory at these sizes instead, with commas between")
    parser.add_argument("--folder", type=Path, help="where masks and outputs are kept; by default removed at the end")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()
    kinds = args.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no kind of mask is called {', '.join(sorted(unknown))}: choose of {', '.join(KINDS)}")
    folder = args.folder or Path(tempfile.mkdtemp(prefix="geoseg-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"# {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; files in {folder}")
    rows: list[dict[str, Any]] = []
    try:
        for kind in kinds:
            if args.memory:
                rows += memory(args.memory, kind, folder)
                continue
            for side in args.sizes:
                for table, faster in ((FRAME, True), (TO_FILE, False)):
                    names = [n for n in table if n in args.contenders]
                    found = compare(names, kind, side, folder, args.repeat)
                    show(found, kind, side, next(iter(table)), faster=faster)
                    rows += found
        if not args.memory:
            _show_starts(args.contenders, folder)
    finally:
        if args.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1))


def _show_starts(names: list[str], folder: Path) -> None:
    """What commands take for a tiny mask."""
    for name in ("geoseg-command", "gdal"):
        row = measure(name, "smooth", 256, folder) if name in names else None
        if row is not None:
            print(f"\n{name}: {row['seconds']:.2f} s for 256 px a side, which is nearly all start", end="")
    print()


if __name__ == "__main__":
    main()
