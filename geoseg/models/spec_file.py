"""A settings file of plain YAML -> a validated value, with messages that name file, line and key."""

import json
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from geoseg.errors import InputError, printable
from geoseg.models.plain_yaml import Lines

__all__ = ["Key", "validated", "where"]

Key = tuple[str | int, ...]
"""Where a value is, by keys and places in lists."""

S = TypeVar("S", bound=BaseModel)


def validated(
    spec: type[S], content: Mapping[str, Any], *, path: Path, lines: Lines, what: str, options: Collection[Key] = ()
) -> S:
    """The content of a file as a value of its format.

    Args:
        spec: The format.
        content: What the file says.
        path: The file, for messages.
        lines: Where it says it.
        what: It is, for messages: ``pipeline``.
        options: Keys whose values the command line gave, whatever the file says.

    Raises:
        InputError: If it breaks a rule; all broken rules are named, with line and key.
    """
    try:
        # by way of JSON: there a list may become a tuple though nothing else may become anything
        return spec.model_validate_json(json.dumps(content, allow_nan=False))
    except ValidationError as error:
        problems = [_problem(spec, path, dict(each), lines, options) for each in error.errors(include_url=False)]
        raise InputError("\n".join(problems)) from error
    except ValueError as error:  # NaN
        raise InputError(f"{printable(path)}: .nan and .inf are no values of a {what}: write a number") from error


def where(path: Path, key: Key, lines: Lines) -> str:
    """File, line and key, for a message."""
    found = key
    while found not in lines and found:
        found = found[:-1]
    return f"{printable(path)}, line {lines.get(found, 1)}{_named(key)}"


def _named(key: Key) -> str:
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")
    return f": {printable(shown)}" if shown else ""


def _problem(spec: type[BaseModel], path: Path, error: dict[str, Any], lines: Lines, options: Collection[Key]) -> str:
    """One broken rule as ``file, line N: key: what is wrong``, or without file and line where there is none."""
    key = tuple(error["loc"])
    in_file = bool(lines) and not any(key[:n] in options for n in range(1, len(key) + 1))
    place = where(path, key, lines) if in_file else f"the options{_named(key)}"
    if error["type"] == "extra_forbidden":
        known = list(_part_at(spec, key[:-1]).model_fields)
        close = get_close_matches(str(key[-1]), known, n=1)
        guess = f"did you mean {close[0]}? " if close else ""
        return f"{place}: unknown key; {guess}known keys: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{place}: missing; add it"
    message = str(error["msg"]).removeprefix("Value error, ")
    given = error["input"]
    if isinstance(given, str | int | float) and not (isinstance(given, str) and "://" in given):
        return f"{place}: {message} (got {printable(repr(given))})"
    return f"{place}: {message}"


def _part_at(spec: type[BaseModel], key: Key) -> type[BaseModel]:
    """The part of the format that a key leads to."""
    part = spec
    for name in key:
        if isinstance(name, int):
            continue
        part = next(_models_in(part.model_fields[name].annotation))
    return part


def _models_in(annotation: Any) -> Any:
    """The formats in a type such as ``tuple[Part, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
