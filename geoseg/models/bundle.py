"""A model in one file: a zip of its card, its weights, their checksums, and a test window with what comes of it.

Members are stored as they are, not compressed: a bundle is as large as what is in it, and weights are read from it
without a copy on the disk. Unzipped it is an ordinary folder with a card.
"""

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from safetensors import SafetensorError

from geoseg.errors import ModelError, printable, reason_of
from geoseg.models.formats import Described
from geoseg.models.plain_yaml import PlainYamlError, parse_plain_yaml

if TYPE_CHECKING:
    import torch

    from geoseg.models.load import Model

__all__ = ["KnownWindow", "describe", "read_known_window", "write_bundle"]

_MANIFEST = "geoseg-bundle.json"
_CARD = "card.yaml"
_CONFIG = "config.json"
_TEST = "test_window.safetensors"
_SMALL = 1 << 20
_LARGEST_TEST = 1 << 30
_OLDEST = (1980, 1, 1, 0, 0, 0)
"""Time of every member: the same model gives the same bundle, byte by byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWindow:
    """A window as the network sees it, and what came of it where the bundle was made."""

    pixels: "torch.Tensor"
    """(band, row, col) normalised, float32."""
    logits: "torch.Tensor"
    """(class, row, col) float32."""


def describe(path: Path) -> Described | None:
    """The card in a bundle, all of whose checksums hold; None where the zip is none.

    Raises:
        ModelError: If it is damaged.
    """
    shown = printable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if _MANIFEST not in archive.namelist():
                return None
            manifest = json.loads(_small(archive, _MANIFEST, shown))
            card = _small(archive, _CARD, shown)
            config = _small(archive, _CONFIG, shown).decode("utf-8") if _CONFIG in archive.namelist() else None
            sums = manifest.get("sha256") if isinstance(manifest, dict) else None
            if not isinstance(sums, dict) or manifest.get("version") != 1:
                raise ModelError(f"{shown}: its {_MANIFEST} is of no version that this geoseg reads: update geoseg")
            for name, expected in sums.items():
                _check(archive, name, expected, shown)
    # NotImplementedError: zipfile knows no such compression
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, RecursionError, NotImplementedError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{shown} is damaged ({reason_of(error)}): get the bundle again") from error
    try:
        content, _ = parse_plain_yaml(card)
    except PlainYamlError as error:
        raise ModelError(f"cannot read the card in {shown}: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{shown}: what should be a card in it is none")
    if config is not None:
        config = json.dumps(json.loads(config), sort_keys=True)
    return Described(content=content, folder=path.parent, bundle=path, config=config)


def _small(archive: zipfile.ZipFile, name: str, shown: str) -> bytes:
    if name not in archive.namelist():
        raise ModelError(f"{shown} lacks {name}: get the bundle again")
    if archive.getinfo(name).file_size > _SMALL:
        raise ModelError(f"{shown}: {name} is larger than 1 MiB: that describes no model")
    return archive.read(name)


def _check(archive: zipfile.ZipFile, name: str, expected: Any, shown: str) -> None:
    if name not in archive.namelist():
        raise ModelError(f"{shown} lacks {printable(name)}: get the bundle again")
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ModelError(f"{shown}: {printable(name)} is compressed: export the bundle again")
    with archive.open(name) as member:
        if hashlib.file_digest(member, "sha256").hexdigest() != expected:  # type: ignore[arg-type]
            raise ModelError(f"{shown}: {printable(name)} is not what its checksum says: get the bundle again")


def read_known_window(path: Path) -> KnownWindow:
    """The test window of a bundle.

    Raises:
        ModelError: If it is damaged.
    """
    from safetensors.torch import load

    shown = printable(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_TEST).file_size > _LARGEST_TEST:
                raise ModelError(f"{shown}: its test window is larger than 1 GiB: export the bundle again")
            tensors = load(archive.read(_TEST))
        return KnownWindow(pixels=tensors["pixels"], logits=tensors["logits"])
    except (OSError, zipfile.BadZipFile, KeyError, SafetensorError, EOFError) as error:
        raise ModelError(f"{shown}: its test window cannot be read ({reason_of(error)}): get it again") from error


def write_bundle(path: Path, model: "Model", window: KnownWindow) -> None:
    """Write a bundle of a model that has weights.

    Args:
        path: Where to.
        model: As loaded.
        window: What the network gives for some pixels here.

    Raises:
        ModelError: If the weights changed since the model was loaded.
    """
    from safetensors.torch import save

    from geoseg.models.weights import read_content

    assert model.weights is not None, "only models with weights are bundled"
    weights = read_content(model.weights, sha256=model.weights_sha256, member=model.member)
    assert model.card.weights is not None
    card = {**model.card.model_dump(mode="json", exclude_unset=True), "weights_sha256": model.weights_sha256}
    members = {
        _CARD: yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110).encode(),
        model.card.weights: weights,
        **({} if model.config is None else {_CONFIG: model.config.encode()}),
        _TEST: save({"pixels": window.pixels.contiguous(), "logits": window.logits.contiguous()}),
    }
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    manifest = json.dumps({"version": 1, "sha256": sums}, indent=2).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {_MANIFEST: manifest, **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _OLDEST), content)
