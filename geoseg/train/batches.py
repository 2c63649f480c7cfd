"""The batches of an epoch, made ahead in a thread while the network computes."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.inference.normalise import Normalisation
from geoseg.train.augment import Sample, mix, vary
from geoseg.train.config import TrainSpec
from geoseg.train.pairs import Pair
from geoseg.train.places import CELL, Places
from geoseg.train.team import Team
from geoseg.train.windows import PatchSource

__all__ = ["Batch", "Drawing", "HeldOutBatches", "TrainingBatches"]

Batch = tuple[Tensor, Tensor]
"""Images (N, C, H, W) float32, channels last, and targets (N, H, W) uint8."""

_AHEAD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draw:
    """Where windows are drawn: cells with labels, and how likely each is."""

    cells: NDArray[np.int64]
    """(cell, 3): scene, cell row, cell col."""
    anyhow: NDArray[np.float64]
    """Running sum of the share of each cell, by its labelled pixels."""
    by_class: tuple[NDArray[np.float64], ...]
    """The same by its pixels of each class that occurs."""


class Drawing:
    """Draws windows of training: around labels anywhere, or around labels of a class drawn first.

    A window is placed at random so that it holds a cell with labels: none is drawn that has nothing to teach.
    """

    def __init__(self, places: Places, pairs: Sequence[Pair], *, balance: float) -> None:
        """Prepare to draw.

        Args:
            places: Where labels are, and what of it is held out.
            pairs: The scenes.
            balance: Share of windows drawn by class, each class as often as any other.
        """
        cells, counts = [], []
        for scene, (each, held_out) in enumerate(zip(places.counts, places.held_out, strict=True)):
            where = np.argwhere(~held_out & each.any(axis=2))
            cells.append(np.column_stack([np.full(len(where), scene), where]))
            counts.append(each[where[:, 0], where[:, 1]].astype(np.float64))
        pixels = np.concatenate(counts)
        self._sizes = [(p.scene.height, p.scene.width) for p in pairs]
        self._balance = balance
        self._draw = _Draw(
            cells=np.concatenate(cells),
            anyhow=_running(pixels.sum(axis=1)),
            by_class=tuple(_running(column) for column in pixels.T if column.any()),
        )

    def place(self, rng: np.random.Generator, side: int) -> tuple[int, int, int]:
        """Scene, row and column of a window of ``side`` px that lies inside its scene, where that is large enough."""
        by_class = rng.random() < self._balance
        classes = self._draw.by_class
        chances = classes[int(rng.integers(len(classes)))] if by_class else self._draw.anyhow
        cell = int(np.searchsorted(chances, rng.random(), side="right"))
        scene, cell_row, cell_col = (int(v) for v in self._draw.cells[cell])
        height, width = self._sizes[scene]
        # more room than the cell itself: a window smaller than a cell holds a part of it
        row = cell_row * CELL + int(rng.integers(min(CELL - side, 0), max(CELL - side, 0) + 1))
        col = cell_col * CELL + int(rng.integers(min(CELL - side, 0), max(CELL - side, 0) + 1))
        return scene, _within(row, height - side), _within(col, width - side)


def _running(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.cumsum(weights)
    shares: NDArray[np.float64] = total / total[-1]
    return shares


def _within(start: int, last: int) -> int:
    return max(0, min(start, last))


class TrainingBatches:
    """An iterable of the batches of an epoch.

    What is in a batch depends on the seed, the epoch and the batch's number alone, so that a training that goes on
    after its death meets the batches it would have met.
    """

    def __init__(
        self, spec: TrainSpec, pairs: Sequence[Pair], places: Places, normalisations: Sequence[Normalisation]
    ) -> None:
        """Prepare to make batches; ``normalisations`` are those of each scene."""
        self._spec, self._pairs, self._places = spec, pairs, places
        self._normalisations = normalisations
        self._drawing = Drawing(places, pairs, balance=spec.balance)
        self.share(Team())
        self.epoch = 0
        """Which epoch it is when the first batch of an iteration is asked for."""

    def share(self, team: Team) -> None:
        """Make of each batch only the part of one process; what is kept in memory is shared out, too."""
        self._part = team.part(self._spec.batch_size)
        self._source = PatchSource(
            self._pairs, self._places, held_out=False, cache_bytes=(self._spec.cache_mib << 20) // team.of
        )

    def __len__(self) -> int:
        return self._spec.batches

    def __iter__(self) -> Iterator[Batch]:
        return _ahead(self._of_epoch(), self._source.release)

    def _of_epoch(self) -> Iterator[Batch]:
        # read when the first batch is asked for: trainers make their iterators before they say which epoch it is
        epoch = self.epoch
        for number in range(len(self)):
            yield self.batch(epoch, number)

    def batch(self, epoch: int, number: int) -> Batch:
        """A batch by its epoch and number."""
        spec = self._spec
        mixed = bool(spec.augment.cutmix or spec.augment.copy_paste)
        windows = range(spec.batch_size)
        samples = [
            self._sample(np.random.default_rng([spec.seed, 2, epoch, number, i]))
            for i in (windows if mixed else windows[self._part])
        ]
        if mixed:  # any window of the batch may hold a part of any other
            samples = mix(samples, spec.augment, np.random.default_rng([spec.seed, 3, epoch, number]))[self._part]
        images = torch.empty(
            (len(samples), len(samples[0].image), spec.window, spec.window), memory_format=torch.channels_last
        )
        for i, sample in enumerate(samples):
            images[i] = sample.image
        return images, torch.stack([s.target for s in samples])

    def _sample(self, rng: np.random.Generator) -> Sample:
        spec = self._spec
        side = spec.window
        if spec.augment.scale is not None:
            low, high = np.log(spec.augment.scale)
            side = max(8, round(side / float(np.exp(rng.uniform(low, high)))))
        scene, row, col = self._drawing.place(rng, side)
        sample = _cut(self._source, self._normalisations[scene], scene, row, col, side)
        return vary(sample, spec.augment, rng, side=spec.window, fill=self._normalisations[scene].fill)


class HeldOutBatches:
    """An iterable of the windows held out, in batches: a lattice that covers each of their pixels once."""

    def __init__(
        self,
        spec: TrainSpec,
        pairs: Sequence[Pair],
        places: Places,
        normalisations: Sequence[Normalisation],
        windows: Sequence[tuple[int, int, int]],
    ) -> None:
        """Prepare to cut ``windows`` (scene, row, col)."""
        self._spec, self._normalisations, self._windows = spec, normalisations, windows
        self._pairs, self._places = pairs, places
        self.share(Team())

    def share(self, team: Team) -> None:
        """Give only the batches of one process: every so many-th one, whole."""
        self._team = team
        self._source = PatchSource(
            self._pairs, self._places, held_out=True, cache_bytes=(self._spec.cache_mib << 19) // team.of
        )

    def _numbers(self) -> range:
        n = -(-len(self._windows) // self._spec.batch_size)
        return range(self._team.number, n, self._team.of)

    def __len__(self) -> int:
        return len(self._numbers())

    def __iter__(self) -> Iterator[Batch]:
        size = self._spec.batch_size
        parts = (self._windows[i * size : (i + 1) * size] for i in self._numbers())
        return _ahead((self._batch(part) for part in parts), self._source.release)

    def some(self, n: int) -> Batch:
        """At most n windows, spread over all that have at least half as many labels as any."""
        labels = np.array([self._labelled(*window) for window in self._windows])
        full = np.flatnonzero(2 * labels >= labels.max())
        chosen = full[np.unique(np.linspace(0, len(full) - 1, n).round().astype(int))]
        try:
            return self._batch([self._windows[i] for i in chosen])
        finally:
            self._source.release()

    def _labelled(self, scene: int, row: int, col: int) -> int:
        """Labelled pixels held out in the cells of a window."""
        side = self._spec.window
        cells = (slice(row // CELL, -(-(row + side) // CELL)), slice(col // CELL, -(-(col + side) // CELL)))
        return int(self._places.counts[scene][cells][self._places.held_out[scene][cells]].sum())

    def _batch(self, windows: Sequence[tuple[int, int, int]]) -> Batch:
        side = self._spec.window
        samples = [
            _cut(self._source, self._normalisations[scene], scene, row, col, side) for scene, row, col in windows
        ]
        images = torch.stack([s.image for s in samples]).contiguous(memory_format=torch.channels_last)
        return images, torch.stack([s.target for s in samples])


def _cut(source: PatchSource, normalisation: Normalisation, scene: int, row: int, col: int, side: int) -> Sample:
    patch = source.cut(scene, row, col, side)
    image = np.empty((side, side, len(patch.pixels)), np.float32)
    normalisation.cut(patch.pixels, patch.valid, slice(0, side), slice(0, side), image)
    return Sample(
        image=torch.from_numpy(image).permute(2, 0, 1),
        target=torch.from_numpy(patch.target),
        valid=torch.from_numpy(patch.valid),
    )


def _ahead(batches: Iterator[Batch], release: Callable[[], None]) -> Iterator[Batch]:
    """The same batches, a few of them made before they are asked for, in a thread of their own.

    ``release`` is called in that thread when no more are made.
    """
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        end: BaseException | None = None
        # OpenMP would give this thread a team of its own, for windows far too small to share out
        torch.get_num_threads()  # a thread that never asked takes the number set last when it first computes
        torch.set_num_threads(1)
        alone.set()
        try:
            for batch in batches:
                put(batch)
                if stop.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 - raised again where the batch is asked for
            end = error
        finally:
            release()
            put(end)

    threads, alone = torch.get_num_threads(), threading.Event()
    thread = threading.Thread(target=work, name="geoseg-batches", daemon=True)
    thread.start()
    alone.wait()
    torch.set_num_threads(threads)  # a thread has a number of its own, but those to come have the one set last
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
