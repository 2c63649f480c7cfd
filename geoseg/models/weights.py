"""Files of weights: checked before use, read without running code."""

import hashlib
import io
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from geoseg.errors import ModelError, printable

if TYPE_CHECKING:
    import torch

__all__ = ["check_weights", "read_weights"]

_CONVERT = (
    "open it with the program that made it, if you trust it, and save with "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")
"""A zip from torch.save, and a bare pickle of protocol 2 or later."""


def check_weights(path: Path) -> str:
    """SHA-256 of a file of weights that looks like one. Reads it without torch.

    The header of a ``.safetensors`` file is checked whole (lengths, offsets, types); other kinds are checked when
    they are read.

    Raises:
        ModelError: If there is no such file, or a pickle or something broken poses as safetensors.
    """
    try:
        info = path.stat()
        # before opening: a named pipe would hang for ever
        if not stat.S_ISREG(info.st_mode):
            raise ModelError(f"{printable(path)} is not a regular file: put the weights beside the card")
        if path.suffix.lower() == ".safetensors":
            _check_header(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise ModelError(f"the weights {printable(path)} are missing: put them beside the card") from error
    except OSError as error:
        raise ModelError(f"cannot read the weights {printable(path)}: {error.strerror}") from error


def _check_header(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4)
    # a header of 0x80 bytes is possible too: safe_open decides, the message names the likely case
    reason = "it starts like a pickle (torch.save), which can hold code" if start.startswith(_PICKLE_STARTS) else ""
    try:
        with safe_open(path, framework="numpy") as file:
            count = len(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{printable(path)} is not a safetensors file: {reason or printable(error)}; "
            f"{_CONVERT if reason else 'get the file again'}"
        ) from error
    if not count:
        raise ModelError(f"{printable(path)} holds no tensors: get the file again")


def read_weights(path: Path, *, sha256: str | None) -> dict[str, "torch.Tensor"]:
    """Tensors by name, on the CPU.

    The file is read once and what was hashed is what is used: a file exchanged since the model was loaded is refused.

    Args:
        path: A file that :func:`check_weights` has passed.
        sha256: What it gave.

    Raises:
        ModelError: If the content changed, holds anything but tensors, or cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the weights {printable(path)}: {error.strerror}") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"the weights {printable(path)} changed since the model was loaded: load it again")
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load

        try:
            tensors: dict[str, torch.Tensor] = load(content)
        except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(f"cannot read {printable(path)}: {printable(error)}; get the file again") from error
        return tensors
    return _read_pickle(path, content)


def _read_pickle(path: Path, content: bytes) -> dict[str, "torch.Tensor"]:
    import torch

    try:
        # weights_only, and no second attempt without it: the file would choose the way it is read
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a crafted stream can raise anything; nothing of it is trusted
        raise ModelError(
            f"{printable(path)} cannot be read as plain weights ({type(error).__name__}), so it may hold code; "
            f"{_CONVERT}"
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]  # a Lightning checkpoint
    if not isinstance(loaded, Mapping) or not loaded or not all(_is_named_tensor(item) for item in loaded.items()):
        raise ModelError(f"{printable(path)} holds no state dict (tensors by name): save model.state_dict() only")
    tensors = dict(loaded)
    # wrappers put their attribute's name before each key: Lightning "model.", DataParallel "module."
    for prefix in ("model.", "module."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    import torch

    return isinstance(item[0], str) and isinstance(item[1], torch.Tensor)
