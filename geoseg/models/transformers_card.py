"""What a folder of Hugging Face's transformers says of its model: ``config.json`` and ``preprocessor_config.json``."""

from pathlib import Path
from typing import Any

from geoseg.errors import ModelError, printable
from geoseg.legend import default_color
from geoseg.models.formats import Described
from geoseg.models.weights import read_json

__all__ = ["NETWORKS", "describe"]

NETWORKS = {
    "segformer": "SegformerForSemanticSegmentation",
    "upernet": "UperNetForSemanticSegmentation",
    "mask2former": "Mask2FormerForUniversalSegmentation",
}
"""Classes of networks by the ``model_type`` of a config."""

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_STRIDE = 32


def describe(path: Path) -> Described | None:
    """The card of such a folder; None where the folder is another's.

    Raises:
        ModelError: If a config is broken, of another kind of model, or there are no weights.
    """
    if not (path / "config.json").is_file():
        return None
    config = read_json(path / "config.json")
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return None
    shown = printable(path)
    if config["model_type"] not in NETWORKS:
        raise ModelError(
            f"{shown}: geoseg does not know models of type {printable(config['model_type'])}, "
            f"only {', '.join(NETWORKS)}: export the network to ONNX"
        )
    weights = next((name for name in _WEIGHTS if (path / name).is_file()), None)
    if weights is None:
        raise ModelError(f"{shown} lacks weights in one file, {' or '.join(_WEIGHTS)}: get the folder again")
    names = config.get("id2label")
    unknown = []
    content: dict[str, Any] = {"name": path.resolve().name[:100], "version": "1", "kind": "transformers"}
    content |= {"weights": weights, "window": 512, "output_stride": _STRIDE}
    if isinstance(names, dict) and names and all(str(key).isdecimal() for key in names):
        content["classes"] = [
            {"value": number, "name": name.strip()[:100], "color": default_color(i)}
            for i, (number, name) in enumerate(sorted((int(key), str(name)) for key, name in names.items()))
        ]
    else:
        unknown.append("classes")
    channels = _channels(config)
    prepared = _preprocessing(path)
    if prepared is None:
        unknown += ["units", "mean and std of bands"]
        prepared = {}
    content |= {"units": "dn"} if prepared else {}
    content["bands"] = _bands(channels, prepared, shown)
    return Described(content=content, folder=path, unknown=tuple(unknown), config=None)


def _channels(config: dict[str, Any]) -> int:
    for part in (config, config.get("backbone_config")):
        if isinstance(part, dict) and isinstance(part.get("num_channels"), int):
            return int(part["num_channels"])
    return 3


def _preprocessing(path: Path) -> dict[str, Any] | None:
    if not (path / "preprocessor_config.json").is_file():
        return None
    prepared = read_json(path / "preprocessor_config.json")
    return prepared if isinstance(prepared, dict) else None


def _bands(channels: int, prepared: dict[str, Any], shown: str) -> list[dict[str, Any]]:
    """Mean and standard deviation of stored pixels. The channels are named by their number: which they are is not said.

    The processor multiplies by a factor, subtracts and divides: (x f - m) / s = (x - m / f) / (s / f).
    """
    factor = prepared.get("rescale_factor", 1 / 255) if prepared.get("do_rescale", True) and prepared else 1.0
    normal = bool(prepared) and prepared.get("do_normalize", True)
    means = prepared.get("image_mean", [0.0] * channels) if normal else [0.0] * channels
    deviations = prepared.get("image_std", [1.0] * channels) if normal else [1.0] * channels
    if not isinstance(factor, int | float) or not factor > 0:
        raise ModelError(f"{shown}: rescale_factor in preprocessor_config.json should be a number above 0")
    for key, values in (("image_mean", means), ("image_std", deviations)):
        if not isinstance(values, list) or len(values) != channels:
            raise ModelError(f"{shown}: {key} in preprocessor_config.json should be {channels} numbers, one a channel")
    return [
        {"name": f"channel {i + 1}", "mean": mean / factor, "std": deviation / factor}
        for i, (mean, deviation) in enumerate(zip(means, deviations, strict=True))
    ]
