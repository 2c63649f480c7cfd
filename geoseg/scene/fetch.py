"""Metadata from a file or a URL, and where metadata may lead: not everywhere the user can read."""

import http.client
import ipaddress
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from geoseg.errors import SceneError, printable
from geoseg.scene.allowed import is_allowed
from geoseg.scene.guard import is_remote, without_query

__all__ = ["fetch", "refuse_elsewhere"]

_MAX_BYTES = 64 << 20
_TRIES = 3
_SECONDS = 30
_AGAIN = {429, 500, 502, 503, 504}
"""Answers of a server that may be others the next time."""


def fetch(href: str) -> bytes:
    """The bytes of a file or URL that holds metadata: at most 64 MiB, tried three times, 30 s each.

    Raises:
        SceneError: If it is not there, too long, does not answer, or is in an object store.
    """
    shown = printable(without_query(href))
    if href.startswith(("http://", "https://")):
        return _download(href, shown)
    if is_remote(href):
        raise SceneError(f"{shown}: metadata are read over http and https only; download the file, or name its URL")
    path = Path(href)
    try:
        if not path.is_file():
            raise SceneError(f"{shown}: no such file; check the path")
        if path.stat().st_size > _MAX_BYTES:
            raise SceneError(f"{shown}: more than {_MAX_BYTES >> 20} MiB of metadata; split it into smaller files")
        return path.read_bytes()
    except OSError as error:
        raise SceneError(f"{shown}: cannot be read: {error.strerror or error}; check the path") from error


def _download(url: str, shown: str) -> bytes:
    reason = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(0.5 * 2**attempt)
        try:
            with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - http or https
                content: bytes = answer.read(_MAX_BYTES + 1)
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the server answered {error.code}"
            if error.code not in _AGAIN:
                break
        except (OSError, http.client.HTTPException) as error:
            reason = printable(getattr(error, "reason", error))
        else:
            if len(content) > _MAX_BYTES:
                raise SceneError(f"{shown}: more than {_MAX_BYTES >> 20} MiB of metadata; name a smaller selection")
            return content
    raise SceneError(f"{shown}: cannot be read: {reason}; check the URL, or try again later")


def refuse_elsewhere(href: str, named: str, shown: str) -> None:
    """Refuse what metadata lead to where their author may not lead: files outside their own folder, the own network.

    What a user names is the user's choice; what a downloaded file names is not. From a local file, local sources must
    lie in its folder or below; from a URL none may be local. Hosts of this machine or of a private network are
    followed from that same host only. Where the user allowed it (`geoseg.scene.allowed`), all of these are.

    Args:
        href: What the metadata name, absolute.
        named: The metadata: a path or URL that the user gave.
        shown: How messages call them.

    Raises:
        SceneError: If it is not followed.
    """
    target = printable(without_query(href))
    if is_allowed(href) and not href.startswith("/vsi"):
        return
    if not is_remote(href) or href.startswith("/vsi"):
        path = Path(href.removeprefix("file://"))
        if href.startswith("/vsi") or (":" in href and not href.startswith("file://") and not path.is_absolute()):
            raise SceneError(f"{shown}: names {target}, which is neither a file nor a URL; it is not followed")
        if is_remote(named) or not path.resolve().is_relative_to(Path(named).resolve().parent):
            raise SceneError(
                f"{shown}: names {target}, outside its own folder, so it is not followed; move the item to a folder "
                "that holds its files, name these, or pass --allow-outside with their folder if you know its author"
            )
        return
    host, own = urlsplit(href).hostname, urlsplit(named).hostname if is_remote(named) else None
    if href.startswith(("http://", "https://")) and host != own and _is_private(host or ""):
        raise SceneError(
            f"{shown}: names {target}, on this machine or a private network, so it is not followed; name the item by "
            "its URL there, or the rasters themselves, or pass --allow-outside with that URL if you know its author"
        )


def _is_private(host: str) -> bool:
    """Whether a host is this machine or in a private network, by its name or address."""
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return host == "localhost"  # GDAL will not find it either
    return any(not ipaddress.ip_address(a.partition("%")[0]).is_global for a in addresses)
