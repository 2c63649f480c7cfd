"""What a command says while it works: a progress bar on a terminal, plain lines in a pipe, JSON for machines."""

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from geoseg.errors import printable
from geoseg.jobs.outcome import Event
from geoseg.jobs.words import counted, were

__all__ = ["Talk", "set_up_logging"]

LogFormat = Literal["auto", "plain", "json"]

_LEVELS = {"failed": "error", "note": "info", "block": "debug", "planned": "debug", "publishing": "debug"}
_ORDER = {"debug": 0, "info": 1, "error": 3}


class _JsonFormatter(logging.Formatter):
    """One line of JSON per record of the logging module."""

    def format(self, record: logging.LogRecord) -> str:
        content = {"level": record.levelname.lower(), "event": "log", "text": super().format(record)}
        return json.dumps({"time": _now()} | content)


def set_up_logging(verbosity: int, log_format: LogFormat = "auto") -> None:
    """Logs of libraries to stderr when asked for with -v (warnings) or -vv (all of geoseg's), else not at all.

    GDAL's messages come through rasterio's logger; what matters in them is in geoseg's own errors.
    """
    level = {0: logging.CRITICAL, 1: logging.WARNING}.get(max(verbosity, 0), logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    as_json = log_format == "json"
    handler.setFormatter(
        _JsonFormatter("%(name)s: %(message)s") if as_json else logging.Formatter("%(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("geoseg").setLevel(logging.DEBUG if verbosity >= 2 else level)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Talk:
    """Listens to a run and says what is worth saying on stderr."""

    def __init__(self, *, verbosity: int, log_format: LogFormat) -> None:
        """Choose how to speak.

        Args:
            verbosity: -1 errors only, 0 notes and results, 1 and more also every block.
            log_format: ``auto`` is a progress bar on a terminal and plain lines elsewhere.
        """
        self._least = 3 if verbosity < 0 else 1 - verbosity
        self._json = log_format == "json"
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        bar = log_format == "auto" and self._console.is_terminal and verbosity >= 0
        self._progress = _progress(self._console) if bar else None
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Take an event of a run."""
        if self._progress is not None:
            self._move(self._progress, event)
        level = _LEVELS.get(event.kind, "info")
        if self._json:
            if _ORDER[level] >= self._least:
                content = {"scene": event.scene, "text": event.text, "blocks": event.n_blocks, "pixels": event.pixels}
                self._line(level, event.kind, {k: v for k, v in content.items() if v})
            return
        if _ORDER[level] >= self._least:
            self._say(event)

    def say(self, text: str) -> None:
        """A line of talk that is no event of a run."""
        if self._least > 1:
            return
        if self._json:
            self._line("info", "message", {"text": text})
        else:
            self._console.print(printable(text), markup=False)

    def end(self, said: str, *, seconds: float, output: Path, any_done: bool) -> None:
        """The last line: what was done, how long it took, and where to look."""
        self.say(f"{said} in {seconds:.1f} s; {'results in' if any_done else 'the record is in'} {output}")

    def count(self, name: str, done: int, total: int, *, unit: str) -> None:
        """How far something is that is no scene: a bar on a terminal, nothing elsewhere."""
        if self._progress is None:
            return
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(printable(name), total=total, unit=unit)
        self._progress.update(self._bars[name], completed=done)

    def _say(self, event: Event) -> None:
        scene, text = printable(event.scene), printable(event.text)
        line = {
            "failed": f"error: {text}",
            "note": f"{scene}: {text}",
            "resumed": f"{scene}: {were(event.n_blocks, 'block')} finished before; going on from there",
            "planned": f"{scene}: {counted(event.n_blocks, 'block')}, {event.pixels / 1e6:.1f} Mpx",
            "block": f"{scene}: a block of {event.pixels / 1e6:.1f} Mpx is done",
            "publishing": f"{scene}: writing the outputs",
            "done": f"{scene}: done",
            "outside": text,
            "unchanged": f"{scene}: unchanged since it was finished, skipped",
        }[event.kind]
        self._console.print(line, markup=False)

    def _line(self, level: str, kind: str, content: dict[str, Any]) -> None:
        record = {"time": _now(), "level": level, "event": kind}
        print(json.dumps(record | content), file=sys.stderr, flush=True)  # noqa: T201 - one line, whole, for a machine

    def _move(self, progress: Progress, event: Event) -> None:
        name = printable(event.scene)
        if event.kind == "planned":
            self._bars[event.scene] = progress.add_task(name, total=event.n_blocks, unit="blocks")
        elif event.scene in self._bars:
            bar = self._bars[event.scene]
            if event.kind in ("block", "resumed"):
                progress.advance(bar, max(event.n_blocks, 1))
            elif event.kind in ("done", "unchanged", "failed"):
                progress.remove_task(self._bars.pop(event.scene))


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
