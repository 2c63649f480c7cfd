"""STAC items, in files and behind URLs, become scenes with the bands and the units that they state."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import geoseg
from geoseg.errors import InputError, ParameterError, SceneError
from geoseg.scene.inputs import find_rasters
from geoseg.scene.open import current_fingerprint, open_scene
from geoseg.scene.read import SceneReader
from tests.conftest import Command
from tests.products import COMMON, at_30_m, on_10_m, write_tif
from tests.scene.test_sentinel2 import SCL, STORED, read_all
from tests.servers import serve

ID = "S2B_33UVU_20230605_0_L2A"


def write_assets(folder: Path) -> Path:
    """Six bands as tiled GeoTIFFs, a picture and a classification."""
    for band, name in COMMON.items():
        pixels = STORED[band]
        write_tif(folder / f"{name}.tif", pixels, 960 / len(pixels), tiled=True, blockxsize=32, blockysize=32)
    write_tif(folder / "scl.tif", SCL, 20)
    write_tif(folder / "visual.tif", np.ones((3, 96, 96), np.uint8), 10)
    return folder


def item(*, version: str = "1.1.0", href: str = "./{}.tif", **properties: Any) -> dict[str, Any]:
    """An item of Sentinel-2 as catalogues write them, for STAC 1.0 or 1.1."""
    assets: dict[str, Any] = {
        "visual": {"href": href.format("visual"), "type": "image/tiff", "roles": ["visual"],
                   "eo:bands": [{"name": n, "common_name": n} for n in ("red", "green", "blue")]},
        "scl": {"href": href.format("scl"), "type": "image/tiff", "roles": ["data", "reflectance"]},
        "granule_metadata": {"href": href.format("granule").replace(".tif", ".xml"), "roles": ["metadata"]},
    }  # fmt: skip
    for band, name in reversed(COMMON.items()):
        asset: dict[str, Any] = {"href": href.format(name), "type": "image/tiff", "roles": ["data", "reflectance"]}
        metres = 20 if name.startswith("swir") else 10
        if version == "1.1.0":
            asset |= {"bands": [{"name": band, "eo:common_name": name, "raster:spatial_resolution": metres}],
                      "raster:scale": 0.0001, "raster:offset": -0.1, "nodata": 0}  # fmt: skip
        else:
            asset |= {"eo:bands": [{"name": band, "common_name": name}],
                      "raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0, "spatial_resolution": metres}],
                      }  # fmt: skip
        assets[band] = asset
    return {
        "type": "Feature", "stac_version": version, "id": ID, "geometry": None,
        "properties": {"datetime": "2023-06-05T10:21:31.318Z", "platform": "sentinel-2b", **properties},
        "links": [], "assets": assets, "collection": "sentinel-2-l2a",
    }  # fmt: skip


def write_item(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Assets with items of both versions beside them; tests leave them as they are."""
    folder = write_assets(tmp_path_factory.mktemp("stac"))
    for name, content in (("new", item()), ("old", item(version="1.0.0"))):
        content["properties"]["eo:cloud_cover"] = 12.5
        write_item(folder / f"{name}.json", content)
    return folder


@pytest.mark.parametrize("name", ["new.json", "old.json"])
def test_an_item_says_names_scale_offset_nodata_and_time(folder: Path, name: str) -> None:
    scene = open_scene(folder / name)
    assert {b.title: b.name for b in scene.bands} == COMMON
    assert {(b.scale, b.offset, b.nodata) for b in scene.bands} == {(0.0001, -0.1, 0.0)}
    assert scene.scaled
    assert (scene.id, str(scene.acquired)) == (ID, "2023-06-05 10:21:31.318000+00:00")
    assert scene.cloud_percent == 12.5
    pixels, valid = read_all(scene)
    for band, layer in zip(scene.bands, pixels, strict=True):
        np.testing.assert_array_equal(layer, on_10_m(STORED[band.title]))
    np.testing.assert_array_equal(valid, on_10_m(STORED["B02"]) > 0)
    _, ground = read_all(open_scene(folder / name, mask_clouds=True))
    np.testing.assert_array_equal(ground, valid & ~np.isin(on_10_m(SCL), (0, 1, 3, 8, 9, 10)))


