"""Losses that are means over labelled pixels: cross entropies, and the weights of their pixels.

All take logits (N, K, H, W) and targets (N, H, W) of class indices, and leave out pixels that are `IGNORE`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.errors import ParameterError

__all__ = ["IGNORE", "BinaryCrossEntropy", "CrossEntropy", "Focal", "Pixelwise", "boundary_weight"]

IGNORE = 255
"""Target of a pixel that does not count: no label, no observation."""


def boundary_weight(target: Tensor, *, extra: float, radius_px: int) -> Tensor:
    """Weight of each pixel (N, H, W): 1, and up to ``1 + extra`` towards the border of another class.

    With d the distance to the nearest pixel of another class (chessboard: a step in any of eight directions is 1), the
    weight is ``1 + extra * max(0, radius_px + 1 - d) / radius_px``: full beside the border, nothing beyond the radius.
    Ignored pixels are no class, so labels that end make no border.
    """
    known = target != IGNORE
    plane = target.to(torch.float32)[:, None]
    high = torch.where(known[:, None], plane, -1.0)
    low = torch.where(known[:, None], plane, float(IGNORE))
    near = torch.zeros_like(plane)
    for _ in range(radius_px):
        # the highest and the lowest class within one step more
        high, low = F.max_pool2d(high, 3, 1, 1), -F.max_pool2d(-low, 3, 1, 1)
        near += high > low
    return 1.0 + near[:, 0] * (extra / radius_px)


class Pixelwise(nn.Module, ABC):
    """A loss that is a weighted mean over labelled pixels."""

    class_weight: Tensor | None

    def __init__(self, class_weight: Sequence[float] | None, boundary: float, boundary_px: int) -> None:
        super().__init__()
        if boundary < 0 or boundary_px < 1:
            raise ParameterError(
                f"boundary {boundary} within {boundary_px} px is no weighting: choose 0 or more within at least 1 px"
            )
        self.boundary, self.boundary_px = boundary, boundary_px
        weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer("class_weight", weight, persistent=False)

    @abstractmethod
    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of each pixel (N, H, W), times the weight of its class; 0 where it is ignored."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar."""
        target = target.long()
        known = target != IGNORE
        weight = known.to(logits.dtype)
        if self.class_weight is not None:
            weight = weight * self.class_weight.to(logits.dtype)[target.where(known, 0)]
        each = self.each(logits, target)
        if self.boundary:
            border = boundary_weight(target, extra=self.boundary, radius_px=self.boundary_px).to(logits.dtype)
            each, weight = each * border, weight * border
        return each.sum() / weight.sum().clamp_min(torch.finfo(logits.dtype).tiny)


class CrossEntropy(Pixelwise):
    """Softmax cross-entropy, with label smoothing as torch has it."""

    def __init__(
        self,
        *,
        class_weight: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        boundary: float = 0.0,
        boundary_px: int = 3,
    ) -> None:
        super().__init__(class_weight, boundary, boundary_px)
        _check_share("label_smoothing", label_smoothing)
        self.label_smoothing = label_smoothing

    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `Pixelwise.each`."""
        return F.cross_entropy(
            logits,
            target,
            weight=self.class_weight if self.class_weight is None else self.class_weight.to(logits.dtype),
            ignore_index=IGNORE,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )


class _OneVersusRest(Pixelwise):
    """Each class against all others by a sigmoid of its own: the mean over classes."""

    @abstractmethod
    def element(self, logits: Tensor, truth: Tensor) -> Tensor:
        """The loss of each pixel and class."""

    def each(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `Pixelwise.each`."""
        known = target != IGNORE
        classes = target.where(known, 0)
        truth = F.one_hot(classes, logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
        loss = self.element(logits, truth).mean(dim=1)
        if self.class_weight is not None:
            loss = loss * self.class_weight.to(logits.dtype)[classes]
        return loss.where(known, 0.0)


class BinaryCrossEntropy(_OneVersusRest):
    """Cross-entropy of each class against the rest."""

    def __init__(
        self,
        *,
        class_weight: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        boundary: float = 0.0,
        boundary_px: int = 3,
    ) -> None:
        super().__init__(class_weight, boundary, boundary_px)
        _check_share("label_smoothing", label_smoothing)
        self.label_smoothing = label_smoothing

    def element(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Of each class of each pixel (N, K, H, W), against a truth of 0 and 1."""
        soft = truth * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        return F.binary_cross_entropy_with_logits(logits, soft, reduction="none")


class Focal(_OneVersusRest):
    """(1 - p_t)^gamma times the cross-entropy of each class against the rest. Lin et al. (2017), ICCV."""

    def __init__(
        self,
        *,
        class_weight: Sequence[float] | None = None,
        gamma: float = 2.0,
        alpha: float | None = None,
        boundary: float = 0.0,
        boundary_px: int = 3,
    ) -> None:
        super().__init__(class_weight, boundary, boundary_px)
        if gamma < 0:
            raise ParameterError(f"gamma {gamma} would reward what is wrong: choose 0 (cross-entropy) or more")
        if alpha is not None:
            _check_share("alpha", alpha)
        self.gamma, self.alpha = gamma, alpha

    def element(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Of each class of each pixel (N, K, H, W), against a truth of 0 and 1."""
        loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        # 1 - p_t by a sigmoid, which has a gradient where exp(-loss) rounds to 1
        loss = loss * torch.sigmoid(logits * (1.0 - 2.0 * truth)) ** self.gamma
        if self.alpha is not None:
            loss = loss * (self.alpha * truth + (1.0 - self.alpha) * (1.0 - truth))
        return loss


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ParameterError(f"{name} {value} is no share: choose from 0 to below 1")
