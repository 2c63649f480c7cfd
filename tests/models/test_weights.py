"""Files of weights: code in them never runs, and each refusal names file, reason and mend."""

import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from geoseg.errors import ModelError
from geoseg.models.weights import check_weights, read_weights


class Payload:
    """Writes a canary file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.canary}'",)


def zipped(path: Path, content: bytes) -> None:
    """A file like torch.save's, with a pickle of ours inside."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")


FORMS: dict[str, Callable[[Path, Payload], object]] = {
    "bare pickle": lambda path, payload: path.write_bytes(pickle.dumps(payload)),
    "pickle of protocol 0": lambda path, payload: path.write_bytes(pickle.dumps(payload, protocol=0)),
    "torch.save": lambda path, payload: torch.save({"a": payload}, path),
    "old torch.save": lambda path, payload: torch.save(payload, path, _use_new_zipfile_serialization=False),
    "zip with a pickle": lambda path, payload: zipped(path, pickle.dumps(payload)),
    "checkpoint": lambda path, payload: torch.save({"state_dict": {"a": torch.zeros(1)}, "hparams": payload}, path),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".ckpt"])
@pytest.mark.parametrize("form", FORMS)
def test_a_pickle_posing_as_weights_never_runs(tmp_path: Path, form: str, suffix: str) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / f"evil{suffix}"
    FORMS[form](path, Payload(canary))
    with pytest.raises(ModelError, match=f"evil{suffix}") as caught:
        read_weights(path, sha256=check_weights(path))
    assert not canary.exists()
    assert "safetensors.torch.save_file(model.state_dict()" in str(caught.value) or "get the file again" in str(
        caught.value
    )


def test_a_pickle_of_another_protocol_is_refused_without_a_warning_beside(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Payload(tmp_path / "canary"), protocol=4))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(ModelError, match=r"cannot be read as plain weights \(UnpicklingError\)"):
            read_weights(path, sha256=check_weights(path))
    assert not said


def test_the_payload_would_run_if_it_were_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


def header(text: bytes, length: int | None = None, body: bytes = b"") -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        header(b"{}", length=2**63),
        header(b"{}", length=200_000_000, body=b" " * 100),
        header(b"{"),
        header(b"[]"),
        header(json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()),
        header(json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}}).encode(), body=b"0" * 8),
        header(json.dumps({"a": {"dtype": "object", "shape": [1], "data_offsets": [0, 8]}}).encode(), body=b"0" * 8),
        header(b"{}"),
    ],
)
def test_a_broken_header_is_refused_before_torch_is_needed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken.safetensors .*get the file again"):
        check_weights(path)


@pytest.mark.parametrize("keep", [1, 7, 8, 20, -1, -400])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.safetensors"
    save_file({"a": np.zeros(200, np.float32)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"cut.safetensors is not a safetensors file"):
        check_weights(path)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "folder.pt").mkdir()
    for name, message in (
        ("none.safetensors", "are missing: put them beside the card"),
        ("folder.pt", "not a regular file"),
        ("pipe.safetensors", "not a regular file"),
    ):
        with pytest.raises(ModelError, match=message):
            check_weights(tmp_path / name)


def test_a_file_exchanged_after_loading_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": np.zeros(2, np.float32)}, path)
    sha256 = check_weights(path)
    save_file({"a": np.ones(2, np.float32)}, path)
    with pytest.raises(ModelError, match="changed since the model was loaded"):
        read_weights(path, sha256=sha256)
    path.unlink()
    with pytest.raises(ModelError, match="cannot read the weights"):
        read_weights(path, sha256=sha256)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"state_dict": {f"model.{name}": tensor for name, tensor in tensors.items()}},
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
    ],
)
def test_plain_state_dicts_are_read_however_they_are_wrapped(tmp_path: Path, wrap: Any) -> None:
    torch.save(wrap({"a": torch.arange(3.0), "b.c": torch.ones(2)}), tmp_path / "w.pt")
    tensors = read_weights(tmp_path / "w.pt", sha256=check_weights(tmp_path / "w.pt"))
    assert sorted(tensors) == ["a", "b.c"]
    assert torch.equal(tensors["a"], torch.arange(3.0))


@pytest.mark.parametrize("content", [{}, [1, 2], {"a": 1}, {1: torch.ones(1)}, torch.ones(2)])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="holds no state dict"):
        read_weights(tmp_path / "w.pt", sha256=None)
