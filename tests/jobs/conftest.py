"""For tests of runs that die: the command line in processes that start at once."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Died:
    """What a process left."""

    code: int
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it told with ``--log-format json``; the last line of a killed process may be cut."""
        lines = self.err.split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]


Forked = Callable[..., Died]


@pytest.fixture(scope="session")
def _server() -> Iterator[subprocess.Popen[str]]:
    server = Path(__file__).with_name("fork_server.py")
    words = [sys.executable, str(server)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def forked(_server: subprocess.Popen[str], tmp_path: Path) -> Forked:
    """A function that runs the command line in a process of its own, with an environment, killed after some seconds."""

    def run(*words: object, kill: float | None = None, **env: str) -> Died:
        assert _server.stdin is not None
        assert _server.stdout is not None
        err = tmp_path / "said by a child"
        asked = {"words": [str(word) for word in words], "env": env, "err": str(err), "kill": kill}
        print(json.dumps(asked), file=_server.stdin, flush=True)
        code = json.loads(_server.stdout.readline())["code"]
        return Died(code=code, err=err.read_text("utf-8", "replace"))

    return run
