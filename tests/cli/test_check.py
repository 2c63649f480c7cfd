"""geoseg check: for each scene whether it fits, and the option that mends it; and a run refuses what it doubts."""

import json
import shutil
from pathlib import Path

import pytest
import rasterio

from geoseg.scene.open import open_scene
from tests.conftest import Command, WriteScene, blobs
from tests.models.test_choose import AMAZON, scene

SCENE = Path(__file__).parents[2] / "sample_data" / "scenes" / "valley_east_20230908.tif"


def test_every_scene_gets_its_verdict_and_the_exit_code_says_whether_all_fit(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    write_scene("in/bands.tif")
    good = folder / "good.tif"
    shutil.copy(SCENE, good)
    damaged = folder / "damaged.tif"
    content = bytearray(SCENE.read_bytes())
    content[200_000:-200_000] = bytes(len(content) - 400_000)
    damaged.write_bytes(content)
    (folder / "none.tif").write_bytes(b"no raster")
    alone = geoseg_command("check", good, "-m", "landcover-unet", "--json")
    assert alone.code == 0, alone.out + alone.err
    (verdict,) = json.loads(alone.out)["scenes"]
    assert verdict == {
        "scene": str(good), "fits": True, "bands": "blue,green,red,nir,swir16", "units": "reflectance", "gsd_m": 10.0,
        "pixels": "plausible", "valid_percent": verdict["valid_percent"], "why": [], "notes": [],
    }  # fmt: skip
    with rasterio.open(good) as dataset:
        assert verdict["valid_percent"] == pytest.approx(100 * (dataset.read(1) != 0).mean(), abs=5)
    several = geoseg_command("check", folder, "-m", "landcover-unet", "--json")
    assert several.code == 1
    told = {Path(v["scene"]).stem: v for v in json.loads(several.out)["scenes"]}
    assert {name: v["fits"] for name, v in told.items()} == {
        "bands": False, "damaged": False, "good": True, "none": False,
    }  # fmt: skip
    assert (told["bands"]["bands"], told["damaged"]["pixels"]) == ("missing", "damaged")
    assert "needs the bands blue" in told["bands"]["why"][0]
    assert "cannot be read at row" in told["damaged"]["why"][0]
    assert "cannot be opened as GTiff" in told["none"]["why"][0]
    table = geoseg_command("check", good, "-m", "landcover-unet").out.splitlines()
    assert table[0] == "scene,fits,bands,units,gsd_m,pixels,valid_percent,why"
    assert table[1].startswith(f'{good},yes,"blue,green,red,nir,swir16",reflectance,10.0,plausible')


def test_without_a_model_it_is_the_one_that_a_run_would_take_which_is_said(
    geoseg_command: Command, tmp_path: Path
) -> None:
    names = ("red", "green", "blue")
    there = scene(tmp_path / "there.tif", at=AMAZON, bands=names)
    checked = geoseg_command("check", there, "--json")
    assert checked.code == 0, checked.out
    assert json.loads(checked.out)["model"] == "forest-amazon"
    said = "no model is named, so it is forest-amazon: there has what it needs"
    assert said in checked.err
    assert said in geoseg_command("run", there, "-o", tmp_path / "out", "--dry-run").err


@pytest.mark.parametrize(
    ("words", "why", "mend"),
    [
        (["--scale", 1], "look like reflectance x 10000", "pass --scale 0.0001, or --force"),
        (["--scale", 1, "--offset", 1000], "with the +1000 offset", "pass --scale 0.0001, or --force"),
        (["--scale", 0.0001, "--offset", 0.1], "was not taken away", "pass --scale 0.0001, or --force"),
        (["--scale", 0.0001, "--offset", -0.1], "that was not in it", "pass --scale 0.0001, or --force"),
        (["--bands", "nir,green,red,blue,swir16"], "look swapped", "--bands blue,green,red,nir,swir16"),
        (["--bands", "red,green,blue,nir,swir16"], "in another order", "--bands blue,green,red,nir,swir16"),
    ],
)
def test_a_wrong_unit_offset_or_order_is_refused_by_name_and_the_option_mends_it(
    geoseg_command: Command, tmp_path: Path, words: list[object], why: str, mend: str
) -> None:
    asked = ["check", SCENE, "-m", "landcover-unet"]
    refused = geoseg_command(*asked, *words)
    assert refused.code == 1
    assert why in refused.out
    assert mend in refused.out
    right = mend.removeprefix("pass ").removesuffix(", or --force").split()
    assert geoseg_command(*asked, *right).code == 0


def test_files_of_one_band_each_are_a_scene_and_a_mask_of_clouds_that_is_not_there_is_said(
    geoseg_command: Command, tmp_path: Path
) -> None:
    with rasterio.open(SCENE) as dataset:
        for index, name in enumerate(dataset.descriptions, 1):
            with rasterio.open(tmp_path / f"x_{name}.tif", "w", **dataset.profile | {"count": 1}) as out:
                out.write(dataset.read(index), 1)
    words = ["check", tmp_path, "-m", "landcover-unet", "--scale", 0.0001, "--band-files", "*_{band}.tif"]
    together = geoseg_command(*words, "--json")
    assert together.code == 0, together.out
    (verdict,) = json.loads(together.out)["scenes"]
    assert verdict["bands"] == "blue,green,red,nir,swir16"
    clouded = geoseg_command("check", SCENE, "-m", "landcover-unet", "--mask-clouds")
    assert clouded.code == 1
    assert "has no mask of clouds of its own" in clouded.out


def test_a_run_refuses_what_it_doubts_and_goes_on_with_force(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    numbers = write_scene(pixels=blobs(70, 90, n_bands=4).astype("float32"))
    names = ["--bands", "blue,green,red,nir"]
    words = ["run", numbers, "-o", tmp_path / "out", "-m", "spectral", "--no-polygons", *names]
    refused = geoseg_command(*words)
    assert refused.code == 1
    assert "scene.tif: the pixels look like reflectance x 10000; pass --scale 0.0001, or --force" in refused.err
    forced = geoseg_command(*words, "--force")
    assert forced.code == 0
    assert "they are taken as they are, because of --force" in forced.err
    assert open_scene(numbers).bands[0].name == "band 1"


def test_integers_without_a_scale_are_guessed_at_but_never_silently_scaled(
    geoseg_command: Command, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.tif"
    with rasterio.open(SCENE) as dataset:
        profile, pixels, names = dataset.profile, dataset.read(), dataset.descriptions
    with rasterio.open(bare, "w", **profile) as dataset:
        dataset.write(pixels)
        dataset.descriptions = names
    refused = geoseg_command("check", bare)
    assert refused.code == 1
    assert "they look like reflectance x 10000: if that is what they are, pass --scale 0.0001;" in refused.out
    with rasterio.open(bare, "r+") as dataset:
        dataset.write(pixels + 1000 * (pixels > 0).astype("uint16"))
    assert "pass --scale 0.0001 --offset -0.1;" in geoseg_command("check", bare).out
