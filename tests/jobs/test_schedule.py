"""Texts for other schedulers, read back by what reads them."""

import ast
import configparser
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from geoseg.errors import ParameterError
from geoseg.jobs.cron import parse_cron
from geoseg.jobs.pipeline import Pipeline
from geoseg.jobs.schedule import KINDS, Container, on_calendar, schedule_texts
from tests.jobs.batches import pipeline_in

MONDAYS = {"cron": "0 6 * * 1", "time_zone": "Europe/Berlin"}


def scheduled(folder: Path, **changes: Any) -> Pipeline:
    folder.mkdir(parents=True, exist_ok=True)
    return pipeline_in(folder, schedule=MONDAYS, **changes)


def text_of(pipeline: Pipeline, kind: str, name: str | None = None) -> str:
    texts = schedule_texts(pipeline, kind)
    return texts[name] if name else next(iter(texts.values()))


def runs(words: list[str], pipeline: Pipeline) -> bool:
    return words[-3:] == ["batch", "run", str(pipeline.path)] and words[0].endswith("geoseg")


def test_a_crontab_line_is_read_back_and_runs_the_pipeline(tmp_path: Path) -> None:
    pipeline = scheduled(tmp_path / "100% sure & 'quoted'")
    (zone, line) = [x for x in text_of(pipeline, "cron").splitlines() if not x.startswith("#")]
    assert zone == "CRON_TZ=Europe/Berlin"
    *fields, command = line.split(" ", 5)
    assert fields == ["0", "6", "*", "*", "1"]
    # cron ends the command at a bare %, and hands on one that is escaped
    assert "%" not in command.replace("\\%", "")
    # what cron hands to sh is run here, with a geoseg that says how it was called
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    stand_in = bin_folder / "geoseg"
    stand_in.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    stand_in.chmod(0o755)
    real = shlex.split(command.replace("\\%", "%"))[4]
    assert Path(real).name == "geoseg"
    shell = command.replace("\\%", "%").replace(real, str(stand_in))
    subprocess.run(["/bin/sh", "-c", shell], check=True, cwd="/")
    assert (pipeline.output / "batch.log").read_text().splitlines() == ["batch", "run", str(pipeline.path), "-q"]


def units(pipeline: Pipeline) -> tuple[configparser.ConfigParser, configparser.ConfigParser]:
    texts = schedule_texts(pipeline, "systemd")
    found = []
    for name in ("geoseg-small.service", "geoseg-small.timer"):
        parser = configparser.ConfigParser(interpolation=None, strict=True)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(texts[name])
        found.append(parser)
    assert len(texts) == 2
    return found[0], found[1]


def test_systemd_units_are_read_back(tmp_path: Path) -> None:
    pipeline = scheduled(tmp_path)
    service, timer = units(pipeline)
    assert timer["Timer"]["OnCalendar"] == "Mon *-*-* 06:00:00 Europe/Berlin"
    assert timer["Timer"]["Persistent"] == "true"
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["SuccessExitStatus"] == "3"
    assert runs(service["Service"]["ExecStart"].split(), pipeline)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("folder", ["plain", 'odd "name" 100% $HOME; x'])
