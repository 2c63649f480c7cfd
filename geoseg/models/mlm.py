"""Models as STAC items with the Machine Learning Model extension (MLM), read leniently and written strictly.

What the extension has no field for (unit of the pixels, pixel size, strides, temperature, what the outputs are) is
written and read under ``geoseg:``. No function that an item names is ever run.
"""

import re
from pathlib import Path
from typing import Any

from geoseg.errors import ModelError, printable
from geoseg.legend import default_color
from geoseg.models.card import ModelCard
from geoseg.models.formats import Described
from geoseg.models.weights import read_json

__all__ = ["describe", "item_of"]

_SCHEMA = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_TASK = "semantic-segmentation"
_KINDS = {
    "onnx": "onnx",
    "torch.jit.save": "torchscript",
    "torch.export.save": "pt2",
    "torch.save": "smp",
    "safetensors.torch.save_file": "smp",
    "safetensors.torch.save": "smp",
    "safetensors.torch.save_model": "smp",
}
"""Kind of card by ``mlm:artifact_type``."""
_ARTIFACTS = {"onnx": "onnx", "torchscript": "torch.jit.save", "pt2": "torch.export.save"}
_OWN = (
    "units", "gsd_m", "gsd_tolerance", "fixed_window", "output_stride", "overlap", "blend", "output", "temperature",
    "nodata_fill", "window",
)  # fmt: skip
"""Keys of a card that have a name of their own below ``geoseg:``."""
_SHA256_MULTIHASH = "1220"


def describe(path: Path) -> Described | None:
    """The card of an item; None where the file is no MLM item.

    Raises:
        ModelError: If it describes a model that geoseg cannot run.
    """
    item = read_json(path)
    properties = item.get("properties") if isinstance(item, dict) else None
    if not isinstance(properties, dict) or "mlm:name" not in properties:
        return None
    shown = printable(path)
    _refuse_other_tasks(properties, shown)
    weights, kind, sha256 = _weights(item, shown)
    given, classes, unknown = _input(properties, shown), _classes(properties, shown), []
    content: dict[str, Any] = {
        "name": str(properties["mlm:name"]),
        "version": str(properties.get("version", "1")),
        "kind": kind,
        "weights": weights,
        **({} if sha256 is None else {"weights_sha256": sha256}),
        **{key: properties[f"geoseg:{key}"] for key in _OWN if f"geoseg:{key}" in properties},
        **given,
    }
    content |= {key: properties[key] for key in ("description", "license") if isinstance(properties.get(key), str)}
    bbox = item.get("bbox")
    plain = isinstance(bbox, list) and len(bbox) == 4 and all(isinstance(v, int | float) for v in bbox)
    if plain and bbox[0] < bbox[2]:  # across the antimeridian it is no box here
        content["place"] = bbox
    if kind == "smp":
        content["architecture"] = _architecture(properties, shown)
    if classes:
        content["classes"] = classes
    else:
        unknown.append("classes")
    unknown += [key for key in ("units", "output") if key not in content]
    return Described(content=content, folder=path.parent, unknown=tuple(unknown))


def _refuse_other_tasks(properties: dict[str, Any], shown: str) -> None:
    tasks = properties.get("mlm:tasks", [])
    if _TASK not in tasks and "segmentation" not in tasks:
        raise ModelError(f"{shown} describes a model for {printable(tasks)}, not for {_TASK}")


def _weights(item: dict[str, Any], shown: str) -> tuple[str, str, str | None]:
    """Name of the file beside the item, the kind of its card, and its checksum where there is one."""
    assets = [a for a in (item.get("assets") or {}).values() if isinstance(a, dict)]
    models = [a for a in assets if "mlm:model" in (a.get("roles") or [])]
    if len(models) != 1:
        raise ModelError(f"{shown} has {len(models)} assets of the role mlm:model; geoseg reads items with one")
    asset = models[0]
    href = asset.get("href")
    name = href.removeprefix("./") if isinstance(href, str) else ""
    if not name or name != Path(name).name or "\\" in name:
        raise ModelError(
            f"{shown}: its model lies at {printable(href)}: download it beside the item, and make href its file name"
        )
    artifact = asset.get("mlm:artifact_type")
    if artifact not in _KINDS:
        raise ModelError(
            f"{shown}: geoseg does not read artifacts of type {printable(artifact)}, only {', '.join(_KINDS)}"
        )
    checksum = asset.get("file:checksum")
    sha256 = None
    if isinstance(checksum, str) and re.fullmatch(_SHA256_MULTIHASH + "[0-9a-fA-F]{64}", checksum):
        sha256 = checksum.removeprefix(_SHA256_MULTIHASH).lower()
    return name, _KINDS[artifact], sha256


