"""The one door: what is not a plain raster never reaches GDAL, and what declares too much is not read."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT

from geoseg.errors import GeosegError, ParameterError, SceneError
from geoseg.scene.allowed import ENVIRONMENT, allow_outside, is_allowed
from geoseg.scene.guard import open_raster
from geoseg.scene.open import open_scene
from geoseg.scene.read import SceneReader
from tests.conftest import Command
from tests.servers import serve

Write = Callable[..., Path]
DATA = Path(__file__).resolve().parents[3] / "shared"
REAL = sorted(
    p
    for folder in (DATA / "data", DATA / "data-odd" / "files")
    for p in folder.rglob("*")
    if p.suffix.lower() in (".tif", ".tiff", ".jp2", ".vrt", ".png", ".jpg", ".img") and p.stat().st_size < 4 << 20
)


def pixels(side: int = 4) -> Any:
    return np.arange(1, side * side + 1, dtype=np.uint8).reshape(side, side)


def vrt(source: str, *, attributes: str = 'relativeToVRT="1"', inside: str = "", band: str = "", size: int = 4) -> str:
    return f"""<VRTDataset rasterXSize="{size}" rasterYSize="{size}">
      <SRS>EPSG:32633</SRS><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>
      <VRTRasterBand dataType="Byte" band="1" {band}>{inside}
        <SimpleSource><SourceFilename {attributes}>{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>
      </VRTRasterBand></VRTDataset>"""


@pytest.fixture
def folder(tmp_path: Path, write_raster: Write) -> Path:
    """Holds ``a.tif``; a raster outside of it lies in ``../secret.tif``."""
    inside = tmp_path / "inside"
    inside.mkdir()
    write_raster(inside / "a.tif", pixels())
    write_raster(tmp_path / "secret.tif", pixels())
    return inside


def make_link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere.tif")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: os.mkfifo(p), "not a regular file but a folder, pipe or device"),
        (lambda p: p.symlink_to("/dev/zero"), "not a regular file but a folder, pipe or device"),
        (lambda p: p.mkdir(), "not a regular file but a folder, pipe or device"),
        (lambda p: p.touch(), "empty file of 0 bytes.*download it again"),
        (make_link_to_nothing, "symbolic link to a file that does not exist"),
        (lambda p: p.symlink_to(p), "symbolic link"),
        (lambda _: None, "no such file or directory; check the path"),
        (lambda p: p.write_text("not pixels"), "cannot be opened as GTiff.*gdalinfo"),
        (lambda p: p.write_text(vrt("a.tif")), "cannot be opened as GTiff.*gdalinfo"),
        (lambda p: p.write_bytes(b"II*\0\xff\xff\xff\xff"), "cannot be opened as GTiff"),
    ],
    ids=["fifo", "device", "folder", "empty", "dangling", "loop", "missing", "text", "vrt", "offset"],
)
def test_what_is_not_a_raster_is_refused_by_name(folder: Path, make: Callable[[Path], object], message: str) -> None:
    path = folder / "x.tif"
    make(path)
    with pytest.raises(SceneError, match=rf"x\.tif: .*{message}"):
        open_scene(path)


@pytest.mark.parametrize("name", ["notes.txt", "raster", "MEM:::DATAPOINTER=1", "GTIFF_DIR:1:a.tif", "a.tif.aux.xml"])
def test_a_name_without_a_rasters_suffix_or_file_never_reaches_gdal(name: str) -> None:
    with pytest.raises(SceneError, match=r"not a raster format geoseg opens|check the path"):
        open_scene(name)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(SceneError, match=r"a\\x00\.tif: not a name that a file can have"):
        open_scene("a\0.tif")


def test_control_characters_of_a_name_do_not_reach_the_message(tmp_path: Path) -> None:
    with pytest.raises(SceneError) as caught:
        open_scene(tmp_path / "a\x1b[2J.tif")
    assert "\x1b" not in str(caught.value)


def test_a_vrt_over_files_of_its_own_folder_works(folder: Path) -> None:
    path = folder / "mosaic.vrt"
    path.write_text(vrt("a.tif"))
    scene = open_scene(path)
    assert scene.driver == "VRT"
    with SceneReader(scene) as reader:
        np.testing.assert_array_equal(reader.read(0, 0, 4, 4)[0][0], pixels())


def test_a_vrt_that_gdal_itself_writes_works(folder: Path) -> None:
    with rasterio.open(folder / "a.tif") as source, WarpedVRT(source, crs="EPSG:4326") as warped:
        copy(source, folder / "b.vrt", driver="VRT")
        copy(warped, folder / "c.vrt", driver="VRT")
        expected = warped.read(1)
    with open_raster(str(folder / "b.vrt")) as dataset:
        np.testing.assert_array_equal(dataset.read(1), pixels())
    with open_raster(str(folder / "c.vrt")) as dataset:
        np.testing.assert_array_equal(dataset.read(1), expected)


def test_the_fingerprint_of_a_vrt_changes_with_its_source(folder: Path, write_raster: Write) -> None:
    path = folder / "mosaic.vrt"
    path.write_text(vrt("a.tif"))
    before = open_scene(path).fingerprint
    write_raster(folder / "a.tif", pixels() + 1)
    assert open_scene(path).fingerprint != before


FUNCTION = "<PixelFunctionLanguage>Python</PixelFunctionLanguage>"
BIG_TILES = {"tiled": True, "blockxsize": 8192, "blockysize": 8192}
OUTSIDE = "lies outside the folder of the VRT"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (vrt("../secret.tif"), OUTSIDE),
        (vrt("SECRET", attributes='relativeToVRT="0"'), OUTSIDE),
        (vrt("SECRET", attributes=""), OUTSIDE),
        (vrt("link.tif"), OUTSIDE),
        (vrt("../secret.tif").replace("SourceFilename", "SOURCEFILENAME"), OUTSIDE),
        (vrt("/vsicurl/http://127.0.0.1/a.tif", attributes=""), OUTSIDE),
        (vrt("http://127.0.0.1/a.tif", attributes=""), OUTSIDE),
        (vrt("GTIFF_DIR:1:a.tif", attributes=""), OUTSIDE),
        (vrt("&lt;VRTDataset/>.tif", attributes=""), OUTSIDE),
        (vrt("missing.tif"), "missing.tif.*cannot be used.*no such file"),
        (vrt("fake.tif"), "fake.tif.*cannot be used.*cannot be opened as GTiff"),
        (vrt("nested.vrt"), "point the VRT at the files themselves"),
        (vrt("bytes.raw"), "point the VRT at the files themselves"),
        (vrt("a.tif", inside=FUNCTION), "pixel functions"),
        (vrt("a.tif", inside=FUNCTION.replace("PixelFunction", "pixelfunction")), "pixel functions"),
        (vrt("a.tif", band='subClass="VRTDerivedRasterBand"'), "pixel functions"),
        (vrt("a.tif", band='subClass="VRTRawRasterBand"'), "raw bands"),
        (vrt("a.tif", band='SUBCLASS="vrtrawrasterband"'), "raw bands"),
        (vrt("a.tif").replace("<VRTDataset ", '<VRTDataset subClass="VRTProcessedDataset" '), "or the like"),
        (vrt("a.tif").replace("<SimpleSource>", '<SimpleSource SourceFilename="/x.tif">'), "an unusual way"),
        (vrt("a.tif<relativeToVRT>1</relativeToVRT>", attributes=""), "outside the folder|unusual way"),
        ('<!DOCTYPE x [<!ENTITY y "a.tif">]>' + vrt("&y;"), "document type or entities"),
        (vrt("a.tif") + "<", "not a VRT.*gdalbuildvrt"),
        (vrt("a.tif", size=1_000_000), "a size beyond reason"),
    ],
)
def test_a_vrt_that_reaches_out_or_computes_is_refused(
    folder: Path, write_raster: Write, text: str, message: str
) -> None:
    (folder / "link.tif").symlink_to(folder.parent / "secret.tif")
    (folder / "fake.tif").write_text(vrt("a.tif"))
    (folder / "nested.vrt").write_text(vrt("a.tif"))
    path = folder / "bad.vrt"
    path.write_text(text.replace("SECRET", str(folder.parent / "secret.tif")))
    with pytest.raises(SceneError, match=rf"(?s)bad\.vrt: .*{message}"):
        open_scene(path)


def test_a_vrt_leads_where_the_user_allowed_it_and_nowhere_else(
    folder: Path, write_raster: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "")
    (folder.parent / "other").mkdir()
    write_raster(folder.parent / "other" / "b.tif", pixels() + 1)
    path = folder / "outside.vrt"
    path.write_text(vrt("../other/b.tif"))
    with pytest.raises(
        SceneError, match=rf"{OUTSIDE}.*--allow-outside {folder.parent / 'other'} if you know"
    ) as refused:
        open_scene(path)
    allow_outside([str(refused.value).split("--allow-outside ")[1].split(" if ")[0]])
    with open_raster(str(path)) as dataset:
        np.testing.assert_array_equal(dataset.read(1), pixels() + 1)
    # changes there are seen
    before = open_scene(path).fingerprint
    write_raster(folder.parent / "other" / "b.tif", pixels())
    assert open_scene(path).fingerprint != before
    path.write_text(vrt("../secret.tif"))
    with pytest.raises(SceneError, match=OUTSIDE):
        open_scene(path)
    path.write_text(vrt(f"../other/../{folder.parent.name}/../secret.tif"))
    with pytest.raises(SceneError, match=OUTSIDE):
        open_scene(path)


def test_a_vrt_leads_to_a_server_that_the_user_allowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "")
    (folder / "data").mkdir()
    (folder / "a.tif").rename(folder / "data" / "a.tif")
    path = folder / "remote.vrt"
    with serve(folder) as server:
        path.write_text(vrt(f"/vsicurl/{server.url}/data/a.tif", attributes=""))
        with pytest.raises(SceneError, match=rf"--allow-outside {server.url}/data if you know"):
            open_scene(path)
        allow_outside([f"{server.url}/data"])
        scene = open_scene(path)
        with SceneReader(scene) as reader:
            np.testing.assert_array_equal(reader.read(0, 0, 4, 4)[0][0], pixels())
        path.write_text(vrt(f"/vsicurl/{server.url}/data/../secret.tif", attributes=""))
        with pytest.raises(SceneError, match=OUTSIDE):
            open_scene(path)


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("https://a.example/data/x.tif", True),
        ("/vsicurl/https://a.example/data/deep/x.tif?token=1", True),
        ("https://a.example/database/x.tif", False),
        ("https://a.example/data/../x.tif", False),
        ("https://a.example/data/%2e%2E/x.tif", False),
        ("http://a.example/data/x.tif", False),
        ("https://a.example:8443/data/x.tif", False),
        ("https://a.example@evil.example/data/x.tif", False),
        ("https://a.example.evil.example/data/x.tif", False),
        ("/data/x.tif", False),
        ("https://[/data/x.tif", False),
    ],
)
def test_a_url_is_allowed_with_all_below_it_and_nothing_beside(
    target: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "")
    assert not is_allowed(target)
    allow_outside(["https://a.example/data"])
    assert is_allowed(target) == allowed


def test_what_is_no_place_cannot_be_allowed(tmp_path: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("info", tmp_path, "--allow-outside", tmp_path / "missing")
    assert ended.code == 2
    assert "missing: neither a folder nor a URL, so nothing there can be allowed" in ended.err
    with pytest.raises(ParameterError, match="a URL without a host"):
        allow_outside(["https:///data"])


@pytest.mark.parametrize("suffix", [".msk", ".aux.xml", ".ovr"])
def test_a_side_file_that_would_hang_is_refused(folder: Path, suffix: str) -> None:
    os.mkfifo(folder / f"a.tif{suffix}")
    with pytest.raises(SceneError, match=rf"a\.tif\{suffix}: not a regular file"):
        open_scene(folder / "a.tif")


def test_a_mask_beside_the_file_that_is_a_vrt_is_refused(folder: Path) -> None:
    (folder / "a.tif.msk").write_text(vrt(str(folder.parent / "secret.tif"), attributes=""))
    with pytest.raises(SceneError, match=r"a\.tif\.msk: not a TIFF"):
        open_scene(folder / "a.tif")


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (
            {
                "width": 400_000,
                "height": 400_000,
            }
            | BIG_TILES,
            "a size beyond reason",
        ),
        (
            {"width": 40_000, "height": 40_000, "tiled": True, "blockxsize": 40_000, "blockysize": 40_000},
            "too big to decode.*TILED=YES",
        ),
        ({"width": 40_000, "height": 40_000, "count": 60, "interleave": "band"} | BIG_TILES, "beyond reason"),
        ({"width": 1, "height": 1, "count": 5000}, "5000 bands, more than 4096"),
    ],
)
def test_a_file_that_declares_too_much_is_refused_before_anything_is_read(
    tmp_path: Path, profile: dict[str, Any], message: str
) -> None:
    full = {"driver": "GTiff", "crs": "EPSG:32633", "dtype": "uint8", "count": 1, "sparse_ok": True} | profile
    full["transform"] = rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)
    with rasterio.open(tmp_path / "bomb.tif", "w", **full):
        pass
    assert (tmp_path / "bomb.tif").stat().st_size < 1 << 20
    with pytest.raises(SceneError, match=rf"bomb\.tif: .*{message}"):
        open_scene(tmp_path / "bomb.tif")


def test_an_honest_sparse_file_is_opened(tmp_path: Path) -> None:
    profile = {"width": 10_000, "height": 10_000, "count": 1, "tiled": True, "dtype": "uint8", "sparse_ok": True}
    place = {"driver": "GTiff", "crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}
    with rasterio.open(tmp_path / "a.tif", "w", **place, **profile):
        pass
    assert open_scene(tmp_path / "a.tif").width == 10_000


@pytest.mark.skipif(not REAL, reason="the real rasters are not here")
def test_every_real_raster_opens_and_reads_or_is_refused_with_a_reason() -> None:
    refused = []
    for path in REAL:
        try:
            scene = open_scene(path)
            with SceneReader(scene) as reader:
                height, width = min(scene.height, 64), min(scene.width, 64)
                stored, valid = reader.read(scene.height - height, scene.width - width, height, width)
            assert stored.shape == (len(scene.bands), height, width)
            assert valid.shape == (height, width)
            assert len({b.name for b in scene.bands}) == len(scene.bands)
        except GeosegError as error:
            refused.append(path)
            assert path.name in str(error)  # noqa: PT017 - many of them open
    assert 0 < len(refused) < len(REAL)


@pytest.mark.skipif(not REAL, reason="the real rasters are not here")
def test_a_vrt_with_python_under_a_tif_name_is_not_even_parsed(tmp_path: Path) -> None:
    source = next(p for p in REAL if p.name == "python_ones.vrt")
    path = Path(shutil.copyfile(source, tmp_path / "python_ones.tif"))
    assert stat.S_ISREG(path.stat().st_mode)
    with pytest.raises(SceneError, match="cannot be opened as GTiff"):
        open_scene(path)
