"""What a run costs beside its computing: ``python -m benchmarks.jobs``.

- ``skip``: a folder of many tiny scenes that are all finished, run again: seconds and memory to see that nothing is
  to do. The results of one scene are copied for all, each with the key that its own raster gives.
- ``blocks``: one scene of very many blocks, computed by a stand-in that writes nothing, so that only planning, Dask,
  the journal and the runner are left: seconds for each tenth of the blocks, and memory after it.

Memory is that of the process (resident), less what it held before.
"""

import argparse
import json
import math
import os
import platform
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.area.sums import ClassTotals
from geoseg.inference.lattice import TILE, Block
from geoseg.inference.recipe import Recipe, recipe_for
from geoseg.jobs import runner
from geoseg.jobs.block import BlockResult
from geoseg.jobs.cluster import connect
from geoseg.jobs.journal import Journal
from geoseg.jobs.lock import STATE, hold
from geoseg.jobs.outcome import Event, Options, SceneOutcome
from geoseg.jobs.plan import ScenePlan, plan_blocks
from geoseg.jobs.publish import SceneResult
from geoseg.jobs.run import plan_run, run
from geoseg.models.load import Model, load_model
from geoseg.outputs.parts import Part
from geoseg.scene.open import open_scene

__all__ = ["main"]

_BANDS = ("blue", "green", "red", "nir")
_OPTIONS = Options(scale=0.0001, formats=())


def _write(path: Path, side: int = 64) -> None:
    profile = {"driver": "GTiff", "count": 4, "height": side, "width": side, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=Affine(10, 0, 4e5, 0, -10, 5e6), **profile) as dataset:
        dataset.write(np.random.default_rng(0).integers(100, 4000, (4, side, side)).astype(np.uint16))
        dataset.descriptions = _BANDS


def _rss() -> float:
    return float(psutil.Process().memory_info().rss / 2**20)


def _finish_all(rasters: list[str], out: Path, model: Model) -> None:
    """The results of the first raster for all of them."""
    with connect() as pool:
        run(rasters[:1], out, model, _OPTIONS, pool=pool)
    first = out / Path(rasters[0]).stem
    item = json.loads((first / f"{first.name}.json").read_text())
    for plan in plan_run(rasters[1:], model, _OPTIONS):
        assert not isinstance(plan, SceneOutcome), plan.error
        name = plan.recipe.scene.id
        folder = out / name
        folder.mkdir()
        for file in first.iterdir():
            if file.suffix != ".json":
                shutil.copyfile(file, folder / file.name.replace(first.name, name))
        item["properties"]["geoseg:parameters"]["key"] = plan.recipe.key
        text = json.dumps(item).replace(first.name, name)
        (folder / f"{name}.json").write_text(text)


def skip(folder: Path, n: int) -> None:
    """Print what a run over ``n`` finished scenes takes."""
    model = load_model("spectral")
    scenes, out = folder / "scenes", folder / "out"
    scenes.mkdir()
    _write(scenes / "s0.tif")
    for i in range(1, n):
        shutil.copyfile(scenes / "s0.tif", scenes / f"s{i}.tif")
    rasters = [str(p) for p in sorted(scenes.iterdir())]
    _finish_all(rasters, out, model)
    with connect() as pool:
        for some in (rasters[: n // 10], rasters):
            before, began = _rss(), time.perf_counter()
            summary = run(some, out, model, _OPTIONS, pool=pool)
            seconds = time.perf_counter() - began
            assert all(o.status == "unchanged" for o in summary.outcomes), {o.status for o in summary.outcomes}
            each = f"{seconds / len(some) * 1e3:.2f} ms each, {_rss() - before:.0f} MiB more than before"
            print(f"{len(some):7d} finished scenes skipped in {seconds:6.2f} s, {each}", flush=True)


def _nothing(recipe: Recipe, block: Block, path: Path, probabilities: bool = False) -> BlockResult:  # noqa: ARG001
    """Stands in for the computing of a block."""
    part = Part(path=path, block=block, crcs=((1,), (2,)), size=1000, sha256="0" * 64)
    totals = ClassTotals.zero()
    totals.pixels[:8] = block.height * block.width // 8
    return BlockResult(part=part, totals=totals)


def _published(*what: Any) -> SceneResult:
    """Stands in for the writing of the outputs."""
    return SceneResult(folder=what[2], n_polygons=None)


def blocks(folder: Path, n: int) -> None:
    """Print what ``n`` blocks of one scene take beside their computing, tenth by tenth."""
    side = math.ceil(math.sqrt(n))
    _write(folder / "small.tif")
    scene = open_scene(folder / "small.tif", scale=_OPTIONS.scale)
    # no such file is needed, for nothing is read
    large = replace(scene, geobox=GeoBox((-(-n // side) * TILE, side * TILE), scene.geobox.affine, scene.geobox.crs))
    began, start = time.perf_counter(), _rss()
    recipe = recipe_for(large, load_model("spectral"))
    plan = ScenePlan(recipe=recipe, blocks=plan_blocks(large, block_size=TILE))
    print(f"planned {len(plan.blocks)} blocks in {time.perf_counter() - began:.1f} s, {_rss() - start:.0f} MiB more")
    setattr(runner, "compute_block", _nothing)  # noqa: B010 - a stand-in, as mypy would have it
    setattr(runner, "publish_scene", _published)  # noqa: B010
    tenth, done, last = len(plan.blocks) // 10, 0, time.perf_counter()

    def listen(event: Event) -> None:
        nonlocal done, last
        done += event.kind == "block"
        if event.kind == "block" and done % tenth == 0:
            now = time.perf_counter()
            each = f"{(now - last) / tenth * 1e3:.2f} ms each in this tenth, {_rss() - start:.0f} MiB more"
            print(f"{done:7d} blocks, {each}", flush=True)
            last = now

    options = replace(_OPTIONS, block_size=TILE)
    out = folder / "out"
    with connect() as pool, hold(out), Journal(out / STATE) as journal:
        (outcome,) = runner.Runner(out, options, pool, journal, listen).run(iter([plan]))
    print(f"{outcome.error or outcome.status} in {time.perf_counter() - began:.1f} s, {_rss() - start:.0f} MiB more")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=int, default=10_000)
    parser.add_argument("--blocks", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None, help="where files go; a RAM disk keeps the disk out of it")
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}")
    if asked.folder is not None:
        asked.folder.mkdir(parents=True, exist_ok=True)
    for what, n in ((skip, asked.scenes), (blocks, asked.blocks)):
        if n:
            with tempfile.TemporaryDirectory(dir=asked.folder) as name:
                what(Path(name), n)


if __name__ == "__main__":
    main()
