"""The simple ways that shipped models are held against, and how all are held against labels."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

import geoseg
from geoseg.models.load import load_model
from training.cells import averaged, most
from training.held import OURS, Held, beside, compare, stretched
from training.table import Gain
from training.ways import contrasts, simple_ways, surroundings

ZOO = Path(geoseg.__file__).parent / "models" / "zoo" / "dubai-cover"


def test_surroundings_are_means_and_deviations_of_squares() -> None:
    pixels = np.random.default_rng(0).normal(9000, 20, (2, 12, 14)).astype(np.float32)
    found = surroundings([3, 5])(pixels)
    assert found.shape == (2 + 2 * 2 * 2, 12, 14)
    np.testing.assert_array_equal(found[:2], pixels)
    for i, side in enumerate((3, 5)):
        square = pixels[1, 6 - side // 2 : 7 + side // 2, 6 - side // 2 : 7 + side // 2].astype(np.float64)
        assert found[2 + 4 * i + 1, 6, 6] == pytest.approx(square.mean(), abs=0.01)
        assert found[2 + 4 * i + 3, 6, 6] == pytest.approx(square.std(), rel=1e-3)


def test_contrasts_are_normalised_differences() -> None:
    pixels = np.array([1.0, 3.0, 0.0, 0.0], np.float32).reshape(4, 1, 1)
    found = contrasts(pixels)[:, 0, 0]
    np.testing.assert_allclose(found, [1, 3, 0, 0, 1, -0.5, 1, 1, 1, 1, 0])


def test_cells_have_the_mean_and_the_commonest_class() -> None:
    labels = np.array([[7, 7, 255, 255, 0], [7, 2, 255, 2, 0], [1, 1, 1, 1, 1]], np.uint8)
    np.testing.assert_array_equal(most(labels, 2), [[7, 255]])
    wide = labels.astype(np.uint16)[None] * 100
    np.testing.assert_array_equal(averaged(wide, 2), [[[575, 19175]]])
    assert averaged(wide, 2).dtype == np.uint16


def test_ways_learn_from_what_has_a_label_whatever_stands_for_none() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(np.array([0, 3, 8], np.uint8), (40, 50), p=[0.2, 0.7, 0.1])
    bands = np.stack([labels * np.uint16(1000), rng.integers(0, 9000, labels.shape, dtype=np.uint16)])
    found = dict(simple_ways([(bands, labels), (bands, labels)], ignore=0, sides=(3,), pixels=1000, trees=5))
    assert len(found) == 7
    assert np.unique(found["majority"](bands.astype(np.float32))).tolist() == [3]
    for name in ("thresholds", "random forest", "random forest, balanced"):
        np.testing.assert_array_equal(found[name](bands.astype(np.float32))[labels > 0], labels[labels > 0])


def test_a_single_scene_is_scored_in_parts_and_each_way_on_all_labels(tmp_path: Path) -> None:
    model = load_model(ZOO)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (96, 200), dtype=np.uint8)
    pixels = np.stack([labels * 30] * 3)
    labels[:30, :40] = 255
    (tmp_path / "labels").mkdir()
    profile = {"driver": "GTiff", "width": 200, "height": 96, "crs": "EPSG:32612", "dtype": "uint8"}
    profile["transform"] = Affine(1, 0, 300000, 0, -1, 4000000)
    with rasterio.open(tmp_path / "x_image.tif", "w", count=3, **profile) as file:
        file.write(pixels)
    with rasterio.open(tmp_path / "labels" / "x_label.tif", "w", count=1, nodata=255, **profile) as file:
        file.write(labels, 1)
        file.update_tags(1, CLASSES=" ".join(f"{c.value}={c.name}" for c in model.card.legend))
    held = Held(images=(tmp_path / "x_image.tif",), labels=tmp_path / "labels")
    assert held.label_of(held.images[0]) == tmp_path / "labels" / "x_label.tif"
    known = {"right": lambda pixels: (pixels[0] / 30).astype(np.uint8), "one": lambda p: np.ones(p.shape[1:], np.uint8)}
    units = compare(known.items(), held, ZOO, tmp_path / "maps")
    assert list(units) == ["right", "one", OURS]
    assert {len(each.agreed) for each in units.values()} == {len(units["one"].agreed)}
    assert len(units["one"].agreed) > 1
    for each in units.values():
        np.testing.assert_array_equal(each.reference.sum(axis=0), np.bincount(labels[labels < 255], minlength=5))
    assert (units["right"].agreed == units["right"].reference).all()
    assert Gain.of(units["right"], units["one"]).low > 0.5


def test_pictures_of_any_numbers_are_stretched_and_laid_side_by_side() -> None:
    wide = np.linspace(8000, 12000, 3 * 20 * 30).reshape(3, 20, 30).astype(np.uint16)
    shown = stretched(wide)
    assert shown.shape == (20, 30, 3)
    assert (shown.min(), shown.max()) == (0, 255)
    np.testing.assert_array_equal(stretched(wide.astype(np.uint8)), wide.astype(np.uint8).transpose(1, 2, 0))
    whole = beside(shown, shown[::2, ::2])
    assert isinstance(whole, Image.Image)
    assert whole.size == (64, 20)
