"""ENVI rasters are scenes by the header beside them."""

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.errors import SceneError
from geoseg.scene.inputs import find_rasters
from geoseg.scene.open import open_scene
from geoseg.scene.read import SceneReader
from tests.conftest import UTM, Command, blobs

PIXELS = blobs(24, 30, n_bands=2)


def write_envi(path: Path, *, interleave: str = "bsq") -> Path:
    with rasterio.open(
        path, "w", driver="ENVI", count=2, height=24, width=30, dtype="uint16", crs="EPSG:32633", transform=UTM,
        nodata=0, INTERLEAVE=interleave,
    ) as dataset:  # fmt: skip
        dataset.write(PIXELS)
        dataset.descriptions = ("red", "nir")
    Path(f"{path}.aux.xml").unlink(missing_ok=True)  # the header says it all
    return path


def test_a_folder_is_searched_for_those_with_a_header(tmp_path: Path) -> None:
    for name, interleave in (("a.img", "bsq"), ("b.dat", "bil"), ("c.BSQ", "bsq"), ("d.bip", "bip")):
        write_envi(tmp_path / name, interleave=interleave)
    (tmp_path / "a.hdr").rename(tmp_path / "a.img.hdr")
    (tmp_path / "alone.dat").write_bytes(b"no raster")
    (tmp_path / "other.dat").write_bytes(b"no raster")
    (tmp_path / "other.hdr").write_text("BYTEORDER I\n")  # of another program
    with rasterio.open(
        tmp_path / "erdas.img", "w", driver="HFA", count=2, height=24, width=30, dtype="uint16", crs="EPSG:32633",
        transform=UTM,
    ) as dataset:  # fmt: skip
        dataset.write(PIXELS)
    (tmp_path / "erdas.hdr").write_text("ENVI\n")
    found = find_rasters([tmp_path])
    assert [os.path.relpath(f, tmp_path) for f in found] == ["a.img", "b.dat", "c.BSQ", "d.bip", "erdas.img"]
    for href in found:
        scene = open_scene(href)
        with SceneReader(scene) as reader:
            np.testing.assert_array_equal(reader.read(0, 0, 24, 30)[0], PIXELS)
        assert scene.geobox.affine == UTM
        if not href.endswith("erdas.img"):
            assert [(b.name, b.nodata) for b in scene.bands] == [("red", 0), ("nir", 0)]


def test_what_has_no_header_or_too_few_bytes_is_refused(tmp_path: Path) -> None:
    path = write_envi(tmp_path / "a.dat")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SceneError, match=r"a\.dat: has 2780 bytes where its header declares 2880; copy or download it"):
        open_scene(path)
    path.with_suffix(".hdr").unlink()
    with pytest.raises(SceneError, match=r"a\.dat: has no header of ENVI beside it \(a\.hdr\); copy it there, too"):
        open_scene(path)


def test_a_run_maps_it(tmp_path: Path, geoseg_command: Command) -> None:
    (tmp_path / "in").mkdir()
    write_envi(tmp_path / "in" / "a.dat")
    ended = geoseg_command("run", tmp_path / "in", "-o", tmp_path / "out", "-m", "kmeans:2", "--no-polygons", "-q")
    assert ended.code == 0, ended.err
    with rasterio.open(tmp_path / "out" / "a" / "a_classes.tif") as dataset:
        assert (dataset.shape, dataset.transform) == ((24, 30), UTM)
