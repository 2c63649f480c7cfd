"""Durations as people write them."""

import re
from datetime import timedelta

from geoseg.errors import ParameterError, printable

__all__ = ["DURATION", "parse_duration", "said"]

DURATION = r"^[0-9]{1,6}(\.[0-9]{1,3})? ?(s|min|h|d)$"
"""A number and its unit."""
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> timedelta:
    """A duration from text such as ``90min``, ``6h`` or ``30d``.

    Raises:
        ParameterError: If that is not a number with one of the units s, min, h, d.

    Example:
        >>> parse_duration("90min")
        datetime.timedelta(seconds=5400)
    """
    if not re.fullmatch(DURATION, text):
        raise ParameterError(
            f"{printable(text)!r} is not a duration: give a number and its unit, one of s, min, h, d, such as 90min"
        )
    number = text.rstrip("sminhd ")
    return timedelta(seconds=float(number) * _SECONDS[text[len(number) :].strip()])


def said(seconds: float) -> str:
    """A duration as people read it, to two figures or so.

    Example:
        >>> said(0.42), said(5400), said(200_000)
        ('0.4 s', '1 h 30 min', '2 d 7 h')
    """
    whole = round(seconds)
    for large, small, size, part in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s" if seconds >= 10 else f"{round(seconds, 1):g} s"
