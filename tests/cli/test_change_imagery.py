"""`geoseg change` on imagery: each date is segmented as by `geoseg run`, then compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

import geoseg
from geoseg.change.comparison import Rules
from geoseg.change.posterior_rule import PosteriorRule
from tests.conftest import UTM, Command, WriteScene, read

BANDS = ("blue", "green", "red", "nir")
LEVELS = np.array([[600, 500, 300, 100], [300, 500, 400, 4000], [2600, 2900, 3200, 3400], [400, 700, 500, 2200]])
"""Water, trees, bare ground and grass, in ten-thousandths of reflectance."""


def land(seed: int = 0, *, shape: tuple[int, int] = (120, 150), moved: tuple[float, float] = (0, 0)) -> NDArray[Any]:
    """(band, row, col) of a place."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.standard_normal(shape), 5) for _ in LEVELS]
    kinds = np.argmax([shift(f, moved, order=3, mode="nearest") for f in fields], axis=0)
    noise = rng.normal(0, 15, (len(BANDS), *shape))
    return np.asarray(
        np.clip(gaussian_filter(LEVELS.T[:, kinds].astype(float), (0, 0.6, 0.6)) + noise, 20, 9000)
    ).astype(np.uint16)


@pytest.fixture
def dates(write_scene: WriteScene) -> tuple[Path, Path]:
    """Folders with two places each; the second date of the first place is moved, and half of it is another land."""
    second = land(moved=(0.4, -0.3))
    second[:, :, 75:] = land(5)[:, :, 75:]
    east = UTM @ Affine.translation(150, 0)
    write_scene("y1/place_20190617.tif", pixels=land(), descriptions=BANDS)
    write_scene("y1/other_20190617.tif", pixels=land(8), descriptions=BANDS, transform=east)
    write_scene("y2/place_20230908.tif", pixels=second, descriptions=BANDS)
    path = write_scene("y2/other_20230908.tif", pixels=land(9), descriptions=BANDS, transform=east)
    return path.parents[1] / "y1", path.parents[1] / "y2"


MODEL = ["--model", "spectral", "--scale", "0.0001"]
PAIRS = ["other_20190617_20230908", "place_20190617_20230908"]


