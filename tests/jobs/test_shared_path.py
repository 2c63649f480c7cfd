"""Workers that others started, elsewhere: they see the data through a shared path only, or not at all."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Command, WriteScene, blobs

pytestmark = pytest.mark.slow
WORDS = ["-m", "kmeans:3", "--block-size", "512", "--no-polygons"]
LOCAL = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1"]
Start = Callable[..., Path]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Start]:
    """A function that starts a scheduler and a worker in a folder of their own, and gives the connection file."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*before: str, **environment: str) -> Path:
        import os

        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        file = tmp_path / "scheduler.json"
        scheduler = [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler",
            "--scheduler-file",
            str(file),
            "--port",
            "0",
        ]
        worker = [*before, sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file)]
        worker += ["--nworkers", "1", "--nthreads", "2", "--memory-limit", "0", "--resources", "geoseg-compute=1"]
        for words in (scheduler, worker):
            started.append(
                subprocess.Popen(
                    [*words, *LOCAL],
                    cwd=elsewhere,
                    env=os.environ | environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            while not file.exists():
                assert started[0].poll() is None
                time.sleep(0.1)
        return file

    yield start
    for process in started[::-1]:
        process.terminate()
        process.wait(30)


def test_relative_paths_mean_the_same_to_workers_that_run_elsewhere(
    cluster: Start, write_scene: WriteScene, geoseg_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scene(pixels=blobs(1100, 700))
    monkeypatch.chdir(path.parents[1])
    assert geoseg_command("run", "in", "-o", "calm", *WORDS).code == 0
    ended = geoseg_command("run", "in", "-o", "out", *WORDS, "--scheduler-file", cluster())
    assert ended.code == 0, ended.err
    classes = [Path(out, "scene", "scene_classes.tif").read_bytes() for out in ("calm", "out")]
    assert classes[0] == classes[1]


def test_a_worker_that_does_not_see_the_output_folder_is_named_before_anything_is_computed(
    cluster: Start, write_scene: WriteScene, geoseg_command: Command
) -> None:
    path = write_scene()
    shared = path.parents[1] / "shared"
    shared.mkdir()
    # what is mounted there for the worker is another disk
    hidden = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs tmpfs "{shared}" && exec "$@"', "-"]
    if subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a mount of its own is not permitted here")
    file = cluster(*hidden)
    ended = geoseg_command("run", path, "-o", shared / "out", *WORDS, "--scheduler-file", file)
    assert ended.code == 2
    assert f"does not see {shared / 'out'}: give inputs and --output on a disk that all machines share" in ended.err
    assert not list((shared / "out").rglob("*.tif"))


def test_a_worker_without_geoseg_is_named(
    cluster: Start, write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    (tmp_path / "other" / "geoseg").mkdir(parents=True)
    (tmp_path / "other" / "geoseg" / "__init__.py").write_text("")
    path = write_scene()
    file = cluster(PYTHONPATH=str(tmp_path / "other"))
    ended = geoseg_command("run", path, "-o", tmp_path / "out", *WORDS, "--scheduler-file", file)
    assert ended.code == 2
    assert "cannot run geoseg (" in ended.err
    assert ": install it there" in ended.err


def test_a_worker_with_another_geoseg_is_named(
    cluster: Start, write_scene: WriteScene, geoseg_command: Command, tmp_path: Path
) -> None:
    import geoseg

    shutil.copytree(Path(geoseg.__file__).parent, tmp_path / "other" / "geoseg", ignore=shutil.ignore_patterns("zoo"))
    init = tmp_path / "other" / "geoseg" / "__init__.py"
    init.write_text(init.read_text("utf-8") + '\n__version__ = "0.0.0"\n', encoding="utf-8")
    path = write_scene()
    file = cluster(PYTHONPATH=str(tmp_path / "other"))
    ended = geoseg_command("run", path, "-o", tmp_path / "out", *WORDS, "--scheduler-file", file)
    assert ended.code == 2
    assert f"has geoseg 0.0.0, here is {geoseg.__version__}: install the same on both" in ended.err
