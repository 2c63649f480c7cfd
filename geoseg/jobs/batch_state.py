"""What a batch knows of its scenes, and of pairs of them, from run to run: one SQLite file beside the results.

It holds what the results themselves cannot tell: how often a scene or a pair failed, why, and when. Everything
else in it saves time: if the file is lost or damaged, results are opened and compared again, and nothing is
computed that is there.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from geoseg.errors import InputError, OutputError, printable

__all__ = ["BATCH_LOCK", "PairRow", "SceneRow", "State", "read_fact", "read_pairs", "read_state"]

BATCH_LOCK = Path(".batch.lock")
_PATIENCE_S = 30.0
_KIND = 0xFF  # of SQLite's codes; the rest says more of it
_NO_DAMAGE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM,
}  # fmt: skip
"""Held in the output folder while a batch is at work, beside the lock of each run of it."""
_FORMAT = 1
_Kind = Literal["done", "failed", "retired", "begun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRow:
    """What is known of one scene."""

    id: str
    """Name of its outputs."""
    href: str
    """Its file, or its URL without what follows a question mark."""
    status: _Kind
    """``retired``: its results were removed, as retention asks; ``begun``: never ended."""
    signature: str = ""
    """Of the file when it was computed, or failed."""
    settings: str = ""
    """Of the pipeline when it was computed, or failed."""
    key: str = ""
    """Run key of its results."""
    place: str = ""
    """Of its pixel grid: scenes of one place have the same."""
    acquired: str = ""
    """When it was taken, in ISO 8601; empty where not known."""
    own: bool = False
    """Whether this pipeline made the results, rather than finding them."""
    tries: int = 0
    """Failures since it last succeeded, changed or was released."""
    deaths: int = 0
    """Runs that died while it was under way."""
    under_way: bool = False
    """Whether a run works on it, or died doing so."""
    reason: str = ""
    """Why it failed."""
    tried_at: float = 0.0
    """When it failed last, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """What is known of the change between two scenes that follow each other at one place."""

    id: str
    """Name of its outputs."""
    before: str
    """Id of the earlier scene."""
    after: str
    """Id of the later one."""
    status: Literal["done", "failed", "begun"]
    """As of a scene."""
    signature: str = ""
    """Of the two maps and of how they are compared, when it was computed or failed."""
    key: str = ""
    """Of its results."""
    own: bool = False
    """Whether this pipeline made the results, rather than finding them."""
    tries: int = 0
    """Failures since it last succeeded, changed or was released."""
    deaths: int = 0
    """Runs that died while it was under way."""
    under_way: bool = False
    """Whether a run works on it, or died doing so."""
    reason: str = ""
    """Why it failed."""
    tried_at: float = 0.0
    """When it failed last, in seconds since 1970."""


_Row = TypeVar("_Row", SceneRow, PairRow)
_TABLE: dict[type[Any], str] = {SceneRow: "scenes", PairRow: "pairs"}


