"""Batches over small scenes: what is new or changed is made, what failed is tried again, nothing else is touched."""

import json
import os
import shutil
import sqlite3
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from geoseg.errors import GeosegError, InputError, OutputError
from geoseg.jobs import batch_state
from geoseg.jobs.batch import run_batch
from geoseg.jobs.batch_page import write_batch_page
from geoseg.jobs.batch_report import BatchReport, write_summary
from geoseg.jobs.batch_retry import release
from geoseg.jobs.batch_state import BATCH_LOCK, SceneRow, State, read_state
from geoseg.jobs.batch_survey import Found, find_inputs, next_try, survey
from geoseg.jobs.lock import HeldError, hold, holder_of
from geoseg.jobs.outcome import Options
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.pipeline_options import asked_of
from geoseg.jobs.pipeline_parts import Retries
from geoseg.jobs.results import place_of, results_in
from geoseg.outputs.records import write_json
from geoseg.outputs.staging import clean_leftovers
from geoseg.scene.open import open_scene
from tests.conftest import UTM, WriteScene, read
from tests.jobs.batches import edit_state, pipeline_in, summary_of
from tests.jobs.test_run import hidden, tree
from tests.products import write_tif
from tests.scene.test_sentinel2 import STORED
from tests.scene.test_stac import item, write_assets, write_item


def stands(pipeline: Pipeline, now: datetime | None = None) -> list[Found]:
    rows, _ = read_state(pipeline.state_file)
    settings = asked_of(pipeline).settings
    return survey(pipeline, find_inputs(pipeline), rows, settings=settings, now=now or datetime.now(UTC))


def standings(pipeline: Pipeline) -> dict[str, str]:
    return {found.id: found.standing for found in stands(pipeline)}


def became(report: BatchReport) -> dict[str, str]:
    return {scene.id: scene.became for scene in report.scenes}


def quiet(_: str) -> None:
    """What is said is not looked at."""


def run(pipeline: Pipeline) -> BatchReport:
    return run_batch(pipeline, say=quiet)


def test_items_of_a_collection_are_scenes_and_an_asset_that_changes_redoes_its_own_alone(tmp_path: Path) -> None:
    items = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_assets(tmp_path / name)
        items.append(item(href=f"./{name}/{{}}.tif") | {"id": name})
    write_item(tmp_path / "search.json", {"type": "FeatureCollection", "features": items})
    pipeline = pipeline_in(tmp_path, inputs=["search.json"])
    assert standings(pipeline) == {"one": "new", "two": "new"}
    assert became(run(pipeline)) == {"one": "done", "two": "done"}
    assert set(standings(pipeline).values()) == {"done"}
    write_tif(tmp_path / "two" / "blue.tif", STORED["B02"][::-1], 10)
    assert standings(pipeline) == {"one": "done", "two": "changed"}
    assert became(run(pipeline)) == {"one": "unchanged", "two": "done"}


def break_file(path: Path) -> None:
    path.write_bytes(b"II*\0 no picture at all")


@pytest.fixture
def three(write_scene: WriteScene, tmp_path: Path) -> Pipeline:
    """A pipeline over three scenes."""
    for i, name in enumerate("abc"):
        write_scene(f"in/{name}.tif", seed=i)
    return pipeline_in(tmp_path)


def test_two_broken_files_are_quarantined_with_reasons_and_the_rest_is_done(three: Pipeline, tmp_path: Path) -> None:
    break_file(tmp_path / "in" / "broken.tif")
    (tmp_path / "in" / "empty.tif").touch()
    assert set(standings(three).values()) == {"new"}
    report = run(three)
    assert report.exit_code == 1
    assert {scene.id: scene.reason for scene in report.scenes if scene.id in "abc"} == dict.fromkeys("abc", "")
    assert became(report) == {"a": "done", "b": "done", "broken": "failed", "c": "done", "empty": "failed"}
    stand = {found.id: found for found in stands(three)}
    assert stand["broken"].standing == stand["empty"].standing == "quarantined"
    assert "cannot be opened as GTiff" in stand["broken"].reason
    assert "an empty file of 0 bytes" in stand["empty"].reason
    assert (stand["empty"].row.tries, stand["empty"].due) == (1, False)
    at = stand["empty"].next_try
    assert at is not None
    assert timedelta(hours=11.9) < at - datetime.now(UTC) < timedelta(hours=12)
    # the second run does nothing
    before = tree(three.output / "a") | tree(three.output / "b")
    again = run(three)
    assert again.exit_code == 0
    assert became(again) == {
        "a": "unchanged", "b": "unchanged", "broken": "quarantined", "c": "unchanged", "empty": "quarantined",
    }  # fmt: skip
    assert tree(three.output / "a") | tree(three.output / "b") == before
    assert set(pd.read_csv(three.output / "areas.csv").scene) == {"a", "b", "c"}
    assert not hidden(three.output)


