"""What processes that train one network together exchange.

Each computes its part of every batch, and the loss is that of the whole batch: a loss is no mean over parts (labels are
missing here and there, and Dice is a ratio of sums over the batch), so that what the network gave is gathered first.
Gradients are sums over the parts. A number of processes therefore changes nothing but the order in which is summed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Team", "share_statistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """The processes that train together, seen from one of them; alone by default."""

    number: int = 0
    """This one; 0 is the one that keeps what the training leaves."""
    of: int = 1
    """How many there are."""
    device: str = "cpu"
    """Where this one computes."""

    def part(self, n: int) -> slice:
        """What of a batch of n windows is this one's; n is a multiple of ``of``."""
        each = n // self.of
        return slice(self.number * each, (self.number + 1) * each)

    def gathered(self, own: Tensor) -> list[Tensor]:
        """The tensors of all, one shape, in their order and without a gradient."""
        own = own.detach().contiguous()
        if self.of == 1:
            return [own]
        parts = [torch.empty_like(own) for _ in range(self.of)]
        # as bytes: not every backend knows every type
        dist.all_gather([p.view(torch.uint8) for p in parts], own.view(torch.uint8))
        return parts

    def whole(self, own: Tensor) -> Tensor:
        """The parts of all, one after the other; the gradient of what follows goes to this one's own part."""
        if self.of == 1:
            return own
        parts = self.gathered(own)
        parts[self.number] = own
        return torch.cat(parts)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor its sum over all, in place; they are of one type, and the same ones everywhere."""
        if self.of == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view(tensor.shape))

    def total(self, values: NDArray[Any]) -> NDArray[Any]:
        """The sum of arrays of one shape over all."""
        if self.of == 1:
            return values
        there = torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
        dist.all_reduce(there)
        total: NDArray[Any] = there.cpu().numpy()
        return total


def share_statistics(network: nn.Module, team: Team) -> None:
    """Make batch normalisation take mean and variance over the whole batch, not over the part of a process.

    torch's own SyncBatchNorm is not for CPUs, and takes the place of layers whose subclass does more, such as timm's,
    which hold an activation. Here a layer stays what it is.
    """
    if team.of == 1:
        return
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_normalised, module, module.forward, team)  # type: ignore[method-assign]


def _normalised(module: _BatchNorm, forward: Any, team: Team, x: Tensor) -> Any:
    """What a layer in training gives, by way of what it gives in evaluation with the statistics of the batch."""
    if not module.training:
        return forward(x)
    with torch.no_grad():
        axes = [axis for axis in range(x.ndim) if axis != 1]
        own = torch.var_mean(_precise(x), dim=axes, correction=0)
        parts = torch.stack(team.gathered(torch.stack(own)))  # process, variance and mean, channel
        mean = parts[:, 1].mean(dim=0)
        variance = parts[:, 0].mean(dim=0) + (parts[:, 1] - mean).square().mean(dim=0)
        n = team.of * x.numel() // x.shape[1]
        _remember(module, mean, variance * (n / max(1, n - 1)))
    x = _Centred.apply(x, mean, (variance + module.eps).rsqrt(), team)
    kept = (module.running_mean, module.running_var)
    module.running_mean, module.running_var, module.training = mean, variance, False
    try:
        return forward(x)
    finally:
        module.running_mean, module.running_var = kept
        module.training = True


def _precise(x: Tensor) -> Tensor:
    """Sums over many pixels are made in float32 or better."""
    return x if x.dtype == torch.float64 else x.float()


def _remember(module: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Put the statistics of a batch into those for evaluation."""
    if module.running_mean is None or module.running_var is None:
        return
    if module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)
    share = module.momentum if module.momentum is not None else 1.0 / float(module.num_batches_tracked or 1)
    module.running_mean.lerp_(mean, share)
    module.running_var.lerp_(variance, share)


class _Centred(torch.autograd.Function):
    """The input as it is; its gradient learns that mean and variance depend on the input, too.

    With fixed statistics the gradient of normalisation is g = weight / deviation * (gradient of the output). Where they
    are those of the batch it is g - mean(g) - x' mean(g x'), x' being the normalised input and the means those over
    the whole batch. Ioffe and Szegedy (2015), ICML.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, scale: Tensor, team: Team) -> Tensor:
        ctx.save_for_backward(x, mean, scale)
        ctx.team = team
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        x, mean, scale = ctx.saved_tensors
        gradient = _precise(gradients[0])
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        normal = (_precise(x) - mean.view(shape)) * scale.view(shape)
        sums = torch.stack([gradient.sum(dim=axes), (gradient * normal).sum(dim=axes)])
        ctx.team.add([sums])
        first, second = (s.view(shape) for s in sums / (ctx.team.of * x.numel() // x.shape[1]))
        return (gradient - first - normal * second).to(x.dtype), None, None, None
