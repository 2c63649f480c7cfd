"""A pipeline's schedule as what other programs read: crontab, systemd units, SLURM, Kubernetes, Airflow.

Each runs `geoseg batch run FILE`, which is safe to start twice, to kill and to repeat; so none of them needs to know
more than when. Texts are complete, and checked for what the pipeline's own words could do to them.
"""

import json
import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from geoseg import __version__
from geoseg.errors import ParameterError, printable
from geoseg.jobs.cron import WEEKDAYS, Cron
from geoseg.jobs.duration import parse_duration
from geoseg.jobs.pipeline import Pipeline

__all__ = ["KINDS", "Container", "schedule_texts"]

KINDS = ("cron", "systemd", "slurm", "kubernetes", "airflow")
"""What a schedule can be written for."""
_CODES = "0 all done; 1 some scenes failed; 2 could not start; 3 the deadline left some for the next run"
_SLACK_MIN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Where Kubernetes finds what it runs."""

    image: str = f"geoseg:{__version__}"
    """With geoseg in it."""
    claim: str = "geoseg-data"
    """PersistentVolumeClaim with the pipeline file, its inputs and its outputs."""
    mount: str | None = None
    """Where the claim is mounted; the folder that the paths of the pipeline have in common by default."""


def schedule_texts(pipeline: Pipeline, kind: str, container: Container | None = None) -> dict[str, str]:
    """The files that run a pipeline on its schedule, by name.

    Args:
        pipeline: With a schedule.
        kind: One of `KINDS`.
        container: For Kubernetes.

    Raises:
        ParameterError: If the pipeline has no schedule, or a path cannot be written in such a file.
    """
    if pipeline.spec.schedule is None:
        raise ParameterError(
            f"{printable(pipeline.path)} has no schedule: add one, such as\nschedule:\n  cron: '0 6 * * 1'\n"
            "  time_zone: Europe/Berlin"
        )
    for path in (pipeline.path, pipeline.output):
        if not str(path).isprintable():
            raise ParameterError(f"{printable(path)!r} holds control characters: rename it before it is scheduled")
    if kind == "kubernetes":
        return {f"geoseg-{pipeline.spec.name}.yaml": _kubernetes(pipeline, container or Container())}
    if container is not None:
        raise ParameterError(f"image, claim and mount are for kubernetes, not for {kind}: leave them out")
    name = f"geoseg-{pipeline.spec.name}"
    if kind == "systemd":
        return {f"{name}.service": _service(pipeline), f"{name}.timer": _timer(pipeline)}
    make, ending = {"cron": (_cron, "cron"), "slurm": (_slurm, "sbatch"), "airflow": (_airflow, "py")}[kind]
    return {f"{name}.{ending}": make(pipeline)}


def _times(pipeline: Pipeline) -> tuple[Cron, str]:
    assert pipeline.spec.schedule is not None
    return pipeline.spec.schedule.times, pipeline.spec.schedule.time_zone


def _program() -> str:
    """The geoseg of this environment: programs that run on a schedule have another PATH."""
    beside = Path(sys.executable).with_name("geoseg")
    return str(beside) if beside.is_file() else "geoseg"


def _command(pipeline: Pipeline) -> list[str]:
    return [_program(), "batch", "run", str(pipeline.path)]


def _cron(pipeline: Pipeline) -> str:
    times, zone = _times(pipeline)
    folder, log = shlex.quote(str(pipeline.output)), shlex.quote(str(pipeline.output / "batch.log"))
    command = f"mkdir -p {folder} && {shlex.join(_command(pipeline))} -q >> {log} 2>&1"
    # cron takes % for the end of the line
    command = command.replace("%", "\\%")
    return (
        f"# geoseg pipeline {pipeline.spec.name}; add to the table that crontab -e opens.\n"
        "# cronie (Fedora, RHEL, SUSE, Arch) reads CRON_TZ; the cron of Debian and Ubuntu goes by the machine's\n"
        f"# own time zone: there take the line out if the machine is on {zone}, else use the systemd timer.\n"
        f"CRON_TZ={zone}\n"
        f"{times.text} {command}\n"
    )


def _service(pipeline: Pipeline) -> str:
    command = " ".join(_systemd_word(word) for word in _command(pipeline))
    return (
        "[Unit]\n"
        f"Description=geoseg pipeline {pipeline.spec.name}\n"
        "Wants=network-online.target\n"
        "After=network-online.target\n"
        "\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"ExecStart={command}\n"
        f"# {_CODES}\n"
        "SuccessExitStatus=3\n"
        "# a run that is told to stop ends within seconds, and the next one goes on where it was\n"
        "TimeoutStopSec=60\n"
        "Nice=10\n"
    )


def _timer(pipeline: Pipeline) -> str:
    times, zone = _times(pipeline)
    return (
        "[Unit]\n"
        f"Description=When geoseg pipeline {pipeline.spec.name} runs\n"
        "\n"
        "[Timer]\n"
        f"OnCalendar={on_calendar(times, zone)}\n"
        "# a run that was missed while the machine was off is made up, once\n"
        "Persistent=true\n"
        "\n"
        "[Install]\n"
        "WantedBy=timers.target\n"
    )


def on_calendar(times: Cron, zone: str) -> str:
    """A cron expression as systemd writes it.

    Example:
        >>> from geoseg.jobs.cron import parse_cron
        >>> on_calendar(parse_cron("0 6 * * 1"), "Europe/Berlin")
        'Mon *-*-* 06:00:00 Europe/Berlin'
    """
    days = "" if len(times.weekdays) == 7 else ",".join(WEEKDAYS[d].capitalize() for d in times.weekdays) + " "
    month = _listed(times.months, 12)
    day = _listed(times.days, 31)
    return f"{days}*-{month}-{day} {_listed(times.hours, 24)}:{_listed(times.minutes, 60)}:00 {zone}"


def _listed(values: tuple[int, ...], every: int) -> str:
    return "*" if len(values) == every else ",".join(f"{v:02}" for v in values)


def _systemd_word(word: str) -> str:
    """A word of a command as systemd reads it back: % and $ mean something to it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or any(c in word for c in " '\t;") else word


