"""Where files may lead beyond their own folder: nowhere, but where the user allowed it.

What is allowed is in the environment, as GDAL's settings are: worker processes have it from the one that starts them,
and those of a cluster are given it where they are started.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from geoseg.errors import ParameterError, printable

__all__ = ["ENVIRONMENT", "allow_outside", "is_allowed"]

ENVIRONMENT: Final = "GEOSEG_ALLOW_OUTSIDE"
"""Folders and URLs, separated by semicolons."""


def allow_outside(places: Iterable[str]) -> None:
    """Let files of this process, and of those that it starts, lead to some places besides.

    Args:
        places: Folders, and URLs of folders such as ``https://example.org/data``.

    Raises:
        ParameterError: If one is neither a folder that is there nor a URL with a host.
    """
    known = []
    for place in places:
        if not _is_url(place):
            if not Path(place).is_dir():
                raise ParameterError(f"{printable(place)}: neither a folder nor a URL, so nothing there can be allowed")
            known.append(str(Path(place).resolve()))
        elif urlsplit(place).hostname:
            known.append(place)
        else:
            raise ParameterError(f"{printable(place)}: a URL without a host; write such as https://example.org/data")
        if ";" in known[-1]:
            raise ParameterError(f"{printable(place)}: has a semicolon in its name; allow what it lies in")
    if known:
        os.environ[ENVIRONMENT] = ";".join([*filter(None, [os.environ.get(ENVIRONMENT)]), *known])


def is_allowed(target: str) -> bool:
    """Whether the user allowed files to lead there.

    Args:
        target: A path, or a URL, with GDAL's ``/vsicurl/`` before it or not.
    """
    target = target.removeprefix("/vsicurl/").removeprefix("file://")
    places = [place for place in os.environ.get(ENVIRONMENT, "").split(";") if place]
    if not _is_url(target):
        path = Path(target).resolve()
        return any(path.is_relative_to(Path(place).resolve()) for place in places if not _is_url(place))
    return any(_is_below(target, place) for place in places if _is_url(place))


def _is_url(place: str) -> bool:
    return "://" in place


def _is_below(url: str, place: str) -> bool:
    """Whether a URL is of the same server and below the same path; what climbs is not."""
    try:
        there, here = urlsplit(url), urlsplit(place)
        same = (there.scheme, there.hostname, there.port) == (here.scheme, here.hostname, here.port)
    except ValueError:
        return False
    climbs = any(part.lower().replace("%2e", ".") == ".." for part in there.path.replace("\\", "/").split("/"))
    return same and there.username is None and not climbs and f"{there.path}/".startswith(f"{here.path.rstrip('/')}/")
