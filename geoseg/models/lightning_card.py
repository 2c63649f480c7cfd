"""What a Lightning checkpoint says of its network, read as tensors and plain values only.

Two kinds of hyperparameters are understood: those of torchgeo's ``SemanticSegmentationTask``, and ``card``, a whole
card as plain values, as any module may save it (``self.save_hyperparameters({"card": card.model_dump(mode="json")})``)
whose network is its attribute ``model``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError, printable
from geoseg.models.formats import Described
from geoseg.models.smp_folder import draft_lists
from geoseg.models.weights import read_content, read_pickle

__all__ = ["describe"]

_TORCHGEO = {
    "unet": "Unet",
    "deeplabv3+": "DeepLabV3Plus",
    "upernet": "UPerNet",
    "segformer": "Segformer",
    "dpt": "DPT",
}
"""From torchgeo's names to those of segmentation_models_pytorch, from which it takes the networks."""


def describe(path: Path) -> Described:
    """The card of a checkpoint, as far as its hyperparameters go.

    Raises:
        ModelError: If it may hold code, or its hyperparameters say nothing of a network.
    """
    shown = printable(path)
    loaded = read_pickle(path, read_content(path, sha256=None))
    parameters = loaded.get("hyper_parameters") if isinstance(loaded, Mapping) else None
    if not isinstance(parameters, Mapping):
        raise ModelError(f"{shown} is a checkpoint without hyperparameters: name the card (.yaml) that describes it")
    card = parameters.get("card")
    if isinstance(card, Mapping):
        content = {key: value for key, value in card.items() if key not in ("weights", "weights_sha256")}
        return Described(content={**content, "weights": path.name}, folder=path.parent)
    return _of_torchgeo(path, parameters)


def _of_torchgeo(path: Path, parameters: Mapping[str, Any]) -> Described:
    shown = printable(path)
    name = parameters.get("model")
    if not isinstance(name, str) or not isinstance(parameters.get("backbone"), str):
        raise ModelError(
            f"{shown}: its hyperparameters ({printable(', '.join(map(str, parameters)))}) are neither those of "
            "torchgeo's SemanticSegmentationTask nor a card: name the card (.yaml) that describes it"
        )
    if name not in _TORCHGEO:
        raise ModelError(
            f"{shown}: geoseg cannot build torchgeo's {printable(name)}, only {', '.join(_TORCHGEO)}: export "
            "the network to ONNX where torchgeo is installed"
        )
    # one channel where the task is binary, whatever the number of classes says
    binary = parameters.get("task") == "binary"
    channels, classes = parameters.get("in_channels", 3), 1 if binary else parameters.get("num_classes")
    if not isinstance(channels, int) or not isinstance(classes, int) or channels < 1 or not 1 <= classes <= 255:
        raise ModelError(f"{shown}: its hyperparameters lack in_channels or num_classes: write a card (.yaml)")
    content: dict[str, Any] = {
        "name": path.stem[:100],
        "version": "1",
        "kind": "smp",
        "architecture": {"name": _TORCHGEO[name], "encoder": parameters["backbone"]},
        "weights": path.name,
        **draft_lists(channels, classes),
    }
    unknown = ["band names, mean and std", "units"]
    labels = parameters.get("labels")
    if isinstance(labels, list) and len(labels) == len(content["classes"]):
        for one, label in zip(content["classes"], labels, strict=True):
            one["name"] = str(label)
    else:
        unknown.append("class names")
    return Described(content=content, folder=path.parent, unknown=tuple(unknown))
