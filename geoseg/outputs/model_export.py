"""A model as a file that others read, or that holds all of it: compared with the original before it appears."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import ModelError, OutputError, ParameterError, printable
from geoseg.models.load import Model, build_network, load_model
from geoseg.outputs.aside import publish
from geoseg.outputs.records import write_text
from geoseg.outputs.together import together

if TYPE_CHECKING:
    import torch

    from geoseg.models.example import Agreement

__all__ = ["EXPORTS", "Exported", "export_model"]

EXPORTS = {"onnx": ".onnx", "pt2": ".pt2", "torchscript": ".ts", "mlm": ".json", "bundle": ".geoseg"}
"""What can be written, with the suffix of its file."""
_PROGRAMS = ("onnx", "pt2", "torchscript")
_WINDOWS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    files: tuple[Path, ...]
    """The file, and for mlm the weights beside it."""
    agreement: "Agreement"
    """With the original, on windows made from a seed."""
    notes: tuple[str, ...] = ()
    """What a user would want to know."""


def export_model(model: Model, path: Path | None, *, kind: str, overwrite: bool = False) -> Exported:
    """Write a model in another format.

    It is loaded again from what was written, and has to give the same class map as the original on four windows made
    from a seed (at most 0.01 % of the pixels may differ); else nothing appears.

    Args:
        model: As loaded; kmeans has no network of its own, and what is a program already can only be bundled.
        path: Where to; None for the model's name in the working folder.
        kind: One of `EXPORTS`.
        overwrite: Replace a file that is there.

    Raises:
        ModelError: If the model cannot be written in this format.
        ParameterError: If the file's suffix is another's.
        OutputError: If it is there, cannot be written, or does not give what the original gives; nothing appears.
    """
    suffix = EXPORTS[kind]
    name = re.sub(r"[^\w.-]+", "-", model.card.name).strip("-.") or "model"
    path = Path(f"{name}{suffix}") if path is None else path
    if path.suffix.lower() != suffix:
        raise ParameterError(f"{printable(path)}: files of kind {kind} end in {suffix}: rename it")
    _refuse(model, kind)
    files: tuple[Path, ...] = (path,)
    if kind == "mlm":
        assert model.weights is not None, "refused before"
        files = (path.with_suffix(Path(model.member or model.weights).suffix), path)
    if there := [file for file in files if file.exists() and not overwrite]:
        raise OutputError(f"{printable(there[0])} is there: pass --overwrite to replace it, or choose another name")
    found = _Comparison(build_network(model), kind)
    if kind == "mlm":
        _write_item(model, files, found)
    elif kind == "bundle":
        _write_bundle(model, path, found)
    else:
        _write_program(model, path, kind, found)
    notes: tuple[str, ...] = ()
    if found.window is not None and not model.card.fixed_window:
        notes = (f"the network depends on sizes, so what was written takes windows of {found.window} px only",)
    return Exported(files=files, agreement=found.agreement, notes=notes)


def _refuse(model: Model, kind: str) -> None:
    of, name = model.card.kind, printable(model.card.name)
    if of == "kmeans":
        raise ModelError("kmeans finds its centres in each scene anew: there is no network to export")
    if kind in _PROGRAMS and of in _PROGRAMS:
        raise ModelError(f"model {name} is of kind {of}, a finished program: export the model that it was made from")
    if kind in ("mlm", "bundle") and model.weights is None:
        raise ModelError(f"model {name} has no weights to put into a file: export it as onnx or pt2")
    if kind == "mlm" and model.config is not None:
        raise ModelError(f"an MLM item has no place for the config of kind {of}: export it as onnx, pt2 or bundle")


def _write_program(model: Model, path: Path, kind: str, found: "_Comparison") -> None:
    from geoseg.models.formats import build
    from geoseg.models.traced_write import WRITERS

    # what the network itself gives: the card says what its outputs are, as the original's does
    bare = build(model).eval()
    publish(path, lambda tmp: WRITERS[kind](tmp, bare, model.card, path.name), found.verify)


def _write_bundle(model: Model, path: Path, found: "_Comparison") -> None:
    import torch

    from geoseg.models.bundle import KnownWindow, write_bundle
    from geoseg.models.example import example_side, example_windows

    window = example_windows(1, model.card, example_side(model.card))
    with torch.inference_mode():
        logits = found.network(window).float()
    known = KnownWindow(pixels=window[0], logits=logits[0])
    publish(path, lambda tmp: write_bundle(tmp, model, known), found.verify)


def _write_item(model: Model, files: tuple[Path, ...], found: "_Comparison") -> None:
    """The weights and the item appear together: one is of no use without the other."""
    from geoseg.models.mlm import item_of
    from geoseg.models.weights import read_content

    assert model.weights is not None, "refused before"
    content = read_content(model.weights, sha256=model.weights_sha256, member=model.member)

    def copy(path: Path) -> None:
        path.write_bytes(content)

    def same(path: Path) -> None:
        if path.read_bytes() != content:
            raise OutputError(f"{printable(path)} does not hold what was written to it: check the disk, run again")

    with together(files) as (weights, item):
        written = publish(weights, copy, same)
        described = item_of(
            model.card,
            href=weights.name,
            sha256=written.sha256,
            created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            n_parameters=sum(p.numel() for p in found.network.parameters()) or None,
        )
        write_text(item, json.dumps(described, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
        found.verify(item)


class _Comparison:
    """Loads what was written, as a stranger would, and compares it with the original."""

    def __init__(self, network: "torch.nn.Module", kind: str) -> None:
        self.network, self._kind = network, kind
        self.agreement: Agreement
        self.window: int | None = None
        """Pixels of the only window that it takes, where that is so."""

    def verify(self, path: Path) -> None:
        from geoseg.models.example import compare, example_side, example_windows

        # it was written a moment ago, from a model that is trusted or cannot hold code
        loaded = load_model(path, trust=True)
        self.window = loaded.card.window if loaded.card.fixed_window else None
        windows = example_windows(_WINDOWS, loaded.card, example_side(loaded.card))
        self.agreement = compare(self.network, build_network(loaded), windows)
        if not self.agreement.good:
            raise OutputError(
                f"as {self._kind} the model does not give what the original gives: {self.agreement}; nothing was "
                "written; choose another format"
            )
