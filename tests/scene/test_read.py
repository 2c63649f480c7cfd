"""Windows of stored values, and where they are valid."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import SceneError
from geoseg.scene.open import open_scene
from geoseg.scene.read import SceneReader, is_valid

Write = Callable[..., Path]
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


def cube(bands: int = 3, side: int = 40) -> Any:
    return np.random.default_rng(0).integers(1, 60_000, (bands, side, side)).astype(np.uint16)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory, write_raster: Write) -> Path:
    path = tmp_path_factory.mktemp("tiled") / "a.tif"
    return write_raster(path, cube(), tiled=True, blockxsize=16, blockysize=16, compress="deflate", nodata=7)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_window_holds_what_was_written_there(tiled: Path, data: st.DataObject) -> None:
    row, col = (data.draw(st.integers(0, 39)) for _ in range(2))
    height, width = data.draw(st.integers(1, 40 - row)), data.draw(st.integers(1, 40 - col))
    scene = open_scene(tiled)
    order = data.draw(st.permutations(range(3)))
    with SceneReader(scene, [scene.bands[i] for i in order]) as reader:
        stored, valid = reader.read(row, col, height, width)
    np.testing.assert_array_equal(stored, cube()[order, row : row + height, col : col + width])
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(valid, (stored != 7).all(axis=0))


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    nodata=st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(-300, 300).map(float),
)
def test_validity_is_what_python_numbers_say(dtype: str, nodata: float | None) -> None:
    info = np.finfo(dtype) if dtype.startswith("f") else np.iinfo(dtype)
    low, high = float(info.min), float(info.max)
    stored = np.array([0, 1, 100, info.min, info.max, info.max], dtype)
    if nodata is not None and low <= nodata <= high:
        stored[-1] = np.dtype(dtype).type(nodata)
    valid = is_valid(stored, nodata)
    if valid is None:
        valid = np.ones(6, bool)
    declared = None if nodata is None or abs(nodata) > high or np.isnan(nodata) else nodata
    if declared is not None and dtype == "float32":  # pixels match what is declared after rounding
        declared = float(np.float32(declared))
    whole = declared is None or dtype.startswith("f") or declared == int(declared)
    for value, ok in zip(stored.tolist(), valid.tolist(), strict=True):
        if whole:
            assert ok == (declared is None or value != declared)


@pytest.mark.parametrize("declared", [-3.4028234663852886e38, -3.40282346638529e38, -3.402823466e38, -3.4028235e38])
def test_the_lowest_float_is_nodata_however_it_was_rounded(declared: float) -> None:
    stored = np.array([1, np.finfo("float32").min], np.float32)
    np.testing.assert_array_equal(is_valid(stored, declared), [True, False])


def test_bands_of_different_types_come_in_their_common_type(tmp_path: Path, write_raster: Write) -> None:
    path = tmp_path / "a.vrt"
    write_raster(tmp_path / "b.tif", np.full((2, 2), 200, np.uint8))
    write_raster(tmp_path / "c.tif", np.full((2, 2), -5, np.int16))
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{i}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{name}</SourceFilename></SimpleSource></VRTRasterBand>'
        for i, kind, name in ((1, "Byte", "b.tif"), (2, "Int16", "c.tif"))
    )
    place = "<SRS>EPSG:32633</SRS><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>"
    path.write_text(f'<VRTDataset rasterXSize="2" rasterYSize="2">{place}{bands}</VRTDataset>')
    with SceneReader(open_scene(path)) as reader:
        stored, _ = reader.read(0, 0, 2, 2)
    assert reader.dtype == stored.dtype == np.int16
    assert stored[:, 0, 0].tolist() == [200, -5]


def test_a_truncated_file_is_named_with_the_place(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "half.tif", cube(side=512), driver="COG", blocksize=128, overviews="NONE")
    stored = path.read_bytes()
    path.write_bytes(stored[: len(stored) // 2])
    with SceneReader(open_scene(path)) as reader:
        reader.read(0, 0, 128, 128)
        with pytest.raises(SceneError, match=r"half\.tif: cannot be read at row 500, column 40: .*download it again"):
            reader.read(500, 40, 12, 24)


def test_a_file_that_is_replaced_by_another_size_is_named(tmp_path: Path, write_raster: Write) -> None:
    path = write_raster(tmp_path / "a.tif", cube(side=64))
    scene = open_scene(path)
    write_raster(path, cube(side=32))
    with SceneReader(scene) as reader, pytest.raises(SceneError, match=r"a\.tif: is now 32 x 32 px but was 64 x 64 px"):
        reader.read(0, 0, 1, 1)


@pytest.mark.parametrize("changed", [cube(bands=2), cube().astype(np.float32)])
def test_a_file_that_is_replaced_by_other_bands_is_named(tmp_path: Path, write_raster: Write, changed: Any) -> None:
    path = write_raster(tmp_path / "a.tif", cube())
    scene = open_scene(path)
    write_raster(path, changed)
    with SceneReader(scene) as reader, pytest.raises(SceneError, match=r"a\.tif: has now . bands of .*run again"):
        reader.read(0, 0, 1, 1)


def test_readers_in_many_threads_read_the_same(tiled: Path) -> None:
    scene = open_scene(tiled)

    def read(row: int) -> Any:
        with SceneReader(scene) as reader:
            return reader.read(row, 0, 10, 40)[0]

    with ThreadPoolExecutor(4) as threads:
        strips = list(threads.map(read, [0, 10, 20, 30] * 3))
    np.testing.assert_array_equal(np.concatenate(strips[-4:], axis=1), cube())


def test_a_closed_reader_opens_its_files_again(tiled: Path) -> None:
    reader = SceneReader(open_scene(tiled))
    first = reader.read(0, 0, 5, 5)[0]
    reader.close()
    reader.close()
    np.testing.assert_array_equal(reader.read(0, 0, 5, 5)[0], first)
    reader.close()
