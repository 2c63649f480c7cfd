"""What became of a batch: for machines as JSON, for Prometheus as text."""

import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from geoseg import __version__
from geoseg.errors import OutputError, printable
from geoseg.jobs.batch_survey import as_text
from geoseg.outputs.aside import fsync_folder
from geoseg.outputs.records import write_json, write_text
from geoseg.outputs.together import together

__all__ = ["BatchReport", "Became", "PairBecame", "PairReport", "SceneReport", "write_metrics", "write_summary"]

Became = Literal["done", "unchanged", "failed", "quarantined", "refused", "retired", "left", "gone", "outside"]
_BECAME: tuple[Became, ...] = (
    "done", "unchanged", "failed", "quarantined", "refused", "retired", "left", "gone", "outside",
)  # fmt: skip
PairBecame = Literal["done", "unchanged", "failed", "quarantined", "waiting", "retired", "left", "gone"]
_PAIR_BECAME: tuple[PairBecame, ...] = (
    "done", "unchanged", "failed", "quarantined", "waiting", "retired", "left", "gone",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneReport:
    """What became of one scene."""

    id: str
    """Name of its outputs."""
    href: str
    """Its file, without what follows a question mark in a URL."""
    became: Became
    """``quarantined``: failed earlier, and not tried this time. ``left``: not begun before the deadline.

    ``outside``: it does not touch the area of interest.
    """
    reason: str = ""
    """Why it failed, was refused or is outside."""
    tries: int = 0
    """Failures so far."""
    next_try: datetime | None = None
    """When it is tried again at the earliest; None for never, where it failed."""
    seconds: float = 0.0
    """It took."""
    pixels: int = 0
    """It has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """What became of the change between two dates of a place."""

    id: str
    """Name of its outputs, and their folder in the output folder."""
    before: str
    """Id of the earlier scene."""
    after: str
    """Id of the later one."""
    became: PairBecame
    """As of a scene. ``waiting``: one of the scenes has no finished results. ``gone``: the scenes do not follow each
    other any more."""
    reason: str = ""
    """Why it failed or waits."""
    tries: int = 0
    """Failures so far."""
    next_try: datetime | None = None
    """When it is tried again at the earliest; None for never, where it failed."""
    seconds: float = 0.0
    """It took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What became of a batch."""

    pipeline: str
    """Its name."""
    started: datetime
    """By the clock on the wall."""
    seconds: float
    """It took, by a clock that nobody sets."""
    scenes: tuple[SceneReport, ...] = ()
    """Inputs in their order, then those that are gone."""
    pairs: tuple[PairReport, ...] | None = None
    """Change of each against the previous date of its place; None where the pipeline does not ask for it."""
    error: str = ""
    """Why it ended before its work, if it did."""
    interrupted: bool = False
    """Whether somebody ended it; it goes on where it was when it is run again."""

    def count(self, became: Became) -> int:
        """Scenes that became this."""
        return sum(scene.became == became for scene in self.scenes)

    def count_pairs(self, became: PairBecame) -> int:
        """Pairs that became this."""
        return sum(pair.became == became for pair in self.pairs or ())

    @property
    def exit_code(self) -> int:
        """0 all done; 1 some failed; 2 could not start or go on; 3 nothing failed, but the deadline left some undone.

        Of an interrupted run 130, whatever the signal was.
        """
        if self.interrupted:
            return 130
        if self.error:
            return 2
        if self.count("failed") or self.count("refused") or self.count_pairs("failed"):
            return 1
        return 3 if self.count("left") or self.count_pairs("left") else 0

    @property
    def as_json(self) -> dict[str, Any]:
        """As plain values; scenes of which there is nothing to tell are only counted."""
        return {
            "geoseg": __version__,
            "pipeline": self.pipeline,
            "started": as_text(self.started),
            "seconds": round(self.seconds, 3),
            "exit_code": self.exit_code,
            "interrupted": self.interrupted,
            "error": self.error or None,
            "counts": {name: self.count(name) for name in _BECAME},
            "scenes": [
                {
                    "id": s.id,
                    "input": printable(s.href),
                    "became": s.became,
                    "reason": s.reason or None,
                    "tries": s.tries,
                    "next_try": as_text(s.next_try) or None,
                    "seconds": round(s.seconds, 3),
                }
                for s in self.scenes
                if s.became not in ("unchanged", "gone")
            ],
            **({} if self.pairs is None else self._pairs_as_json(self.pairs)),
        }

    def _pairs_as_json(self, pairs: tuple[PairReport, ...]) -> dict[str, Any]:
        return {
            "pair_counts": {name: self.count_pairs(name) for name in _PAIR_BECAME},
            "pairs": [
                {
                    "id": p.id,
                    "before": p.before,
                    "after": p.after,
                    "became": p.became,
                    "reason": p.reason or None,
                    "tries": p.tries,
                    "next_try": as_text(p.next_try) or None,
                    "seconds": round(p.seconds, 3),
                }
                for p in pairs
                if p.became not in ("unchanged", "gone")
            ],
        }


def write_summary(report: BatchReport, path: Path) -> None:
    """The report as JSON, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    with together([path]) as (file,):  # as the page: see there
        write_json(file, report.as_json)


def write_metrics(
    report: BatchReport, path: Path, *, standings: Counter[str], pair_standings: Counter[str], succeeded: float
) -> None:
    """The report in the text format of Prometheus, for its collector of text files.

    The collector takes every file that ends with ``.prom``, hidden ones too, so the file grows under another name.

    Args:
        report: What became of it.
        path: Final name; its folder is made if missing.
        standings: Scenes by where they stand now.
        pair_standings: Pairs of dates likewise.
        succeeded: When a run last ended well, in seconds since 1970; 0 for never.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        write_text(aside, _metrics(report, standings, pair_standings, succeeded))
        try:
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"cannot write the metrics {printable(path)}: {(error.strerror or str(error)).lower()}; mend that, or name "
            "another file as metrics in the pipeline"
        ) from error


def _metrics(report: BatchReport, standings: Counter[str], pair_standings: Counter[str], succeeded: float) -> str:
    done = [s for s in report.scenes if s.became == "done"]
    name = report.pipeline  # letters, digits and dashes: nothing to escape
    lines: list[str] = []

    def gauge(metric: str, text: str, values: Iterable[tuple[str, float]]) -> None:
        full = f"geoseg_batch_{metric}"
        lines.extend((f"# HELP {full} {text}", f"# TYPE {full} gauge"))
        lines.extend(f'{full}{{pipeline="{name}"{labels}}} {value:g}' for labels, value in values)

    def stamp(seconds: float) -> float:
        return round(seconds)

    gauge("scenes", "Scenes by where they stand.", [(f',standing="{k}"', v) for k, v in sorted(standings.items())])
    gauge(
        "last_run_scenes",
        "Scenes by what became of them in the last run.",
        [(f',became="{became}"', report.count(became)) for became in _BECAME],
    )
    if report.pairs is not None:
        text = "Pairs of dates by where their change stands."
        gauge("pairs", text, [(f',standing="{k}"', v) for k, v in sorted(pair_standings.items())])
        gauge(
            "last_run_pairs",
            "Pairs of dates by what became of their change in the last run.",
            [(f',became="{became}"', report.count_pairs(became)) for became in _PAIR_BECAME],
        )
    gauge("last_run_duration_seconds", "Time the last run took.", [("", round(report.seconds, 3))])
    gauge("last_run_pixels", "Pixels of the scenes that the last run finished.", [("", sum(s.pixels for s in done))])
    gauge("last_run_exit_code", "Exit code of the last run.", [("", report.exit_code)])
    text = "\n".join(lines)
    # not by %g, which keeps six digits only
    for metric, said, seconds in (
        ("last_run_timestamp_seconds", "When the last run began.", report.started.timestamp()),
        ("last_success_timestamp_seconds", "When a run last ended with everything done; 0 for never.", succeeded),
    ):
        full = f"geoseg_batch_{metric}"
        text += f'\n# HELP {full} {said}\n# TYPE {full} gauge\n{full}{{pipeline="{name}"}} {stamp(seconds)}'
    return f"{text}\n"
