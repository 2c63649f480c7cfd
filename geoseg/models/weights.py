"""Files of weights: checked before use, read without running code."""

import hashlib
import io
import json
import stat
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from geoseg.errors import ModelError, printable

if TYPE_CHECKING:
    import torch

__all__ = ["check_weights", "read_content", "read_json", "read_pickle", "read_weights"]

_CONVERT = (
    "open it with the program that made it, if you trust it, and save with "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")
"""A zip from torch.save, and a bare pickle of protocol 2 or later."""
_MAX_JSON = 1 << 20


def check_weights(path: Path, *, member: str | None = None) -> str:
    """SHA-256 of a file of weights that looks like one. Reads it without torch.

    The header of a ``.safetensors`` file is checked whole (lengths, offsets, types); other kinds are checked when
    they are read.

    Args:
        path: The file.
        member: The weights in it, where it is a bundle.

    Raises:
        ModelError: If there is no such file, or a pickle or something broken poses as safetensors.
    """
    try:
        info = path.stat()
        # before opening: a named pipe would hang for ever
        if not stat.S_ISREG(info.st_mode):
            raise ModelError(f"{printable(path)} is not a regular file: put the weights beside the card")
        if member is not None:
            return hashlib.sha256(_from_bundle(path, member)).hexdigest()
        if path.suffix.lower() == ".safetensors":
            _check_header(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise ModelError(f"the weights {printable(path)} are missing: put them beside the card") from error
    except OSError as error:
        raise ModelError(f"cannot read the weights {printable(path)}: {error.strerror}") from error


def _from_bundle(path: Path, member: str) -> bytes:
    """A member of a bundle; only such as are stored as they are, so that a small file cannot unfold to a large one."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(member)
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise ModelError(f"{printable(path)}: {printable(member)} is compressed: export the bundle again")
            return archive.read(info)
    except KeyError as error:
        raise ModelError(f"{printable(path)} lacks {printable(member)}: get the bundle again") from error
    # NotImplementedError: zipfile knows no such compression
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{printable(path)} is damaged ({printable(error)}): get the bundle again") from error


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


def read_content(path: Path, *, sha256: str | None, member: str | None = None) -> bytes:
    """The bytes of a file of weights.

    It is read once and what was hashed is what is used: a file exchanged since the model was loaded is refused.

    Args:
        path: A file that :func:`check_weights` has passed.
        sha256: What it gave.
        member: The weights in it, where it is a bundle.

    Raises:
        ModelError: If the content changed or cannot be read.
    """
    try:
        content = path.read_bytes() if member is None else _from_bundle(path, member)
    except OSError as error:
        raise ModelError(f"cannot read the weights {printable(path)}: {error.strerror}") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"the weights {printable(path)} changed since the model was loaded: load it again")
    return content


def read_weights(path: Path, *, sha256: str | None, member: str | None = None) -> dict[str, "torch.Tensor"]:
    """Tensors by name, on the CPU.

    Args:
        path: A file that :func:`check_weights` has passed.
        sha256: What it gave.
        member: The weights in it, where it is a bundle.

    Raises:
        ModelError: If the content changed, holds anything but tensors, or cannot be read.
    """
    content = read_content(path, sha256=sha256, member=member)
    if Path(member or path).suffix.lower() == ".safetensors":
        from safetensors.torch import load

        try:
            tensors: dict[str, torch.Tensor] = load(content)
        except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(f"cannot read {printable(path)}: {printable(error)}; get the file again") from error
        return tensors
    return _state_dict(path, read_pickle(path, content))


def read_json(path: Path) -> Any:
    """What a JSON file of at most 1 MiB beside a model says.

    Raises:
        ModelError: If it is none, or cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError(f"{printable(path)} is not a regular file")
        with path.open("rb") as file:
            content = file.read(_MAX_JSON + 1)
        if len(content) > _MAX_JSON:
            raise ModelError(f"{printable(path)} is larger than 1 MiB: that describes no model")
        return json.loads(content)
    except OSError as error:
        raise ModelError(f"cannot read {printable(path)}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{printable(path)} is no JSON: {printable(error)}") from error


def read_pickle(path: Path, content: bytes) -> Any:
    """What ``torch.save`` wrote, as long as it is tensors and plain values.

    Raises:
        ModelError: If it may hold code.
    """
    import torch

    try:
        with warnings.catch_warnings():
            # of pickles in another protocol than torch's own: if they cannot be read, the error says so in one line
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            # weights_only, and no second attempt without it: the file would choose the way it is read
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a crafted stream can raise anything; nothing of it is trusted
        raise ModelError(
            f"{printable(path)} cannot be read as plain weights ({type(error).__name__}), so it may hold code; "
            f"{_CONVERT}"
        ) from error


def _state_dict(path: Path, loaded: Any) -> dict[str, "torch.Tensor"]:
    checkpoint = isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping)
    if checkpoint:
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not loaded or not all(_is_named_tensor(item) for item in loaded.items()):
        raise ModelError(f"{printable(path)} holds no state dict (tensors by name): save model.state_dict() only")
    tensors = dict(loaded)
    for prefix in ("model.", "network.") if checkpoint else ():
        if any(name.startswith(prefix) for name in tensors):
            # of a Lightning module: beside the network it holds what trained it, such as the weights of the classes
            # in the loss, and the states of metrics
            tensors = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            break
    # wrappers put their attribute's name before each key: torchgeo "model.", geoseg train "network.", DataParallel
    # "module."
    for prefix in ("model.", "network.", "module."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    import torch

    return isinstance(item[0], str) and isinstance(item[1], torch.Tensor)
