"""A scheduler in the foreground, for where there is no other: containers, and machines without cron."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

from geoseg.errors import ParameterError
from geoseg.jobs.batch_state import read_fact
from geoseg.jobs.cron import Cron, time_zone
from geoseg.jobs.duration import said
from geoseg.jobs.pipeline import Pipeline

__all__ = ["batch_command", "cron_trigger", "serve", "was_missed"]

_GRACE_S = 60
"""A run that is told to stop has this long to do so; it takes a few seconds."""


class _Stop(BaseException):
    """A signal that asks to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def batch_command(pipeline: Pipeline, *words: str) -> list[str]:
    """What runs a pipeline in a process of its own, with this Python and this geoseg."""
    # -P: the folder it happens to be started in is no place to import from
    return [
        sys.executable, "-P", "-c", "from geoseg.cli.main import main; main()", "batch", "run", str(pipeline.path),
        *words,
    ]  # fmt: skip


def cron_trigger(times: Cron, zone: ZoneInfo) -> Any:
    """A trigger for APScheduler that goes by cron's own rules.

    APScheduler's reads weekdays from 0 for Monday, where cron has 0 for Sunday, and fires twice at a time that comes
    twice when clocks are put back.

    Raises:
        ParameterError: If APScheduler is not installed.
    """
    _require_apscheduler()
    from apscheduler.triggers.base import BaseTrigger

    class CronTimes(BaseTrigger):
        def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
            return times.next_after(max(now, previous) if previous is not None else now, zone)

        def __str__(self) -> str:
            return f"{times.text} {zone.key}"

    return CronTimes()


def was_missed(pipeline: Pipeline, now: datetime) -> bool:
    """Whether a time to run came and went since the last run began: the machine may have been off.

    A pipeline that never ran has missed nothing.
    """
    schedule = pipeline.spec.schedule
    started = read_fact(pipeline.state_file, "started")
    if schedule is None or not started:
        return False
    last = datetime.fromisoformat(started)
    if last > now:  # by a clock that was wrong
        return True
    return schedule.times.next_after(last, time_zone(schedule.time_zone)) <= now


def serve(
    command: Sequence[str], trigger: Any, *, say: Callable[[str], None], at_once: bool = False, grace: float = _GRACE_S
) -> int:
    """Run a command whenever a trigger fires, until a signal ends it.

    Runs do not overlap: what comes due while one is on is left out. Times that passed while the machine slept are made
    up by one run. SIGTERM and SIGINT are passed on to the run, SIGHUP as SIGTERM; when it has ended, so does this. A
    second signal, or a run that does not end in time, kills it.

    Args:
        command: Run without a shell, in a process group of its own.
        trigger: Of APScheduler, such as `cron_trigger` gives.
        say: Told what happens, a line each.
        at_once: Whether to run at the start, too.
        grace: Seconds that a run has to end in after a signal.

    Returns:
        0: it was told to stop, and did.

    Raises:
        ParameterError: If APScheduler is not installed.
    """
    _require_apscheduler()
    from apscheduler.events import EVENT_JOB_MAX_INSTANCES
    from apscheduler.schedulers.blocking import BlockingScheduler

    runner = _Runner(command, say, grace)
    scheduler = BlockingScheduler(timezone="UTC")
    # no time is too late: a run does all that is due
    job = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    first = {"next_run_time": datetime.now(UTC)} if at_once else {}
    scheduled = scheduler.add_job(runner.run, trigger, id="batch", **job, **first)
    scheduler.add_listener(lambda _: say("the run before is still on: this one is left out"), EVENT_JOB_MAX_INSTANCES)
    with _signals_stop(runner.kill):
        try:
            say(f"next run at {_when(scheduled.trigger.get_next_fire_time(None, datetime.now(UTC)))}")
            scheduler.start()
        except _Stop as stop:
            say(f"{signal.Signals(stop.number).name}: stopping")
            runner.stop(signal.SIGINT if stop.number == signal.SIGINT else signal.SIGTERM)
            if scheduler.running:  # not so where the signal came before it was
                scheduler.shutdown(wait=True)
    return 0


class _Runner:
    """Runs the command in a child, one at a time."""

    def __init__(self, command: Sequence[str], say: Callable[[str], None], grace: float) -> None:
        self._command, self._say, self._grace = list(command), say, grace
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._telling = threading.Lock()  # taken once: by whoever tells the child to stop

    def run(self) -> None:
        if self._asked_to_stop():
            return
        self._say("a run begins")
        # a session of its own: Ctrl-C at a terminal reaches it once, through us, and not twice
        child = self._child = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
        if self._asked_to_stop():  # in this instant
            self._end(child, signal.SIGTERM)
        code = child.wait()
        self._say(f"the run ended with exit code {code}")

    def _asked_to_stop(self) -> bool:
        return self._stopping

    def stop(self, number: int) -> None:
        self._stopping = True
        if self._child is not None:
            self._end(self._child, number)

    def _end(self, child: "subprocess.Popen[bytes]", number: int) -> None:
        if child.poll() is not None or not self._telling.acquire(blocking=False):
            return
        child.send_signal(number)
        try:
            child.wait(self._grace)
        except subprocess.TimeoutExpired:
            self._say(
                f"the run did not end within {said(self._grace)}: it is killed; the next one goes on where it was"
            )
            child.kill()

    def kill(self) -> None:
        self._stopping = True
        if self._child is not None:
            self._child.kill()


@contextmanager
def _signals_stop(again: Callable[[], None]) -> Iterator[None]:
    """The first signal raises `_Stop`, which must not be raised in what that one set going; others do ``again``."""
    asked = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            again()
            return
        asked = True
        raise _Stop(number)

    # a shell has its background jobs ignore interrupts, and nohup the end of the terminal
    heard = [n for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _when(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")


def _require_apscheduler() -> None:
    try:
        import apscheduler  # noqa: F401
    except ImportError as error:
        raise ParameterError(
            "geoseg batch serve needs APScheduler: pip install 'geoseg[schedule]'; cron, systemd, SLURM, Kubernetes "
            "and Airflow need nothing: see geoseg batch schedule"
        ) from error