def test_an_item_gives_the_class_map_of_the_stacked_raster_from_files_and_over_http(
    folder: Path, tmp_path: Path
) -> None:
    write_tif(tmp_path / "one.tif", np.stack([on_10_m(STORED[b]) for b in COMMON]), 10, nodata=0)
    stacked = open_scene(tmp_path / "one.tif", bands=list(COMMON.values()), scale=0.0001, offset=-0.1)
    model = geoseg.load_model("spectral")
    want = geoseg.segment(stacked, model).classes.to_numpy()
    assert len(np.unique(want)) >= 5
    with serve(folder) as server:
        for named in (folder / "new.json", f"{server.url}/new.json"):
            found = geoseg.segment(open_scene(named), model).classes.to_numpy()
            np.testing.assert_array_equal(found, want)
        assert server.sent["visual.tif"] == 0


def test_each_byte_of_the_bands_that_are_read_comes_over_the_network_about_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 10_000, (1024, 1024)).astype(np.uint16)
    for name in ("blue", "green"):
        write_tif(tmp_path / f"{name}.tif", noise, 10, tiled=True, blockxsize=128, blockysize=128)
    content = item()
    content["assets"] = {k: v for k, v in content["assets"].items() if k in ("B02", "B03")}
    write_item(tmp_path / "item.json", content)
    size = (tmp_path / "blue.tif").stat().st_size
    with serve(tmp_path) as server:
        scene = open_scene(f"{server.url}/item.json")
        assert server.sent["blue.tif"] < 70_000  # the head of the file, and no pixels
        with SceneReader(scene, [b for b in scene.bands if b.name == "blue"]) as reader:
            for row in range(0, 1024, 128):
                np.testing.assert_array_equal(reader.read(row, 0, 128, 1024)[0][0], noise[row : row + 128])
        assert size <= server.sent["blue.tif"] < 1.1 * size + 70_000
        assert server.sent["green.tif"] < 70_000


def test_a_server_that_stumbles_is_asked_again(folder: Path) -> None:
    with serve(folder) as server:
        server.failing |= {"new.json": 1, "blue.tif": 1}
        scene = open_scene(f"{server.url}/new.json")
        with SceneReader(scene, scene.bands[-1:]) as reader:
            assert reader.read(0, 0, 8, 8)[0].shape == (1, 8, 8)
        assert server.asked["new.json"] == 2


def test_a_server_that_fails_or_hangs_is_named_without_the_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(folder) as server:
        with pytest.raises(SceneError, match=r"/none\.json: cannot be read: the server answered 404"):
            open_scene(f"{server.url}/none.json?token=secret")
        content = item(href=server.url + "/{}.tif?token=secret")
        content["assets"]["B02"]["href"] = f"{server.url}/gone.tif?token=secret"
        write_item(folder / "tokens.json", content)
        with pytest.raises(SceneError, match=r"/gone\.tif\?\.\.\.: .*404") as failed:
            open_scene(f"{server.url}/tokens.json")
        assert "secret" not in str(failed.value)
        # what the user sets for GDAL holds
        for name, value in (("GDAL_HTTP_TIMEOUT", "1"), ("GDAL_HTTP_MAX_RETRY", "0")):
            monkeypatch.setenv(name, value)
        server.hanging.add("blue.tif")
        with pytest.raises(SceneError, match=r"/blue\.tif: "):
            open_scene(f"{server.url}/new.json")


