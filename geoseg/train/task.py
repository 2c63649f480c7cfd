"""What Lightning trains: network, loss, optimizer, and the counts of a validation."""

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from geoseg.train.batches import Batch
from geoseg.train.config import TrainSpec
from geoseg.train.pixel_losses import IGNORE
from geoseg.train.scores import Confusion
from geoseg.train.team import Team

__all__ = ["Task", "rate_factor"]


def rate_factor(step: int, *, total: int, warmup: float) -> float:
    """Share of the highest learning rate: a straight rise, then half a cosine wave down to 0.

    Example:
        >>> [round(rate_factor(step, total=8, warmup=0.25), 3) for step in (0, 1, 2, 5, 8)]
        [0.333, 0.667, 1.0, 0.5, 0.0]
    """
    rise = round(warmup * total)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))


class Task(pl.LightningModule):
    """A network that learns to say the class of each pixel."""

    def __init__(
        self, network: nn.Module, loss: nn.Module, spec: TrainSpec, *, n_classes: int, team: Team | None = None
    ) -> None:
        """Prepare to train ``network``; batches are parts of those of ``team``."""
        super().__init__()
        self.network, self.loss, self.spec, self.n_classes = network, loss, spec, n_classes
        self.team = team or Team()
        self.forget()

    def forget(self) -> None:
        """Forget the losses and counts of the epoch before."""
        self.counts = torch.zeros((self.n_classes, self.n_classes), dtype=torch.int64, device=self.device)
        self.losses: list[Tensor] = []
        self.held_out_losses: list[Tensor] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """The loss of a batch."""
        images, target = batch
        loss: Tensor = self.loss(self.team.whole(self.network(images)), self.team.whole(target))
        self.losses.append(loss.detach())
        return loss

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """A step down the gradient, which is the sum of those of all parts of the batches before."""

        def closure() -> Any:
            assert optimizer_closure is not None
            result = optimizer_closure()
            self.team.add([p.grad for p in self.network.parameters() if p.grad is not None])
            return result

        super().optimizer_step(epoch, batch_idx, optimizer, closure)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        """Count a batch that is held out."""
        images, target = batch
        logits = self.network(images)
        self.held_out_losses.append(self.loss(logits, target))
        known = target != IGNORE
        pairs = target[known].long() * self.n_classes + logits.argmax(dim=1)[known]
        self.counts += torch.bincount(pairs, minlength=self.n_classes**2).reshape(self.counts.shape)

    def held_out(self) -> tuple[Confusion, float]:
        """Of the last validation: the counts, and the mean loss of its batches."""
        losses = [float(each) for each in self.held_out_losses]
        loss, n = self.team.total(np.array([math.fsum(losses), len(losses)]))
        return Confusion(counts=self.team.total(self.counts.cpu().numpy())), float(loss / n)

    def configure_optimizers(self) -> Any:
        """AdamW whose rate rises, then falls."""
        spec = self.spec
        total = spec.epochs * -(-spec.batches // spec.accumulate)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate_factor(step, total=total, warmup=spec.warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
