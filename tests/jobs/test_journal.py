"""The journal: what is written down comes back, what is damaged is noticed, what is finished is forgotten."""

import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geoseg.area.expected import ExpectedTotals
from geoseg.area.sums import ClassTotals
from geoseg.errors import OutputError
from geoseg.inference.lattice import Block
from geoseg.jobs.block import BlockResult
from geoseg.jobs.journal import Journal, finished_blocks
from geoseg.outputs.parts import PartWriter

KEY, CUT = "a" * 64, (512, 512)


def finished(journal: Journal, block: Block, *, scene: str = "scene", seed: int = 0, n: int = 0) -> BlockResult:
    """A block with a real part file."""
    rng = np.random.default_rng(seed)
    shape = (block.height, block.width)
    classes, confidence = rng.integers(0, 9, shape, dtype=np.uint8), rng.integers(0, 101, shape, dtype=np.uint8)
    path = journal.folder(scene) / f"{block.row_off}_{block.col_off}.tif"
    with PartWriter(path, block=block, n_probabilities=n) as writer:
        writer.write_rows(classes, confidence, np.zeros((n, *shape), np.uint8) if n else None)
        part = writer.finish()
    totals = ClassTotals.zero()
    totals.pixels[:9] = np.bincount(classes.ravel(), minlength=9)
    totals.units[:9] = rng.integers(0, 2**62, 9)
    totals.conf_sum[:9], totals.conf_pixels[:9] = rng.integers(0, 10**9, (2, 9))
    expected = ExpectedTotals(weighted_units=tuple(int(v) * 2**20 for v in rng.integers(0, 2**62, n))) if n else None
    return BlockResult(part=part, totals=totals, expected=expected)


def same(one: BlockResult, other: BlockResult) -> bool:
    sums = ("pixels", "units", "conf_sum", "conf_pixels")
    equal = all(np.array_equal(getattr(one.totals, s), getattr(other.totals, s)) for s in sums)
    return equal and one.part == other.part and one.expected == other.expected


BLOCKS = [Block(row_off=r, col_off=c, height=40, width=70) for r in (0, 512) for c in (0, 512)]


@pytest.mark.parametrize("n", [0, 5])
def test_what_is_written_down_comes_back_after_a_death(n: int, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.begin("scene", KEY, CUT) == set()
    results = [finished(journal, block, seed=i, n=n) for i, block in enumerate(BLOCKS)]
    for result in results[:3]:
        journal.add("scene", result)
    journal._db.close()  # not left, as by a death
    with Journal(tmp_path) as again:
        assert again.notes == ()
        assert again.cut("scene", KEY) == CUT
        assert again.cut("scene", "b" * 64) is None
        assert again.begin("scene", KEY, CUT) == set(BLOCKS[:3])
        assert all(map(same, again.results("scene"), results[:3]))
        # the fourth part has no row
        assert sorted(p.name for p in again.folder("scene").iterdir()) == ["0_0.tif", "0_512.tif", "512_0.tif"]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["add", "drop", "forget", "reopen"]), st.integers(0, 3)), max_size=12))
