"""Files on one grid as one scene: read across their borders, first come first served, others kept apart."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.merge import merge

from geoseg.errors import ParameterError
from geoseg.scene.mosaic import apart, joined, mosaics
from geoseg.scene.open import current_fingerprint, open_scene
from geoseg.scene.reader import reader_of
from geoseg.scene.resample import resampled
from geoseg.scene.scene import Scene

# rasterio's merge multiplies affines in the way that affine 3 wants written otherwise
pytestmark = pytest.mark.filterwarnings("ignore:Use .@. matmul:PendingDeprecationWarning")

GRID = Affine(10, 0, 500_000, 0, -10, 5_000_000)


def quad(folder: Path, name: str, row: int, col: int, shape: tuple[int, int] = (20, 24), **profile: Any) -> Path:
    """Two bands of noise with holes, at a place of the grid."""
    rng = np.random.default_rng(abs(row * 1000 + col))
    pixels = rng.integers(1, 200, (2, *shape)).astype(np.uint8)
    pixels[:, rng.random(shape) < 0.2] = 0
    how: dict[str, Any] = {
        "crs": "EPSG:32633",
        "transform": GRID @ Affine.translation(col, row),
        "nodata": 0,
        "dtype": "uint8",
    } | profile
    names, units = how.pop("names", ("green", "red")), how.pop("units", None)
    path = folder / name
    with rasterio.open(path, "w", "GTiff", shape[1], shape[0], 2, **how) as file:
        file.write(pixels.astype(how["dtype"]))
        file.descriptions = names
        if units is not None:
            file.scales, file.offsets = ((u,) * 2 for u in units)
    return path


@pytest.fixture(scope="module")
def quads(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four files that touch and overlap, one of them a row and a column off the corner of the others."""
    folder = tmp_path_factory.mktemp("quads")
    places = {"a_20200101.tif": (0, 0), "a_20220101.tif": (0, 24), "a_20210101.tif": (15, 10), "a.tif": (-1, 40)}
    return [quad(folder, name, *place) for name, place in places.items()]


def whole(scene: Scene) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    with reader_of(scene) as reader:
        return reader.read(0, 0, scene.height, scene.width)


def test_a_mosaic_is_what_merging_the_files_gives(quads: list[Path]) -> None:
    (group,) = mosaics([open_scene(q) for q in quads])
    scene = joined(group)
    expected, transform = merge(quads)
    pixels, valid = whole(scene)
    assert scene.geobox.transform == transform
    np.testing.assert_array_equal(np.where(valid, pixels, 0), expected)
    np.testing.assert_array_equal(valid, (expected != 0).all(axis=0))
    assert scene.id == "a_mosaic"


def test_the_newest_goes_first_where_asked_and_what_has_no_date_goes_last(quads: list[Path]) -> None:
    (group,) = mosaics([open_scene(q) for q in quads], "newest")
    assert [Path(s.href).name for s in group] == ["a_20220101.tif", "a_20210101.tif", "a_20200101.tif", "a.tif"]
    expected, _ = merge([s.href for s in group])
    pixels, valid = whole(joined(group))
    np.testing.assert_array_equal(np.where(valid, pixels, 0), expected)
    assert joined(group).acquired is None
    day = datetime(2020, 5, 1, 10, tzinfo=UTC)
    assert joined([replace(s, acquired=day) for s in group]).acquired == day


@settings(max_examples=20)
@given(data=st.data())
def test_a_window_is_that_window_of_the_whole(quads: list[Path], data: st.DataObject) -> None:
    scene = joined([open_scene(q) for q in quads])
    pixels, valid = whole(scene)
    row, col = data.draw(st.integers(0, scene.height - 1)), data.draw(st.integers(0, scene.width - 1))
    height = data.draw(st.integers(1, scene.height - row))
    width = data.draw(st.integers(1, scene.width - col))
    inside = np.s_[row : row + height, col : col + width]
    with reader_of(scene, scene.bands[::-1]) as reader:
        part, ok = reader.read(row, col, height, width)
    np.testing.assert_array_equal(ok, valid[inside])
    np.testing.assert_array_equal(part, pixels[::-1, *inside])