def test_items_of_a_collection_are_scenes_of_their_own(folder: Path, tmp_path: Path) -> None:
    features = [item(href=str(folder / "{}.tif")) | {"id": name} for name in ("one", "two")]
    collection = {"type": "FeatureCollection", "features": features}
    path = write_item(folder / "search.json", collection)
    names = find_rasters([path])
    assert names == [f"{path}#one", f"{path}#two"]
    assert [open_scene(n).id for n in names] == ["one", "two"]
    assert open_scene(names[0]).fingerprint != open_scene(names[1]).fingerprint
    with pytest.raises(SceneError, match=r"search\.json: holds 2 items; name one as .*#ID"):
        open_scene(path)
    with pytest.raises(SceneError, match=r"search\.json: holds no item three"):
        open_scene(f"{path}#three")
    assert find_rasters([folder]) != []  # metadata in a folder are no inputs of their own
    assert not any(".json" in n for n in find_rasters([folder]))


def test_a_collection_behind_a_url_is_fetched_once_for_all_of_its_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_assets(tmp_path)
    with serve(tmp_path) as server:
        features = [item(href=server.url + "/{}.tif") | {"id": name} for name in ("one", "two")]
        write_item(tmp_path / "search.json", {"type": "FeatureCollection", "features": features})
        url = f"{server.url}/search.json"
        names = find_rasters([url])
        assert [open_scene(n).id for n in names] == ["one", "two"]
        assert server.asked["search.json"] == 1
        # whoever lists it again sees what is new, and its tokens are asked for again in time
        assert find_rasters([url]) == names
        assert server.asked["search.json"] == 2
        monkeypatch.setattr("geoseg.scene.stac._KEPT_S", -1)
        assert open_scene(names[1]).id == "two"
        assert server.asked["search.json"] == 3


