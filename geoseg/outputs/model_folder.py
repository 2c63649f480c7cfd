"""A trained model on the disk: weights and card, and what its training leaves."""

import csv
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import OutputError, printable
from geoseg.models.card import ModelCard, card_from_yaml
from geoseg.outputs.aside import Published, publish
from geoseg.outputs.records import write_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.train.keeper import Epoch

__all__ = ["CARD", "WEIGHTS", "TrainingFolder", "write_card", "write_weights"]

CARD = "card.yaml"
WEIGHTS = "weights.safetensors"


def write_weights(tensors: Mapping[str, "Tensor"], path: Path) -> Published:
    """Tensors as safetensors. Memory: their size twice.

    Raises:
        OutputError: If they cannot be written or do not read back.
    """
    from safetensors.torch import save

    return _write_bytes(path, save(dict(tensors)))


def write_card(card: ModelCard, path: Path) -> Published:
    """A card as YAML.

    Raises:
        OutputError: If it cannot be written, or what is read back is another card.
    """
    written = write_text(path, card.to_yaml())
    if card_from_yaml(path) != card:
        raise OutputError(f"{printable(path)} did not read back as the card it was meant to be")
    return written


def _write_bytes(path: Path, data: bytes) -> Published:
    def write(file: Path) -> None:
        file.write_bytes(data)

    def verify(file: Path) -> None:
        if file.read_bytes() != data:
            raise OutputError(f"{printable(path)} did not read back as it was meant")

    return publish(path, write, verify)


class TrainingFolder:
    """Keeps what a training leaves: in ``work`` what it needs to go on, in ``shown`` what people look at.

    It is a `geoseg.train.keeper.Keep`.
    """

    def __init__(self, work: Path, shown: Path) -> None:
        """Use two folders, which are made."""
        self.checkpoint_file, self.best_file = work / "last.ckpt", work / "best.safetensors"
        self.work, self._shown = work, shown
        work.mkdir(parents=True, exist_ok=True)
        shown.mkdir(parents=True, exist_ok=True)
        self._board: Any = None

    def checkpoint(self, write: Callable[[Path], None]) -> None:
        """See `geoseg.train.keeper.Keep`."""
        import torch

        def verify(file: Path) -> None:
            torch.load(file, map_location="cpu", weights_only=True)

        publish(self.checkpoint_file, write, verify)

    def best(self, tensors: dict[str, "Tensor"]) -> None:
        """See `geoseg.train.keeper.Keep`."""
        write_weights(tensors, self.best_file)

    def log(self, epochs: Sequence["Epoch"]) -> None:
        """See `geoseg.train.keeper.Keep`: ``log.csv``, and for TensorBoard where that is installed."""
        columns = [f.name for f in fields(epochs[0])]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for epoch in epochs:
            writer.writerow(f"{v:.8g}" if isinstance(v, float) else v for v in asdict(epoch).values())
        write_text(self._shown / "log.csv", text.getvalue())
        board = self._tensorboard(epochs[-1].epoch)
        if board is not None:
            last = asdict(epochs[-1])
            for name in columns[2:]:
                board.add_scalar(name, last[name], last["epoch"])
            board.flush()

    def _tensorboard(self, epoch: int) -> Any:
        if self._board is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self._board = False
            else:
                # what was logged of epochs that a death took back is not shown
                self._board = SummaryWriter(str(self._shown / "tensorboard"), purge_step=epoch)
        return self._board or None

    def picture(self, epoch: int, pixels: "NDArray[np.uint8]") -> None:
        """See `geoseg.train.keeper.Keep`: ``epoch_0001.png``."""
        from PIL import Image

        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        _write_bytes(self._shown / f"epoch_{epoch:04d}.png", content.getvalue())

    def close(self) -> None:
        """Close the log of TensorBoard."""
        if self._board:
            self._board.close()

    def remove_if_empty(self) -> None:
        """Remove its two folders, where nothing is in them: the training did not begin."""
        for folder in (self.work, self._shown):
            with suppress(OSError):
                folder.rmdir()

    def clear(self) -> None:
        """Remove all of it: the training starts over."""
        for file in (*self._shown.glob("epoch_*.png"), self._shown / "log.csv", self.checkpoint_file, self.best_file):
            file.unlink(missing_ok=True)
        shutil.rmtree(self._shown / "tensorboard", ignore_errors=True)