def test_what_does_not_touch_or_lies_on_another_grid_is_a_scene_of_its_own(tmp_path: Path, quads: list[Path]) -> None:
    others = {
        "far": quad(tmp_path, "far.tif", 100, 0),
        "half a pixel off": quad(tmp_path, "off.tif", 0, 0, transform=GRID @ Affine.translation(0.5, 20)),
        "another pixel size": quad(tmp_path, "size.tif", 0, 0, transform=GRID @ Affine.scale(1.001)),
        "another zone": quad(tmp_path, "zone.tif", 20, 0, crs="EPSG:32634"),
        "another type": quad(tmp_path, "type.tif", 20, 0, dtype="uint16"),
    }
    beside = quad(tmp_path, "beside.tif", 20, 24)
    groups = mosaics([open_scene(q) for q in (quads[0], *others.values(), quads[1], beside)])
    names = [[Path(s.href).stem for s in group] for group in groups]
    assert names == [["a_20200101", "a_20220101", "beside"], ["far"], ["off"], ["size"], ["zone"], ["type"]]
    first = "touches a_20200101 and stays a scene of its own:"
    assert apart(groups)[:3] == [
        f"off {first} its pixels are off the other's grid by 0.5 px; warp it with gdalwarp -tap",
        f"size {first} its pixels are off the other's grid by 0.024 px; warp it with gdalwarp -tap",
        f"type {first} its pixels are uint16, those of the other uint8",
    ]
    with pytest.raises(ParameterError, match="several grids"):
        joined([open_scene(quads[0]), open_scene(others["another zone"])])


def test_a_mosaic_changes_when_one_of_its_files_does(tmp_path: Path) -> None:
    files = [quad(tmp_path, "a.tif", 0, 0), quad(tmp_path, "b.tif", 20, 0)]
    scene = joined([open_scene(f) for f in files])
    assert current_fingerprint(scene) == scene.fingerprint
    assert joined([open_scene(f) for f in files[::-1]]).fingerprint != scene.fingerprint
    quad(tmp_path, "b.tif", 20, 0, shape=(20, 23))
    assert current_fingerprint(scene) != scene.fingerprint


def test_more_files_than_may_be_open_are_read_in_turns_and_a_mosaic_can_be_resampled(tmp_path: Path) -> None:
    files = [quad(tmp_path, f"{i:02}.tif", 0, 8 * i, shape=(9, 8)) for i in range(40)]
    scene = joined([open_scene(f) for f in files])
    expected, _ = merge(files)
    with reader_of(scene) as reader:
        for _ in range(2):
            pixels, valid = reader.read(0, 0, scene.height, scene.width)
            np.testing.assert_array_equal(np.where(valid, pixels, 0), expected)
    with rasterio.open(tmp_path / "merged.tif", "w", "GTiff", 320, 9, 2, dtype="uint8", crs="EPSG:32633",
                       transform=GRID, nodata=0) as file:  # fmt: skip
        file.write(expected)
    found, wanted = (whole(resampled(s, 20)) for s in (scene, open_scene(tmp_path / "merged.tif")))
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


