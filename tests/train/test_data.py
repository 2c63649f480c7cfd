"""Images, labels and what is held out: pairs, splits, windows, statistics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from geoseg.errors import GeosegError
from geoseg.train.batches import Drawing, HeldOutBatches, TrainingBatches
from geoseg.train.config import TrainSpec, load_training
from geoseg.train.pairs import Pairs, find_pairs
from geoseg.train.pixel_losses import IGNORE
from geoseg.train.places import CELL, Places, count_cells, split_places
from geoseg.train.statistics import band_statistics, normalisations
from geoseg.train.windows import PatchSource, tiles
from tests.train.conftest import BANDS, SIDE, made, trained, write

Settings = Callable[..., dict[str, Any]]


def spec_of(settings: dict[str, Any]) -> TrainSpec:
    return load_training(None, settings, folder=Path("/")).spec


def opened(settings: dict[str, Any]) -> tuple[TrainSpec, Pairs, Places]:
    spec = spec_of(settings)
    pairs = find_pairs(spec)
    counts = [count_cells(p, pairs.legend, spec.ignore) for p in pairs.items]
    return spec, pairs, split_places(pairs, counts, spec.split)


def test_images_and_labels_of_a_name_are_a_pair_and_values_become_classes(settings: Settings) -> None:
    _, pairs, places = opened(settings())
    assert [p.scene.id for p in pairs.items] == ["s0", "s1", "s2", "s3"]
    assert pairs.legend.values == (1, 2)
    assert pairs.band_names == BANDS
    assert pairs.units == "dn"
    assert pairs.gsd_m == pytest.approx(10.0, rel=0.01)
    assert int(places.pixels(held_out=True).sum()) == SIDE**2
    for i, counts in enumerate(places.counts):
        labels = made(i)[1]
        assert counts.sum(axis=(0, 1)).tolist() == [int((labels == v).sum()) for v in (1, 2)]


def test_images_and_labels_in_one_folder_are_told_apart_by_the_end_of_their_names(tmp_path: Path) -> None:
    for i in range(2):
        pixels, labels = made(i)
        write(tmp_path / f"a{i}_image.tif", pixels, x=5e5 + 2000 * i, bands=BANDS)
        write(tmp_path / f"a{i}_label.tif", labels, x=5e5 + 2000 * i, nodata=0)
    _, pairs, _ = opened({"images": [str(tmp_path)], "labels": str(tmp_path), "split": {"val": 0.5}})
    assert [Path(p.raster.href).name for p in pairs.items if p.raster] == ["a0_label.tif", "a1_label.tif"]


def test_one_image_and_one_label_named_by_their_files_belong_together(tmp_path: Path) -> None:
    pixels, labels = made(0)
    image = write(tmp_path / "august.tif", pixels, bands=BANDS)
    label = write(tmp_path / "what_is_there.tif", labels, nodata=0)
    split = {"by": "block", "block_px": 32, "val": 0.3}
    _, pairs, _ = opened({"images": [str(image)], "labels": str(label), "split": split})
    assert [p.raster and p.raster.href for p in pairs.items] == [str(label)]


def test_labels_without_an_image_and_images_without_a_label_are_named(settings: Settings, tmp_path: Path) -> None:
    for name in ("s0", "s1", "s3", "spare"):
        write(
            tmp_path / f"{name}.tif",
            made(0)[1],
            x=500_000.0 + 2_000 * int(name[1:] if name != "spare" else 9),
            nodata=0,
        )
    _, pairs, _ = opened(settings(labels=str(tmp_path)))
    assert pairs.notes == (
        "1 image has no label and is left out: s2",
        "1 label raster has no image of that name: spare.tif",
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.tif", "b.tif"], "there are no label rasters beside the images: in one folder their names end in _label"),
        (["a_label.tif", "b_label.tif"], "all files are label rasters .*: name images, too"),
        (["a_image.tif", "b_label.tif"], "the image a_image.tif has no label raster of its name among b_label.tif"),
    ],
    ids=["images", "labels", "other names"],
)
def test_a_folder_in_which_nothing_belongs_together_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        write(tmp_path / name, made(0)[1])
    with pytest.raises(GeosegError, match=message):
        opened({"images": [str(tmp_path)], "labels": str(tmp_path)})


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326", "EPSG:3857"])
def test_polygons_in_any_crs_label_the_pixels_whose_centre_they_hold(
    settings: Settings, tmp_path: Path, crs: str
) -> None:
    # two rectangles on the first scene, of 40 x 96 and 30 x 50 px; the rest has no label
    left, top = 500_000.0, 5_300_000.0
    shapes = [
        shapely.box(left, top - 960, left + 400, top),
        shapely.box(left + 500, top - 500, left + 800, top),
        shapely.box(left + 6_000, top - 960, left + 6_960, top),
    ]
    frame = gpd.GeoDataFrame({"kind": ["grass", "wood", "wood"]}, geometry=shapes, crs="EPSG:32632")
    frame.to_crs(crs).to_file(tmp_path / "labels.gpkg")
    asked = settings(labels=str(tmp_path / "labels.gpkg"), class_column="kind")
    _, pairs, places = opened(asked)
    assert pairs.legend.names == ("grass", "wood")
    assert [p.scene.id for p in pairs.items] == ["s0", "s3"]
    assert "2 images have no label" in pairs.notes[0]
    target = pairs.items[0].labels().read(0, 0, SIDE, SIDE)
    expected = np.full((SIDE, SIDE), IGNORE)
    expected[:, :40], expected[:50, 50:80] = 0, 1
    np.testing.assert_array_equal(target, expected)
    # drawn window by window it is the same
    np.testing.assert_array_equal(pairs.items[0].labels().read(20, 30, 40, 50), expected[20:60, 30:80])
    assert places.pixels(held_out=False).tolist() == [40 * 96, 30 * 50]


def test_values_to_ignore_are_refused_where_shapes_have_names(settings: Settings, tmp_path: Path) -> None:
    shapes = [shapely.box(500_000.0 + x, 5_299_500.0, 500_200.0 + x, 5_300_000.0) for x in (0, 6_000)]
    gpd.GeoDataFrame({"kind": ["house", "lawn"]}, geometry=shapes, crs="EPSG:32632").to_file(tmp_path / "lots.gpkg")
    with pytest.raises(GeosegError, match="ignore is of no use for a column of class names"):
        opened(settings(labels=str(tmp_path / "lots.gpkg"), class_column="kind", ignore=[1]))


def test_what_no_shape_covers_is_the_background_where_one_is_named(settings: Settings, tmp_path: Path) -> None:
    shapes = [shapely.box(500_000.0 + x, 5_299_500.0, 500_200.0 + x, 5_300_000.0) for x in (0, 6_000)]
    frame = gpd.GeoDataFrame({"kind": ["house", "house"]}, geometry=shapes, crs="EPSG:32632")
    frame.to_file(tmp_path / "houses.gpkg")
    asked = settings(labels=str(tmp_path / "houses.gpkg"), class_column="kind")
    with pytest.raises(GeosegError, match="name the class of what no shape covers with background"):
        opened(asked)
    _, pairs, _ = opened(asked | {"background": {"value": 0, "name": "other"}})
    assert (pairs.legend.values, pairs.legend.names) == ((0, 1), ("other", "house"))
    expected = np.zeros((SIDE, SIDE))
    expected[:50, :20] = 1
    np.testing.assert_array_equal(pairs.items[0].labels().read(0, 0, SIDE, SIDE), expected)
    with pytest.raises(GeosegError, match="goes with class_column"):
        spec_of(settings(background={"value": 0, "name": "other"}))
    with pytest.raises(GeosegError, match="choose another value or name for background"):
        opened(asked | {"background": {"value": 0, "name": "house"}})


def test_shapes_without_a_column_are_all_of_the_one_class_beside_the_background(
    settings: Settings, tmp_path: Path
) -> None:
    left, top = 500_000.0, 5_300_000.0
    # the second shape crosses itself, as outlines drawn by hand do
    bow = shapely.Polygon([(left + x, top - y) for x, y in ((600, 0), (900, 300), (900, 0), (600, 300))])
    far = shapely.box(left + 6_000, top - 200, left + 6_100, top)
    shapes = [shapely.box(left, top - 500, left + 200, top), bow, far]
    gpd.GeoDataFrame(geometry=shapes, crs="EPSG:32632").to_crs("EPSG:4326").to_file(tmp_path / "houses.gpkg")
    asked = settings(labels=str(tmp_path / "houses.gpkg"), background={"value": 0, "name": "other"})
    with pytest.raises(GeosegError, match="where all shapes are of one class, with that one in classes"):
        opened(asked)
    one = {"classes": [{"value": 3, "name": "house"}]}
    _, pairs, _ = opened(asked | one)
    assert (pairs.legend.values, pairs.legend.names) == ((0, 3), ("other", "house"))
    assert any("houses.gpkg: 1 shape crosses itself and was repaired" in note for note in pairs.notes)
    found = pairs.items[0].labels().read(0, 0, SIDE, SIDE)
    assert found[:50, :20].all()
    assert found[:30, 60:90].sum() == pytest.approx(30 * 30 / 2, rel=0.1)
    with pytest.raises(GeosegError, match="which column has the classes"):
        opened(settings(labels=str(tmp_path / "houses.gpkg")))
    with pytest.raises(GeosegError, match=r"has no label rasters; labels that are shapes are one file .*houses.gpkg"):
        opened(settings(labels=str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_column": "kind"}, "class_column is for labels of a vector file, and .*labels is none"),
        (
            {"class_column": "kind", "background": {"value": 0, "name": "other"}},
            "class_column is for labels of a vector",
        ),
        ({"labels": "shapes.gpkg", "legend": "nlcd"}, "legend says what the values of label rasters mean"),
    ],
    ids=["column", "background", "legend"],
)
def test_settings_for_labels_of_the_other_kind_are_refused(
    settings: Settings, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(GeosegError, match=message):
        opened(settings(**change))


def test_the_picture_shows_windows_full_of_labels(settings: Settings) -> None:
    # windows of 64 px on scenes of 96 px: three of the four of a scene reach beyond it
    spec, pairs, places = opened(settings(window=64, split={"val": ["s1", "s3"]}))
    of_scenes = normalisations(pairs, band_statistics(pairs, places, seed=0))
    windows = tiles(places, pairs.items, 64)
    assert len(windows) == 8
    held_out = HeldOutBatches(spec, pairs.items, places, of_scenes, windows)
    labelled = (held_out.some(4)[1] != IGNORE).flatten(1).sum(dim=1)
    # the quarter with 64 x 64 px, and those with half as many
    assert labelled.tolist() == [64 * 64, 32 * 64, 64 * 64, 32 * 64]
    assert len(held_out.some(1)[1]) == 1


def test_points_label_the_pixel_they_lie_in(settings: Settings, tmp_path: Path) -> None:
    where = [(500_005.0, 5_299_995.0), (500_955.0, 5_299_045.0), (506_005.0, 5_299_995.0)]
    points = gpd.GeoDataFrame({"v": [2, 1, 2]}, geometry=[shapely.Point(p) for p in where], crs="EPSG:32632")
    points.to_file(tmp_path / "points.geojson")
    _, pairs, _ = opened(settings(labels=str(tmp_path / "points.geojson"), class_column="v"))
    target = pairs.items[0].labels().read(0, 0, SIDE, SIDE)
    assert np.argwhere(target != IGNORE).tolist() == [[0, 0], [95, 95]]
    assert (target[0, 0], target[95, 95]) == (1, 0)
    assert pairs.legend.values == (1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crs": "EPSG:32633"}, r"labels/s0.tif: its CRS is EPSG:32633, that of .*s0.tif is EPSG:32632; .*gdalwarp"),
        ({"x": 500_004.0}, r"s0.tif: its pixels are up to 0.4 px off those of"),
        ({"pixels": made(0, 80)[1]}, r"is 80 x 80 px, .* is 96 x 96 px"),
        ({"pixels": np.where(made(0)[1] == 2, 7, 1).astype(np.uint8)}, r"holds values that are no class: 7 \(\d+ px\)"),
        ({"pixels": made(0)[1].astype(np.float32)}, "pixels of float32, and classes are whole numbers"),
    ],
    ids=["crs", "grid", "size", "values", "floats"],
)
def test_a_label_raster_that_does_not_fit_is_named(
    settings: Settings, data: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    pixels = change.pop("pixels", made(0)[1])
    write(tmp_path / "labels" / "s0.tif", pixels, **({"nodata": 0} | change))
    for i in range(1, 4):
        write(tmp_path / "labels" / f"s{i}.tif", made(i)[1], x=500_000.0 + 2_000 * i, nodata=0)
    classes = [{"value": 1, "name": "a"}, {"value": 2, "name": "b"}]
    with pytest.raises(GeosegError, match=message):
        opened(settings(labels=str(tmp_path / "labels"), classes=classes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_bands": ["red", "swir16"]}, "lacks the bands swir16; it has red, nir"),
        ({"split": {"val": ["s9"]}}, "names scenes that have no labels or are not there: s9"),
        ({"ignore": [1, 2]}, "fewer than two classes"),
        ({"classes": [{"value": 8, "name": "a"}, {"value": 9, "name": "b"}], "ignore": [1, 2]}, "no labelled pixel"),
        ({"classes": [{"value": 1, "name": "a"}, {"value": 3, "name": "b"}]}, r"no class: 2 .*add them to classes or"),
        ({"split": {"val": ["s0", "s1", "s2", "s3"]}}, "no labelled pixel is left to train on, with a split by scene"),
        (
            {"split": {"by": "block", "val": 0.3, "block_px": 4096}, "only": "s0.tif"},
            r"in 1 block .*smaller blocks",
        ),
        ({"split": {"val": 0.3}, "only": "s0.tif"}, "lie in 1 scene .*needs two or more: split by block"),
        ({"images": ["/nowhere/at/all"]}, "there is no file or folder /nowhere/at/all: check the path"),
    ],
    ids=str,
)
def test_data_that_cannot_be_trained_on_is_refused_in_a_line(
    settings: Settings, change: dict[str, Any], message: str
) -> None:
    asked = settings(**change)
    if "only" in asked:
        name = asked.pop("only")
        asked |= {"images": [f"{asked['images'][0]}/{name}"], "labels": f"{asked['labels']}/{name}"}
    with pytest.raises(GeosegError, match=message) as caught:
        opened(asked)
    assert "\n" not in str(caught.value)


def test_what_is_held_out_by_share_has_all_classes_where_a_draw_does(tmp_path: Path) -> None:
    # wood is in three scenes of ten only, much of it in one that is four times as large
    rng = np.random.default_rng(0)
    for i in range(10):
        side = 64 if i == 4 else 32
        labels = np.where(rng.random((side, side)) < 0.3 * (i in (2, 4, 7)), 2, 1).astype(np.uint8)
        write(tmp_path / "i" / f"s{i}.tif", np.stack([labels, labels]), x=5e5 + 2000 * i, bands=BANDS)
        write(tmp_path / "l" / f"s{i}.tif", labels, x=5e5 + 2000 * i, nodata=0)
    base = {"images": [str(tmp_path / "i")], "labels": str(tmp_path / "l")}
    on_both, at_random = [], []
    for seed in range(10):
        _, pairs, places = opened(base | {"split": {"val": 0.3, "seed": seed}})
        held, of_all = places.pixels(held_out=True), sum(c.sum(axis=(0, 1)) for c in places.counts)
        on_both.append(bool((held > 0).all() and (held < of_all).all()))
        assert held.sum() / sum(of_all) == pytest.approx(0.3, abs=0.1)
        names = ", ".join(p.scene.id for p, h in zip(pairs.items, places.held_out, strict=True) if h.all())
        assert places.notes == (f"held out: {names} ({held.sum() / sum(of_all):.0%} of the labelled pixels)",)
        _, _, other = opened(base | {"split": {"val": 0.3, "seed": seed, "draw": "random"}})
        held = other.pixels(held_out=True)
        at_random.append(bool((held > 0).all() and (held < of_all).all()))
        order = np.random.default_rng(seed).permutation(10)[:3]
        assert sorted(order.tolist()) == [i for i, h in enumerate(other.held_out) if h.all()]
    assert all(on_both)
    assert not all(at_random)
    with pytest.raises(GeosegError, match="draw says how a share is chosen, but val names scenes"):
        opened(base | {"split": {"val": ["s1"], "draw": "even"}})


def test_a_class_that_lies_in_one_block_only_is_trained_on(tmp_path: Path) -> None:
    labels = np.ones((96, 96), np.uint8)
    labels[70:75, 10:20] = 2
    write(tmp_path / "i" / "s.tif", np.stack([labels, labels]), bands=BANDS)
    write(tmp_path / "l" / "s.tif", labels, nodata=0)
    for seed in range(10):
        split = {"by": "block", "block_px": 32, "val": 0.4, "seed": seed}
        _, _, places = opened({"images": [str(tmp_path / "i")], "labels": str(tmp_path / "l"), "split": split})
        assert places.pixels(held_out=False)[1] == 50
        assert places.notes[0].startswith("held out: blocks of 32 px in s (44% of")


def test_two_dates_of_a_place_are_held_out_together(tmp_path: Path) -> None:
    for i in range(3):
        for date in (2019, 2023):
            pixels, labels = made(i + date)
            write(tmp_path / "i" / f"p{i}_{date}.tif", pixels, x=5e5 + 2000 * i, bands=BANDS)
            write(tmp_path / "l" / f"p{i}_{date}.tif", labels, x=5e5 + 2000 * i, nodata=0)
    asked = {"images": [str(tmp_path / "i")], "labels": str(tmp_path / "l")}
    for seed in range(3):
        _, pairs, places = opened(asked | {"split": {"val": 0.3, "seed": seed}})
        held = {p.scene.id for p, h in zip(pairs.items, places.held_out, strict=True) if h.all()}
        assert len(held) == 2
        assert len({name[:2] for name in held}) == 1
    with pytest.raises(GeosegError, match="same ground as p0_2023"):
        opened(asked | {"split": {"val": ["p0_2019"]}})
    _, _, places = opened(asked | {"split": {"by": "block", "val": 0.4, "block_px": 32}})
    for first, other in zip(places.held_out[::2], places.held_out[1::2], strict=True):
        np.testing.assert_array_equal(first, other)


def test_what_is_held_out_by_block_is_never_seen_in_training_and_all_of_it_is_scored_once(settings: Settings) -> None:
    asked = settings(split={"by": "block", "val": 0.3, "block_px": 32}, window=40, cache_mib=0)
    spec, pairs, places = opened(asked)
    train = PatchSource(pairs.items, places, held_out=False, cache_bytes=0)
    held = PatchSource(pairs.items, places, held_out=True, cache_bytes=1 << 20)
    scored = 0
    for scene, apart in enumerate(places.held_out):
        mask = apart.repeat(CELL, 0).repeat(CELL, 1)
        patch = train.cut(scene, 0, 0, SIDE)
        np.testing.assert_array_equal(patch.valid, ~mask)
        np.testing.assert_array_equal(patch.target == IGNORE, mask)
        whole = held.cut(scene, 0, 0, SIDE)
        assert whole.valid.all()
        np.testing.assert_array_equal(whole.target == IGNORE, ~mask)
    for scene, row, col in tiles(places, pairs.items, spec.window):
        scored += int((held.cut(scene, row, col, spec.window).target != IGNORE).sum())
    assert scored == places.pixels(held_out=True).sum() > 0
    train.release()
    held.release()


def test_windows_held_in_memory_are_those_read_from_the_files(settings: Settings) -> None:
    _, pairs, places = opened(settings())
    kept = PatchSource(pairs.items, places, held_out=False, cache_bytes=1 << 30)
    read = PatchSource(pairs.items, places, held_out=False, cache_bytes=0)
    for row, col in ((0, 0), (13, 50), (80, 70)):
        one, other = kept.cut(1, row, col, 48), read.cut(1, row, col, 48)
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.valid, other.valid)
        np.testing.assert_array_equal(one.target, other.target)
        assert one.pixels.shape == (2, 48, 48)
    kept.release()
    read.release()


@examples(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    side=st.sampled_from([16, 32, 50, 96, 120]),
    balance=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_every_window_drawn_lies_in_its_scene_and_meets_a_cell_with_labels(
    scene_places: tuple[Pairs, Places], seed: int, side: int, balance: float
) -> None:
    pairs, places = scene_places
    drawing = Drawing(places, pairs.items, balance=balance)
    scene, row, col = drawing.place(np.random.default_rng(seed), side)
    assert 0 <= row <= max(0, SIDE - side)
    assert 0 <= col <= max(0, SIDE - side)
    rows = slice(row // CELL, -(-(row + side) // CELL))
    cols = slice(col // CELL, -(-(col + side) // CELL))
    assert (places.counts[scene].any(axis=2) & ~places.held_out[scene])[rows, cols].any()


@pytest.fixture(scope="module")
def scene_places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pairs, Places]:
    """Three scenes with 2 % of one class, in a corner of the first."""
    folder = tmp_path_factory.mktemp("rare")
    for i in range(3):
        labels = np.ones((SIDE, SIDE), np.uint8)
        if i == 0:
            labels[:8, :8] = 2
        write(folder / "i" / f"s{i}.tif", made(i)[0], x=5e5 + 2000 * i, bands=BANDS)
        write(folder / "l" / f"s{i}.tif", labels, x=5e5 + 2000 * i, nodata=0)
    _, pairs, places = opened({"images": [str(folder / "i")], "labels": str(folder / "l"), "split": {"val": ["s2"]}})
    return pairs, places


def test_a_rare_class_is_met_as_often_as_is_asked(scene_places: tuple[Pairs, Places]) -> None:
    pairs, places = scene_places
    met = {}
    for balance in (0.0, 1.0):
        drawing, rng = Drawing(places, pairs.items, balance=balance), np.random.default_rng(0)
        drawn = [drawing.place(rng, 32) for _ in range(400)]
        met[balance] = sum(scene == 0 and row < 8 and col < 8 for scene, row, col in drawn) / 400
    assert met[0.0] < 0.15
    assert met[1.0] > 2.5 * met[0.0]


def test_statistics_are_those_of_what_is_not_held_out(settings: Settings, tmp_path: Path) -> None:
    pixels = np.stack([made(i)[0] for i in range(2)]).astype(np.float64)
    for i, name in enumerate(("s0", "s1", "s2")):
        stored = (made(i)[0].astype(np.uint16) * (100 if name == "s2" else 1)).copy()
        stored[:, :3] = 0
        write(tmp_path / "i" / f"{name}.tif", stored, x=5e5 + 2000 * i, bands=BANDS, nodata=0)
        write(tmp_path / "l" / f"{name}.tif", made(i)[1], x=5e5 + 2000 * i, nodata=0)
    asked = {"images": [str(tmp_path / "i")], "labels": str(tmp_path / "l"), "split": {"val": ["s2"]}, "scale": 0.01}
    _, pairs, places = opened(asked)
    found = band_statistics(pairs, places, seed=0)
    assert pairs.units == "reflectance"
    seen = pixels[:, :, 3:].transpose(1, 0, 2, 3).reshape(2, -1) * 0.01
    np.testing.assert_allclose(found.mean, seen.mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(found.std, seen.std(axis=1), rtol=1e-4)
    expected = np.quantile(seen, (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99), axis=1).T
    np.testing.assert_allclose(found.quantiles, expected, atol=0.0101)


def test_an_image_without_a_valid_pixel_is_named_once(data: Path, settings: Settings, tmp_path: Path) -> None:
    pixels, labels = made(9)
    half = pixels.copy()
    half[:, : SIDE // 2] = 0
    for i, (name, each) in enumerate((("blank", np.zeros_like(pixels)), ("half", half))):
        x = 520_000.0 + 2_000 * i
        write(tmp_path / "images" / f"{name}.tif", each, x=x, bands=BANDS, nodata=0)
        write(tmp_path / "labels" / f"{name}.tif", labels, x=x, nodata=0)
    for kind in ("images", "labels"):
        for file in (data / kind).iterdir():
            (tmp_path / kind / file.name).symlink_to(file)
    asked = {"images": [str(tmp_path / "images")], "labels": str(tmp_path / "labels"), "epochs": 1, "batches": 1}
    said: list[str] = []
    trained(settings(**asked), tmp_path / "m", say=said.append)
    blank = tmp_path / "images" / "blank.tif"
    assert [line for line in said if "no pixel is valid" in line] == [
        f"warning: {blank}: no pixel is valid, so its labels count for nothing: check its nodata value"
    ]


def test_a_batch_depends_on_seed_epoch_and_number_alone(settings: Settings) -> None:
    augment = {
        "scale": [0.8, 1.25], "elastic": 0.5, "brightness": 0.1, "contrast": 0.1, "noise": 0.1, "blur": 0.5,
        "band_dropout": 0.2, "cutmix": 0.5, "copy_paste": 0.5,
    }  # fmt: skip
    spec, pairs, places = opened(settings(augment=augment))
    from geoseg.inference.normalise import Normalisation

    plain = [Normalisation(gain=(0.01, 0.01), bias=(-1.0, -1.0))] * len(pairs.items)
    one, other = (TrainingBatches(spec, pairs.items, places, plain) for _ in range(2))
    other.batch(0, 3)
    other.epoch = 1
    for number, (images, target) in enumerate(other):
        again, same = one.batch(1, number)
        assert bool((images == again).all())
        assert bool((target == same).all())
    assert number == spec.batches - 1
    assert not bool((one.batch(1, 0)[0] == one.batch(2, 0)[0]).all())
