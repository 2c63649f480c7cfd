"""Sentinel-2 products in SAFE format become scenes in reflectance on one grid, or are refused with the reason."""

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.windows import Window

import geoseg
from geoseg.errors import ParameterError, SceneError
from geoseg.scene.inputs import find_rasters
from geoseg.scene.open import current_fingerprint, open_scene
from geoseg.scene.read import SceneReader
from geoseg.scene.scene import Scene
from tests.products import (
    COMMON,
    NATIVE,
    SIDE,
    numbers,
    on_10_m,
    reflectances,
    without,
    write_jp2,
    write_safe,
    write_tif,
    zipped,
)

STORED = {b: numbers(r, add=-1000) for b, r in reflectances().items()}
SCL = np.full((SIDE // 2, SIDE // 2), 4, np.uint8)
SCL[20:32, 10:20] = np.arange(12)[:, None]


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Level-2A product as it was downloaded; tests leave it as it is."""
    return write_safe(tmp_path_factory.mktemp("safe"), stored=STORED, scl=SCL)


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six of its bands in one GeoTIFF on the 10 m grid, with scale and offset."""
    path = tmp_path_factory.mktemp("stacked") / "scene.tif"
    write_tif(path, np.stack([on_10_m(STORED[b]) for b in COMMON]), 10, nodata=0)
    import rasterio

    with rasterio.open(path, "r+") as file:
        file.descriptions, file.scales, file.offsets = tuple(COMMON.values()), [0.0001] * 6, [-0.1] * 6
    return path


def read_all(scene: Scene) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    with SceneReader(scene) as reader:
        return reader.read(0, 0, scene.height, scene.width)


def classes(scene: Scene) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = geoseg.segment(scene, geoseg.load_model("spectral")).classes.to_numpy()
    return found


def test_all_bands_come_on_the_finest_grid_each_pixel_as_it_was_measured(safe: Path) -> None:
    scene = open_scene(safe)
    assert [b.title for b in scene.bands] == [b for b in NATIVE if b != "B10"]
    assert (scene.height, scene.width, scene.geobox.resolution.x) == (SIDE, SIDE, 10)
    assert scene.acquired == datetime(2023, 6, 5, 10, 21, 31, 318000, tzinfo=UTC)
    pixels, valid = read_all(scene)
    for band, layer in zip(scene.bands, pixels, strict=True):
        np.testing.assert_array_equal(layer, on_10_m(STORED[band.title]))
    np.testing.assert_array_equal(valid, on_10_m(STORED["B02"]) > 0)


def test_folder_zip_and_stacked_raster_give_the_same_class_map(safe: Path, stacked: Path) -> None:
    want = classes(open_scene(stacked))
    assert len(np.unique(want)) >= 5
    np.testing.assert_array_equal(classes(open_scene(safe)), want)
    np.testing.assert_array_equal(classes(open_scene(zipped(safe))), want)
    np.testing.assert_array_equal(classes(open_scene(safe / "MTD_MSIL2A.xml")), want)


@pytest.mark.parametrize(("level", "baseline", "add"), [("2A", "02.14", None), ("2A", "05.10", -1000),
                                                        ("1C", "03.01", None), ("1C", "05.09", -1000)])  # fmt: skip
def test_reflectance_is_the_same_whatever_the_offset_of_the_baseline(
    tmp_path: Path, level: str, baseline: str, add: int | None
) -> None:
    stored = {b: numbers(r, add=add or 0) for b, r in reflectances().items() if b in ("B02", "B11")}
    scene = open_scene(write_safe(tmp_path, level=level, baseline=baseline, add=add, stored=stored))
    pixels, valid = read_all(scene)
    for band, layer in zip(scene.bands, pixels, strict=True):
        truth = on_10_m(np.rint(reflectances()[band.title] * 10_000)) / 10_000
        np.testing.assert_allclose((layer * band.scale + band.offset)[valid], truth[valid], atol=1.01e-4)
    assert f"baseline {baseline}" in scene.product
    assert f"offset {add or 0:g} " in scene.product


def test_a_late_baseline_without_offsets_is_refused_rather_than_guessed(tmp_path: Path) -> None:
    safe = write_safe(tmp_path, baseline="05.09", add=None, stored={"B02": STORED["B02"]})
    with pytest.raises(SceneError, match=r"baseline 05\.09, but .* no BOA_ADD_OFFSET.* pass --scale 0\.0001"):
        open_scene(safe)
    band = open_scene(safe, scale=0.0001, offset=-0.1).bands[0]
    assert (band.scale, band.offset) == (0.0001, -0.1)


def test_clouds_are_left_out_only_when_asked_for(safe: Path) -> None:
    everything, ground = open_scene(safe), open_scene(safe, mask_clouds=True)
    assert everything.clouds.startswith("SCL")
    _, valid = read_all(everything)
    _, kept = read_all(ground)
    np.testing.assert_array_equal(kept, valid & ~np.isin(on_10_m(SCL), (0, 1, 3, 8, 9, 10)))
    with SceneReader(ground) as reader:
        np.testing.assert_array_equal(reader.read(37, 11, 41, 37)[1], kept[37:78, 11:48])


def test_clouds_of_level_1c_come_from_its_classes(tmp_path: Path) -> None:
    clouds = np.zeros((3, 16, 16), np.uint8)
    clouds[0, 4:6, 4:6] = clouds[1, 8:10, 8:10] = clouds[2, 12:, 12:] = 1
    stored = {"B02": STORED["B02"]}
    scene = open_scene(write_safe(tmp_path, level="1C", stored=stored, clouds=clouds), mask_clouds=True)
    _, valid = read_all(scene)
    np.testing.assert_array_equal(valid, (on_10_m(stored["B02"]) > 0) & (on_10_m(clouds[0] | clouds[1]) == 0))


def test_a_product_without_a_mask_of_clouds_says_so_when_one_is_asked_for(tmp_path: Path, stacked: Path) -> None:
    safe = write_safe(tmp_path, stored={"B02": STORED["B02"]})
    with pytest.raises(SceneError, match=r"has no SCL band.*leave out --mask-clouds"):
        open_scene(safe, mask_clouds=True)
    with pytest.raises(SceneError, match=r"scene\.tif: a plain raster has no mask.*leave out --mask-clouds"):
        open_scene(stacked, mask_clouds=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: without(p, "IMG_DATA"), r"holds no image files GRANULE/\*/IMG_DATA"),
        (lambda p: (p / "MTD_MSIL2A.xml").write_text("<a"), r"MTD_MSIL2A\.xml: not XML"),
        (lambda p: (p / "MTD_MSIL2A.xml").write_text("<!DOCTYPE a><a/>"), "has a document type or entities"),
        (lambda p: (p / "MTD_MSIL2A.xml").write_text("<a/>"), r"no QUANTIFICATION_VALUE to go by \(None\)"),
        (lambda p: (p / "MTD_MSIL1C.xml").write_text("<a/>"), "holds 2 files MTD_MSIL1C"),
        (lambda p: write_jp2(p / "GRANULE/L2A_X/IMG_DATA/R10m/T33UVU_20230605T101559_B02_10m.jp2",
                             STORED["B02"], 10), "holds 2 granules"),
    ],
    ids=["no images", "no xml", "entities", "no values", "two levels", "two granules"],
)  # fmt: skip
def test_an_incomplete_product_is_refused_by_name(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    safe = write_safe(tmp_path, stored={"B02": STORED["B02"]})
    spoil(safe)
    with pytest.raises(SceneError, match=rf"\.SAFE: .*{message}"):
        open_scene(safe)


def test_bands_that_the_product_names_are_not_named_again(safe: Path) -> None:
    with pytest.raises(ParameterError, match=r"named by its metadata \(.*blue, .*leave out --bands"):
        open_scene(safe, bands=["blue", "green"])


def test_a_zip_file_that_is_cut_short_or_holds_something_else_is_refused(tmp_path: Path, safe: Path) -> None:
    whole = zipped(safe).read_bytes()
    cut = tmp_path / "S2B_MSIL2A_X.zip"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SceneError, match=r"X\.zip: cannot be read as an archive.*download it again"):
        open_scene(cut)
    with zipfile.ZipFile(cut, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(SceneError, match=r"X\.zip: an archive that holds no product"):
        open_scene(cut)
    with zipfile.ZipFile(cut, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for n in range(20_001):
            archive.writestr(f"{n}", "")
    with pytest.raises(SceneError, match=r"X\.zip: declares 20001 members .*beyond reason"):
        open_scene(cut)


def test_a_product_in_a_folder_is_one_input_and_what_changes_in_it_is_seen(tmp_path: Path) -> None:
    stored = {"B02": STORED["B02"], "B11": STORED["B11"]}
    safe = write_safe(tmp_path / "in", stored=stored)
    zipped(safe).rename(tmp_path / "in" / f"{safe.stem}x.zip")
    write_tif(tmp_path / "in" / "a.tif", STORED["B02"], 10)
    (tmp_path / "in" / "other.zip").touch()
    names = [Path(n).name for n in find_rasters([tmp_path / "in"])]
    assert sorted(names) == sorted([safe.name, f"{safe.stem}x.zip", "a.tif"])
    assert find_rasters([safe]) == [str(safe)]
    scene = open_scene(safe)
    assert scene.id == safe.stem
    assert current_fingerprint(scene) == scene.fingerprint
    image = next(safe.rglob("*B11_20m.jp2"))
    write_jp2(image, STORED["B11"][::-1], 20)
    assert current_fingerprint(scene) != scene.fingerprint


class _Counting(SceneReader):
    """Counts how often each row of each file is decoded."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.decoded: dict[str, NDArray[np.intp]] = {}

    def _decode(self, group: Any, window: Window, place: Any) -> Any:
        grid = group.sampling or self._scene
        rows = self.decoded.setdefault(group.href, np.zeros(grid.height, np.intp))
        rows[int(window.row_off) : int(window.row_off + window.height)] += 1
        return super()._decode(group, window, place)


def test_going_down_a_scene_decodes_each_row_of_each_file_once(safe: Path) -> None:
    scene = open_scene(safe, mask_clouds=True)
    with _Counting(scene) as reader:
        edges = [0, 7, 32, 57, 64, 96]
        strips = [reader.read(a, 3, b - a, 80)[0] for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(strips, axis=1), read_all(scene)[0][:, :, 3:83])
    assert len(reader.decoded) == 13
    for rows in reader.decoded.values():
        assert set(rows) == {1}