def shown(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def test_two_dates_of_imagery_are_mapped_paired_and_compared_as_by_hand(
    dates: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    out = tmp_path / "out"
    ended = geoseg_command("change", *dates, "-o", out, *MODEL, "--tolerance", "1")
    assert ended.code == 0, ended.err
    assert shown(out) == ["after", "before", "change.csv", "change.json", *PAIRS]
    assert shown(out / "before") == ["areas.csv", "other_20190617", "place_20190617", "report.html", "run.json"]
    assert not list(out.glob("*/*/*_polygons.*")) or all(p.parts[-2] in PAIRS for p in out.glob("*/*/*_polygons.*"))
    for date, folder in zip(("a", "b"), dates, strict=True):
        assert geoseg_command("run", folder, "-o", tmp_path / date, "-m", "spectral", "--scale", "0.0001").code == 0
    by_hand = tmp_path / "by_hand"
    assert geoseg_command("change", tmp_path / "a", tmp_path / "b", "-o", by_hand, "--tolerance", "1").code == 0
    for pair in PAIRS:
        np.testing.assert_array_equal(
            read(out / pair / f"{pair}_change.tif"), read(by_hand / pair / f"{pair}_change.tif")
        )
        assert (out / pair / f"{pair}_matrix.csv").read_bytes() == (by_hand / pair / f"{pair}_matrix.csv").read_bytes()
    record = json.loads((out / "change.json").read_text())
    assert record["model"] == "spectral"
    assert [p["status"] for p in record["pairs"]] == ["done", "done"]


def test_images_tell_how_the_dates_lie_on_each_other(dates: Any, tmp_path: Path, geoseg_command: Command) -> None:
    one, two = dates[0] / "place_20190617.tif", dates[1] / "place_20230908.tif"
    ended = geoseg_command("change", one, two, "-o", tmp_path / "out", *MODEL, "--no-polygons")
    assert ended.code == 0, ended.err
    item = json.loads((tmp_path / "out" / PAIRS[1] / f"{PAIRS[1]}.json").read_text())
    assert item["properties"]["geoseg:parameters"]["shift_px"] == pytest.approx([0.4, -0.3], abs=0.1)
    assert "by its image, " in ended.err


def test_what_is_finished_is_skipped_and_a_model_of_another_kind_is_refused_without_overwrite(
    dates: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    words = ["change", *dates, "-o", tmp_path / "out"]
    assert geoseg_command(*words, *MODEL).code == 0
    classes = tmp_path / "out" / "before" / "place_20190617" / "place_20190617_classes.tif"
    made = classes.stat().st_mtime_ns
    again = geoseg_command(*words, *MODEL)
    assert again.code == 0
    assert again.err.count("unchanged since it was finished, skipped") == 4 + 2
    assert classes.stat().st_mtime_ns == made
    other = geoseg_command(*words, "--model", "kmeans:3")
    assert other.code == 1
    assert "pass --overwrite" in other.err
    assert classes.stat().st_mtime_ns == made


def test_one_side_may_be_a_class_map_or_a_finished_run(dates: Any, tmp_path: Path, geoseg_command: Command) -> None:
    run, place = tmp_path / "run", dates[0] / "place_20190617.tif"
    assert geoseg_command("run", place, "-o", run, "-m", "spectral", "--scale", "0.0001").code == 0
    classes = run / "place_20190617" / "place_20190617_classes.tif"
    found = []
    for i, side in enumerate((run, classes)):
        ended = geoseg_command("change", side, dates[1], "-o", tmp_path / f"out{i}", *MODEL, "--no-polygons")
        assert ended.code == 0, ended.err
        assert not (tmp_path / f"out{i}" / "before").exists()
        found.append(read(tmp_path / f"out{i}" / PAIRS[1] / f"{PAIRS[1]}_change.tif"))
    np.testing.assert_array_equal(found[0], found[1])


def test_probabilities_are_kept_where_they_are_to_decide(dates: Any, tmp_path: Path, geoseg_command: Command) -> None:
    one, two = dates[0] / "place_20190617.tif", dates[1] / "place_20230908.tif"
    words = ["-o", tmp_path / "out", *MODEL, "--no-polygons", "--probabilities", "--prior", "0.5"]
    ended = geoseg_command("change", one, two, *words)
    assert ended.code == 0, ended.err
    assert (tmp_path / "out/before/place_20190617/place_20190617_probabilities.tif").is_file()


def test_a_scene_that_fails_is_named_and_the_others_are_compared(
    dates: Any, write_scene: WriteScene, tmp_path: Path, geoseg_command: Command
) -> None:
    write_scene("y2/two_bands_20230908.tif", pixels=land()[:2], descriptions=BANDS[:2])
    (dates[0] / "other_20190617.tif").write_bytes(b"II*\0 and nothing else")
    ended = geoseg_command("change", *dates, "-o", tmp_path / "out", *MODEL, "--no-polygons")
    assert ended.code == 1
    errors = [line for line in ended.err.splitlines() if line.startswith("error")]
    assert len(errors) == 2
    assert "other_20190617.tif" in errors[0]
    assert "two_bands_20230908.tif" in errors[1]
    assert "lacks red, nir" in errors[1]
    assert PAIRS[1] in shown(tmp_path / "out")
    assert "left out: other_20230908" in ended.err
    assert "1 of 3 pairs" in ended.err


def test_a_dry_run_says_what_would_be_compared_and_writes_nothing(
    dates: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    ended = geoseg_command("change", *dates, "-o", tmp_path / "out", *MODEL, "--dry-run")
    assert ended.code == 0, ended.err
    assert [line.split(",")[:2] for line in ended.out.splitlines()[1:]] == [
        ["other_20190617", "new"], ["place_20190617", "new"], ["other_20230908", "new"], ["place_20230908", "new"],
    ]  # fmt: skip
    assert [line for line in ended.err.splitlines() if line.endswith("would be compared")] == [
        f"{pair}: {dates[0]}/{pair[:-9]}.tif and {dates[1]}/{pair[:6]}20230908.tif would be compared" for pair in PAIRS
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{0}", "{1}"], "pass --model to segment it first"),
        (["{0}/place_20190617.tif", "{1}"], "pass --model to segment it first"),
        (["{0}", "{1}", "--bands", "a,b,c,d"], "--bands is of no use without --model"),
        (["{0}", "{1}", "--device", "cpu"], "--device is of no use without --model"),
        (["{0}", "{1}", "--model", "none.yaml"], "none.yaml"),
        (["{0}", "{empty}", "--model", "spectral"], "no rasters found"),
        (["{0}", "nothing.tif", "--model", "spectral"], "no such file"),
        (["{0}", "{1}", "--model", "spectral", "--window", "0"], "window"),
        (["{0}", "{0}/../out", "--model", "spectral"], "choose another --output"),
    ],
)
def test_what_cannot_begin_is_one_clear_line(
    words: list[str], said: str, dates: Any, tmp_path: Path, geoseg_command: Command
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").mkdir()
    given = [w.format(*dates, empty=tmp_path / "empty") for w in words]
    ended = geoseg_command("change", *given, "-o", tmp_path / "out")
    assert ended.code == 2
    lines = [line for line in ended.err.splitlines() if "rror" in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert not list((tmp_path / "out").iterdir())


def test_a_model_is_of_no_use_for_two_class_maps(dates: Any, tmp_path: Path, geoseg_command: Command) -> None:
    assert geoseg_command("run", dates[0], "-o", tmp_path / "run", *MODEL, "--no-polygons").code == 0
    ended = geoseg_command("change", tmp_path / "run", tmp_path / "run", "-o", tmp_path / "out", "--model", "spectral")
    assert ended.code == 2
    assert "the model is of no use" in ended.err


def test_python_takes_scenes_and_paths_and_gives_what_two_maps_give(dates: Any) -> None:
    paths = dates[0] / "place_20190617.tif", dates[1] / "place_20230908.tif"
    model = geoseg.load_model("spectral")
    scenes = [geoseg.open_scene(p, scale=0.0001) for p in paths]
    rules = Rules(posterior=PosteriorRule(prior=0.5))
    found = geoseg.detect_change(*scenes, model=model, rules=rules)
    maps = [geoseg.segment(s, model, probabilities=True).compute() for s in scenes]
    by_hand = geoseg.detect_change(
        *(m.classes for m in maps),
        legend=model.legend,
        confidence=tuple(m.confidence for m in maps),
        probabilities=tuple(m.probabilities for m in maps),
        rules=rules,
    )
    np.testing.assert_array_equal(found.codes, by_hand.codes)
    np.testing.assert_array_equal(found.confidence, by_hand.confidence)
    assert found.shift is not None
    assert [found.shift.rows, found.shift.cols] == pytest.approx([0.4, -0.3], abs=0.1)
    assert found.years == pytest.approx(4.23, abs=0.01)
    half = geoseg.detect_change(maps[0].classes, scenes[1], model=model, legend=model.legend)
    plain = geoseg.detect_change(*(m.classes for m in maps), legend=model.legend)
    np.testing.assert_array_equal(half.codes, plain.codes)
    with pytest.raises(geoseg.errors.ParameterError, match="no model is given"):
        geoseg.detect_change(paths[0], maps[1].classes)
    with pytest.raises(geoseg.errors.ParameterError, match="of no use"):
        geoseg.detect_change(maps[0].classes, maps[1].classes, model=model)
