"""Pages of HTML as tests read them."""

from html.parser import HTMLParser

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile

EVIL = "</title><script>alert(1)</script>\x1b[2J\"onload='x"


class Page(HTMLParser):
    """Tags, sources and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        self.sources += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br", "rect", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "path", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def decoded(data: bytes) -> NDArray[np.uint8]:
    with MemoryFile(data) as file, file.open() as dataset:
        return np.asarray(dataset.read().transpose(1, 2, 0))
