"""Signals that come where Python ignores exceptions are not lost: real processes."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, time
from geoseg.cli.main import _Signals

class Future:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(0.01)

_Signals().install()
_Signals().install()
future = Future()
try:
    del future
    print("went on", flush=True)
    time.sleep(20)
except BaseException as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(("name", "raised"), [("SIGTERM", "_Terminated"), ("SIGINT", "KeyboardInterrupt")])
def test_a_signal_in_a_destructor_comes_once_more_after_it(name: str, raised: str) -> None:
    words = [sys.executable, "-c", PROGRAM.format(name=name)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split("\n") == ["went on", raised, ""]
    assert ended.stderr == ""


def test_what_else_is_ignored_is_still_shown() -> None:
    program = PROGRAM.format(name="SIGTERM").replace(
        "os.kill(os.getpid(), signal.SIGTERM)", "raise ValueError('other')"
    )
    program = program.replace("time.sleep(20)", "pass")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "went on\n"
    assert "ValueError: other" in ended.stderr


TWICE = """
import os, signal, time
from geoseg.cli.main import _Signals

_Signals().install()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
except BaseException as error:
    os.kill(os.getpid(), signal.SIGTERM)
    print(type(error).__name__, flush=True)
time.sleep(0.1)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(20)
"""


def test_a_signal_that_is_sent_to_the_process_and_to_its_group_is_one_and_a_later_one_ends_it() -> None:
    # as timeout(1) sends it: within microseconds
    ended = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "_Terminated\n"
    assert ended.returncode == 128 + signal.SIGTERM
