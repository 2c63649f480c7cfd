"""Networks of one's own: by the entry point of an installed package, or as ``module:Class`` where the user trusts it.

Either is called with ``in_channels`` and ``classes``, with ``encoder`` where a card names one, and with the card's
options, and gives a module from (N, C, H, W) to logits (N, K, H, W). An attribute ``output_stride`` says of which
number of pixels its windows are multiples; 32 where it has none.

Which packages are installed is the user's own choice, so an entry point of the group ``geoseg.architectures`` may be
loaded. What a card writes as ``module:Class`` is an import that a stranger chose: kind ``module`` needs trust.
"""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from torch import nn

from geoseg.errors import ModelError, printable
from geoseg.models.card import Architecture

__all__ = ["GROUP", "build_own", "installed", "is_module"]

GROUP = "geoseg.architectures"
"""Group of the entry points that add architectures."""


def is_module(name: str) -> bool:
    """Whether the name of an architecture is a ``module:Class`` to import."""
    return ":" in name


@lru_cache(maxsize=1)
def installed() -> dict[str, EntryPoint]:
    """Architectures of installed packages by name; not loaded before they are asked for."""
    return {point.name: point for point in entry_points(group=GROUP)}


def build_own(architecture: Architecture, *, in_channels: int, n_classes: int, source: str) -> nn.Module:
    """The network of an entry point or of a ``module:Class``. Runs its code: who calls has asked for trust.

    Raises:
        ModelError: If it cannot be imported or built, or is no network.
    """
    name = architecture.name
    given = {} if architecture.encoder is None else {"encoder": architecture.encoder}
    options = {key: list(v) if isinstance(v, tuple) else v for key, v in architecture.options.items()}
    try:
        made = _found(name)(in_channels=in_channels, classes=n_classes, **given, **options)
    except Exception as error:  # whatever somebody's code does
        raise ModelError(
            f"{printable(source)}: cannot build the architecture {printable(name)} "
            f"({type(error).__name__}: {printable(error)}); it is imported from what is installed or in "
            "PYTHONPATH, and called with in_channels, classes and the options"
        ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"{printable(source)}: the architecture {printable(name)} gave a {type(made).__name__}: it should give a "
            "torch.nn.Module"
        )
    return made


def _found(name: str) -> Callable[..., Any]:
    if is_module(name):
        module, _, attribute = name.partition(":")
        found: Any = getattr(import_module(module), attribute)
    else:
        found = installed()[name].load()
    if not callable(found):
        raise TypeError(f"{name} is a {type(found).__name__}, which cannot be called")
    made: Callable[..., Any] = found
    return made
