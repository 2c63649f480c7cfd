"""What a training leaves at the end of each epoch, and when it ends."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.errors import GeosegError
from geoseg.train.batches import TrainingBatches
from geoseg.train.config import TrainSpec
from geoseg.train.scores import Confusion
from geoseg.train.task import Task

__all__ = ["Best", "Epoch", "Keep", "Keeper", "Nothing", "TrainingError"]


class TrainingError(GeosegError, RuntimeError):
    """A training went wrong in a way that more epochs do not mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What became of an epoch: a line of the log."""

    epoch: int
    """Counted from 1."""
    steps: int
    """Steps of the optimizer until then, all epochs together."""
    train_loss: float
    """Mean over its batches."""
    val_loss: float
    """Mean over the batches that are held out."""
    accuracy: float
    """Share of the pixels held out that is right."""
    miou: float
    """Mean IoU of the classes, held out."""
    learning_rate: float
    """At its end."""
    seconds: float
    """It took, validation included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The epoch with the highest mIoU: its weights are the model."""

    epoch: int
    """Counted from 1."""
    confusion: Confusion
    """Of what is held out."""


class Keep(Protocol):
    """Who keeps what a training leaves; each call returns when it is safe on the disk."""

    def checkpoint(self, write: Callable[[Path], None]) -> None:
        """All that the training needs to go on; ``write`` writes it to the file that it is given."""
        ...

    def best(self, tensors: dict[str, Tensor]) -> None:
        """Weights better than all before."""
        ...

    def log(self, epochs: Sequence[Epoch]) -> None:
        """All epochs so far."""
        ...

    def picture(self, epoch: int, pixels: NDArray[np.uint8]) -> None:
        """The picture of an epoch, (row, col, 3)."""
        ...


class Nothing:
    """Keeps nothing: another process does."""

    def checkpoint(self, write: Callable[[Path], None]) -> None:
        """Not kept."""

    def best(self, tensors: dict[str, Tensor]) -> None:
        """Not kept."""

    def log(self, epochs: Sequence[Epoch]) -> None:
        """Not kept."""

    def picture(self, epoch: int, pixels: NDArray[np.uint8]) -> None:
        """Not kept."""


class Keeper(pl.Callback):
    """Counts, saves and stops, at the end of each epoch; in a team all decide alike, from the counts of all."""

    def __init__(
        self,
        spec: TrainSpec,
        keep: Keep,
        batches: TrainingBatches,
        *,
        draw: Callable[[Task], NDArray[np.uint8] | None],
        progress: Callable[[int, Epoch | None], None],
    ) -> None:
        """Prepare to keep; see `fit`."""
        self.spec, self.keep, self.batches, self.draw, self.progress = spec, keep, batches, draw, progress
        self.epochs: list[Epoch] = []
        self.best: Best | None = None
        self.began = 0.0
        self.interrupted = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Remember whether it was an interrupt."""
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        best = self.best and {"epoch": self.best.epoch, "counts": self.best.confusion.counts.tolist()}
        return {"epochs": [asdict(e) for e in self.epochs], "best": best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.epochs = [Epoch(**e) for e in state_dict["epochs"]]
        best = state_dict["best"]
        counts = best and np.array(best["counts"], np.int64)
        self.best = best and Best(epoch=best["epoch"], confusion=Confusion(counts=counts))

    @property
    def is_over(self) -> bool:
        """Whether patience has ended."""
        patience = self.spec.patience
        return patience is not None and self.best is not None and len(self.epochs) - self.best.epoch >= patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Do not go on where it had ended before a death."""
        trainer.should_stop = self.is_over

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        assert isinstance(pl_module, Task)
        self.began = time.monotonic()
        self.batches.epoch = trainer.current_epoch
        pl_module.forget()
        # dropout draws from torch's generator: what it draws must not depend on what was before a death, and each part
        # of a batch has its own
        torch.manual_seed(self.spec.seed * 1_000_003 + trainer.current_epoch + (pl_module.team.number << 52))

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        """Tell how far it is."""
        self.progress(trainer.current_epoch * self.spec.batches + int(rest[-1]) + 1, None)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what became of the epoch."""
        assert isinstance(pl_module, Task)
        number = len(self.epochs) + 1
        train_loss = float(torch.stack(pl_module.losses).cpu().double().mean())
        if not np.isfinite(train_loss):
            raise TrainingError(
                f"the loss became {train_loss} in epoch {number}: choose a lower learning_rate (now "
                f"{self.spec.learning_rate:g}){', or float32' if self.spec.precision == 'float16' else ''}"
            )
        confusion, val_loss = pl_module.held_out()
        self.epochs.append(
            Epoch(
                epoch=number,
                steps=trainer.global_step,
                train_loss=train_loss,
                val_loss=val_loss,
                accuracy=confusion.accuracy,
                miou=confusion.miou,
                learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
                seconds=time.monotonic() - self.began,
            )
        )
        if self.best is None or confusion.miou > self.best.confusion.miou:
            self.best = Best(epoch=number, confusion=confusion)
            self.keep.best({n: t.detach().cpu().contiguous() for n, t in pl_module.network.state_dict().items()})
        drawn = self.draw(pl_module)
        if drawn is not None:
            self.keep.picture(number, drawn)
        self.keep.log(self.epochs)
        if self.is_over:
            trainer.should_stop = True
        # last of all: where this is safe, all that it says is
        self.keep.checkpoint(trainer.save_checkpoint)
        self.progress(number * self.spec.batches, self.epochs[-1])