def test_a_file_that_is_touched_or_changed_is_the_only_one_that_is_made_again(
    three: Pipeline, write_scene: WriteScene
) -> None:
    run(three)
    before = {name: tree(three.output / name) for name in "abc"}
    os.utime(write_scene("in/b.tif", seed=7))
    assert standings(three) == {"a": "done", "b": "changed", "c": "done"}
    assert became(run(three)) == {"a": "unchanged", "b": "done", "c": "unchanged"}
    assert tree(three.output / "a") == before["a"]
    assert tree(three.output / "c") == before["c"]
    assert tree(three.output / "b")["b_classes.tif"][1] != before["b"]["b_classes.tif"][1]
    assert set(standings(three).values()) == {"done"}
    assert set(pd.read_csv(three.output / "areas.csv").scene) == {"a", "b", "c"}
    # touched only: another time is another file, as for geoseg run
    os.utime(Path(three.output.parent / "in" / "c.tif"))
    assert became(run(three)) == {"a": "unchanged", "b": "unchanged", "c": "done"}


def test_a_file_that_is_rewritten_in_place_with_its_size_and_time_is_seen(three: Pipeline, tmp_path: Path) -> None:
    run(three)
    path = tmp_path / "in" / "a.tif"
    info = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert standings(three)["a"] == "changed"


def test_what_is_not_a_change_is_looked_at_and_left_alone(three: Pipeline, tmp_path: Path) -> None:
    run(three)
    before = tree(three.output / "a")
    (tmp_path / "in" / "a.tif").chmod(0o600)
    assert standings(three)["a"] == "changed"  # the inode says so; nobody has opened it yet
    assert became(run(three))["a"] == "unchanged"
    assert tree(three.output / "a") == before
    assert standings(three)["a"] == "done"


def test_another_model_or_parameter_replaces_everything_and_where_it_runs_nothing(
    three: Pipeline, tmp_path: Path
) -> None:
    run(three)
    other = pipeline_in(tmp_path, model="kmeans:4")
    assert set(standings(other).values()) == {"changed"}
    assert set(became(run(other)).values()) == {"done"}
    assert len(pd.read_csv(other.output / "areas.csv")) == 12
    faster = pipeline_in(tmp_path, model="kmeans:4", steps={"segment": {"threads": 1, "batch_size": 1}})
    assert set(standings(faster).values()) == {"done"}
    zoned = pipeline_in(tmp_path, model="kmeans:4", steps={"segment": {}, "vectorize": {"formats": ["fgb"]}})
    assert set(became(run(zoned)).values()) == {"done"}
    assert (zoned.output / "a" / "a_polygons.fgb").is_file()


def test_new_files_are_made_and_those_that_went_keep_their_results(
    three: Pipeline, write_scene: WriteScene, tmp_path: Path
) -> None:
    run(three)
    write_scene("in/more/d.tif", seed=5)
    (tmp_path / "in" / "a.tif").unlink()
    assert standings(three) == {"a": "gone", "b": "done", "c": "done", "d": "new"}
    assert became(run(three)) == {"a": "gone", "b": "unchanged", "c": "unchanged", "d": "done"}
    assert (three.output / "a" / "a_classes.tif").is_file()
    page = (three.output / "report.html").read_text("utf-8")
    assert all(told in page for told in ("1 gone", "2 unchanged", "1 done"))
    assert page.count("<figure>") == 4