def _input(properties: dict[str, Any], shown: str) -> dict[str, Any]:
    """Bands with their scaling, and the window where it is fixed."""
    inputs = properties.get("mlm:input")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise ModelError(f"{shown} has not one input (mlm:input); geoseg runs models with one, the pixels")
    one = inputs[0]
    structure = one.get("input") or {}
    order, shape = structure.get("dim_order"), structure.get("shape")
    if not isinstance(order, list) or not isinstance(shape, list) or len(order) != len(shape) or len(order) != 4:
        raise ModelError(f"{shown}: its input should have four axes: batch, bands, height, width")
    if [str(axis) for axis in order[2:]] != ["height", "width"] or order[1] not in ("bands", "channel"):
        raise ModelError(
            f"{shown}: its input has the axes {printable(order)}; geoseg gives batch, bands, height, width"
        )
    if one.get("pre_processing_function"):
        raise ModelError(f"{shown} names a function for its input, which geoseg does not run: write a card (.yaml)")
    bands = one.get("bands")
    names = [b.get("name") if isinstance(b, dict) else b for b in bands] if isinstance(bands, list) else []
    if not names or any(isinstance(b, dict) and b.get("expression") for b in bands or []):
        raise ModelError(f"{shown} lists no bands, or computed ones: write a card (.yaml)")
    required = properties.get("geoseg:optional_bands", [])
    scaled = [_scaling(each, shown) for each in _per_band(one.get("value_scaling"), len(names), shown)]
    found: dict[str, Any] = {
        "bands": [
            {"name": str(name), "mean": mean, "std": std, **({"required": False} if name in required else {})}
            for name, (mean, std) in zip(names, scaled, strict=True)
        ]
    }
    if shape[2] == shape[3] and isinstance(shape[2], int) and shape[2] > 0:
        found["window"] = shape[2]
        if "geoseg:fixed_window" not in properties:
            found |= {"fixed_window": True, "output_stride": 1}
    return found


def _per_band(scaling: Any, n_bands: int, shown: str) -> list[Any]:
    """One entry a band; a single one is for all."""
    if not scaling:
        return [None] * n_bands
    if isinstance(scaling, list) and len(scaling) in (1, n_bands):
        return scaling * n_bands if len(scaling) == 1 else scaling
    raise ModelError(f"{shown}: value_scaling should be a list of one entry, or of one for each of {n_bands} bands")


