"""A comparison that is killed at any moment goes on where it was, and ends as one that was left alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoseg.jobs.change_journal import ChangeJournal
from tests.cli.test_change import natural, write_map
from tests.commands import Forks
from tests.conftest import WriteScene

N_BLOCKS = 3
NAMES = {i: f"class {i}" for i in range(1, 19)}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Maps of three blocks, below one another."""
    folder = tmp_path_factory.mktemp("maps")
    one, other = (np.kron(natural(84, 6, seed=s), np.ones((50, 50), np.uint8)) for s in (0, 7))
    return write_map(folder / "a.tif", one), write_map(folder / "b.tif", other)


@pytest.fixture(scope="module")
def calm(two: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What is left where nothing dies."""
    from geoseg.jobs.change_options import ChangeOptions
    from geoseg.jobs.change_run import change_maps

    out = tmp_path_factory.mktemp("calm") / "out"
    change_maps(str(two[0]), str(two[1]), out, ChangeOptions(formats=()))
    return results(out)


def results(out: Path) -> dict[str, bytes]:
    """Rasters and tables, byte by byte."""
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.suffix in (".tif", ".csv")}


def state(out: Path) -> list[Path]:
    return [p for p in out.glob(".geoseg/**/*") if p.name != "lock" and p.is_file()]


@pytest.mark.slow
def test_killed_again_and_again_a_comparison_ends_as_one_left_alone(
    two: Any, calm: dict[str, bytes], tmp_path: Path, forked: Forks
) -> None:
    words = ["change", *two, "-o", tmp_path / "out", "--no-polygons"]
    rounds = [forked(*words, kill=seconds) for seconds in (0.02, 0.05, 0.1, 0.2, 0.4)]  # whatever the machine takes
    assert sum(r.code == -9 for r in rounds) >= 2
    last = forked(*words)
    assert last.code == 0, last.err
    assert results(tmp_path / "out") == calm
    assert not state(tmp_path / "out")


@pytest.mark.parametrize("point", ["block_done:2", "block_journaled:2", "staged", "scene_published"])
def test_finished_blocks_are_not_compared_again(
    point: str, two: Any, calm: dict[str, bytes], tmp_path: Path, forked: Forks
) -> None:
    out = tmp_path / "out"
    words = ["change", *two, "-o", out, "--no-polygons"]
    died = forked(*words, GEOSEG_CRASH_AT=point)
    assert died.code == -9, died.err
    again = forked(*words)
    assert again.code == 0, again.err
    n = {"block_done:2": 1, "block_journaled:2": 2, "staged": N_BLOCKS}.get(point)
    if n is None:
        assert "unchanged since it was finished" in again.err
    else:
        assert f"a_b: {n} of {N_BLOCKS} blocks were finished before; going on from there" in again.err
    assert results(out) == calm
    assert not state(out)
    assert sorted(p.name for p in out.iterdir()) == ["a_b", "change.csv", "change.json"]


@pytest.mark.slow
@pytest.mark.parametrize("point", ["written:2", "renamed", "written:5", "stage_renamed"])
def test_the_write_path_may_die_anywhere(
    point: str, two: Any, calm: dict[str, bytes], tmp_path: Path, forked: Forks
) -> None:
    words = ["change", *two, "-o", tmp_path / "out", "--no-polygons"]
    assert forked(*words, GEOSEG_CRASH_AT=point).code == -9
    assert forked(*words).code == 0
    assert results(tmp_path / "out") == calm


def test_other_rules_begin_anew_and_what_shapes_no_block_does_not(two: Any, tmp_path: Path, forked: Forks) -> None:
    words = ["change", *two, "-o", tmp_path / "out", "--no-polygons"]
    assert forked(*words, GEOSEG_CRASH_AT="block_journaled").code == -9
    merged = forked(*words, "--min-area", "2px", GEOSEG_CRASH_AT="block_journaled")
    assert merged.code == -9
    (journal,) = (tmp_path / "out").glob(".geoseg/pairs/a_b/*")
    with ChangeJournal(journal) as opened:
        (scene,) = (p.name for p in (journal / "parts").iterdir())
        assert len(list(opened.results(scene))) == 2
    other = forked(*words, "--tolerance", "1")
    assert other.code == 0, other.err
    assert "finished before" not in other.err


def test_restart_compares_all_again(two: Any, calm: dict[str, bytes], tmp_path: Path, forked: Forks) -> None:
    words = ["change", *two, "-o", tmp_path / "out", "--no-polygons"]
    assert forked(*words, GEOSEG_CRASH_AT="block_journaled:2").code == -9
    again = forked(*words, "--restart")
    assert "finished before" not in again.err
    assert results(tmp_path / "out") == calm


def test_blocks_that_a_disk_damaged_are_compared_again(
    two: Any, calm: dict[str, bytes], tmp_path: Path, forked: Forks
) -> None:
    words = ["change", *two, "-o", tmp_path / "out", "--no-polygons"]
    assert forked(*words, GEOSEG_CRASH_AT="block_journaled:2").code == -9
    # of another block there may be a part, too, that was not noted down yet and is no finished one
    for part in (p for p in state(tmp_path / "out") if p.suffix == ".tif"):
        content = bytearray(part.read_bytes())
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        part.write_bytes(content)
    again = forked(*words)
    assert again.code == 0, again.err
    assert "2 finished blocks were damaged on the disk and are compared again" in again.err
    assert results(tmp_path / "out") == calm


def test_with_more_classes_than_codes_it_goes_on_too(tmp_path: Path, forked: Forks) -> None:
    rng = np.random.default_rng(0)
    maps = [
        write_map(
            tmp_path / f"{n}.tif",
            np.kron(rng.integers(1, 4 if n == "a" else 19, (84, 6), np.uint8), np.ones((50, 50), np.uint8)),
            names=dict(list(NAMES.items())[:17]),  # one class has no name
        )
        for n in "ab"
    ]
    found = []
    died: dict[str, Any] = {"GEOSEG_CRASH_AT": "block_journaled:2"}
    for out, env in ((tmp_path / "calm", {}), (tmp_path / "out", died)):
        words = ["change", *maps, "-o", out, "--no-polygons"]
        ended = forked(*words, **env)
        if env:
            assert ended.code == -9
            ended = forked(*words)
            assert "2 of 3 blocks were finished before" in ended.err
        assert ended.code == 0, ended.err
        found.append(results(out))
    assert found[0] == found[1]


def test_segmenting_goes_on_too(write_scene: WriteScene, tmp_path: Path, forked: Forks) -> None:
    paths = [write_scene(f"in/{n}.tif", shape=(1100, 100), seed=i) for i, n in enumerate(("p_2019", "p_2023"))]
    out = tmp_path / "out"
    words = ["change", *paths, "-o", out, "-m", "kmeans:3", "--block-size", "512", "--no-polygons"]
    assert forked(*words, GEOSEG_CRASH_AT="block_journaled:5").code == -9
    again = forked(*words)
    assert again.code == 0, again.err
    assert "p_2019: unchanged since it was finished, skipped" in again.err
    assert "p_2023: 2 blocks were finished before; going on from there" in again.err
    assert json.loads((out / "change.json").read_text())["pairs"][0]["status"] == "done"


def test_a_pair_for_a_model_of_two_dates_goes_on_too(write_scene: WriteScene, tmp_path: Path, forked: Forks) -> None:
    bands = ("blue", "green", "red", "nir", "swir16")
    paths = [
        write_scene(
            f"{name}.tif",
            pixels=np.full((5, 1100, 70), 900 * i, np.uint16),
            descriptions=bands,
        )
        for i, name in enumerate(("k_2019", "k_2023"), 1)
    ]
    words = ["change", *paths, "-o", tmp_path / "out", "-m", "change-siamese", "--scale", "0.0001"]
    words += ["--block-size", "512", "--no-polygons"]
    assert forked(*words, GEOSEG_CRASH_AT="block_journaled:2").code == -9
    again = forked(*words)
    assert again.code == 0, again.err
    assert "k_2019_2023: 2 blocks were finished before; going on from there" in again.err
