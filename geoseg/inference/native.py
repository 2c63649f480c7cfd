"""What a model says of the pixels it sees -> the same of the scene's own pixels, row by row.

The probabilities of the classes are brought to the other grid as `Taps` says: between the pixels that the model sees by
distance where the scene's own are smaller, their mean where those are larger. Pixels of which the model says nothing
have no weight. Then probabilities decide as they do without this, so that every class, confidence and share belongs to
the pixel it lies in. All follows from a pixel's place in the whole scene: no bit depends on the block.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.inference.decide import refuse_no_numbers
from geoseg.inference.inside import Inside
from geoseg.inference.lattice import Block
from geoseg.inference.risk import exp, log
from geoseg.inference.stream import LogitRows
from geoseg.kernels import njit
from geoseg.scene.resample import Observed, ResampledReader
from geoseg.scene.scene import Reader, Scene
from geoseg.scene.taps import Taps

__all__ = ["OnOwnPixels"]

_ROWS = 64
"""Rows that are worked on at once."""


class OnOwnPixels:
    """Takes finished rows of the grid that the model sees, and gives those of the scene's own that they make complete.

    A pixel has a class where it is observed itself, and any pixel of the model's that it is made of is. Memory: rows of
    ``4 * (n_classes + 1) * block.width`` bytes, as many as wait for the next, and a few times 64 that are worked on.
    """

    def __init__(
        self, scene: Scene, reader: Reader, block: Block, temperature: float, inside: Inside | None = None
    ) -> None:
        """Prepare to make a block.

        Args:
            scene: From `resampled`.
            reader: Of the scene, which is asked to tell where the scene's own pixels are observed.
            block: The pixels to make, on the scene's own grid.
            temperature: Logits are divided by it before the softmax.
            inside: Those of the scene's own pixels that are asked for; all by default.
        """
        assert scene.source is not None
        assert isinstance(reader, ResampledReader)
        own = scene.source
        self._block, self._inside, self._temperature = block, inside, temperature
        self._down = Taps.of(block.row_off, block.row_end, length=scene.height, new_length=own.height)
        self._across = Taps.of(block.col_off, block.col_end, length=scene.width, new_length=own.width)
        # the last row that each row needs: taps without a weight may lie beyond it
        self._last = np.where(self._down.weight > 0, self._down.index, -1).max(axis=1)
        self._observed = Observed()
        reader.tell(self._observed)
        self._held: torch.Tensor | None = None
        self._first = self._down.span[0]  # row of those held
        self._n_done = 0

    def take(self, rows: LogitRows) -> Iterator[LogitRows]:
        """The rows that are complete with these, which follow those before: logarithms of probabilities as logits.

        Raises:
            ModelError: If the model gave logits that are not numbers on valid pixels.
        """
        for start in range(0, len(rows.valid), _ROWS):
            some = slice(start, start + _ROWS)
            likely = _likelihoods(rows.logits[:, some], rows.valid[some], self._temperature)
            wide = _sums(likely, self._across, self._across.span[0], axis=1)
            self._held = wide if self._held is None else torch.cat((self._held, wide))
            end = self._first + len(self._held)
            n_ready = int(np.searchsorted(self._last, end))
            while self._n_done < n_ready:
                n = min(n_ready - self._n_done, _ROWS)
                yield self._make(n)
                self._n_done += n
            needed = self._down.index[self._n_done].min() if self._n_done < len(self._last) else end
            kept = min(int(needed), end)
            self._held = self._held[kept - self._first :]
            self._first = kept

    def _make(self, n: int) -> LogitRows:
        """The next rows."""
        assert self._held is not None
        some = slice(self._n_done, self._n_done + n)
        taps = Taps(index=self._down.index[some], weight=self._down.weight[some])
        made = _sums(self._held, taps, self._first, axis=0)
        row, col, width = self._block.row_off + self._n_done, self._block.col_off, self._block.width
        valid = self._observed.take(row, col, n, width) & (made[..., -1] > 0).cpu().numpy()
        if self._inside is not None:
            valid &= self._inside.mask(row, col, n, width)
        logits = made[..., :-1].contiguous()
        # what a pixel lacks of the whole weight is a factor of all its classes, which makes no difference to them
        if logits.device.type == "cpu":
            _to_logarithms(logits.numpy().reshape(-1))
        else:
            logits.log_()
        return LogitRows(row_off=row, logits=logits.permute(2, 0, 1), valid=valid)


def _sums(values: torch.Tensor, taps: Taps, start: int, axis: int) -> torch.Tensor:
    """Weighted sums along an axis of values (row, col, class) that begin at pixel ``start``, always in one order."""
    index = torch.from_numpy((taps.index - start).clip(0, values.shape[axis] - 1)).to(values.device)
    weight = torch.from_numpy(taps.weight).to(values.device)
    shape = [1, 1, 1]
    shape[axis] = len(index)
    total = values.index_select(axis, index[:, 0]) * weight[:, 0].reshape(shape)
    for tap in range(1, index.shape[1]):
        total += values.index_select(axis, index[:, tap]) * weight[:, tap].reshape(shape)
    return total


def _likelihoods(logits: torch.Tensor, valid: NDArray[np.bool_], temperature: float) -> torch.Tensor:
    """Probabilities (row, col, class) of logits (class, row, col), and last 1; all 0 where not valid.

    Raises:
        ModelError: If logits are not numbers on valid pixels.
    """
    n_classes, rows, cols = logits.shape
    if logits.device.type == "cpu":
        found = np.empty((rows, cols, n_classes + 1), np.float32)
        good = _likelihoods_cpu(logits.permute(1, 2, 0).contiguous().numpy(), np.float32(1 / temperature), valid, found)
        refuse_no_numbers(bool(good))
        return torch.from_numpy(found)
    return _likelihoods_device(logits, valid, temperature)


def _likelihoods_device(logits: torch.Tensor, valid: NDArray[np.bool_], temperature: float) -> torch.Tensor:
    """By torch what `_likelihoods_cpu` does."""
    seen = torch.from_numpy(valid).to(logits.device)
    powers = torch.exp((logits - logits.amax(dim=0)) * (1 / temperature))
    total = powers.sum(dim=0)
    refuse_no_numbers(bool(((total >= 0) | ~seen).all()))
    likely = torch.cat((powers / total, torch.ones_like(total)[None]))
    return torch.where(seen, likely, 0).permute(1, 2, 0).contiguous()


@njit(nogil=True, cache=True)
def _likelihoods_cpu(
    logits: NDArray[np.float32], sharpness: np.float32, valid: NDArray[np.bool_], found: NDArray[np.float32]
) -> bool:
    """Fill `_likelihoods`; False if a valid pixel has a logit NaN or +inf."""
    rows, cols, n_classes = logits.shape
    good = True
    for row in range(rows):
        for col in range(cols):
            line, to = logits[row, col], found[row, col]
            to[:] = np.float32(0)
            if not valid[row, col]:
                continue
            best = line[0]
            for k in range(1, n_classes):
                best = max(best, line[k])
            total = np.float32(0)
            for k in range(n_classes):
                to[k] = exp((line[k] - best) * sharpness)
                total += to[k]
            if not total >= np.float32(0):  # a NaN stays in the total, and so does +inf, as inf - inf
                good = False
            for k in range(n_classes):
                to[k] /= total
            to[n_classes] = np.float32(1)
    return good


@njit(nogil=True, cache=True)
def _to_logarithms(values: NDArray[np.float32]) -> None:
    """Logarithms of values, in place."""
    for i in range(len(values)):
        values[i] = log(values[i])
