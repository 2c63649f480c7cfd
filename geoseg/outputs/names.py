"""Names of files from names of strangers: scene ids, class names, STAC ids."""

import re
import unicodedata

__all__ = ["safe_name"]

_LONGEST = 100  # bytes: leaves room for suffixes and the hidden name in the 255 of common file systems
_RESERVED = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE | re.DOTALL
)
_FORBIDDEN = frozenset('/\\<>:"|?*;')  # separators, what Windows and its shares refuse, and what GDAL's SQLite does
# marks that turn the direction of text: "photo\u202egnp.exe" is shown as another name
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def safe_name(text: str) -> str:
    r"""A file name (no folder, no suffix yet) that is the same on every system and stays in its folder.

    NFC; separators, control characters, lone surrogates, direction marks and what Windows refuses become ``_``; no
    dot, dash or space at the start, no dot or space at the end; at most 100 bytes of UTF-8; Windows' device names get
    a ``_`` in front. Accents, CJK, spaces and plus stay. Two texts can give one name: the caller resolves clashes.

    Returns:
        The name; applying the function again changes nothing.

    Example:
        >>> safe_name("../../etc/passwd"), safe_name("Zürich 2023+.v1"), safe_name("nul.tif")
        ('_.._etc_passwd', 'Zürich 2023+.v1', '_nul.tif')
    """
    clean = "".join("_" if _is_unsafe(c) else c for c in unicodedata.normalize("NFC", text))
    clean = unicodedata.normalize("NFC", clean.lstrip(".- "))
    if _RESERVED.fullmatch(clean.rstrip(". ")):
        clean = f"_{clean}"
    clean = clean.encode("utf-8")[:_LONGEST].decode("utf-8", "ignore").rstrip(". ")
    return clean or "unnamed"


def _is_unsafe(char: str) -> bool:
    return char in _FORBIDDEN or char in _BIDI or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}
