"""What training makes small: a weighted sum of losses, by the names that a configuration uses."""

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import ParameterError, printable
from geoseg.train.loss_options import check_options
from geoseg.train.overlap_losses import Dice, GeneralisedDice, Jaccard, Lovasz, Tversky
from geoseg.train.pixel_losses import IGNORE, BinaryCrossEntropy, CrossEntropy, Focal, Pixelwise

__all__ = ["LOSSES", "WeightedSum", "build_loss"]

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
        if class_weight is not None and issubclass(LOSSES[name], Pixelwise):
            options["class_weight"] = class_weight
        built.append((float(weight), LOSSES[name](**options)))
    if class_weight is not None and not any(isinstance(term, Pixelwise) for _, term in built):
        raise ParameterError("class weights are for the losses ce, bce and focal, and none of them is named: add one")
    return WeightedSum(built)


def _not_known(what: str, name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    return f"there is no {what} '{printable(name)}'{guess}: choose from {', '.join(known)}"


def _none_labelled(logits: Tensor) -> Tensor:
    """0 with a gradient: a batch without labels teaches nothing and breaks nothing."""
    return logits.sum() * 0.0
