"""One run at a time in an output folder: a lock that the kernel frees, and a note of who holds it."""

import errno
import fcntl
import getpass
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from geoseg.errors import OutputError, printable

__all__ = ["STATE", "HeldError", "Holder", "check_writable", "hold", "holder_of"]

STATE = ".geoseg"
"""Folder in an output folder for what a run needs to go on after its death; gone when nothing is unfinished."""
_LOCK = Path(STATE, "lock")
_PATIENCE_S = 0.5
"""Who only looks holds the lock for an instant, and who has just got it has not yet noted down who it is."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class HeldError(OutputError):
    """Another process works in the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who works in an output folder."""

    pid: int
    """Process on its machine."""
    host: str
    """Name of the machine."""
    user: str
    """Who started it."""
    since: str
    """When, as ISO 8601 in UTC. Shown, never compared: clocks of machines differ."""

    @classmethod
    def me(cls) -> "Holder":
        """This process."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # a container may have no name for its user
            user = str(os.getuid())
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(pid=os.getpid(), host=socket.gethostname(), user=user, since=since)

    def __str__(self) -> str:
        return f"process {self.pid} of {printable(self.user)} on {printable(self.host)}, since {printable(self.since)}"


@contextmanager
def hold(output: Path, lock: Path = _LOCK) -> Iterator[str | None]:
    """The output folder, made if missing, seen to be writable, and held so that no second run works in it.

    The lock is the kernel's, on a file in the state folder: a process that dies frees it, whatever the end, and the
    next run takes it over. What the file says of its holder is only for messages.

    Args:
        output: Folder of all outputs.
        lock: Name of the lock in it: who holds one may hold another.

    Yields:
        None, or why the folder could not be locked, on file systems that have no locks.

    Raises:
        HeldError: If another process holds it, with which and since when.
        OutputError: If nothing can be written into the folder.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / f".geoseg.{secrets.token_hex(4)}.part"  # a name that is cleaned up, should we be killed here
        probe.touch(exist_ok=False)
        probe.unlink(missing_ok=True)  # the run that holds the folder may have been faster
        file, note = _acquire(output, output / lock)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise _unwritable(output, output / lock, error) from error
    try:
        yield note
    finally:
        # while it is still held: whoever waits for this very file sees that it is gone, and makes another
        with suppress(OSError):
            (output / lock).unlink()
            (output / STATE).rmdir()  # what an unfinished scene needs stays
        os.close(file)


def check_writable(output: Path) -> None:
    """For who only looks: see that a run could begin in an output folder; nothing is made or changed.

    Raises:
        OutputError: If it could not.
    """
    lock = output / _LOCK
    there = next((p for p in (output, *output.absolute().parents) if os.path.lexists(p)), output)
    # the system says for whom it would refuse: who may do everything may not write on a disk that is read-only either
    for wrong, number in (
        (not there.is_dir(), errno.ENOTDIR),
        (not os.access(there, os.W_OK | os.X_OK), _reason(there)),
        (os.path.lexists(lock.parent) and not lock.parent.is_dir(), errno.ENOTDIR),
        (lock.is_dir(), errno.EISDIR),
    ):
        if wrong:
            raise _unwritable(output, lock, OSError(number, os.strerror(number)))


def _reason(folder: Path) -> int:
    """Why a folder cannot be written into."""
    try:
        return errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
    except OSError as error:
        return error.errno or errno.EACCES


def _unwritable(output: Path, lock: Path, error: OSError) -> OutputError:
    """That nothing can be written into an output folder, with what is in the way."""
    for path, kind in ((lock.parent, "folder"), (lock, "file")):
        if path != output and os.path.lexists(path) and not (path.is_dir() if kind == "folder" else path.is_file()):
            return OutputError(
                f"cannot write into {printable(output)}: {printable(path)} is in the way, where geoseg keeps a {kind} "
                "of its own; move it away, or choose another --output"
            )
    reason = (error.strerror or str(error)).lower()
    return OutputError(f"cannot write into {printable(output)}: {reason}; choose another --output")


def holder_of(output: Path, lock: Path = _LOCK) -> Holder | None:
    """Who holds an output folder, as far as can be said; None if nobody does."""
    try:
        file = os.open(output / lock, os.O_RDWR)
    except OSError:
        return None
    try:
        # shared: others who look are not taken for a run
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(file)
    except OSError:
        return None
    else:
        return None
    finally:
        os.close(file)


def _acquire(output: Path, path: Path) -> tuple[int, str | None]:
    """The lock file, held, and why it is not, on file systems that have no locks."""
    me = json.dumps(asdict(Holder.me())).encode()  # before: to look up a user's name may take its time
    while True:
        try:
            with suppress(FileExistsError):
                path.parent.mkdir()
            # for reading and writing: network file systems give exclusive locks on nothing else
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:  # a run that ended took the folder with it
            if not output.is_dir() or path.parent.is_symlink():
                raise
            continue
        try:
            note = _lock(file, output)
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(file).st_ino:
                    os.ftruncate(file, 0)
                    # whole in one write: who is refused reads it at any moment
                    os.pwrite(file, me, 0)
                    return file, note
        except BaseException:  # whatever it is, an open file would hold the lock on
            os.close(file)
            raise
        os.close(file)  # a run that ended between our opening and our locking took the file with it


def _lock(file: int, output: Path) -> str | None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() < until:
                time.sleep(_PATIENCE_S / 20)
                continue
            holder = _read(file)
            who = f": {holder}" if holder is not None else ""
            raise HeldError(
                f"another run is writing into {printable(output)}{who}; wait for it to end, or choose another --output"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return f"{printable(output)} lies on a disk without locks: see to it that no second run writes there"
        return None


def _read(file: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(file, 4096, 0)))
    except (OSError, ValueError, TypeError):  # not yet written
        return None
