"""The shipped model of sub-metre true colour, and the script that holds it against simpler ways."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image

import geoseg
from geoseg.evaluate.scores import Margins
from geoseg.models.load import Model, load_model
from training.cells import averaged, most
from training.dubai_cover import SETTINGS, SHARES_GROUND, choosing, colours, held, prepare, ways
from training.dubai_scenes import CLASSES, GSD_M, pictures, scenes
from training.held import compare, draw
from training.shipping import calibrate, ship
from training.table import Gain, gains, table
from training.ways import NOT_LABELLED, simple_ways

DATA = Path(__file__).parents[2] / "shared" / "data" / "dubai-rgb-6class"
ZOO = Path(geoseg.__file__).parent / "models" / "zoo" / "dubai-cover"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("dubai-cover")


def test_the_card_says_where_it_comes_from_and_how_good_it_is(model: Model) -> None:
    card = model.card
    assert model.bands == ("red", "green", "blue")
    assert card.legend.names == CLASSES
    assert card.units == "dn"
    assert card.gsd_m == pytest.approx(2 * GSD_M, rel=0.01)
    assert model.weights is not None
    assert model.weights.stat().st_size < 2 << 20
    assert card.weights_sha256 == model.weights_sha256
    assert "Humans in the Loop" in card.license
    assert "not verified" in card.license
    assert card.scores is not None
    page = (Path(__file__).parents[1] / "docs" / "models" / "dubai-cover.md").read_text("utf-8")
    assert f"{card.scores.miou:.3f}" in page
    assert f"temperature of {card.temperature:.2f}" in page
    assert "docs/models/dubai-cover.md" in card.description


def test_the_settings_it_was_trained_with_are_in_the_project(model: Model) -> None:
    from geoseg.train.config import load_training

    spec = load_training(SETTINGS, {}, folder=Path()).spec
    assert spec.name == model.card.name == "dubai-cover"
    assert f"each of {spec.batches} batches of {spec.batch_size} windows of {spec.window} px" in model.card.training
    assert model.card.architecture == spec.architecture
    assert [c.name for c in spec.classes] == list(CLASSES)
    assert [c.value for c in spec.classes] == list(range(len(CLASSES)))


def test_it_knows_more_of_a_tile_it_never_saw_than_thresholds_and_a_random_forest(model: Model, tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip("the real pictures are not here")
    scored = pictures(DATA / "val")[1::2]
    scenes(scored, tmp_path)
    read = []
    for picture in pictures(DATA / "train")[1:20:3]:
        assert picture.name not in SHARES_GROUND
        pixels, labels = picture.read()
        read.append((averaged(pixels, 4), most(labels, 4)))
    others = {}
    for name, way in simple_ways(read, thresholds_on=colours, pixels=20_000, trees=20):
        others[name] = way
        if name == "random forest":
            break
    counts: dict[str, list[NDArray[np.int64]]] = {name: [] for name in ("geoseg", *others)}
    for picture in scored:
        pixels, labels = picture.read()
        truth = most(labels, 2)
        mapped = geoseg.segment(geoseg.open_scene(tmp_path / "images" / f"{picture.name}.tif"), model).classes
        assert mapped.shape == truth.shape
        counts["geoseg"].append(_confusion(truth, mapped.to_numpy()))
        for name, way in others.items():
            counts[name].append(_confusion(truth, way(averaged(pixels, 2).astype(np.float32))))
    units = {name: Margins.of(np.stack(each)) for name, each in counts.items()}
    assert Gain.of(units["geoseg"], units["random forest"]).low > 0
    assert Gain.of(units["geoseg"], units["thresholds"]).low > 0
    assert Gain.of(units["geoseg"], units["majority"]).low > 0.2


def _confusion(truth: NDArray[np.uint8], mapped: NDArray[np.uint8]) -> NDArray[np.int64]:
    k, known = len(CLASSES), truth != NOT_LABELLED
    pairs = truth[known].astype(np.int64) * k + mapped[known]
    return np.bincount(pairs, minlength=k * k).reshape(k, k)


def _constructed(folder: Path, tile: int, part: int) -> None:
    """Stripes of the first three classes, whose red says it, in a picture of 60 x 50 px; a corner without a label."""
    labels = ((np.arange(60) // 10 + part) % 3).astype(np.uint8)[None].repeat(50, 0)
    pixels = np.stack([60 * labels, np.full_like(labels, 80), np.full_like(labels, 90)], axis=-1)
    labels = labels.copy()
    labels[:10, :10] = NOT_LABELLED
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"tile{tile}_part{part:03d}.jpg", quality=95)
    Image.fromarray(labels).save(folder / f"tile{tile}_part{part:03d}_label.png")


def test_pictures_become_scenes_in_a_place_of_their_own(tmp_path: Path) -> None:
    for part in (1, 2):
        _constructed(tmp_path / "set", 3, part)
    found = pictures(tmp_path / "set")
    assert [(p.name, p.tile, p.part) for p in found] == [("tile3_part001", 3, 1), ("tile3_part002", 3, 2)]
    scenes(found, tmp_path / "fine")
    scenes(found, tmp_path / "coarse", coarser=4)
    bounds = []
    for picture in found:
        pixels, labels = picture.read()
        with rasterio.open(tmp_path / "fine" / "images" / f"{picture.name}.tif") as file:
            np.testing.assert_array_equal(file.read(), pixels)
            assert file.descriptions == ("red", "green", "blue")
            assert file.crs.linear_units == "metre"
            bounds.append(file.bounds)
        scene = geoseg.open_scene(tmp_path / "coarse" / "images" / f"{picture.name}.tif")
        assert (scene.height, scene.width) == (12, 15)
        with rasterio.open(tmp_path / "coarse" / "labels" / f"{picture.name}.tif") as file:
            assert file.res == (4 * GSD_M, 4 * GSD_M)
            coarse = file.read(1)
        # cell by cell, the slow way
        for row, col in np.ndindex(coarse.shape):
            cell = labels[4 * row : 4 * row + 4, 4 * col : 4 * col + 4]
            assert (cell == coarse[row, col]).sum() == np.bincount(cell.ravel()).max()
    assert rasterio.coords.disjoint_bounds(*bounds)


@pytest.fixture(scope="module")
def constructed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A set of such pictures, among them one that must be left out and one that chooses the epoch, and its scenes."""
    folder = tmp_path_factory.mktemp("dubai")
    for part, tile, number in [("train", 1, 1), ("train", 1, 6), ("train", 2, 1), *(("val", 3, i) for i in (1, 2, 3))]:
        _constructed(folder / "set" / part, tile, number)
    prepare(folder / "set", folder / "work")
    return folder / "set", folder / "work"


