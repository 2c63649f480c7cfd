"""How a command talks: how much, in which form, and how its errors are said."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

__all__ = ["Manner", "goes_on", "talk_options"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Manner:
    """How errors are said that end a command: known only once its options are parsed."""

    json: bool = False
    """As a line of JSON."""
    traceback: bool = False
    """With where in the code it happened."""
    goes_on: bool = False
    """Whether the same command goes on where it was ended."""


def goes_on() -> None:
    """Note that the command that runs goes on where it was when it is given again after its end."""
    manner = click.get_current_context().find_object(Manner)
    if manner is not None:
        manner.goes_on = True


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    manner = ctx.find_object(Manner)
    if manner is not None and param.name == "log_format":
        manner.json = value == "json"
    elif manner is not None:
        manner.traceback = value >= 2
    return value


def talk_options(command: F) -> F:
    """How much is said, and in which form."""
    for option in (
        click.option("--log-format", type=click.Choice(["auto", "plain", "json"]), default="auto", callback=_remember,
                     help="auto is a progress bar on a terminal, plain lines elsewhere."),
        click.option("-q", "--quiet", is_flag=True, help="Say errors only."),
        click.option("-v", "--verbose", count=True, callback=_remember, help="Say more; -vv also shows tracebacks."),
    ):  # fmt: skip
        command = option(command)
    return command
