"""Folders that segmentation_models_pytorch's ``save_pretrained`` writes: architecture and weights, but no bands."""

from pathlib import Path
from typing import Any

from geoseg.errors import ModelError, printable
from geoseg.models.formats import Described
from geoseg.models.weights import read_json

__all__ = ["describe", "draft_lists"]

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# said by other keys of a card, or of use in training only
_ELSEWHERE = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params"}
_UNKNOWN = ("band names, mean and std", "units", "class names")


def describe(path: Path) -> Described | None:
    """The card of such a folder, as far as its config goes; None where the folder is another's.

    Raises:
        ModelError: If the config is broken, or there are no weights.
    """
    if not (path / "config.json").is_file():
        return None
    config = read_json(path / "config.json")
    if not isinstance(config, dict) or not isinstance(config.get("_model_class"), str):
        return None
    shown = printable(path)
    weights = next((name for name in _WEIGHTS if (path / name).is_file()), None)
    if weights is None:
        raise ModelError(f"{shown} lacks weights, {' or '.join(_WEIGHTS)}: get the folder again")
    channels, classes = config.get("in_channels", 3), config.get("classes", 1)
    if not isinstance(channels, int) or not isinstance(classes, int) or not 1 <= classes <= 255 or channels < 1:
        raise ModelError(f"{shown}: in_channels and classes in its config.json should be whole numbers")
    content: dict[str, Any] = {
        "name": path.resolve().name[:100],
        "version": "1",
        "kind": "smp",
        "architecture": {
            "name": config["_model_class"],
            "encoder": config.get("encoder_name", "resnet34"),
            "options": {key: v for key, v in config.items() if key not in _ELSEWHERE and not key.startswith("_")},
        },
        "weights": weights,
        **draft_lists(channels, classes),
    }
    return Described(content=content, folder=path, unknown=_UNKNOWN)


def draft_lists(channels: int, classes: int) -> dict[str, Any]:
    """Bands and classes to be named by whoever knows them, and what a single output channel means."""
    from geoseg.legend import default_color

    named = 2 if classes == 1 else classes
    return {
        "bands": [{"name": f"channel {i + 1}", "mean": 0.0, "std": 1.0} for i in range(channels)],
        "classes": [{"value": i, "name": f"class {i}", "color": default_color(i)} for i in range(named)],
        **({"output": "binary_logit"} if classes == 1 else {}),
    }
