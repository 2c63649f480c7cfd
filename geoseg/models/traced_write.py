"""A network written as a program: ONNX, .pt2 or TorchScript, with its card inside."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

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
        fixed: Whether it takes windows of the card's size only.
    """
    left_out = {"architecture", "weights", "weights_sha256"}
    content = {key: v for key, v in card.model_dump(mode="json", exclude_unset=True).items() if key not in left_out}
    if not card.weights:
        # the rules take what bands there are; a program takes all that it was traced with
        content["bands"] = [{**band, "required": True} for band in content["bands"]]
    if fixed:
        content["fixed_window"] = True
    return ModelCard.model_validate({**content, "kind": kind, "weights": weights})


def _exported(network: nn.Module, card: ModelCard, *, free: bool) -> torch.export.ExportedProgram:
    """The program, for windows of any multiple of the output stride, or of the card's own size only.

    Raises:
        ModelError: If torch cannot export it so.
    """
    stride = card.output_stride
    batch = torch.export.Dim("batch", min=1, max=_MOST_WINDOWS)
    rows, cols = (torch.export.Dim(name, min=1, max=_MOST // stride) for name in ("rows", "cols"))
    shapes: Any = {0: batch}
    if free:
        shapes |= {2: stride * rows if stride > 1 else rows, 3: stride * cols if stride > 1 else cols}
    example = example_windows(2, card, example_side(card) if free else card.window)
    try:
        return torch.export.export(network, (example,), dynamic_shapes=(shapes,))
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"torch cannot export the network: {printable(reason[0])}; try another format") from error


def _freest(network: nn.Module, card: ModelCard, write: Callable[[torch.export.ExportedProgram], nn.Module]) -> bool:
    """Write the program for windows of any size, or, where it then gives something else, for the card's size only.

    Args:
        network: What is written.
        card: Its card.
        write: Writes a program, and gives it as it is read again.

    Returns:
        Whether it takes the card's window only.
    """
    if not card.fixed_window:
        try:
            if _alike(write(_exported(network, card, free=True)), network, card):
                return False
        except ModelError:
            pass  # sizes decide what the network does in a way that cannot be written down
    write(_exported(network, card, free=False))
    return True


def _write_onnx(path: Path, network: nn.Module, card: ModelCard, name: str) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch needs it
    except ModuleNotFoundError as error:
        raise ModelError(f"writing ONNX needs {error.name}: pip install 'geoseg[onnx]'") from error
    from geoseg.models.onnx_card import CARD_KEY
    from geoseg.models.onnx_network import OnnxNetwork

    graph: Any = None

    def write(exported: torch.export.ExportedProgram) -> nn.Module:
        nonlocal graph
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own deprecations
            program = torch.onnx.export(
                exported, dynamo=True, verbose=False, input_names=["pixels"], output_names=["scores"]
            )
        assert program is not None
        graph = program.model_proto
        return OnnxNetwork(graph.SerializeToString(), name="pixels", half=False, one_by_one=False, shown=name)

    fixed = _freest(network, card, write)
    described = program_card(card, "onnx", name, fixed=fixed)
    onnx.helper.set_model_props(graph, {CARD_KEY: described.to_json(), **_deepness(described)})
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
    program: Any = None

    def write(exported: torch.export.ExportedProgram) -> nn.Module:
        nonlocal program
        program = exported
        return cast(nn.Module, exported.module())

    fixed = _freest(network, card, write)
    described = program_card(card, "pt2", name, fixed=fixed)
    torch.export.save(program, path, extra_files={CARD_FILE: described.to_json()})


def _write_torchscript(path: Path, network: nn.Module, card: ModelCard, name: str) -> None:
    with warnings.catch_warnings():
        # torch announces the end of TorchScript, and tells which branches are decided for good: that is tried here
        warnings.simplefilter("ignore")
        program = torch.jit.trace(network, example_windows(2, card, example_side(card)), check_trace=False)
        fixed = card.fixed_window or not _alike(program, network, card)
        if fixed:
            program = torch.jit.trace(network, example_windows(2, card, card.window), check_trace=False)
        described = program_card(card, "torchscript", name, fixed=fixed)
        torch.jit.save(program, path, _extra_files={CARD_FILE: described.to_json()})


def _alike(program: nn.Module, network: nn.Module, card: ModelCard) -> bool:
    """Whether the program does with windows of other sizes what the network does.

    It is not enough that they are taken: the exporter to ONNX writes adaptive pooling for one size, with which others
    give something else without an error.
    """
    side, stride = example_side(card), card.output_stride
    try:
        with torch.inference_mode():
            return all(
                torch.allclose(program(windows), network(windows), rtol=1e-3, atol=1e-3)
                for windows in (example_windows(1, card, other) for other in (side + stride, side + 3 * stride))
            )
    except (RuntimeError, AssertionError):
        return False


WRITERS: dict[str, Write] = {"onnx": _write_onnx, "pt2": _write_exported, "torchscript": _write_torchscript}
"""By the kind of card that is written: (path, network, its card, final name of the file)."""
