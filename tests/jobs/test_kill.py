"""A run that is killed at any moment goes on where it was, and ends as one that was left alone."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from geoseg.jobs.words import were
from geoseg.outputs.crash import CRASH_POINTS, RUN_CRASH_POINTS
from tests.commands import Died, Forks
from tests.conftest import Command, WriteScene, blobs, read, write_raster

KMEANS = ["-m", "kmeans:3", "--block-size", "512"]


def told(rounds: list[Died], kind: str) -> Counter[str]:
    """How often each scene told of something."""
    return Counter(e["scene"] for r in rounds for e in r.events if e["event"] == kind)


def results(out: Path) -> dict[str, bytes]:
    """Rasters and tables of all scenes, byte by byte."""
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.suffix in (".tif", ".csv")}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_twenty_times_a_run_loses_nothing_and_computes_nothing_twice(
    write_scene: WriteScene, forked: Forks
) -> None:
    shape = (4096, 700)
    paths = [write_scene(f"in/{name}.tif", pixels=blobs(*shape, seed=i)) for i, name in enumerate("abc")]
    n_blocks = 8 * 2
    out, calm = paths[0].parents[1] / "out", paths[0].parents[1] / "calm"
    # small windows that overlap: a block takes some tenths of a second
    words = [paths[0].parent, *KMEANS, "--window", "48", "--overlap", "0.5"]
    talk = ["-v", "--log-format", "json"]
    rng = random.Random(1)
    rounds = [forked("run", *words, "-o", out, *talk, kill=rng.uniform(0, 2)) for _ in range(20)]
    rounds.append(forked("run", *words, "-o", out, *talk))
    assert rounds[-1].code == 0, rounds[-1].err
    assert {r.code for r in rounds} == {0, -9}
    assert sum(r.code == -9 for r in rounds) >= 10
    # every block is told of when it is in the journal, and never again
    assert told(rounds, "block") <= Counter(dict.fromkeys("abc", n_blocks))
    known: Counter[str] = Counter()
    for r in rounds:
        for event in r.events:
            if event["event"] == "resumed":
                # all that was told of, and what was written down in the instant before the kill
                assert known[event["scene"]] <= event["blocks"] <= known[event["scene"]] + 1
                known[event["scene"]] = event["blocks"]
            elif event["event"] == "block":
                known[event["scene"]] += 1
    assert told(rounds, "resumed").total() >= 3
    assert forked("run", *words, "-o", calm).code == 0
    assert results(out) == results(calm)
    assert sorted(p.name for p in out.iterdir()) == ["a", "areas.csv", "b", "c", "report.html", "run.json"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of three blocks."""
    return write_raster(tmp_path_factory.mktemp("kill") / "in" / "scene.tif", blobs(1100, 300))


@pytest.fixture(scope="module")
def calm(path: Path, forked: Forks) -> Path:
    """What an undisturbed run leaves."""
    out = path.parents[1] / "calm"
    assert forked("run", path, *KMEANS, "--no-polygons", "-o", out).code == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("point", [*RUN_CRASH_POINTS, "block_journaled:3", "block_done:2", *CRASH_POINTS])
def test_a_run_that_dies_at_any_point_is_taken_up_by_the_same_command(
    point: str, path: Path, calm: Path, tmp_path: Path, geoseg_command: Command, forked: Forks
) -> None:
    out = tmp_path / "out"
    words = [path, *KMEANS, "--no-polygons"]
    died = forked("run", *words, "-o", out, GEOSEG_CRASH_AT=point)
    if point.startswith("old_"):
        assert died.code == 0  # nothing was there to be replaced
        return
    assert died.code == -9, died.err
    final = [p for p in (out / "scene").glob("*") if not p.name.startswith(".")] if (out / "scene").exists() else []
    assert not final or {"scene.json", "scene_classes.tif", "scene_areas.csv"} <= {p.name for p in final}
    again = geoseg_command("run", *words, "-o", out)
    assert again.code == 0, again.err
    if point in ("block_journaled", "block_journaled:3", "block_done:2"):
        n = {"block_journaled": 1, "block_journaled:3": 3, "block_done:2": 1}[point]
        assert f"scene: {were(n, 'block')} finished before; going on from there" in again.err
        assert json.loads((out / "run.json").read_text("utf-8"))["scenes"][0]["resumed"] == n
    assert results(out) == results(calm)
    assert sorted(p.name for p in out.iterdir()) == ["areas.csv", "report.html", "run.json", "scene"]


def test_a_scene_begun_with_one_cut_is_finished_with_it_whatever_the_workers(
    path: Path, tmp_path: Path, geoseg_command: Command, forked: Forks
) -> None:
    out = tmp_path / "out"
    words = ["run", path, "-m", "kmeans:3", "--no-polygons", "-o", out]
    assert forked(*words, "--block-size", "512", GEOSEG_CRASH_AT="block_journaled:2").code == -9
    dry = geoseg_command(*words, "--dry-run")
    assert dry.out.splitlines()[1].split(",")[1] == "resumable"
    assert dry.out.splitlines()[1].split(",")[6] == "1"
    # by itself this run would take the scene for one block
    again = geoseg_command(*words)
    assert "2 blocks were finished before" in again.err
    assert json.loads((out / "run.json").read_text("utf-8"))["scenes"][0]["blocks"] == 3
    assert (read(out / "scene" / "scene_classes.tif") != 255).all()
    assert np.unique(read(out / "scene" / "scene_classes.tif")).size == 3
