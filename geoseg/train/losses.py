"""What training makes small: losses on logits and class indices, their weights, and sums of them.

All take logits (N, K, H, W) and targets (N, H, W) of class indices, and leave out pixels that are `IGNORE`, before
anything is summed. Dice, Jaccard, Tversky and Lovász are those of segmentation_models_pytorch, over the batch as a
whole, so that a class that a window lacks costs nothing.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from geoseg.errors import ParameterError, printable
from geoseg.train.loss_options import check_options

__all__ = [
    "IGNORE",
    "LOSSES",
    "WeightedSum",
    "boundary_weight",
    "build_loss",
    "effective_weights",
    "inverse_weights",
]

IGNORE = 255
"""Target of a pixel that does not count: no label, no observation."""

_CAP = 10.0
"""No class weighs more than this many times the average: a handful of mislabelled pixels must not rule."""


def inverse_weights(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Class weights by inverse frequency, 1 on average over the classes that occur, capped at 10.

    Args:
        counts: Labelled pixels of each class; a class without any gets weight 1, which nothing uses.

    Example:
        >>> inverse_weights(np.array([300, 100])).tolist()
        [0.5, 1.5]
    """
    return _scaled(1.0 / np.maximum(counts, 1), counts)


def effective_weights(counts: NDArray[np.int64], beta: float = 0.999) -> NDArray[np.float32]:
    """Class weights by the effective number of samples, (1 - beta) / (1 - beta^n), scaled as `inverse_weights`.

    Cui et al. (2019), CVPR. Their n counts images. Neighbouring pixels repeat each other, so count places here (the
    cells of 32 px that have a class), not pixels: with a million of them, all classes would weigh the same.

    Args:
        counts: Samples of each class.
        beta: From 0 (no weighting) towards 1 (inverse frequency).

    Example:
        >>> effective_weights(np.array([1, 2]), beta=0.5).tolist()
        [1.2000000476837158, 0.800000011920929]
    """
    if not 0 <= beta < 1:
        raise ParameterError(f"beta {beta} is no weighting by effective number: choose from 0 to below 1")
    return _scaled((1.0 - beta) / (1.0 - beta ** np.maximum(counts, 1).astype(np.float64)), counts)


