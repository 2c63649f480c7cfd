"""The shipped forest model, and the script that holds it against simpler ways."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

import geoseg
from geoseg.models.load import Model, load_model
from training.forest_amazon import SETTINGS, compare

DATA = Path(__file__).parents[2] / "shared" / "data" / "amazon-s2rgb-forest"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("forest-amazon")


def test_the_card_says_where_it_comes_from_and_how_good_it_is(model: Model) -> None:
    card = model.card
    assert model.bands == ("red", "green", "blue")
    assert card.legend.names == ("forest", "non-forest")
    assert card.units == "dn"
    assert card.gsd_m == pytest.approx(10, rel=0.01)
    assert model.weights is not None
    assert model.weights.stat().st_size < 4_000_000
    assert card.weights_sha256 == model.weights_sha256
    assert "Zenodo 3233081" in card.license
    assert "Copernicus" in card.license
    assert card.scores is not None
    assert card.scores.miou > 0.9
    page = (Path(__file__).parents[1] / "docs" / "models" / "forest-amazon.md").read_text("utf-8")
    assert f"{card.scores.miou:.3f}" in page
    assert "docs/models/forest-amazon.md" in card.description


def test_it_maps_real_forest_that_nothing_was_trained_on(model: Model) -> None:
    if not DATA.is_dir():
        pytest.skip("the real tiles are not here")
    right = pixels = 0
    for image in sorted((DATA / "val").glob("*_image.tif"))[:2]:
        mapped = geoseg.segment(geoseg.open_scene(image), model).classes.to_numpy()
        with rasterio.open(image.with_name(image.name.replace("_image", "_label"))) as file:
            truth = file.read(1)
        right, pixels = right + int((mapped == truth)[truth > 0].sum()), pixels + int((truth > 0).sum())
    assert right / pixels > 0.9


def test_the_table_has_every_way_with_intervals(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, n in (("train", 2), ("val", 3)):
        (tmp_path / part).mkdir()
        for i in range(n):
            truth = (1 + (np.arange(48) // 8 + i) % 2).astype(np.uint8)[None].repeat(48, 0)
            level = np.where(truth == 1, 40, 90)[None] + rng.integers(0, 20, (3, 48, 48))
            # red says it, the others nothing
            level[1:] = rng.integers(0, 200, (2, 48, 48))
            _write(tmp_path / part / f"t{i}_image.tif", level.astype(np.uint8))
            _write(tmp_path / part / f"t{i}_label.tif", truth[None])
    text = compare(tmp_path, Path(geoseg.__file__).parent / "models" / "zoo" / "forest-amazon")
    rows = text.splitlines()
    assert [row.split(" (")[0].split("  ")[0] for row in rows[1:5]] == ["majority", "rule", "random forest", "geoseg"]
    assert "0.500 (0.500 to 0.500)" in rows[1]
    assert "rule (red < " in rows[2]
    for row in rows[2:4]:
        assert row.count("1.000 (1.000 to 1.000)") == 2
    assert [row.startswith("mean IoU above ") for row in rows[6:]] == [True] * 3


def _write(path: Path, pixels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]) -> None:
    profile = {"driver": "GTiff", "height": 48, "width": 48, "count": len(pixels), "dtype": "uint8"}
    transform = Affine(9e-5, 0, -60, 0, -9e-5, -3)
    with rasterio.open(path, "w", crs="EPSG:4326", transform=transform, **profile) as file:
        file.write(pixels)
        if len(pixels) == 3:
            file.descriptions = ("red", "green", "blue")


def test_the_settings_it_was_trained_with_are_in_the_project(model: Model) -> None:
    from geoseg.train.config import load_training

    spec = load_training(SETTINGS, {}, folder=Path()).spec
    assert spec.name == model.card.name == "forest-amazon"
    assert f"each of {spec.batches} batches of {spec.batch_size} windows of {spec.window} px" in model.card.training
    assert model.card.architecture == spec.architecture
