"""What an ONNX file says of itself: its input, and metadata by geoseg or as the QGIS plugin Deepness writes it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from geoseg.errors import ModelError, printable
from geoseg.legend import default_color
from geoseg.models.formats import Described

__all__ = ["CARD_KEY", "ImageInput", "check_self_contained", "describe", "image_input"]

CARD_KEY = "geoseg_card"
"""Metadata key under which geoseg writes a whole card, as JSON."""
_MAX_BYTES = 2 << 30
_FLOATS = {onnx.TensorProto.FLOAT: False, onnx.TensorProto.FLOAT16: True}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """The one input of a network."""

    name: str
    """Of the tensor."""
    batch: int | None
    """Windows at a time; None for any number."""
    channels: int | None
    """None for any number."""
    side: int | None
    """Pixels along a side of the window; None for any."""
    half: bool
    """Whether it wants float16."""


def check_self_contained(graph: Any, shown: str) -> None:
    """Refuse a file whose tensors lie in other files: which ones they are, the file could choose.

    Raises:
        ModelError: If there are any.
    """
    for tensor in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelError(
                f"{shown}: tensor {printable(tensor.name)} lies in another file: save the model in one file "
                "(onnx.save_model(onnx.load(path), one, save_as_external_data=False))"
            )


def _tensors(message: Any) -> Iterator[Any]:
    """All tensors below a protobuf message, wherever they are: initializers, attributes, functions, subgraphs."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                if hasattr(each, "ListFields"):
                    yield from _tensors(each)


def image_input(graph: Any, shown: str) -> ImageInput:
    """The input that takes the windows.

    Raises:
        ModelError: If there is not one input of four axes (batch, band, row, col) of floats.
    """
    weights = {tensor.name for tensor in graph.graph.initializer}
    inputs = [entry for entry in graph.graph.input if entry.name not in weights]
    if len(inputs) != 1:
        raise ModelError(f"{shown}: the network has {len(inputs)} inputs; geoseg runs those with one, the pixels")
    kind = inputs[0].type.tensor_type
    dims = [dim.dim_value or None for dim in kind.shape.dim]
    if len(dims) != 4 or kind.elem_type not in _FLOATS:
        raise ModelError(
            f"{shown}: the input {printable(inputs[0].name)} should have four axes (batch, band, row, col) of floats"
        )
    if dims[2] != dims[3] and None not in dims[2:]:
        raise ModelError(f"{shown}: the network takes windows of {dims[2]} x {dims[3]} px; geoseg's are square")
    return ImageInput(
        name=inputs[0].name,
        batch=dims[0],
        channels=dims[1],
        side=dims[2] or dims[3],
        half=_FLOATS[kind.elem_type],
    )


def describe(path: Path) -> Described:
    """The card in an ONNX file.

    Raises:
        ModelError: If the file is none, or its metadata cannot be used.
    """
    shown = printable(path)
    if path.stat().st_size > _MAX_BYTES:
        raise ModelError(f"{shown} is larger than 2 GiB, which no ONNX file of one piece is: get the file again")
    try:
        graph = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf raises its own kinds, of which none is public
        raise ModelError(f"{shown} is no ONNX file ({type(error).__name__}): get the file again") from error
    entry = image_input(graph, shown)
    metadata = {each.key: each.value for each in graph.metadata_props}
    if CARD_KEY in metadata:
        content = _json(metadata[CARD_KEY], shown)
        if not isinstance(content, dict):
            raise ModelError(f"{shown}: its metadata {CARD_KEY} is no card")
        return Described(content={**content, "kind": "onnx", "weights": path.name}, folder=path.parent)
    return _of_metadata(path, entry, graph, {key: _lenient(value) for key, value in metadata.items()})


def _of_metadata(path: Path, entry: ImageInput, graph: Any, metadata: dict[str, Any]) -> Described:
    """A card from the keys of Deepness: those that are not there are unknown, or have a default that does no harm."""
    shown = printable(path)
    kind = metadata.get("model_type", "Segmentor")
    if kind != "Segmentor":
        raise ModelError(f"{shown} is a {printable(kind)}, not a segmentation model")
    names = metadata.get("class_names")
    if isinstance(names, list):
        if len(names) > 1:
            raise ModelError(f"{shown} has {len(names)} heads; geoseg runs models with one")
        names = names[0] if names else None
    content: dict[str, Any] = {"name": path.stem[:100], "version": "1", "kind": "onnx", "weights": path.name}
    unknown = []
    if entry.channels is None:
        unknown.append("bands")
    else:
        content["bands"] = _bands(entry.channels, metadata, shown)
    if isinstance(names, dict) and names:
        content["classes"] = _classes(names, binary=_output_channels(graph) == 1)
        # what Deepness shows are the probabilities of a softmax, or of a sigmoid for one channel
        content["output"] = "binary_probability" if _output_channels(graph) == 1 else "probabilities"
        # its pixels are bytes, given to the network from 0 to 1
        content["units"] = "dn"
    else:
        unknown += ["classes", "output", "units", "mean and std of bands"]
    if isinstance(metadata.get("resolution"), int | float):
        content["gsd_m"] = metadata["resolution"] / 100
    side = entry.side or metadata.get("tiles_size")
    if isinstance(side, int):
        # a network that takes any size has been used with this one; its stride is not known, but divides it
        content |= {"window": side, "output_stride": _stride(side), "fixed_window": entry.side is not None}
    if isinstance(metadata.get("tiles_overlap"), int | float):
        content["overlap"] = metadata["tiles_overlap"] / 100
    return Described(content=content, folder=path.parent, unknown=tuple(unknown))


def _stride(side: int) -> int:
    return next(stride for stride in (32, 16, 8, 4, 2, 1) if side % stride == 0)


def _bands(channels: int, metadata: dict[str, Any], shown: str) -> list[dict[str, Any]]:
    """Which bands the channels are, the metadata does not say: they have no names that a scene could have by chance."""
    scaled = []
    for key, default in (("standardization_mean", 0.0), ("standardization_std", 1.0)):
        values = metadata.get(key, default)
        values = values if isinstance(values, list) else [values] * channels
        if len(values) != channels or not all(isinstance(v, int | float) for v in values):
            raise ModelError(f"{shown}: its metadata {key} should be {channels} numbers")
        scaled.append([255 * value for value in values])
    return [
        {"name": f"channel {i + 1}", "mean": mean, "std": std}
        for i, (mean, std) in enumerate(zip(*scaled, strict=True))
    ]


def _classes(names: dict[str, Any], *, binary: bool) -> list[dict[str, Any]]:
    """Classes in the order of their numbers; the other one of a single class comes first."""
    try:
        listed = sorted((int(number), str(name)) for number, name in names.items())
    except ValueError as error:
        raise ModelError(f"class_names in the metadata should map numbers to names: {printable(error)}") from error
    if binary and len(listed) == 1:
        name = listed[0][1]
        listed = [(0, "background" if name != "background" else "other"), (1, name)]
    return [
        {"value": number, "name": name.strip()[:100], "color": default_color(i)}
        for i, (number, name) in enumerate(listed)
    ]


def _output_channels(graph: Any) -> int | None:
    dims = graph.graph.output[0].type.tensor_type.shape.dim
    return dims[1].dim_value or None if len(dims) == 4 else None


def _json(text: str, shown: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{shown}: its metadata is no JSON: {printable(error)}") from error


def _lenient(text: str) -> Any:
    """Values are JSON where Deepness wrote them, and may be anything in metadata of others."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
