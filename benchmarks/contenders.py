"""The contenders of the inference benchmark. Each runs in a process of its own: ``python -m benchmarks.contenders``.

All get the same scene, the same network, windows of 512 px with an overlap of a quarter, gaussian weights (MONAI and
geoseg), and leave a class map and a confidence raster as COGs.

A contender prints ``ready`` when everything is imported and the network is loaded and warm, waits for a line on stdin,
works, and prints its seconds as JSON.
"""

import argparse
import importlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.inference.lattice import Lattice
from geoseg.jobs.allocator import keep_memory

WINDOW, OVERLAP, N_BANDS, N_CLASSES = 512, 0.25, 4, 6
MEAN, STD, SCALE = 0.25, 0.06, 0.0001
_COG = {
    "driver": "COG", "compress": "DEFLATE", "blocksize": 512, "bigtiff": "IF_SAFER", "num_threads": "ALL_CPUS",
    "crs": "EPSG:32633", "dtype": "uint8", "count": 1, "nodata": 255,
}  # fmt: skip

Steps = dict[str, float]


def network(name: str) -> torch.nn.Module:
    """``conv1x1`` costs next to nothing, so what is left is the engine; ``unet`` is smp's with a resnet18 encoder."""
    torch.manual_seed(0)
    if name == "conv1x1":
        return torch.nn.Conv2d(N_BANDS, N_CLASSES, 1).eval()
    import segmentation_models_pytorch as smp

    unet: torch.nn.Module = smp.Unet("resnet18", encoder_weights=None, in_channels=N_BANDS, classes=N_CLASSES)
    return unet.eval()


def normalised(pixels: NDArray[np.uint16]) -> torch.Tensor:
    """Stored pixels (band, row, col) as network input."""
    x = pixels.astype(np.float32)
    x *= SCALE / STD
    x -= MEAN / STD
    return torch.from_numpy(x)


def decided(logits: torch.Tensor) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Class and confidence as anyone would write it with torch; by rows, so that it needs little memory."""
    classes = np.empty(logits.shape[1:], np.uint8)
    confidence = np.empty(logits.shape[1:], np.uint8)
    for row in range(0, logits.shape[1], 256):
        top, index = torch.softmax(logits[:, row : row + 256], dim=0).max(dim=0)
        classes[row : row + 256] = (index + 1).numpy()
        confidence[row : row + 256] = (top * 100).round().numpy()
    return classes, confidence


def write_outputs(folder: Path, scene: Path, classes: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
    """Both rasters as COGs, in one go each: overviews by mode and by average."""
    with rasterio.open(scene) as source:
        size = {"width": source.width, "height": source.height, "transform": source.transform}
    for name, pixels, how, level in (("classes", classes, "mode", 6), ("confidence", confidence, "average", 1)):
        profile = _COG | size | {"overview_resampling": how, "level": level}
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as target:
            target.write(pixels, 1)


def limit(scene: Path, net: torch.nn.Module, folder: Path) -> Steps:
    """What cannot be avoided, one after the other: one sequential read, the bare forward passes, one write."""
    steps: Steps = {}
    began = time.perf_counter()
    with rasterio.open(scene) as source:
        side = source.width
        for row in range(0, source.height, 512):
            source.read(window=Window(0, row, side, min(512, source.height - row)))
    steps["read"] = time.perf_counter() - began
    lattice = Lattice.cover(side, side, window=WINDOW, overlap=OVERLAP, output_stride=32)
    keep_memory()  # so does geoseg
    # as many as a cache cannot hold, as it is with windows of a scene
    batches = torch.randn(32, N_BANDS, WINDOW, WINDOW).to(memory_format=torch.channels_last).split(1)
    began = time.perf_counter()
    with torch.inference_mode():
        for i in range(lattice.n_windows):
            net(batches[i % len(batches)])
    steps["forward"] = time.perf_counter() - began
    with rasterio.open(_finished(folder.parent, side, "classes")) as done:
        classes = done.read(1)
    with rasterio.open(_finished(folder.parent, side, "confidence")) as done:
        confidence = done.read(1)
    began = time.perf_counter()
    write_outputs(folder, scene, classes, confidence)
    steps["write"] = time.perf_counter() - began
    return steps


def _finished(folder: Path, side: int, name: str) -> Path:
    """What geoseg made of the same scene: the limit writes the same pixels, so that compression costs the same."""
    return folder / "geoseg" / "run" / f"bench_{side}" / f"bench_{side}_{name}.tif"


def monai(scene: Path, net: torch.nn.Module, folder: Path) -> Steps:
    """MONAI's SlidingWindowInferer between a rasterio read and a rasterio write."""
    from monai.inferers.inferer import SlidingWindowInferer

    steps: Steps = {}
    began = time.perf_counter()
    with rasterio.open(scene) as source:
        pixels = normalised(source.read())[None]
    steps["read"] = time.perf_counter() - began
    began = time.perf_counter()
    inferer = SlidingWindowInferer(roi_size=(WINDOW, WINDOW), sw_batch_size=4, overlap=OVERLAP, mode="gaussian")
    with torch.inference_mode():
        logits: Any = inferer(pixels, net)
    del pixels
    classes, confidence = decided(logits[0])
    del logits
    steps["forward"] = time.perf_counter() - began
    began = time.perf_counter()
    write_outputs(folder, scene, classes, confidence)
    steps["write"] = time.perf_counter() - began
    return steps