def test_of_finished_scenes_behind_a_url_no_pixels_are_fetched_again(
    tmp_path: Path, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what GDAL remembers of a file that is closed, another process would fetch
    monkeypatch.setenv("CPL_VSIL_CURL_NON_CACHED", "/vsicurl/")
    noise = np.random.default_rng(0).integers(1, 5000, (4, 512, 512)).astype(np.uint16)
    write_tif(tmp_path / "served" / "noise.tif", noise, 10, tiled=True, blockxsize=64, blockysize=64)
    size = (tmp_path / "served" / "noise.tif").stat().st_size
    with serve(tmp_path / "served") as server:
        words: list[object] = ["run", f"{server.url}/noise.tif", "-o", tmp_path / "out", "--no-polygons"]
        words += ["--bands", "blue,green,red,nir", "--scale", "0.0001", "--force"]
        assert geoseg_command(*words).code == 0
        assert server.sent["noise.tif"] > size
        server.sent.clear()
        again = geoseg_command(*words)
    assert again.code == 0, again.err
    assert "1 of 1 scenes done" in again.err
    assert 0 < server.sent["noise.tif"] < size / 2  # where its tiles lie, each time it is opened


def test_a_change_of_an_asset_is_seen(tmp_path: Path) -> None:
    write_assets(tmp_path)
    scene = open_scene(write_item(tmp_path / "item.json", item()))
    assert current_fingerprint(scene) == scene.fingerprint
    write_tif(tmp_path / "blue.tif", STORED["B02"][::-1], 10)
    assert current_fingerprint(scene) != scene.fingerprint


def test_the_one_near_infrared_band_of_landsat_is_what_models_ask_for(tmp_path: Path) -> None:
    content = item(version="1.0.0", platform="landsat-8")
    del content["assets"]["B08"]
    content["assets"]["nir08"] = {"href": "./nir08.tif", "eo:bands": [{"name": "SR_B5", "common_name": "nir08"}]}
    content["assets"]["lwir11"] = {"href": "./lwir.tif", "eo:bands": [{"name": "ST_B10", "common_name": "lwir11"}]}
    write_assets(tmp_path)
    write_tif(tmp_path / "nir08.tif", (at_30_m("B08") * 10_000).astype(np.uint16), 30)
    names = [b.name for b in open_scene(write_item(tmp_path / "item.json", content)).bands]
    assert names == ["swir22", "swir16", "red", "green", "blue", "nir"]


def test_units_that_an_item_does_not_state_or_states_twice_are_asked_for(folder: Path, tmp_path: Path) -> None:
    twice = item(href=str(folder / "{}.tif"))
    twice["properties"]["earthsearch:boa_offset_applied"] = True
    path = write_item(folder / "twice.json", twice)
    with pytest.raises(
        SceneError, match=r"offset was applied .* states an offset of -0\.1 .*--scale 0\.0001 --offset 0"
    ):
        open_scene(path)
    assert {b.offset for b in open_scene(path, scale=0.0001, offset=0).bands} == {0}
    plain = item()
    for asset in plain["assets"].values():
        for key in ("raster:scale", "raster:offset", "nodata"):
            asset.pop(key, None)
    scene = open_scene(write_item(folder / "plain.json", plain))
    assert not scene.scaled
    with pytest.raises(InputError, match=r"needs reflectance; .*pass --scale 0\.0001"):
        geoseg.segment(scene, geoseg.load_model("spectral"))


@pytest.mark.parametrize(
    ("href", "message"),
    [
        ("../{}.tif", r"names .*\.tif, outside its own folder, so it is not followed"),
        ("/etc/{}.tif", r"names /etc/.*\.tif, outside its own folder, so it is not followed"),
        ("file:///etc/{}.tif", r"names file:///etc/.*\.tif, outside its own folder"),
        ("/vsicurl/http://example.org/{}.tif", "neither a file nor a URL"),
        ("http://127.0.0.1:1/{}.tif", "on this machine or a private network, so it is not followed"),
        ("http://localhost:1/{}.tif", "on this machine or a private network, so it is not followed"),
        ("http://10.0.0.7/{}.tif", "on this machine or a private network, so it is not followed"),
    ],
)
def test_an_item_does_not_lead_where_its_author_may_not(tmp_path: Path, href: str, message: str) -> None:
    path = write_item(tmp_path / "a" / "item.json", item(href=href))
    with pytest.raises(SceneError, match=rf"item\.json: .*{message}"):
        open_scene(path)


def test_an_item_leads_where_the_user_allowed_it(tmp_path: Path, geoseg_command: Command) -> None:
    write_assets(tmp_path / "data")
    path = write_item(tmp_path / "a" / "item.json", item(href="../data/{}.tif"))
    refused = geoseg_command("info", path)
    assert "pass --allow-outside with their folder" in refused.err
    allowed = geoseg_command("info", path, "--allow-outside", tmp_path / "data")
    assert allowed.code == 0, allowed.err
    assert "blue" in allowed.out


def test_an_item_behind_a_url_leads_to_no_local_file(folder: Path) -> None:
    write_item(folder / "local.json", item(href=f"file://{folder}/{{}}.tif"))
    with serve(folder) as server, pytest.raises(SceneError, match=r"local\.json: names .* it is not followed"):
        open_scene(f"{server.url}/local.json")


def no_bands(content: dict[str, Any]) -> Any:
    return content | {"assets": {"thumbnail": {"href": "a.png", "roles": ["thumbnail"]}}}


def text_as_scale(content: dict[str, Any]) -> Any:
    content["assets"]["B02"]["raster:scale"] = "0.0001"
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"type": "Catalog"}, r"neither a STAC item .*\(type Catalog\)"),
        (lambda _: [1], "neither a STAC item"),
        (lambda c: {k: v for k, v in c.items() if k != "stac_version"}, "neither a STAC item"),
        (no_bands, "no assets that are known bands; it has thumbnail"),
        (text_as_scale, r"asset B02 states 0\.0001 where a number belongs"),
    ],
)
def test_what_is_no_usable_item_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = write_item(tmp_path / "item.json", change(item()))
    with pytest.raises(SceneError, match=rf"item\.json: .*{message}"):
        open_scene(path)


def test_text_that_is_no_json_is_refused_and_names_are_not_given_twice(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(SceneError, match=r"a\.json: not JSON"):
        open_scene(tmp_path / "a.json")
    with pytest.raises(SceneError, match=r"^\S*gone\.json: no such file"):
        open_scene(f"{tmp_path / 'gone.json'}#one")
    with pytest.raises(ParameterError, match=r"named by its metadata"):
        open_scene(folder / "new.json", bands=["red"])
