"""The network that training starts from."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg.errors import InputError, ModelError, printable
from geoseg.models.network import ARCHITECTURES, build_architecture
from geoseg.models.weights import check_weights, read_weights
from geoseg.train.config import TrainSpec

__all__ = ["first_network", "output_stride"]

_LEAST = 0.5


def first_network(
    spec: TrainSpec, *, in_channels: int, n_classes: int, origin: str, trust: bool = False
) -> tuple[nn.Module, str]:
    """The network of a training before its first step, and where its weights come from, in words.

    The same seed gives the same weights. An architecture ``module:Class`` is imported only where it is trusted.

    Raises:
        ModelError: If the architecture cannot be built, or a file of weights does not fit it.
        InputError: If there are no weights of that kind, or they cannot be fetched.
    """
    torch.manual_seed(spec.seed)
    if spec.init == "imagenet":
        return _fetched(spec, in_channels, n_classes, origin), "encoder trained on ImageNet"
    network = build_architecture(
        spec.architecture, in_channels=in_channels, n_classes=n_classes, source=origin, trust=trust
    )
    if spec.init == "none":
        return network, "weights drawn at random"
    return network, _fill(network, Path(spec.init))


def _fetched(spec: TrainSpec, in_channels: int, n_classes: int, origin: str) -> nn.Module:
    from huggingface_hub import constants

    name, encoder = spec.architecture.name, str(spec.architecture.encoder)
    mend = "give a file of weights (init: FILE), or write init: none"
    if name not in ARCHITECTURES:
        raise InputError(f"init: imagenet: there are no such weights for the network {printable(name)}: {mend}")
    build = partial(build_architecture, spec.architecture, in_channels=in_channels, n_classes=n_classes, source=origin)
    build()  # what is wrong with the architecture itself is said as such
    if not _has_weights(encoder):
        raise InputError(f"init: imagenet: there are no such weights for the encoder {printable(encoder)}: {mend}")
    # the command line keeps the hub shut: here it is asked for by name
    constants.HF_HUB_OFFLINE = False
    unreachable = _unreachable(constants.ENDPOINT)
    # what was fetched before is used, and the hub is not tried again and again
    constants.HF_HUB_OFFLINE = bool(unreachable)
    torch.manual_seed(spec.seed)
    try:
        return build(encoder_weights="imagenet")
    except ModelError as error:
        if unreachable:
            raise InputError(
                f"init: imagenet: the weights of {encoder} were not fetched before, and {constants.ENDPOINT} cannot be "
                f"reached ({unreachable}): try again with a network, {mend}"
            ) from error
        raise InputError(
            f"init: imagenet: the weights of {encoder} cannot be fetched ({_first_line(error.__cause__)}): {mend}"
        ) from error


def _has_weights(encoder: str) -> bool:
    import segmentation_models_pytorch as smp
    import timm

    if encoder in smp.encoders.encoders:
        return "imagenet" in smp.encoders.encoders[encoder]["pretrained_settings"]
    known = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
    return known is not None and bool(known.has_weights)


def _unreachable(endpoint: str) -> str:
    """Why the hub cannot be reached; nothing where it can."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=10)
    except Exception as error:  # noqa: BLE001 - of whichever library the hub's own one uses
        return _first_line(error)
    return ""


def _first_line(error: BaseException | None) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0])


def _fill(network: nn.Module, path: Path) -> str:
    """Put the tensors of a file where names and shapes fit: the whole network, or its encoder."""
    tensors = read_weights(path, sha256=check_weights(path))
    expected = network.state_dict()
    whole = {name: t for name, t in tensors.items() if name in expected and expected[name].shape == t.shape}
    # timm's own files name what smp calls encoder.model.conv1.weight conv1.weight
    for prefix in ("encoder.", "encoder.model."):
        named = {prefix + name: tensor for name, tensor in tensors.items()}
        fitting = {n: _fitted(t, expected[n]) for n, t in named.items() if n in expected}
        some = {n: t for n, t in fitting.items() if t is not None}
        whole = some if len(some) > len(whole) else whole
    encoder = [name for name in expected if name.startswith("encoder.")]
    asked, what = (encoder, "encoder") if encoder else (list(expected), "network")
    share = sum(name in whole for name in asked) / max(1, len(asked))
    if share < _LEAST:
        raise ModelError(
            f"{printable(path)} does not fit: {share:.0%} of the {what}'s {len(asked)} tensors have the name and "
            "the shape of one in the file; name the encoder it was made for"
        )
    network.load_state_dict({**expected, **whole})
    return f"{len(whole)} of {len(expected)} tensors from {path.name}"


def _fitted(tensor: Tensor, wanted: Tensor) -> Tensor | None:
    """The tensor in the wanted shape; a first layer made for other bands has their mean for each band."""
    if tensor.shape == wanted.shape:
        return tensor
    if tensor.ndim == wanted.ndim == 4 and tensor.shape[0] == wanted.shape[0] and tensor.shape[2:] == wanted.shape[2:]:
        bands = wanted.shape[1]
        return tensor.mean(dim=1, keepdim=True).expand(wanted.shape) * (tensor.shape[1] / bands)
    return None


def output_stride(network: nn.Module) -> int:
    """Pixels of the network's deepest grid: windows are multiples of it."""
    own = getattr(network, "output_stride", None)
    return int(own if own is not None else getattr(getattr(network, "encoder", None), "output_stride", 32))
