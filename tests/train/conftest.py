"""Small scenes whose labels follow from their pixels, so that a small network learns them in seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from geoseg.jobs.train import Trained, train
from geoseg.train.config import load_training
from geoseg.train.machine import Machine

SIDE = 96
BANDS = ("red", "nir")
TINY = {
    "name": "Unet",
    "encoder": "tu-resnet18",
    "options": {"encoder_depth": 2, "decoder_channels": [8, 4]},
}


def write(path: Path, pixels: NDArray[Any], *, x: float = 500_000.0, crs: str = "EPSG:32632", **profile: Any) -> Path:
    """A GeoTIFF of 10 m pixels."""
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"transform": Affine(10, 0, x, 0, -10, 5_300_000.0)} | profile
    bands = settings.pop("bands", ())
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=pixels.shape[1],
        width=pixels.shape[2],
        count=len(pixels),
        dtype=pixels.dtype,
        crs=crs,
        **settings,
    ) as file:
        file.write(pixels)
        for i, name in enumerate(bands, 1):
            file.set_band_description(i, name)
    return path


def made(seed: int, side: int = SIDE) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pixels (2, row, col) of two classes in squares of 8 px, and labels 1 and 2."""
    rng = np.random.default_rng(seed)
    cover = (rng.random((-(-side // 8), -(-side // 8))) < 0.4).repeat(8, 0).repeat(8, 1)[:side, :side]
    red = np.where(cover, 60, 110) + rng.integers(-20, 20, cover.shape)
    nir = np.where(cover, 150, 90) + rng.integers(-20, 20, cover.shape)
    return np.stack([red, nir]).astype(np.uint8), np.where(cover, 2, 1).astype(np.uint8)


def trained(settings: dict[str, Any], output: Path, **options: Any) -> Trained:
    return train(
        load_training(None, settings, folder=Path("/")),
        output,
        machine=options.pop("machine", Machine(threads=1)),
        say=options.pop("say", lambda _: None),
        progress=options.pop("progress", lambda *_: None),
        **options,
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``images/`` and ``labels/`` of four scenes side by side."""
    folder = tmp_path_factory.mktemp("train")
    for i in range(4):
        pixels, labels = made(i)
        write(folder / "images" / f"s{i}.tif", pixels, x=500_000.0 + 2_000 * i, bands=BANDS)
        write(folder / "labels" / f"s{i}.tif", labels, x=500_000.0 + 2_000 * i, nodata=0)
    return folder


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Settings and the model they gave."""
    settings = {
        "images": [str(data / "images")],
        "labels": str(data / "labels"),
        "name": "two kinds",
        "place": [-180, -80, 180, 80],
        "classes": [{"value": 1, "name": "field"}, {"value": 2, "name": "wood", "color": "#1c6b3c"}],
        "architecture": TINY,
        "split": {"val": ["s3"]},
        "window": 32,
        "batch_size": 4,
        "epochs": 4,
        "batches": 10,
        "learning_rate": 0.01,
        "pictures": 2,
    }
    output = tmp_path_factory.mktemp("model") / "model"
    trained(settings, output)
    return settings, output


@pytest.fixture
def settings(data: Path) -> Callable[..., dict[str, Any]]:
    """Settings of a training that takes a second, with some of them changed."""

    def changed(**other: Any) -> dict[str, Any]:
        return {
            "images": [str(data / "images")],
            "labels": str(data / "labels"),
            "architecture": TINY,
            "split": {"val": ["s3"]},
            "window": 32,
            "batch_size": 4,
            "epochs": 2,
            "batches": 6,
            "learning_rate": 0.01,
            "pictures": 2,
        } | other

    return changed
