"""The finished blocks of comparisons that are not finished: the journal of runs, with counts of pairs of classes.

Where series keep theirs, too.
"""

import shutil
from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.area.sums import Sums
from geoseg.change.transitions import Transitions
from geoseg.errors import OutputError, printable
from geoseg.jobs.journal import PartJournal, R
from geoseg.jobs.lock import STATE
from geoseg.outputs.crash import crash_point
from geoseg.outputs.parts import Part

__all__ = [
    "REPAIRS",
    "ChangeJournal",
    "ComparedBlock",
    "finish_blocks",
    "forget_journal",
    "journal_folder",
    "sums_from_dict",
    "sums_to_dict",
]

REPAIRS = 3
"""Times that damaged parts are made again: a disk that damages them again and again is no place."""
_SUMS = ("pixels", "units", "conf_sum", "conf_pixels")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedBlock:
    """What a finished block of a comparison leaves."""

    part: Part
    """Change codes and confidence on disk."""
    counts: Transitions
    """Of the change map."""
    plain: Transitions
    """Of the two maps as they are."""
    lacking: tuple[tuple[int, ...], tuple[int, ...]]
    """Class values of either map that its legend lacks."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """All files of the block."""
        return (self.part,)


class ChangeJournal(PartJournal[ComparedBlock]):
    """Of one comparison."""

    @staticmethod
    def to_dict(result: ComparedBlock) -> dict[str, Any]:
        """A result as plain values; of pairs of classes those that occur."""
        return {
            "part": result.part.to_dict() | {"path": result.part.path.name},
            "classes": result.counts.n_classes,
            "counts": sums_to_dict(result.counts.sums),
            "plain": sums_to_dict(result.plain.sums),
            "lacking": result.lacking,
        }

    @staticmethod
    def from_dict(values: dict[str, Any], folder: Path) -> ComparedBlock:
        """The way back."""
        n, part, lacking = values["classes"], values["part"], values["lacking"]
        counts, plain = (
            Transitions(n_classes=n, sums=sums_from_dict(values[name], (n + 1) ** 2)) for name in ("counts", "plain")
        )
        return ComparedBlock(
            part=Part.from_dict(part | {"path": str(folder / part["path"])}),
            counts=counts,
            plain=plain,
            lacking=(tuple(lacking[0]), tuple(lacking[1])),
        )


def journal_folder(output: Path, parts_key: str, *, restart: bool) -> Path:
    """The folder of the journal and the parts of a comparison; what others of the same output left goes."""
    folder = _states(output) / parts_key[:16]
    try:
        _states(output).mkdir(parents=True, exist_ok=True)
        for other in _states(output).iterdir():
            if restart or other != folder:
                shutil.rmtree(other)
    except OSError as error:
        raise OutputError(
            f"cannot write into {printable(output.parent)}: {(error.strerror or str(error)).lower()}; choose another "
            "--output"
        ) from error
    return folder


def _states(output: Path) -> Path:
    return output.parent / STATE / "pairs" / output.name


def forget_journal(output: Path) -> None:
    """Remove what was kept of a comparison that is finished."""
    shutil.rmtree(_states(output), ignore_errors=True)
    for folder in (_states(output).parent, output.parent / STATE):
        with suppress(OSError):  # of another comparison, or another run
            folder.rmdir()


def finish_blocks(futures: Sequence["Future[R]"], journal: PartJournal[R], scene: str) -> None:
    """Write down blocks as they are finished; after an error, those that have not begun are of no use."""
    try:
        for future in as_completed(futures):
            result = future.result()
            crash_point("block_done")
            journal.add(scene, result)
            crash_point("block_journaled")
    finally:
        for future in futures:
            future.cancel()


def sums_to_dict(sums: Sums) -> dict[str, list[int]]:
    """Sums as plain values: of the groups that have pixels."""
    present: NDArray[np.int64] = np.flatnonzero(sums.pixels)
    return {"pairs": present.tolist()} | {name: getattr(sums, name)[present].tolist() for name in _SUMS}


def sums_from_dict(values: dict[str, list[int]], n: int) -> Sums:
    """The way back, to sums of ``n`` groups."""
    sums = Sums.zeros(n)
    for name in _SUMS:
        getattr(sums, name)[values["pairs"]] = values[name]
    return sums
