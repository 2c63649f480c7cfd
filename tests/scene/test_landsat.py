"""Landsat Collection 2 bundles and HLS granules become scenes in reflectance, or are refused with the reason."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from geoseg.errors import ParameterError, SceneError
from geoseg.scene.inputs import find_rasters
from geoseg.scene.open import current_fingerprint, open_scene
from geoseg.scene.scene import Scene
from tests.products import LANDSAT, at_30_m, tarred, write_hls, write_landsat, write_tif
from tests.scene.test_sentinel2 import read_all

QA = np.full((32, 32), 1 << 6, np.uint16)  # clear
QA[8:14] |= np.array([1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5], np.uint16)[:, None]
NAMES = ["blue", "green", "red", "nir", "swir16", "swir22"]


def whole_rows(valid: NDArray[np.bool_]) -> list[bool]:
    return [bool(row.all()) for row in valid]


def assert_reflectance(scene: Scene, atol: float) -> None:
    assert [b.name for b in scene.bands] == NAMES
    assert scene.scaled
    pixels, valid = read_all(scene)
    assert not valid[:2, :2].any()
    for band, layer, source in zip(scene.bands, pixels, LANDSAT.values(), strict=True):
        np.testing.assert_allclose((layer * band.scale + band.offset)[valid], at_30_m(source)[valid], atol=atol)


@pytest.mark.parametrize("level", ["L1TP", "L2SP"])
@pytest.mark.parametrize("text", [False, True], ids=["json", "text"])
def test_a_bundle_is_read_in_reflectance_as_folder_tar_and_metadata_file(
    tmp_path: Path, level: str, text: bool
) -> None:
    bundle = write_landsat(tmp_path, level=level, text=text)
    for named in (bundle, tarred(bundle), next(bundle.glob("*_MTL.*"))):
        scene = open_scene(named)
        assert_reflectance(scene, 3e-5)
        assert scene.id == bundle.name
        assert scene.acquired == datetime(2023, 6, 4, 10, 2, 36, 123456, tzinfo=UTC)
        assert scene.geobox.resolution.x == 30  # the panchromatic band is no reason for pixels of 15 m
        assert ("surface" if level == "L2SP" else "top of atmosphere") in scene.product


def test_fill_by_quality_is_always_honoured_and_clouds_when_asked_for(tmp_path: Path) -> None:
    bundle = write_landsat(tmp_path, qa=QA)
    _, valid = read_all(open_scene(bundle))
    _, ground = read_all(open_scene(bundle, mask_clouds=True))
    assert whole_rows(valid)[8:14] == [False, True, True, True, True, True]
    assert whole_rows(ground)[8:14] == [False, False, False, False, False, True]
    assert ground[2:8].all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: [f.unlink() for f in p.glob("*_B?.TIF")], "none of the band files"),
        (lambda p: next(p.glob("*_MTL.json")).write_text("{"), "MTL.json cannot be read"),
        (lambda p: next(p.glob("*_MTL.json")).write_text("[]"), "has no LANDSAT_METADATA_FILE"),
        (lambda p: edit(p, "LANDSAT_8", "LANDSAT_3"), "says LANDSAT_3.*Landsat 4 to 9 of Collection 2"),
        (lambda p: edit(p, '"02"', '"01"'), "collection 01.*Landsat 4 to 9 of Collection 2"),
        (lambda p: edit(p, "REFLECTANCE_MULT_BAND_2", "X"), "no REFLECTANCE_MULT_BAND_2 .*pass --scale and --offset"),
        (lambda p: edit(p, str(57.5), "-3"), "sun -3 degrees high"),
        (lambda p: (p / "LC09_L2SP_1_MTL.json").write_text("{}"), "holds 2 Landsat bundles; name the MTL file"),
    ],
    ids=["no bands", "no json", "no metadata", "sensor", "collection", "no scale", "night", "two"],
)
def test_an_incomplete_bundle_is_refused_by_name(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    from geoseg.scene.products.landsat import open_landsat
    from geoseg.scene.products.wanted import Wanted

    bundle = write_landsat(tmp_path, level="L1TP")
    spoil(bundle)
    with pytest.raises(SceneError, match=rf"LC08_L1TP_\w+: .*{message}"):
        open_landsat(str(bundle), Wanted())


def edit(bundle: Path, old: str, new: str) -> None:
    path = next(bundle.glob("*_MTL.json"))
    path.write_text(path.read_text().replace(old, new))


def test_bundles_that_lie_in_one_folder_are_one_input_each(tmp_path: Path) -> None:
    for level in ("L1TP", "L2SP"):
        bundle = write_landsat(tmp_path / "made", level=level)
        for file in bundle.iterdir():
            file.rename(tmp_path / file.name)
        bundle.rmdir()
    write_tif(tmp_path / "alone.tif", np.ones((4, 4), np.uint16), 30)
    # metadata beside a raster that was made from their bundle
    (tmp_path / "other_MTL.txt").write_text("GROUP = A")
    write_tif(tmp_path / "other.tif", np.ones((4, 4), np.uint16), 30)
    found = find_rasters([tmp_path])
    assert [Path(f).name for f in found] == [
        "LC08_L1TP_193024_20230604_20230614_02_T1_MTL.json", "LC08_L2SP_193024_20230604_20230614_02_T1_MTL.json",
        "alone.tif", "other.tif",
    ]  # fmt: skip
    for name in found[:2]:
        assert_reflectance(open_scene(name), 3e-5)
    scene = open_scene(found[1])
    edit(tmp_path, "zzz", "zzz ")
    assert current_fingerprint(scene) == scene.fingerprint
    path = tmp_path / found[1]
    path.write_text(path.read_text().replace("-0.2", "-0.1"))
    assert current_fingerprint(scene) != scene.fingerprint


@pytest.mark.parametrize("kind", ["S30", "L30"])
def test_an_hls_granule_is_read_in_reflectance_by_its_name_and_by_its_folder(tmp_path: Path, kind: str) -> None:
    fmask = np.zeros((32, 32), np.uint8)
    fmask[8:16] = np.array([1, 2, 4, 8, 16, 32, 64, 255], np.uint8)[:, None]
    granule = write_hls(tmp_path, kind=kind, fmask=fmask)
    assert find_rasters([tmp_path]) == [granule]
    for named in (granule, tmp_path):
        assert_reflectance(open_scene(named), 6e-5)
    scene = open_scene(granule)
    assert (scene.id, scene.acquired) == (Path(granule).name, datetime(2023, 6, 5, 10, 15, 59, tzinfo=UTC))
    _, ground = read_all(open_scene(granule, mask_clouds=True))
    assert whole_rows(ground)[8:16] == [True, False, False, False, True, True, True, False]


def test_hls_without_its_files_or_mask_says_so(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"v2\.0: none of its band files .*B02\.tif"):
        open_scene(tmp_path / "HLS.S30.T33UVU.2023156T101559.v2.0")
    granule = write_hls(tmp_path)
    with pytest.raises(SceneError, match=r"v2\.0: has no Fmask file.*leave out --mask-clouds"):
        open_scene(granule, mask_clouds=True)
    with pytest.raises(ParameterError, match="named by its metadata"):
        open_scene(granule, bands=NAMES)


def test_scale_and_offset_by_the_user_come_before_those_of_metadata(tmp_path: Path) -> None:
    for named in (write_landsat(tmp_path), write_hls(tmp_path)):
        scene = open_scene(named, scale=0.5)
        assert {(b.scale, b.offset) for b in scene.bands} == {(0.5, 0.0)}


def test_a_compressed_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "LC08.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(SceneError, match=r"LC08\.tar\.gz: a compressed archive cannot be read in place; unpack it"):
        open_scene(tmp_path / "LC08.tar.gz")


def test_the_metadata_are_those_of_a_real_bundle() -> None:
    from geoseg.scene.products.landsat import _parse

    path = Path(__file__).parents[3] / "shared/data/brumadinho-landsat8-pair/brumadinho_20190114_MTL.txt"
    if not path.is_file():
        pytest.skip("the shared data are not here")
    metadata = _parse(path.read_bytes(), path.name, "x")
    group = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"
    assert metadata.number(group, "REFLECTANCE_MULT_BAND_2", "x") == 2.75e-05
    assert metadata.number(group, "REFLECTANCE_ADD_BAND_2", "x") == -0.2
    assert metadata.get("PRODUCT_CONTENTS", "FILE_NAME_QUALITY_L1_PIXEL").endswith("_QA_PIXEL.TIF")
    assert json.dumps(metadata.groups["IMAGE_ATTRIBUTES"]["SPACECRAFT_ID"]) == '"LANDSAT_8"'