def test_systemd_itself_takes_the_units(folder: str, tmp_path: Path) -> None:
    pipeline = scheduled(tmp_path / folder)
    units_folder = tmp_path / "units"
    units_folder.mkdir()
    texts = schedule_texts(pipeline, "systemd")
    for name, text in texts.items():
        (units_folder / name).write_text(text)
    paths = [str(units_folder / name) for name in texts]
    ended = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    ours = [line for line in ended.stderr.splitlines() if "geoseg-small" in line]
    assert not ours, ended.stderr
    if folder != "plain":
        line = next(x for x in texts["geoseg-small.service"].splitlines() if x.startswith("ExecStart="))
        assert "100%%" in line
        assert "$$HOME" in line


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("text", ["0 6 * * 1", "*/20 8-18 * * mon-fri", "30 2 * * 0", "5 4 29 2 *", "0 0 1,15 */3 *"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu"])
def test_systemd_means_the_same_times(text: str, zone: str) -> None:
    from zoneinfo import ZoneInfo

    base = datetime(2026, 11, 25, 12, tzinfo=UTC)
    ended = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=4", f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC",
         on_calendar(parse_cron(text), zone)],
        capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )  # fmt: skip
    theirs = [
        datetime.strptime(line.split(": ", 1)[1], "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
        for line in ended.stdout.splitlines()
        if "Next elapse" in line or "Iter. #" in line or "Iteration #" in line
    ]
    ours, at = [], base
    for _ in range(4):
        at = parse_cron(text).next_after(at, ZoneInfo(zone))
        ours.append(at.astimezone(UTC))
    assert theirs == ours


def test_a_slurm_script_is_bash_and_asks_for_time_and_a_signal(tmp_path: Path) -> None:
    pipeline = scheduled(tmp_path / "a b", deadline="90min", compute={"workers": 3})
    text = text_of(pipeline, "slurm")
    asked = dict(x.removeprefix("#SBATCH --").split("=", 1) for x in text.splitlines() if x.startswith("#SBATCH"))
    assert asked["time"] == "02:30:00"
    assert asked["signal"] == "B:TERM@120"
    assert asked["dependency"] == "singleton"
    assert asked["cpus-per-task"] == "12"
    # lines of #SBATCH after the first command are not read
    lines = text.splitlines()
    first = next(i for i, x in enumerate(lines) if x and not x.startswith("#"))
    assert not [x for x in lines[first:] if x.startswith("#SBATCH")]
    assert runs(shlex.split(lines[-1].removeprefix("exec ")), pipeline)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert "time=12:00:00" in text_of(scheduled(tmp_path), "slurm")


def test_a_cron_job_of_kubernetes_is_read_back(tmp_path: Path) -> None:
    pipeline = scheduled(tmp_path / 'a "b" #c', deadline="1h")
    job = yaml.safe_load(text_of(pipeline, "kubernetes"))
    assert (job["apiVersion"], job["kind"], job["metadata"]["name"]) == ("batch/v1", "CronJob", "geoseg-small")
    spec = job["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("0 6 * * 1", "Europe/Berlin", "Forbid")
    work = spec["jobTemplate"]["spec"]
    assert (work["backoffLimit"], work["activeDeadlineSeconds"]) == (0, 7200)
    pod = work["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    assert runs(container["command"], pipeline)
    assert container["volumeMounts"][0]["mountPath"] == str(pipeline.path.parent)
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "geoseg-data"
    own = Container(image="registry/geoseg:2", claim="c", mount="/data")
    job = yaml.safe_load(next(iter(schedule_texts(pipeline, "kubernetes", own).values())))
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry/geoseg:2"
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/data"
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "c"
    no_deadline = yaml.safe_load(text_of(scheduled(tmp_path), "kubernetes"))
    assert "activeDeadlineSeconds" not in no_deadline["spec"]["jobTemplate"]["spec"]


def test_an_airflow_dag_is_python_that_says_when_and_what(tmp_path: Path) -> None:
    pipeline = scheduled(tmp_path / "it's")
    tree = ast.parse(text_of(pipeline, "airflow"))
    calls = {c.func.id: c for c in ast.walk(tree) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)}
    dag = {k.arg: k.value for k in calls["DAG"].keywords}
    task = {k.arg: ast.literal_eval(k.value) for k in calls["BashOperator"].keywords}
    assert ast.literal_eval(dag["schedule"]) == "0 6 * * 1"
    assert ast.literal_eval(dag["max_active_runs"]) == 1
    assert ast.literal_eval(dag["catchup"]) is False
    assert "tz='Europe/Berlin'" in ast.unparse(dag["start_date"])
    assert runs(shlex.split(task["bash_command"]), pipeline)
    assert task["skip_on_exit_code"] == 3
    with pytest.raises(ParameterError, match="takes for a template"):
        schedule_texts(scheduled(tmp_path / "{{ x }}"), "airflow")


@pytest.mark.parametrize("kind", KINDS)
def test_the_program_is_that_of_this_environment(kind: str, tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("geoseg")
    text = "".join(schedule_texts(scheduled(tmp_path), kind).values())
    assert (str(beside) in text) == (kind != "kubernetes" and beside.is_file())


def test_a_schedule_is_needed_and_containers_are_for_kubernetes(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="has no schedule: add one, such as"):
        schedule_texts(pipeline_in(tmp_path), "cron")
    with pytest.raises(ParameterError, match="are for kubernetes"):
        schedule_texts(scheduled(tmp_path), "cron", Container())
    with pytest.raises(ParameterError, match="control characters"):
        schedule_texts(scheduled(tmp_path / "a\nb"), "cron")
