"""The step of change in batches: each date against the previous one of its place, and only what is new or changed."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from affine import Affine

from geoseg.errors import GeosegError, InputError
from geoseg.jobs.batch import run_batch
from geoseg.jobs.batch_pairs import FoundPair, survey_pairs
from geoseg.jobs.batch_report import BatchReport
from geoseg.jobs.batch_retry import release
from geoseg.jobs.batch_state import PairRow, SceneRow, State, read_pairs, read_state
from geoseg.jobs.change import change_pair
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.pipeline_options import asked_of
from tests.conftest import UTM, WriteScene
from tests.jobs.batches import edit_state, pipeline_in, summary_of
from tests.jobs.test_batch import became, break_file, metrics_of, quiet, standings
from tests.jobs.test_run import hidden, tree

STEPS: dict[str, Any] = {"segment": {}, "change": {"formats": []}}
SMALL = (24, 30)
AB, BC, AC = "p_20190601_20200601", "p_20200601_20210601", "p_20190601_20210601"
Q = "q_20190601_20210601"


def run(pipeline: Pipeline) -> BatchReport:
    return run_batch(pipeline, say=quiet)


def pairs_of(report: BatchReport) -> dict[str, str]:
    assert report.pairs is not None
    return {pair.id.removeprefix("change/"): pair.became for pair in report.pairs}


def stands(pipeline: Pipeline, moving: tuple[str, ...] = ()) -> dict[str, FoundPair]:
    scenes, rows = read_state(pipeline.state_file)[0], read_pairs(pipeline.state_file)
    change = asked_of(pipeline).change
    assert change is not None
    found = survey_pairs(pipeline, scenes, rows, settings=change.key(()), now=datetime.now(UTC), moving=moving)
    return {pair.row.id: pair for pair in found}


def standing(pipeline: Pipeline) -> dict[str, str]:
    return {name: pair.standing for name, pair in stands(pipeline).items()}


@pytest.fixture
def write(write_scene: WriteScene, tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a scene of the place p, or of another."""

    def write(name: str, **changes: Any) -> Path:
        seed = sum(name.encode())
        (tmp_path / "in" / f"{name}.tif").unlink(missing_ok=True)  # GDAL opens what it replaces
        return write_scene(f"in/{name}.tif", **{"shape": SMALL, "seed": seed} | changes)

    return write


@pytest.fixture
def dates(write: Callable[..., Path], tmp_path: Path) -> Pipeline:
    """A pipeline over three dates of one place, written in no order."""
    for name in ("p_20210601", "p_20190601", "p_20200601"):
        write(name)
    return pipeline_in(tmp_path, steps=STEPS)


def elsewhere() -> Affine:
    return UTM @ Affine.translation(500, 0)


def test_each_date_is_compared_with_the_previous_one_and_only_what_changed_is_compared_again(
    dates: Pipeline, write: Callable[..., Path]
) -> None:
    for name in ("q_20190601", "q_20210601", "alone_20200601"):
        write(name, transform=elsewhere() if name[0] == "q" else UTM @ Affine.translation(0, 900))
    first = run(dates)
    assert first.exit_code == 0
    assert pairs_of(first) == dict.fromkeys((AB, BC, Q), "done")
    folder = dates.output / "change"
    assert set(pd.read_csv(folder / "change.csv").scene) == {AB, BC, Q}
    assert not hidden(dates.output)
    assert not hidden(folder)
    # what geoseg change makes of them
    before, after = (dates.output / f"p_20{year}0601" for year in (19, 20))
    plain = change_pair(before, after, dates.output.parent / "plain" / AB, asked_of(dates).change)
    assert (plain.folder / f"{AB}_pairs.csv").read_bytes() == (folder / AB / f"{AB}_pairs.csv").read_bytes()
    assert (plain.folder / f"{AB}_change.tif").read_bytes() == (folder / AB / f"{AB}_change.tif").read_bytes()
    # the second run does nothing
    trees = {name: tree(folder / name) for name in (AB, BC, Q)}
    again = run(dates)
    assert (again.exit_code, set(pairs_of(again).values())) == (0, {"unchanged"})
    assert {name: tree(folder / name) for name in trees} == trees
    # the last date of one place is made anew: the pair that it is in, and no other
    write("p_20210601", seed=77)
    assert {name: pair.standing for name, pair in stands(dates, ("p_20210601",)).items()} == {
        AB: "done", BC: "changed", Q: "done",
    }  # fmt: skip
    third = run(dates)
    assert {k: v for k, v in became(third).items() if v != "unchanged"} == {"p_20210601": "done"}
    assert pairs_of(third) == {AB: "unchanged", BC: "done", Q: "unchanged"}
    assert {name: tree(folder / name) for name in (AB, Q)} == {name: trees[name] for name in (AB, Q)}
    assert standing(dates) == dict.fromkeys((AB, BC, Q), "done")


