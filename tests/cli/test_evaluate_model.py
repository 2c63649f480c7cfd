"""`geoseg evaluate --model`: scores of the maps that `geoseg run` makes with the same options."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from numpy.typing import NDArray

from geoseg.cli.evaluate import evaluate
from geoseg.cli.run import run
from geoseg.inference.recipe import Choices
from geoseg.jobs.evaluate_model import LabelledScenes, temperature_of
from geoseg.jobs.outcome import Options
from geoseg.models.load import load_model
from tests.conftest import UTM, Command, WriteScene, blobs, read, write_raster, write_unet
from tests.products import COMMON, numbers, on_10_m, reflectances, write_safe, write_tif

NOT_SCORED = {
    "inputs", "config", "dry_run", "block_timeout", "workers", "scheduler", "scheduler_file",
    # no pixel of a class map
    "polygons", "formats", "smooth", "simplify", "connectivity", "probabilities",
    # nodata outside of it, and otherwise the same pixels: scores of a part are those of a zone
    "aoi", "bbox", "bbox_crs",
    # another map, beside those of the scenes
    "dst_crs", "dst_res",
}  # fmt: skip


def test_whatever_option_of_run_shapes_a_map_evaluate_has_too() -> None:
    theirs, mine = ({p.name: p for p in command.params} for command in (run, evaluate))
    assert set(theirs) - set(mine) == NOT_SCORED
    for name in set(theirs) & set(mine) - {"model", "output", "overwrite"}:
        assert theirs[name].to_info_dict() == mine[name].to_info_dict()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes side by side, labels, a network for pixels of 20 m, a product with clouds, and files of one band."""
    folder = tmp_path_factory.mktemp("place")
    write_unet(folder / "unet", gsd_m=20.0)
    write_unet(folder / "unit", gsd_m=20.0, units="reflectance")
    pixels = blobs(70, 180)
    for i, name in enumerate(("west", "east")):
        placed = UTM @ UTM.translation(90 * i, 0)
        write_raster(folder / "scenes" / f"{name}.tif", pixels[:, :, 90 * i : 90 * i + 90], transform=placed)
        labels = np.random.default_rng(i).integers(0, 4, (1, 70, 90)).astype(np.uint8)
        write_raster(folder / "labels" / f"{name}.tif", labels, transform=placed, nodata=255)
    (folder / "costs.csv").write_text(",0,1,2,3\n0,0,1,1,1\n1,9,0,1,1\n2,1,1,0,1\n3,1,5,1,0\nreject,.6,.6,.6,.6\n")
    stored = {b: numbers(r, add=-1000) for b, r in reflectances().items() if b in COMMON}
    scl = np.full((48, 48), 4, np.uint8)
    scl[10:20] = 9
    safe = write_safe(folder / "safe", stored=stored, scl=scl)
    for band in COMMON:
        write_tif(folder / "bands" / f"{safe.stem}-{band[1:]}.tif", on_10_m(stored[band]), 10, nodata=0)
    labels = np.random.default_rng(5).integers(1, 4, (96, 96)).astype(np.uint8)
    write_tif(folder / "truth" / f"{safe.stem}_label.tif", labels, 10, nodata=255)
    return folder


CASES: dict[str, tuple[str, str, list[object]]] = {
    "network": ("scenes", "labels", [
        "-m", "unet/card.yaml", "--native-grid", "--tta", "flips", "--min-confidence", 0.3, "--min-area", "12px",
        "--window", 32, "--overlap", 0.75, "--blend", "hann", "--bands", "red,green,nir",
    ]),
    "decision": ("scenes", "labels", [
        "-m", "unit/card.yaml", "--force", "--cost-matrix", "costs.csv", "--scale", 0.5, "--offset", 9,
    ]),
    "mosaic": ("scenes", "labels", ["-m", "kmeans:4", "--seed", 5, "--mosaic", "order", "--mosaic-outputs", "each"]),
    "clouds": ("safe", "truth", ["-m", "spectral", "--mask-clouds"]),
    "bands": ("bands", "truth", [
        "-m", "spectral", "--band-files", "*-{band}.tif", "--scale", 0.0001, "--offset", -0.1,
        "--bands", ",".join(COMMON.values()),
    ]),
}  # fmt: skip


