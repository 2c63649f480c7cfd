"""What is finished of scenes that are not: a row for each block, so that a run that died is taken up where it was.

The journal lies beside the parts in the state folder of the output folder, which the caller holds. It has one row for
each finished block, with the checksums of its part file and its sums, so that areas need no second read. A row is
written after its part is complete and durable under its final name; without its row a part counts as not there. A
journal that is lost or damaged costs the time to compute again, never a wrong result.
"""

import json
import shutil
import sqlite3
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from geoseg.area.expected import ExpectedTotals
from geoseg.area.sums import ClassTotals
from geoseg.errors import OutputError, printable
from geoseg.inference.lattice import Block
from geoseg.jobs.block import BlockResult
from geoseg.outputs.parts import Part

__all__ = ["Journal", "PartJournal", "R", "finished_blocks", "parts_folder"]

_VERSION = 1
_NAME = "journal.sqlite"
_PATIENCE_S = 5.0  # who only looks how far a run is holds the file for as long
_PARTS = "parts"
_SCHEMA = f"""
CREATE TABLE scenes (scene TEXT PRIMARY KEY, key TEXT NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL);
CREATE TABLE blocks (
    scene TEXT NOT NULL, row_off INTEGER NOT NULL, col_off INTEGER NOT NULL, result TEXT NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (scene, row_off, col_off)
) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""
_DISK = ("disk", "readonly", "locked", "unable to open")
"""Words of SQLite's messages when not the database but its place is at fault."""
_SUMS = ("pixels", "units", "conf_sum", "conf_pixels")


class _Finished(Protocol):
    """What a finished block leaves, whatever was made of it."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its files, all of this block."""
        ...


R = TypeVar("R", bound=_Finished)


