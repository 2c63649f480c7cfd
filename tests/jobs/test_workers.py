"""Worker processes that die, hang, or are killed by one block: the rest is done, and what is at fault is named."""

import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from geoseg.inference.recipe import Choices
from geoseg.jobs.cluster import Pool, connect
from geoseg.jobs.outcome import Event, Options
from geoseg.jobs.places_run import PlaceJob, work_on_places
from geoseg.jobs.run import run
from geoseg.models.load import load_model
from tests.commands import Forks
from tests.conftest import Command, WriteScene, blobs, write_raster
from tests.jobs.test_resume import rasters

pytestmark = pytest.mark.slow
OPTIONS = Options(block_size=512, formats=())


def process_id() -> int:
    return os.getpid()


def workers(pool: Pool) -> list[int]:
    return list(pool.client.run(process_id).values())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(tmp_path_factory.mktemp("workers") / "in" / "scene.tif", blobs(1100, 700))


@pytest.fixture(scope="module")
def calm(whole: Path, forked: Forks) -> Path:
    """What an undisturbed run leaves."""
    out = whole.parents[1] / "calm"
    assert forked("run", whole, "-o", out, "-m", "kmeans:3", "--block-size", 512, "--no-polygons").code == 0
    return out


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    """A scene of six blocks."""
    (tmp_path / "in").mkdir()
    return Path(shutil.copy2(whole, tmp_path / "in" / "scene.tif"))


@pytest.mark.usefixtures("warm_workers")
@pytest.mark.parametrize(
    ("n", "when"),
    [(1, "block"), (2, "block"), (1, "publishing")],
    ids=["the only worker", "one of two", "the one that writes the outputs"],
)
def test_a_killed_worker_costs_what_it_was_at(n: int, when: str, path: Path, calm: Path) -> None:
    out = path.parents[1] / "out"
    killed: list[int] = []
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if event.kind == when and not killed:
            killed.append(workers(pool)[0])
            os.kill(killed[0], signal.SIGKILL)

    with connect(workers=n) as pool:
        summary = run([str(path)], out, load_model("kmeans:3"), OPTIONS, pool=pool, listen=listen)
        assert killed
        assert set(workers(pool)) - set(killed)
    assert summary.outcomes[0].status == "done", summary.outcomes[0].error
    assert sum(e.kind == "block" for e in events) == 6
    assert rasters(out) == rasters(calm)
    assert sorted(p.name for p in out.iterdir()) == ["areas.csv", "report.html", "run.json", "scene"]


def test_a_block_that_kills_every_worker_is_named_and_the_rest_is_done(
    path: Path, write_scene: WriteScene, monkeypatch: pytest.MonkeyPatch, geoseg_command: Command
) -> None:
    others = [write_scene(f"in/other{i}.tif", shape=(400, 300), seed=i) for i in range(3)]
    out = path.parents[1] / "out"
    monkeypatch.setenv("GEOSEG_CRASH_AT", "block_512_512")
    events: list[Event] = []
    with connect(workers=2) as pool:
        inputs = list(map(str, (others[0], path, *others[1:])))
        summary = run(inputs, out, load_model("kmeans:3"), OPTIONS, pool=pool, listen=events.append)
    by_name = {o.id: o for o in summary.outcomes}
    assert {name: o.status for name, o in by_name.items()} == {
        "other0": "done",
        "scene": "failed",
        "other1": "done",
        "other2": "done",
    }
    error = by_name["scene"].error
    assert error is not None
    assert error.startswith(f"{path}: block at row 512, column 512: the worker process died again and again")
    # the blocks beside it were done, and stay so
    assert sum(e.kind == "block" and e.scene == "scene" for e in events) == 5
    monkeypatch.delenv("GEOSEG_CRASH_AT")
    ended = geoseg_command("run", path, "-o", out, "-m", "kmeans:3", "--block-size", 512, "--no-polygons")
    assert "5 blocks were finished before" in ended.err
    assert ended.code == 0


def hang(marker: Path) -> str:
    if marker.exists():
        return "done"
    marker.touch()
    time.sleep(600)
    return "never"


def hang_always() -> None:
    time.sleep(600)