def test_a_scene_that_is_touched_redoes_the_pairs_on_either_side_of_it(dates: Pipeline) -> None:
    run(dates)
    os.utime(dates.output.parent / "in" / "p_20200601.tif")
    assert pairs_of(run(dates)) == {AB: "done", BC: "done"}


def test_other_rules_of_change_redo_the_pairs_and_leave_the_scenes_alone(dates: Pipeline, tmp_path: Path) -> None:
    run(dates)
    tolerant = pipeline_in(tmp_path, steps={"segment": {}, "change": {"formats": ["fgb"], "tolerance": 1}})
    assert set(standing(tolerant).values()) == {"changed"}
    report = run(tolerant)
    assert set(became(report).values()) == {"unchanged"}
    assert set(pairs_of(report).values()) == {"done"}
    assert (tolerant.output / "change" / AB / f"{AB}_polygons.fgb").is_file()
    # a pipeline without the step leaves them, and tells nothing of them
    plain = pipeline_in(tmp_path)
    report = run(plain)
    assert report.pairs is None
    assert "pairs" not in summary_of(plain)
    assert (tolerant.output / "change" / AB / f"{AB}_change.tif").is_file()


def test_a_pair_that_fails_does_not_stop_the_others_and_is_tried_again_in_time(dates: Pipeline, tmp_path: Path) -> None:
    foreign = dates.output / "change" / AB
    foreign.mkdir(parents=True)
    (foreign / "thesis.txt").write_text("years of work")
    metered = pipeline_in(tmp_path, steps=STEPS, metrics="collect/small.prom")
    report = run(metered)
    assert report.exit_code == 1
    assert pairs_of(report) == {AB: "failed", BC: "done"}
    assert (foreign / "thesis.txt").read_text() == "years of work"
    told = summary_of(metered)
    assert told["pair_counts"]["failed"] == told["pair_counts"]["done"] == 1
    (failed,) = [pair for pair in told["pairs"] if pair["became"] == "failed"]
    assert (failed["id"], failed["before"], failed["after"]) == (f"change/{AB}", "p_20190601", "p_20200601")
    assert "holds no results of geoseg" in failed["reason"]
    assert datetime.fromisoformat(failed["next_try"]) > datetime.now(UTC)
    label, found = 'pipeline="small"', metrics_of(tmp_path / "collect" / "small.prom")
    assert found[f'geoseg_batch_pairs{{{label},standing="done"}}'] == 1
    assert found[f'geoseg_batch_pairs{{{label},standing="quarantined"}}'] == 1
    assert found[f'geoseg_batch_last_run_pairs{{{label},became="failed"}}'] == 1
    again = run(metered)
    assert (again.exit_code, pairs_of(again)) == (0, {AB: "quarantined", BC: "unchanged"})
    assert set(pd.read_csv(dates.output / "change" / "change.csv").scene) == {BC}
    shutil.rmtree(foreign)
    with pytest.raises(InputError, match=rf"those are change/{AB}"):
        release(dates, [AC])
    assert release(dates, [f"change/{AB}"]) == [f"change/{AB}"]
    assert stands(dates)[AB].due
    assert pairs_of(run(metered)) == {AB: "done", BC: "unchanged"}
    assert set(pd.read_csv(dates.output / "change" / "change.csv").scene) == {AB, BC}