class PartJournal(ABC, Generic[R]):
    """The finished blocks of unfinished scenes. Used in one thread, by the one run that holds the output folder."""

    @staticmethod
    @abstractmethod
    def to_dict(result: R) -> dict[str, Any]:
        """A result as plain values; its part by name only, so that an output folder can be moved."""

    @staticmethod
    @abstractmethod
    def from_dict(values: dict[str, Any], folder: Path) -> R:
        """The way back, given where the parts lie."""

    def __init__(self, state: Path) -> None:
        """Open the journal of a state folder, or begin one.

        Args:
            state: The state folder; made if missing.

        Raises:
            OutputError: If it cannot be written.
        """
        self._state = state
        self.notes: tuple[str, ...] = ()
        """What was found wrong and is said aloud."""
        with _said(state):
            state.mkdir(exist_ok=True)
            try:
                self._db = _connect(state / _NAME)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter from texts of a damaged schema
                if not _is_damage(error):
                    raise
                note = f"{printable(state / _NAME)} is damaged, so blocks that were finished are computed again"
                self.notes = (note,)
                for file in state.glob(f"{_NAME}*"):
                    file.unlink()
                self._db = _connect(state / _NAME)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; nothing stays where no scene is unfinished."""
        with _said(self._state):
            unfinished = self._db.execute("SELECT 1 FROM blocks LIMIT 1").fetchone()
            self._db.close()
            if unfinished is None:
                shutil.rmtree(self._state / _PARTS, ignore_errors=True)
                for file in self._state.glob(f"{_NAME}*"):
                    file.unlink()

    def folder(self, scene: str) -> Path:
        """Where the parts of a scene lie."""
        return parts_folder(self._state, scene)

    def cut(self, scene: str, key: str) -> tuple[int, int] | None:
        """Height and width of the blocks that a scene was cut into when it was begun with this key."""
        found = self._db.execute("SELECT height, width FROM scenes WHERE scene = ? AND key = ?", (scene, key))
        row = found.fetchone()
        return None if row is None else (int(row[0]), int(row[1]))

    def begin(self, scene: str, key: str, cut: tuple[int, int]) -> set[Block]:
        """Take up a scene where it was left, or begin it: which of its blocks are finished.

        Blocks that were finished with another key or cut are forgotten, and so are parts that are not as large as they
        were. Files that have no row are removed: a process that died left them.

        Args:
            scene: Id of the scene.
            key: Of all that shapes its parts.
            cut: Height and width of its blocks.

        Raises:
            OutputError: If the state folder cannot be written.
        """
        folder = self.folder(scene)
        with _said(self._state):
            known = self._db.execute("SELECT key, height, width FROM scenes WHERE scene = ?", (scene,)).fetchone()
            if known != (key, *cut):
                with self._db:
                    self._db.execute("DELETE FROM blocks WHERE scene = ?", (scene,))
                    self._db.execute("INSERT OR REPLACE INTO scenes VALUES (?, ?, ?, ?)", (scene, key, *cut))
            folder.mkdir(parents=True, exist_ok=True)
            # results are as large as a scene has blocks, so they are not held
            finished = {
                part.path.name: part.block
                for result in self.results(scene)
                if _is_there(result)
                for part in result.parts
            }
            for file in folder.iterdir():
                if file.name not in finished:
                    file.unlink()
        return set(finished.values())

    def add(self, scene: str, result: R) -> None:
        """Write down a finished block; durable when this returns.

        Raises:
            OutputError: If that fails: the block counts as not finished then.
        """
        text = json.dumps(self.to_dict(result), separators=(",", ":"))
        block = result.parts[0].block
        row = (scene, block.row_off, block.col_off, text, zlib.crc32(text.encode()))
        with _said(self._state), self._db:
            self._db.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?)", row)

    def results(self, scene: str) -> Iterator[R]:
        """The finished blocks of a scene, row by row; rows that are not as they were written are left out."""
        with _said(self._state):
            yield from _read(self._db, scene, self.folder(scene), self.from_dict)

    def drop(self, scene: str, blocks: Iterable[Block]) -> None:
        """Forget some blocks, whose parts turned out to be damaged."""
        with _said(self._state), self._db:
            for block in blocks:
                place = (scene, block.row_off, block.col_off)
                self._db.execute("DELETE FROM blocks WHERE scene = ? AND row_off = ? AND col_off = ?", place)

    def forget(self, scene: str) -> None:
        """Forget a scene, and remove its parts: rows first, so that none is left without its part."""
        with _said(self._state):
            if self._db.execute("SELECT 1 FROM scenes WHERE scene = ?", (scene,)).fetchone() is None:
                return  # a commit waits for the disk, and most scenes of a nightly run are finished
            with self._db:
                self._db.execute("DELETE FROM blocks WHERE scene = ?", (scene,))
                self._db.execute("DELETE FROM scenes WHERE scene = ?", (scene,))
            shutil.rmtree(self.folder(scene), ignore_errors=True)


class Journal(PartJournal[BlockResult]):
    """Of a run."""

    @staticmethod
    def to_dict(result: BlockResult) -> dict[str, Any]:
        """A result as plain values."""
        totals = result.totals
        present = np.flatnonzero(totals.pixels)
        return {
            "part": result.part.to_dict() | {"path": result.part.path.name},
            "values": present.tolist(),
            "sums": {name: getattr(totals, name)[present].tolist() for name in _SUMS},
            "expected": None if result.expected is None else list(result.expected.weighted_units),
        }

    @staticmethod
    def from_dict(values: dict[str, Any], folder: Path) -> BlockResult:
        """The way back."""
        totals = ClassTotals.zero()
        for name in _SUMS:
            getattr(totals, name)[values["values"]] = values["sums"][name]
        part = values["part"]
        expected = values["expected"]
        return BlockResult(
            part=Part.from_dict(part | {"path": str(folder / part["path"])}),
            totals=totals,
            expected=None if expected is None else ExpectedTotals(weighted_units=tuple(expected)),
        )


def parts_folder(state: Path, scene: str) -> Path:
    """Where the parts of a scene lie in a state folder."""
    return state / _PARTS / scene


def finished_blocks(state: Path, scene: str, key: str) -> tuple[tuple[int, int], int] | None:
    """For who only looks: the cut of a scene that was begun with a key, and how many of its blocks are finished.

    Returns:
        None where there is no such scene, or the journal cannot be read, because a run is at work for instance.
    """
    if not (state / _NAME).is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{(state / _NAME).resolve().as_uri()}?mode=ro", uri=True, timeout=0)) as db:
            db.text_factory = _text
            found = db.execute("SELECT height, width FROM scenes WHERE scene = ? AND key = ?", (scene, key)).fetchone()
            if found is None:
                return None
            n = sum(map(_is_there, _read(db, scene, parts_folder(state, scene), Journal.from_dict)))
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return None
    return (int(found[0]), int(found[1])), n


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_PATIENCE_S)
    db.text_factory = _text
    try:
        # one process only, and no shared memory: so it works on file systems of other machines, too
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        _check(db)
    except BaseException:  # whatever it is, the file must not stay locked
        db.close()
        raise
    return db


def _text(data: bytes) -> str:
    """Text of a row; of a damaged one something else, which its checksum shows."""
    return data.decode("utf-8", "replace")


def _check(db: sqlite3.Connection) -> None:
    """See that a database is a whole journal of this version; an empty one becomes one."""
    (check,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if check != "ok" or version not in (0, _VERSION):
        raise sqlite3.DatabaseError(f"check {check}, version {version}")
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    with closing(sqlite3.connect(":memory:")) as whole:
        whole.executescript(_SCHEMA)
        if _tables(db) != _tables(whole):  # a flipped bit may have given a column another name
            raise sqlite3.DatabaseError("other tables")
    # the check does not follow all that reading does
    for (scene,) in db.execute("SELECT scene FROM scenes").fetchall():
        for _ in _rows(db, scene):
            pass


def _tables(db: sqlite3.Connection) -> list[str]:
    return sorted(map(repr, db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")))


def _is_damage(error: Exception) -> bool:
    """Whether the file is no journal any more; a disk that is full or cannot be written is something else."""
    disk = isinstance(error, sqlite3.OperationalError)
    return not (disk and any(word in str(error) for word in _DISK))


@contextmanager
def _said(state: Path) -> Iterator[None]:
    """Errors of the database and the disk as one that names the state folder."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, OutputError):
            raise
        if (state / _NAME).is_dir():
            raise OutputError(
                f"cannot keep the journal {printable(state / _NAME)}: a folder is in its place; move it away, or "
                "choose another --output"
            ) from error
        raise OutputError(
            f"cannot keep the journal in {printable(state)}: {printable(error)}; free or mend that disk, or choose "
            "another --output, then run again"
        ) from error


def _rows(db: sqlite3.Connection, scene: str) -> Iterator[tuple[Any, Any]]:
    yield from db.execute("SELECT result, crc FROM blocks WHERE scene = ? ORDER BY row_off, col_off", (scene,))


def _read(
    db: sqlite3.Connection, scene: str, folder: Path, from_dict: Callable[[dict[str, Any], Path], R]
) -> Iterator[R]:
    for text, crc in _rows(db, scene):
        # a flipped bit in a page of the database shows in no other way
        if isinstance(text, str) and zlib.crc32(text.encode()) == crc:
            yield from_dict(json.loads(text), folder)


def _is_there(result: _Finished) -> bool:
    try:
        return all(part.path.stat().st_size == part.size for part in result.parts)
    except OSError:
        return False
