"""Networks with weights from models: by name, never by import path, never from the net."""

import inspect
import re
from difflib import get_close_matches

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn

from geoseg.errors import ModelError, printable
from geoseg.models.card import Architecture
from geoseg.models.fcn import FCN
from geoseg.models.load import Model
from geoseg.models.own_network import build_own, installed, is_module
from geoseg.models.siamese import SiameseUnet
from geoseg.models.weights import read_weights

__all__ = [
    "ARCHITECTURES",
    "build_architecture",
    "module_network",
    "named_network",
    "refuse_broken_numbers",
]

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "FCN": FCN,
    "SiameseUnet": SiameseUnet,
    **{architecture.__name__: architecture for architecture in smp.MODEL_ARCHITECTURES_MAPPING.values()},
}
"""By the name a card uses."""

# Decided by the card elsewhere, or reaching for the net.
_RESERVED = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params"}
_SHOWN = 3


def named_network(model: Model) -> nn.Module:
    """A network by the name of its architecture, with its weights.

    Raises:
        ModelError: If there is no such architecture, or architecture and weights do not fit.
    """
    architecture = model.card.architecture
    if architecture is None or model.weights is None:
        raise ModelError(f"model {printable(model.card.name)} has no architecture or no weights: add them to its card")
    network = build_architecture(
        architecture,
        in_channels=len(model.card.bands),
        n_classes=model.card.n_outputs,
        source=model.source,
        trust=model.card.kind == "module" and model.trusted,
    )
    tensors = read_weights(model.weights, sha256=model.weights_sha256, member=model.member)
    _fill(network, tensors, model)
    return network


def module_network(model: Model) -> nn.Module:
    """A network of the user's own code with its weights; see `named_network`."""
    return named_network(model)


def build_architecture(
    architecture: Architecture,
    *,
    in_channels: int,
    n_classes: int,
    source: str,
    encoder_weights: str | None = None,
    trust: bool = False,
) -> nn.Module:
    """The network of an architecture, with weights drawn at random.

    Args:
        architecture: By name.
        in_channels: Bands.
        n_classes: Channels of the logits.
        source: What names the architecture, for messages.
        encoder_weights: Name of weights that smp fetches for the encoder; None fetches nothing.
        trust: Whether a ``module:Class`` may be imported.

    Raises:
        ModelError: If a name is not known, or the parts do not go together.
    """
    own = is_module(architecture.name)
    if own and not trust:
        raise ModelError(
            f"{printable(source)}: the architecture {printable(architecture.name)} is code to import: if you trust it, "
            "pass --trust-model (kind: module in a card)"
        )
    if own or (architecture.name not in ARCHITECTURES and architecture.name in installed()):
        return build_own(architecture, in_channels=in_channels, n_classes=n_classes, source=source)
    build = _named(architecture, source)
    try:
        network: nn.Module = build(
            encoder_name=architecture.encoder,
            encoder_weights=encoder_weights,  # smp's own default downloads
            in_channels=in_channels,
            classes=n_classes,
            **{key: list(v) if isinstance(v, tuple) else v for key, v in architecture.options.items()},
        )
    except Exception as error:  # smp and timm raise whatever their constructors meet
        raise ModelError(
            f"cannot build {architecture.name} with encoder {architecture.encoder} for {printable(source)}: "
            f"{printable(error)}; correct its architecture"
        ) from error
    return network


def _named(architecture: Architecture, source: str) -> type[nn.Module]:
    """The class of an architecture whose name, encoder and options all are known."""
    if architecture.name not in ARCHITECTURES:
        raise ModelError(_no_such("architecture", architecture.name, [*ARCHITECTURES, *installed()], source))
    build = ARCHITECTURES[architecture.name]
    encoder = architecture.encoder
    known = list(smp.encoders.encoders)
    if encoder is None:
        raise ModelError(f"{printable(source)}: the architecture {architecture.name} needs an encoder: name one")
    # a timm name may hold "hf-hub:", which downloads, or "local-dir:"
    is_timm = encoder.startswith("tu-") and re.fullmatch(r"[\w.-]+", encoder) and timm.is_model(encoder[3:])
    if encoder not in known and not is_timm:
        raise ModelError(_no_such("encoder", encoder, known + [f"tu-{name}" for name in timm.list_models()], source))
    # only what the architecture itself names: **kwargs would reach timm, whose checkpoint_path unpickles a file
    parameters = [
        name
        for name, parameter in inspect.signature(build.__init__).parameters.items()
        if name != "self" and name not in _RESERVED and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    for option in architecture.options:
        if option not in parameters:
            raise ModelError(_no_such(f"option of {architecture.name}", option, parameters, source))
    return build


def _no_such(what: str, name: str, known: list[str], source: str) -> str:
    lower = {each.lower(): each for each in known}
    close = [lower[each] for each in get_close_matches(name.lower(), list(lower), n=3)]
    names = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known)[:20])}"
    return f"{printable(source)}: there is no {what} '{printable(name)}'; {names}"


def _fill(network: nn.Module, tensors: dict[str, Tensor], model: Model) -> None:
    """Put the weights in; every name and shape must fit."""
    expected = network.state_dict()
    # a second head that only training uses
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("aux_classifier.")}
    # BatchNorm's step counter shapes nothing at inference, and exporters drop it
    missing = [name for name in expected if name not in tensors and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in tensors if name not in expected]
    shapes = [name for name in expected if name in tensors and expected[name].shape != tensors[name].shape]
    problems = [
        f"{len(names)} {what} ({', '.join([printable(n) for n in names[:_SHOWN]] + ['...'] * (len(names) > _SHOWN))})"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise ModelError(
            f"{printable(model.weights)} does not fit {printable(model.source)}: tensors {', '.join(problems)}; "
            f"{_mend(expected, tensors, shapes, model)}"
        )
    refuse_broken_numbers(tensors, model)
    network.load_state_dict({**expected, **tensors}, strict=True)


def refuse_broken_numbers(tensors: dict[str, Tensor], model: Model) -> None:
    """Refuse weights that training has ruined.

    Raises:
        ModelError: If one is NaN or infinite.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{printable(model.weights)}: tensor {printable(name)} holds NaN or infinity: train again")


def _mend(expected: dict[str, Tensor], tensors: dict[str, Tensor], shapes: list[str], model: Model) -> str:
    """What most likely differs, in the words of the card."""
    for name in shapes:
        want, have = expected[name].shape, tensors[name].shape
        if name.startswith("encoder.") and len(want) == len(have) == 4 and want[1] == len(model.card.bands):
            return f"the card has {want[1]} bands, the weights take {have[1]}: correct bands"
        if name.startswith("segmentation_head.") and want[0] == model.n_classes != have[0]:
            return f"the card has {want[0]} classes, the weights give {have[0]}: correct classes"
    return "correct architecture (name, encoder, options) in the card, or get the weights that belong to it"
