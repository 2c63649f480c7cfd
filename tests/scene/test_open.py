"""Rasters become scenes with the right names, grid and validity, or are refused with the reason and the mend."""

import os
import pickle
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC

from geoseg.errors import ParameterError, SceneError
from geoseg.scene.open import open_scene
from geoseg.scene.read import SceneReader
from geoseg.scene.scene import Scene

Write = Callable[..., Path]
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def cube(bands: int, dtype: str = "uint16", side: int = 4) -> Any:
    return np.arange(bands * side * side).reshape(bands, side, side).astype(dtype)


def names_of(scene: Scene) -> list[str]:
    return [b.name for b in scene.bands]


def valid_of(scene: Scene) -> Any:
    with SceneReader(scene) as reader:
        return reader.read(0, 0, scene.height, scene.width)[1]


@pytest.mark.parametrize(
    ("descriptions", "names"),
    [
        (["B02", "B03", "B04", "B08"], ["blue", "green", "red", "nir"]),
        (["B8A", "B11", "B12", "B05"], ["nir08", "swir16", "swir22", "rededge071"]),
        (["Blue", "GREEN", "B4 (red)", "Near Infrared"], ["blue", "green", "red", "nir"]),
        (["SWIR 1", "swir_2", "Red edge 1", "elevation"], ["swir16", "swir22", "red edge 1", "elevation"]),
        (["SR_B2", "SR_B3", "SR_B6", "SR_B7"], ["blue", "green", "swir16", "swir22"]),
        (["B4", "B5", "SR_B4", "SR_B5"], ["b4", "b5", "sr_b4", "sr_b5"]),  # red on Landsat 8, nir on Landsat 5
        (["red", "red", "nir", ""], ["band 1", "band 2", "nir", "band 4"]),
        (["", "", "", ""], ["band 1", "band 2", "band 3", "band 4"]),
        (["Band 2", "", "nir", "red"], ["band 1", "band 2", "band 3", "band 4"]),
    ],
)
def test_bands_are_called_by_their_descriptions(
    tmp_path: Path, write_raster: Write, descriptions: list[str], names: list[str]
) -> None:
    scene = open_scene(write_raster(tmp_path / "a.tif", cube(4), descriptions=descriptions))
    assert names_of(scene) == names
    assert [b.index for b in scene.bands] == [1, 2, 3, 4]


def test_six_landsat_bands_get_common_names_from_the_file_and_from_the_user(
    tmp_path: Path, write_raster: Write
) -> None:
    landsat = [f"SR_B{i}" for i in range(2, 8)]
    common = ["blue", "green", "red", "nir", "swir16", "swir22"]
    assert names_of(open_scene(write_raster(tmp_path / "a.tif", cube(6), descriptions=landsat))) == common
    assert names_of(open_scene(write_raster(tmp_path / "b.tif", cube(6)), bands=landsat)) == common


def test_names_by_the_user_come_before_those_of_the_file(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", cube(2), descriptions=["red", "nir"])
    assert names_of(open_scene(path, bands=["B08", "My Band"])) == ["nir", "my band"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["red"], "1 band names for 2 bands"),
        (["red", "nir", "green"], "3 band names for 2 bands"),
        (["red", "B04"], "red is given twice"),
        (["red", ""], "band 2 is given an empty name"),
    ],
)
def test_names_that_do_not_fit_the_bands_are_refused(
    tmp_path: Path, write_raster: Write, given: list[str], message: str
) -> None:
    path = write_raster(tmp_path / "a.tif", cube(2))
    with pytest.raises(ParameterError, match=message):
        open_scene(path, bands=given)


def test_three_colours_name_the_bands_but_the_first_three_of_four_do_not(tmp_path: Path, write_raster: Write) -> None:
    bgr = write_raster(tmp_path / "a.tif", cube(3, "uint8"), photometric="MINISBLACK", colors=RGB[::-1])
    assert names_of(open_scene(bgr)) == ["blue", "green", "red"]
    four = write_raster(tmp_path / "b.tif", cube(4, "uint8"), photometric="RGB", alpha="NO")
    assert names_of(open_scene(four)) == ["band 1", "band 2", "band 3", "band 4"]