def _slurm(pipeline: Pipeline) -> str:
    times, zone = _times(pipeline)
    name = f"geoseg-{pipeline.spec.name}"
    deadline = pipeline.spec.deadline
    # a scene that was begun just before the deadline is to be finished
    minutes = _SLACK_MIN + (math.ceil(parse_duration(deadline).total_seconds() / 60) if deadline else 11 * 60)
    cores = max(1, pipeline.spec.compute.workers)
    return (
        "#!/bin/bash\n"
        f"#SBATCH --job-name={name}\n"
        f"#SBATCH --output={name}.%j.log\n"
        f"#SBATCH --time={minutes // 60:02}:{minutes % 60:02}:00\n"
        f"#SBATCH --cpus-per-task={4 * cores}\n"
        f"#SBATCH --mem={8 * cores}G\n"
        "# geoseg is told two minutes before the time is up: it ends, and the next run goes on where it was\n"
        "#SBATCH --signal=B:TERM@120\n"
        "# one at a time\n"
        "#SBATCH --dependency=singleton\n"
        "#SBATCH --open-mode=append\n"
        "#\n"
        f"# {_CODES}\n"
        f"# Times are those of {zone}; scrontab goes by the time zone of the cluster. With scrontab -e add\n"
        f"#   {times.text} sbatch {shlex.quote(f'/path/to/{name}.sbatch')}\n"
        "\n"
        "# exec: the signal goes to geoseg itself\n"
        f"exec {shlex.join(_command(pipeline))}\n"
    )