def test_an_empty_folder_is_no_error_and_one_that_is_not_there_is(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pipeline = pipeline_in(tmp_path)
    said: list[str] = []
    assert run_batch(pipeline, say=said.append).exit_code == 0
    assert any("no rasters in its inputs now" in line for line in said)
    (tmp_path / "in").rmdir()
    with pytest.raises(InputError, match="there is no folder"):
        run(pipeline)
    assert summary_of(pipeline)["exit_code"] == 2
    assert "there is no folder" in summary_of(pipeline)["error"]


@pytest.mark.parametrize("loss", ["deleted", "text", "truncated", "flipped", "other format", "empty"])
def test_losing_the_state_costs_time_and_not_truth(loss: str, three: Pipeline, tmp_path: Path) -> None:
    break_file(tmp_path / "in" / "broken.tif")
    run(three)
    before = {name: tree(three.output / name) for name in "abc"}
    state = three.state_file
    data = state.read_bytes()
    if loss == "deleted":
        state.unlink()
    elif loss == "text":
        state.write_text("no database")
    elif loss == "truncated":
        state.write_bytes(data[: len(data) // 2])
    elif loss == "flipped":
        # the root page of the table of scenes
        state.write_bytes(data[:4096] + bytes(b ^ 0xFF for b in data[4096:8192]) + data[8192:])
    elif loss == "other format":
        edit_state(state, "PRAGMA user_version = 99")
    else:
        state.write_bytes(b"")
    rows, fault = read_state(state)
    assert not rows
    damaged = loss not in ("deleted", "empty")
    assert bool(fault) == damaged
    assert standings(three)["a"] == "unchecked"
    said: list[str] = []
    report = run_batch(three, say=said.append)
    assert any("damaged" in line and "begun anew" in line for line in said) == damaged
    assert became(report) == {"a": "unchanged", "b": "unchanged", "broken": "failed", "c": "unchanged"}
    assert {name: tree(three.output / name) for name in "abc"} == before
    assert standings(three) == {"a": "done", "b": "done", "broken": "quarantined", "c": "done"}
    assert (three.output / "batch.sqlite.damaged").exists() == damaged


def test_a_state_that_something_else_has_open_is_not_taken_for_damaged(
    three: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(three)
    monkeypatch.setattr(batch_state, "_PATIENCE_S", 0.1)
    browser = sqlite3.connect(three.output / "batch.sqlite", isolation_level=None)
    browser.execute("BEGIN EXCLUSIVE")
    for work in (partial(read_state, three.output / "batch.sqlite"), partial(run, three)):
        with pytest.raises(OutputError, match="database is locked; close what has it open"):
            work()
    browser.close()
    assert standings(three)["a"] == "done"
    assert not (three.output / "batch.sqlite.damaged").exists()


def test_what_a_batch_writes_of_itself_is_not_taken_for_left_over(three: Pipeline) -> None:
    report, stop = run(three), threading.Event()

    def clean() -> None:
        while not stop.is_set():
            clean_leftovers(three.output)  # as a run does that begins or ends there

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for _ in range(20):
            write_summary(report, three.summary_file)
            write_batch_page(three, asked_of(three), report.scenes)
    finally:
        stop.set()
        cleaner.join()
    assert summary_of(three)["scenes"]


def test_results_that_were_damaged_or_removed_are_made_again(three: Pipeline) -> None:
    run(three)
    (three.output / "a" / "a_areas.csv").unlink()
    (three.output / "b" / "b_classes.tif").write_bytes(b"short")
    shutil.rmtree(three.output / "c")
    assert standings(three) == {"a": "changed", "b": "changed", "c": "new"}
    assert set(became(run(three)).values()) == {"done"}
    assert set(standings(three).values()) == {"done"}


def test_a_folder_that_holds_no_results_is_never_replaced(three: Pipeline) -> None:
    (three.output / "b").mkdir(parents=True)
    (three.output / "b" / "thesis.txt").write_text("years of work")
    report = run(three)
    assert became(report) == {"a": "done", "b": "failed", "c": "done"}
    assert (three.output / "b" / "thesis.txt").read_text() == "years of work"


# --- failures: tries, back-off, release


def row(tries: int = 1, tried_at: float = 1e9, deaths: int = 0) -> SceneRow:
    return SceneRow(id="a", href="a.tif", status="failed", tries=tries, deaths=deaths, tried_at=tried_at)


def test_each_failure_doubles_the_wait_up_to_the_longest_and_the_limit_ends_it() -> None:
    retries = Retries(limit=6, backoff="12h", longest="3d")
    waits = [next_try(row(tries), retries) for tries in range(1, 8)]
    hours = [None if at is None else (at.timestamp() - 1e9) / 3600 for at in waits]
    assert hours == [12, 24, 48, 72, 72, None, None]
    assert next_try(row(40), Retries(limit=1000, backoff="30d", longest="9999d")) is not None
    assert next_try(row(999), Retries(limit=1000)) is not None


def test_a_failing_scene_is_tried_again_in_time_and_then_only_listed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    break_file(tmp_path / "in" / "x.tif")
    pipeline = pipeline_in(tmp_path, retries={"limit": 3, "backoff": "2h"})
    tries = []
    for hours in (0, 1, 1, 1, 2, 3, 30, 300):  # a clock that goes on by so much from run to run
        if pipeline.state_file.exists():
            edit_state(pipeline.state_file, "UPDATE scenes SET tried_at = tried_at - ?", 3600 * hours)
        report = run(pipeline)
        tries.append((report.scenes[0].became, report.scenes[0].tries, report.exit_code))
    assert tries == [
        ("failed", 1, 1), ("quarantined", 1, 0), ("failed", 2, 1), ("quarantined", 2, 0), ("quarantined", 2, 0),
        ("failed", 3, 1), ("quarantined", 3, 0), ("quarantined", 3, 0),
    ]  # fmt: skip
    (found,) = stands(pipeline)
    assert (found.standing, found.due, found.next_try) == ("quarantined", False, None)
    assert release(pipeline, []) == ["x"]
    assert stands(pipeline)[0].due
    assert (run(pipeline).scenes[0].became, stands(pipeline)[0].row.tries) == ("failed", 1)


def test_a_quarantined_scene_whose_file_or_model_changed_is_tried_at_once(
    write_scene: WriteScene, tmp_path: Path
) -> None:
    path = write_scene("in/x.tif")
    pixels = path.read_bytes()
    break_file(path)
    pipeline = pipeline_in(tmp_path, retries={"limit": 1})
    run(pipeline)
    assert not stands(pipeline)[0].due
    path.write_bytes(pixels)
    assert stands(pipeline)[0].due
    assert became(run(pipeline)) == {"x": "done"}
    # a model that asks for what the scene has not; with another it goes
    wrong = pipeline_in(tmp_path, model="spectral", retries={"limit": 1})
    assert became(run(wrong)) == {"x": "failed"}
    assert became(run(wrong)) == {"x": "quarantined"}
    before = tree(pipeline.output / "x")
    assert became(run(pipeline)) == {"x": "unchanged"}
    assert tree(pipeline.output / "x") == before


def test_a_clock_that_was_wrong_delays_nothing_for_long(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    break_file(tmp_path / "in" / "x.tif")
    pipeline = pipeline_in(tmp_path)
    run(pipeline)
    # it failed when the clock stood decades ahead; now the clock is right
    edit_state(pipeline.state_file, "UPDATE scenes SET tried_at = tried_at + 1e9")
    assert stands(pipeline)[0].due
    assert became(run(pipeline)) == {"x": "failed"}


def test_scenes_are_released_by_name_or_by_file(three: Pipeline, tmp_path: Path) -> None:
    for name in ("u", "v", "w"):
        break_file(tmp_path / "in" / f"{name}.tif")
    run(three)
    assert set(release(three, ["u", str(tmp_path / "in" / "v.tif")])) == {"u", "v"}
    assert {found.id for found in stands(three) if found.due} == {"u", "v"}
    with pytest.raises(InputError, match="a is no scene that failed: those are u, v, w"):
        release(three, ["a"])


def test_a_broken_file_that_is_taken_away_is_forgotten(three: Pipeline, tmp_path: Path) -> None:
    break_file(tmp_path / "in" / "x.tif")
    run(three)
    (tmp_path / "in" / "x.tif").unlink()
    assert standings(three) == {"a": "done", "b": "done", "c": "done"}
    run(three)
    assert set(read_state(three.state_file)[0]) == {"a", "b", "c"}


# --- names


def test_two_inputs_of_one_name_do_not_take_each_others_results(write_scene: WriteScene, tmp_path: Path) -> None:
    write_scene("in/y/s.tif", seed=1)
    pipeline = pipeline_in(tmp_path)
    assert became(run(pipeline)) == {"s": "done"}
    before = tree(pipeline.output / "s")
    # it sorts before the other, and must not take its place
    write_scene("in/x/S.tif", seed=2)
    write_scene("in/x/s.tif", seed=2)
    write_scene("in/areas.csv.tif", seed=2)
    report = run(pipeline)
    assert [(Path(s.href).parent.name, s.became) for s in report.scenes] == [
        ("in", "refused"), ("x", "refused"), ("x", "refused"), ("y", "unchanged"),
    ]  # fmt: skip
    assert report.exit_code == 1
    assert f"those of {tmp_path}/in/y/s.tif are" in report.scenes[2].reason
    assert "give the files different names" in report.scenes[0].reason
    assert tree(pipeline.output / "s") == before


def test_a_tree_that_was_moved_keeps_its_results(three: Pipeline, tmp_path: Path) -> None:
    run(three)
    before = {name: tree(three.output / name) for name in "abc"}
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    moved = pipeline_in(tmp_path, inputs=["elsewhere"])
    assert set(became(run(moved)).values()) == {"unchanged"}
    assert {name: tree(three.output / name) for name in "abc"} == before
    assert {r.href for r in read_state(moved.state_file)[0].values()} == {
        str(tmp_path / "elsewhere" / f"{name}.tif") for name in "abc"
    }


def test_an_output_folder_belongs_to_one_pipeline(three: Pipeline, tmp_path: Path) -> None:
    run(three)
    other = pipeline_in(tmp_path, name="other")
    with pytest.raises(InputError, match="holds the results of pipeline 'small', not of 'other'"):
        run(other)


# --- deadline, groups, death


def test_after_the_deadline_nothing_is_begun_and_the_next_run_goes_on(three: Pipeline, tmp_path: Path) -> None:
    late = pipeline_in(tmp_path, deadline="0s")
    report = run(late)
    assert (report.exit_code, became(report)) == (3, {"a": "left", "b": "left", "c": "left"})
    assert summary_of(late)["counts"]["left"] == 3
    # one scene at a time, and a deadline that passes with the first
    slow = pipeline_in(tmp_path, deadline="0.1s", concurrency=1)
    report = run_batch(slow, say=quiet, listen=lambda event: _wait() if event.kind == "planned" else None)
    assert (report.exit_code, became(report)) == (3, {"a": "done", "b": "left", "c": "left"})
    assert became(run(three)) == {"a": "unchanged", "b": "done", "c": "done"}
    assert became(run(late)) == dict.fromkeys("abc", "unchanged")


def _wait() -> None:
    time.sleep(0.15)


def test_scenes_that_a_run_died_with_are_tried_last_and_alone_and_not_for_ever(three: Pipeline, tmp_path: Path) -> None:
    limited = pipeline_in(tmp_path, retries={"limit": 2})

    def die(event: Any) -> None:
        if event.kind == "planned" and event.scene == "b":
            raise _DiedError

    for death in (1, 2):
        with pytest.raises(_DiedError):
            run_batch(limited, say=quiet, listen=die)
        # as kill -9 leaves it: an error would have been tidied up
        edit_state(limited.state_file, "UPDATE scenes SET under_way = 1 WHERE id = 'b'")
        assert read_state(limited.state_file)[0]["b"].deaths == death - 1
    said: list[str] = []
    report = run_batch(limited, say=said.append, listen=die)
    assert any("died while these were under way: b" in line for line in said)
    assert became(report) == {"a": "unchanged", "b": "quarantined", "c": "unchanged"}
    (found,) = [f for f in stands(limited) if f.id == "b"]
    assert "2 runs died while it was under way alone" in found.reason
    release(limited, ["b"])
    assert became(run(limited))["b"] == "done"


class _DiedError(RuntimeError):
    pass


def test_results_of_a_run_that_died_before_it_noted_them_are_its_own(three: Pipeline) -> None:
    run(three)
    edit_state(three.state_file, "UPDATE scenes SET status = 'begun', under_way = 1, key = '', own = 0 WHERE id = 'a'")
    assert standings(three)["a"] == "unchecked"
    assert became(run(three))["a"] == "unchanged"
    assert read_state(three.state_file)[0]["a"].own


# --- two at once


def test_a_second_run_says_who_holds_the_folder_and_does_nothing(three: Pipeline) -> None:
    with hold(three.output, BATCH_LOCK):
        holder = holder_of(three.output, BATCH_LOCK)
        assert holder is not None
        assert holder.pid == os.getpid()
        before = tree(three.output)
        with pytest.raises(HeldError, match=rf"process {os.getpid()} of \S+ on \S+, since 20"):
            run(three)
        assert tree(three.output) == before
        with pytest.raises(HeldError):
            release(three, [])
    assert holder_of(three.output, BATCH_LOCK) is None
    assert run(three).exit_code == 0
    assert not hidden(three.output)


def test_a_lock_that_a_dead_process_left_holds_nobody_up(three: Pipeline) -> None:
    three.output.mkdir()
    (three.output / ".batch.lock").write_text('{"pid": 1, "host": "x", "since": "2020"}')
    assert holder_of(three.output, BATCH_LOCK) is None
    assert run(three).exit_code == 0


# --- what is left


def test_the_summary_says_what_became_of_each_scene(three: Pipeline, tmp_path: Path) -> None:
    break_file(tmp_path / "in" / "x.tif")
    run(three)
    summary = summary_of(three)
    assert (summary["pipeline"], summary["exit_code"], summary["interrupted"]) == ("small", 1, False)
    assert summary["counts"] | {"done": 3, "failed": 1} == summary["counts"]
    (failed,) = [s for s in summary["scenes"] if s["became"] == "failed"]
    assert failed["input"] == str(tmp_path / "in" / "x.tif")
    assert "cannot be opened" in failed["reason"]
    assert datetime.fromisoformat(failed["next_try"]) > datetime.now(UTC)
    run(three)
    assert [s["became"] for s in summary_of(three)["scenes"]] == ["quarantined"]


def metrics_of(path: Path) -> dict[str, float]:
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_are_in_the_text_format_of_prometheus(three: Pipeline, tmp_path: Path) -> None:
    break_file(tmp_path / "in" / "x.tif")
    metered = pipeline_in(tmp_path, metrics="collect/small.prom")
    run(metered)
    path = tmp_path / "collect" / "small.prom"
    found = metrics_of(path)
    label = 'pipeline="small"'
    assert found[f'geoseg_batch_scenes{{{label},standing="done"}}'] == 3
    assert found[f'geoseg_batch_scenes{{{label},standing="quarantined"}}'] == 1
    assert found[f'geoseg_batch_last_run_scenes{{{label},became="failed"}}'] == 1
    assert found[f"geoseg_batch_last_run_exit_code{{{label}}}"] == 1
    assert found[f"geoseg_batch_last_run_pixels{{{label}}}"] == 3 * 70 * 90
    assert found[f"geoseg_batch_last_success_timestamp_seconds{{{label}}}"] == 0
    assert abs(found[f"geoseg_batch_last_run_timestamp_seconds{{{label}}}"] - datetime.now(UTC).timestamp()) < 300
    run(metered)
    again = metrics_of(path)
    assert again[f"geoseg_batch_last_success_timestamp_seconds{{{label}}}"] > 1.7e9
    assert again[f'geoseg_batch_last_run_scenes{{{label},became="unchanged"}}'] == 3
    # the collector reads every .prom, hidden ones too: none may ever be there half written
    assert [p.name for p in path.parent.iterdir()] == ["small.prom"]
    helped = [line.split()[2] for line in path.read_text("utf-8").splitlines() if line.startswith("# TYPE")]
    assert len(helped) == len(set(helped)) == len({name.split("{")[0] for name in again})


def test_polygons_zones_and_every_other_step_reach_the_results(three: Pipeline, tmp_path: Path) -> None:
    import geopandas as gpd
    from shapely import box

    left, top = UTM @ (0, 0)
    gpd.GeoDataFrame({"name": ["west"]}, geometry=[box(left, top - 700, left + 450, top)], crs=32633).to_file(
        tmp_path / "zones.gpkg"
    )
    steps = {
        "segment": {"probabilities": True, "window": 64},
        "vectorize": {"formats": ["gpkg", "fgb"], "min_area": "9px", "smooth": True},
        "areas": {"zones": "zones.gpkg", "zone_id": "name"},
    }
    full = pipeline_in(tmp_path, steps=steps)
    assert run(full).exit_code == 0
    folder = full.output / "a"
    assert {p.name for p in folder.iterdir()} >= {
        "a_classes.tif", "a_probabilities.tif", "a_polygons.gpkg", "a_polygons.fgb", "a_areas.csv", "a_zones.csv",
    }  # fmt: skip
    assert set(pd.read_csv(folder / "a_zones.csv").zone) == {"west"}
    parameters = json.loads((folder / "a.json").read_text("utf-8"))["properties"]["geoseg:parameters"]
    assert (parameters["window"], parameters["smooth"]) == (64, True)
    assert parameters["min_area"] == {"kind": "px", "amount": 9.0}
    assert set(np.unique(read(folder / "a_classes.tif"))) == {1, 2, 3}


def test_a_place_is_the_same_by_the_scene_and_by_its_results(write_scene: WriteScene, tmp_path: Path) -> None:
    from tests.cli.test_run import GRIDS

    for i, (crs, transform) in enumerate(GRIDS.values()):
        write_scene(f"in/s{i}.tif", crs=crs, transform=transform)
    pipeline = pipeline_in(tmp_path)
    assert run(pipeline).exit_code == 0
    places = []
    for i in range(len(GRIDS)):
        results = results_in(pipeline.output / f"s{i}")
        assert results is not None
        assert results.place == place_of(open_scene(tmp_path / "in" / f"s{i}.tif").geobox)
        places.append(results.place)
    assert len(set(places)) == len(GRIDS)


def test_an_end_that_was_asked_for_blames_no_scene(three: Pipeline) -> None:
    def interrupt(event: Any) -> None:
        if event.kind == "planned":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(three, say=quiet, listen=interrupt)
    assert (summary_of(three)["interrupted"], summary_of(three)["exit_code"]) == (True, 130)
    rows = read_state(three.state_file)[0].values()
    assert not any(r.under_way for r in rows)
    assert set(became(run(three)).values()) == {"done"}
    assert not any(r.deaths for r in read_state(three.state_file)[0].values())


def test_a_state_that_cannot_be_written_ends_the_run_with_the_reason(three: Pipeline) -> None:
    run(three)
    with sqlite3.connect(three.state_file) as other:
        other.execute("BEGIN IMMEDIATE")
        # another program that holds the file
        with State.open(three.state_file, "small") as state:
            state._connection.execute("PRAGMA busy_timeout = 10")
            with pytest.raises(GeosegError, match=r"cannot write the state file .*batch.sqlite: database is locked"):
                state.put([row()])
    other.close()


def test_options_are_those_of_a_plain_run_where_nothing_is_said(three: Pipeline) -> None:
    assert asked_of(three).options == replace(Options(), formats=())


def test_nothing_but_results_that_are_whole_are_results(three: Pipeline, tmp_path: Path) -> None:
    run(three)
    folder = three.output / "a"
    assert results_in(folder) is not None
    item = json.loads((folder / "a.json").read_text("utf-8"))
    damages: tuple[Any, ...] = ([], {}, {"properties": {}}, item | {"assets": None}, item | {"properties": None})
    for damage in damages:
        write_json(folder / "a.json", damage)
        assert results_in(folder) is None
    assert results_in(tmp_path) is None


def test_what_is_made_is_what_geoseg_run_makes(three: Pipeline, tmp_path: Path) -> None:
    from geoseg.jobs.cluster import connect
    from geoseg.jobs.run import run as run_scenes

    run(three)
    asked = asked_of(three)
    with connect() as pool:
        run_scenes([str(tmp_path / "in" / "a.tif")], tmp_path / "plain", asked.model, asked.options, pool=pool)
    np.testing.assert_array_equal(read(three.output / "a" / "a_classes.tif"), read(tmp_path / "plain/a/a_classes.tif"))
    assert (three.output / "a" / "a_areas.csv").read_bytes() == (tmp_path / "plain/a/a_areas.csv").read_bytes()
