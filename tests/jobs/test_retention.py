"""What is kept of each place, and that nothing else than finished results of the pipeline's own making is removed."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.jobs.batch import run_batch
from geoseg.jobs.batch_state import read_state
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.places import Dated, by_place, older_than_kept, pairs
from geoseg.jobs.results import results_in
from geoseg.jobs.retention import remove_results
from geoseg.outputs.records import write_json
from tests.conftest import UTM, Command, WriteScene
from tests.jobs.batches import edit_state, pipeline_in
from tests.jobs.test_batch import became, quiet, run, standings
from tests.jobs.test_run import tree

DATES = ("20230101", "20230201", "20230301", "20230401")


def scene(name: str, when: str, place: str = "p") -> Dated:
    return Dated(id=name, place=place, acquired=when)


SCENES = st.lists(
    st.builds(
        Dated,
        id=st.uuids().map(str),
        place=st.sampled_from(["", "p", "q"]),
        acquired=st.one_of(
            st.just(""),
            st.datetimes(datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2020-03-01")).map(
                lambda d: d.isoformat()
            ),
            st.dates(date(2020, 1, 1), date(2020, 1, 9)).map(lambda d: f"{d}T10:00:00Z"),
        ),
    ),
    max_size=30,
    unique_by=lambda s: s.id,
)


@given(SCENES, st.integers(1, 5))
def test_the_newest_dates_of_each_place_are_kept(scenes: list[Dated], n: int) -> None:
    old = {s.id for s in older_than_kept(scenes, keep_dates=n, keep_days=None)}
    for place in ("p", "q"):
        here = [s for s in scenes if s.place == place and s.time is not None]
        days = sorted({s.acquired[:10] for s in here})
        assert {s.acquired[:10] for s in here if s.id not in old} == set(days[-n:])
        assert {s.acquired[:10] for s in here if s.id in old} == set(days[:-n])
    assert not old & {s.id for s in scenes if s.time is None or not s.place}


@given(SCENES, st.integers(1, 40))
def test_days_are_counted_from_the_newest_date_of_the_place(scenes: list[Dated], n: int) -> None:
    old = {s.id for s in older_than_kept(scenes, keep_dates=None, keep_days=n)}
    for s in scenes:
        here = [t for o in scenes if o.place == s.place and (t := o.time) is not None]
        if s.time is None or not s.place:
            assert s.id not in old
        else:
            assert (s.id in old) == (s.time.date() < max(here).date() - timedelta(days=n))


@given(SCENES)
def test_pairs_are_consecutive_dates_of_one_place(scenes: list[Dated]) -> None:
    found = pairs(scenes)
    places = by_place(scenes)
    for before, after in found:
        assert before.place == after.place
        assert before.time is not None
        assert after.time is not None
        assert before.time < after.time
        assert not [s for s in places[before.place] if s.time is not None and before.time < s.time < after.time]
    assert len(found) == sum(len({s.time for s in place}) - 1 for place in places.values())


def test_a_time_without_a_zone_is_utc_and_nonsense_is_no_time() -> None:
    assert scene("a", "2023-01-01T00:00:00").time == datetime(2023, 1, 1, tzinfo=UTC)
    assert scene("a", "2023-01-01T01:00:00+01:00").time == datetime(2023, 1, 1, tzinfo=UTC)
    assert scene("a", "yesterday").time is None


@pytest.fixture
def dated(write_scene: WriteScene, tmp_path: Path) -> Pipeline:
    """Four dates of one place, one of another, and a scene without a date, all computed."""
    for i, day in enumerate(DATES):
        write_scene(f"in/here_{day}.tif", seed=i)
    write_scene("in/there_20200101.tif", transform=UTM.translation(9000, 9000) @ UTM, seed=8)
    write_scene("in/undated.tif", seed=9)
    pipeline = pipeline_in(tmp_path)
    assert run(pipeline).exit_code == 0
    return pipeline


def kept(pipeline: Pipeline) -> set[str]:
    return {p.name for p in pipeline.output.iterdir() if p.is_dir()}


def test_results_older_than_the_newest_dates_are_removed_and_not_made_again(dated: Pipeline, tmp_path: Path) -> None:
    inputs = tree(tmp_path / "in")
    keeping = pipeline_in(tmp_path, retention={"keep_dates": 2})
    report = run(keeping)
    left = {"here_20230301", "here_20230401", "there_20200101", "undated"}
    assert kept(keeping) == left
    assert {i for i, b in became(report).items() if b == "retired"} == {"here_20230101", "here_20230201"}
    assert report.exit_code == 0
    assert set(pd.read_csv(keeping.output / "areas.csv").scene) == left
    assert standings(keeping)["here_20230101"] == "retired"
    again = run(keeping)
    assert set(became(again).values()) == {"retired", "unchanged"}
    assert kept(keeping) == left
    assert tree(tmp_path / "in") == inputs
    # without the rule, or with another one, they are wanted again
    assert became(run(pipeline_in(tmp_path)))["here_20230101"] == "done"


def test_days_before_the_newest_date_are_kept(dated: Pipeline, tmp_path: Path) -> None:
    keeping = pipeline_in(tmp_path, retention={"keep_days": 31})
    run(keeping)
    assert kept(keeping) == {"here_20230301", "here_20230401", "there_20200101", "undated"}


def test_a_new_date_retires_the_oldest_and_an_old_one_is_not_computed(
    dated: Pipeline, write_scene: WriteScene, tmp_path: Path
) -> None:
    keeping = pipeline_in(tmp_path, retention={"keep_dates": 2})
    run(keeping)
    write_scene("in/here_20230501.tif", seed=20)
    write_scene("in/here_20220501.tif", seed=21)
    computed: list[str] = []
    report = run_batch(keeping, say=quiet, listen=lambda e: computed.append(e.scene) if e.kind == "block" else None)
    assert computed == ["here_20230501"]
    assert became(report)["here_20230501"] == "done"
    assert became(report)["here_20220501"] == became(report)["here_20230301"] == "retired"
    assert kept(keeping) == {"here_20230401", "here_20230501", "there_20200101", "undated"}
    # also when the state is lost: what is there counts
    keeping.state_file.unlink()
    computed.clear()
    run_batch(keeping, say=quiet, listen=lambda e: computed.append(e.scene) if e.kind == "block" else None)
    assert computed == []


def test_nothing_is_removed_that_the_pipeline_did_not_make(
    write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    for i, day in enumerate(DATES):
        write_scene(f"in/here_{day}.tif", seed=i)
    # made by hand: found, and taken for done, but never removed
    by_hand = tmp_path / "in" / "here_20230101.tif"
    assert geoseg_command("run", by_hand, "-o", tmp_path / "out", "-m", "kmeans:3", "--no-polygons").code == 0
    keeping = pipeline_in(tmp_path, retention={"keep_dates": 2})
    for name in ("photos", "here_20220101"):
        (keeping.output / name).mkdir()
        (keeping.output / name / "mine.txt").write_text("mine")
    run(pipeline_in(tmp_path))
    (keeping.output / "here_20230201" / "notes.txt").write_text("mine")
    (keeping.output / "here_20230201" / "here_20230201_notes.txt").write_text("mine, too")
    run(keeping)
    assert kept(keeping) == {
        "here_20230101", "here_20230201", "here_20230301", "here_20230401", "photos", "here_20220101",
    }  # fmt: skip
    assert results_in(keeping.output / "here_20230101") is not None
    left = {p.name for p in (keeping.output / "here_20230201").iterdir()}
    assert left == {"notes.txt", "here_20230201_notes.txt"}


def test_results_that_are_not_those_that_were_recorded_stay(dated: Pipeline, tmp_path: Path) -> None:
    edit_state(dated.state_file, "UPDATE scenes SET key = 'another' WHERE id = 'here_20230101'")
    folder = dated.output / "here_20230101"
    before = tree(folder)
    assert not remove_results(folder, "another")
    assert tree(folder) == before
    # a record that leads elsewhere
    key = read_state(dated.state_file)[0]["here_20230201"].key
    folder = dated.output / "here_20230201"
    item = {"properties": {"geoseg:parameters": {"key": key}}, "assets": {"x": {"href": "../../in/undated.tif"}}}
    write_json(folder / "here_20230201.json", item)
    assert not remove_results(folder, key)
    # a link to a folder somewhere else
    moved = tmp_path / "moved"
    (dated.output / "here_20230301").rename(moved)
    (dated.output / "here_20230301").symlink_to(moved)
    before = tree(moved)
    assert not remove_results(dated.output / "here_20230301", read_state(dated.state_file)[0]["here_20230301"].key)
    assert tree(moved) == before
    assert (tmp_path / "in" / "undated.tif").is_file()


def test_a_removal_that_was_cut_off_is_taken_up_again(dated: Pipeline, tmp_path: Path) -> None:
    keeping = pipeline_in(tmp_path, retention={"keep_dates": 2})
    # the row says so already, and some files are gone
    edit_state(dated.state_file, "UPDATE scenes SET status = 'retired' WHERE id = 'here_20230101'")
    (dated.output / "here_20230101" / "here_20230101_classes.tif").unlink()
    run(keeping)
    assert "here_20230101" not in kept(keeping)
