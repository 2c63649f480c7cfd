"""Models by name or by card: what a run carries around, and the network that is built from it."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import ModelError, printable
from geoseg.legend import Legend
from geoseg.models.card import ModelCard, card_from_content, card_from_yaml
from geoseg.models.formats import Described, build, describe, find_format, formats, named
from geoseg.models.kmeans import DEFAULT_CLUSTERS, Centres, kmeans_card
from geoseg.models.weights import check_weights, read_json

if TYPE_CHECKING:
    import torch

__all__ = ["Model", "ModelInfo", "build_network", "describe_model", "list_models", "load_model"]

_ZOO = Path(__file__).parent / "zoo"
_CARD = "card.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as plain values: it pickles to a worker, which builds the network itself."""

    card: ModelCard
    """What it expects and what it gives."""
    source: str
    """What the user named."""
    weights: Path | None = None
    """File of weights, for models that have one."""
    weights_sha256: str | None = None
    """Of the file when the model was loaded; building the network refuses any other."""
    member: str | None = None
    """Name of the weights in ``weights``, where that is a bundle."""
    config: str | None = None
    """JSON that the network is built from, for kinds that have one beside their weights."""
    trusted: bool = False
    """Whether code in its files may run."""
    bands: tuple[str, ...]
    """One per input channel; all of the card's until :meth:`with_bands` or :meth:`with_centres`."""
    mean: tuple[float, ...]
    """One per input channel. Normalised input = (physical value - mean) / std."""
    std: tuple[float, ...]
    """See ``mean``."""
    centres: tuple[tuple[float, ...], ...] | None = None
    """Of a fitted kmeans: per cluster and band, in normalised units."""
    spread: float | None = None
    """Of a fitted kmeans: standard deviation about the centres, in normalised units."""

    @property
    def legend(self) -> Legend:
        """Classes in the order of the outputs."""
        return self.card.legend

    @property
    def map_name(self) -> str:
        """What its map is: of one date ``classes``, of two ``change``."""
        return "classes" if self.card.dates == 1 else "change"

    @property
    def n_classes(self) -> int:
        """Channels of the logits."""
        return len(self.card.classes)

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return len(self.bands)

    @property
    def digest(self) -> str:
        """SHA-256 over everything that shapes the logits: card, content of the weights, bands and parameters."""
        content = {
            "card": self.card.model_dump(mode="json"),
            "weights": self.weights_sha256,
            "bands": self.bands,
            "mean": self.mean,
            "std": self.std,
            "centres": self.centres,
            "spread": self.spread,
            **({} if self.config is None else {"config": self.config}),
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def with_bands(self, names: Iterable[str]) -> "Model":
        """The model for scenes that lack some of its optional bands.

        Args:
            names: All required bands and any of the optional ones, in any order.

        Returns:
            The same model with these bands, in the card's order.

        Raises:
            ModelError: If a required band is missing, or a name is none of the card's bands.
        """
        wanted = set(names)
        known = {band.name for band in self.card.bands}
        missing = [band.name for band in self.card.bands if band.required and band.name not in wanted]
        if missing:
            raise ModelError(f"model {self.card.name} needs the bands {', '.join(missing)}: add them to the scene")
        if unknown := sorted(wanted - known):
            raise ModelError(
                f"model {self.card.name} has no bands {printable(', '.join(unknown))}: "
                f"choose from {', '.join(band.name for band in self.card.bands) or 'none, as it takes any'}"
            )
        kept = [band for band in self.card.bands if band.name in wanted]
        return replace(
            self,
            bands=tuple(band.name for band in kept),
            mean=tuple(band.mean for band in kept),
            std=tuple(band.std for band in kept),
        )

    def with_centres(self, bands: Iterable[str], centres: Centres) -> "Model":
        """A kmeans model fitted to samples.

        Args:
            bands: Names of the samples' bands, in their order.
            centres: From :func:`geoseg.models.kmeans.fit_centres`.

        Raises:
            ModelError: If this is no kmeans model, or bands or clusters differ in number.
        """
        names = tuple(bands)
        if self.card.kind != "kmeans":
            raise ModelError(f"model {self.card.name} is of kind {self.card.kind}: only kmeans is fitted to a scene")
        if len(centres.centres) != self.n_classes:
            raise ModelError(f"{len(centres.centres)} centres for {self.n_classes} classes: fit as many as there are")
        if not len(names) == len(centres.mean) == len(centres.std) == len(centres.centres[0]):
            raise ModelError(f"{len(centres.mean)} bands were fitted, {len(names)} are named: name each one")
        return replace(
            self,
            bands=names,
            mean=centres.mean,
            std=centres.std,
            centres=centres.centres,
            spread=centres.spread,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """One line of the list of shipped models."""

    name: str
    """What :func:`load_model` takes."""
    kind: str
    """How the network is built."""
    bands: tuple[str, ...]
    """In the model's order; none = any bands."""
    classes: tuple[str, ...]
    """Names in the order of the outputs."""
    description: str
    """What it is for and where it is wrong."""


def load_model(name: str | os.PathLike[str], *, trust: bool = False) -> Model:
    """A model by name, by card, or by a file that describes itself. Weights are checked, no network is built.

    No code from a file is run: formats that are code (TorchScript, torch.export) are refused unless trusted, and then
    it runs where their network is built.

    Args:
        name: A shipped model (see :func:`list_models`), ``kmeans`` or ``kmeans:K``, a card (``.yaml``), a folder
            with a ``card.yaml``, or a file or folder of a format that says what a card says (see docs/models.md). A
            bare word is a shipped model first: write ``./word`` for a folder of that name.
        trust: Accept formats that can run code, with the rights of this process.

    Raises:
        ModelError: If there is no such model, or its card or weights cannot be used.
    """
    source = os.fspath(name)
    if isinstance(name, str):
        if name == "kmeans" or name.startswith("kmeans:"):
            return _from_card(kmeans_card(_clusters(name)), source)
        if name in _shipped():
            return _from_card(card_from_yaml(_ZOO / name / _CARD), source, folder=_ZOO / name)
    path = Path(source)
    if path.is_dir() and (path / _CARD).is_file():
        path = path / _CARD
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_card(card_from_yaml(path), source, folder=path.parent, trust=trust)
    found = describe_model(path, source)
    if found.unknown:
        where = path if path.is_dir() else path.parent
        raise ModelError(
            f"{printable(source)} does not say {', '.join(found.unknown)}: write a draft of its card with "
            f"geoseg models card {printable(source)} -o {printable(where / _CARD)}, complete it, and name the card"
        )
    card = card_from_content(found.content, source=source)
    return _from_card(card, source, folder=found.folder, bundle=found.bundle, config=found.config, trust=trust)


def describe_model(path: Path, source: str) -> Described:
    """What a file or folder without a card says of the model it holds.

    Raises:
        ModelError: If there is nothing of that name, or it says nothing.
    """
    if not path.exists():
        if _names_weights(path):
            raise ModelError(f"{printable(source)} is a file of weights: name the card (.yaml) that describes it")
        raise ModelError(_unknown(source))
    found = describe(path)
    if found is not None:
        return found
    if path.is_dir():
        raise ModelError(
            f"folder {printable(path)} has no {_CARD}: add one, or name the card itself; it is no folder of smp's "
            "save_pretrained or of transformers either"
        )
    if _names_weights(path):
        raise ModelError(f"{printable(source)} is a file of weights: name the card (.yaml) that describes it")
    raise ModelError(_unknown(source))


def _names_weights(path: Path) -> bool:
    return any(path.suffix.lower() in one.suffixes for one in formats())


def build_network(model: Model) -> "torch.nn.Module":
    """The network of a model, in eval mode, on the CPU.

    Args:
        model: A kmeans model must have been fitted (:meth:`Model.with_centres`).

    Returns:
        A module from (N, C, H, W) float32, normalised, with the channels ``model.bands``, to (N, K, H, W) float32
        logits at the input's resolution.

    Raises:
        ModelError: If architecture and weights do not fit, or the weights are not what they were when loaded.
    """
    # torch takes seconds to import: whoever only lists or plans does not pay for it
    from geoseg.models.adapt import adapted

    return adapted(build(model), model).eval()


def list_models() -> tuple[ModelInfo, ...]:
    """The shipped models by name; ``kmeans`` needs no file and comes last."""
    cards = [(name, card_from_yaml(_ZOO / name / _CARD)) for name in _shipped()]
    cards.append(("kmeans", kmeans_card()))
    return tuple(
        ModelInfo(
            name=name,
            kind=card.kind,
            bands=tuple(band.name for band in card.bands),
            classes=card.legend.names,
            description=card.description,
        )
        for name, card in cards
    )


def _shipped() -> list[str]:
    """Names of the folders with a card: adding a model is adding a folder."""
    return sorted(folder.parent.name for folder in _ZOO.glob(f"*/{_CARD}"))


def _clusters(name: str) -> int:
    _, colon, count = name.partition(":")
    if not colon:
        return DEFAULT_CLUSTERS
    if not (count.isascii() and count.isdigit() and len(count) < 4):
        raise ModelError(f"'{printable(name)}' has no number of clusters: write kmeans:6")
    return int(count)


def _unknown(source: str) -> str:
    names = [*_shipped(), "kmeans", "kmeans:K"]
    close = get_close_matches(source, names, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    return (
        f"there is no model '{printable(source)}'{guess}: name one of {', '.join(names)}, "
        "a card (.yaml), a folder with card.yaml, or a file that describes itself (.onnx, .geoseg, a STAC MLM item)"
    )


def _from_card(
    card: ModelCard,
    source: str,
    *,
    folder: Path | None = None,
    bundle: Path | None = None,
    config: str | None = None,
    trust: bool = False,
) -> Model:
    kind = find_format(card.kind)
    if kind.check is not None:
        named(kind.check)(card, source)
    if kind.runs_code and not trust:
        raise ModelError(
            f"{printable(source)}: a model of kind {card.kind} is a program, which can do whatever you can; if you "
            "trust where it comes from, pass --trust-model (in Python: load_model(..., trust=True)); a state dict as "
            "safetensors, or ONNX, needs no trust"
        )
    weights = sha256 = member = None
    if card.weights is not None and folder is not None:
        if bundle is not None:
            weights, member = bundle.resolve(), card.weights
        else:
            weights = folder.resolve() / card.weights
        sha256 = check_weights(weights, member=member)
        if card.weights_sha256 not in (None, sha256):
            raise ModelError(
                f"{printable(weights)} is not the file the card means: its SHA-256 is {sha256}, "
                f"the card says {card.weights_sha256}; get the file again, or correct weights_sha256"
            )
    if kind.config is not None and config is None and folder is not None:
        config = json.dumps(read_json(folder / kind.config), sort_keys=True)
    return Model(
        card=card,
        source=source,
        weights=weights,
        weights_sha256=sha256,
        member=member,
        config=config,
        trusted=trust,
        bands=tuple(band.name for band in card.bands),
        mean=tuple(band.mean for band in card.bands),
        std=tuple(band.std for band in card.bands),
    )
