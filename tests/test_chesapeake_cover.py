"""The shipped model of four-band aerial imagery, and the script that holds it against simpler ways."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

import geoseg
from geoseg.errors import InputError
from geoseg.evaluate.scores import Margins
from geoseg.models.load import Model, load_model
from training.blocks import in_blocks
from training.chesapeake_cover import BLOCK_PX, CUT, SETTINGS, blocks, choosing, held, prepare, ways
from training.chesapeake_scenes import BANDS, CLASSES, HALVES, patches, scenes
from training.held import compare
from training.made_up import write_labels
from training.table import Gain, gains, table
from training.ways import NOT_LABELLED

DATA = Path(__file__).parents[2] / "shared" / "data" / "chesapeake-naip-1m"
ZOO = Path(geoseg.__file__).parent / "models" / "zoo" / "chesapeake-cover"
PAGE = Path(__file__).parents[1] / "docs" / "models" / "chesapeake-cover.md"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("chesapeake-cover")


def test_the_card_says_where_it_comes_from_and_how_good_it_is(model: Model) -> None:
    card = model.card
    assert model.bands == BANDS
    assert {c.value: c.name for c in card.legend} == CLASSES
    assert card.units == "dn"
    assert card.gsd_m == pytest.approx(1, rel=0.01)
    assert model.weights is not None
    assert model.weights.stat().st_size < 2 << 20
    assert card.weights_sha256 == model.weights_sha256
    assert "Chesapeake" in card.license
    assert "not verified" in card.license
    assert card.scores is not None
    page = PAGE.read_text("utf-8")
    assert f"{card.scores.miou:.3f}" in page
    assert f"temperature of {card.temperature:.2f}" in page
    assert "docs/models/chesapeake-cover.md" in card.description


def test_the_settings_it_was_trained_with_are_in_the_project(model: Model) -> None:
    from geoseg.train.config import load_training

    spec = load_training(SETTINGS, {}, folder=Path()).spec
    assert spec.name == model.card.name == "chesapeake-cover"
    assert f"each of {spec.batches} batches of {spec.batch_size} windows of {spec.window} px" in model.card.training
    assert model.card.architecture == spec.architecture
    assert {c.value: c.name for c in spec.classes} == CLASSES


def test_it_knows_more_of_patches_it_never_saw_than_thresholds_and_a_random_forest(
    model: Model, tmp_path: Path
) -> None:
    if not DATA.is_dir():
        pytest.skip("the real patches are not here")
    scored = patches(DATA / "val")
    scenes(scored, tmp_path)
    others = {}
    for name, way in ways(DATA, pixels=20_000, trees=10):
        others[name] = way
        if name == "random forest, balanced":
            break
    pairs: dict[str, list[tuple[Path, Path]]] = {name: [] for name in ("geoseg", *others)}
    for patch in scored:
        image = tmp_path / "images" / f"{patch.name}.tif"
        maps = {name: way(patch.read()[0].astype(np.float32)) for name, way in others.items()}
        maps["geoseg"] = geoseg.segment(geoseg.open_scene(image), model).classes.to_numpy()
        for name, mapped in maps.items():
            path = tmp_path / name / image.name
            write_labels(path, mapped, CLASSES, patch.transform(), nodata=NOT_LABELLED)
            pairs[name].append((path, tmp_path / "labels" / image.name))
    units = {name: in_blocks(each, tuple(CLASSES), side=BLOCK_PX) for name, each in pairs.items()}
    assert all(gain.low > 0 for gain in gains(units, "geoseg").values())
    assert len(units) == 1 + 5


def _constructed(folder: Path, quadrangle: str, number: int, side: int = 256) -> None:
    """Stripes of all classes, roads among them, whose infrared says it, half of them forest by the other source.

    A corner has no label, and nothing a georeference.
    """
    values = np.array([2, 3, 5, 6], np.uint8)
    stripe = (np.arange(side) // 16 + number) % 4
    labels = values[stripe][None].repeat(side, 0)
    nir = np.minimum(stripe, 2).astype(np.uint8)[None].repeat(side, 0) * 60 + 40
    pixels = np.stack([np.full_like(nir, 90), np.full_like(nir, 100), np.full_like(nir, 80), nir])
    labels[:32, :32] = 15
    folder.mkdir(parents=True, exist_ok=True)
    cover = np.where(np.arange(side) < 64, 41, 81).astype(np.uint8)[:, None].repeat(side, 1)
    for what, bands in (("image", pixels), ("label", labels[None]), ("nlcd", cover[None])):
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning), rasterio.open(
            folder / f"m_{quadrangle}_sw_17_{number}_{what}.tif", "w", driver="GTiff", dtype="uint8", count=len(bands),
            height=side, width=side, photometric="MINISBLACK",
        ) as file:  # fmt: skip
            file.write(bands)


@pytest.fixture(scope="module")
def constructed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A set of such patches, among them the one that is cut, and its scenes."""
    folder = tmp_path_factory.mktemp("chesapeake")
    for part, quadrangle, numbers in (("train", "3708020", (0, 1, 2)), ("val", "3708035", (1, 4))):
        for number in numbers:
            _constructed(folder / "set" / part, quadrangle, number, side=256 if part == "train" else 96)
    prepare(folder / "set", folder / "work")
    return folder / "set", folder / "work"