def test_files_in_different_units_are_one_scene_in_that_of_the_first(tmp_path: Path) -> None:
    """As Sentinel-2 products from before and after the offset of 2022 are."""
    files = [
        quad(tmp_path, "old.tif", 0, 0, units=(0.0001, 0.0), dtype="uint16"),
        quad(tmp_path, "new.tif", 0, 24, units=(0.0001, -0.1), dtype="uint16"),
        quad(tmp_path, "none.tif", 0, 48, dtype="uint16"),
    ]
    scenes = [open_scene(f) for f in files]
    groups = mosaics(scenes)
    assert [len(g) for g in groups] == [2, 1]
    assert "the unit of one is known and that of the other is not" in apart(groups)[0]
    for order in (scenes[:2], scenes[1::-1]):
        scene = joined(order)
        pixels, valid = whole(scene)
        assert {(b.dtype, b.scale, b.offset) for b in scene.bands} == {("float32", 0.0001, order[0].bands[0].offset)}
        physical = pixels * scene.bands[0].scale + scene.bands[0].offset
        for part, at in zip(scenes, (0, 24), strict=False):
            own, ok = whole(part)
            np.testing.assert_array_equal(valid[:, at : at + 24], ok)
            expected = own * part.bands[0].scale + part.bands[0].offset
            np.testing.assert_allclose(physical[:, :, at : at + 24][:, ok], expected[:, ok], atol=1e-6)
    assert joined(scenes[:2]).fingerprint != joined(scenes[1::-1]).fingerprint


def test_files_of_other_nodata_and_other_band_order_are_read_each_by_its_own(tmp_path: Path) -> None:
    files = [
        quad(tmp_path, "a.tif", 0, 0, names=("green", "red")),
        quad(tmp_path, "b.tif", 0, 24, names=("red", "green"), nodata=199),
        quad(tmp_path, "c.tif", 0, 48, names=("green", "red"), nodata=None),
    ]
    scenes = [open_scene(f) for f in files]
    (group,) = mosaics(scenes)
    pixels, valid = whole(joined(group))
    for scene, at, order in zip(scenes, (0, 24, 48), ((0, 1), (1, 0), (0, 1)), strict=True):
        own, ok = whole(scene)
        np.testing.assert_array_equal(valid[:, at : at + 24], ok)
        np.testing.assert_array_equal(pixels[:, :, at : at + 24][:, ok], own[list(order)][:, ok])
    assert valid[:, 48:].all()


def test_bands_that_nobody_wants_may_differ(tmp_path: Path) -> None:
    files = [
        quad(tmp_path, "a.tif", 0, 0, names=("green", "red")),
        quad(tmp_path, "b.tif", 0, 24, names=("nir", "green")),
    ]
    scenes = [open_scene(f) for f in files]
    assert apart(mosaics(scenes)) == [
        "b touches a and stays a scene of its own: its bands are green, nir, those of the other green, red"
    ]
    (group,) = mosaics(scenes, wanted=["green"])
    scene = joined(group)
    pixels, _ = whole(scene)
    assert [b.name for b in scene.bands] == ["green"]
    np.testing.assert_array_equal(pixels[0, :, :24], whole(scenes[0])[0][0])
    np.testing.assert_array_equal(pixels[0, :, 24:], whole(scenes[1])[0][1])


def test_the_least_cloudy_goes_first_by_metadata_or_by_what_is_observed(tmp_path: Path, quads: list[Path]) -> None:
    scenes = [open_scene(q) for q in quads]
    stated = [replace(s, cloud_percent=p) for s, p in zip(scenes, (30.0, 0.0, 12.5, 0.0), strict=True)]
    (group,) = mosaics(stated, "least-cloud")
    assert [s.cloud_percent for s in group] == [0.0, 0.0, 12.5, 30.0]
    assert [Path(s.href).name for s in group[:2]] == ["a_20220101.tif", "a.tif"]
    pixels = np.ones((2, 300, 300), np.uint8)
    for name, hole in (("half.tif", 150), ("some.tif", 60), ("all.tif", 0)):
        pixels[:, :hole], pixels[:, hole:] = 0, 1
        with rasterio.open(tmp_path / name, "w", "GTiff", 300, 300, 2, dtype="uint8", crs="EPSG:32633",
                           transform=GRID, nodata=0) as file:  # fmt: skip
            file.write(pixels)
    scenes = [open_scene(tmp_path / f"{name}.tif") for name in ("half", "some", "all")]
    # one of them says nothing: then none is believed
    (group,) = mosaics([replace(scenes[0], cloud_percent=0.0), *scenes[1:]], "least-cloud")
    assert [Path(s.href).stem for s in group] == ["all", "some", "half"]
