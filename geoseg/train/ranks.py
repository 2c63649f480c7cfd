"""A training on several devices: a process for each, and one that watches them."""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from geoseg.errors import GeosegError, ParameterError, ResourceError
from geoseg.scratch import scratch_folder
from geoseg.train.team import Team

__all__ = ["Work", "in_ranks"]

_PATIENCE = 5.0
"""Seconds that are waited for the cause where a process has failed, perhaps for want of another."""

Work = Callable[[Team, Callable[..., None]], Any]
"""What each process does with its team; what it calls the second with is heard by who watches."""


def in_ranks(work: Work, devices: Sequence[str], *, hear: Callable[..., None]) -> Any:
    """What ``work`` gives in the first of several processes of this machine that compute together.

    This process only watches, so that it can end all of them whatever becomes of one. They die with it.

    Args:
        work: Is pickled.
        devices: Of each process.
        hear: Is called with what the first one tells.

    Raises:
        GeosegError: What one of them raised, or that one ended without a word.
        ParameterError: If ``work`` cannot be handed to another process.
    """
    try:
        # plainly: torch's pickling for processes would give all of them the same weights in shared memory
        packed = pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ParameterError(f"the network cannot be handed to other processes ({error}): use one device") from error
    with scratch_folder("train") as folder:
        teams = [Team(number=i, of=len(devices), device=device) for i, device in enumerate(devices)]
        with _processes(teams, folder / "meeting", packed) as processes:
            return _watch(processes, hear)


@contextmanager
def _processes(teams: Sequence[Team], meeting: Path, packed: bytes) -> Iterator[dict[Connection, BaseProcess]]:
    """A process for each, beside the connection on which it tells; all of them are gone in the end."""
    context = _context(teams[0].device)
    started: dict[Connection, BaseProcess] = {}
    try:
        for team in teams:
            ours, theirs = context.Pipe(duplex=False)
            name = f"process {team.number + 1} of {team.of} of the training, on {team.device},"
            process: BaseProcess = context.Process(
                target=_run, args=(team, meeting, theirs, packed), name=name, daemon=True
            )
            process.start()
            started[ours] = process
            theirs.close()  # with the child's end, the last one: its end is seen here
        yield started
    finally:
        for process in started.values():
            process.kill()
        for ours, process in started.items():
            process.join()
            ours.close()


def _context(device: str) -> SpawnContext | ForkServerContext:
    """How processes start: where it is safe, forked from one that has imported what all of them need."""
    if device != "cpu" or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["geoseg.train.fit"])
    return context


def _watch(processes: dict[Connection, BaseProcess], hear: Callable[..., None]) -> Any:
    """What the first process gives when all have ended well."""
    results: dict[Connection, Any] = {}
    running = dict(processes)
    failure: BaseException | None = None
    while running:
        # where one fails, others fail for want of it: the cause may still be on its way
        ready = wait(list(running), timeout=None if failure is None else _PATIENCE)
        if not ready:
            break
        for connection in ready:
            assert isinstance(connection, Connection)
            kind, content = _heard(connection, running[connection])
            if kind == "told":
                hear(*content)
                continue
            del running[connection]
            if kind == "gave":
                results[connection] = content
            elif isinstance(content, GeosegError):
                raise content
            else:
                failure = failure or content
    if failure is not None:
        raise failure
    return results[next(iter(processes))]


def _heard(connection: Connection, process: BaseProcess) -> tuple[str, Any]:
    try:
        kind, content = connection.recv()
    except EOFError:
        process.join(timeout=_PATIENCE)
        code = process.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        return "failed", ResourceError(
            f"{process.name} ended {how} and said nothing: was it killed, or did memory not suffice? Give the command "
            "again to go on"
        )
    return kind, content


def _run(team: Team, meeting: Path, connection: Connection, packed: bytes) -> None:
    """All that a process does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_it)
    threading.Thread(target=_die_with_parent, name="geoseg-parent", daemon=True).start()

    def tell(*content: Any) -> None:
        if team.number == 0:
            connection.send(("told", content))

    try:
        _meet(team, meeting)
        connection.send(("gave", pickle.loads(packed)(team, tell)))  # noqa: S301 - from the process that started this one
        threading.Event().wait()  # until it is ended: others may still compute with it
    except GeosegError as error:
        connection.send(("failed", error))
    except BaseException as error:  # noqa: BLE001 - raised again by the one that watches
        failure = RuntimeError(f"{type(error).__name__}: {error}")
        failure.add_note(traceback.format_exc())
        connection.send(("failed", failure))


def _leave_it(_number: int, _frame: Any) -> None:
    """An interrupt goes to all processes of a terminal: the one that watches ends the others."""


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _meet(team: Team, meeting: Path) -> None:
    """Join the others, at a file: no port is opened to the outside."""
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    backend = "gloo"
    if team.device.startswith("cuda"):
        torch.cuda.set_device(team.device)
        backend = "nccl" if dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, init_method=meeting.as_uri(), rank=team.number, world_size=team.of)
