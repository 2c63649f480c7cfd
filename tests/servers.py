"""A real HTTP server on loopback: range requests, counted, and faults on demand."""

import http.server
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path


@dataclass
class Served:
    """A folder behind a URL, and what was asked of it."""

    url: str = ""
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes of content by name of the file."""
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by name of the file."""
    failing: dict[str, int] = field(default_factory=dict)
    """How many of the next requests for a file are answered with 503."""
    hanging: set[str] = field(default_factory=set)
    """Files whose content is announced and never sent."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with range requests, which the standard library's handler lacks."""

    def __init__(self, *args: object, served: Served, **more: object) -> None:
        self.served = served
        super().__init__(*args, **more)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        with self.served.lock:
            self.served.asked[path.name] += 1
            failing = self.served.failing.get(path.name, 0)
            self.served.failing[path.name] = max(0, failing - 1)
        if failing:
            self.send_error(503)
            return
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2] or len(content) - 1), len(content) - 1) if asked else len(content) - 1
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if path.name in self.served.hanging:
            self.served.ended.wait(60)
            return
        with self.served.lock:
            self.served.sent[path.name] += last - first + 1
        self.wfile.write(content[first : last + 1])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing."""


@contextmanager
def serve(folder: Path) -> Iterator[Served]:
    """The folder served until the end of the block; no proxy is asked for it."""
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    os.environ.update(dict.fromkeys(before, "127.0.0.1"))
    served = Served()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, served=served, directory=str(folder)))
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
