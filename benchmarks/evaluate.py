"""A class map against its reference, beside torchmetrics and numpy on whole arrays: ``python -m benchmarks.evaluate``.

Each contender runs in a process of its own on the same two class maps (tiled GeoTIFFs). Wall time starts when all
is imported, compiled and warm, and ends with confusion matrix and IoU of each class, which have to be the same
for all. CPU time is that of all threads, which tells more than wall time where others use the machine. Memory is the
peak of the process while it works, less what it held when it was ready.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
from numpy.typing import NDArray

from benchmarks.zonal import make_map

__all__ = ["main"]

_CONTENDERS = ("geoseg", "torchmetrics", "numpy", "boundaries", "objects")
_N_CLASSES = 8

Found = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Confusion matrix, rows are the reference, and IoU of each class."""


def make_prediction(reference: Path) -> Path:
    """The reference a pixel to the side, with another class in a tenth of it."""
    path = reference.with_name(f"mapped_{reference.name}")
    if path.exists():
        return path
    with rasterio.open(reference) as dataset:
        truth, profile = dataset.read(1), dataset.profile
    mapped = np.roll(truth, 1, axis=1)
    wrong = np.random.default_rng(1).random(truth.shape, dtype=np.float32) < 0.1
    mapped[wrong] = (mapped[wrong] % _N_CLASSES) + 1
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(mapped, 1)
    return path


def _geoseg(mapped: Path, reference: Path, **more: Any) -> Callable[[], Found]:
    import geoseg
    from geoseg.legend import Legend

    legend = Legend.unnamed(tuple(range(1, _N_CLASSES + 1)))

    def run() -> Found:
        found = geoseg.evaluate_map(mapped, reference, legend=legend, reference_legend=legend, **more)
        found.summary_table()
        return found.pixels[:-1, :-1], found.class_scores.iou

    return run


def _boundaries(mapped: Path, reference: Path) -> Callable[[], Found]:
    from geoseg.evaluate.ruler import BorderRule

    return _geoseg(mapped, reference, borders=BorderRule())


def _objects(mapped: Path, reference: Path) -> Callable[[], Found]:
    return _geoseg(mapped, reference, instances=("1",))


def _read(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path, num_threads=os.cpu_count()) as dataset:
        pixels: NDArray[np.uint8] = dataset.read(1)
    return pixels


def _torchmetrics(mapped: Path, reference: Path) -> Callable[[], Found]:
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_jaccard_index

    # nodata is a class of its own, which is ignored
    options: dict[str, Any] = {"num_classes": _N_CLASSES + 1, "ignore_index": 0, "validate_args": False}

    def run() -> Found:
        one, two = (torch.from_numpy(_read(path)) for path in (mapped, reference))
        matrix = multiclass_confusion_matrix(one, two, **options)
        iou = multiclass_jaccard_index(one, two, average="none", **options)
        return matrix.numpy()[1:, 1:], iou.numpy()[1:].astype(np.float64)

    return run


def _numpy(mapped: Path, reference: Path) -> Callable[[], Found]:
    n = _N_CLASSES + 1

    def run() -> Found:
        code = _read(reference).astype(np.int64).ravel() * n + _read(mapped).ravel()
        matrix = np.bincount(code, minlength=n * n).reshape(n, n)[1:, 1:]
        hit = np.diag(matrix)
        return matrix, hit / (matrix.sum(axis=0) + matrix.sum(axis=1) - hit)

    return run


_MAKE: dict[str, Callable[[Path, Path], Callable[[], Found]]] = {
    "geoseg": _geoseg,
    "torchmetrics": _torchmetrics,
    "numpy": _numpy,
    "boundaries": _boundaries,
    "objects": _objects,
}


def contend(contender: str, mapped: Path, reference: Path, warm: tuple[Path, Path], out: Path) -> None:
    """One run of one contender in this process; prints seconds and bytes as JSON."""
    _MAKE[contender](*warm)()
    run = _MAKE[contender](mapped, reference)
    process = psutil.Process()
    before = peak = process.memory_info().rss
    stopping = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not stopping.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    began, used = time.perf_counter(), time.process_time()
    matrix, iou = run()
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    stopping.set()
    sampler.join()
    np.savez(out, matrix=matrix, iou=iou)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "added_bytes": peak - before}))


def main() -> None:
    """Run the benchmark and print a table; JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[2048, 8192], help="pixels a side")
    parser.add_argument("--contenders", nargs="+", default=list(_CONTENDERS), choices=_CONTENDERS)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, taken in turn; the median counts")
    parser.add_argument("--folder", type=Path, help="keep the maps here, and take those that are there")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--contend", nargs=6, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contend:
        contender, mapped, reference, *warm, out = args.contend
        contend(contender, Path(mapped), Path(reference), (Path(warm[0]), Path(warm[1])), Path(out))
        return
    print(f"# {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="geoseg-bench-") as name:
        folder = args.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        for side in args.sizes:
            rows += _compare(folder, side, args.contenders, args.repeat)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def _compare(folder: Path, side: int, contenders: list[str], repeat: int) -> list[dict[str, Any]]:
    pairs = [(make_prediction(reference), reference) for reference in (make_map(folder, n) for n in (side, 256))]
    paths = [str(path) for pair in pairs for path in pair]
    runs: dict[str, list[dict[str, Any]]] = {c: [] for c in contenders}
    known: Any = None
    for _ in range(repeat):
        for contender in contenders:
            out = folder / f"{contender}.npz"
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.evaluate", "--contend", contender, *paths]
            ended = subprocess.run([*command, str(out)], capture_output=True, text=True, check=False)
            if ended.returncode:
                raise SystemExit(f"{contender} ended with code {ended.returncode}: {ended.stderr}")
            runs[contender].append(json.loads(ended.stdout))
            found = np.load(out)
            known = found if known is None else known
            np.testing.assert_array_equal(found["matrix"], known["matrix"], err_msg=contender)
            np.testing.assert_allclose(found["iou"], known["iou"], rtol=1e-5, err_msg=contender)
    print(f"\n{side} x {side} px")
    print(f"{'':13} {'seconds':>8} {'x geoseg':>9} {'CPU s':>8} {'x geoseg':>9} {'added MiB':>10}")
    rows = []
    own = [_median(runs[contenders[0]], what) for what in ("seconds", "cpu")]
    for contender, each in runs.items():
        seconds, cpu = _median(each, "seconds"), _median(each, "cpu")
        added = max(run["added_bytes"] for run in each) >> 20
        print(
            f"{contender:13} {seconds:8.3f} {seconds / own[0]:9.2f} {cpu:8.3f} {cpu / own[1]:9.2f} {added:10}",
            flush=True,
        )
        rows.append(
            {
                "contender": contender,
                "side": side,
                "seconds": round(seconds, 4),
                "cpu_seconds": round(cpu, 4),
                "added_mib": added,
            }
        )
    return rows


def _median(runs: list[dict[str, Any]], what: str) -> float:
    return float(sorted(run[what] for run in runs)[len(runs) // 2])


if __name__ == "__main__":
    main()
