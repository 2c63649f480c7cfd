"""Options of losses as a file of settings writes them: of the right kind, before anything is computed with them."""

import math
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, get_args, get_type_hints

from geoseg.errors import ParameterError, printable

__all__ = ["check_options"]


def check_options(name: str, options: Mapping[str, Any], build: Callable[..., Any], *, n_classes: int | None) -> None:
    """See that the options of a loss have values of the kinds that it takes.

    Args:
        name: Of the loss, for messages.
        options: By name, all of them known.
        build: What takes them; its annotations say the kinds.
        n_classes: How many there are, which bounds the indices of classes; None where that is not known yet.

    Raises:
        ParameterError: If a value is of another kind, or an index is that of no class.
    """
    kinds = get_type_hints(build)
    for option, value in options.items():
        kind = kinds[option]
        wanted = _wanted(value, kind)
        if wanted is not None:
            raise ParameterError(f"{option} {printable(repr(value))} of the loss {name} is no value: write {wanted}")
        if _is_list(kind) and value is not None and n_classes is not None and max(value) >= n_classes:
            raise ParameterError(
                f"{option} {list(value)} of the loss {name} names the class {max(value)}, and the indices of the "
                f"{n_classes} classes go from 0 to {n_classes - 1}, in their order in the legend"
            )


def _is_list(kind: Any) -> bool:
    return any(get_args(each) == (int,) for each in (kind, *get_args(kind)))


def _wanted(value: Any, kind: Any) -> str | None:
    """What should have been written; None where the value is of that kind."""
    optional = NoneType in get_args(kind)
    if value is None and optional:
        return None
    if _is_list(kind):
        whole = isinstance(value, list | tuple) and all(type(v) is int and v >= 0 for v in value)
        return None if whole and value else "a list of indices of classes, counted from 0, such as [1, 2]"
    if kind is bool:
        return None if isinstance(value, bool) else "true or false"
    if kind is int:
        return None if type(value) is int else "a whole number"
    return None if type(value) in (int, float) and math.isfinite(value) else "a number"
