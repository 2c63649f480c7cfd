"""Which layers of a network make its output depend on the whole window."""

import re

from torch import nn

__all__ = ["window_dependent_layers"]

_LAYERS = (
    nn.GroupNorm,
    nn.modules.pooling._AdaptiveAvgPoolNd,  # noqa: SLF001 - the base in all dimensions
    nn.modules.pooling._AdaptiveMaxPoolNd,  # noqa: SLF001
    nn.MultiheadAttention,
)
# Squeeze-and-excite and its kin average inside forward, with layers of their own in each library.
_NAMES = re.compile(
    r"\w*(Squeeze|SEModule|SEBlock|SELayer|EcaModule|GlobalContext|GatherExcite|GlobalResponseNorm|SplitAttn"
    r"|SelectiveKernel|SelectAdaptivePool)\w*"
)
_ATTENTION = re.compile(r"\w*Attention\w*")
# smp wraps every decoder block in a class of this name, also where it does nothing
_HARMLESS = "segmentation_models_pytorch.base"


def window_dependent_layers(network: nn.Module) -> tuple[str, ...]:
    """Layers whose statistics span the whole window, so that no overlap heals seams fully; larger windows help.

    These are instance and group norms, batch norms without running statistics, global pooling, squeeze-and-excite and
    attention. What a ``forward`` averages without a layer of its own is not seen.

    Source: Buglakova et al. (2025), arXiv 2503.19545, on normalisation with statistics of the tile.

    Returns:
        ``name (kind)`` of each, in the network's order; empty if there are none.

    Example:
        >>> window_dependent_layers(nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8)))
        ('1 (GroupNorm)',)
    """
    return tuple(
        f"{name or 'network'} ({type(module).__name__})"
        for name, module in network.named_modules()
        if _spans_the_window(module)
    )


def _spans_the_window(module: nn.Module) -> bool:
    if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.instancenorm._InstanceNorm):  # noqa: SLF001
        # with running statistics, in eval mode, both are fixed scalings
        return module.running_mean is None
    if isinstance(module, _LAYERS):
        return True
    kind = type(module)
    if _NAMES.fullmatch(kind.__name__) or hasattr(module, "_se_reduce"):  # smp's EfficientNet has no class for it
        return True
    return _ATTENTION.fullmatch(kind.__name__) is not None and not kind.__module__.startswith(_HARMLESS)