def counted(maps: Path, labels: Path) -> dict[str, NDArray[np.int64]]:
    """For each scene pixels by true and mapped value, on the grid of the labels."""
    found = {}
    for path in sorted(maps.glob("*/*_classes.tif")):
        mapped = read(path)
        truth = read(next(labels.glob(f"{path.parent.name}*.tif")))
        if mapped.shape != truth.shape:  # pixels of twice the side: the one that holds the centre
            mapped = mapped.repeat(2, axis=0).repeat(2, axis=1)[: truth.shape[0], : truth.shape[1]]
        found[path.parent.name] = np.histogram2d(truth.ravel(), mapped.ravel(), bins=[range(257)] * 2)[0].astype(int)
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_scores_are_those_of_the_maps_that_run_makes_with_the_same_options(
    case: str, place: Path, tmp_path: Path, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    scenes, labels, words = CASES[case]
    made = geoseg_command("run", scenes, *words, "-o", tmp_path / "maps", "--no-polygons")
    assert made.code == 0, made.err
    ended = geoseg_command("evaluate", "--scenes", scenes, "--labels", labels, *words, "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    expected = counted(tmp_path / "maps", place / labels)
    assert [s["scene"] for s in record["scenes"]][: len(expected)] == sorted(expected)
    table = [row for row in record["matrix"] if row["measure"] == "pixels" and row["reference_id"] is not None]
    total = np.asarray(sum(expected.values()))
    values = [row["reference_id"] for row in table]
    names = [row["reference"] for row in table]
    assert [[row[name] for name in names] for row in table] == total[np.ix_(values, values)].tolist()
    known = total[values][:, values].sum()
    unmapped = total[values].sum() - known
    assert record["scenes"][-1]["pixels"] == known
    assert record["scenes"][-1]["unmapped"] == pytest.approx(unmapped / (known + unmapped))
    assert (unmapped > 0) == (case != "mosaic")  # undecided, cloud, or a corner without data
    assert len(record["model"]["digest"]) == 64
    assert record["run"]["choices"]["seed"] == (5 if case == "mosaic" else 0)


def test_maps_that_stay_are_computed_once_and_others_beside_them_are_not_scored(
    place: Path, tmp_path: Path, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    words = ("evaluate", "-m", "kmeans:4", "--labels", "labels", "--json", "--maps", tmp_path / "maps")
    both = json.loads(geoseg_command(*words, "--scenes", "scenes").out)
    assert [s["scene"] for s in both["scenes"]] == ["east", "west", "all"]
    before = (tmp_path / "maps/west/west_classes.tif").stat().st_mtime_ns
    again = geoseg_command(*words, "--scenes", "scenes/west.tif")
    assert [s["scene"] for s in json.loads(again.out)["scenes"]] == ["west"]
    assert (tmp_path / "maps/west/west_classes.tif").stat().st_mtime_ns == before
    changed = geoseg_command(*words, "--scenes", "scenes/west.tif", "--min-area", "20px")
    assert changed.code == 2
    assert "--overwrite" in changed.err
    replaced = geoseg_command(*words, "--scenes", "scenes/west.tif", "--min-area", "20px", "--overwrite")
    assert json.loads(replaced.out)["scenes"] != json.loads(again.out)["scenes"]
    assert (tmp_path / "maps/west/west_classes.tif").stat().st_mtime_ns != before
    anew = geoseg_command(*words, "--scenes", "scenes", "--overwrite", "--restart")
    assert json.loads(anew.out)["scenes"] == both["scenes"]


def test_a_temperature_is_fitted_on_the_pixels_that_are_mapped(
    place: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    model, safe = place / "unet/card.yaml", next((place / "safe").iterdir())
    assert geoseg_command("run", safe, "-m", model, "--force", "--no-polygons", "-o", tmp_path / "maps").code == 0
    mapped = read(next((tmp_path / "maps").glob("*/*_classes.tif")))
    other = np.random.default_rng(1).integers(0, 4, mapped.shape)
    labels = np.where(other == 0, 0, mapped).astype(np.uint8)
    write_tif(tmp_path / "labels" / f"{safe.stem}.tif", labels, 10)

    def pixels(*, force: bool = False, mask_clouds: bool = False) -> int:
        running = Options(choices=Choices(force=force), mask_clouds=mask_clouds)
        tried = LabelledScenes(
            model=load_model(str(model)), rasters=(str(safe),), labels=str(tmp_path / "labels"), running=running
        )
        return temperature_of(tried, listen=lambda _: None).n

    assert pixels() == 48**2 - 3**2  # of 20 m, as the network wants them
    assert pixels(force=True) == 96**2 - 6**2
    assert pixels(force=True, mask_clouds=True) == 96**2 - 6**2 - 20 * 96


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--restart",), "--restart is of no use without --maps"),
        (("--mosaic", "order", "--fit-temperature", "new.yaml"), "looks at each file by itself"),
        (("--mosaic-outputs", "each"), "--mosaic-outputs is of no use without --mosaic"),
        (("--min-area", "much"), "much"),
        (("--mask-clouds",), "leave out --mask-clouds"),
    ],
)
def test_what_cannot_be_mapped_is_one_clear_line(place: Path, geoseg_command: Command, words: Any, said: str) -> None:
    scene, labels = place / "scenes/west.tif", place / "labels"
    ended = geoseg_command("evaluate", "-m", "kmeans:4", "--scenes", scene, "--labels", labels, *words)
    assert ended.code == 2
    assert said in ended.err


def test_a_model_is_scored_by_its_stitched_maps_and_its_temperature_fitted(
    random_unet: Path, write_scene: WriteScene, tmp_path: Path, geoseg_command: Command
) -> None:
    scene = write_scene("data/place_image.tif", descriptions=("green", "red", "nir"))
    assert geoseg_command("run", scene, "-m", random_unet, "-o", tmp_path / "maps", "--no-polygons").code == 0
    with rasterio.open(tmp_path / "maps" / "place_image" / "place_image_classes.tif") as dataset:
        mapped, profile = dataset.read(1), dataset.profile
    truth, other = mapped.copy(), np.random.default_rng(1).integers(0, 4, mapped.shape).astype(np.uint8)
    wrong = np.random.default_rng(0).random(mapped.shape) < 0.3
    truth[wrong] = other[wrong]
    profile = {k: profile[k] for k in ("height", "width", "crs", "transform", "dtype")} | {"count": 1, "nodata": 255}
    with rasterio.open(tmp_path / "data" / "place_label.tif", "w", driver="GTiff", **profile) as dataset:
        dataset.write(truth, 1)
    words = ("evaluate", "-m", random_unet, "--scenes", tmp_path / "data", "--labels", tmp_path / "data", "--json")
    ended = geoseg_command(*words, "--maps", tmp_path / "kept")
    assert ended.code == 0, ended.err
    plain = json.loads(ended.out)
    assert plain["summary"][0]["value"] == pytest.approx((truth == mapped).mean())
    kept = tmp_path / "kept" / "place_image" / "place_image_classes.tif"
    with rasterio.open(kept) as dataset:
        np.testing.assert_array_equal(dataset.read(1), mapped)
    card = random_unet.with_name("calibrated.yaml")
    fitted = geoseg_command(*words, "--fit-temperature", card)
    assert fitted.code == 0, fitted.err
    written = yaml.safe_load(card.read_text())
    before = yaml.safe_load(random_unet.read_text())
    assert written["temperature"] < 1  # it is right far more often than its logits promise
    assert {k: v for k, v in written.items() if k != "temperature"} == before
    after, first = ({row["measure"]: row["value"] for row in r["summary"]} for r in (json.loads(fitted.out), plain))
    assert after["ece"] < first["ece"]
    assert after["nll"] < first["nll"]
    assert after["accuracy"] == first["accuracy"]
    assert f"temperature {written['temperature']:.4f}" in fitted.err
    again = geoseg_command(*words, "--fit-temperature", card)
    assert again.code == 2
    assert "--overwrite" in again.err
    elsewhere = geoseg_command(*words, "--fit-temperature", tmp_path / "card.yaml")
    assert "not beside the weights" in elsewhere.err


@pytest.mark.parametrize(
    ("labels", "more"), [("truht", []), ("points.geojson", ["--class-column", "nope"])], ids=["no labels", "no column"]
)
def test_labels_are_looked_at_before_anything_is_mapped(
    place: Path, tmp_path: Path, geoseg_command: Command, labels: str, more: list[str]
) -> None:
    point = {"type": "Point", "coordinates": [14.0, 45.1]}
    content = {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {"a": 1}, "geometry": point}],
    }
    (tmp_path / "points.geojson").write_text(json.dumps(content))
    ended = geoseg_command(
        "evaluate", "--model", place / "unet", "--scenes", place / "scenes", "--labels", tmp_path / labels,
        "--maps", tmp_path / "maps", *more,
    )  # fmt: skip
    assert ended.code == 2
    assert labels in ended.err
    assert not (tmp_path / "maps").exists()