def _columns(kind: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


def _create(kind: type[Any]) -> str:
    columns = ", ".join(f"{c} PRIMARY KEY" if c == "id" else c for c in _columns(kind))
    return f"CREATE TABLE IF NOT EXISTS {_TABLE[kind]} ({columns}) WITHOUT ROWID;"


_FACTS = "CREATE TABLE facts (name PRIMARY KEY, value) WITHOUT ROWID;"


class State:
    """The state file, open for writing by the one process that holds the output folder."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, notes: tuple[str, ...]) -> None:
        """Use :meth:`open`."""
        self.path, self._connection = path, connection
        self.notes = notes
        """What was found to be wrong with it, to be said."""

    @classmethod
    @contextmanager
    def open(cls, path: Path, pipeline: str) -> Iterator[Self]:
        """The state of a pipeline, begun anew where there is none, or none that can be read.

        Raises:
            InputError: If it is that of another pipeline.
            OutputError: If it cannot be written.
        """
        notes: list[str] = []
        with _named(path):
            if path.exists() and (fault := _fault(path)) is not None:
                # kept for whoever wants to know; one is enough
                aside = path.with_name(f"{path.name}.damaged")
                path.replace(aside)
                for ending in ("-journal", "-wal", "-shm"):
                    path.with_name(path.name + ending).unlink(missing_ok=True)
                notes.append(
                    f"the state file {path} is damaged ({fault}): it is kept as {aside.name} and begun anew; what is "
                    "done is compared with the inputs again, counts of failures are lost"
                )
            connection = sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE_S)
            try:
                if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    connection.executescript(
                        f"BEGIN;{_create(SceneRow)}{_FACTS}PRAGMA user_version = {_FORMAT};COMMIT;"
                    )
                # files of before there were pairs lack their table, and are good for all else
                connection.execute(_create(PairRow))
                state = cls(path, connection, notes=tuple(notes))
                owner = state.fact("pipeline")
                if owner not in ("", pipeline):
                    raise InputError(
                        f"{printable(path.parent)} holds the results of pipeline {printable(owner)!r}, not of "
                        f"{pipeline!r}: name another output, or, if it was renamed, remove {path.name} there"
                    )
                if not owner:
                    state.set_fact("pipeline", pipeline)
                yield state
            finally:
                connection.close()

    def rows(self) -> dict[str, SceneRow]:
        """All scenes by id."""
        return {row.id: row for row in _rows(self._connection, SceneRow)}

    def pairs(self) -> dict[str, PairRow]:
        """All pairs by id."""
        return {row.id: row for row in _rows(self._connection, PairRow)}

    def put(self, rows: Iterable[SceneRow | PairRow]) -> None:
        """Write rows, all or none, replacing those of the same kind and id."""
        with _named(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for row in rows:
                    marks = ", ".join("?" * len(_columns(type(row))))
                    self._connection.execute(
                        f"INSERT OR REPLACE INTO {_TABLE[type(row)]} VALUES ({marks})",  # noqa: S608 - question marks
                        astuple(row),
                    )
            except BaseException:  # an interrupt, too, must leave no half of the rows
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def forget(self, ids: Iterable[str]) -> None:
        """Drop the rows of scenes."""
        with _named(self.path):
            self._connection.executemany("DELETE FROM scenes WHERE id = ?", [(i,) for i in ids])

    def forget_pairs(self, ids: Iterable[str]) -> None:
        """Drop the rows of pairs."""
        with _named(self.path):
            self._connection.executemany("DELETE FROM pairs WHERE id = ?", [(i,) for i in ids])

    def fact(self, name: str) -> str:
        """Something known of the whole; empty where it is not."""
        found = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return "" if found is None else str(found[0])

    def set_fact(self, name: str, value: str) -> None:
        """Remember something of the whole."""
        with _named(self.path):
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def bury(self) -> list[SceneRow | PairRow]:
        """Count the death of a run against the scenes and pairs that were under way in it; those."""
        rows: list[SceneRow | PairRow] = [*self.rows().values(), *self.pairs().values()]
        dead = [replace(row, under_way=False, deaths=row.deaths + 1) for row in rows if row.under_way]
        if dead:
            self.put(dead)
        return dead

    def nothing_under_way(self) -> None:
        """A run ends on purpose: nothing that was under way is to blame for it."""
        with _named(self.path):
            self._connection.execute("UPDATE scenes SET under_way = 0 WHERE under_way")
            self._connection.execute("UPDATE pairs SET under_way = 0 WHERE under_way")


def read_state(path: Path) -> tuple[dict[str, SceneRow], str]:
    """The scenes in a state file that is only looked at, and what is wrong with it, if anything."""
    if _is_nothing(path):
        return {}, ""
    if (fault := _fault(path)) is not None:
        return {}, f"the state file {path} is damaged ({fault}): the next run begins it anew"
    with _reading(path) as connection:
        return {row.id: row for row in _rows(connection, SceneRow)}, ""


def read_pairs(path: Path) -> dict[str, PairRow]:
    """The pairs in a state file that is only looked at; none where it is damaged, of which `read_state` tells."""
    if _is_nothing(path) or _fault(path) is not None:
        return {}
    with _reading(path) as connection:
        return {row.id: row for row in _rows(connection, PairRow)}


def read_fact(path: Path, name: str) -> str:
    """Something known of the whole, from a state file that is only looked at; empty where it is not."""
    if _is_nothing(path) or _fault(path) is not None:
        return ""
    with _reading(path) as connection:
        found = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return "" if found is None else str(found[0])


def _rows(connection: sqlite3.Connection, kind: type[_Row]) -> Iterator[_Row]:
    columns, table = _columns(kind), _TABLE[kind]
    if kind is PairRow and not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'pairs'").fetchone():
        return
    for values in connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):  # noqa: S608 - names from the code
        row = dict(zip(columns, values, strict=True))
        yield kind(**row | {"own": bool(row["own"]), "under_way": bool(row["under_way"])})


def _is_nothing(path: Path) -> bool:
    """Whether there is no state yet; SQLite leaves an empty file before anything is written."""
    return not path.exists() or path.stat().st_size == 0


def _fault(path: Path) -> str | None:
    """What is wrong with a state file.

    Raises:
        OutputError: If that cannot be told, because something else has it open or its disk is at fault.
    """
    try:
        if _is_nothing(path):
            return None
        with _reading(path) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                return printable(found)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != _FORMAT:
                return f"its format is {version}, this geoseg writes {_FORMAT}"
            list(_rows(connection, SceneRow))
            list(_rows(connection, PairRow))
            connection.execute("SELECT name, value FROM facts").fetchall()
    except (sqlite3.Error, ValueError, TypeError) as error:
        if getattr(error, "sqlite_errorcode", 0) & _KIND in _NO_DAMAGE:
            raise OutputError(
                f"cannot read the state file {printable(path)}: {printable(error)}; close what has it open, or mend "
                "its disk, then run again"
            ) from error
        return printable(error)
    return None


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    # rw: a run that was killed while it wrote leaves a journal that only a writer may roll back; where nothing can be
    # written SQLite reads only
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=_PATIENCE_S
    )
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of SQLite and the disk, with the file and the mend."""
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"cannot write the state file {printable(path)}: {printable(error)}; check that its disk has room and is "
            "writable, then run again"
        ) from error
