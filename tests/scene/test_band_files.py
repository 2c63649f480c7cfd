"""One file per band: named by a pattern, or plainly called after the bands."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import geoseg
from geoseg.errors import ParameterError, SceneError
from geoseg.scene.inputs import find_rasters
from geoseg.scene.open import open_scene
from tests.products import COMMON, on_10_m, write_jp2, write_tif
from tests.scene.test_sentinel2 import SCL, STORED, read_all

SHARED = Path(__file__).parents[3] / "shared/data/majortom-s2l2a-laos"
NAMED: dict[str, Any] = {"scale": 0.0001, "offset": -0.1}


def write_bands(folder: Path, name: str = "B{}.tif", bands: tuple[str, ...] = tuple(COMMON)) -> Path:
    for band in bands:
        write_tif(folder / name.format(band[1:]), STORED[band], 960 / len(STORED[band]), nodata=0)
    return folder


def names_of(path: object) -> list[str]:
    return [b.name for b in open_scene(str(path)).bands]


def test_a_folder_of_plainly_named_files_is_one_scene_with_the_pixels_of_each(tmp_path: Path) -> None:
    folder = write_bands(tmp_path / "20230605")
    assert find_rasters([tmp_path]) == [str(folder / "{band}.tif")]
    scene = open_scene(folder, **NAMED)
    assert scene.id == "20230605"
    assert [b.name for b in scene.bands] == list(COMMON.values())
    pixels, valid = read_all(scene)
    for band, layer in zip(scene.bands, pixels, strict=True):
        np.testing.assert_array_equal(layer, on_10_m(STORED[band.title]))
    np.testing.assert_array_equal(valid, on_10_m(STORED["B02"]) > 0)


def test_the_class_map_is_that_of_the_stacked_raster(tmp_path: Path) -> None:
    write_tif(tmp_path / "one.tif", np.stack([on_10_m(STORED[b]) for b in COMMON]), 10, nodata=0)
    stacked = open_scene(tmp_path / "one.tif", bands=list(COMMON.values()), **NAMED)
    files = open_scene(write_bands(tmp_path / "many") / "B{band}.tif", **NAMED)
    model = geoseg.load_model("spectral")
    maps = [geoseg.segment(scene, model).classes.to_numpy() for scene in (stacked, files)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert len(np.unique(maps[0])) >= 5


def test_a_pattern_names_the_files_and_stars_tell_scenes_apart(tmp_path: Path) -> None:
    for date in ("20230605", "20230610"):
        write_bands(tmp_path / "in", f"X_{date}_B{{}}.tif", ("B02", "B11"))
        write_bands(tmp_path / "in" / "more", f"Y_{date}_B{{}}.tif", ("B02", "B11"))
    (tmp_path / "in" / "notes_B02.txt").touch()
    found = find_rasters([tmp_path / "in"], band_files="*_B{band}.tif")
    assert [Path(f).relative_to(tmp_path / "in").as_posix() for f in found] == [
        "X_20230605_B{band}.tif", "X_20230610_B{band}.tif", "more/Y_20230605_B{band}.tif",
        "more/Y_20230610_B{band}.tif",
    ]  # fmt: skip
    assert find_rasters([tmp_path / "*" / "*_B{band}.tif"]) == found[:2]
    assert names_of(found[0]) == ["blue", "swir16"]
    scene = open_scene(found[3], bands=["this", "that"])
    assert (scene.id, [b.name for b in scene.bands]) == ("Y_20230610", ["this", "that"])
    assert str(scene.acquired).startswith("2023-06-10")


def test_images_of_sentinel_2_come_in_the_finest_size_with_zero_as_no_data_and_their_mask(tmp_path: Path) -> None:
    start = tmp_path / "T33UVU_20230605T101559"
    for name, pixels in (("B02_10m", STORED["B02"]), ("B02_20m", STORED["B02"][::2, ::2]), ("B11_20m", STORED["B11"]),
                         ("SCL_20m", SCL), ("TCI_10m", np.ones((3, 96, 96), np.uint8)),
                         ("WVP_10m", STORED["B02"])):  # fmt: skip
        write_jp2(Path(f"{start}_{name}.jp2"), pixels, 10 if "10m" in name else 20)
    assert find_rasters([tmp_path]) == [f"{start}_{{band}}.jp2"]
    scene = open_scene(tmp_path, mask_clouds=True)
    assert [(b.title, b.name, b.sampling is None) for b in scene.bands] == [
        ("B02", "blue", True), ("B11", "swir16", False),
    ]  # fmt: skip
    _, valid = read_all(scene)
    clouds = np.isin(on_10_m(SCL), (0, 1, 3, 8, 9, 10))
    np.testing.assert_array_equal(valid, (on_10_m(STORED["B02"]) > 0) & ~clouds)
    assert not scene.scaled  # images alone do not say what their numbers mean


def test_files_that_only_look_alike_stay_scenes_of_their_own(tmp_path: Path) -> None:
    for name in ("a_red.tif", "b_nir.tif", "red.tif", "scored.tif", "B4.tif", "B5.tif"):
        write_tif(tmp_path / name, STORED["B02"], 10)
    assert len(find_rasters([tmp_path])) == 6


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("B.tif", "with {band} once"), ("{band}{band}.tif", "with {band} once"), ("a/B{band}.tif", "the name of a file")],
)
def test_a_pattern_that_names_no_band_is_refused(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        find_rasters([tmp_path], band_files=pattern)


def test_files_that_do_not_fit_together_are_refused_by_name(tmp_path: Path) -> None:
    folder = write_bands(tmp_path / "a", bands=("B02", "B11"))
    with pytest.raises(SceneError, match=r"X\{band\}\.tif: no file has such a name"):
        open_scene(folder / "X{band}.tif")
    with pytest.raises(ParameterError, match=r"1 band names for 2 files \(B02, B11\)"):
        open_scene(folder / "B{band}.tif", bands=["red"])
    write_tif(folder / "B8.tif", STORED["B08"], 10, crs="EPSG:32634")
    with pytest.raises(SceneError, match=r"B\{band\}\.tif: its files have different CRSs: B8\.tif is in EPSG:32634"):
        open_scene(folder / "B{band}.tif")
    write_tif(folder / "B8.tif", STORED["B08"], -10)
    with pytest.raises(SceneError, match=r"B8\.tif does not fit the others: its rows and columns"):
        open_scene(folder / "B{band}.tif")
    write_tif(folder / "B8.tif", STORED["B08"], 10)
    (folder / "B8.tif").rename(folder / "Bblue.tif")
    with pytest.raises(SceneError, match=r"B02 and blue are both blue"):
        open_scene(folder / "B{band}.tif")


def test_a_real_scene_of_files_at_three_pixel_sizes_is_one_scene() -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared data are not here")
    scene = open_scene(SHARED, **NAMED)
    assert [b.name for b in scene.bands] == ["coastal", "blue", "green", "red", "nir", "swir16"]
    assert [1 if b.sampling is None else round(1 / b.sampling.row_step) for b in scene.bands] == [6, 1, 1, 1, 1, 2]
    pixels, _ = read_all(scene)
    import rasterio

    with rasterio.open(SHARED / "B11.tif") as file:
        np.testing.assert_array_equal(pixels[5], file.read(1).repeat(2, 0).repeat(2, 1))


def test_a_naip_quad_has_the_bands_that_the_program_lays_down(tmp_path: Path) -> None:
    four = np.ones((4, 8, 8), np.uint8)
    quad = write_tif(tmp_path / "m_4709963_se_14_1_20170827.tif", four, 1)
    assert names_of(quad) == ["red", "green", "blue", "nir"]
    assert str(open_scene(quad).acquired).startswith("2017-08-27")
    assert names_of(write_tif(tmp_path / "m_47.tif", four, 1)) == ["red", "green", "blue"]
    assert [b.name for b in open_scene(quad, bands=["a", "b", "c", "d"]).bands] == ["a", "b", "c", "d"]
