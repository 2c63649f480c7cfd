"""Gradient checkpointing: blocks of a network that forget what they computed, and compute it again for the gradient.

Chen et al. (2016), Training Deep Nets with Sublinear Memory Cost: of a block only its input is kept. The results are
the same to the bit; a step takes the time of one more forward pass of the blocks, in less memory.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from geoseg.errors import ParameterError

__all__ = ["blocks_of", "recompute"]

_SEQUENCES = (nn.Sequential, nn.ModuleList)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The blocks of a network's encoder, or of the network where it has none: what is repeated in it.

    A block is an item of a sequence that holds two layers or more with weights of their own and is no sequence itself;
    where there is none, it is a stage, one of several parts of the same kind. What lies inside a block is part of it.
    """
    within = getattr(network, "encoder", network)
    return list(_repeated(within, _is_listed)) or list(_repeated(within, _has_siblings))


def _repeated(module: nn.Module, is_one: Callable[[nn.Module, nn.Module], bool]) -> Iterator[nn.Module]:
    for child in module.children():
        if not isinstance(child, _SEQUENCES) and _n_layers(child) >= 2 and is_one(module, child):
            yield child
        else:
            yield from _repeated(child, is_one)


def _is_listed(parent: nn.Module, _child: nn.Module) -> bool:
    return isinstance(parent, _SEQUENCES)


def _has_siblings(parent: nn.Module, child: nn.Module) -> bool:
    return sum(type(other) is type(child) for other in parent.children()) >= 2


def _n_layers(module: nn.Module) -> int:
    return sum(any(True for _ in m.parameters(recurse=False)) for m in module.modules())


def recompute(network: nn.Module) -> int:
    """Make the blocks of a network's encoder compute again what the gradient needs, and say how many there are.

    Only in training: where no gradient is wanted, nothing is kept anyway.

    Raises:
        ParameterError: If the network has no such blocks.
    """
    found = blocks_of(network)
    if not found:
        raise ParameterError(
            "gradient_checkpointing: the encoder has no blocks that could be computed again (as a ResNet, "
            "an EfficientNet or a transformer has them): leave it out, or choose another encoder"
        )
    for block in found:
        block.forward = partial(_forgetful, block, block.forward)
    return len(found)


def _forgetful(block: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not block.training:
        return forward(*args, **kwargs)

    def compute(*given: Any) -> Any:
        # HRNet's blocks put their results into the list that they are given: the second time it must be the first one
        return forward(*(list(each) if isinstance(each, list) else each for each in given), **kwargs)

    return checkpoint(compute, *args, use_reentrant=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_as_they_are(block)


@contextmanager
def _statistics_as_they_are(block: nn.Module) -> Iterator[None]:
    """Keeps batch normalisation from counting a batch twice: what it counts now is thrown away."""
    kept = [
        (module, name, buffer)
        for module in block.modules()
        if isinstance(module, _BatchNorm)
        for name, buffer in module.named_buffers(recurse=False)
    ]
    for module, name, buffer in kept:
        setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in kept:
            setattr(module, name, buffer)
