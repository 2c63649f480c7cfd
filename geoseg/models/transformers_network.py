"""Networks of Hugging Face's transformers: built from a config by name, filled from tensors, never from the net."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

from geoseg.errors import ModelError, printable
from geoseg.models.load import Model
from geoseg.models.network import refuse_broken_numbers
from geoseg.models.transformers_card import NETWORKS
from geoseg.models.weights import read_weights

__all__ = ["transformers_network"]

_SMALLEST = 1e-6
_TRAINING = ("auxiliary_head.", "criterion.")


def transformers_network(model: Model) -> nn.Module:
    """The network of a folder.

    Nothing in the config leads to an import or to a download: its type has to be one of `NETWORKS`, code that it names
    is not looked at, and a backbone has to be described rather than named.

    Raises:
        ModelError: If config and weights do not fit, or the config wants something from the net.
    """
    assert model.weights is not None, "a card of this kind has weights"
    assert model.config is not None, "a model of this kind has a config"
    shown = printable(model.source)
    content = json.loads(model.config)
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind not in NETWORKS:
        raise ModelError(f"{shown}: its config.json is of type {printable(kind)}, not one of {', '.join(NETWORKS)}")
    _refuse_downloads(content, shown)
    tensors = read_weights(model.weights, sha256=model.weights_sha256, member=model.member)
    network = _filled(kind, content, tensors, model)
    return _Masks(network) if kind == "mask2former" else _Interpolated(network)


def _filled(kind: str, content: dict[str, Any], tensors: dict[str, Tensor], model: Model) -> nn.Module:
    """The network with its weights; transformers itself knows how its releases have called the tensors."""
    shown = printable(model.source)
    refuse_broken_numbers(tensors, model)
    try:
        with _quietly():
            config = transformers.CONFIG_MAPPING[kind].from_dict(content)
            config.num_labels = model.n_classes
            # no path: nothing is looked for on the disk or in the net
            network, found = getattr(transformers, NETWORKS[kind]).from_pretrained(
                None, config=config, state_dict=tensors, output_loading_info=True, ignore_mismatched_sizes=True
            )
    except Exception as error:  # constructors raise whatever they meet
        raise ModelError(f"{shown}: its config.json builds no {kind}: {printable(error)}") from error
    shapes = [name for name, *_ in found["mismatched_keys"]]
    lists = {"missing": found["missing_keys"], "unexpected": found["unexpected_keys"], "of another shape": shapes}
    # a second head that only training uses
    problems = {what: sorted(n for n in names if not n.startswith(_TRAINING)) for what, names in lists.items()}
    if any(problems.values()):
        listed = ", ".join(f"{len(names)} {what} ({names[0]} ...)" for what, names in problems.items() if names)
        raise ModelError(
            f"{printable(model.weights)} does not fit config.json: tensors {printable(listed)}; get both files anew"
        )
    return cast(nn.Module, network)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the progress bars and tables that transformers prints: what matters is raised."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _refuse_downloads(content: dict[str, Any], shown: str) -> None:
    if content.get("use_pretrained_backbone") or content.get("use_timm_backbone") or content.get("backbone"):
        raise ModelError(
            f"{shown}: its config.json names a backbone to be fetched from the net: save the model again with "
            "backbone_config, and use_pretrained_backbone false"
        )


class _Interpolated(nn.Module):
    """Logits at the windows' own resolution; SegFormer's are at a quarter of it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=pixels).logits
        if logits.shape[2:] == pixels.shape[2:]:
            return logits
        return F.interpolate(logits, size=pixels.shape[2:], mode="bilinear", align_corners=False)


class _Masks(nn.Module):
    """Logits from queries that each say a class and a mask: of the sum over queries of their products.

    Source: Cheng et al. (2021), Per-pixel classification is not all you need, section 3.4 (semantic inference).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        out = self.network(pixel_values=pixels)
        # the last class is "no object"
        classes = out.class_queries_logits.softmax(dim=-1)[..., :-1]
        masks = F.interpolate(
            out.masks_queries_logits, size=pixels.shape[2:], mode="bilinear", align_corners=False
        ).sigmoid()
        return torch.einsum("nqk,nqhw->nkhw", classes, masks).clamp(min=_SMALLEST).log()
