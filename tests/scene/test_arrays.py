"""xarray objects become scenes, read where they are asked for."""

from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

import geoseg
from geoseg.errors import ParameterError, SceneError
from geoseg.scene.open import open_scene
from geoseg.scene.read import SceneReader
from tests.products import COMMON, on_10_m, write_tif
from tests.scene.test_sentinel2 import STORED

BOX = GeoBox((96, 96), Affine(10, 0, 399_960, 0, -10, 5_800_020), "EPSG:32633")
CUBE = np.stack([on_10_m(STORED[b]) for b in COMMON])
NAMES = list(COMMON.values())


def array(cube: Any = CUBE, **attrs: Any) -> xr.DataArray:
    wrapped = wrap_xr(cube, BOX, dims=("band", "y", "x"), axis=1).assign_coords(band=list(COMMON))
    return wrapped.assign_attrs({"_FillValue": 0, **attrs})


def dataset() -> xr.Dataset:
    attrs = {"scale_factor": 0.0001, "add_offset": -0.1, "nodata": 0}
    return xr.Dataset({n: wrap_xr(layer, BOX).assign_attrs(attrs) for n, layer in zip(NAMES, CUBE, strict=True)})


def test_an_array_and_a_dataset_are_scenes_with_names_scale_and_grid() -> None:
    for data in (array(scale_factor=0.0001, add_offset=-0.1), dataset()):
        scene = open_scene(data)
        assert [b.name for b in scene.bands] == NAMES
        assert scene.geobox == BOX
        assert scene.scaled
        assert {(b.scale, b.offset, b.nodata) for b in scene.bands} == {(0.0001, -0.1, 0.0)}
        with SceneReader(scene, scene.bands[::-1]) as reader:
            pixels, valid = reader.read(3, 5, 40, 30)
        np.testing.assert_array_equal(pixels, CUBE[::-1, 3:43, 5:35])
        np.testing.assert_array_equal(valid, (CUBE[:, 3:43, 5:35] != 0).all(axis=0))


def test_the_class_map_of_arrays_is_that_of_the_file(tmp_path: Any) -> None:
    model = geoseg.load_model("spectral")
    path = write_tif(tmp_path / "one.tif", CUBE, 10, nodata=0)
    want = geoseg.segment(open_scene(path, bands=NAMES, scale=0.0001, offset=-0.1), model)
    read: list[Any] = []

    def load(block: Any) -> Any:
        read.append(block.shape)
        return block

    lazy = array(da.from_array(CUBE, chunks=(6, 32, 32)).map_blocks(load, dtype=CUBE.dtype, meta=CUBE[:0, :0, :0]))
    maps = geoseg.segment(open_scene(lazy, scale=0.0001, offset=-0.1), model)
    looked = len(read)  # a few windows, to hold them against the model
    xr.testing.assert_equal(maps.compute(), want.compute())
    assert len(read) - looked == 9  # each chunk once
    xr.testing.assert_equal(geoseg.segment(dataset(), model).compute(), want.compute())


def test_one_layer_one_time_and_names_as_rioxarray_leaves_them() -> None:
    one = wrap_xr(CUBE[0], BOX).rename("nir").expand_dims(time=[np.datetime64("2023-06-05T10:21:31")])
    scene = open_scene(one)
    assert ([b.name for b in scene.bands], str(scene.acquired)) == (["nir"], "2023-06-05 10:21:31+00:00")
    named = array(long_name=("Blue", "Green", "Red", "NIR", "SWIR1", "SWIR2")).assign_coords(band=range(1, 7))
    assert [b.name for b in open_scene(named).bands] == NAMES
    nameless = array().drop_vars("band")
    assert [b.name for b in open_scene(nameless).bands] == [f"band {i}" for i in range(1, 7)]
    assert [b.name for b in open_scene(nameless, bands=NAMES).bands] == NAMES
    assert not open_scene(nameless).scaled


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: xr.DataArray(CUBE, dims=("band", "y", "x")), "array: has no evenly spaced coordinates"),
        (lambda: xr.DataArray(CUBE, {"y": range(96), "x": range(96)}, ("band", "y", "x")), "array: has no CRS"),
        (lambda: array().astype(bool), "pixels of type bool are no measurements"),
        (lambda: array().expand_dims(time=2), "select one time"),
        (lambda: array(scale_factor=0.0), "scale 0.0 and offset 0.0 give no values"),
        (lambda: xr.Dataset({"a": ("t", [1, 2])}), "no variables of two dimensions"),
    ],
    ids=["no coordinates", "no crs", "bool", "times", "scale", "no rasters"],
)
def test_what_has_no_place_or_no_numbers_is_refused(data: Any, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        open_scene(data())


def test_names_that_do_not_fit_and_clouds_that_nothing_tells_are_refused() -> None:
    with pytest.raises(ParameterError, match="1 band names for 6 bands"):
        open_scene(array(), bands=["red"])
    with pytest.raises(ParameterError, match="given twice"):
        open_scene(array(), bands=["red"] * 6)
    with pytest.raises(SceneError, match="no mask of clouds"):
        open_scene(array(), mask_clouds=True)
