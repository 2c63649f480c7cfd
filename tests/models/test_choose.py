"""Which shipped model is taken where none is named."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from geoseg.models.choose import FALLBACK, choose_model
from geoseg.models.load import list_models, load_model
from geoseg.scene.open import open_scene

AMAZON, OCEAN, DUBAI = (-60.0, -5.0), (-30.0, -5.0), (55.3, 25.2)
FOREST = Path(__file__).parents[3] / "shared" / "data" / "amazon-s2rgb-forest" / "val" / "amazon_1154_40_image.tif"


def scene(path: Path, *, at: tuple[float, float], bands: tuple[str, ...], **more: Any) -> str:
    """Pixels of dark green as in the training of forest-amazon, some 10 m large, at a longitude and latitude."""
    step = more.pop("step", 9e-5)
    base = {"red": 22, "green": 35, "blue": 27, "nir": 90}
    rng = np.random.default_rng(0)
    pixels = np.stack([base[b] + rng.integers(-8, 9, (256, 256)) for b in bands]).astype(np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", height=256, width=256, count=len(bands), dtype="uint8", crs="EPSG:4326",
        photometric="minisblack",
        transform=Affine(step, 0, at[0], 0, -step, at[1]),
    ) as file:  # fmt: skip
        file.write(pixels)
        file.descriptions = bands
        if more.pop("scaled", False):
            file.scales = [0.004] * len(bands)
    return str(path)


def test_rules_come_first_wherever_they_fit(tmp_path: Path) -> None:
    href = scene(tmp_path / "a.tif", at=AMAZON, bands=("red", "green", "blue", "nir"), scaled=True)
    choice = choose_model([href], open_scene)
    assert (choice.name, choice.why) == (FALLBACK, "rules that hold anywhere, and a has what they need")


def test_a_trained_model_is_taken_in_its_place_where_it_fits_and_rules_do_not(tmp_path: Path) -> None:
    rgb = ("red", "green", "blue")
    there = scene(tmp_path / "there.tif", at=AMAZON, bands=rgb)
    choice = choose_model([there], open_scene)
    assert choice.name == "forest-amazon"
    assert "there has what it needs, and not what spectral needs. Forest and non-forest in the Brazilian" in choice.why
    for other in (
        scene(tmp_path / "ocean.tif", at=OCEAN, bands=rgb),
        scene(tmp_path / "coarse.tif", at=AMAZON, bands=rgb, step=2e-4),
        scene(tmp_path / "dubai.tif", at=DUBAI, bands=rgb),
    ):
        assert choose_model([other], open_scene).name == FALLBACK
    # one that cannot be opened, and one that nothing fits, leave it to the next
    (tmp_path / "broken.tif").write_bytes(b"no raster")
    hrefs = [str(tmp_path / "broken.tif"), str(tmp_path / "ocean.tif"), there]
    assert choose_model(hrefs, open_scene).name == "forest-amazon"
    assert choose_model([], open_scene).name == FALLBACK


def test_trained_models_say_where_they_are_of_use() -> None:
    placed = {info.name for info in list_models() if load_model(info.name).card.place is not None}
    assert placed == {"chesapeake-cover", "dubai-cover", "forest-amazon", "zion-cover"}


@pytest.mark.skipif(not FOREST.exists(), reason="needs the real tiles")
def test_a_real_tile_of_the_amazon_gets_the_model_of_the_amazon() -> None:
    assert choose_model([str(FOREST)], open_scene).name == "forest-amazon"


def test_four_bands_of_aerial_imagery_get_the_model_of_the_appalachians_in_its_place_only(tmp_path: Path) -> None:
    patch = FOREST.parents[2] / "chesapeake-naip-1m" / "val" / "m_3708035_ne_17_6_image.tif"
    if not patch.exists():
        pytest.skip("needs the real patches")
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning), rasterio.open(patch) as file:
        pixels = file.read()

    def placed(name: str, *, x: float = 526_000, size: float = 1.0, bands: int = 4) -> str:
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", height=256, width=256, count=bands, dtype="uint8",
            crs="EPSG:26917", transform=Affine(size, 0, x, 0, -size, 4_145_000), photometric="minisblack",
        ) as file:  # fmt: skip
            file.write(pixels[:bands])
            file.descriptions = ("red", "green", "blue", "nir")[:bands]
        return str(tmp_path / f"{name}.tif")

    assert choose_model([placed("there")], open_scene).name == "chesapeake-cover"
    for other in (placed("elsewhere", x=900_000), placed("coarse", size=5), placed("colours", bands=3)):
        assert choose_model([other], open_scene).name == FALLBACK
