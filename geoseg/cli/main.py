"""The `geoseg` command: its subcommands are imported when they are asked for, so that help answers at once."""

import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import FrameType
from typing import Any

import click

from geoseg import __version__
from geoseg.cli.manner import Manner
from geoseg.errors import GeosegError, printable

__all__ = ["cli", "main"]

_COMMANDS = {
    "run": "Segment rasters: class map, confidence, polygons and areas for each.",
    "change": "What became what between two dates: change map, polygons and transition matrix.",
    "evaluate": "How good class maps are, held against a reference: IoU, F1, area bias and more.",
    "series": "The history of a place over three dates or more: when it changed, how often, areas by date.",
    "vectorize": "Polygons of any categorical raster: a valid coverage with true areas.",
    "train": "Train a model on labelled images.",
    "batch": "Run a pipeline file again and again: only what is new or changed.",
    "areas": "Areas of a class map, with their uncertainty from a reference sample; or draw that sample.",
    "check": "Say for each scene whether it fits a model, before anything runs.",
    "info": "Show what geoseg sees in a raster, and which models fit it.",
    "models": "List the shipped models, or show one.",
    "doctor": "Show versions, drivers, devices, and what is wrong with them.",
}


class _Terminated(BaseException):
    """SIGTERM, as an exception, so that what is under way is tidied up."""


class _LazyGroup(click.Group):
    """Commands by name; the module behind one is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"geoseg.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # click would import every command to ask for its help line
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="geoseg")
def cli() -> None:
    """From satellite and aerial images to land-cover maps, polygons and areas."""


_AT_ONCE_S = 0.02
"""Signals as close to each other as this are one."""


class _Signals:
    """What SIGINT and SIGTERM do: the first ends what is under way in order, the second ends the process at once."""

    def __init__(self) -> None:
        self._asked = False
        self._at = 0.0

    def install(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            # a shell has its background jobs ignore interrupts
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self)
        if getattr(sys.unraisablehook, "func", None) is not _once_more:
            sys.unraisablehook = partial(_once_more, sys.unraisablehook)

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self._asked:
            # timeout(1) sends its signal to the process, and at once again to its group
            if time.monotonic() - self._at > _AT_ONCE_S:
                os._exit(128 + number)
            return
        self._asked, self._at = True, time.monotonic()
        raise _Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def forget(self) -> None:
        """The next signal is the first one again."""
        self._asked = False


def _once_more(before: Callable[[Any], Any], ignored: Any) -> None:
    """Signals that came while Python was in a ``__del__``, of Dask's futures say, out of which nothing is raised.

    They are sent once more, when that has ended. What else is ignored goes to the hook there was before.
    """
    numbers = {_Terminated: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}
    number = numbers.get(ignored.exc_type)
    handler = None if number is None else signal.getsignal(number)
    if number is None or not isinstance(handler, _Signals):
        before(ignored)
        return
    handler.forget()
    threading.Timer(0.02, os.kill, (os.getpid(), number)).start()


def _environment() -> None:
    """Settings that must be there before torch and GDAL are imported; what the user set is kept."""
    # the default is 5 % of the machine's memory for every process; each block of a file is read once anyway
    os.environ.setdefault("GDAL_CACHEMAX", "32")
    # code in a VRT is never run
    os.environ["GDAL_VRT_ENABLE_PYTHON"] = "NO"
    # nothing here needs the model hub; an import must not try to reach it
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # where weights are asked for, its warnings of each attempt would hide the one line that says what is wrong
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")


def _leave(code: int) -> None:
    """End at once: a block in a thread cannot be stopped and would hold the process for minutes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _say(manner: Manner, text: str, *, level: str = "error") -> None:
    if manner.traceback and level == "error":
        traceback.print_exc()
    if manner.json:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        click.echo(json.dumps({"time": now, "level": level, "event": "ended", "text": text}), err=True)
    else:
        click.echo(f"{level}: {text}" if level == "error" else text, err=True)


def _what_next(manner: Manner) -> str:
    return ": finished blocks are kept, and the same command goes on from there" if manner.goes_on else ""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; errors become a line or two on stderr and an exit code."""
    _environment()
    # imports make a million objects that stay: looking for garbage among them is a fifth of the start-up
    gc.disable()
    _Signals().install()
    manner = Manner()
    try:
        code = cli.main(args=arguments, standalone_mode=False, obj=manner)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        _say(manner, f"interrupted{_what_next(manner)}", level="warning")
        _leave(130)
    except _Terminated:
        _say(manner, f"terminated{_what_next(manner)}", level="warning")
        _leave(143)
    except click.ClickException as error:
        if manner.json:
            _say(manner, error.format_message())
        else:
            error.show()
        sys.exit(2)
    except BrokenPipeError:
        # the reader of stdout went away, as in `geoseg ... | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except GeosegError as error:
        # several mistakes stand in lines of their own; names in them were made printable where they came from
        _say(manner, "\n".join(printable(line) for line in str(error).split("\n")))
        sys.exit(2)
    except Exception as error:  # noqa: BLE001 - a fault of geoseg's own is no reason to print a page of code
        kind = type(error).__name__
        _say(manner, f"unexpected {kind}: {printable(error)}; run with -vv for the details and report it")
        _leave(2)
    sys.exit(code if isinstance(code, int) else 0)