def test_neighbours_of_a_date_that_fails_wait_for_it_and_are_not_compared_over_it(
    dates: Pipeline, write: Callable[..., Path]
) -> None:
    run(dates)
    before = tree(dates.output / "change" / AB)
    break_file(dates.output.parent / "in" / "p_20200601.tif")
    report = run(dates)
    assert report.exit_code == 1
    assert pairs_of(report) == {AB: "waiting", BC: "waiting"}
    assert standing(dates) == {AB: "waiting", BC: "waiting"}
    assert stands(dates)[AB].reason == "p_20200601 has no finished results now"
    assert tree(dates.output / "change" / AB) == before
    write("p_20200601", seed=5)
    assert pairs_of(run(dates)) == {AB: "done", BC: "done"}


def test_a_date_that_comes_in_between_makes_two_pairs_of_one_whose_results_stay(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write("p_20190601")
    write("p_20210601")
    pipeline = pipeline_in(tmp_path, steps=STEPS)
    assert pairs_of(run(pipeline)) == {AC: "done"}
    write("p_20200601")
    assert pairs_of(run(pipeline)) == {AB: "done", BC: "done", AC: "gone"}
    assert (pipeline.output / "change" / AC / f"{AC}_change.tif").is_file()
    # the same change is not counted twice
    assert set(pd.read_csv(pipeline.output / "change" / "change.csv").scene) == {AB, BC}
    # nor is it lost where the dates are as they were
    (tmp_path / "in" / "p_20200601.tif").unlink()
    shutil.rmtree(pipeline.output / "p_20200601")
    assert pairs_of(run(pipeline)) == {AC: "unchanged", AB: "gone", BC: "gone"}


def test_the_change_to_a_date_is_kept_as_long_as_the_date_is(write: Callable[..., Path], tmp_path: Path) -> None:
    pipeline = pipeline_in(tmp_path, steps=STEPS, retention={"keep_dates": 1})
    write("p_20190601")
    assert pairs_of(run(pipeline)) == {}
    write("p_20200601")
    report = run(pipeline)
    assert pairs_of(report) == {AB: "done"}
    assert became(report) == {"p_20190601": "retired", "p_20200601": "done"}
    assert pairs_of(run(pipeline)) == {AB: "unchanged"}
    write("p_20210601")
    assert pairs_of(run(pipeline)) == {BC: "done", AB: "retired"}
    assert not (pipeline.output / "change" / AB).exists()
    assert set(pd.read_csv(pipeline.output / "change" / "change.csv").scene) == {BC}
    assert pairs_of(run(pipeline)) == {BC: "unchanged"}
    assert set(read_pairs(pipeline.state_file)) == {BC}


def test_damaged_lost_and_unknown_results_are_made_again_or_compared_and_left(dates: Pipeline) -> None:
    run(dates)
    folder = dates.output / "change"
    (folder / AB / f"{AB}_change.tif").write_bytes(b"short")
    assert standing(dates) == {AB: "changed", BC: "done"}
    assert pairs_of(run(dates)) == {AB: "done", BC: "unchanged"}
    shutil.rmtree(folder / BC)
    assert standing(dates) == {AB: "done", BC: "new"}
    assert pairs_of(run(dates)) == {AB: "unchanged", BC: "done"}
    trees = {name: tree(folder / name) for name in (AB, BC)}
    dates.state_file.unlink()
    assert set(standings(dates).values()) == {"unchecked"}
    report = run(dates)
    assert pairs_of(report) == {AB: "unchanged", BC: "unchanged"}
    assert {name: tree(folder / name) for name in (AB, BC)} == trees
    assert not any(row.own for row in read_pairs(dates.state_file).values())


def test_a_state_file_of_before_there_were_pairs_is_taken_up(dates: Pipeline, tmp_path: Path) -> None:
    run(pipeline_in(tmp_path))
    edit_state(dates.state_file, "DROP TABLE pairs")
    rows, fault = read_state(dates.state_file)
    assert (len(rows), fault, read_pairs(dates.state_file)) == (3, "", {})
    report = run(dates)
    assert set(became(report).values()) == {"unchanged"}
    assert pairs_of(report) == {AB: "done", BC: "done"}


def test_after_the_deadline_no_pair_is_begun(dates: Pipeline, tmp_path: Path) -> None:
    run(pipeline_in(tmp_path))
    late = pipeline_in(tmp_path, steps=STEPS, deadline="0s")
    said: list[str] = []
    report = run_batch(late, say=said.append)
    assert (report.exit_code, pairs_of(report)) == (3, {AB: "left", BC: "left"})
    assert said == ["the deadline of 0s has passed: 2 pairs of dates are left for the next run"]
    assert summary_of(late)["pair_counts"]["left"] == 2
    assert pairs_of(run(dates)) == {AB: "done", BC: "done"}


def test_pairs_that_a_run_died_with_are_tried_last_and_alone_and_not_for_ever(dates: Pipeline, tmp_path: Path) -> None:
    limited = pipeline_in(tmp_path, steps=STEPS, retries={"limit": 2})
    run(limited)
    # as kill -9 leaves it between the last rename and the note
    edit_state(
        limited.state_file, "UPDATE pairs SET status = 'begun', under_way = 1, key = '', own = 0 WHERE id = ?", AB
    )
    said: list[str] = []
    report = run_batch(limited, say=said.append)
    assert any(f"died while these were under way: change/{AB}" in line for line in said)
    assert pairs_of(report) == {AB: "unchanged", BC: "unchanged"}
    assert read_pairs(limited.state_file)[AB].own
    edit_state(limited.state_file, "UPDATE pairs SET status = 'begun', under_way = 1, deaths = 1 WHERE id = ?", AB)
    report = run(limited)
    assert pairs_of(report) == {AB: "quarantined", BC: "unchanged"}
    assert "2 runs died while it was under way alone" in stands(limited)[AB].reason
    assert release(limited, []) == [f"change/{AB}"]
    assert pairs_of(run(limited)) == {AB: "unchanged", BC: "unchanged"}


def test_an_end_that_was_asked_for_leaves_pairs_for_the_next_run(dates: Pipeline) -> None:
    def interrupt(event: Any) -> None:
        if event.kind == "done" and event.scene == f"change/{AB}":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(dates, say=quiet, listen=interrupt)
    told = summary_of(dates)
    assert (told["interrupted"], told["pair_counts"]["done"], told["pair_counts"]["left"]) == (True, 1, 1)
    assert not any(row.under_way for row in read_pairs(dates.state_file).values())
    assert pairs_of(run(dates)) == {AB: "unchanged", BC: "done"}
    assert not any(row.deaths for row in read_pairs(dates.state_file).values())


def test_a_scene_called_change_is_refused_where_its_folder_is_needed(
    dates: Pipeline, write: Callable[..., Path], tmp_path: Path
) -> None:
    write("Change")
    report = run(dates)
    assert became(report)["Change"] == "refused"
    assert pairs_of(report) == {AB: "done", BC: "done"}
    (refused,) = [scene for scene in report.scenes if scene.became == "refused"]
    assert "its results would go to Change, where those of the batch itself are" in refused.reason
    assert became(run(pipeline_in(tmp_path, output="other")))["Change"] == "done"


def scene_row(name: str, day: int, place: str = "p") -> SceneRow:
    return SceneRow(id=name, href=name, status="done", place=place, acquired=f"2020-01-{day:02}")


def test_pairs_have_names_of_their_own_and_keep_them(dates: Pipeline) -> None:
    scenes = {
        row.id: row
        for row in (scene_row("a_b", 1), scene_row("c_d", 2), scene_row("a", 3, "x"), scene_row("b_c_d", 4, "x"))
    }

    def named(rows: dict[str, PairRow]) -> dict[tuple[str, str], str]:
        found = survey_pairs(dates, scenes, rows, settings="", now=datetime.now(UTC))
        return {(pair.row.before, pair.row.after): pair.row.id for pair in found}

    names = named({})
    first, second = names["a_b", "c_d"], names["a", "b_c_d"]
    assert first == "a_b_c_d"
    assert second.startswith("a_b_c_d_")
    rows = {second: PairRow(id=second, before="a", after="b_c_d", status="failed")}
    assert named(rows) == names
    # whoever has the name keeps it
    rows = {first: PairRow(id=first, before="a", after="b_c_d", status="failed")}
    other = named(rows)
    assert other["a", "b_c_d"] == first
    assert other["a_b", "c_d"].startswith(f"{first}_")


def test_tables_zones_and_classes_that_cannot_be_used_are_named_with_the_line(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    likely, rows = {"probabilities": True}, "plausible: the table of plausible transitions names 'nowhere', which is no"
    wrong = [
        ({"plausible": "table.csv"}, "from,to,plausible\nnowhere,*,no\n", rows),
        ({"crosswalk": "table.csv"}, "from,to\nnowhere,x\n", "crosswalk: the crosswalk names 'nowhere'"),
        ({"crosswalk": "nothing.csv"}, "", r"crosswalk: .*nothing.csv"),
        (likely | {"prior": "table.csv"}, "from,to,share\n*,nowhere,1\n", "prior: the prior names"),
        (likely | {"costs": "table.csv"}, "from,to,cost\n*,nowhere,1\n", "costs: the table of costs names"),
        (likely | {"costs": "table.csv"}, "from,to,cost\n*,*,0\n", "costs: a cost of 0"),
        ({"zones": "nothing.gpkg", "zone_id": "name"}, "", "zones: .*nothing.gpkg"),
    ]
    for change, text, why in wrong:
        table.write_text(text, encoding="utf-8")
        pipeline = pipeline_in(tmp_path, steps={"segment": {"probabilities": True}, "change": change})
        with pytest.raises(GeosegError, match=rf"pipeline.yaml, line \d+: steps.change.{why}"):
            asked_of(pipeline)


def test_every_key_of_the_step_reaches_the_comparison(tmp_path: Path) -> None:
    tables = {
        "crosswalk": "from,to\ncluster 1,cluster 2\n",
        "plausible": "from,to,plausible\ncluster 1,*,no\n",
        "prior": "from,to,share\n*,*,1\n",
        "costs": "from,to,cost\n*,*,2\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    import geopandas as gpd
    from shapely import box

    gpd.GeoDataFrame({"name": ["a"]}, geometry=[box(0, 0, 1, 1)], crs=32633).to_file(tmp_path / "z.gpkg")

    def key(**change: Any) -> str:
        options = asked_of(pipeline_in(tmp_path, steps={"segment": {"probabilities": True}, "change": change})).change
        assert options is not None
        assert options.overwrite
        return options.key(())

    likely = {"probabilities": True}
    steps: list[dict[str, Any]] = [
        {}, {"tolerance": 1}, {"align": True}, {"crosswalk": "crosswalk.csv"}, {"plausible": "plausible.csv"}, likely,
        likely | {"prior": 0.2}, likely | {"prior": "prior.csv"}, likely | {"costs": "costs.csv"}, {"formats": []},
        {"min_area": "9px"}, {"smooth": True}, {"simplify": "1px"}, {"connectivity": 8}, {"picture": True},
        {"strata_buffer": 2}, {"zones": "z.gpkg", "zone_id": "name"},
    ]  # fmt: skip
    keys = [key(**step) for step in steps]
    assert len(set(keys)) == len(keys)
    assert key(**likely, prior=0.05) == key(**likely)


def test_rows_of_both_kinds_are_written_together_or_not_at_all(dates: Pipeline) -> None:
    dates.output.mkdir()
    good = PairRow(id="a_b", before="a", after="b", status="done")
    with State.open(dates.state_file, "small") as state:
        with pytest.raises(GeosegError, match="cannot write the state file"):
            state.put([good, scene_row("a", 1), replace(good, reason={})])  # type: ignore[arg-type] # not text
        assert not state.pairs()
        assert not state.rows()
        state.put([good, scene_row("a", 1)])
        assert (set(state.pairs()), set(state.rows())) == ({"a_b"}, {"a"})