def test_pictures_that_show_what_is_scored_are_not_trained_on(constructed: tuple[Path, Path]) -> None:
    data, work = constructed
    trained = {file.stem for file in (work / "train" / "images").iterdir()}
    assert trained == {"tile1_part006", "tile2_part001"}
    before = {file: file.stat().st_mtime_ns for file in work.rglob("*.tif")}
    prepare(data, work)
    assert {file: file.stat().st_mtime_ns for file in work.rglob("*.tif")} == before


def test_the_table_has_every_way_with_intervals(constructed: tuple[Path, Path], tmp_path: Path) -> None:
    data, work = constructed
    units = compare(ways(data, pixels=2000, trees=5), held(work), ZOO, tmp_path / "maps")
    assert list(units) == [
        "majority",
        *(name + how for name in ("thresholds", "random forest", "forest, surroundings") for how in ("", ", balanced")),
        "geoseg",
    ]
    text = table(units, CLASSES).splitlines()
    assert text[0].split() == ["accuracy", "mean", "IoU", *CLASSES]
    assert len(text) == 1 + len(units)
    # red says all that the labels do, and a network that was trained on another land knows nothing of it
    assert Gain.of(units["random forest"], units["majority"]).low > 0.5
    assert gains(units, "geoseg")["random forest"].high < 0
    assert str(Gain.of(units["majority"], units["majority"])) == "0.000 (0.000 to 0.000)"
    # all of them are scored on all labels, pixels of the pictures as they are
    assert {each.reference.sum() for each in units.values()} == {3 * (60 * 50 - 100)}
    draw(held(work), ZOO, tmp_path / "maps", tmp_path)
    for picture in pictures(data / "val"):
        with Image.open(tmp_path / f"{picture.name}.png") as beside:
            assert beside.size == (3 * 60 + 8, 50)
            np.testing.assert_array_equal(np.asarray(beside)[:, :60], picture.read()[0].transpose(1, 2, 0))


def test_confidence_is_made_right_on_the_pictures_that_chose_the_epoch(
    constructed: tuple[Path, Path], model: Model, tmp_path: Path
) -> None:
    data, work = constructed
    shutil.copytree(ZOO, tmp_path / "model")
    images = sorted((choosing(data, work) / "images").iterdir())
    assert [file.stem for file in images] == ["tile1_part006"]
    value = calibrate(tmp_path / "model", images, work / "choose" / "labels")
    # it knows nothing of this land, so it is to be less sure than it was
    assert value > model.card.temperature
    card = load_model(tmp_path / "model").card
    assert card == model.card.model_copy(update={"temperature": round(value, 6)})
    assert 1 < model.card.temperature < 1.5


def test_weights_in_half_precision_are_those_of_the_training(model: Model, tmp_path: Path) -> None:
    from geoseg.models.load import build_network
    from geoseg.outputs.model_folder import write_card, write_weights

    tensors = {name: t.float() * 1.0001 for name, t in build_network(model).state_dict().items()}
    (tmp_path / "trained").mkdir()
    written = write_weights(tensors, tmp_path / "trained" / "weights.safetensors")
    write_card(model.card.model_copy(update={"weights_sha256": written.sha256}), tmp_path / "trained" / "card.yaml")
    ship(tmp_path / "trained", tmp_path / "out")
    shipped = build_network(load_model(tmp_path / "out"))
    for name, tensor in shipped.state_dict().items():
        assert tensor.dtype is not tensors[name].half().dtype
        np.testing.assert_allclose(tensor.numpy(), tensors[name].numpy(), rtol=6e-4, atol=1e-6)
    assert load_model(tmp_path / "out").card.classes == model.card.classes
