"""The formats that models come in: a plain registry, to which an installed package adds by an entry point.

A format is a value, and its functions are named rather than imported, so that listing models costs no import of torch.
A package adds one with an entry point of the group ``geoseg.model_formats`` whose object is a `Format`; its name must
be the entry point's. Nothing else has to be touched: cards of that kind, files with its suffixes, ``geoseg models`` and
``geoseg run`` know it from then on. Which packages are installed is the user's own choice, so their code may run; what
a model file says never leads to an import.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import ModelError, printable

if TYPE_CHECKING:
    import torch

    from geoseg.models.load import Model

__all__ = ["GROUP", "PICKLED", "Described", "Format", "build", "describe", "find_format", "formats", "named"]

GROUP = "geoseg.model_formats"
"""Group of the entry points that add formats."""
PICKLED = (".pt", ".pth", ".ckpt", ".bin")
"""Weights in files that could hold code; they are read such that it is never run."""
_TENSORS = (".safetensors", *PICKLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a model file says of itself: a card, as far as it goes."""

    content: dict[str, Any]
    """Keys of a card, as a YAML file would hold them."""
    folder: Path
    """Where the weights lie that the content names."""
    unknown: tuple[str, ...] = ()
    """Keys that the file says nothing of and a card needs."""
    bundle: Path | None = None
    """The zip whose members the weights are, instead of files in the folder."""
    config: str | None = None
    """JSON that the network is built from beside the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One kind of model."""

    name: str
    """The ``kind`` in a card."""
    build: str | None = None
    """``module:function`` from a `Model` to its network, (N, C, H, W) to (N, K, H, W); None describes others only."""
    suffixes: tuple[str, ...] = ()
    """Of its weights; none where it has none."""
    by_name: bool = False
    """Whether a card must name an architecture."""
    any_bands: bool = False
    """Whether the network takes a scene's bands as they are; else missing optional ones are filled with their mean."""
    pixelwise: bool = False
    """Whether the network looks at each pixel alone: then windows are no matter to it."""
    runs_code: bool = False
    """Whether loading its files can run code that is in them: refused unless the user trusts the model."""
    config: str | None = None
    """JSON file beside the weights that the network is built from, too."""
    extra: str | None = None
    """What has to be installed beside geoseg, as ``geoseg[extra]``."""
    describe: str | None = None
    """``module:function`` from a path to a `Described`, or None where the file is another's."""
    reads: tuple[str, ...] = ()
    """Suffixes of the files that ``describe`` is asked about; ``/`` stands for folders."""
    check: str | None = None
    """``module:function`` (card, source) that raises ModelError where a card of this kind does not fit."""


_BUILT_IN = {
    one.name: one
    for one in (
        Format(
            name="smp",
            build="geoseg.models.network:named_network",
            suffixes=_TENSORS,
            by_name=True,
            describe="geoseg.models.smp_folder:describe",
            reads=("/",),
        ),
        Format(
            name="spectral",
            build="geoseg.models.weightless:spectral_network",
            any_bands=True,
            pixelwise=True,
            check="geoseg.models.spectral_card:check_spectral_card",
        ),
        Format(name="kmeans", build="geoseg.models.weightless:kmeans_network", any_bands=True, pixelwise=True),
        Format(
            name="onnx",
            build="geoseg.models.onnx_network:onnx_network",
            suffixes=(".onnx",),
            extra="onnx",
            describe="geoseg.models.onnx_card:describe",
            reads=(".onnx",),
        ),
        Format(
            name="torchscript",
            build="geoseg.models.traced:torchscript_network",
            suffixes=(".pt", ".pth", ".ts", ".torchscript"),
            runs_code=True,
            describe="geoseg.models.traced_card:describe_torchscript",
            reads=(".ts", ".torchscript"),
        ),
        Format(
            name="pt2",
            build="geoseg.models.traced:exported_network",
            suffixes=(".pt2",),
            runs_code=True,
            describe="geoseg.models.traced_card:describe_exported",
            reads=(".pt2",),
        ),
        Format(
            name="module",
            build="geoseg.models.network:module_network",
            suffixes=_TENSORS,
            by_name=True,
            runs_code=True,
        ),
        Format(
            name="transformers",
            build="geoseg.models.transformers_network:transformers_network",
            suffixes=_TENSORS,
            config="config.json",
            extra="hf",
            describe="geoseg.models.transformers_card:describe",
            reads=("/",),
        ),
        Format(name="lightning", describe="geoseg.models.lightning_card:describe", reads=(".ckpt",)),
        Format(name="mlm", describe="geoseg.models.mlm:describe", reads=(".json", ".geojson")),
        Format(name="bundle", describe="geoseg.models.bundle:describe", reads=(".geoseg", ".zip")),
    )
}


@lru_cache(maxsize=1)
def _installed() -> dict[str, Any]:
    """Entry points of packages by the name of their format; not loaded before they are asked for."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in _BUILT_IN}


def find_format(name: str) -> Format:
    """The format of a card's ``kind``.

    Raises:
        ModelError: If there is none, or the package that has it cannot be used; the message names what there is.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    if name not in _installed():
        known = [*(one.name for one in _BUILT_IN.values() if one.build is not None), *sorted(_installed())]
        raise ModelError(f"there is no kind of model '{printable(name)}'; known: {', '.join(known)}")
    point = _installed()[name]
    try:
        found = point.load()
    except Exception as error:  # whatever a package does when it is imported
        raise ModelError(
            f"the kind of model {name} comes from {printable(point.value)}, which cannot be imported "
            f"({type(error).__name__}: {printable(error)}): mend or remove that package"
        ) from error
    if not isinstance(found, Format) or found.name != name:
        raise ModelError(f"{printable(point.value)} is no geoseg Format called {name}: mend or remove that package")
    return found


def formats() -> Iterator[Format]:
    """All formats, geoseg's own first.

    Raises:
        ModelError: If a package that adds one cannot be used.
    """
    for name in (*_BUILT_IN, *sorted(_installed())):
        yield find_format(name)


def named(reference: str, extra: str | None = None) -> Callable[..., Any]:
    """The function that a format names as ``module:function``.

    Raises:
        ModelError: If what has to be installed for it is not there.
    """
    module, _, function = reference.partition(":")
    try:
        found: Callable[..., Any] = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if extra is None or (error.name or "").startswith("geoseg"):
            raise
        raise ModelError(f"this kind of model needs {error.name}: pip install 'geoseg[{extra}]'") from error
    return found


def describe(path: Path) -> Described | None:
    """What a file or folder says of the model it holds; None where no format knows it.

    Raises:
        ModelError: If a format knows it, and it cannot be used.
    """
    what = "/" if path.is_dir() else path.suffix.lower()
    for one in formats():
        if one.describe is None or what not in one.reads:
            continue
        found: Described | None = named(one.describe, one.extra)(path)
        if found is not None:
            return found
    return None


def build(model: "Model") -> "torch.nn.Module":
    """The network that a model's format builds, as the format gives it.

    Raises:
        ModelError: If it cannot be built, or could run code and is not trusted.
    """
    one = find_format(model.card.kind)
    if one.runs_code and not model.trusted:
        # load_model has refused it before: whoever comes by another door is refused here
        raise ModelError(f"model {printable(model.card.name)} could run code: load it with trust=True if you trust it")
    assert one.build is not None, "a card of such a kind is refused"
    network: torch.nn.Module = named(one.build, one.extra)(model)
    return network
