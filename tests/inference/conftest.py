"""Small true scenes and a small true network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import segmentation_models_pytorch as smp
import torch
import yaml
from affine import Affine
from numpy.typing import NDArray
from safetensors.torch import save_file

from geoseg.models.load import Model, load_model
from geoseg.scene.open import open_scene
from geoseg.scene.scene import Scene


@pytest.fixture(scope="session")
def write_scene() -> Callable[..., Scene]:
    """A function that writes pixels (band, row, col) to a file and opens it as a scene."""

    def write(path: Path, pixels: NDArray[Any], nodata: float | None = None, **profile: Any) -> Scene:
        count, height, width = pixels.shape
        place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6), "nodata": nodata}
        profile = {"driver": "GTiff", "dtype": pixels.dtype} | place | profile
        with rasterio.open(path, "w", width=width, height=height, count=count, **profile) as file:
            file.write(pixels)
        return open_scene(path)

    return write


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Model]:
    """A function that writes a random U-Net of 3 bands and 3 classes, its weights times a factor, and loads it."""

    def write(folder: Path, factor: float = 1.0) -> Model:
        options = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
        torch.manual_seed(0)
        network = smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=3, **options)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            name: tensor.clone().contiguous() * (factor if name.endswith("weight") else 1)
            for name, tensor in network.state_dict().items()
        }
        save_file(tensors, folder / "weights.safetensors")
        card = {
            "name": "random",
            "version": "1",
            "kind": "smp",
            "architecture": {"name": "Unet", "encoder": "resnet18", "options": options},
            "weights": "weights.safetensors",
            "bands": [{"name": name, "mean": 128, "std": 64} for name in ("red", "green", "blue")],
            "units": "dn",
            "window": 64,
            "output_stride": 8,
            "classes": [{"value": v, "name": f"class {v}", "color": "#999999"} for v in (1, 4, 7)],
        }
        (folder / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
        return load_model(folder / "card.yaml")

    return write


@pytest.fixture(scope="session")
def unet(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Model]) -> Model:
    return write_model(tmp_path_factory.mktemp("unet"))


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory, write_scene: Callable[..., Scene]) -> Scene:
    """150 x 170 px of three bands, smooth and noisy, with a nodata corner and a nodata hole."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(1, 200, (3, 15, 17)).repeat(10, axis=1).repeat(10, axis=2)
    pixels = (coarse + rng.integers(0, 55, coarse.shape)).astype(np.uint8)
    pixels[:, :70, :68] = 0
    pixels[:, 100:110, 120:125] = 0
    path = tmp_path_factory.mktemp("town") / "town.tif"
    return write_scene(path, pixels, nodata=0, tiled=True, blockxsize=32, blockysize=32)
