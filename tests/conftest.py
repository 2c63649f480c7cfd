"""For all tests: small scenes with known content, and the command line as a function."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import settings
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from tests.commands import Forks

# a busy machine is slow, which is no failure
settings.register_profile("geoseg", deadline=None)
settings.load_profile("geoseg")

UTM = Affine(10, 0, 399_960, 0, -10, 5_000_040)

WriteScene = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests first: whoever gets one of them last is not waited for by the other processes."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def blobs(height: int, width: int, *, n_bands: int = 3, seed: int = 0) -> NDArray[np.uint16]:
    """Pixels (band, row, col) from 100 to 4000: four kinds of ground in blobs of some 9 px, with noise and specks."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, (-(-height // 9), -(-width // 9))).repeat(9, axis=0).repeat(9, axis=1)[:height, :width]
    specks = rng.random((height, width)) < 0.03
    kinds[specks] = rng.integers(0, 4, int(specks.sum()))
    levels = rng.permuted(np.tile(np.array([300, 1200, 2200, 3600]), (n_bands, 1)), axis=1)
    noise = rng.normal(0, 60, (n_bands, height, width))
    return np.clip(levels[:, kinds] + noise, 100, 4000).astype(np.uint16)


def write_raster(path: Path, pixels: NDArray[Any], **changes: Any) -> Path:
    """A GeoTIFF of some pixels (band, row, col)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptions, alpha = changes.pop("descriptions", None), changes.pop("alpha", None)
    count, height, width = pixels.shape
    profile = {"crs": "EPSG:32633", "transform": UTM, "dtype": pixels.dtype, **changes}
    with rasterio.open(path, "w", driver="GTiff", count=count, height=height, width=width, **profile) as dataset:
        if alpha:
            kinds = [ColorInterp.alpha if i == alpha else ColorInterp.undefined for i in dataset.indexes]
            dataset.colorinterp = [ColorInterp.gray, *kinds[1:]]
        dataset.write(pixels)
        if descriptions:
            dataset.descriptions = descriptions
    return path


@pytest.fixture
def write_scene(tmp_path: Path) -> WriteScene:
    """A function that writes a GeoTIFF of blobs, by default of 70 rows and 90 columns, and gives its path."""

    def write(name: str = "in/scene.tif", *, pixels: NDArray[Any] | None = None, seed: int = 0, **changes: Any) -> Path:
        if pixels is None:
            height, width = changes.pop("shape", (70, 90))
            pixels = blobs(height, width, seed=seed)
        return write_raster(tmp_path / name, pixels, **changes)

    return write


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def geoseg_command(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Iterator[Command]:
    """A function that runs the command line in this process, as the installed program does.

    Its worker processes are those of `warm_workers`.
    """
    from geoseg.cli.main import main

    before = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(*words: object) -> Ended:
        if "-j" in words:
            request.getfixturevalue("warm_workers")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        code = ended.value.code
        return Ended(code=code if isinstance(code, int) else int(bool(code)), out=said.out, err=said.err)

    yield run
    # what is right for a program that ends soon is not for one that goes on
    gc.enable()
    gc.unfreeze()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    os.environ.clear()
    os.environ.update(before)


def write_unet(folder: Path, **changes: Any) -> Path:
    """The card of a small U-Net with random weights for three bands in any unit, its fields changed as is said."""
    import segmentation_models_pytorch as smp
    import torch
    import yaml
    from safetensors.torch import save_file

    torch.manual_seed(3)
    options = {"encoder_depth": 3, "decoder_channels": [32, 16, 8]}
    network = smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=4, **options)
    folder.mkdir()
    save_file({k: v.clone().contiguous() for k, v in network.state_dict().items()}, folder / "weights.safetensors")
    card = {
        "name": "random",
        "version": "1",
        "kind": "smp",
        "architecture": {"name": "Unet", "encoder": "resnet18", "options": options},
        "weights": "weights.safetensors",
        "bands": [{"name": name, "mean": 1800.0, "std": 900.0} for name in ("green", "red", "nir")],
        "units": "any",
        "window": 128,
        "overlap": 0.25,
        "output_stride": 8,
        "classes": [{"value": i, "name": f"class {i}", "color": "#999999"} for i in range(4)],
        **changes,
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    return folder / "card.yaml"


@pytest.fixture
def random_unet(tmp_path: Path) -> Path:
    """The card of `write_unet`."""
    return write_unet(tmp_path / "unet")


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Runs the command line in processes of their own, which start at once."""
    words = [sys.executable, str(Path(__file__).parent / "jobs" / "fork_server.py")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        yield Forks(process, tmp_path_factory.mktemp("forks"))
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="session")
def imported_for_processes() -> None:
    """A process that has imported all that worker processes do, to fork them from."""
    import multiprocessing
    from multiprocessing import forkserver

    modules = ["torch", "distributed", "geoseg.inference.rows", "geoseg.jobs.change", "geoseg.jobs.publish"]
    modules += ["geoseg.train.fit"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(modules)
    # before Dask names what it would have imported
    forkserver.ensure_running()


@pytest.fixture
def warm_workers(imported_for_processes: None) -> Iterator[None]:
    """Worker processes of clusters that a test starts in its own process are there at once.

    Their environment is that of the first of them, not that of the test.
    """
    import dask
    import distributed  # noqa: F401 - its settings have to be there, or they all go with this one

    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        yield


def read(path: Path) -> NDArray[Any]:
    """The first band of a raster."""
    with rasterio.open(path) as dataset:
        band: NDArray[Any] = dataset.read(1)
    return band
