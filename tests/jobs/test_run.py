"""Runs one after another, at the same time, and after a kill: what is done stays, what is not is made."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio

from geoseg.area.expected import expected_totals
from geoseg.area.pixel_area import PixelAreas
from geoseg.errors import OutputError, ParameterError
from geoseg.inference.recipe import Choices
from geoseg.jobs.cluster import Pool, connect
from geoseg.jobs.outcome import Event, Options
from geoseg.jobs.run import run
from geoseg.models.load import load_model
from geoseg.scene.open import open_scene
from tests.commands import Forks, Live
from tests.conftest import Command, WriteScene, blobs, read

KMEANS = ["-m", "kmeans:3"]


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time of change and its bytes."""
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()
    }


def hidden(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.name.startswith(".") or ".part" in p.name]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with connect() as pool:
        yield pool


def test_what_is_finished_is_skipped_and_not_touched(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene()
    out = path.parents[1] / "out"
    assert geoseg_command("run", path, "-o", out, *KMEANS).code == 0
    before = tree(out / "scene")
    # the cut, the batch and the threads shape nothing
    ended = geoseg_command("run", path, "-o", out, *KMEANS, "--block-size", 512, "--batch-size", 3, "--threads", 1)
    assert ended.code == 0
    assert "scene: unchanged since it was finished, skipped" in ended.err
    assert tree(out / "scene") == before
    assert json.loads((out / "run.json").read_text("utf-8"))["scenes"][0]["status"] == "unchanged"
    assert ended.out.count("cluster") == 3


@pytest.mark.parametrize(
    "words",
    [["-m", "kmeans:5"], [*KMEANS, "--window", "64"], [*KMEANS, "-f", "fgb"], [*KMEANS, "--probabilities"]],
    ids=lambda words: " ".join(words),
)
def test_other_results_are_refused_unless_they_may_be_replaced(
    words: list[str], write_scene: WriteScene, geoseg_command: Command
) -> None:
    path = write_scene()
    out = path.parents[1] / "out"
    assert geoseg_command("run", path, "-o", out, *KMEANS).code == 0
    before = tree(out / "scene")
    (out / "scene" / "notes of mine.txt").write_text("keep")
    refused = geoseg_command("run", path, "-o", out, *words)
    assert refused.code == 1
    assert "holds results of another input, model or options; pass --overwrite" in refused.err
    assert {k: v for k, v in tree(out / "scene").items() if "mine" not in k} == before
    replaced = geoseg_command("run", path, "-o", out, *words, "--overwrite")
    assert replaced.code == 0, replaced.err
    assert "scene: done" in replaced.err
    assert tree(out / "scene")["scene.json"] != before["scene.json"]
    assert (out / "scene" / "notes of mine.txt").read_text() == "keep"
    assert not hidden(out)


def test_damaged_results_are_named_as_such_and_made_again_with_overwrite(
    write_scene: WriteScene, geoseg_command: Command
) -> None:
    path = write_scene()
    out = path.parents[1] / "out"
    words = ("run", path, "-o", out, *KMEANS)
    geoseg_command(*words)
    size = (out / "scene" / "scene_areas.csv").stat().st_size
    other = bytes(b ^ 1 for b in (out / "scene" / "scene_classes.tif").read_bytes())
    damages = [
        (
            "scene_classes.tif",
            other,
            "scene_classes.tif is not what was written (its checksum differs); pass --overwrite",
        ),
        ("scene_areas.csv", b"short", f"scene_areas.csv has 5 bytes instead of {size}; pass --overwrite"),
        ("scene_classes.tif", None, "scene_classes.tif is missing; pass --overwrite"),
        ("scene.json", b"{", "their record scene.json cannot be read; pass --overwrite"),
        ("scene.json", b"{}", "their record scene.json is none of geoseg's; pass --overwrite"),
    ]
    for name, content, why in damages:
        if content is None:
            (out / "scene" / name).unlink()
        else:
            (out / "scene" / name).write_bytes(content)
        refused = geoseg_command(*words)
        assert refused.code == 1
        assert f"the results in {out / 'scene'} are damaged or were changed: {why}" in refused.err
        assert geoseg_command(*words, "--dry-run").out.splitlines()[1].startswith("scene,refused,")
        assert geoseg_command(*words, "--overwrite", "--dry-run").out.splitlines()[1].startswith("scene,damaged,")
        assert geoseg_command(*words, "--overwrite").code == 0
    assert "scene: unchanged" in geoseg_command(*words).err


def test_what_a_disk_has_changed_without_a_word_is_found_with_overwrite(
    write_scene: WriteScene, geoseg_command: Command
) -> None:
    path = write_scene()
    out = path.parents[1] / "out"
    words = ("run", path, "-o", out, *KMEANS)
    geoseg_command(*words)
    table = out / "scene" / "scene_areas.csv"
    whole, times = table.read_bytes(), table.stat()
    table.write_bytes(whole.replace(b"1", b"2"))
    os.utime(table, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "scene: unchanged" in geoseg_command(*words).err  # not all is read each night
    again = geoseg_command(*words, "--overwrite")
    assert "scene: done" in again.err
    assert table.read_bytes() == whole
    # QGIS writes into a GeoPackage when it opens it
    polygons = out / "scene" / "scene_polygons.gpkg"
    with sqlite3.connect(polygons) as db:
        db.execute("PRAGMA journal_mode = WAL")
    db.close()
    assert "scene: unchanged" in geoseg_command(*words, "--overwrite").err


def test_names_that_files_may_have_are_no_trouble_and_others_are_named(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    source = write_scene("in/plain.tif")
    long, asking = "l" * 251, "what?now=1"
    for stem in (long, asking):
        (tmp_path / "in" / f"{stem}.tif").write_bytes(source.read_bytes())
    (tmp_path / "in" / "b").mkdir()
    (tmp_path / "in" / "b" / "plain.tif").write_bytes(source.read_bytes())
    latin = os.fsencode(tmp_path / "in") + b"/caf\xe9.tif"
    Path(os.fsdecode(latin)).write_bytes(source.read_bytes())
    out = tmp_path / "out"
    ended = geoseg_command("run", tmp_path / "in", "-o", out, *KMEANS, "--no-polygons")
    assert ended.code == 1
    assert "caf\\udce9.tif: its name is not text in UTF-8, which GDAL needs it to be; rename it" in ended.err
    # whose name is another's is told, as a file that is added may take it
    assert f"plain_2: {tmp_path}/in/b/plain.tif is called this, for an input before it has the name plain" in ended.err
    assert {p.name for p in out.iterdir() if p.is_dir()} == {"plain", "plain_2", "l" * 100, "what_now=1"}
    records = {s["id"]: s for s in json.loads((out / "run.json").read_text("utf-8"))["scenes"]}
    assert records["what_now=1"]["input"].endswith("/what?now=1.tif")
    item = json.loads((out / "what_now=1" / "what_now=1.json").read_text("utf-8"))
    assert item["properties"]["geoseg:source"] == "what?now=1.tif"
    again = geoseg_command("run", tmp_path / "in" / f"{asking}.tif", "-o", out, *KMEANS, "--no-polygons")
    assert "what_now=1: unchanged" in again.err


def test_finished_results_are_computed_again_by_restart_with_overwrite_only(
    write_scene: WriteScene, geoseg_command: Command
) -> None:
    path = write_scene()
    out = path.parents[1] / "out"
    words = ("run", path, "-o", out, *KMEANS)
    geoseg_command(*words)
    before = tree(out / "scene")
    for option in ("--restart", "--overwrite"):
        ended = geoseg_command(*words, option)
        assert "scene: unchanged since it was finished, skipped" in ended.err
        assert ("leaves finished results as they are: add --overwrite" in ended.err) == (option == "--restart")
    assert tree(out / "scene") == before
    assert (
        geoseg_command(*words, "--restart", "--overwrite", "--dry-run").out.splitlines()[1].startswith("scene,again,")
    )
    # as a disk damages: with the size that it had
    rotten = out / "scene" / "scene_classes.tif"
    rotten.write_bytes(rotten.read_bytes()[::-1])
    ended = geoseg_command(*words, "--restart", "--overwrite", "-v")
    assert "scene: a block of 0.0 Mpx is done" in ended.err
    assert "scene: done" in ended.err
    after = tree(out / "scene")
    assert after["scene_classes.tif"][1] == before["scene_classes.tif"][1]
    assert not hidden(out)


def test_probabilities_are_kept_where_they_are_not_asked_for_again(
    write_scene: WriteScene, geoseg_command: Command
) -> None:
    first, second = write_scene("in/first.tif"), write_scene("in/second.tif", seed=1)
    out = first.parents[1] / "out"
    assert geoseg_command("run", first, "-o", out, *KMEANS, "--probabilities").code == 0
    before = tree(out / "first")
    assert "expected_ha" in pd.read_csv(out / "areas.csv").columns
    # a scene without probabilities beside one that has them: the tables go together all the same
    ended = geoseg_command("run", first, second, "-o", out, *KMEANS)
    assert ended.code == 0, ended.err
    assert "first: unchanged" in ended.err
    assert set(pd.read_csv(out / "areas.csv").scene) == {"first", "second"}
    assert "expected_ha" not in pd.read_csv(out / "areas.csv").columns
    again = geoseg_command("run", first, second, "-o", out, *KMEANS, "--probabilities")
    assert again.code == 1
    assert "first: unchanged" in again.err
    assert "second" in again.err.split("pass --overwrite")[0]
    assert "expected_ha" in pd.read_csv(out / "areas.csv").columns
    assert tree(out / "first") == before


def test_probabilities_areas_and_confidence_tell_one_story(
    write_scene: WriteScene, geoseg_command: Command, random_unet: Path
) -> None:
    pixels = blobs(150, 190)
    pixels[:, 20:50, 30:90] = 0
    path = write_scene(pixels=pixels, nodata=0)
    out = path.parents[1] / "out"
    ended = geoseg_command("run", path, "-o", out, "-m", random_unet, "--probabilities", "--no-polygons")
    assert ended.code == 0, ended.err
    folder = out / "scene"
    classes, confidence = (read(folder / f"scene_{name}.tif") for name in ("classes", "confidence"))
    with rasterio.open(folder / "scene_probabilities.tif") as dataset:
        probabilities = dataset.read()
        assert dataset.descriptions == tuple(f"class {i}" for i in range(4))
        assert dataset.scales == (1 / 254,) * 4
    valid = classes != 255
    np.testing.assert_array_equal(valid, ~(pixels == 0).all(axis=0))
    np.testing.assert_array_equal(probabilities == 255, np.broadcast_to(~valid, probabilities.shape))
    shares = probabilities[:, valid].astype(int)
    assert (shares.sum(axis=0) == 254).all()
    winner = np.take_along_axis(shares, classes[valid][None].astype(int), 0)[0]
    np.testing.assert_array_equal(winner, shares.max(axis=0))
    assert np.abs(winner / 2.54 - confidence[valid]).max() <= 0.5 + 1 / 2.54 + 0.01
    table = pd.read_csv(folder / "scene_areas.csv")
    areas = PixelAreas.of(open_scene(str(path)).geobox)
    expected = expected_totals(probabilities, areas).area_m2(areas.unit_m2) / 10_000
    assert table.expected_ha.tolist() == expected.tolist()
    assert table.expected_ha.sum() == pytest.approx(table.area_ha.sum(), rel=1e-12)
    assert json.loads((folder / "scene.json").read_text("utf-8"))["assets"]["probabilities"]["file:size"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("cut", [["--block-size", "512"], ["-j", "2", "--block-size", "1024"]])
def test_no_cut_shows_in_the_probabilities_or_the_expected_areas(
    cut: list[str], write_scene: WriteScene, geoseg_command: Command, random_unet: Path
) -> None:
    path = write_scene(shape=(530, 1100), nodata=0, tiled=True, blockxsize=256, blockysize=128)
    found = []
    for name, more in (("whole", []), ("cut", cut)):
        words = [
            "run",
            path,
            "-o",
            path.parents[1] / name,
            "-m",
            random_unet,
            "--no-polygons",
            "--probabilities",
            *more,
        ]
        ended = geoseg_command(*words)
        assert ended.code == 0, ended.err
        folder = path.parents[1] / name / "scene"
        found.append([(folder / f"scene_{ending}").read_bytes() for ending in ("probabilities.tif", "areas.csv")])
    assert found[0] == found[1]


def test_a_damaged_result_is_not_taken_for_a_finished_one(write_scene: WriteScene, geoseg_command: Command) -> None:
    path = write_scene()
    out = path.parents[1] / "out"
    assert geoseg_command("run", path, "-o", out, *KMEANS).code == 0
    classes = out / "scene" / "scene_classes.tif"
    whole = classes.read_bytes()
    os.truncate(classes, len(whole) // 2)
    assert geoseg_command("run", path, "-o", out, *KMEANS).code == 1
    assert geoseg_command("run", path, "-o", out, *KMEANS, "--overwrite").code == 0
    assert classes.read_bytes() == whole


def test_a_class_called_none_is_called_none_in_the_second_run_too(
    write_scene: WriteScene, geoseg_command: Command, random_unet: Path
) -> None:
    for value, name in enumerate(("None", "NA", "nan", "=1+1")):
        card = random_unet.read_text("utf-8").replace(f"name: class {value}\n", f"name: '{name}'\n")
        random_unet.write_text(card, encoding="utf-8")
    path = write_scene(shape=(140, 150))
    out = path.parents[1] / "out"
    tables = []
    for _ in range(2):
        ended = geoseg_command("run", path, "-o", out, "-m", random_unet)
        assert ended.code == 0, ended.err
        tables.append((out / "areas.csv").read_bytes())
    assert tables[0] == tables[1]
    names = pd.read_csv(out / "areas.csv", keep_default_na=False).class_name
    assert names.tolist() == ["None", "NA", "nan", "'=1+1"]


Change = Callable[[Path], None]


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _in_place(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000:] = bytes(1000)
    path.write_bytes(bytes(content))


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("change", [_append, _in_place, _replace, os.unlink], ids=lambda f: f.__name__.strip("_"))
def test_a_file_that_changes_while_it_is_read_fails_by_name_and_nothing_is_published(
    change: Change, write_scene: WriteScene, pool: Pool
) -> None:
    path = write_scene("in/moving.tif", shape=(1030, 60))
    other = write_scene("in/other.tif")
    out = path.parents[1] / "out"

    def listen(event: Event) -> None:
        if event.kind == "block" and event.scene == "moving" and not changed:
            changed.append(event)
            change(path)

    changed: list[Event] = []
    options = Options(block_size=512)
    summary = run([str(path), str(other)], out, load_model("kmeans:2"), options, pool=pool, listen=listen)
    moving, resting = summary.outcomes
    assert changed
    assert moving.status == "failed"
    assert moving.error is not None
    assert moving.error.startswith(str(path))
    # which of them depends on whether it is met before, while or after it is written anew
    reasons = ("changed while it was read", "no such file", "empty file", "cannot be opened", "cannot be read")
    assert any(reason in moving.error for reason in reasons)
    assert resting.status == "done"
    assert sorted(p.name for p in out.iterdir() if p.name != ".geoseg") == [
        "areas.csv",
        "other",
        "report.html",
        "run.json",
    ]


def test_a_second_run_in_the_same_folder_is_refused_and_the_first_goes_on(
    write_scene: WriteScene, pool: Pool, geoseg_command: Command
) -> None:
    path = write_scene(shape=(1030, 60))
    out = path.parents[1] / "out"
    second: list[tuple[int, str]] = []

    def listen(event: Event) -> None:
        if event.kind == "block" and not second:
            # what is being written goes on to its final name meanwhile
            before = {p.name for p in out.rglob("*") if ".part." not in p.name}
            ended = geoseg_command("run", path, "-o", out, *KMEANS)
            second.append((ended.code, ended.err))
            assert before <= {p.name for p in out.rglob("*")}

    summary = run([str(path)], out, load_model("kmeans:2"), Options(block_size=512), pool=pool, listen=listen)
    assert second[0][0] == 2
    assert f"another run is writing into {out}: process {os.getpid()} of " in second[0][1]
    assert "since 20" in second[0][1]
    assert "; wait for it to end, or choose another --output" in second[0][1]
    assert summary.n_failed == 0
    assert not hidden(out)
    with pytest.raises(OutputError, match="another run is writing"), _held(out):
        run([str(path)], out, load_model("kmeans:2"), Options(), pool=pool)


class _held:  # noqa: N801 - reads as a phrase
    """A folder that another program holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        import fcntl

        (self.folder / ".geoseg").mkdir(exist_ok=True)
        self.handle = os.open(self.folder / ".geoseg" / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self.handle, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self.handle)


@pytest.mark.parametrize(
    "options",
    [{"scale": float("inf")}, {"scale": 0.0}, {"offset": float("nan")}, {"block_size": 0}, {"block_size": 513}],
    ids=str,
)
def test_options_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ParameterError):
        Options(**options)  # type: ignore[arg-type]


def test_a_token_in_a_url_reaches_no_log_and_no_record(tmp_path: Path, pool: Pool) -> None:
    href = "http://127.0.0.1:9/scene.tif?sig=secret"
    said: list[str] = []
    summary = run([href], tmp_path, load_model("kmeans:2"), Options(), pool=pool, listen=lambda e: said.append(e.text))
    assert summary.n_failed == 1
    assert "127.0.0.1:9/scene.tif" in said[0]
    assert "secret" not in said[0] + (tmp_path / "run.json").read_text("utf-8")


def slow_run(forked: Forks, path: Path, out: Path, *more: str, **environment: str) -> Live:
    """A run in a process of its own, of several blocks that take a while."""
    return forked.start("run", path, "-o", out, *KMEANS, "--block-size", "512", "-v", *more, **environment)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["written:2", "staged", "stage_renamed", "killed"])
def test_after_a_kill_the_same_command_finishes_and_the_result_is_the_undisturbed_one(
    point: str, write_scene: WriteScene, geoseg_command: Command, forked: Forks
) -> None:
    path = write_scene(shape=(1030, 300))
    out, calm = path.parents[1] / "out", path.parents[1] / "calm"
    process = slow_run(forked, path, out, **({} if point == "killed" else {"GEOSEG_CRASH_AT": point}))
    if point == "killed":
        process.wait_for("a block of")
        process.send(signal.SIGKILL, to_all=True)
    assert process.end().code == -signal.SIGKILL
    finished = (out / "scene").exists()
    assert finished is (point == "stage_renamed")
    again = geoseg_command("run", path, "-o", out, *KMEANS, "--block-size", 512)
    assert again.code == 0, again.err
    assert hidden(out) == []
    assert geoseg_command("run", path, "-o", calm, *KMEANS).code == 0
    for name in ("classes", "confidence"):
        np.testing.assert_array_equal(
            read(out / "scene" / f"scene_{name}.tif"), read(calm / "scene" / f"scene_{name}.tif")
        )
    assert (out / "scene" / "scene_areas.csv").read_bytes() == (calm / "scene" / "scene_areas.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "more"),
    [(signal.SIGINT, 130, []), (signal.SIGTERM, 143, []), (signal.SIGINT, 130, ["-j", "2"])],
    ids=["SIGINT", "SIGTERM", "SIGINT to two workers"],
)
def test_a_signal_ends_a_run_within_seconds_and_the_next_one_completes(
    number: signal.Signals,
    code: int,
    more: list[str],
    write_scene: WriteScene,
    geoseg_command: Command,
    forked: Forks,
) -> None:
    import psutil

    path = write_scene(pixels=blobs(1600, 600))
    out = path.parents[1] / "out"
    # small windows that overlap much: a block takes seconds
    process = slow_run(forked, path, out, "--window", "32", "--overlap", "0.7", "--threads", "1", *more)
    process.wait_for("a block of")
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    began = time.monotonic()
    process.send(number, to_all=True)
    ended_with = process.end(timeout=60)
    took, said = time.monotonic() - began, ended_with.err
    assert ended_with.code == code, said
    assert took < 20
    assert "Traceback" not in said
    how = "terminated" if number == signal.SIGTERM else "interrupted"
    assert f"{how}: finished blocks are kept, and the same command goes on from there" in said
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert not (out / "scene").exists()
    ended = geoseg_command("run", path, "-o", out, *KMEANS, "--window", 32, "--overlap", 0.7, "--block-size", 512)
    assert ended.code == 0, ended.err
    assert "finished before; going on from there" in ended.err
    assert hidden(out) == []


@pytest.mark.slow
def test_a_second_interrupt_ends_the_run_at_once(write_scene: WriteScene, forked: Forks) -> None:
    import psutil

    path = write_scene(pixels=blobs(1600, 600))
    words = ["--window", "32", "--overlap", "0.7", "--threads", "1", "-j", "1"]
    process = slow_run(forked, path, path.parents[1] / "out", *words)
    process.wait_for("blocks, ")
    family = psutil.Process(process.pid).children(recursive=True)
    # until it is over: two that arrive while it has no time to look are one
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        process.send(signal.SIGINT)
        time.sleep(0.01)
    ended = process.end(timeout=60)
    assert ended.code == 130
    assert "interrupted" not in ended.err  # that is said when all is tidied up
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive


@pytest.mark.slow
def test_no_port_is_open_in_this_process_and_only_loopback_with_workers(write_scene: WriteScene, forked: Forks) -> None:
    import psutil

    path = write_scene(pixels=blobs(1600, 600))
    for workers in ("0", "2"):
        out = path.parents[1] / f"out{workers}"
        process = slow_run(forked, path, out, "--window", "32", "--overlap", "0.7", "--threads", "1", "-j", workers)
        process.wait_for("blocks, ")
        me = psutil.Process(process.pid)
        found = [c for p in (me, *me.children(recursive=True)) for c in p.net_connections(kind="inet")]
        process.send(signal.SIGTERM)
        process.end(timeout=60)
        listening = [c for c in found if c.status == psutil.CONN_LISTEN]
        if workers == "0":
            assert not found
        else:
            assert listening
        for connection in found:
            assert connection.laddr.ip in ("127.0.0.1", "::1")
            assert {getattr(connection.raddr, "ip", "127.0.0.1")} <= {"127.0.0.1", "::1"}


def test_choices_reach_the_network(write_scene: WriteScene, pool: Pool) -> None:
    path = write_scene()
    out = path.parents[1] / "out"
    options = Options(choices=Choices(device="cpu", threads=1), formats=())
    summary = run([str(path)], out, load_model("kmeans:2"), options, pool=pool)
    (outcome,) = summary.outcomes
    assert (outcome.status, outcome.n_polygons, outcome.pixels) == ("done", None, 70 * 90)
    assert summary.seconds > 0
