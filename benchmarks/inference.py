"""End to end against the alternatives and the limit: ``python -m benchmarks.inference``.

Each contender runs in a process of its own on the same scene with the same network. Wall time starts when everything
is imported and warm and ends when both rasters are on disk. Memory is the peak of the whole process tree while it
works, less what it held when it was ready. Start-up is printed apart.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.scene import make_scene

__all__ = ["main"]

_CONTENDERS = ("geoseg", "limit", "loop", "monai")


class _Peak(threading.Thread):
    """Samples the resident memory of a process tree."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._stopping = threading.Event()
        self.peak = self.now()

    def now(self) -> int:
        total = 0
        try:
            for process in (self._process, *self._process.children(recursive=True)):
                total += process.memory_info().rss
        except psutil.NoSuchProcess:
            pass
        return total

    def run(self) -> None:
        while not self._stopping.wait(0.02):
            self.peak = max(self.peak, self.now())

    def stop(self) -> int:
        self._stopping.set()
        self.join()
        return self.peak


def measure(contender: str, model: str, scene: Path, folder: Path) -> dict[str, object]:
    """One run of one contender: seconds of its steps and in all, start-up, memory in MiB."""
    command = [sys.executable, "-m", "benchmarks.contenders", contender, model, str(scene), str(folder)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "GDAL_CACHEMAX": "32"}
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if line.strip() != "ready":
            raise SystemExit(f"{contender} did not get ready: {line}{process.stdout.read()}")
        ready = time.perf_counter() - began
        peak = _Peak(process.pid)
        before = peak.peak
        peak.start()
        process.stdin.write("go\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        top = peak.stop()
    if not answer:
        raise SystemExit(f"{contender} ended with code {process.returncode}")
    steps = {name: round(seconds, 3) for name, seconds in json.loads(answer).items()}
    return {
        "contender": contender,
        "seconds": round(sum(steps.values()), 3),
        "start": round(ready, 2),
        "ready_mib": before >> 20,
        "added_mib": (top - before) >> 20,
        "steps": steps,
    }


def main() -> None:
    """Run the benchmark and print a table; JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["conv1x1", "unet"], choices=["conv1x1", "unet"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[2048, 4096, 8192, 16384], help="pixels a side")
    parser.add_argument("--unet-sizes", nargs="+", type=int, default=[2048, 4096], help="the network is slow on a CPU")
    parser.add_argument("--contenders", nargs="+", default=list(_CONTENDERS), choices=_CONTENDERS)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--folder", type=Path, help="where scenes and outputs are kept; by default removed at the end")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="geoseg-bench-"))
    print(f"# {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; scenes in {folder}")
    rows = []
    try:
        for model in args.models:
            for side in args.unet_sizes if model == "unet" else args.sizes:
                rows += _compare(model, side, folder, args.contenders, args.repeat)
    finally:
        if args.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1))


def _compare(model: str, side: int, folder: Path, contenders: list[str], repeat: int) -> list[dict[str, object]]:
    scene = make_scene(folder, side)
    # the contenders in turn, round by round: a machine that slows down slows all of them
    runs: dict[str, list[dict[str, object]]] = {c: [] for c in contenders}
    for _ in range(repeat):
        for contender in contenders:  # geoseg first: the limit writes the pixels that geoseg found
            runs[contender].append(measure(contender, model, scene, folder / model))
    print(f"\n{model}, {side} x {side} px")
    print(
        f"{'':10} {'seconds':>8} {'x limit':>8} {'Mpx/s':>7} {'start s':>8} {'ready MiB':>10} {'added MiB':>10}  steps"
    )
    median = {c: sorted(found, key=lambda r: float(str(r["seconds"])))[len(found) // 2] for c, found in runs.items()}
    least = float(str(median["limit"]["seconds"])) if "limit" in median else float("nan")
    rows = []
    for contender, row in median.items():
        seconds = float(str(row["seconds"]))
        added = max(int(str(r["added_mib"])) for r in runs[contender])
        row |= {"model": model, "side": side, "ratio": round(seconds / least, 3), "added_mib": added}
        print(
            f"{contender:10} {seconds:8.2f} {seconds / least:8.2f} {side * side / 1e6 / seconds:7.2f} "
            f"{row['start']:>8} {row['ready_mib']:>10} {added:>10}  {row['steps']}",
            flush=True,
        )
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
