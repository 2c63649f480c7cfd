"""ENVI rasters: plain bytes in a file of nearly any name, and what they mean in a text file beside it."""

from pathlib import Path
from typing import Final

__all__ = ["SUFFIXES", "header_of"]

SUFFIXES: Final = (".img", ".dat", ".bsq", ".bil", ".bip")
"""Of files that are ENVI rasters where a header of ENVI lies beside them."""
_HFA: Final = b"EHFA_HEADER_TAG"  # .img is Erdas Imagine's suffix, too


def header_of(href: str) -> Path | None:
    """The header of an ENVI raster, ``scene.hdr`` or ``scene.img.hdr`` beside ``scene.img``; None where it is none.

    Other programs call their headers so, too: one of ENVI begins with that word.
    """
    path = Path(href)
    if path.suffix.lower() not in SUFFIXES:
        return None
    try:
        if not path.is_file() or _begins(path, _HFA):
            return None
        beside = (path.with_suffix(".hdr"), path.with_suffix(".HDR"), Path(f"{href}.hdr"))
        return next((h for h in beside if h.is_file() and _begins(h, b"ENVI")), None)
    except (OSError, ValueError):  # whoever opens it says what is wrong
        return None


def _begins(path: Path, with_what: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(with_what)) == with_what
