"""One run at a time: who is refused learns of whom, and who died holds nobody up."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from geoseg.errors import OutputError
from geoseg.jobs.lock import HeldError, Holder, check_writable, hold, holder_of


def test_the_folder_is_made_and_nothing_stays(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    assert holder_of(out) is None
    with hold(out) as note:
        assert note is None
        holder = holder_of(out)
        assert holder is not None
        assert (holder.pid, holder.host) == (os.getpid(), socket.gethostname())
    assert list(out.iterdir()) == []
    assert holder_of(out) is None


def test_nothing_stays_after_an_error_and_what_others_left_does(tmp_path: Path) -> None:
    (tmp_path / ".geoseg").mkdir()
    (tmp_path / ".geoseg" / "journal.sqlite").touch()
    with pytest.raises(KeyboardInterrupt), hold(tmp_path):
        raise KeyboardInterrupt
    assert [p.name for p in (tmp_path / ".geoseg").iterdir()] == ["journal.sqlite"]


@pytest.mark.parametrize("name", [".geoseg", ".geoseg/lock"])
def test_what_is_in_the_way_of_the_lock_is_named_also_by_who_only_looks(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == ".geoseg":
        path.write_text("mine")
    else:
        path.mkdir(parents=True)
    with pytest.raises(OutputError, match=rf"{path} is in the way, where geoseg keeps a"), hold(tmp_path):
        pass
    with pytest.raises(OutputError, match=rf"{path} is in the way, where geoseg keeps a"):
        check_writable(tmp_path)
    assert path.exists()


def test_who_only_looks_learns_that_nothing_can_be_written_and_makes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=rf"cannot write into {output}: not a directory"):
            check_writable(output)


HOLD = """
import sys, time
from pathlib import Path
from geoseg.errors import OutputError
from geoseg.jobs.lock import hold
try:
    with hold(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(float(sys.argv[2]))
except OutputError as error:
    print(error, flush=True)
"""


def holding(folder: Path, seconds: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", HOLD, str(folder), str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_who_comes_at_the_same_instant_learns_who_was_faster(tmp_path: Path) -> None:
    (tmp_path / ".geoseg").mkdir()
    file = os.open(tmp_path / ".geoseg" / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    timer = threading.Timer(0.1, os.pwrite, (file, json.dumps(asdict(Holder.me())).encode(), 0))
    timer.start()
    with pytest.raises(HeldError, match=f": process {os.getpid()} of "), hold(tmp_path):
        pass
    timer.join()
    os.close(file)


def test_who_only_looks_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".geoseg").mkdir()
    path = tmp_path / ".geoseg" / "lock"
    path.write_text(json.dumps(asdict(Holder.me())))  # what a killed run leaves
    file = os.open(path, os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_SH)
    assert holder_of(tmp_path) is None  # somebody else looks, too
    timer = threading.Timer(0.1, os.close, (file,))
    timer.start()
    with hold(tmp_path):
        timer.join()


def test_who_comes_second_learns_who_holds_the_folder_and_a_kill_frees_it(tmp_path: Path) -> None:
    process = holding(tmp_path, 60)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    pattern = rf"another run is writing into .*: process {process.pid} of .* on .*, since 20\d\d-.*; wait for it to end"
    with pytest.raises(OutputError, match=pattern), hold(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / ".geoseg" / "lock").exists()
    assert holder_of(tmp_path) is None
    with hold(tmp_path):
        holder = holder_of(tmp_path)
        assert holder is not None
        assert holder.pid == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", ["", "{", '{"pid": 1}', "[]", '{"pid": 1, "host": "x", "user": "y", "since": "2099"}']
)
def test_what_a_dead_run_wrote_into_the_lock_decides_nothing(content: str, tmp_path: Path) -> None:
    """A clock that was set back, too: the date of a holder is shown, never compared."""
    (tmp_path / ".geoseg").mkdir()
    (tmp_path / ".geoseg" / "lock").write_text(content)
    with hold(tmp_path):
        written = json.loads((tmp_path / ".geoseg" / "lock").read_text())
        assert written["pid"] == os.getpid()


def test_what_is_written_of_a_holder_cannot_reach_the_terminal(tmp_path: Path) -> None:
    with hold(tmp_path):
        lock = tmp_path / ".geoseg" / "lock"
        lock.write_text(json.dumps({"pid": 1, "host": "\x1b[2J", "user": "u", "since": "now"}))
        with pytest.raises(OutputError) as refused, hold(tmp_path):
            pass
        assert "\x1b" not in str(refused.value)


@pytest.mark.slow
def test_of_many_that_start_at_once_one_at_a_time_holds_the_folder(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = HOLD.replace(
        'print("held", flush=True)', f"file = open({str(log)!r}, 'a'); file.write('in\\n'); file.flush()"
    )
    code = code.replace("time.sleep(float(sys.argv[2]))", "time.sleep(0.01); file.write('out\\n'); file.flush()")
    out = tmp_path / "out"
    processes = []
    for _ in range(5):
        processes += [
            subprocess.Popen([sys.executable, "-c", code, str(out), "0"], stdout=subprocess.PIPE, text=True)
            for _ in range(10)
        ]
        time.sleep(0.05)
    said = [process.communicate(timeout=60)[0] for process in processes]
    lines = log.read_text().split()
    assert lines
    assert lines == ["in", "out"] * (len(lines) // 2)
    assert len(lines) // 2 + sum("another run" in text for text in said) == 50
    assert not out.exists() or list(out.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"cannot write into .*file/out: .*; choose another --output"),
        hold(tmp_path / "file" / "out"),
    ):
        pass


def test_runs_that_begin_and_end_in_one_folder_again_and_again_find_it_free_or_held(tmp_path: Path) -> None:
    def begin(_: int) -> int:
        n = 0
        for _ in range(150):
            try:
                with hold(tmp_path / "out"):
                    n += 1
            except HeldError:
                pass
        return n

    with ThreadPoolExecutor(4) as pool:
        held = list(pool.map(begin, range(4)))
    assert sum(held) > 150
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_that_leads_nowhere_in_the_place_of_the_state_is_said(tmp_path: Path) -> None:
    (tmp_path / ".geoseg").symlink_to(tmp_path / "gone")
    with pytest.raises(OutputError, match="cannot write into"), hold(tmp_path):
        pass
