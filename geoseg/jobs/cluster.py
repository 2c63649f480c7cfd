"""Where tasks run: in this process, in local processes, or on a cluster the user has."""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from geoseg.errors import GeosegError, ParameterError, ResourceError
from geoseg.jobs.allocator import keep_memory, memory_environment
from geoseg.scratch import scratch_folder

__all__ = ["COMPUTE", "TICK_S", "LostWorkersError", "Pool", "connect", "helpers"]

_log = logging.getLogger(__name__)
_QUIET = {
    # dask looks at what its threads do a hundred times a second; each time a core is taken from the network, and the
    # network's other threads wait for it: a Unet ran 20 % slower
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    # the records of a hundred thousand blocks, of which dask would warn
    "distributed.admin.large-graph-warning-threshold": "1 GiB",
}
COMPUTE = "geoseg-compute"
"""Worker resource that a block takes one of: as many as blocks may compute at once on the worker's device."""
GPU = "GPU"
"""What it is called on clusters that others set up; taken where no worker declares the other."""
TICK_S = 2.0
"""How often who waits for a task looks whether there is still somebody at work."""
_LOST = 60.0  # seconds without a worker after which none is expected to come back
_FIRST = 30.0  # seconds that the first worker of a cluster may take to come: both may have been started just now
_REFRESH = 5.0  # seconds after which the workers of a cluster, which may come and go, are counted again
_TIMED_OUT = 75  # exit code of a worker process whose block took too long


class LostWorkersError(ResourceError):
    """There is nobody any more who would do the work."""


class Pool:
    """A Dask client and what a caller has to know of its workers."""

    def __init__(
        self, client: Any, *, threads: int | None, at_once: int | None, shown: str = "", timeout: float | None = None
    ) -> None:
        """Wrap a client.

        Args:
            client: ``distributed.Client``.
            threads: Threads per network on each worker; None leaves torch's own number.
            at_once: Blocks that compute at once on all workers together; None asks the workers, again and again.
            shown: Address of a cluster that is not this program's own.
            timeout: Seconds after which a worker whose block is not done is given up.
        """
        self.client = client
        self.threads = threads
        self.shown = shown
        self.timeout = timeout
        self._resource: str | None = COMPUTE
        self._at_once = at_once or 0
        self._counted = -_REFRESH
        self._seen = time.monotonic()
        self._fixed = at_once is not None
        if at_once is None:
            self._count()

    @property
    def remote(self) -> bool:
        """Whether the workers may be on other machines."""
        return bool(self.shown)

    @property
    def slots(self) -> int:
        """Blocks to keep in flight: what computes, and as much that waits."""
        if not self._fixed and time.monotonic() - self._counted > _REFRESH:
            self._count()
        return 2 * max(self._at_once, 1)

    def submit_block(self, function: Any, *args: Any, retries: int = 0) -> Any:
        """A future of a task that computes on the workers' devices; ``retries`` after an error, not a lost worker."""
        resources = {self._resource: 1} if self._resource is not None else None
        if self.timeout is not None:
            function, args = _within, (self.timeout, function, *args)
        return self.client.submit(_told, function, *args, pure=False, resources=resources, retries=retries)

    def submit(self, function: Any, *args: Any) -> Any:
        """A future of a task that does not compute on a device; it goes before blocks that wait."""
        return self.client.submit(_told, function, *args, pure=False, priority=10)

    def result_of(self, future: Any) -> Any:
        """The result of a future of `submit`.

        Raises:
            LostWorkersError: If there is nobody any more to wait for.
        """
        while not future.done():
            try:
                return future.result(timeout=TICK_S)
            except TimeoutError:
                if not future.done():  # else it is the task's own
                    self.check()
        return future.result()

    def check(self) -> None:
        """See that there is somebody to wait for.

        Raises:
            LostWorkersError: If the scheduler is gone, or no worker has been there for a minute.
        """
        shown = f" at {self.shown}" if self.shown else ""
        if self.client.status != "running":
            raise LostWorkersError(
                f"the Dask scheduler{shown} is gone: start it, then run again; finished blocks are kept"
            )
        if self._workers():
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > _LOST:
            raise LostWorkersError(
                f"the Dask scheduler{shown} has had no worker for {_LOST:.0f} s: start some, then run again; "
                "finished blocks are kept"
            )

    def refuse_workers_without(self, folder: Path) -> None:
        """See that every worker has this geoseg and sees a folder of this machine under the same path.

        Raises:
            ResourceError: If one does not.
        """
        from geoseg import __version__

        for address, found in self.client.run(_sees, str(folder), on_error="return").items():
            if isinstance(found, BaseException):
                problem = f"cannot run geoseg ({type(found).__name__}: {found}): install it there"
            elif found[0] != __version__:
                problem = f"has geoseg {found[0]}, here is {__version__}: install the same on both"
            elif not found[1]:
                problem = f"does not see {folder}: give inputs and --output on a disk that all machines share"
            else:
                continue
            raise ResourceError(f"the worker at {address} {problem}")

    def _workers(self) -> dict[str, Any] | None:
        """What the scheduler says of each worker, by its address; None if it says nothing."""
        try:
            found: dict[str, Any] = self.client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError, RuntimeError, ValueError):  # as the connection breaks, or is closed already
            return None
        return found

    def _count(self) -> None:
        workers = self._workers()
        if not workers:  # what they declared is true of those that will come back
            self._counted = time.monotonic()
            return
        found = workers.values()
        for resource in (COMPUTE, GPU):
            declared = sum(int(w.get("resources", {}).get(resource, 0)) for w in found)
            if declared:
                self._resource, self._at_once = resource, declared
                break
        else:
            self._resource, self._at_once = None, sum(int(w["nthreads"]) for w in found)
        self._counted = time.monotonic()


