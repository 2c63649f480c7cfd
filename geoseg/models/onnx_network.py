"""Networks of ONNX files, run by onnxruntime."""

import threading
from typing import Any

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from geoseg.errors import ModelError, ParameterError, printable, reason_of
from geoseg.models.load import Model
from geoseg.models.onnx_card import check_self_contained, image_input
from geoseg.models.weights import read_content

__all__ = ["OnnxNetwork", "onnx_network"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def onnx_network(model: Model) -> nn.Module:
    """The network of an ONNX file.

    Raises:
        ModelError: If the file is none, refers to other files, or its input is not what the card says.
    """
    assert model.weights is not None, "a card of this kind has weights"
    content = read_content(model.weights, sha256=model.weights_sha256, member=model.member)
    shown = printable(model.source)
    try:
        graph = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf raises its own kinds, of which none is public
        raise ModelError(f"{shown} is no ONNX file ({type(error).__name__}): get the file again") from error
    check_self_contained(graph, shown)
    entry = image_input(graph, shown)
    n_bands = len(model.card.bands)
    if entry.channels not in (None, n_bands):
        raise ModelError(f"{shown}: the network takes {entry.channels} channels, the card has {n_bands} bands")
    if entry.side not in (None, model.card.window) or (entry.side is not None and not model.card.fixed_window):
        raise ModelError(
            f"{shown}: the network takes windows of {entry.side} px only: write window: {entry.side} and "
            "fixed_window: true in its card"
        )
    return OnnxNetwork(content, name=entry.name, half=entry.half, one_by_one=entry.batch == 1, shown=shown)


class OnnxNetwork(nn.Module):
    """A session for each kind of device, opened when the first window comes.

    Batches of a file that takes one window at a time are run one by one.
    """

    def __init__(self, content: bytes, *, name: str, half: bool, one_by_one: bool, shown: str) -> None:
        super().__init__()
        self._content, self._name, self._half, self._one_by_one, self._shown = content, name, half, one_by_one, shown
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._session("cpu")  # what cannot be run is refused where it is loaded

    def _session(self, kind: str) -> Any:
        with self._lock:
            if kind not in self._sessions:
                self._sessions[kind] = self._open(kind)
            return self._sessions[kind]

    def _open(self, kind: str) -> Any:
        provider = _PROVIDERS.get(kind)
        if provider not in onnxruntime.get_available_providers():
            raise ParameterError(
                f"{self._shown}: the installed onnxruntime computes on "
                f"{', '.join(onnxruntime.get_available_providers())}, not on {kind}: pass --device cpu, or install "
                "onnxruntime-gpu in its place"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors come as exceptions
        options.intra_op_num_threads = torch.get_num_threads()
        # threads that spin while they wait take the time of whatever else runs
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return onnxruntime.InferenceSession(self._content, options, providers=[provider])
        except Exception as error:  # onnxruntime's own kinds derive from Exception alone
            raise ModelError(f"{self._shown}: onnxruntime cannot run it: {reason_of(error)}") from error

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) to what the first output says, on the device of the pixels."""
        session = self._session(pixels.device.type)
        values = pixels.detach().contiguous().cpu().numpy()
        if self._half:
            values = values.astype("float16")
        parts = [values[i : i + 1] for i in range(len(values))] if self._one_by_one else [values]
        try:
            given = [torch.from_numpy(session.run(None, {self._name: part})[0]) for part in parts]
        except Exception as error:  # see above; the caller names scene and block
            raise RuntimeError(f"onnxruntime: {reason_of(error)}") from error
        return (given[0] if len(given) == 1 else torch.cat(given)).to(pixels.device)
