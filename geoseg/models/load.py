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
from geoseg.models.card import WEIGHT_SUFFIXES, ModelCard, card_from_yaml
from geoseg.models.kmeans import DEFAULT_CLUSTERS, Centres, kmeans_card
from geoseg.models.weights import check_weights

if TYPE_CHECKING:
    import torch

__all__ = ["Model", "ModelInfo", "build_network", "list_models", "load_model"]

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
    """How the network is built: smp, spectral or kmeans."""
    bands: tuple[str, ...]
    """In the model's order; none = any bands."""
    classes: tuple[str, ...]
    """Names in the order of the outputs."""
    description: str
    """What it is for and where it is wrong."""


def load_model(name: str | os.PathLike[str]) -> Model:
    """A model by name or by card. Weights are checked, no network is built, no code from a file is run.

    Args:
        name: A shipped model (see :func:`list_models`), ``kmeans`` or ``kmeans:K``, a card (``.yaml``), or a folder
            with a ``card.yaml``. A bare word is a shipped model first: write ``./word`` for a folder of that name.

    Raises:
        ModelError: If there is no such model, or its card or weights cannot be used.
    """
    source = os.fspath(name)
    if isinstance(name, str):
        if name == "kmeans" or name.startswith("kmeans:"):
            return _from_card(kmeans_card(_clusters(name)), source, folder=None)
        if name in _shipped():
            return _from_card(card_from_yaml(_ZOO / name / _CARD), source, folder=_ZOO / name)
    path = Path(source)
    if path.is_dir():
        if not (path / _CARD).is_file():
            raise ModelError(f"folder {printable(path)} has no {_CARD}: add one, or name the card itself")
        path = path / _CARD
    elif path.suffix.lower() in WEIGHT_SUFFIXES:
        raise ModelError(f"{printable(path)} is a file of weights: name the card (.yaml) that describes it")
    elif path.suffix.lower() not in (".yaml", ".yml"):
        raise ModelError(_unknown(source))
    return _from_card(card_from_yaml(path), source, folder=path.parent)


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
    from geoseg.models.network import network_for

    return network_for(model).eval()


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
        "a card (.yaml), or a folder with card.yaml"
    )


def _from_card(card: ModelCard, source: str, *, folder: Path | None) -> Model:
    if card.kind == "spectral":
        from geoseg.models.spectral_card import check_spectral_card

        check_spectral_card(card, source)
    weights = sha256 = None
    if card.weights is not None and folder is not None:
        weights = folder.resolve() / card.weights
        sha256 = check_weights(weights)
        if card.weights_sha256 not in (None, sha256):
            raise ModelError(
                f"{printable(weights)} is not the file the card means: its SHA-256 is {sha256}, "
                f"the card says {card.weights_sha256}; get the file again, or correct weights_sha256"
            )
    return Model(
        card=card,
        source=source,
        weights=weights,
        weights_sha256=sha256,
        bands=tuple(band.name for band in card.bands),
        mean=tuple(band.mean for band in card.bands),
        std=tuple(band.std for band in card.bands),
    )