@pytest.mark.parametrize(
    ("dtype", "nodata", "bad"),
    [
        ("float32", None, np.nan),
        ("float32", np.nan, np.nan),
        ("float32", -9999.0, -9999.0),
        ("float32", -9999.0, np.nan),
        ("float32", -3.4e38, np.float32(-3.4e38)),
        ("float32", float(np.finfo("float32").min), np.finfo("float32").min),
        ("float32", None, np.inf),
        ("float64", -1.7976931348623157e308, -1.7976931348623157e308),
        ("uint8", 255, 255),
        ("int16", -32768, -32768),
        ("uint32", 2**32 - 1, 2**32 - 1),
        ("int64", -(2**53), -(2**53)),
    ],
)
def test_a_nodata_pixel_is_no_observation_and_every_other_is(
    tmp_path: Path, write_raster: Write, dtype: str, nodata: float | None, bad: float
) -> None:
    pixels = cube(2, dtype)
    pixels[1, 2, 3] = bad
    scene = open_scene(write_raster(tmp_path / "a.tif", pixels, nodata=nodata))
    expected = np.ones((4, 4), bool)
    expected[2, 3] = False
    np.testing.assert_array_equal(valid_of(scene), expected)


def with_pam(path: Path, nodata: Sequence[float]) -> Path:
    """The file with nodata values in a side-car file, as GDAL writes them where the format has only one."""
    bands = "".join(
        f'<PAMRasterBand band="{i}"><NoDataValue>{value}</NoDataValue></PAMRasterBand>'
        for i, value in enumerate(nodata, 1)
    )
    Path(f"{path}.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
    return path


def test_each_band_has_its_own_nodata_value(tmp_path: Path, write_raster: Write) -> None:
    path = with_pam(write_raster(tmp_path / "a.tif", cube(2, "uint8")), (3, 20))
    scene = open_scene(path)
    assert [b.nodata for b in scene.bands] == [3, 20]
    expected = np.ones(16, bool)
    expected[[3, 20 - 16]] = False
    np.testing.assert_array_equal(valid_of(scene).ravel(), expected)


@pytest.mark.parametrize("nodata", [-9999.0, 256.0, 0.5, np.nan, np.inf])
def test_a_nodata_value_that_no_pixel_can_have_matches_nothing(
    tmp_path: Path, write_raster: Write, nodata: float
) -> None:
    path = with_pam(write_raster(tmp_path / "a.tif", cube(1, "uint8")), [nodata])
    assert valid_of(open_scene(path)).all()


def test_alpha_is_validity_and_not_a_band(tmp_path: Path, write_raster: Write) -> None:
    pixels = cube(4, "uint8")
    pixels[3] = 255
    pixels[3, 0, 1] = 0
    scene = open_scene(write_raster(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES"))
    assert names_of(scene) == ["red", "green", "blue"]
    assert not valid_of(scene)[0, 1]
    assert valid_of(scene).sum() == 15


def test_alpha_and_nodata_decide_together(tmp_path: Path, write_raster: Write) -> None:
    pixels = cube(4, "uint8")  # its first pixel is 0
    pixels[3] = 255
    pixels[3, 2, 1] = 0
    path = write_raster(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES", nodata=0)
    assert np.argwhere(~valid_of(open_scene(path))).tolist() == [[0, 0], [2, 1]]


def test_four_names_make_a_band_of_what_gdal_takes_for_alpha(tmp_path: Path, write_raster: Write) -> None:
    pixels = cube(4, "uint8")
    pixels[3] = 0  # near infrared of water
    path = write_raster(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES")
    scene = open_scene(path, bands=["red", "green", "blue", "nir"])
    assert names_of(scene) == ["red", "green", "blue", "nir"]
    assert valid_of(scene).all()
    assert not valid_of(open_scene(path)).any()


@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_in_the_file_or_beside_it_is_validity(tmp_path: Path, write_raster: Write, internal: bool) -> None:
    mask = np.full((4, 4), 255, np.uint8)
    mask[1, 2] = 0
    path = write_raster(tmp_path / "a.tif", cube(3), mask=mask, internal_mask=internal)
    assert Path(f"{path}.msk").exists() != internal
    np.testing.assert_array_equal(valid_of(open_scene(path)), mask > 0)


@pytest.mark.parametrize(
    "transform",
    [Affine(10, 0, 5e5, 0, 10, 4e6), Affine(8, 6, 5e5, 6, -8, 5e6)],
    ids=["south-up", "rotated"],
)
def test_a_grid_that_is_not_north_up_is_kept_as_it_is(tmp_path: Path, write_raster: Write, transform: Affine) -> None:
    scene = open_scene(write_raster(tmp_path / "a.tif", cube(1), transform=transform))
    assert scene.geobox.transform.almost_equals(transform)
    assert (scene.height, scene.width) == (4, 4)


GCPS = [GroundControlPoint(row=r, col=c, x=c + 10, y=50 - r) for r, c in ((0, 0), (0, 4), (4, 0), (4, 4))]
SENSOR = RPC(
    err_bias=0, err_rand=0, height_off=0, height_scale=1, lat_off=50, lat_scale=1, line_den_coeff=[1.0] * 20,
    line_num_coeff=[1.0] * 20, line_off=0, line_scale=1, long_off=10, long_scale=1, samp_den_coeff=[1.0] * 20,
    samp_num_coeff=[1.0] * 20, samp_off=0, samp_scale=1,
)  # fmt: skip
LOCAL = 'LOCAL_CS["arbitrary",UNIT["metre",1]]'


@pytest.mark.parametrize(
    ("profile", "dtype", "message"),
    [
        ({"crs": None}, "uint8", "has no CRS.*gdal_edit.py -a_srs"),
        ({"transform": None}, "uint8", "no geotransform, so no position.*gdal_edit.py -a_ullr"),
        ({"transform": None, "gcps": GCPS}, "uint8", "4 ground control points but no geotransform.*gdalwarp"),
        ({"transform": None, "crs": None, "rpcs": SENSOR}, "uint8", "sensor model .RPC.*gdalwarp"),
        ({"transform": Affine(10, 10, 5e5, 10, 10, 5e6)}, "uint8", "pixels of no size"),
        ({"crs": LOCAL}, "uint8", "no place on the earth"),
        ({}, "complex64", "complex pixels are not supported"),
        ({"photometric": "PALETTE"}, "uint8", "palette image.*gdal_translate -expand rgb"),
    ],
)
def test_what_cannot_be_a_scene_is_refused_with_the_mend(
    tmp_path: Path, write_raster: Write, profile: dict[str, Any], dtype: str, message: str
) -> None:
    path = write_raster(tmp_path / "bad.tif", cube(1, dtype), **profile)
    with pytest.raises(SceneError, match=rf"bad\.tif: .*{message}"):
        open_scene(path)


def test_a_file_of_several_images_is_refused_and_one_of_them_named(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", cube(1, "uint8"))
    write_raster(tmp_path / "a.tif", cube(1, "uint8"), APPEND_SUBDATASET="YES")
    with pytest.raises(SceneError, match=r"holds 2 images.*gdal_translate GTIFF_DIR:1:"):
        open_scene(path)


@pytest.mark.parametrize(
    ("stated", "expected"), [({}, (0.0001, -0.1)), ({"scale": 0.5}, (0.5, 0.0)), ({"offset": 2.0}, (1.0, 2.0))]
)
def test_scale_and_offset_are_the_files_unless_the_user_states_them(
    tmp_path: Path, write_raster: Write, stated: dict[str, Any], expected: tuple[float, float]
) -> None:
    path = write_raster(tmp_path / "a.tif", cube(1), scales=[0.0001], offsets=[-0.1])
    scene = open_scene(path, **stated)
    assert (scene.bands[0].scale, scene.bands[0].offset) == expected
    assert scene.scaled
    assert not open_scene(write_raster(tmp_path / "b.tif", cube(1))).scaled


@pytest.mark.parametrize("stated", [{"scale": 0.0}, {"scale": np.nan}, {"offset": np.inf}])
def test_a_scale_that_gives_no_value_is_refused(tmp_path: Path, write_raster: Write, stated: dict[str, Any]) -> None:
    path = write_raster(tmp_path / "a.tif", cube(1))
    with pytest.raises(ParameterError, match="give a finite number"):
        open_scene(path, **stated)


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("a.tif", {"TIFFTAG_DATETIME": "2023:07:01 10:25:59"}, datetime(2023, 7, 1, 10, 25, 59, tzinfo=UTC)),
        ("a.tif", {"DATE_ACQUIRED": "2020-08-29"}, datetime(2020, 8, 29, tzinfo=UTC)),
        ("a.tif", {"datetime": "2023-07-01T10:25:59.024Z"}, datetime(2023, 7, 1, 10, 25, 59, 24000, tzinfo=UTC)),
        ("a.tif", {"acquired": "2023-07-01T12:25:59+02:00"}, datetime(2023, 7, 1, 10, 25, 59, tzinfo=UTC)),
        ("S2B_MSIL2A_20230701T102559.tif", {"datetime": "yesterday"}, datetime(2023, 7, 1, tzinfo=UTC)),
        ("LC08_L2SP_038037_20200829_20200906.tif", {}, datetime(2020, 8, 29, tzinfo=UTC)),
        ("town-2019-02-28.tif", {}, datetime(2019, 2, 28, tzinfo=UTC)),
        ("town-2019-02-31.tif", {}, None),
        ("m_3607824_se_17_1.tif", {}, None),
        ("12019010112.tif", {}, None),
    ],
)
def test_the_time_of_acquisition_comes_from_tags_or_the_name(
    tmp_path: Path, write_raster: Write, name: str, tags: dict[str, str], expected: datetime | None
) -> None:
    assert open_scene(write_raster(tmp_path / name, cube(1), tags=tags)).acquired == expected


def test_a_scene_pickles_to_an_equal_scene(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "Zürich 漢字 + 1.TIF", cube(2), tags={"DATE_ACQUIRED": "2020-08-29"}, nodata=7)
    scene = open_scene(path)
    assert scene.id == "Zürich 漢字 + 1"
    again = pickle.loads(pickle.dumps(scene))
    assert again == scene
    np.testing.assert_array_equal(valid_of(again), valid_of(scene))


def test_a_name_that_is_not_utf8_is_read_or_refused_by_its_name(tmp_path: Path, write_raster: Write) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tif")
    write_raster(tmp_path / "a.tif", cube(1)).rename(path)
    try:
        scene = open_scene(path)
    except SceneError as error:
        assert "caf\\udce9.tif" in str(error)  # noqa: PT017 - either is right
    else:
        assert valid_of(scene).all()


def test_the_fingerprint_changes_with_a_pixel_a_mask_and_a_side_car(tmp_path: Path, write_raster: Write) -> None:
    path = tmp_path / "a.tif"
    pixels = cube(1, "uint8", side=64)
    mask = np.full((64, 64), 255, np.uint8)
    seen = [open_scene(write_raster(path, pixels, mask=mask, internal_mask=False)).fingerprint]
    assert open_scene(path).fingerprint == seen[0]
    pixels[0, 31, 31] += 1
    seen.append(open_scene(write_raster(path, pixels, mask=mask, internal_mask=False)).fingerprint)
    msk = Path(f"{path}.msk")
    stored = bytearray(msk.read_bytes())
    stored[-1] ^= 1
    msk.write_bytes(stored)
    seen.append(open_scene(path).fingerprint)
    with_pam(path, [3])
    seen.append(open_scene(path).fingerprint)
    assert len(set(seen)) == len(seen)