def test_the_journal_holds_what_was_added_and_not_taken_back(steps: list[tuple[str, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        journal, there = Journal(Path(name)), set()
        journal.begin("scene", KEY, CUT)
        for what, i in steps:
            if what == "add":
                journal.begin("scene", KEY, CUT)
                journal.add("scene", finished(journal, BLOCKS[i], seed=i))
                there.add(i)
            elif what == "drop":
                journal.drop("scene", [BLOCKS[i]])
                there.discard(i)
            elif what == "forget":
                journal.forget("scene")
                there.clear()
            else:
                journal._db.close()
                journal = Journal(Path(name))
            found = [r.part.block for r in journal.results("scene")]
            assert found == [BLOCKS[k] for k in sorted(there)]
        journal._db.close()


@pytest.mark.parametrize(("key", "cut"), [("b" * 64, CUT), (KEY, (1024, 512))], ids=["key", "cut"])
def test_with_another_key_or_cut_nothing_is_taken_over(key: str, cut: tuple[int, int], tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for scene in ("scene", "other"):
            journal.begin(scene, KEY, CUT)
            journal.add(scene, finished(journal, BLOCKS[0], scene=scene))
        assert journal.begin("scene", key, cut) == set()
        assert list(journal.folder("scene").iterdir()) == []
        assert len(journal.begin("other", KEY, CUT)) == 1


def test_nothing_stays_when_nothing_is_unfinished(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Journal(state) as journal:
        for scene in ("scene", "other"):
            journal.begin(scene, KEY, CUT)
            journal.add(scene, finished(journal, BLOCKS[0], scene=scene))
        journal.forget("scene")
        assert not journal.folder("scene").exists()
    assert sorted(p.name for p in state.iterdir()) == ["journal.sqlite", "parts"]
    with Journal(state) as journal:
        journal.forget("other")
        journal.forget("never there")
    assert list(state.iterdir()) == []


def test_a_part_that_is_gone_or_shorter_is_not_finished(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin("scene", KEY, CUT)
        for i, block in enumerate(BLOCKS[:3]):
            journal.add("scene", finished(journal, block, seed=i))
        (journal.folder("scene") / "0_0.tif").unlink()
        shorter = journal.folder("scene") / "0_512.tif"
        shorter.write_bytes(shorter.read_bytes()[:-1])
        assert journal.begin("scene", KEY, CUT) == {BLOCKS[2]}
        assert [p.name for p in journal.folder("scene").iterdir()] == ["512_0.tif"]


def test_an_output_folder_can_be_moved(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a")
    journal.begin("scene", KEY, CUT)
    journal.add("scene", finished(journal, BLOCKS[0]))
    journal._db.close()
    (tmp_path / "a").rename(tmp_path / "b")
    with Journal(tmp_path / "b") as moved:
        moved.begin("scene", KEY, CUT)
        (found,) = moved.results("scene")
        assert found.part.path == tmp_path / "b" / "parts" / "scene" / "0_0.tif"


def left_by_a_death(state: Path) -> None:
    journal = Journal(state)
    journal.begin("scene", KEY, CUT)
    for i, block in enumerate(BLOCKS):
        journal.add("scene", finished(journal, block, seed=i))
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal._db.close()


@pytest.mark.parametrize("damage", ["empty", "text", "half", "zeros", "version"])
def test_a_damaged_journal_costs_time_and_is_said(damage: str, tmp_path: Path) -> None:
    left_by_a_death(tmp_path)
    file = tmp_path / "journal.sqlite"
    content = file.read_bytes()
    if damage == "version":
        with sqlite3.connect(file) as db:
            db.execute("PRAGMA user_version = 77")
        db.close()
    else:
        half = len(content) // 2
        file.write_bytes(
            {"empty": b"", "text": b"lost\n" * 999, "half": content[:half], "zeros": content[:100] + bytes(half)}[
                damage
            ]
        )
    with Journal(tmp_path) as journal:
        # an empty file is a new database for SQLite
        assert bool(journal.notes) is (damage != "empty")
        assert all("is damaged, so blocks that were finished are computed again" in note for note in journal.notes)
        assert journal.begin("scene", KEY, CUT) == set()
        assert list(journal.folder("scene").iterdir()) == []
        journal.add("scene", finished(journal, BLOCKS[0]))
        assert len(list(journal.results("scene"))) == 1


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.integers(1, 255))
@example(13_498, 128)  # text that is no UTF-8
@example(3858, 128)  # likewise in the schema
@example(3802, 1)  # a column of another name
@example(3907, 1)  # a table without a name
@example(12_281, 8)  # found by reading only
@example(12_282, 184)  # found in an index only
def test_no_flipped_byte_gives_a_wrong_row(place: int, flip: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        left_by_a_death(state)
        with Journal(state) as journal:
            whole = list(journal.results("scene"))
        file = state / "journal.sqlite"
        content = bytearray(file.read_bytes())
        content[place % len(content)] ^= flip
        file.write_bytes(bytes(content))
        with Journal(state) as journal:
            for found in journal.results("scene"):
                assert any(same(found, one) for one in whole)


def test_who_only_looks_sees_the_cut_and_the_number(tmp_path: Path) -> None:
    assert finished_blocks(tmp_path, "scene", KEY) is None
    left_by_a_death(tmp_path)
    assert finished_blocks(tmp_path, "scene", KEY) == (CUT, 4)
    assert finished_blocks(tmp_path, "scene", "b" * 64) is None
    assert finished_blocks(tmp_path, "other", KEY) is None
    (tmp_path / "parts" / "scene" / "0_0.tif").unlink()
    assert finished_blocks(tmp_path, "scene", KEY) == (CUT, 3)
    (tmp_path / "journal.sqlite").write_bytes(b"lost\n" * 999)
    assert finished_blocks(tmp_path, "scene", KEY) is None


def test_who_only_looks_is_kept_out_while_a_run_is_at_work(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.begin("scene", KEY, CUT)
        journal.add("scene", finished(journal, BLOCKS[0]))
        assert finished_blocks(tmp_path, "scene", KEY) is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(OutputError, match=r"cannot keep the journal in .*taken: .*; free or mend that disk"):
        Journal(taken)


def test_who_looks_how_far_a_run_is_does_not_hold_it_up(tmp_path: Path) -> None:
    with Journal(tmp_path):
        pass
    looking = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None, check_same_thread=False)
    looking.execute("BEGIN")
    looking.execute("SELECT * FROM sqlite_master").fetchall()
    timer = threading.Timer(0.3, looking.close)
    timer.start()
    with Journal(tmp_path):
        timer.join()
