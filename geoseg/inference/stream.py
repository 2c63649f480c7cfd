"""The rolling strip: finished rows of a block, in memory that does not grow with its height.

Windows come in lattice order, row by row. The windows of one lattice row are blended along columns into a strip of
``window`` rows. The strip is blended with the rows of the lattice row above that reach into it; then the rows that no
later window touches are finished and handed out, and the rest waits for the next lattice row. New source rows are
read one step ahead in a thread, each once, and kept only until the last window that needs them.

In memory the last axis is always the band or the class, as convolutions want it: windows are cut and blended by copying
whole runs of a row.
"""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.inference.blend import shares
from geoseg.inference.engine import Engine
from geoseg.inference.inside import Inside
from geoseg.inference.lattice import Block, Lattice
from geoseg.inference.normalise import Normalisation
from geoseg.inference.running_mean import blend_across, blend_down
from geoseg.inference.source import Reader, Span, Wanted

__all__ = ["LogitRows", "Reader", "stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitRows:
    """Finished rows of a block, over its whole width."""

    row_off: int
    """First row in the scene."""
    logits: torch.Tensor
    """Blended logits (class, row, col), float32, on the device; arbitrary values where not valid.

    The memory is used again: read them before asking for the rows after the next.
    """
    valid: NDArray[np.bool_]
    """Where there are observations that are asked for (row, col)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Source rows, over the columns that the block's windows need."""

    start: int
    end: int
    pixels: NDArray[Any]  # (band, row, col) as stored
    valid: NDArray[np.bool_]  # (row, col)
    wanted: NDArray[np.bool_]  # (row, col): valid, and asked for
    on_device: torch.Tensor | None  # (row, col, band) normalised, on an accelerator


def _reflected(length: int, window: int) -> NDArray[np.int64]:
    """Source pixel of each window pixel where a scene is shorter than a window: mirrored at its edges, again and again.

    Example:
        >>> _reflected(3, 8).tolist()
        [0, 1, 2, 1, 0, 1, 2, 1]
    """
    if length == 1:
        return np.zeros(window, np.int64)
    period = 2 * (length - 1)
    place = np.arange(window) % period
    return np.minimum(place, period - place)


def _read_ahead(
    reader: Reader,
    rows: Span,
    cols: Span,
    normalise: Normalisation,
    device: torch.device,
    align: int,
    asked: Wanted | None,
) -> Generator[_Rows]:
    """Source rows in the pieces that lattice rows add, read one piece ahead of their use.

    An accelerator gets them normalised, once. On the CPU they stay as they are stored and are normalised as windows are
    cut from them: where windows overlap more than once, which costs less than writing the result and copying it, and
    stored pixels take a half or a quarter of the memory.

    Reads end on multiples of ``align``, the height of the file's own blocks, so that none of those is decoded twice.
    """
    starts = [rows.axis.starts[w] for w in rows.windows]
    ends = [min(s + rows.axis.window, rows.end) for s in starts]
    edges = [rows.first]
    for end in ends:
        aligned = min(-(-end // align) * align, rows.end)
        if aligned > edges[-1]:
            edges.append(aligned)

    def load(start: int, end: int) -> _Rows:
        if asked is None:
            pixels, valid = reader.read(start, cols.first, end - start, cols.end - cols.first)
            wanted = valid
        else:
            pixels, valid, wanted = asked.read(reader, start, end)
        pixels = normalise.hold(pixels)
        # without a band there is nothing that a window will need
        on_device = None if device.type == "cpu" or not len(pixels) else normalise.on_device(pixels, valid, device)
        return _Rows(start=start, end=end, pixels=pixels, valid=valid, wanted=wanted, on_device=on_device)

    with ThreadPoolExecutor(1, thread_name_prefix="geoseg-read") as thread:
        waiting: deque[Future[_Rows]] = deque()
        try:
            for start, end in pairwise(edges):
                waiting.append(thread.submit(load, start, end))
                if len(waiting) > 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            thread.submit(reader.close).result()


class _Source:
    """The source rows at hand: takes new ones as windows ask for them, drops those no window needs again."""

    def __init__(self, pieces: Iterator[_Rows]) -> None:
        self._pieces = pieces
        self._held: deque[_Rows] = deque()

    def need(self, end: int) -> None:
        while not self._held or self._held[-1].end < end:
            self._held.append(next(self._pieces))

    def drop(self, before: int) -> None:
        while self._held and self._held[0].end <= before:
            self._held.popleft()

    def parts(self, start: int, end: int) -> Iterator[tuple[slice, slice, _Rows]]:
        """Where rows ``[start, end)`` lie: place in the result, place in the piece, the piece."""
        for piece in self._held:
            top, bottom = max(start, piece.start), min(end, piece.end)
            if top < bottom:
                yield slice(top - start, bottom - start), slice(top - piece.start, bottom - piece.start), piece

    def wanted(self, start: int, end: int) -> NDArray[np.bool_]:
        return np.concatenate([piece.wanted[inside] for _, inside, piece in self.parts(start, end)])


@dataclass(slots=True, kw_only=True)
class _Windows:
    """Cuts windows from the source and runs them in batches, which may span lattice rows."""

    engine: Engine
    source: _Source
    rows: Span
    cols: Span
    normalise: Normalisation
    wanted: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    """For each lattice row under way: where its rows are valid and asked for, over all source columns."""

    def __iter__(self) -> Iterator[tuple[int, int, torch.Tensor | None]]:
        """(lattice row, lattice column, logits) in lattice order; None for a window without a pixel that is wanted."""
        waiting: list[tuple[int, int, bool]] = []
        batch = self._empty_batch()
        filled = 0
        for i in self.rows.windows:
            self._load(i)
            for j in self.cols.windows:
                seen = bool(self.wanted[i][:, self._across(j)].any())
                waiting.append((i, j, seen))
                if not seen:
                    continue
                self._cut(i, j, batch[filled])
                filled += 1
                if filled == len(batch):
                    yield from self._run(batch, filled, waiting)
                    waiting, filled = [], 0
                    if len(batch) != self.engine.batch_size:  # it was halved: memory had run out
                        batch = self._empty_batch()
            if not filled:
                yield from ((a, b, None) for a, b, _ in waiting)
                waiting = []
            elif i - waiting[0][0] >= len(batch):  # rows of nodata must not pile up behind a batch that is not full
                yield from self._run(batch, filled, waiting)
                waiting, filled = [], 0
        if filled:
            yield from self._run(batch, filled, waiting)

    def _empty_batch(self) -> torch.Tensor:
        shape = (self.engine.batch_size, self.rows.axis.window, self.cols.axis.window, len(self.normalise.gain))
        return torch.zeros(shape, device=self.engine.device)

    def _down(self, i: int) -> tuple[int, int]:
        top = self.rows.axis.starts[i]
        return top, min(top + self.rows.axis.window, self.rows.end)

    def _across(self, j: int) -> slice:
        left = self.cols.axis.starts[j]
        right = min(left + self.cols.axis.window, self.cols.end)
        return slice(left - self.cols.first, right - self.cols.first)

    def _load(self, i: int) -> None:
        top, bottom = self._down(i)
        self.source.drop(top)
        self.source.need(bottom)
        self.wanted[i] = self.source.wanted(top, bottom)

    def _cut(self, i: int, j: int, window: torch.Tensor) -> None:
        (top, bottom), cols = self._down(i), self._across(j)
        height, width = bottom - top, cols.stop - cols.start
        for place, inside, piece in self.source.parts(top, bottom):
            if piece.on_device is None:
                self.normalise.cut(piece.pixels, piece.valid, inside, cols, window[place].numpy())
            else:
                window[place, :width].copy_(piece.on_device[inside, cols])
        if height < window.shape[0] or width < window.shape[1]:
            down = torch.from_numpy(_reflected(height, window.shape[0])).to(window.device)
            across = torch.from_numpy(_reflected(width, window.shape[1])).to(window.device)
            window.copy_(window[down][:, across])

    def _run(
        self, batch: torch.Tensor, filled: int, waiting: list[tuple[int, int, bool]]
    ) -> Iterator[tuple[int, int, torch.Tensor | None]]:
        # on the CPU a short batch is run at full size, see Engine
        windows = batch if self.engine.device.type == "cpu" else batch[:filled]
        # (n, band, row, col) for the network, which in this memory is its channels_last format
        logits = iter(self.engine(windows.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous())
        for i, j, seen in waiting:
            yield i, j, next(logits) if seen else None


class _Strip:
    """The running means of one lattice row, and of the rows above that reach into it."""

    def __init__(self, rows: Span, cols: Span, block: Block, n_classes: int, blend: str, device: torch.device) -> None:
        self._rows, self._cols, self._block = rows, cols, block
        self._row_shares = [torch.from_numpy(s).to(device) for s in shares(rows.axis, blend)]
        self._col_shares = [torch.from_numpy(s).to(device) for s in shares(cols.axis, blend)]
        # two in turn: the one above is read, by the rows below and by whoever took its rows, while the other is filled
        shape = (2, rows.axis.window, block.width, n_classes)
        self._here, self._above = torch.zeros(shape, device=device)
        self._covered = block.col_off
        self._previous: int | None = None
        self.row: int | None = None
        """Lattice row that is being filled."""

    def begin(self, i: int) -> None:
        """Start the next lattice row."""
        self._here, self._above = self._above, self._here
        self._covered = self._block.col_off
        self._previous, self.row = self.row, i

    def add(self, j: int, logits: torch.Tensor | None) -> None:
        """Blend a window (row, col, class) into the lattice row; None leaves pixels that are not wanted anyway."""
        left = self._cols.axis.starts[j]
        first = max(left, self._block.col_off)
        end = min(left + self._cols.axis.window, self._block.col_end)
        at, width = first - self._block.col_off, end - first
        n_old = max(min(self._covered, end) - first, 0)
        if logits is None:
            self._here[:, at + n_old : at + width] = 0
        else:
            blend_across(self._here, logits, self._col_shares[j], at=at, skip=first - left, width=width, n_old=n_old)
        self._covered = max(self._covered, end)

    def finish(self) -> tuple[int, torch.Tensor]:
        """First row and logits (row, col, class) of the rows that no later window touches."""
        assert self.row is not None
        i, starts = self.row, self._rows.axis.starts
        if self._previous is not None:
            offset = starts[i] - starts[self._previous]
            height = self._rows.axis.window - offset
            blend_down(self._here[:height], self._above[offset:], self._row_shares[i][:height])
        end = self._rows.end if i == self._rows.windows[-1] else starts[i + 1]
        return starts[i], self._here[: end - starts[i]]


def stream(
    reader: Reader,
    engine: Engine,
    lattice: Lattice,
    block: Block,
    *,
    normalise: Normalisation,
    n_classes: int,
    blend: str = "gaussian",
    align: int = 1,
    inside: Inside | None = None,
) -> Iterator[LogitRows]:
    """Blended logits of a block, in finished rows from top to bottom.

    Windows without a valid pixel that is asked for are not computed. The result does not depend on the block: every
    pixel is blended from the same windows in the same order whatever the cut. Memory, none of it growing with the
    block's height: two strips of ``4 * n_classes * window * block.width`` bytes, and source rows of ``bands * (window +
    align) * width`` values as they are stored (on an accelerator also as float32) with one more piece read ahead.

    Args:
        reader: Where pixels come from; used and closed in a thread of its own.
        engine: The network on its device.
        lattice: All windows of the scene.
        block: Which pixels to compute.
        normalise: Gain and bias of each band.
        n_classes: Classes that the network gives.
        blend: Name of the weight shape, see `blend`.
        align: Rows of the source file's own blocks.
        inside: Which pixels are asked for; all by default. Windows without one are not even read, and the others are
            what they are without it, pixels outside included: where it is asked for, the result is the same.

    Yields:
        Rows that follow one another without a gap and fill the block.
    """
    rows = Span.of(lattice.rows, block.row_off, block.row_end)
    cols = Span.of(lattice.cols, block.col_off, block.col_end)
    # a source block higher than a window is left to GDAL's cache: aligned reads would hold all of it
    asked = None if inside is None else Wanted.of(inside, lattice, rows, cols)
    align = align if align <= max(rows.axis.window, 1024) else 1
    pieces = _read_ahead(reader, rows, cols, normalise, engine.device, align, asked)
    windows = _Windows(engine=engine, source=_Source(pieces), rows=rows, cols=cols, normalise=normalise)
    strip = _Strip(rows, cols, block, n_classes, blend, engine.device)

    def finished() -> Iterator[LogitRows]:
        if strip.row is None:
            return
        valid = windows.wanted.pop(strip.row)
        start, logits = strip.finish()
        top, bottom = max(start, block.row_off), min(start + len(logits), block.row_end)
        if top < bottom:
            inside = slice(block.col_off - cols.first, block.col_end - cols.first)
            yield LogitRows(
                row_off=top,
                logits=logits[top - start : bottom - start].permute(2, 0, 1),
                valid=np.ascontiguousarray(valid[top - start : bottom - start, inside]),
            )

    with closing(pieces):
        for i, j, logits in windows:
            if i != strip.row:
                yield from finished()
                strip.begin(i)
            strip.add(j, logits)
        yield from finished()