def test_patches_become_scenes_in_places_of_their_own(constructed: tuple[Path, Path]) -> None:
    data, work = constructed
    bounds = []
    for part in ("train", "val"):
        for patch in patches(data / part, cut=CUT):
            chooses = patch.name in {image.stem for image in choosing(work)}
            pixels, labels = patch.read(disputed=part == "val" or chooses)
            with rasterio.open(work / part / "images" / f"{patch.name}.tif") as file:
                np.testing.assert_array_equal(file.read(), pixels)
                assert (file.descriptions, file.res, file.crs.linear_units) == (BANDS, (1.0, 1.0), "metre")
                bounds.append(file.bounds)
            # no alpha channel among them
            opened = geoseg.open_scene(work / part / "images" / f"{patch.name}.tif")
            assert tuple(band.name for band in opened.bands) == BANDS
            with rasterio.open(work / part / "labels" / f"{patch.name}.tif") as file:
                np.testing.assert_array_equal(file.read(1), labels)
            assert set(np.unique(labels)) <= {*CLASSES, NOT_LABELLED}
    assert len(bounds) == 6
    assert all(rasterio.coords.disjoint_bounds(a, b) for i, a in enumerate(bounds) for b in bounds[:i])


def test_low_vegetation_where_another_map_has_forest_is_no_label_of_training(constructed: tuple[Path, Path]) -> None:
    data, work = constructed
    whole = patches(data / "train")[1]
    _, labels = whole.read()
    _, undisputed = whole.read(disputed=False)
    dropped = labels != undisputed
    assert (labels[dropped] == 3).all()
    assert dropped[:64].sum() == (labels[:64] == 3).sum() > 0
    assert not dropped[64:].any()
    with rasterio.open(work / "train" / "labels" / f"{whole.name}.tif") as file:
        np.testing.assert_array_equal(file.read(1), undisputed)


def test_halves_of_a_patch_share_no_pixel(constructed: tuple[Path, Path]) -> None:
    data, work = constructed
    upper, lower, whole = *patches(data / "train", cut=CUT)[:2], patches(data / "train")[0]
    assert (upper.name, lower.name) == (f"{CUT[0]}_upper", f"{CUT[0]}_lower")
    assert HALVES["upper"].stop + 16 == HALVES["lower"].start
    for half in (upper, lower):
        for mine, all_of_it in zip(half.read(), whole.read(), strict=True):
            np.testing.assert_array_equal(mine, all_of_it[..., half.rows, :])
    chosen = choosing(work)
    assert all(image.is_file() for image in chosen)
    assert lower.name in {image.stem for image in chosen}
    assert upper.name not in {image.stem for image in chosen}


def test_the_table_has_every_way_with_intervals_from_blocks(constructed: tuple[Path, Path], tmp_path: Path) -> None:
    data, work = constructed
    found = compare(ways(data, pixels=2000, trees=2), held(work), ZOO, work / "maps")
    units = blocks(found, work)
    assert list(units) == list(found)
    assert [name for name in units if name + ", undisputed" not in units and "undisputed" not in name] == [
        "majority",
        "geoseg",
    ]
    assert len(units) == 2 + 2 * 6
    for name, each in units.items():
        assert each.agreed.shape == (2 * 4, len(CLASSES))
        # blocks put together are what `geoseg evaluate` counted
        for mine, theirs in ((each.agreed, found[name].agreed), (each.predicted, found[name].predicted)):
            np.testing.assert_array_equal(mine.sum(axis=0), theirs.sum(axis=0))
        assert each.reference.sum() == 2 * (96 * 96 - 32 * 32)
    # infrared says all that the labels do
    assert Gain.of(units["random forest"], units["majority"]).low > 0.5
    assert len(table(units, tuple(CLASSES.values())).splitlines()) == 1 + len(units)


def test_blocks_are_counted_as_they_are_and_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    truth = np.array([[2, 2, 3, 3, 5], [2, 2, 3, NOT_LABELLED, 5], [5, 5, 5, 5, 5]], np.uint8)
    mapped = np.where(truth == 3, 2, truth)
    mapped[truth == NOT_LABELLED] = 3
    for name, values in (("truth", truth), ("map", mapped), ("small", mapped[:2])):
        write_labels(tmp_path / f"{name}.tif", values, CLASSES, Affine(1, 0, 9, 0, -1, 9), nodata=NOT_LABELLED)
    found: Margins = in_blocks([(tmp_path / "map.tif", tmp_path / "truth.tif")], (2, 3, 5), side=2)
    assert found.reference.tolist() == [[4, 0, 0], [0, 3, 0], [0, 0, 2], [0, 0, 2], [0, 0, 2], [0, 0, 1]]
    assert found.predicted.tolist() == [[4, 0, 0], [3, 0, 0], [0, 0, 2], [0, 0, 2], [0, 0, 2], [0, 0, 1]]
    assert found.agreed.sum() == 4 + 0 + 2 + 2 + 2 + 1
    with pytest.raises(InputError, match=r"small\.tif does not cover .*truth\.tif"):
        in_blocks([(tmp_path / "small.tif", tmp_path / "truth.tif")], (2, 3, 5), side=2)