def _told(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function; an error of geoseg's goes without its causes.

    Dask sends causes along, and GDAL's cannot be sent: the error would arrive as a plain one with its own text in it.
    """
    try:
        return function(*args)
    except GeosegError as error:
        _log.debug("%s", error, exc_info=True)
        error.__cause__ = error.__context__ = None
        raise


def _within(seconds: float, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function; a process in which it takes longer ends, for nothing else ends a thread that hangs."""
    alarm = threading.Timer(seconds, os._exit, [_TIMED_OUT])
    alarm.daemon = True
    alarm.start()
    try:
        return function(*args)
    finally:
        alarm.cancel()


def _sees(folder: str) -> tuple[str, bool]:
    from geoseg import __version__

    return __version__, Path(folder).is_dir()


@contextmanager
def helpers() -> Iterator[tuple[Executor, int]]:
    """Where a task lets pieces of its work run, and how many at once: on all workers of the cluster it runs on.

    Outside a cluster, in threads of this process.
    """
    import distributed

    try:
        distributed.get_worker()
    except ValueError:
        threads = os.cpu_count() or 1
        with ThreadPoolExecutor(threads, "geoseg-help") as pool:
            yield pool, threads
        return
    # the task gives its thread back while it waits, so that its pieces do not wait for it
    with distributed.worker_client() as client:
        found = client.scheduler_info(n_workers=-1)["workers"]
        yield client.get_executor(pure=False), sum(int(w["nthreads"]) for w in found.values())


@contextmanager
def connect(
    *,
    workers: int = 0,
    scheduler: str | None = None,
    scheduler_file: str | None = None,
    accelerated: bool = False,
    block_timeout: float | None = None,
) -> Iterator[Pool]:
    """A pool of workers, closed at the end.

    Args:
        workers: Processes on this machine, on loopback; 0 runs everything in this process and opens no port.
        scheduler: Address of a running Dask scheduler instead, such as ``tcp://host:8786``.
        scheduler_file: Its connection file instead of its address.
        accelerated: Whether blocks compute on a GPU: then two of them are in flight per worker, so that one reads and
            writes while the other computes. On a CPU one block's threads fill the machine.
        block_timeout: Seconds after which a worker process whose block is not done is ended, and the block tried on
            another; None waits for ever.

    Raises:
        ParameterError: If more than one kind of place is named, or a timeout without a process that can be ended.
        ResourceError: If the scheduler does not answer or has no worker.
    """
    if sum((workers > 0, scheduler is not None, scheduler_file is not None)) > 1:
        raise ParameterError("--workers, --scheduler and --scheduler-file exclude one another: give one of them")
    if workers < 0:
        raise ParameterError(f"{workers} workers: give 0 (this process) or more")
    if block_timeout is not None and (block_timeout <= 0 or not (workers or scheduler or scheduler_file)):
        raise ParameterError(
            f"block timeout of {block_timeout:g} s: only worker processes can be ended; give more than 0 s, and "
            "--workers 1 or more"
        )
    import dask
    import distributed  # its import sets up its logging

    at_once = 2 if accelerated else 1
    with ExitStack() as stack:
        stack.callback(_set_scheduler, dask.config.get("scheduler", None))
        # blocks are planned by geoseg; dask's own spilling and pausing would only stall them
        folder = str(stack.enter_context(scratch_folder("dask")))
        # ... and its lock files would stay behind in the temporary folder of the machine
        settings = {"distributed.comm.timeouts.connect": _patience(), "temporary-directory": folder, **_QUIET}
        # by default a worker process that died and is not back within 15 s is never replaced; one takes 10 s to start,
        # and longer where the machine is busy
        settings["distributed.deploy.lost-worker-timeout"] = "1 h"
        if block_timeout is not None:
            # a process that stands still altogether cannot end itself: its silence is noticed instead
            settings["distributed.scheduler.worker-ttl"] = f"{max(block_timeout, 30.0)} s"
        stack.enter_context(dask.config.set(settings))
        # what goes wrong with a task comes back as its error, which geoseg says better
        logger = logging.getLogger(distributed.__name__)
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)
        if scheduler is not None or scheduler_file is not None:
            yield _existing(stack, scheduler, scheduler_file, block_timeout)
            return
        if workers:
            yield _processes(stack, workers, at_once, folder, block_timeout)
        else:
            keep_memory()  # before the worker's threads are there
            yield _this_process(stack, at_once, folder)


