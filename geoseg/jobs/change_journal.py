"""The finished blocks of comparisons that are not finished: the journal of runs, with counts of pairs of classes."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.area.sums import Sums
from geoseg.change.transitions import Transitions
from geoseg.errors import OutputError, printable
from geoseg.jobs.journal import PartJournal
from geoseg.jobs.lock import STATE
from geoseg.outputs.parts import Part

__all__ = ["ChangeJournal", "ComparedBlock", "forget_journal", "journal_folder"]

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


class ChangeJournal(PartJournal[ComparedBlock]):
    """Of one comparison."""

    @staticmethod
    def to_dict(result: ComparedBlock) -> dict[str, Any]:
        """A result as plain values; of pairs of classes those that occur."""
        return {
            "part": result.part.to_dict() | {"path": result.part.path.name},
            "classes": result.counts.n_classes,
            "counts": _sums_to_dict(result.counts.sums),
            "plain": _sums_to_dict(result.plain.sums),
            "lacking": result.lacking,
        }

    @staticmethod
    def from_dict(values: dict[str, Any], folder: Path) -> ComparedBlock:
        """The way back."""
        n, part, lacking = values["classes"], values["part"], values["lacking"]
        counts, plain = (
            Transitions(n_classes=n, sums=_sums_from_dict(values[name], (n + 1) ** 2)) for name in ("counts", "plain")
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


def _sums_to_dict(sums: Sums) -> dict[str, list[int]]:
    present: NDArray[np.int64] = np.flatnonzero(sums.pixels)
    return {"pairs": present.tolist()} | {name: getattr(sums, name)[present].tolist() for name in _SUMS}


def _sums_from_dict(values: dict[str, list[int]], n: int) -> Sums:
    sums = Sums.zeros(n)
    for name in _SUMS:
        getattr(sums, name)[values["pairs"]] = values[name]
    return sums
