"""netCDF files and Zarr stores: their variables are the bands of one scene."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geoseg.errors import ParameterError, SceneError
from geoseg.scene.inputs import find_rasters
from geoseg.scene.open import current_fingerprint, open_scene
from tests.products import COMMON, on_10_m
from tests.scene.test_sentinel2 import SCL, STORED, read_all

BANDS = {n: on_10_m(STORED[b]).astype(np.int16) for b, n in COMMON.items()}


def write_nc(path: Path, layers: dict[str, NDArray[Any]], **attrs: Any) -> Path:
    """A classic netCDF file with a variable for each layer, (y, x) or (time, y, x)."""
    variables = {}
    for name, layer in layers.items():
        side = layer.shape[-1]
        box = GeoBox((side, side), Affine(960 / side, 0, 399_960, 0, -960 / side, 5_800_020), "EPSG:32633")
        dims, axis = (("y", "x"), 0) if layer.ndim == 2 else (("time", "y", "x"), 1)
        variables[name] = wrap_xr(layer, box, dims=dims, axis=axis)
        variables[name].attrs = dict(attrs)
        variables[name].encoding |= {"_FillValue": 0}
    xr.Dataset(variables).to_netcdf(path, engine="scipy")
    return path


def test_variables_are_bands_with_their_scale_and_the_mask_of_clouds(tmp_path: Path) -> None:
    path = write_nc(tmp_path / "scene_20230605.nc", BANDS | {"SCL": on_10_m(SCL).astype(np.int16)},
                    scale_factor=0.0001, add_offset=-0.1)  # fmt: skip
    assert find_rasters([tmp_path]) == [str(path)]
    scene = open_scene(path)
    assert (scene.id, str(scene.acquired)[:10]) == ("scene_20230605", "2023-06-05")
    assert [b.name for b in scene.bands] == list(COMMON.values())
    assert {(b.scale, b.offset, b.nodata) for b in scene.bands} == {(0.0001, -0.1, 0.0)}
    assert scene.scaled
    pixels, valid = read_all(scene)
    np.testing.assert_array_equal(pixels, np.stack(list(BANDS.values())))
    np.testing.assert_array_equal(valid, BANDS["blue"] != 0)
    _, ground = read_all(open_scene(path, mask_clouds=True))
    np.testing.assert_array_equal(ground, valid & ~np.isin(on_10_m(SCL), (0, 1, 3, 8, 9, 10)))
    assert current_fingerprint(scene) == scene.fingerprint
    write_nc(path, BANDS | {"red": BANDS["blue"]}, scale_factor=0.0001)
    assert current_fingerprint(scene) != scene.fingerprint


def test_one_variable_is_a_scene_called_by_it(tmp_path: Path) -> None:
    scene = open_scene(write_nc(tmp_path / "a.nc", {"nir": BANDS["nir"]}))
    assert [(b.name, b.title) for b in scene.bands] == [("nir", "nir")]
    np.testing.assert_array_equal(read_all(scene)[0][0], BANDS["nir"])


def test_a_zarr_store_is_one_input_whose_changes_are_seen(tmp_path: Path) -> None:
    store = tmp_path / "in" / "a.zarr"
    store.parent.mkdir()

    def write(pixels: NDArray[np.uint16]) -> None:
        with rasterio.open(
            store, "w", driver="Zarr", width=96, height=96, count=1, dtype="uint16", crs="EPSG:32633",
            transform=Affine(10, 0, 399_960, 0, -10, 5_800_020), nodata=0,
        ) as file:  # fmt: skip
            file.write(pixels[None])

    write(STORED["B02"])
    assert find_rasters([tmp_path]) == [str(store)]
    scene = open_scene(store)
    pixels, valid = read_all(scene)
    np.testing.assert_array_equal(pixels[0], STORED["B02"])
    np.testing.assert_array_equal(valid, STORED["B02"] != 0)
    assert (scene.id, current_fingerprint(scene)) == ("a", scene.fingerprint)
    for chunk in store.rglob("0.0"):
        chunk.write_bytes(chunk.read_bytes()[::-1])
    assert current_fingerprint(scene) != scene.fingerprint


def test_what_is_no_set_of_rasters_is_refused_by_name(tmp_path: Path) -> None:
    times = write_nc(tmp_path / "t.nc", {"red": np.stack([BANDS["red"]] * 2), "nir": np.stack([BANDS["nir"]] * 2)})
    with pytest.raises(SceneError, match=r"t\.nc: its variable red has 2 layers .*gdal_translate"):
        open_scene(times)
    (tmp_path / "x.nc").write_bytes(b"CDF\x01" + b"\xff" * 40)
    with pytest.raises(SceneError, match=r"x\.nc: cannot be opened as netCDF"):
        open_scene(tmp_path / "x.nc")
    (tmp_path / "y.zarr").mkdir()
    with pytest.raises(SceneError, match=r"y\.zarr: cannot be opened as Zarr"):
        open_scene(tmp_path / "y.zarr")
    with pytest.raises(SceneError, match=r"z\.nc: a netCDF file from the network .*download it"):
        open_scene("https://example.org/z.nc")
    good = write_nc(tmp_path / "g.nc", {"red": BANDS["red"], "b04": BANDS["red"]})
    with pytest.raises(SceneError, match=r"g\.nc: several of its variables .* are red"):
        open_scene(good)
    with pytest.raises(ParameterError, match="named by its metadata"):
        open_scene(write_nc(tmp_path / "h.nc", {"red": BANDS["red"], "nir": BANDS["nir"]}), bands=["a", "b"])
