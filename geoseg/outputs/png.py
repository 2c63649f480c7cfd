"""Small pictures as PNG in memory, for pages that hold their pictures themselves."""

import struct
import zlib
from base64 import b64encode

import numpy as np
from numpy.typing import NDArray

__all__ = ["data_uri", "png_bytes"]


def png_bytes(rgb: NDArray[np.uint8]) -> bytes:
    """A picture (rows, cols, 3) as the bytes of a PNG file, 8 bits a channel (ISO/IEC 15948)."""
    height, width, _ = rgb.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rgb.reshape(height, width * 3)], axis=1)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def data_uri(rgb: NDArray[np.uint8]) -> str:
    """The picture as the source of an ``img``, which needs no file beside the page."""
    return f"data:image/png;base64,{b64encode(png_bytes(rgb)).decode('ascii')}"