def loop(scene: Path, net: torch.nn.Module, folder: Path) -> Steps:
    """A plain loop: read a window, predict, add weighted logits to an array of the whole scene, divide at the end."""
    steps: Steps = {}
    began = time.perf_counter()
    x = torch.arange(WINDOW) - (WINDOW - 1) / 2
    line = torch.exp(-(x**2) / (2 * (WINDOW / 8) ** 2))
    weight = line[:, None] * line
    with rasterio.open(scene) as source, torch.inference_mode():
        side = source.width
        lattice = Lattice.cover(side, side, window=WINDOW, overlap=OVERLAP, output_stride=32)
        total = torch.zeros(N_CLASSES, side, side)
        norm = torch.zeros(side, side)
        for row in lattice.rows.starts:
            for col in lattice.cols.starts:
                pixels = source.read(window=Window(col, row, WINDOW, WINDOW))
                logits = net(normalised(pixels)[None].to(memory_format=torch.channels_last))[0]
                total[:, row : row + WINDOW, col : col + WINDOW] += logits * weight
                norm[row : row + WINDOW, col : col + WINDOW] += weight
        total /= norm
    classes, confidence = decided(total)
    del total
    steps["read and forward"] = time.perf_counter() - began
    began = time.perf_counter()
    write_outputs(folder, scene, classes, confidence)
    steps["write"] = time.perf_counter() - began
    return steps


def geoseg_runner(name: str, net: torch.nn.Module) -> Callable[[Path, torch.nn.Module, Path], Steps]:
    """``geoseg run`` as a function, everything included but the polygons, which no other contender makes."""
    import geoseg.jobs.publish  # noqa: F401 - imported before the clock starts, as for the others
    from geoseg.inference import rows
    from geoseg.inference.recipe import Choices
    from geoseg.jobs.cluster import connect
    from geoseg.jobs.outcome import Options
    from geoseg.jobs.run import run
    from geoseg.models.card import CardBand, CardClass, ModelCard
    from geoseg.models.load import Model

    names = ("blue", "green", "red", "nir")
    card = ModelCard(
        name=f"bench-{name}",
        version="1",
        kind="spectral",  # carries no weights: the network is handed over below
        units="reflectance",
        bands=tuple(CardBand(name=n, mean=MEAN, std=STD) for n in names),
        window=WINDOW,
        overlap=OVERLAP,
        classes=tuple(CardClass(value=k + 1, name=f"class {k + 1}", color="#336699") for k in range(N_CLASSES)),
    )
    model = Model(card=card, source="benchmark", bands=names, mean=(MEAN,) * N_BANDS, std=(STD,) * N_BANDS)
    # the one thing replaced: where the network comes from, so that all contenders run the very same one
    setattr(rows, "build_network", lambda _model: net)  # noqa: B010 - mypy would have it final

    def work(scene: Path, _: torch.nn.Module, folder: Path) -> Steps:
        # what is finished is skipped, so every round has a folder of its own
        out = folder / "run"
        shutil.rmtree(out, ignore_errors=True)
        began = time.perf_counter()
        # forced: nothing real is as bright everywhere as the scene that was made for this
        options = Options(choices=Choices(device="cpu", force=True), formats=())
        with connect() as pool:
            connected = time.perf_counter()
            summary = run([str(scene)], out, model, options, pool=pool)
        if any(o.status != "done" for o in summary.outcomes):
            raise SystemExit(str(summary.outcomes))
        return {"connect": connected - began, "run": time.perf_counter() - connected}

    return work


def main() -> None:
    """Run one contender once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("contender", choices=["limit", "monai", "loop", "geoseg"])
    parser.add_argument("model", choices=["conv1x1", "unet"])
    parser.add_argument("scene", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    net = network(args.model).to(memory_format=torch.channels_last)
    work = {"limit": limit, "monai": monai, "loop": loop}.get(args.contender) or geoseg_runner(args.model, net)
    folder = args.output / args.contender
    folder.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        net(torch.randn(1, N_BANDS, WINDOW, WINDOW).to(memory_format=torch.channels_last))
    if args.contender == "monai":
        importlib.import_module("monai.inferers")
    if args.contender == "geoseg":
        _warm_geoseg(work, net, args.output)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(work(args.scene, net, folder)), flush=True)


def _warm_geoseg(work: Callable[[Path, torch.nn.Module, Path], Steps], net: torch.nn.Module, output: Path) -> None:
    """Load the compiled kernels from their cache on a tiny scene: part of the start-up, which is printed apart."""
    from benchmarks.scene import make_scene

    work(make_scene(output, 600), net, output / "warm")


if __name__ == "__main__":
    main()
