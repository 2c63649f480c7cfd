"""YAML without its traps: plain keys, values and lists, and nothing else."""

import re
import stat
from pathlib import Path
from typing import Any

import yaml

from geoseg.errors import GeosegError, printable

__all__ = ["MAX_BYTES", "Lines", "PlainYamlError", "parse_plain_yaml", "read_plain_yaml", "read_plain_yaml_with_lines"]

MAX_BYTES = 1 << 20
"""Largest file that is read; what people write is a few kilobytes."""

Lines = dict[tuple[str | int, ...], int]
"""From the path of a value, by keys and places in lists, to the line where it is written, counted from 1."""

_MAX_DEPTH = 20

# Words that YAML 1.1 takes for something else than they look like.
_TRAPS = (
    (re.compile(r"(?i:yes|no|on|off)"), "true or false"),
    (re.compile(r"[-+]?0[0-9_]+"), "an octal number"),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), "a number in base 60"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*"), "a date"),
)


class PlainYamlError(GeosegError, ValueError):
    """A file is not plain YAML; the message lacks the file's name, which the caller knows."""


def read_plain_yaml(path: Path) -> Any:
    """What a YAML file says, as plain values.

    Aliases are refused because a few hundred bytes of them unfold to gigabytes, tags because they name types, merge
    keys and repeated keys because what they mean is easily misread.

    Raises:
        PlainYamlError: Saying what is wrong, in which line.
    """
    return read_plain_yaml_with_lines(path)[0]


def read_plain_yaml_with_lines(path: Path) -> tuple[Any, Lines]:
    """What `read_plain_yaml` gives, and where in the file it is written, for messages that name the line.

    Raises:
        PlainYamlError: Saying what is wrong, in which line.
    """
    return parse_plain_yaml(_content(path))


def parse_plain_yaml(content: bytes) -> tuple[Any, Lines]:
    """What `read_plain_yaml_with_lines` gives, for YAML that is no file of its own.

    Raises:
        PlainYamlError: Saying what is wrong, in which line.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PlainYamlError(f"byte {error.start} is not UTF-8 text") from error
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return None, {}
        _check_keys(node)
        lines: Lines = {(): node.start_mark.line + 1}
        _note_lines(node, (), lines)
        return yaml.safe_load(text), lines
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise PlainYamlError(f"{line}{printable(error.problem or error.context or 'not YAML')}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        if isinstance(error, PlainYamlError):
            raise
        raise PlainYamlError(f"not YAML: {printable(str(error).splitlines()[0])}") from error


def _content(path: Path) -> bytes:
    try:
        info = path.stat()
        # before opening: a named pipe would hang for ever
        if not stat.S_ISREG(info.st_mode):
            raise PlainYamlError("it is not a regular file")
        if info.st_size > MAX_BYTES:
            raise PlainYamlError(f"it has {info.st_size} bytes, more than the {MAX_BYTES} such a file may have")
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise PlainYamlError(error.strerror or "it cannot be opened") from error


def _check_events(text: str) -> None:
    """Refuse what plain YAML does not need, before anything is built from it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = f"line {event.start_mark.line + 1}" if event.start_mark else "somewhere"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise PlainYamlError(f"{line}: anchors (&) and aliases (*) are not read: write the value out")
        if getattr(event, "tag", None) is not None:
            raise PlainYamlError(f"{line}: tags (!) are not read: write plain values")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and event.style is None:
            _check_word(event.value, line)
        if depth > _MAX_DEPTH:
            raise PlainYamlError(f"{line}: nested more than {_MAX_DEPTH} deep")


def _check_word(word: str, line: str) -> None:
    for trap, reading in _TRAPS:
        if trap.fullmatch(word):
            raise PlainYamlError(
                f"{line}: YAML reads {printable(word)} as {reading}: "
                "put text in quotes, write true or false, and numbers without leading zeros"
            )


def _note_lines(node: yaml.Node, where: tuple[str | int, ...], lines: Lines) -> None:
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[*where, i] = item.start_mark.line + 1
            _note_lines(item, (*where, i), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            # where the key is: what is wrong with a value is looked for beside it
            lines[*where, key.value] = key.start_mark.line + 1
            _note_lines(value, (*where, key.value), lines)


def _check_keys(node: yaml.Node) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item)
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        line = f"line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            raise PlainYamlError(f"{line}: a key is not a word: put it in quotes")
        if key.value in seen:
            raise PlainYamlError(f"{line}: key {printable(key.value)} is given twice")
        seen.add(key.value)
        _check_keys(value)