def _scaling(entry: Any, shown: str) -> tuple[float, float]:
    """Mean and standard deviation such that (x - mean) / std is what the entry says."""
    if entry is None:
        return 0.0, 1.0
    kind = entry.get("type") if isinstance(entry, dict) else None
    try:
        if kind == "z-score":
            return float(entry["mean"]), float(entry["stddev"])
        if kind == "min-max":
            return float(entry["minimum"]), float(entry["maximum"]) - float(entry["minimum"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{shown}: value_scaling of type {kind} lacks {printable(error)}") from error
    raise ModelError(f"{shown}: geoseg scales by z-score and min-max, not by {printable(kind)}: write a card (.yaml)")


def _classes(properties: dict[str, Any], shown: str) -> list[dict[str, Any]]:
    outputs = properties.get("mlm:output")
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
        raise ModelError(f"{shown} has not one output (mlm:output); geoseg runs models with one, the classes")
    # some items are written with an underscore
    listed = outputs[0].get("classification:classes") or outputs[0].get("classification_classes") or []
    if not isinstance(listed, list) or not all(isinstance(c, dict) and "value" in c for c in listed):
        raise ModelError(f"{shown}: classification:classes should be a list of value and name")
    return [
        {
            "value": each["value"],
            "name": str(each.get("title") or each.get("name") or f"class {each['value']}"),
            "color": _color(each.get("color_hint"), i),
        }
        for i, each in enumerate(listed)
    ]


def _color(hint: Any, index: int) -> str:
    text = str(hint or "").lstrip("#")
    return f"#{text.lower()}" if re.fullmatch("[0-9a-fA-F]{6}", text) else default_color(index)


def _architecture(properties: dict[str, Any], shown: str) -> dict[str, Any]:
    parameters = properties.get("mlm:hyperparameters")
    encoder = parameters.get("encoder") if isinstance(parameters, dict) else None
    name = properties.get("mlm:architecture")
    if not isinstance(encoder, str) or not isinstance(name, str):
        raise ModelError(
            f"{shown}: weights alone need an architecture by name, and its encoder in mlm:hyperparameters: "
            "write a card (.yaml)"
        )
    options = parameters.get("options", {}) if isinstance(parameters, dict) else {}
    return {"name": name, "encoder": encoder, "options": options}


def _place(card: ModelCard) -> dict[str, Any]:
    """Where the model is of use, as geometry and bbox of an item."""
    if card.place is None:
        return {"geometry": None}
    west, south, east, north = card.place
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [west, south, east, north]}


def item_of(
    card: ModelCard, *, href: str, sha256: str, created: str, n_parameters: int | None = None
) -> dict[str, Any]:
    """A STAC item of a model whose weights lie beside it.

    Args:
        card: Of a kind with weights.
        href: Name of the weights' file.
        sha256: Of it.
        created: Time of the item, ISO 8601.
        n_parameters: Of the network, where they are known.
    """
    plain = card.model_dump(mode="json")
    side = card.window if card.fixed_window else -1
    name = re.sub(r"[^a-zA-Z0-9_-]+", "-", card.name).strip("-") or "model"
    architecture = card.architecture
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_SCHEMA, _CLASSIFICATION, _FILE],
        "id": name,
        **_place(card),
        "properties": {
            "datetime": created,
            "description": card.description or card.name,
            **({"license": card.license} if card.license else {}),
            "version": card.version,
            "mlm:name": card.name,
            "mlm:architecture": architecture.name if architecture else card.kind,
            "mlm:tasks": [_TASK],
            "mlm:framework": "ONNX" if card.kind == "onnx" else "PyTorch",
            **({} if n_parameters is None else {"mlm:total_parameters": n_parameters}),
            **({"mlm:hyperparameters": _hyperparameters(plain)} if architecture else {}),
            "mlm:input": [
                {
                    "name": "pixels",
                    "bands": [band.name for band in card.bands],
                    "input": {
                        "shape": [-1, len(card.bands), side, side],
                        "dim_order": ["batch", "bands", "height", "width"],
                        "data_type": "float32",
                    },
                    "value_scaling": [{"type": "z-score", "mean": b.mean, "stddev": b.std} for b in card.bands],
                    "resize_type": None,
                    "pre_processing_function": None,
                }
            ],
            "mlm:output": [
                {
                    "name": card.output,
                    "tasks": [_TASK],
                    "result": {
                        "shape": [-1, card.n_outputs, side, side],
                        "dim_order": ["batch", "class", "height", "width"],
                        "data_type": "float32",
                    },
                    "classification:classes": [
                        {
                            "value": one.value,
                            "name": re.sub(r"[^0-9A-Za-z_-]+", "_", one.name),
                            "title": one.name,
                            "color_hint": one.color.lstrip("#").upper(),
                        }
                        for one in card.classes
                    ],
                    "post_processing_function": None,
                }
            ],
            **{f"geoseg:{key}": plain[key] for key in _OWN if plain[key] is not None},
            "geoseg:optional_bands": [band.name for band in card.bands if not band.required],
        },
        "links": [],
        "assets": {
            "model": {
                "href": f"./{href}",
                "type": "application/octet-stream",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": _ARTIFACTS.get(
                    card.kind, "safetensors.torch.save_file" if href.endswith(".safetensors") else "torch.save"
                ),
                "file:checksum": f"{_SHA256_MULTIHASH}{sha256}",
            }
        },
    }


def _hyperparameters(plain: dict[str, Any]) -> dict[str, Any]:
    return {"encoder": plain["architecture"]["encoder"], "options": plain["architecture"]["options"]}