def _scaled(raw: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    seen = counts > 0
    if not seen.any():
        raise ParameterError("no class has a labelled pixel, so none can be weighted: label some")
    weights = np.where(seen, raw / raw[seen].mean(), 1.0)
    return np.minimum(weights, _CAP).astype(np.float32)


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


def _none_labelled(logits: Tensor) -> Tensor:
    """0 with a gradient: a batch without labels teaches nothing and breaks nothing."""
    return logits.sum() * 0.0


class _Pixelwise(nn.Module, ABC):
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


class CrossEntropy(_Pixelwise):
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
        return F.cross_entropy(
            logits,
            target,
            weight=self.class_weight if self.class_weight is None else self.class_weight.to(logits.dtype),
            ignore_index=IGNORE,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )


class _OneVersusRest(_Pixelwise):
    """Each class against all others by a sigmoid of its own: the mean over classes."""

    @abstractmethod
    def element(self, logits: Tensor, truth: Tensor) -> Tensor:
        """The loss of each pixel and class."""

    def each(self, logits: Tensor, target: Tensor) -> Tensor:
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
        loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        # 1 - p_t by a sigmoid, which has a gradient where exp(-loss) rounds to 1
        loss = loss * torch.sigmoid(logits * (1.0 - 2.0 * truth)) ** self.gamma
        if self.alpha is not None:
            loss = loss * (self.alpha * truth + (1.0 - self.alpha) * (1.0 - truth))
        return loss


class Dice(nn.Module):
    """1 - (2 sum p y + smooth) / (sum p + sum y + smooth) of each class, averaged; ``squared`` sums p^2 + y^2 below."""

    def __init__(self, *, smooth: float = 0.0, squared: bool = False, only: Sequence[int] | None = None) -> None:
        super().__init__()
        _check_smooth(smooth)
        self.squared, self.smooth, self.only = squared, smooth, only
        # smp's Dice is its Tversky with halves: its smooth counts twice in what is written above
        self.plain = smp.losses.DiceLoss("multiclass", classes=_listed(only), smooth=smooth / 2, ignore_index=IGNORE)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
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
        loss: Tensor = self.plain(logits, target.long())
        return loss


class Lovasz(nn.Module):
    """The Lovász-Softmax surrogate of 1 - IoU, mean over the classes present. Berman et al. (2018), CVPR."""

    def __init__(self, *, per_image: bool = False) -> None:
        super().__init__()
        self.plain = smp.losses.LovaszLoss("multiclass", per_image=per_image, ignore_index=IGNORE)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.plain.per_image:
            labelled = (target != IGNORE).flatten(1).any(dim=1)
            logits, target = logits[labelled], target[labelled]
        loss: Tensor = self.plain(logits.float(), target.long())  # its own arithmetic is float32
        return loss


LOSSES: dict[str, type[nn.Module]] = {
    "ce": CrossEntropy,
    "bce": BinaryCrossEntropy,
    "focal": Focal,
    "dice": Dice,
    "generalised_dice": GeneralisedDice,
    "jaccard": Jaccard,
    "tversky": Tversky,
    "lovasz": Lovasz,
}
"""By the name a configuration uses."""


class WeightedSum(nn.Module):
    """Losses times their weights, added."""

    def __init__(self, terms: Sequence[tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in terms]
        self.terms = nn.ModuleList(term for _, term in terms)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar; logits of any precision are summed in float32 or better."""
        if not bool((target != IGNORE).any()):
            return _none_labelled(logits)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        parts = [weight * term(logits, target) for weight, term in zip(self.weights, self.terms, strict=True)]
        return torch.stack(parts).sum()


def build_loss(
    terms: Sequence[Mapping[str, Any]],
    *,
    class_weight: Sequence[float] | None = None,
    n_classes: int | None = None,
) -> WeightedSum:
    """The weighted sum of some losses.

    Args:
        terms: Each with ``name`` (of `LOSSES`), ``weight`` (1 by default) and options of that loss.
        class_weight: Of each class, for the losses that are means over pixels: ce, bce and focal.
        n_classes: How many there are, where that is known; an option that names another one is refused.

    Raises:
        ParameterError: If a loss or an option is not known, or a value cannot be used.
    """
    if not terms:
        raise ParameterError("no loss is named: name one or more, such as ce and dice")
    built = []
    for term in terms:
        options = dict(term)
        name, weight = options.pop("name", None), options.pop("weight", 1.0)
        if name is None:
            raise ParameterError(f"a loss has no name: choose from {', '.join(LOSSES)}")
        if name not in LOSSES:
            raise ParameterError(_not_known("loss", str(name), list(LOSSES)))
        if type(weight) not in (int, float) or not 0 < weight < float("inf"):
            raise ParameterError(
                f"loss {name} has weight {printable(weight)}: choose a number above 0, or leave the loss out"
            )
        known = [p for p in inspect.signature(LOSSES[name]).parameters if p != "class_weight"]
        for option in options:
            if option not in known:
                raise ParameterError(_not_known(f"option of the loss {name}", option, known))
        check_options(name, options, LOSSES[name].__init__, n_classes=n_classes)
        if class_weight is not None and issubclass(LOSSES[name], _Pixelwise):
            options["class_weight"] = class_weight
        built.append((float(weight), LOSSES[name](**options)))
    if class_weight is not None and not any(isinstance(term, _Pixelwise) for _, term in built):
        raise ParameterError("class weights are for the losses ce, bce and focal, and none of them is named: add one")
    return WeightedSum(built)


def _not_known(what: str, name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    return f"there is no {what} '{printable(name)}'{guess}: choose from {', '.join(known)}"


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ParameterError(f"{name} {value} is no share: choose from 0 to below 1")


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