def _kubernetes(pipeline: Pipeline, container: Container) -> str:
    times, zone = _times(pipeline)
    mount = container.mount if container.mount is not None else _common_folder(pipeline)
    deadline = pipeline.spec.deadline
    limit = "" if deadline is None else (
        "      # a scene that was begun just before the pipeline's own deadline is to be finished\n"
        f"      activeDeadlineSeconds: {math.ceil(parse_duration(deadline).total_seconds()) + 60 * _SLACK_MIN}\n"
    )  # fmt: skip
    # JSON strings are YAML strings, whatever is in them
    return (
        f"# geoseg pipeline {pipeline.spec.name}. {_CODES}.\n"
        "# The claim holds the pipeline file, its inputs and its outputs, under the paths that the file names.\n"
        "apiVersion: batch/v1\n"
        "kind: CronJob\n"
        "metadata:\n"
        f"  name: geoseg-{pipeline.spec.name}\n"
        "spec:\n"
        f"  schedule: {json.dumps(times.text)}\n"
        f"  timeZone: {json.dumps(zone)}\n"
        "  concurrencyPolicy: Forbid\n"
        "  # a start that was missed is made up within an hour\n"
        "  startingDeadlineSeconds: 3600\n"
        "  successfulJobsHistoryLimit: 3\n"
        "  failedJobsHistoryLimit: 3\n"
        "  jobTemplate:\n"
        "    spec:\n"
        "      # what failed is tried again by the next run, after a while, not at once by Kubernetes\n"
        "      backoffLimit: 0\n"
        f"{limit}"
        "      template:\n"
        "        spec:\n"
        "          restartPolicy: Never\n"
        "          # a run that is told to stop ends within seconds, and the next one goes on where it was\n"
        "          terminationGracePeriodSeconds: 60\n"
        "          containers:\n"
        "            - name: geoseg\n"
        f"              image: {json.dumps(container.image)}\n"
        f"              command: {json.dumps(['geoseg', 'batch', 'run', str(pipeline.path)])}\n"
        "              resources:\n"
        f"                requests: {{cpu: {json.dumps(str(max(2, pipeline.spec.compute.workers)))}, memory: 8Gi}}\n"
        "              volumeMounts:\n"
        "                - name: data\n"
        f"                  mountPath: {json.dumps(mount)}\n"
        "          volumes:\n"
        "            - name: data\n"
        "              persistentVolumeClaim:\n"
        f"                claimName: {json.dumps(container.claim)}\n"
    )


def _common_folder(pipeline: Pipeline) -> str:
    """The folder that file and output have in common: where the claim is mounted."""
    here = [pipeline.path.parent, *pipeline.path.parent.parents]
    return str(next(folder for folder in here if pipeline.output.is_relative_to(folder)))


def _airflow(pipeline: Pipeline) -> str:
    times, zone = _times(pipeline)
    # Airflow fills in templates in commands: a path with braces in it is said to be text
    command = shlex.join(_command(pipeline))
    if "{%" in command or "{{" in command or "{#" in command:
        raise ParameterError(f"{printable(command)} holds what Airflow takes for a template: rename the folder")
    return (
        f'"""geoseg pipeline {pipeline.spec.name}, for Airflow 3."""\n'
        "\n"
        "import pendulum\n"
        "from airflow.providers.standard.operators.bash import BashOperator\n"
        "from airflow.sdk import DAG\n"
        "\n"
        "with DAG(\n"
        f"    dag_id={json.dumps(f'geoseg-{pipeline.spec.name}')},\n"
        f"    schedule={json.dumps(times.text)},\n"
        f"    start_date=pendulum.datetime(2026, 1, 1, tz={json.dumps(zone)}),\n"
        "    # a run does all that is due: making up for each one that was missed would do nothing\n"
        "    catchup=False,\n"
        "    max_active_runs=1,\n"
        "):\n"
        f"    # {_CODES}\n"
        "    BashOperator(\n"
        '        task_id="batch",\n'
        f"        bash_command={command!r},\n"
        "        append_env=True,\n"
        "        skip_on_exit_code=3,\n"
        "        retries=0,\n"
        "    )\n"
    )
