"""Where tasks run: this process, local processes, a cluster that is there, and none that is."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from geoseg.errors import ParameterError, ResourceError
from geoseg.jobs.cluster import connect
from geoseg.scratch import hold_folder, scratch_folder


def process_id() -> int:
    return os.getpid()


def fail_once(marker: Path) -> str:
    if marker.exists():
        return "done"
    marker.touch()
    raise OSError("the server was away")


def test_without_workers_tasks_run_in_this_process() -> None:
    with connect() as pool:
        assert pool.submit(process_id).result() == os.getpid()
        assert pool.submit_block(process_id).result() == os.getpid()


def test_an_error_is_not_tried_again_unless_asked_for(tmp_path: Path) -> None:
    with connect() as pool:
        assert pool.submit_block(fail_once, tmp_path / "a", retries=2).result() == "done"
        with pytest.raises(OSError, match="the server was away"):
            pool.submit_block(fail_once, tmp_path / "b").result()


def fail_with_a_cause() -> None:
    import rasterio
    from rasterio.errors import RasterioError

    from geoseg.errors import SceneError

    try:
        rasterio.open(__file__, driver="GTiff")
    except RasterioError as error:
        raise SceneError("this.tif: cannot be opened; download it again") from error


def test_an_error_arrives_as_what_it_is_whatever_caused_it() -> None:
    """GDAL's errors cannot be sent: with one as its cause, an error came as a plain exception that quoted it."""
    from geoseg.errors import SceneError

    with connect() as pool:
        for submit in (pool.submit, pool.submit_block):
            with pytest.raises(SceneError, match=r"^this\.tif: cannot be opened; download it again$"):
                submit(fail_with_a_cause).result()


def test_nothing_stays_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with connect() as pool:
        pool.submit(process_id).result()
    assert list(tmp_path.iterdir()) == []


DIE = """
import os, sys, tempfile
from geoseg.scratch import scratch_folder
tempfile.tempdir = sys.argv[1]
with scratch_folder("dask") as folder:
    open(os.path.join(folder, "something of dask's"), "w").close()
    print(folder, flush=True)
    if sys.argv[2] == "die":
        os._exit(9)
    sys.stdin.read()
"""


def test_what_killed_runs_left_in_the_temporary_folder_goes_at_the_next_start_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.run([sys.executable, "-c", DIE, tmp_path, "die"], capture_output=True, text=True, check=False)
    words = [sys.executable, "-c", DIE, str(tmp_path), "live"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        alive = Path(process.stdout.readline().strip())
        assert not Path(dead.stdout.strip()).exists()  # the second has found what the first left
        others = tmp_path / "geoseg-dask-of somebody", tmp_path / "geoseg-dask-link"
        others[0].mkdir()
        others[1].symlink_to(others[0])
        with scratch_folder("train") as mine:  # whatever the kind
            assert {p.name for p in tmp_path.iterdir()} == {alive.name, mine.name, *(p.name for p in others)}
            assert (alive / "something of dask's").exists()
        process.communicate()
    assert set(tmp_path.iterdir()) == set(others)


def test_places_exclude_one_another() -> None:
    with pytest.raises(ParameterError, match="exclude one another"), connect(workers=1, scheduler="tcp://x:1"):
        pass
    with pytest.raises(ParameterError, match="-1 workers"), connect(workers=-1):
        pass


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"address": "tcp://127.0.0.1:1"}'])
def test_a_connection_file_of_no_scheduler_is_named(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    file = tmp_path / "scheduler.json"
    file.write_text(content)
    with (
        pytest.raises(ResourceError, match=r"no Dask scheduler answers at .*scheduler\.json: check the address"),
        connect(scheduler_file=str(file)),
    ):
        pass


@pytest.mark.slow
def test_a_cluster_that_is_there_is_used_and_left_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.jobs.cluster._FIRST", 0.5)
    from distributed import LocalCluster

    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=0, threads_per_worker=1, local_directory=str(tmp_path), **local) as cluster:
        with (
            pytest.raises(ResourceError, match="has no workers: start some"),
            connect(scheduler=cluster.scheduler_address),
        ):
            pass
        cluster.scale(1)
        cluster.wait_for_workers(1)
        file = tmp_path / "scheduler.json"
        file.write_text(json.dumps({"address": cluster.scheduler_address}))
        for place in ({"scheduler": cluster.scheduler_address}, {"scheduler_file": str(file)}):
            with connect(**place) as pool:
                assert pool.submit_block(process_id).result() != os.getpid()
                assert pool.slots == 2
        assert cluster.status.name == "running"


@pytest.mark.slow
def test_the_first_items_of_a_process_can_be_written_in_two_threads_at_once(tmp_path: Path) -> None:
    """Found by two small scenes that were finished at the same time."""
    code = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from odc.geo.geobox import GeoBox
from affine import Affine
from geoseg.legend import Legend, LegendClass
from geoseg.outputs.stac import ItemInfo, write_item
legend = Legend(classes=(LegendClass(value=1, name="a", color="#000000"),))
box = GeoBox((10, 10), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633")
import time
import pystac
class Slow:
    # gives another thread the time to add more while all hooks are gone through
    def _get_stac_object_types(self):
        time.sleep(0.02)
        return set()
    def get_deprecation_message(self, item):
        return None
pystac.EXTENSION_HOOKS.hooks["slow"] = Slow()
start = threading.Barrier(8)
sys.setswitchinterval(1e-6)
def write(i):
    info = ItemInfo(id=str(i), geobox=box, legend=legend, processed=datetime.now(UTC))
    start.wait()
    write_item(Path(sys.argv[1], f"{i}.json"), {}, info)
with ThreadPoolExecutor(8) as pool:
    list(pool.map(write, range(8)))
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(list(tmp_path.iterdir())) == 8


REMOVE = """
import sys
from pathlib import Path
from geoseg.scratch import remove_folder
print("there", flush=True)
remove_folder(Path(sys.argv[1]))
"""


def test_who_is_killed_while_it_removes_its_folder_leaves_one_that_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cut = 0
    for i in range(8):
        folder = tmp_path / f"geoseg-dask-{i}"
        folder.mkdir()
        held = hold_folder(folder)
        assert held is not None
        os.close(held)  # its owner is dead
        for k in range(1500):
            (folder / str(k)).touch()
        with subprocess.Popen(
            [sys.executable, "-c", REMOVE, str(folder)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.002 * i)
            process.kill()
        cut += folder.exists()
    assert cut
    with scratch_folder("train") as mine:
        assert list(tmp_path.iterdir()) == [mine]
