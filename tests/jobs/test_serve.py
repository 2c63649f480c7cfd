"""The scheduler in the foreground: real processes, real signals, a trigger that fires often."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from geoseg.jobs.cron import parse_cron
from geoseg.jobs.serve import batch_command, cron_trigger, was_missed
from tests.conftest import WriteScene
from tests.jobs.batches import edit_state, pipeline_in, summary_of, write_pipeline
from tests.jobs.test_batch import run

pytest.importorskip("apscheduler", reason="geoseg[schedule] is not installed")

SERVE = """
import sys
from apscheduler.triggers.interval import IntervalTrigger
from geoseg.jobs.serve import serve
def say(text):
    print(text, file=sys.stderr, flush=True)
every, grace, *command = sys.argv[1:]
trigger = IntervalTrigger(seconds=float(every))
sys.exit(serve(command, trigger, say=say, grace=float(grace)))
"""
NOTE = """
import sys, time, signal, pathlib
log = pathlib.Path(sys.argv[1])
def note(text):
    with log.open("a") as file:
        file.write(f"{text}\\n")
def stop(number, _):
    note(f"signal {number}")
    time.sleep(float(sys.argv[3]))
    note("stopped")
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)
note("began")
time.sleep(float(sys.argv[2]))
note("ended")
"""


def started(
    tmp_path: Path, *, every: float, lasts: float, stops: float = 0, grace: float = 30
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", NOTE, str(tmp_path / "log"), str(lasts), str(stops)]
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, str(every), str(grace), *command], stderr=subprocess.PIPE, text=True
    )


def log(tmp_path: Path) -> list[str]:
    path = tmp_path / "log"
    return path.read_text().splitlines() if path.exists() else []


def until(tmp_path: Path, line: str, times: int = 1) -> None:
    for _ in range(1200):
        if log(tmp_path).count(line) >= times:
            return
        time.sleep(0.05)
    pytest.fail(f"{line!r} was not noted {times} times: {log(tmp_path)}")


def test_it_fires_again_and_again_and_runs_do_not_overlap(tmp_path: Path) -> None:
    process = started(tmp_path, every=0.5, lasts=1.2)
    until(tmp_path, "ended", 2)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = [line for line in log(tmp_path) if not line.startswith(("signal", "stopped"))]
    assert lines == [("began", "ended")[i % 2] for i in range(len(lines))]
    assert "the run before is still on: this one is left out" in said
    assert "the run ended with exit code 0" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_once_and_the_run_may_end_in_its_own_time(number: int, tmp_path: Path) -> None:
    process = started(tmp_path, every=0.2, lasts=60, stops=1)
    until(tmp_path, "began")
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert log(tmp_path) == ["began", f"signal {number}", "stopped"]
    assert f"the run ended with exit code {128 + number}" in said


def test_a_run_that_does_not_end_is_killed(tmp_path: Path) -> None:
    process = started(tmp_path, every=0.2, lasts=60, stops=60, grace=0.5)
    until(tmp_path, "began")
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "did not end within 0.5 s: it is killed" in said
    assert "stopped" not in log(tmp_path)


def test_a_second_signal_kills_the_run_at_once(tmp_path: Path) -> None:
    process = started(tmp_path, every=0.2, lasts=60, stops=60)
    until(tmp_path, "began")
    process.terminate()
    until(tmp_path, f"signal {int(signal.SIGTERM)}")
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped" not in log(tmp_path)


def test_with_nothing_on_it_ends_at_once(tmp_path: Path) -> None:
    process = started(tmp_path, every=3600, lasts=1)
    assert process.stderr is not None
    assert "next run at" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert log(tmp_path) == []


def test_a_trigger_goes_by_crons_rules() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    trigger = cron_trigger(parse_cron("0 6 * * 1"), berlin)
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    first = trigger.get_next_fire_time(None, now)
    assert first == datetime(2026, 11, 30, 6, tzinfo=berlin)
    assert first.strftime("%A") == "Monday"
    assert trigger.get_next_fire_time(first, first) == datetime(2026, 12, 7, 6, tzinfo=berlin)
    # a clock that was put back does not fire again what has fired
    assert trigger.get_next_fire_time(first, now) == datetime(2026, 12, 7, 6, tzinfo=berlin)


def test_a_run_that_was_missed_is_known_by_the_last_one(write_scene: WriteScene, tmp_path: Path) -> None:
    write_scene("in/a.tif")
    pipeline = pipeline_in(tmp_path, schedule={"cron": "0 6 * * *"})
    now = datetime.now(UTC)
    assert not was_missed(pipeline, now)  # it never ran
    run(pipeline)
    assert not was_missed(pipeline, datetime.now(UTC) + timedelta(seconds=1)) or now.hour in (5, 6)
    long_ago = (now - timedelta(days=2)).isoformat()
    edit_state(pipeline.state_file, "UPDATE facts SET value = ? WHERE name = 'started'", long_ago)
    assert was_missed(pipeline, now)
    by_a_wrong_clock = (now + timedelta(days=400)).isoformat()
    edit_state(pipeline.state_file, "UPDATE facts SET value = ? WHERE name = 'started'", by_a_wrong_clock)
    assert was_missed(pipeline, now)
    assert not was_missed(pipeline_in(tmp_path), now)


def test_serve_runs_the_pipeline_in_a_process_of_its_own(write_scene: WriteScene, tmp_path: Path) -> None:
    write_scene("in/a.tif")
    path = write_pipeline(tmp_path, {"schedule": {"cron": "0 0 1 1 *"}})
    (tmp_path / "geoseg").mkdir()  # a folder that must not be imported from
    (tmp_path / "geoseg" / "__init__.py").write_text("raise SystemExit(9)")
    program = "from geoseg.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", program, "batch", "serve", str(path), "--run-now"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    # the summary is there before the run has said all and ended: a signal in between would be handed on to it
    assert any("the run ended with exit code 0" in line for line in process.stderr)
    process.terminate()
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "a,done," in out
    pipeline = pipeline_in(tmp_path, schedule={"cron": "0 0 1 1 *"})
    assert summary_of(pipeline)["counts"]["done"] == 1
    assert batch_command(pipeline)[-1] == str(path)
    assert os.getpid() != process.pid


@pytest.mark.parametrize("wait", [0.0, 0.001])
def test_a_second_signal_right_after_the_first_kills_the_run_too(wait: float, tmp_path: Path) -> None:
    process = started(tmp_path, every=0.2, lasts=60, stops=60)
    until(tmp_path, "began")
    process.terminate()
    time.sleep(wait)
    process.terminate()
    time.sleep(1)
    process.terminate()  # where the two came as one
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in said
    assert "stopped" not in log(tmp_path)


def test_the_end_of_the_terminal_ends_the_run_in_order(tmp_path: Path) -> None:
    process = started(tmp_path, every=0.2, lasts=60, stops=0.1)
    until(tmp_path, "began")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert log(tmp_path) == ["began", f"signal {int(signal.SIGTERM)}", "stopped"]
