"""What is redone when something is damaged, changed or asked for anew: that, and nothing else."""

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from geoseg.jobs.cluster import connect
from geoseg.jobs.outcome import Event, Options
from geoseg.jobs.run import run
from geoseg.jobs.words import were
from geoseg.models.load import load_model
from tests.commands import Forks
from tests.conftest import Command, Ended, blobs, write_raster

KMEANS: list[object] = ["-m", "kmeans:3", "--block-size", 512, "--no-polygons"]
N = 6  # blocks of the scene


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of six blocks, which no test may change."""
    return write_raster(tmp_path_factory.mktemp("resume") / "in" / "scene.tif", blobs(1100, 700))


@pytest.fixture
def own(path: Path, tmp_path: Path) -> Path:
    """The same, for a test to change."""
    (tmp_path / "in").mkdir()
    return Path(shutil.copy2(path, tmp_path / "in" / "scene.tif"))


@pytest.fixture(scope="module")
def calm(path: Path, forked: Forks) -> Path:
    """What an undisturbed run leaves."""
    out = path.parents[1] / "calm"
    assert forked("run", path, "-o", out, *KMEANS).code == 0
    return out


@pytest.fixture(scope="module")
def likely(path: Path, forked: Forks) -> Path:
    """What an undisturbed run leaves that keeps probabilities."""
    out = path.parents[1] / "likely"
    assert forked("run", path, "-o", out, *KMEANS, "--probabilities").code == 0
    return out


@pytest.fixture(scope="module")
def dead(path: Path, forked: Forks) -> Path:
    """What is left of a run that died when four blocks were finished."""
    return die(forked, path, path.parents[1] / "dead")


def die(forked: Forks, path: Path, out: Path, *words: object, after: int = 4) -> Path:
    """The output folder of a run that died when some blocks were finished."""
    ended = forked("run", path, "-o", out, *KMEANS, *words, GEOSEG_CRASH_AT=f"block_journaled:{after}")
    assert ended.code == -9, ended.err
    return out


@pytest.fixture
def out(dead: Path, tmp_path: Path) -> Path:
    """Another copy of that."""
    return Path(shutil.copytree(dead, tmp_path / "out"))


def computed(out: Path) -> int:
    """Blocks that the last run computed."""
    (scene,) = json.loads((out / "run.json").read_text("utf-8"))["scenes"]
    return int(scene["blocks"] - scene["resumed"])


def rasters(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (out / "scene").glob("*.tif")}


def test_only_what_was_not_finished_is_computed(path: Path, calm: Path, geoseg_command: Command, out: Path) -> None:
    ended = geoseg_command("run", path, "-o", out, *KMEANS)
    assert ended.code == 0, ended.err
    assert "scene: 4 blocks were finished before; going on from there" in ended.err
    assert computed(out) == N - 4
    assert rasters(out) == rasters(calm)
    assert not (out / ".geoseg").exists()


def test_restart_computes_all_of_it_again(path: Path, calm: Path, geoseg_command: Command, out: Path) -> None:
    assert (
        geoseg_command("run", path, "-o", out, *KMEANS, "--restart", "--dry-run").out.splitlines()[1].split(",")[6]
        == "6"
    )
    ended = geoseg_command("run", path, "-o", out, *KMEANS, "--restart")
    assert ended.code == 0, ended.err
    assert "finished before" not in ended.err
    assert computed(out) == N
    assert rasters(out) == rasters(calm)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "swapped", "empty"])
def test_a_damaged_part_is_computed_again_and_no_other(
    damage: str, path: Path, calm: Path, geoseg_command: Command, out: Path
) -> None:
    first, second = sorted((out / ".geoseg" / "parts" / "scene").glob("[0-9]*.tif"))[:2]
    content = bytearray(first.read_bytes())
    n_damaged = 1
    if damage == "flipped":
        content[len(content) // 2] ^= 1
        first.write_bytes(content)
    elif damage == "swapped":
        # of one size, as noise compresses: only the checksums tell
        other = bytearray(second.read_bytes())
        size = min(len(content), len(other))
        first.write_bytes(other[:size].ljust(len(content), b"\0"))
        second.write_bytes(content[:size].ljust(len(other), b"\0"))
        n_damaged = 2
    else:
        first.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
        if damage == "missing":
            first.unlink()
    ended = geoseg_command("run", path, "-o", out, *KMEANS, "-v")
    assert ended.code == 0, ended.err
    assert ended.err.count("a block of") == N - 4 + n_damaged
    if damage in ("flipped", "swapped"):
        assert f"{were(n_damaged, 'finished block')} damaged on the disk and computed again" in ended.err
    assert rasters(out) == rasters(calm)


def test_parts_that_are_damaged_whenever_they_are_written_fail_the_scene_by_name(own: Path) -> None:
    """A disk that does not keep what is written to it is named after a few tries, not tried for ever."""
    other = own.with_name("other.tif")
    other.write_bytes(own.read_bytes())
    out = own.parents[1] / "out"

    def listen(event: Event) -> None:
        if event.kind == "publishing" and event.scene == "scene":
            part = out / ".geoseg" / "parts" / "scene" / "0_0.tif"
            content = bytearray(part.read_bytes())
            content[len(content) // 2] ^= 1
            part.write_bytes(content)

    with connect() as pool:
        summary = run([str(own), str(other)], out, load_model("kmeans:3"), _options(), pool=pool, listen=listen)
    first, second = summary.outcomes
    assert (first.status, second.status) == ("failed", "done")
    assert first.error is not None
    assert first.error.startswith(str(own))
    assert "does not hold what was written to it" in first.error
    assert sum("damaged on the disk" in note for note in first.notes) == 3


def _options(**more: object) -> Options:
    return Options(block_size=512, formats=(), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    [
        ["--seed", 7],
        ["--window", 48],
        ["--scale", 0.5],
        ["--bands", "green,red,nir"],
        ["--probabilities"],
        ["-m", "kmeans:4"],
    ],
    ids=str,
)
def test_what_shapes_the_parts_leaves_nothing_of_others(
    words: list[object], path: Path, geoseg_command: Command, out: Path
) -> None:
    ended = geoseg_command("run", path, "-o", out, *KMEANS, *words)
    assert ended.code == 0, ended.err
    assert computed(out) == N


def test_a_changed_pixel_or_weight_leaves_nothing_of_the_other(
    own: Path, geoseg_command: Command, random_unet: Path, forked: Forks
) -> None:
    out = die(forked, own, own.parents[1] / "out", "-m", random_unet, after=2)
    import rasterio

    with rasterio.open(own, "r+") as dataset:
        dataset.write(np.full((3, 1, 1), 7, np.uint16), window=rasterio.windows.Window(300, 300, 1, 1))
    assert geoseg_command("run", own, "-o", out, *KMEANS, "-m", random_unet).code == 0
    assert computed(out) == N

    from safetensors.torch import load_file, save_file

    out = die(forked, own, own.parents[1] / "out2", "-m", random_unet, after=2)
    weights = random_unet.with_name("weights.safetensors")
    tensors = load_file(weights)
    next(t for t in tensors.values() if t.is_floating_point()).view(-1)[0] += 0.25
    save_file(tensors, weights)
    assert geoseg_command("run", own, "-o", out, *KMEANS, "-m", random_unet).code == 0
    assert computed(out) == N


@pytest.mark.parametrize("words", [["--threads", 1], ["--batch-size", 2], ["-j", 1], ["--min-area", "9px"]], ids=str)
def test_what_shapes_no_part_keeps_them(words: list[object], path: Path, geoseg_command: Command, out: Path) -> None:
    ended = geoseg_command("run", path, "-o", out, *KMEANS, *words)
    assert ended.code == 0, ended.err
    assert computed(out) == N - 4


@pytest.mark.parametrize(
    "words",
    [["--polygons", "-f", "fgb"], ["--min-area", "9px"], ["--polygons", "--smooth"]],
    ids=str,
)
def test_what_is_made_from_finished_rasters_does_not_run_the_model_again(
    words: list[object], path: Path, likely: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    out, fresh = Path(shutil.copytree(likely, tmp_path / "out")), tmp_path / "fresh"
    more = [*KMEANS, *words, "--probabilities"]
    ended = geoseg_command("run", path, "-o", out, *more, "--overwrite")
    assert ended.code == 0, ended.err
    assert "its rasters are finished and unchanged: only what is made from them is made anew" in ended.err
    assert geoseg_command("run", path, "-o", fresh, *more).code == 0
    assert rasters(out) == rasters(fresh)
    assert (out / "areas.csv").read_bytes() == (fresh / "areas.csv").read_bytes()


@pytest.mark.parametrize("why", ["restart", "mapping unit", "damage", "other model", "no probabilities"])
def test_rasters_that_are_not_those_of_the_model_are_computed(
    why: str, path: Path, calm: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    if why == "mapping unit":
        assert geoseg_command("run", path, "-o", out, *KMEANS, "--min-area", "9px").code == 0
    else:
        shutil.copytree(calm, out)
    if why == "damage":
        file = out / "scene" / "scene_confidence.tif"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    others: dict[str, list[object]] = {
        "restart": ["--restart", "--min-area", "5px"],
        "other model": ["-m", "kmeans:4"],
        "no probabilities": ["--probabilities"],
    }
    more = others.get(why, ["--min-area", "5px"])
    ended = geoseg_command("run", path, "-o", out, *KMEANS, *more, "--overwrite")
    assert ended.code == 0, ended.err
    assert "only what is made from them" not in ended.err
    assert geoseg_command("run", path, "-o", fresh, *KMEANS, *more).code == 0
    assert rasters(out) == rasters(fresh)


def test_a_journal_that_is_lost_or_damaged_costs_time_only(
    path: Path, calm: Path, geoseg_command: Command, dead: Path, tmp_path: Path
) -> None:
    for damage in ("lost", "damaged"):
        out = Path(shutil.copytree(dead, tmp_path / damage))
        files = list((out / ".geoseg").glob("journal.sqlite*"))
        assert files
        for file in files:
            file.unlink() if damage == "lost" else file.write_bytes(b"not a journal\n" * 500)
        ended = geoseg_command("run", path, "-o", out, *KMEANS)
        assert ended.code == 0, ended.err
        assert ("is damaged, so blocks that were finished are computed again" in ended.err) is (damage == "damaged")
        assert computed(out) == N
        assert rasters(out) == rasters(calm)
        assert not (out / ".geoseg").exists()


def test_files_of_a_later_day_are_taken_up_too(path: Path, calm: Path, geoseg_command: Command, out: Path) -> None:
    """The clock was set back: nothing is decided by it."""
    later = 4e9
    for file in (out / ".geoseg").rglob("*"):
        os.utime(file, (later, later))
    ended = geoseg_command("run", path, "-o", out, *KMEANS)
    assert ended.code == 0, ended.err
    assert computed(out) == N - 4
    assert rasters(out) == rasters(calm)
    assert json.loads((out / "run.json").read_text("utf-8"))["seconds"] >= 0


def test_a_failed_scene_goes_on_where_it_failed(own: Path, calm: Path, geoseg_command: Command) -> None:
    whole = own.read_bytes()
    out = own.parents[1] / "out"
    times = own.stat().st_atime_ns, own.stat().st_mtime_ns

    def cut() -> None:
        os.truncate(own, len(whole) // 2)
        os.utime(own, ns=times)

    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if event.kind == "block" and sum(e.kind == "block" for e in events) == 2:
            cut()

    with connect() as pool:
        summary = run([str(own)], out, load_model("kmeans:3"), _options(), pool=pool, listen=listen)
    assert summary.outcomes[0].status == "failed"
    own.write_bytes(whole)
    os.utime(own, ns=times)
    ended = geoseg_command("run", own, "-o", out, *KMEANS)
    assert ended.code == 0, ended.err
    assert computed(out) <= N - 2
    assert rasters(out) == rasters(calm)


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A disk of 64 kB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    return folder


def test_a_disk_that_no_scene_fits_is_named_before_anything_is_computed(
    own: Path, small_disk: Path, geoseg_command: Command, random_unet: Path
) -> None:
    try:
        # far larger than the disk: 300 Mpx, which no test computes
        import rasterio

        big = own.with_name("big.tif")
        profile = {"driver": "GTiff", "count": 3, "height": 20_000, "width": 15_000, "dtype": "uint16"}
        with rasterio.open(own) as small:
            where = {"crs": small.crs, "transform": small.transform}
        with rasterio.open(big, "w", tiled=True, sparse_ok=True, **profile, **where):
            pass
        ended = geoseg_command("run", big, "-o", small_disk / "out", *KMEANS, "-m", random_unet)
        assert ended.code == 1
        assert "MiB free, the scene takes about" in ended.err
        assert "free some, or choose another --output" in ended.err
        assert "a block of" not in ended.err
    finally:
        subprocess.run(["umount", small_disk], check=True)


def planned(ended: Ended) -> dict[str, str]:
    header, row = csv.reader(ended.out.splitlines())
    return dict(zip(header, row, strict=True))


def test_a_dry_run_says_how_far_a_scene_is_and_what_is_left(
    path: Path, dead: Path, tmp_path: Path, geoseg_command: Command
) -> None:
    out = tmp_path / "out"
    words: list[object] = ["run", path, "-o", out, *KMEANS]
    new = planned(geoseg_command(*words, "--dry-run"))
    assert (new["state"], new["blocks"], new["blocks left"]) == ("new", "6", "6")
    assert not out.exists()
    assert float(new["seconds"]) > 0
    assert int(new["memory MiB"]) > 100
    with_polygons = planned(geoseg_command(*words, "--polygons", "--dry-run"))
    assert int(with_polygons["disk MiB"]) > int(new["disk MiB"]) > 0

    shutil.copytree(dead, out)
    resumable = planned(geoseg_command(*words, "--dry-run"))
    assert (resumable["state"], resumable["blocks left"]) == ("resumable", "2")
    assert planned(geoseg_command(*words, "--restart", "--dry-run"))["state"] == "new"
    assert planned(geoseg_command(*words, "--seed", 7, "--dry-run"))["state"] == "new"

    assert geoseg_command(*words).code == 0
    done = planned(geoseg_command(*words, "--dry-run"))
    assert [done[name] for name in ("state", "blocks left", "memory MiB", "disk MiB", "seconds")] == [
        "done", "0", "0", "0", "0.0",
    ]  # fmt: skip
    other = [*words, "--min-area", "9px", "--dry-run"]
    assert planned(geoseg_command(*other))["state"] == "refused"
    changed = planned(geoseg_command(*other, "--overwrite"))
    assert (changed["state"], changed["blocks left"]) == ("changed", "6")
    anew = planned(geoseg_command(*other, "--overwrite", "--restart", "--window", 16, "--overlap", 0.9))
    assert float(anew["seconds"]) > float(changed["seconds"])
