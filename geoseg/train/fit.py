"""The training itself, by Lightning's trainer: in this process, or in one for each of several devices."""

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoseg.errors import ResourceError
from geoseg.legend import Legend
from geoseg.train.batches import HeldOutBatches, TrainingBatches
from geoseg.train.config import TrainSpec
from geoseg.train.keeper import Best, Epoch, Keep, Keeper, Nothing
from geoseg.train.machine import Machine, devices_of
from geoseg.train.pictures import picture
from geoseg.train.ranks import in_ranks
from geoseg.train.recompute import recompute
from geoseg.train.task import Task
from geoseg.train.team import Team, share_statistics

__all__ = ["fit"]

_PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


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
        ParameterError: If gradient checkpointing is asked for and the network has no blocks for it, or there are not so
            many devices, or the batch cannot be shared out evenly.
        ResourceError: If memory does not suffice, or a process was killed.
    """
    devices = devices_of(machine, spec)
    threads = machine.threads
    if len(devices) > 1:
        threads = max(1, (threads or torch.get_num_threads()) // len(devices))
    work = partial(
        _train,
        network=network,
        loss=loss,
        spec=spec,
        batches=batches,
        held_out=held_out,
        legend=legend,
        bands=tuple(bands),
        threads=threads,
        keep=keep,
        resume=resume,
    )
    if len(devices) > 1:
        found: tuple[list[Epoch], Best] = in_ranks(work, devices, hear=progress)
        return found
    return work(Team(device=devices[0]), progress)


def _train(
    team: Team,
    progress: Callable[[int, Epoch | None], None],
    *,
    network: nn.Module,
    loss: nn.Module,
    spec: TrainSpec,
    batches: TrainingBatches,
    held_out: HeldOutBatches,
    legend: Legend,
    bands: Sequence[str],
    threads: int | None,
    keep: Keep,
    resume: Path | None,
) -> tuple[list[Epoch], Best]:
    """What one process of a team does; the first one keeps what the training leaves."""
    kind, _, number = team.device.partition(":")
    network = network.to(memory_format=torch.channels_last)
    share_statistics(network, team)
    if spec.gradient_checkpointing:
        recompute(network)
    batches.share(team)
    held_out.share(team)
    task = Task(network, loss, spec, n_classes=len(legend), team=team)
    pictures = spec.pictures if team.number == 0 else 0
    keeper = Keeper(
        spec,
        keep if team.number == 0 else Nothing(),
        batches,
        draw=lambda t: _draw(t, held_out, pictures, legend, bands),
        progress=progress,
    )
    with _as_before(), warnings.catch_warnings():
        if threads is not None:
            torch.set_num_threads(threads)
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
                f"out of memory on {team.device} with {spec.batch_size // team.of} windows of {spec.window} px: choose "
                "a smaller batch_size, and a larger accumulate for the same effect, or gradient_checkpointing: true"
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
