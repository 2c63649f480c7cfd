"""Signals that come where Python ignores exceptions are not lost: real processes."""

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
