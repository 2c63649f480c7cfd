"""The shipped model of Landsat 8 in southern Utah, and the script that holds it against simpler ways."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

import geoseg
from geoseg.models.choose import choose_model
from geoseg.models.load import Model, load_model
from geoseg.scene.open import open_scene
from training.held import compare, draw
from training.table import Gain, of_classes
from training.zion_cover import CLASSES, SCORED, SETTINGS, by_rules, choosing, held, images, prepare, ways

SHARED = Path(__file__).parents[2] / "shared" / "data"
DATA = SHARED / "zion-landsat8-nlcd"
ZOO = Path(geoseg.__file__).parent / "models" / "zoo" / "zion-cover"

real = pytest.mark.skipif(not DATA.is_dir(), reason="the real scenes are not here")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("zion-cover")


def test_the_card_says_where_it_comes_from_and_how_good_it_is(model: Model) -> None:
    card = model.card
    assert model.bands == ("blue", "green", "red", "nir")
    assert {c.value: c.name for c in card.legend} == CLASSES
    assert card.units == "dn"
    assert card.gsd_m == pytest.approx(30, rel=0.01)
    assert model.weights is not None
    assert model.weights.stat().st_size < 2 << 20
    assert card.weights_sha256 == model.weights_sha256
    assert "NLCD 2011" in card.license
    assert "public domain" in card.license
    assert card.scores is not None
    page = (Path(__file__).parents[1] / "docs" / "models" / "zion-cover.md").read_text("utf-8")
    assert f"{card.scores.miou:.3f}" in page
    assert f"temperature of {card.temperature:.2f}" in page
    assert "docs/models/zion-cover.md" in card.description


def test_the_settings_it_was_trained_with_are_in_the_project(model: Model) -> None:
    from geoseg.train.config import load_training

    spec = load_training(SETTINGS, {}, folder=Path()).spec
    assert spec.name == model.card.name == "zion-cover"
    assert f"each of {spec.batches} batches of {spec.batch_size} windows of {spec.window} px" in model.card.training
    assert model.card.architecture == spec.architecture
    assert {c.value: c.name for c in spec.classes} == CLASSES


@real
def test_it_is_taken_for_its_own_land_and_for_none_of_the_others(tmp_path: Path) -> None:
    assert choose_model([str(DATA / "val" / "zion_northeast_image.tif")], open_scene).name == "zion-cover"
    others = [
        "brumadinho-landsat8-pair/brumadinho_20190114.tif",
        "taizhou-landsat-change/taizhou_2000.tif",
        "naip-nd-pair/*2009*.tif",
        "chesapeake-naip-1m/val/*_image*.tif",
        "majortom-s2l2a-laos/*.tif",
    ]
    found = [file for pattern in others for file in sorted(SHARED.glob(pattern))[:1]]
    assert len(found) >= 3
    for file in found:
        assert choose_model([str(file)], open_scene).name != "zion-cover", file
    # the same ground as reflectance, on which it was not trained, and of other pixels
    with rasterio.open(DATA / "val" / "zion_northeast_image.tif") as source:
        profile, pixels = source.profile, source.read()
    with rasterio.open(tmp_path / "bytes.tif", "w", **{**profile, "dtype": "uint8", "nodata": None}) as file:
        file.write((pixels / 256).astype(np.uint8))
        file.descriptions = ("blue", "green", "red", "nir")
    assert choose_model([str(tmp_path / "bytes.tif")], open_scene).name != "zion-cover"
    coarse = {**profile, "height": 158, "width": 470, "transform": profile["transform"] @ Affine.scale(2)}
    with rasterio.open(tmp_path / "coarse.tif", "w", **coarse) as file:
        file.write(pixels[:, :158, :470])
        file.descriptions = ("blue", "green", "red", "nir")
    assert choose_model([str(tmp_path / "coarse.tif")], open_scene).name != "zion-cover"


def _constructed(folder: Path) -> None:
    """Scenes of 256 px with stripes of two classes and of what is united with them, that all bands tell."""
    rng = np.random.default_rng(0)
    for part, names in (("train", ("a", "b")), ("val", ("c",))):
        (folder / part).mkdir(parents=True)
        for at, name in enumerate(names):
            labels = np.array([4, 6, 3, 5], np.uint8)[np.arange(256) // 16 % 4][None].repeat(256, 0)
            level = np.select([labels == 4, labels == 3], [9000, 14000], 11000)
            pixels = np.stack([level + rng.integers(-200, 200, labels.shape) for _ in range(4)]).astype(np.uint16)
            labels[:10, :10] = 255
            profile = {"driver": "GTiff", "height": 256, "width": 256, "crs": "EPSG:32612", "compress": "deflate"}
            profile["transform"] = Affine(30, 0, 300000 + 20000 * at, 0, -30, 4150000)
            image = folder / part / f"{name}_image.tif"
            with rasterio.open(image, "w", count=4, dtype="uint16", nodata=65535, **profile) as file:
                file.write(pixels)
                file.descriptions = ("B2 blue", "B3 green", "B4 red", "B5 nir")
            label = folder / part / f"{name}_label.tif"
            with rasterio.open(label, "w", count=1, dtype="uint8", nodata=255, **profile) as file:
                file.write(labels, 1)


@pytest.fixture(scope="module")
def constructed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("zion")
    _constructed(folder / "set")
    prepare(folder / "set", folder / "work")
    return folder / "set", folder / "work"


def test_labels_are_united_and_squares_of_them_choose_the_epoch(constructed: tuple[Path, Path]) -> None:
    data, work = constructed
    for part, name in (("train", "a"), ("val", "c")):
        with rasterio.open(data / part / f"{name}_label.tif") as file:
            truth = file.read(1)
        with rasterio.open(work / part / f"{name}_label.tif") as file:
            found = file.read(1)
        np.testing.assert_array_equal(found == 5, (truth == 5) | (truth == 6))
        np.testing.assert_array_equal(found[truth != 6], truth[truth != 6])
    n = 0
    for name in ("a", "b"):
        with rasterio.open(work / "train" / f"{name}_label.tif") as file:
            labels = file.read(1)
        with rasterio.open(choosing(data, work) / f"{name}_label.tif") as file:
            chosen = file.read(1)
        for row, col in np.ndindex(2, 2):
            square = (slice(128 * row, 128 * row + 128), slice(128 * col, 128 * col + 128))
            if (chosen[square] != 255).any():
                np.testing.assert_array_equal(chosen[square], labels[square])
                n += 1
    assert n == 2  # a fifth of eight squares


def test_all_ways_are_scored_on_all_labels_of_the_one_scene(constructed: tuple[Path, Path], tmp_path: Path) -> None:
    data, work = constructed
    units = compare(ways(data, work, pixels=2000, trees=5), held(data, work), ZOO, tmp_path / "maps")
    assert len(units) == 9
    assert {int(each.reference.sum()) for each in units.values()} == {256 * 256 - 100}
    assert {len(each.agreed) for each in units.values()} == {len(units["majority"].agreed)}
    kept = [list(CLASSES.values()).index(c) for c in SCORED]
    some = {name: of_classes(each, kept) for name, each in units.items()}
    np.testing.assert_array_equal(some["majority"].reference.sum(axis=0), units["majority"].reference.sum(axis=0)[kept])
    assert Gain.of(some["random forest"], some["majority"]).low > 0.5
    draw(held(data, work), ZOO, tmp_path / "maps", tmp_path, rgb=(3, 2, 1))
    assert (tmp_path / "c_image.png").is_file()


def test_rules_are_called_what_is_nearest(constructed: tuple[Path, Path]) -> None:
    data, _ = constructed
    image = images(data, "val")[0]
    found = by_rules(image)(np.zeros((4, 256, 256), np.float32))
    scene = geoseg.open_scene(image, scale=0.00002, offset=-0.1)
    spectral = geoseg.segment(scene, load_model("spectral")).classes.to_numpy()
    assert set(np.unique(found)) <= set(CLASSES)
    np.testing.assert_array_equal(found == 4, (spectral == 2) | (spectral == 7))
    np.testing.assert_array_equal(found == 5, spectral == 3)
