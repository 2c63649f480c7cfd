"""Losses that measure how well areas overlap: Dice, Jaccard, Tversky, Lovász.

All take logits (N, K, H, W) and targets (N, H, W) of class indices, and leave out pixels that are `IGNORE`, before
anything is summed. Dice, Jaccard, Tversky and Lovász are those of segmentation_models_pytorch, over the batch as a
whole, so that a class that a window lacks costs nothing.
"""

from collections.abc import Sequence

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.errors import ParameterError
from geoseg.train.pixel_losses import IGNORE

__all__ = ["Dice", "GeneralisedDice", "Jaccard", "Lovasz", "Tversky"]


class Dice(nn.Module):
    """1 - (2 sum p y + smooth) / (sum p + sum y + smooth) of each class, averaged; ``squared`` sums p^2 + y^2 below."""

    def __init__(self, *, smooth: float = 0.0, squared: bool = False, only: Sequence[int] | None = None) -> None:
        super().__init__()
        _check_smooth(smooth)
        self.squared, self.smooth, self.only = squared, smooth, only
        # smp's Dice is its Tversky with halves: its smooth counts twice in what is written above
        self.plain = smp.losses.DiceLoss("multiclass", classes=_listed(only), smooth=smooth / 2, ignore_index=IGNORE)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar."""
        target = target.long()
        if not self.squared:
            loss: Tensor = self.plain(logits, target)
            return loss
        p, y = _scores_and_truth(logits, target)
        top = 2.0 * (p * y).sum(dim=(0, 2)) + self.smooth
        loss = 1.0 - top / ((p * p).sum(dim=(0, 2)) + y.sum(dim=(0, 2)) + self.smooth).clamp_min(1e-7)
        loss = loss * (y.sum(dim=(0, 2)) > 0)
        return loss.mean() if self.only is None else loss[list(self.only)].mean()


class GeneralisedDice(nn.Module):
    """Dice over all classes at once, each weighted by 1 / (its pixels)^2 in a window. Sudre et al. (2017), DLMIA.

    A class that a window lacks has the weight of its rarest class.
    """

    def __init__(self, *, smooth: float = 1e-4) -> None:
        super().__init__()
        _check_smooth(smooth)
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar."""
        p, y = _scores_and_truth(logits, target.long())
        pixels = y.sum(dim=2)  # window, class
        weight = torch.where(pixels > 0, 1.0 / pixels.clamp_min(1.0) ** 2, 0.0)
        weight = torch.where(pixels > 0, weight, weight.amax(dim=1, keepdim=True))
        top = 2.0 * (weight * (p * y).sum(dim=2)).sum(dim=1) + self.smooth
        below = (weight * (p + y).sum(dim=2)).sum(dim=1) + self.smooth
        return (1.0 - top / below).mean()


class Jaccard(nn.Module):
    """1 - (sum p y + smooth) / (sum p + sum y - sum p y + smooth) of each class, averaged."""

    def __init__(self, *, smooth: float = 0.0, only: Sequence[int] | None = None) -> None:
        super().__init__()
        _check_smooth(smooth)
        self.plain = smp.losses.JaccardLoss("multiclass", classes=_listed(only), smooth=smooth, ignore_index=IGNORE)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar."""
        loss: Tensor = self.plain(logits, target.long())
        return loss


class Tversky(nn.Module):
    """1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth) of each class, averaged. Salehi et al. (2017), MLMI.

    Other programs swap the names: here ``alpha`` is of the false positives, ``beta`` of the false negatives.
    """

    def __init__(
        self, *, alpha: float = 0.3, beta: float = 0.7, smooth: float = 0.0, only: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        _check_smooth(smooth)
        if alpha < 0 or beta < 0 or alpha + beta == 0:
            raise ParameterError(f"alpha {alpha} and beta {beta} weigh no mistake: choose 0 or more, not both 0")
        self.plain = smp.losses.TverskyLoss(
            "multiclass", classes=_listed(only), alpha=alpha, beta=beta, smooth=smooth, ignore_index=IGNORE
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar."""
        loss: Tensor = self.plain(logits, target.long())
        return loss


class Lovasz(nn.Module):
    """The Lovász-Softmax surrogate of 1 - IoU, mean over the classes present. Berman et al. (2018), CVPR."""

    def __init__(self, *, per_image: bool = False) -> None:
        super().__init__()
        self.plain = smp.losses.LovaszLoss("multiclass", per_image=per_image, ignore_index=IGNORE)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar."""
        if self.plain.per_image:
            labelled = (target != IGNORE).flatten(1).any(dim=1)
            logits, target = logits[labelled], target[labelled]
        loss: Tensor = self.plain(logits.float(), target.long())  # its own arithmetic is float32
        return loss


def _check_smooth(value: float) -> None:
    if value < 0:
        raise ParameterError(f"smooth {value} is below 0: choose 0 or more")


def _listed(only: Sequence[int] | None) -> list[int] | None:
    return None if only is None else list(only)


def _scores_and_truth(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax and one-hot truth, (N, K, H * W), both 0 where ignored."""
    known = target != IGNORE
    p = logits.softmax(dim=1) * known[:, None]
    y = F.one_hot(target.where(known, 0), logits.shape[1]).movedim(-1, 1) * known[:, None]
    return p.flatten(2), y.flatten(2).to(p.dtype)
