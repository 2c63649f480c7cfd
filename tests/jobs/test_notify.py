"""Programs and addresses that are told how a batch ended, and that nobody's silence changes how it did."""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from geoseg.jobs.batch import run_batch
from geoseg.jobs.notify import notify
from geoseg.jobs.pipeline_parts import Notify
from tests.conftest import WriteScene
from tests.jobs.batches import pipeline_in, summary_of
from tests.jobs.test_batch import break_file, quiet

COPY = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    got: list[tuple[str, str, Any]]
    answer = 204
    wait = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, str(self.headers["Content-Type"]), json.loads(body)))
        if self.path == "/slow":
            # a header now and then: no single step of the connection ever times out
            while not self.server.wait.wait(0.05):
                self.wfile.write(b"H")
            return
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.got, server.wait = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.wait.set()
    server.shutdown()
    thread.join()
    server.server_close()


def address(server: _Server, path: str = "/hook?token=SECRET") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def test_both_get_the_summary(server: _Server, write_scene: WriteScene, tmp_path: Path) -> None:
    write_scene("in/a.tif")
    break_file(tmp_path / "in" / "b.tif")
    told = {"command": [sys.executable, "-c", COPY, "told.json"], "webhook": address(server)}
    pipeline = pipeline_in(tmp_path, notify=told)
    said: list[str] = []
    assert run_batch(pipeline, say=said.append).exit_code == 1
    assert json.loads((tmp_path / "told.json").read_text()) == summary_of(pipeline)
    assert server.got == [("/hook?token=SECRET", "application/json", summary_of(pipeline))]
    assert not [line for line in said if "notification" in line]


def test_problems_only(server: _Server, write_scene: WriteScene, tmp_path: Path) -> None:
    write_scene("in/a.tif")
    pipeline = pipeline_in(tmp_path, notify={"webhook": address(server), "when": "problems"})
    assert run_batch(pipeline, say=quiet).exit_code == 0
    assert not server.got
    break_file(tmp_path / "in" / "b.tif")
    assert run_batch(pipeline, say=quiet).exit_code == 1
    assert len(server.got) == 1
    # what cannot start is a problem, too
    broken = pipeline_in(tmp_path, notify={"webhook": address(server), "when": "problems"}, model="unett")
    with pytest.raises(Exception, match="no model 'unett'"):
        run_batch(broken, say=quiet)
    assert server.got[-1][2]["exit_code"] == 2
    assert "no model 'unett'" in server.got[-1][2]["error"]


def test_a_notification_that_fails_is_said_and_changes_nothing(
    server: _Server, write_scene: WriteScene, tmp_path: Path
) -> None:
    write_scene("in/a.tif")
    server.answer = 500
    fail = "import sys; sys.exit('no mail today')"
    told = {"command": [sys.executable, "-c", fail], "webhook": address(server)}
    said: list[str] = []
    assert run_batch(pipeline_in(tmp_path, notify=told), say=said.append).exit_code == 0
    failures = [line for line in said if "notification" in line]
    assert len(failures) == 2
    assert "ended with 1: no mail today" in failures[0]
    assert "answered 500" in failures[1]
    assert "SECRET" not in "".join(said)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["/no/such/program"], "cannot be started: .*No such file"),
        ([sys.executable, "-c", "import os; os._exit(3)"], "ended with 3$"),
        ([sys.executable, "-c", "print('\\x1b[2J', file=__import__('sys').stderr); 1 / 0"], r"\\x1b.*ZeroDivision"),
    ],
)
def test_what_went_wrong_with_a_command_is_said(command: list[str], why: str, tmp_path: Path) -> None:
    (failure,) = notify(Notify(command=tuple(command)), {"a": 1}, tmp_path)
    assert re.search(why, failure)


def test_a_command_is_no_shell_and_runs_in_the_folder_of_the_file(tmp_path: Path) -> None:
    words = "$(touch hacked); `touch hacked` > hacked"
    code = "import sys, os, pathlib; pathlib.Path('told').write_text(sys.argv[1] + os.getcwd()); sys.stdin.read()"
    assert notify(Notify(command=(sys.executable, "-c", code, words)), {}, tmp_path) == []
    assert (tmp_path / "told").read_text() == f"{words}{tmp_path}"
    assert not (tmp_path / "hacked").exists()


def test_a_command_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path('child').write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    (failure,) = notify(Notify(command=(sys.executable, "-c", code), timeout="2s"), {}, tmp_path)
    assert "took longer than 2 s and was ended" in failure
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 0)
        pytest.fail("what the command had started is still there")


def test_a_server_that_never_ends_its_answer_holds_nobody_up(server: _Server, tmp_path: Path) -> None:
    (failure,) = notify(Notify(webhook=address(server, "/slow"), timeout="0.5s"), {}, tmp_path)
    assert failure == "the notification webhook took longer than 0.5 s"


def test_an_address_where_nobody_is_is_said(tmp_path: Path) -> None:
    (failure,) = notify(Notify(webhook="http://127.0.0.1:9/x?token=SECRET"), {}, tmp_path)
    assert "cannot be reached" in failure
    assert "SECRET" not in failure
