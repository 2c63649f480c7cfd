"""A network written as a program: ONNX, .pt2 or TorchScript, with its card inside."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError, printable
from geoseg.models.card import ModelCard
from geoseg.models.example import example_side, example_windows
from geoseg.models.traced_card import CARD_FILE

__all__ = ["WRITERS", "program_card"]

_MOST = 16384  # pixels along a side of a window, as in a card
_MOST_WINDOWS = 1024

Write = Callable[[Path, nn.Module, ModelCard, str], None]


def program_card(card: ModelCard, kind: str, weights: str, *, fixed: bool = False) -> ModelCard:
    """The card of a network that was written as a program.

    Args:
        card: Of the original.
        kind: Of the program.
        weights: Its file.
        fixed: Whether it takes the windows only that it was written with.
    """
    left_out = {"architecture", "weights", "weights_sha256"}
    content = {key: v for key, v in card.model_dump(mode="json", exclude_unset=True).items() if key not in left_out}
    if not card.weights:
        # the rules take what bands there are; a program takes all that it was traced with
        content["bands"] = [{**band, "required": True} for band in content["bands"]]
    if fixed:
        content |= {"window": example_side(card), "fixed_window": True}
    return ModelCard.model_validate({**content, "kind": kind, "weights": weights})


def _exported(network: nn.Module, card: ModelCard) -> tuple[torch.export.ExportedProgram, bool]:
    """The program, and whether it takes windows of one size only because of what the network does with sizes."""
    side, stride = example_side(card), card.output_stride
    example = (example_windows(2, card, side),)
    batch = torch.export.Dim("batch", min=1, max=_MOST_WINDOWS)
    if not card.fixed_window:
        most = _MOST // stride
        rows, cols = (torch.export.Dim(name, min=1, max=most) for name in ("rows", "cols"))
        free: Any = {0: batch, 2: stride * rows if stride > 1 else rows, 3: stride * cols if stride > 1 else cols}
        try:
            return torch.export.export(network, example, dynamic_shapes=(free,)), False
        except Exception:  # noqa: BLE001, S110 - it depends on the size in a way that cannot be written down
            pass
    for shape in ({0: batch}, None):
        try:
            return torch.export.export(network, example, dynamic_shapes=(shape,)), True
        except Exception as error:  # noqa: BLE001 - the network decides what is raised, and it is told below
            last = error
    reason = str(last).strip().splitlines() or [type(last).__name__]
    raise ModelError(f"torch cannot export the network: {printable(reason[0])}; try another format") from last


def _write_onnx(path: Path, network: nn.Module, card: ModelCard, name: str) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch needs it
    except ModuleNotFoundError as error:
        raise ModelError(f"writing ONNX needs {error.name}: pip install 'geoseg[onnx]'") from error
    from geoseg.models.onnx_card import CARD_KEY

    exported, fixed = _exported(network, card)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own deprecations
        program = torch.onnx.export(
            exported, dynamo=True, verbose=False, input_names=["pixels"], output_names=["scores"]
        )
    assert program is not None
    graph = program.model_proto
    described = program_card(card, "onnx", name, fixed=fixed)
    metadata = {CARD_KEY: described.to_json(), **_deepness(described)}
    onnx.helper.set_model_props(graph, metadata)
    path.write_bytes(graph.SerializeToString())


def _deepness(card: ModelCard) -> dict[str, str]:
    """The keys that the QGIS plugin Deepness reads, as JSON each."""
    values: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": {i: one.name for i, one in enumerate(card.classes)},
        "tiles_size": card.window,
        "tiles_overlap": round(100 * card.overlap),
    }
    if card.gsd_m is not None:
        values["resolution"] = 100 * card.gsd_m  # centimetres
    return {key: json.dumps(value) for key, value in values.items()}


def _write_exported(path: Path, network: nn.Module, card: ModelCard, name: str) -> None:
    exported, fixed = _exported(network, card)
    described = program_card(card, "pt2", name, fixed=fixed)
    torch.export.save(exported, path, extra_files={CARD_FILE: described.to_json()})


def _write_torchscript(path: Path, network: nn.Module, card: ModelCard, name: str) -> None:
    side = example_side(card)
    windows = example_windows(2, card, side)
    with warnings.catch_warnings():
        # torch announces the end of TorchScript, and tells which branches are decided for good: that is tried below
        warnings.simplefilter("ignore")
        program = torch.jit.trace(network, windows, check_trace=False)
        fixed = card.fixed_window or not _alike(program, network, windows[:, :, : -card.output_stride])
        described = program_card(card, "torchscript", name, fixed=fixed)
        torch.jit.save(program, path, _extra_files={CARD_FILE: described.to_json()})


def _alike(program: nn.Module, network: nn.Module, windows: Tensor) -> bool:
    """Whether the program does with other windows what the network does."""
    if 0 in windows.shape:
        return False
    try:
        with torch.inference_mode():
            return torch.allclose(program(windows), network(windows), rtol=1e-3, atol=1e-3)
    except RuntimeError:
        return False


WRITERS: dict[str, Write] = {"onnx": _write_onnx, "pt2": _write_exported, "torchscript": _write_torchscript}
"""By the kind of card that is written: (path, network, its card, final name of the file)."""
