"""A network tried on the windows of its training, before anything is read for them."""

import torch
from torch import nn

from geoseg.errors import ParameterError, printable
from geoseg.train.config import TrainSpec

__all__ = ["takes_any_window", "try_windows"]


def try_windows(network: nn.Module, spec: TrainSpec, *, in_channels: int, n_classes: int) -> None:
    """See that a network takes windows of training, and gives logits of their size; it stays as it was.

    Two windows at most, in the mode of training: batch normalisation of what was pooled to one pixel, as in PSPNet, has
    nothing to average where there is but one.

    Raises:
        ParameterError: If it does not.
    """
    n = min(2, spec.batch_size)
    named = printable(" with ".join(filter(None, (spec.architecture.name, spec.architecture.encoder))))
    windows = f"{n} window{'s' if n > 1 else ''} of {spec.window} px"
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    training = network.training
    try:
        # dropout draws: what the training draws must not depend on it
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            given = network.train()(torch.zeros((n, in_channels, spec.window, spec.window)))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        larger = "a larger window" if spec.batch_size > 1 else "batch_size: 2, or a larger window"
        raise ParameterError(
            f"{named} cannot be trained on {windows} ({_reason(error)}): choose {larger}, or another network"
        ) from error
    finally:
        network.train(training)
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(buffers[name])
    wanted = (n, n_classes, spec.window, spec.window)
    shape = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
    if shape != wanted:
        raise ParameterError(
            f"{named} gives {shape} for {windows}: a network of a training gives logits of the shape {wanted}"
        )


def takes_any_window(network: nn.Module, side: int, stride: int, *, in_channels: int) -> bool:
    """Whether a network takes windows of a run of ``side`` px and of one stride more: some transformers take one size.

    Its parameters are on the CPU.
    """
    training = network.training
    try:
        with torch.no_grad():
            for each in (side, side + stride):
                given = network.eval()(torch.zeros((1, in_channels, each, each)))
                if given.shape[-2:] != (each, each):
                    return False
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return False
    finally:
        network.train(training)
    return True


def _reason(error: Exception) -> str:
    said = str(error).splitlines()
    return printable(said[0]).rstrip(" .:") if said else type(error).__name__