def _this_process(stack: ExitStack, at_once: int, folder: str) -> Pool:
    """A scheduler and a worker in this process that talk through memory: no socket is opened.

    Dask starts an HTTP server for its dashboard even when told not to have one, so it is left out here.
    """
    from distributed import Client, Scheduler, SpecCluster, Worker

    class SilentScheduler(Scheduler):
        def start_http_server(self, *_: Any, **__: Any) -> None: ...

    class SilentWorker(Worker):
        def start_http_server(self, *_: Any, **__: Any) -> None: ...

    # one thread more than blocks at once: assembling a finished scene goes on beside the next scene's blocks
    options = {"nthreads": at_once + 1, "memory_limit": 0, "resources": {COMPUTE: at_once}, "local_directory": folder}
    cluster = SpecCluster(
        scheduler={"cls": SilentScheduler, "options": {"protocol": "inproc", "dashboard": False}},
        workers={0: {"cls": SilentWorker, "options": options}},
        silence_logs=logging.CRITICAL,
    )
    stack.callback(cluster.close)
    client = stack.enter_context(Client(cluster, set_as_default=False))
    return Pool(client, threads=None, at_once=at_once)


def _processes(stack: ExitStack, workers: int, at_once: int, folder: str, timeout: float | None) -> Pool:
    from distributed import Client, LocalCluster

    # workers are started by spawn and read their thread counts at import: Dask's nanny would set 1
    threads = max(1, (os.cpu_count() or 1) // workers)
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=at_once + 1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # by default it listens on every interface
        worker_dashboard_address="127.0.0.1:0",
        memory_limit=0,
        resources={COMPUTE: at_once},
        local_directory=folder,
        silence_logs=logging.CRITICAL,
        env=memory_environment()
        | {f"DASK_{key.replace('.', '__').upper()}": str(value) for key, value in _QUIET.items()},
    )
    stack.callback(cluster.close)
    client = stack.enter_context(Client(cluster, set_as_default=False))
    # Ctrl-C goes to every process of the terminal: this one ends the others, which would only say where they were
    client.run(_ignore_interrupts)
    return Pool(client, threads=threads, at_once=workers * at_once, timeout=timeout)


def _set_scheduler(name: Any) -> None:
    """What computes Dask's collections: a client that a task asks for in this process makes itself the one for all."""
    import dask

    if name is None:
        dask.config.config.pop("scheduler", None)
    else:
        dask.config.set(scheduler=name)


def _ignore_interrupts() -> None:
    """Called in the main thread of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _patience() -> str:
    """How long an address is tried: Dask's own variable, else less than its 30 s."""
    return os.environ.get("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "10s")


def _existing(stack: ExitStack, scheduler: str | None, scheduler_file: str | None, timeout: float | None) -> Pool:
    from distributed import Client

    shown = str(scheduler or scheduler_file)
    try:
        # read here: Dask waits for ever for a missing file, and one without an address trips it
        address = scheduler if scheduler_file is None else str(json.loads(Path(scheduler_file).read_text())["address"])
        client = stack.enter_context(Client(address, set_as_default=False, timeout=_patience()))
    except (OSError, ValueError, KeyError, TypeError) as error:  # the last two: a connection file of another kind
        raise ResourceError(f"no Dask scheduler answers at {shown}: check the address and that it runs") from error
    try:
        client.wait_for_workers(1, timeout=_FIRST)
    except TimeoutError as error:
        raise ResourceError(f"the Dask scheduler at {shown} has no workers: start some with `dask worker`") from error
    return Pool(client, threads=None, at_once=None, shown=shown, timeout=timeout)