def test_a_worker_that_takes_long_to_start_again_is_waited_for() -> None:
    import dask

    # Dask forgets a worker that is not back by then, which on a slow machine is none; here none is back so soon
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1 ms"}), connect(workers=1) as pool:
        first = workers(pool)[0]
        os.kill(first, signal.SIGKILL)
        assert pool.submit_block(process_id).result(timeout=200) != first


def test_a_worker_whose_block_hangs_is_ended_and_the_block_tried_on_another(tmp_path: Path) -> None:
    from distributed.scheduler import KilledWorker

    with connect(workers=1, block_timeout=3) as pool:
        before = workers(pool)
        # ends far earlier, but on a machine that does much else
        assert pool.submit_block(hang, tmp_path / "marker").result(timeout=500) == "done"
        assert workers(pool) != before
        with pytest.raises(KilledWorker):
            pool.submit_block(hang_always).result(timeout=500)
        # what ends in time is left alone
        first = pool.submit_block(process_id).result(timeout=500)
        time.sleep(4)
        assert pool.submit_block(process_id).result(timeout=500) == first


def test_a_worker_that_stands_still_altogether_is_replaced(path: Path, calm: Path) -> None:
    out = path.parents[1] / "out"
    stopped: list[int] = []

    def listen(event: Event) -> None:
        if event.kind == "block" and not stopped:
            stopped.append(workers(pool)[0])
            os.kill(stopped[0], signal.SIGSTOP)

    with connect(workers=1, block_timeout=20) as pool:
        summary = run([str(path)], out, load_model("kmeans:3"), OPTIONS, pool=pool, listen=listen)
    assert summary.outcomes[0].status == "done", summary.outcomes[0].error
    assert rasters(out) == rasters(calm)
    assert not psutil.pid_exists(stopped[0]) or psutil.Process(stopped[0]).status() == "zombie"


def test_a_timeout_needs_a_process_that_can_be_ended(path: Path, geoseg_command: Command) -> None:
    words = ["run", path, "-o", path.parents[1] / "out", "-m", "kmeans:3", "--block-timeout", 5]
    ended = geoseg_command(*words)
    assert ended.code == 2
    assert "only worker processes can be ended; give more than 0 s, and --workers 1 or more" in ended.err


def test_a_scheduler_that_goes_away_ends_the_run_with_what_was_finished(path: Path, geoseg_command: Command) -> None:
    from distributed import LocalCluster

    other = path.with_name("other.tif")
    other.write_bytes(path.read_bytes())
    out = path.parents[1] / "out"
    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, local_directory=str(out.parent / "dask"), **local)
    closed: list[threading.Thread] = []

    def listen(event: Event) -> None:
        if event.kind == "block" and not closed:
            closed.append(threading.Thread(target=cluster.close))
            closed[0].start()

    with connect(scheduler=cluster.scheduler_address) as pool:
        inputs = [str(path), str(other), str(path.with_name("third.tif"))]
        # the device of a cluster's workers is theirs: here it is known to be the same
        options = replace(OPTIONS, choices=Choices(device="cpu"))
        summary = run(inputs, out, load_model("kmeans:3"), options, pool=pool, listen=listen)
    closed[0].join()
    assert [o.status for o in summary.outcomes] == ["failed"] * 3
    first = summary.outcomes[0].error
    assert first is not None
    assert first.startswith(f"{path}: the Dask scheduler at tcp://127.0.0.1:")
    assert "is gone: start it, then run again; finished blocks are kept" in first
    ended = geoseg_command("run", path, "-o", out, "-m", "kmeans:3", "--block-size", 512, "--no-polygons")
    assert ended.code == 0, ended.err
    assert "finished before" in ended.err


def test_a_place_whose_workers_are_gone_fails_and_those_after_it_are_not_begun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr("geoseg.jobs.cluster._LOST", 1.0)
    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, local_directory=str(tmp_path), **local)
    jobs = [
        PlaceJob(name=name, inputs=(name,), function=hang_always, arguments=(), table="change")  # type: ignore[arg-type]
        for name in "abcd"
    ]
    with connect(scheduler=cluster.scheduler_address) as pool:
        timer = threading.Timer(1, cluster.scale, (0,))
        timer.start()
        outcomes = list(work_on_places(jobs, pool))
        timer.join()
        cluster.close()
    assert {o.status for o in outcomes} == {"failed"}
    assert "has had no worker for" in (outcomes[0].error or "")
    assert len(outcomes) < len(jobs)
