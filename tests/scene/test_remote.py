"""Rasters over HTTP, from a real server on loopback that answers range requests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.errors import SceneError
from geoseg.scene.open import open_scene
from geoseg.scene.read import SceneReader
from tests.servers import serve


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the URL under which it is served."""
    with serve(tmp_path) as server:
        yield tmp_path, server.url


def _write(path: Path, value: int) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=80, height=70, count=2, dtype="uint16", nodata=0, crs="EPSG:32633",
        transform=Affine(10, 0, 5e5, 0, -10, 5e6), tiled=True, blockxsize=16, blockysize=16,
    ) as dataset:  # fmt: skip
        dataset.write(np.full((2, 70, 80), value, np.uint16))


def test_a_raster_behind_a_url_reads_as_the_file_does(served: tuple[Path, str]) -> None:
    folder, url = served
    _write(folder / "a_20240501.tif", 7)
    local, remote = open_scene(folder / "a_20240501.tif"), open_scene(f"{url}/a_20240501.tif?token=secret")
    assert remote.id == local.id
    assert remote.geobox == local.geobox
    assert remote.acquired == local.acquired
    with SceneReader(local) as there, SceneReader(remote) as here:
        for mine, theirs in zip(there.read(3, 5, 40, 30), here.read(3, 5, 40, 30), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_other_pixels_behind_the_same_url_are_another_scene(served: tuple[Path, str]) -> None:
    folder, url = served
    _write(folder / "one.tif", 7)
    _write(folder / "two.tif", 8)
    before = open_scene(f"{url}/one.tif").fingerprint
    assert open_scene(f"{url}/one.tif").fingerprint == before
    assert open_scene(f"{url}/two.tif").fingerprint != before


def test_a_url_with_nothing_behind_it_is_refused_by_name(served: tuple[Path, str]) -> None:
    _, url = served
    with pytest.raises(SceneError, match=r"none\.tif.*404"):
        open_scene(f"{url}/none.tif")


def test_a_vrt_from_the_network_is_not_followed(served: tuple[Path, str]) -> None:
    folder, url = served
    (folder / "a.vrt").write_text("<VRTDataset/>")
    with pytest.raises(SceneError, match=r"a\.vrt.*network"):
        open_scene(f"{url}/a.vrt")
