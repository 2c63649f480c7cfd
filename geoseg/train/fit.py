"""The training itself: Lightning's trainer, and a callback that keeps what a death must not take."""

import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.errors import GeosegError, ResourceError
from geoseg.legend import Legend
from geoseg.train.batches import HeldOutBatches, TrainingBatches
from geoseg.train.config import TrainSpec
from geoseg.train.pictures import picture
from geoseg.train.recompute import recompute
from geoseg.train.scores import Confusion
from geoseg.train.task import Task

__all__ = ["Best", "Epoch", "Keep", "Machine", "TrainingError", "fit"]

_PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


class TrainingError(GeosegError, RuntimeError):
    """A training went wrong in a way that more epochs do not mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it is computed: nothing of it changes what is asked for."""

    device: str = "cpu"
    """cpu, cuda, cuda:1 or mps."""
    threads: int | None = None
    """CPU threads of the network; torch's own number by default."""


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


class _Keeper(pl.Callback):
    """Counts, saves and stops, at the end of each epoch."""

    def __init__(
        self,
        spec: TrainSpec,
        keep: Keep,
        batches: TrainingBatches,
        *,
        draw: Callable[[Task], NDArray[np.uint8] | None],
        progress: Callable[[int, Epoch | None], None],
    ) -> None:
        self.spec, self.keep, self.batches, self.draw, self.progress = spec, keep, batches, draw, progress
        self.epochs: list[Epoch] = []
        self.best: Best | None = None
        self.began = 0.0
        self.interrupted = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def state_dict(self) -> dict[str, Any]:
        best = self.best and {"epoch": self.best.epoch, "counts": self.best.confusion.counts.tolist()}
        return {"epochs": [asdict(e) for e in self.epochs], "best": best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = [Epoch(**e) for e in state_dict["epochs"]]
        best = state_dict["best"]
        counts = best and np.array(best["counts"], np.int64)
        self.best = best and Best(epoch=best["epoch"], confusion=Confusion(counts=counts))

    @property
    def is_over(self) -> bool:
        patience = self.spec.patience
        return patience is not None and self.best is not None and len(self.epochs) - self.best.epoch >= patience

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        trainer.should_stop = self.is_over

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        self.began = time.monotonic()
        self.batches.epoch = trainer.current_epoch
        pl_module.losses = []
        # dropout draws from torch's generator: what it draws must not depend on what was before a death
        torch.manual_seed(self.spec.seed * 1_000_003 + trainer.current_epoch)

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        self.progress(trainer.current_epoch * self.spec.batches + int(rest[-1]) + 1, None)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        number = len(self.epochs) + 1
        train_loss = float(torch.stack(pl_module.losses).double().mean())
        if not np.isfinite(train_loss):
            raise TrainingError(
                f"the loss became {train_loss} in epoch {number}: choose a lower learning_rate (now "
                f"{self.spec.learning_rate:g}){', or float32' if self.spec.precision == 'float16' else ''}"
            )
        confusion = pl_module.confusion()
        self.epochs.append(
            Epoch(
                epoch=number,
                steps=trainer.global_step,
                train_loss=train_loss,
                val_loss=float(torch.stack(pl_module.held_out_losses).double().mean()),
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


def fit(
    network: nn.Module,
    loss: nn.Module,
    spec: TrainSpec,
    batches: TrainingBatches,
    held_out: HeldOutBatches,
    *,
    legend: Legend,
    bands: Sequence[str],
    machine: Machine,
    keep: Keep,
    resume: Path | None,
    progress: Callable[[int, Epoch | None], None],
) -> tuple[list[Epoch], Best]:
    """Train; what the training leaves goes to ``keep``.

    Args:
        network: From `first_network`.
        loss: From `build_loss`.
        spec: What is asked.
        batches: To train on.
        held_out: To validate on.
        legend: Classes, for pictures.
        bands: Names, for pictures.
        machine: Where.
        keep: Who keeps weights, checkpoints, log and pictures.
        resume: A checkpoint to go on from.
        progress: Is told how many batches are done, after each, and at the end of an epoch what became of it.

    Returns:
        All epochs, those before a death included, and the best of them.

    Raises:
        TrainingError: If the loss is no number any more.
        ParameterError: If gradient checkpointing is asked for and the network has no blocks for it.
        ResourceError: If memory does not suffice.
    """
    kind, _, number = machine.device.partition(":")
    network = network.to(memory_format=torch.channels_last)
    if spec.gradient_checkpointing:
        recompute(network)
    task = Task(network, loss, spec, n_classes=len(legend))
    keeper = _Keeper(
        spec, keep, batches, draw=lambda t: _draw(t, held_out, spec.pictures, legend, bands), progress=progress
    )
    with _as_before(), warnings.catch_warnings():
        if machine.threads is not None:
            torch.set_num_threads(machine.threads)
        # advice on data loaders and loggers that are not used here
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        trainer = pl.Trainer(
            accelerator={"cuda": "gpu"}.get(kind, kind),
            devices=[int(number)] if number else 1,
            precision=_PRECISION[spec.precision],  # type: ignore[arg-type] # one of Lightning's names
            max_epochs=spec.epochs,
            accumulate_grad_batches=spec.accumulate,
            gradient_clip_val=spec.clip,
            deterministic="warn",
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[keeper],
        )
        try:
            trainer.fit(task, batches, held_out, ckpt_path=resume, weights_only=True)
        except SystemExit as end:
            # Lightning takes an interrupt for its own and ends with another exit code than other commands
            if keeper.interrupted:
                raise KeyboardInterrupt from end
            raise
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"out of memory on {machine.device} with {spec.batch_size} windows of {spec.window} px: choose a "
                "smaller batch_size, and a larger accumulate for the same effect, or gradient_checkpointing: true"
            ) from error
    assert keeper.best is not None
    return keeper.epochs, keeper.best


@contextmanager
def _as_before() -> Iterator[None]:
    """Puts back what a training sets for the whole process."""
    threads, rules = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    at_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            # Lightning ignores interrupts once it has met one
            signal.signal(signal.SIGINT, at_interrupt)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(rules, warn_only=only_warn)


def _draw(
    task: Task, held_out: HeldOutBatches, n: int, legend: Legend, bands: Sequence[str]
) -> NDArray[np.uint8] | None:
    if not n:
        return None
    images, truth = held_out.some(n)
    training = task.network.training
    task.network.eval()
    with torch.inference_mode():
        said = [task.network(image[None].to(task.device)).argmax(dim=1)[0].cpu() for image in images]
    task.network.train(training)
    return picture(
        images.numpy(), truth.numpy(), torch.stack(said).numpy().astype(np.uint8), legend=legend, bands=bands
    )
