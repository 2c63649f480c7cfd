"""`geoseg batch` as a command: what it prints, what it leaves, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
import yaml

from geoseg.jobs.batch_state import BATCH_LOCK
from geoseg.jobs.lock import hold
from tests.commands import Forks
from tests.conftest import Command, WriteScene, read
from tests.jobs.batches import edit_state, write_pipeline
from tests.jobs.test_batch import break_file
from tests.jobs.test_run import hidden, tree

SAMPLE = Path(__file__).parents[2] / "sample_data"


def standing(out: str) -> dict[str, str]:
    lines = [line.split(",") for line in out.splitlines()]
    return {line[0]: line[1] for line in lines[1:]}


@pytest.fixture
def file(write_scene: WriteScene, tmp_path: Path) -> Path:
    """A pipeline file over two scenes and a broken file."""
    write_scene("in/a.tif")
    write_scene("in/b.tif", seed=1)
    break_file(tmp_path / "in" / "x.tif")
    return write_pipeline(tmp_path)


def test_a_first_run_a_second_and_a_change_and_status_tells_all_that(
    file: Path, write_scene: WriteScene, geoseg_command: Command
) -> None:
    assert standing(geoseg_command("batch", "status", file).out) == {"a": "new", "b": "new", "x": "new"}
    first = geoseg_command("batch", "run", file)
    assert first.code == 1
    assert standing(first.out) == {"a": "done", "b": "done", "x": "failed"}
    assert "error: " in first.err
    assert "x.tif: cannot be opened as GTiff" in first.err
    assert "small: 2 done, 1 failed in " in first.err
    status = geoseg_command("batch", "status", file)
    assert status.code == 0
    assert standing(status.out) == {"a": "done", "b": "done", "x": "quarantined"}
    second = geoseg_command("batch", "run", file)
    assert second.code == 0
    assert standing(second.out) == {"x": "quarantined"}
    write_scene("in/b.tif", seed=5)
    assert standing(geoseg_command("batch", "status", file).out)["b"] == "changed"
    third = geoseg_command("batch", "run", file)
    assert standing(third.out) == {"b": "done", "x": "quarantined"}
    assert third.code == 0


def test_status_as_json_tells_reasons_tries_and_the_next_try(file: Path, geoseg_command: Command) -> None:
    geoseg_command("batch", "run", file)
    rows = {row["scene"]: row for row in json.loads(geoseg_command("batch", "status", file, "--json").out)}
    assert rows["a"]["next_try"] is None
    assert (rows["x"]["standing"], rows["x"]["tries"], rows["x"]["due"]) == ("quarantined", 1, False)
    assert rows["x"]["next_try"].endswith("Z")
    assert "cannot be opened" in rows["x"]["reason"]
    assert rows["x"]["input"] == str(file.parent / "in" / "x.tif")
    edit_state(file.parent / "out" / "batch.sqlite", "UPDATE scenes SET tries = 5 WHERE id = 'x'")
    rows = {row["scene"]: row for row in json.loads(geoseg_command("batch", "status", file, "--json").out)}
    assert rows["x"]["next_try"] == "never"
    released = geoseg_command("batch", "retry", file, "x")
    assert (released.code, released.out) == (0, "x\n")
    rows = {row["scene"]: row for row in json.loads(geoseg_command("batch", "status", file, "--json").out)}
    assert (rows["x"]["next_try"], rows["x"]["due"]) == ("next run", True)
    unknown = geoseg_command("batch", "retry", file, "a")
    assert unknown.code == 2
    assert "a is no scene that failed: those are x" in unknown.err


def test_status_changes_nothing_and_needs_neither_network_nor_rasters_to_be_opened(
    file: Path, geoseg_command: Command
) -> None:
    geoseg_command("batch", "run", file, "-q")
    before = tree(file.parent)
    code = (
        "import sys\n"
        "from geoseg.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "sys.exit(', '.join({'torch', 'distributed', 'segmentation_models_pytorch'} & set(sys.modules)) or 0)\n"
    )
    for words in (["batch", "status", str(file)], ["batch", "validate", str(file)]):
        ended = subprocess.run([sys.executable, "-P", "-c", code, *words], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
    assert tree(file.parent) == before


def test_a_damaged_state_is_said_by_status_and_by_run(file: Path, geoseg_command: Command) -> None:
    geoseg_command("batch", "run", file)
    state = file.parent / "out" / "batch.sqlite"
    state.write_text("not a database")
    status = geoseg_command("batch", "status", file)
    assert "is damaged" in status.err
    assert standing(status.out) == {"a": "unchecked", "b": "unchecked", "x": "new"}
    ended = geoseg_command("batch", "run", file)
    assert "begun anew" in ended.err
    assert standing(ended.out) == {"x": "failed"}


def test_a_run_beside_another_ends_with_2_and_says_who_it_is(file: Path, geoseg_command: Command) -> None:
    with hold(file.parent / "out", BATCH_LOCK):
        ended = geoseg_command("batch", "run", file)
        assert ended.code == 2
        assert f": process {os.getpid()} of " in ended.err
        assert ", since 20" in ended.err
        assert f"a run is on: process {os.getpid()}" in geoseg_command("batch", "status", file).err
    assert not hidden(file.parent / "out")


def test_two_runs_started_at_once_do_no_harm(file: Path, forked: Forks) -> None:
    runs = [forked.start("batch", "run", file) for _ in range(2)]
    ended = [run.end() for run in runs]
    codes = sorted(run.code for run in ended)
    # the second was refused, or came when the first was through
    assert codes in ([1, 2], [0, 1]), ended
    if codes == [1, 2]:
        assert any(": process " in run.err for run in ended if run.code == 2)
    rows = pd.read_csv(file.parent / "out" / "areas.csv")
    assert set(rows.scene) == {"a", "b"}
    assert not hidden(file.parent / "out")


def test_a_run_that_is_terminated_goes_on_the_next_time_and_blames_nobody(
    write_scene: WriteScene, tmp_path: Path, forked: Forks, geoseg_command: Command
) -> None:
    for i in range(12):
        write_scene(f"in/s{i:02}.tif", seed=i, shape=(400, 400))
    file = write_pipeline(tmp_path, {"concurrency": 1, "steps": {"segment": {}, "vectorize": {}}})
    process = forked.start("batch", "run", file)
    process.wait_for("s02: done")
    process.send(signal.SIGTERM)
    ended = process.end(timeout=100)
    assert ended.code == 143
    assert "terminated: finished blocks are kept, and the same command goes on from there" in ended.err
    summary = json.loads((tmp_path / "out" / "batch.json").read_text("utf-8"))
    assert summary["interrupted"] is True
    done, left = summary["counts"]["done"], summary["counts"]["left"]
    assert done >= 2  # the last is said to be done an instant before it is noted
    assert done + left == 12
    again = geoseg_command("batch", "run", file)
    assert again.code == 0, again.err
    summary = json.loads((tmp_path / "out" / "batch.json").read_text("utf-8"))
    assert summary["counts"]["done"] + summary["counts"]["unchanged"] == 12
    assert summary["counts"]["unchanged"] >= done
    assert "died" not in again.err
    assert not hidden(tmp_path / "out")


def test_a_run_that_is_killed_goes_on_the_next_time(
    write_scene: WriteScene, tmp_path: Path, forked: Forks, geoseg_command: Command
) -> None:
    for i in range(6):
        write_scene(f"in/s{i:02}.tif", seed=i, shape=(400, 400))
    file = write_pipeline(tmp_path, {"concurrency": 2, "steps": {"segment": {}, "vectorize": {}}})
    process = forked.start("batch", "run", file)
    process.wait_for("s02: done")
    process.send(signal.SIGKILL)
    assert process.end().code == -9
    ended = geoseg_command("batch", "run", file)
    assert ended.code == 0, ended.err
    assert set(pd.read_csv(tmp_path / "out" / "areas.csv").scene) == {f"s{i:02}" for i in range(6)}
    assert not hidden(tmp_path / "out")
    again = geoseg_command("batch", "run", file)
    assert (again.code, "6 unchanged" in again.err) == (0, True)


@pytest.mark.slow
def test_a_batch_over_the_sample_data_with_two_broken_files(tmp_path: Path, geoseg_command: Command) -> None:
    data = tmp_path / "scenes"
    data.mkdir()
    for scene in sorted((SAMPLE / "scenes").glob("*.tif")):
        (data / scene.name).write_bytes(scene.read_bytes())
    whole = (SAMPLE / "scenes" / "valley_east_20190617.tif").read_bytes()
    (data / "cut_off.tif").write_bytes(whole[: len(whole) // 2])
    break_file(data / "text.tif")
    steps = {"segment": {}, "areas": {"zones": str(SAMPLE / "zones.gpkg"), "zone_id": "name"}}
    file = write_pipeline(tmp_path, {"inputs": ["scenes"], "model": "spectral", "steps": steps})
    first = geoseg_command("batch", "run", file)
    assert first.code == 1
    became = standing(first.out)
    assert {name for name, word in became.items() if word == "failed"} == {"cut_off", "text"}
    assert sum(word == "done" for word in became.values()) == 6
    before = tree(tmp_path / "out" / "valley_west_20190617")
    second = geoseg_command("batch", "run", file)
    assert (second.code, set(standing(second.out).values())) == (0, {"quarantined"})
    os.utime(data / "valley_east_20190617.tif")
    third = geoseg_command("batch", "run", file)
    assert {k: v for k, v in standing(third.out).items() if v == "done"} == {"valley_east_20190617": "done"}
    assert tree(tmp_path / "out" / "valley_west_20190617") == before
    rows = json.loads(geoseg_command("batch", "status", file, "--json").out)
    told = {row["scene"]: row for row in rows}
    assert sum(row["standing"] == "done" for row in rows) == 6
    assert all(told[name]["standing"] == "quarantined" and told[name]["reason"] for name in ("cut_off", "text"))


def test_validate_says_what_is_wrong_and_what_is_there(file: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("batch", "validate", file)
    assert ended.code == 0
    assert "pipeline small, model kmeans, 3 rasters now" in ended.out
    wrong = write_pipeline(file.parent, {"concurrency": 0, "steps": {"change": {"prior": 2}}}, name="wrong.yaml")
    ended = geoseg_command("batch", "validate", wrong)
    assert ended.code == 2
    assert f"{wrong}, line 8: steps.change.prior: should be the share of the land that changes" in ended.err
    assert f"{wrong}, line 10: concurrency: " in ended.err
    missing = write_pipeline(file.parent, {"model": "card.yaml"}, name="missing.yaml")
    assert "line 5: model: " in geoseg_command("batch", "validate", missing).err
    assert not (file.parent / "out").exists()


def test_the_schema_is_printed_as_json(file: Path, geoseg_command: Command) -> None:
    schema = json.loads(geoseg_command("batch", "schema").out)
    jsonschema.validate(yaml.safe_load(file.read_text("utf-8")), schema)


def test_schedules_are_printed_or_written(file: Path, tmp_path: Path, geoseg_command: Command) -> None:
    none = geoseg_command("batch", "schedule", file, "--as", "cron")
    assert none.code == 2
    assert "has no schedule: add one" in none.err
    path = write_pipeline(tmp_path, {"schedule": {"cron": "0 6 * * mon", "time_zone": "UTC"}})
    assert "\n0 6 * * 1 " in geoseg_command("batch", "schedule", path, "--as", "cron").out
    both = geoseg_command("batch", "schedule", path, "--as", "systemd").out
    assert "# geoseg-small.service\n[Unit]" in both
    assert "# geoseg-small.timer\n[Unit]" in both
    ended = geoseg_command("batch", "schedule", path, "--as", "systemd", "-o", tmp_path / "units" / "new")
    names = [Path(line).name for line in ended.out.splitlines()]
    assert names == ["geoseg-small.service", "geoseg-small.timer"]
    assert "OnCalendar=Mon *-*-* 06:00:00 UTC" in (tmp_path / "units" / "new" / names[1]).read_text("utf-8")


@pytest.mark.parametrize("option", ["image", "claim", "mount"])
def test_the_options_of_kubernetes_change_its_text_and_are_refused_elsewhere(
    option: str, tmp_path: Path, geoseg_command: Command
) -> None:
    path = write_pipeline(tmp_path, {"schedule": {"cron": "@daily"}})
    assert (
        "/other/word"
        in geoseg_command("batch", "schedule", path, "--as", "kubernetes", f"--{option}", "/other/word").out
    )
    ended = geoseg_command("batch", "schedule", path, "--as", "cron", f"--{option}", "x")
    assert ended.code == 2
    assert f"--{option} is of no use with --as cron" in ended.err


def test_quiet_says_errors_only_and_json_logs_are_lines_of_json(file: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("batch", "run", file, "-q")
    assert ended.out == ""
    assert [line for line in ended.err.splitlines() if not line.startswith("error: ")] == []
    geoseg_command("batch", "retry", file)
    ended = geoseg_command("batch", "run", file, "--log-format", "json")
    records = [json.loads(line) for line in ended.err.splitlines()]
    assert {"failed", "message"} <= {record["event"] for record in records}


def test_serve_needs_a_schedule(file: Path, geoseg_command: Command) -> None:
    ended = geoseg_command("batch", "serve", file)
    assert ended.code == 2
    assert "has no schedule: add one" in ended.err


def test_serve_says_what_to_install(file: Path, tmp_path: Path) -> None:
    path = write_pipeline(tmp_path, {"schedule": {"cron": "@daily"}})
    code = "import sys; sys.modules['apscheduler'] = None; from geoseg.cli.main import main; main()"
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code, "batch", "serve", str(path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "pip install 'geoseg[schedule]'" in ended.stderr


@pytest.mark.usefixtures("warm_workers")
def test_change_is_told_in_tables_by_status_and_by_retry_and_workers_make_the_same(
    write_scene: WriteScene, tmp_path: Path, geoseg_command: Command
) -> None:
    for year in (2019, 2020, 2021):
        write_scene(f"in/p_{year}0601.tif", seed=year)
    pairs = ("change/p_20190601_20200601", "change/p_20200601_20210601")
    steps: dict[str, Any] = {"segment": {}, "change": {"formats": []}}
    file = write_pipeline(tmp_path, {"steps": steps})
    broken = tmp_path / "out" / pairs[1]
    broken.mkdir(parents=True)
    (broken / "mine.txt").touch()
    first = geoseg_command("batch", "run", file)
    assert first.code == 1
    assert {k: v for k, v in standing(first.out).items() if k in pairs} == {pairs[0]: "done", pairs[1]: "failed"}
    assert f"{pairs[0]}: done" in first.err
    assert "small: 3 done; change: 1 done, 1 failed in " in first.err
    status = geoseg_command("batch", "status", file)
    assert {k: v for k, v in standing(status.out).items() if k in pairs} == {pairs[0]: "done", pairs[1]: "quarantined"}
    assert status.out.splitlines()[-1].endswith(",p_20200601 and p_20210601")
    told = json.loads(geoseg_command("batch", "status", file, "--json").out)[-1]
    assert (told["scene"], told["input"], told["tries"]) == (pairs[1], "p_20200601 and p_20210601", 1)
    (broken / "mine.txt").unlink()
    broken.rmdir()
    assert geoseg_command("batch", "retry", file).out == f"{pairs[1]}\n"
    assert standing(geoseg_command("batch", "run", file).out) == {pairs[1]: "done"}
    two = write_pipeline(tmp_path, {"steps": steps, "compute": {"workers": 1}, "output": "other"}, name="two.yaml")
    ended = geoseg_command("batch", "run", two, "-v")
    assert ended.code == 0, ended.err
    assert "p_20190601: a block of " in ended.err
    maps = [Path(f"p_{year}0601/p_{year}0601_classes.tif") for year in (2019, 2020, 2021)]
    for name in (*maps, *(Path(pair, f"{Path(pair).name}_change.tif") for pair in pairs)):
        np.testing.assert_array_equal(read(tmp_path / "other" / name), read(tmp_path / "out" / name))
    assert (tmp_path / "other" / maps[0]).read_bytes() == (tmp_path / "out" / maps[0]).read_bytes()
