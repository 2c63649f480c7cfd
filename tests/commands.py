"""The command line in processes of its own that start at once, for tests of runs that die, are ended, or go on."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Died:
    """What a process left."""

    code: int
    err: str
    peak: int
    """The most memory that it had, in bytes, what was imported before it started included."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it told with ``--log-format json``; the last line of a killed process may be cut."""
        lines = self.err.split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]


@dataclass(frozen=True)
class Live:
    """A process at work, the first of a session of its own."""

    pid: int
    err: Path
    ask: Callable[[dict[str, Any]], dict[str, Any]]

    @property
    def said(self) -> str:
        """What it has said on stderr so far."""
        return self.err.read_text("utf-8", "replace")

    def wait_for(self, text: str) -> None:
        """Until it has said something; fails if it ends without."""
        while text not in self.said:
            try:
                os.kill(self.pid, 0)
                ended = Path(f"/proc/{self.pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
            except (ProcessLookupError, FileNotFoundError):
                ended = True
            assert not ended or text in self.said, f"never said {text!r}: {self.said}"
            time.sleep(0.005)

    def send(self, number: signal.Signals, *, to_all: bool = False) -> None:
        """A signal to it, or to it and all that it has started."""
        (os.killpg if to_all else os.kill)(self.pid, number)

    def end(self, timeout: float = 300) -> Died:
        """What it leaves; it is killed when it takes too long."""
        return Died(**self.ask({"wait": self.pid, "kill": timeout}), err=self.said)


class Forks:
    """Starts commands; asks the server of `tests.jobs.fork_server`."""

    def __init__(self, server: "subprocess.Popen[str]", folder: Path) -> None:
        self._server, self._folder, self._n = server, folder, 0

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(asked), file=self._server.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer

    def start(self, *words: object, **env: str) -> Live:
        """A command at work, with an environment."""
        return self.begin(words, env)

    def begin(
        self,
        words: Iterable[object],
        env: dict[str, str],
        *,
        folder: Path | None = None,
        out: Path | None = None,
        memory: int | None = None,
    ) -> Live:
        """A command at work.

        Args:
            words: Of the command line.
            env: What is set for it beside the environment of the tests.
            folder: Where it works.
            out: File of its stdout.
            memory: Bytes that it may take beside those of the process that it is forked from.
        """
        self._n += 1
        err = self._folder / f"said by child {self._n}"
        err.touch()  # it may be read before the child has said anything
        more = {"folder": folder and str(folder), "out": out and str(out), "memory": memory}
        asked = {"words": [str(word) for word in words], "env": env, "err": str(err)}
        pid = self._ask(asked | {key: value for key, value in more.items() if value is not None})["pid"]
        return Live(pid=pid, err=err, ask=self._ask)

    def __call__(self, *words: object, kill: float | None = None, **env: str) -> Died:
        """What a command leaves at its end, or when it is killed after some seconds."""
        live = self.start(*words, **env)
        return Died(**self._ask({"wait": live.pid, "kill": kill}), err=live.said)
