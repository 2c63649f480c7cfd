"""A series that is killed at any moment goes on where it was, and ends as one that was left alone."""

from pathlib import Path

import numpy as np
import pytest

from geoseg.jobs.series_journal import SeriesJournal
from tests.cli.test_change import natural, write_map
from tests.commands import Forks
from tests.jobs.test_change_resume import results, state

N_BLOCKS = 3


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Maps of three blocks, below one another; the last has a class without a name."""
    folder = tmp_path_factory.mktemp("maps")
    maps = [np.kron(natural(84, 6, seed=s), np.ones((50, 50), np.uint8)) for s in (0, 7, 9)]
    maps[2][-50:, :50] = 9
    return [write_map(folder / f"m_{year}.tif", m) for year, m in zip((2019, 2021, 2023), maps, strict=True)]


@pytest.fixture(scope="module")
def words(three: list[Path]) -> list[object]:
    return ["series", *three, "--accuracy", 0.8, "--maps", "--no-polygons", "-o"]


@pytest.fixture(scope="module")
def calm(words: list[object], tmp_path_factory: pytest.TempPathFactory, forked: Forks) -> dict[str, bytes]:
    """What is left where nothing dies."""
    out = tmp_path_factory.mktemp("calm") / "out"
    ended = forked(*words, out)
    assert ended.code == 0, ended.err
    return results(out)


@pytest.mark.parametrize("point", ["block_journaled:5", "scene_published"])
def test_finished_blocks_are_not_gone_through_again(
    point: str, words: list[object], calm: dict[str, bytes], tmp_path: Path, forked: Forks
) -> None:
    out = tmp_path / "out"
    died = forked(*words, out, GEOSEG_CRASH_AT=point)
    assert died.code == -9, died.err
    again = forked(*words, out)
    assert again.code == 0, again.err
    if point == "scene_published":
        assert "unchanged since it was finished" in again.err
    else:  # three of the five went into learning that a legend lacks a class
        assert f"2 of {N_BLOCKS} blocks were finished before; going on from there" in again.err
    assert results(out) == calm
    assert not state(out)


@pytest.mark.slow
def test_killed_again_and_again_a_series_ends_as_one_left_alone(
    words: list[object], calm: dict[str, bytes], tmp_path: Path, forked: Forks
) -> None:
    rounds = [forked(*words, tmp_path / "out", kill=seconds) for seconds in (0.02, 0.05, 0.1, 0.2, 0.4)]
    assert sum(r.code == -9 for r in rounds) >= 2
    last = forked(*words, tmp_path / "out")
    assert last.code == 0, last.err
    assert results(tmp_path / "out") == calm


def test_other_rules_and_restart_begin_anew(
    words: list[object], calm: dict[str, bytes], tmp_path: Path, forked: Forks
) -> None:
    out = tmp_path / "out"
    assert forked(*words, out, GEOSEG_CRASH_AT="block_journaled:5").code == -9
    again = forked(*words, out, "--restart", GEOSEG_CRASH_AT="block_journaled:5")
    assert again.code == -9
    other = forked(*words, out, "--tolerance", 1)
    assert other.code == 0, other.err
    assert "finished before" not in other.err
    assert results(out) != calm


def test_blocks_that_a_disk_damaged_are_gone_through_again(
    words: list[object], calm: dict[str, bytes], tmp_path: Path, forked: Forks
) -> None:
    out = tmp_path / "out"
    assert forked(*words, out, GEOSEG_CRASH_AT="block_journaled:5").code == -9
    (folder,) = out.glob(".geoseg/pairs/*/*")
    with SeriesJournal(folder) as journal:
        noted = {p.name: list(journal.results(p.name)) for p in (folder / "parts").iterdir()}
    (result, _) = next(found for found in noted.values() if len(found) == 2)  # the other legends have all three
    part = result.layers["count"].path
    content = bytearray(part.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    part.write_bytes(content)
    again = forked(*words, out)
    assert again.code == 0, again.err
    assert "1 finished blocks were damaged on the disk and are gone through again" in again.err
    assert results(out) == calm
