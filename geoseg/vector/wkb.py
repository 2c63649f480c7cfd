"""Polygons as well-known binary in Arrow arrays, written and read without one Python object per polygon.

Layout (OGC 06-103r4, section 8): a byte for the byte order, the type and counts as uint32, coordinates as float64.
Coordinates are copied as they lie in memory, which is little-endian on every machine that is meant.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ParameterError
from geoseg.kernels import njit

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["mix", "multipolygons_wkb", "polygons_wkb", "wkb_bounds", "wkb_counts", "wkb_hashes", "wkb_scan"]

_POLYGON, _MULTIPOLYGON = np.uint32(3), np.uint32(6)
_HEADER: Final = 9  # byte order, type, and the count of rings or parts
LARGEST_BATCH: Final = 2**31 - 1
"""Bytes that 32-bit Arrow offsets can count."""

_TRUNCATED, _ORDER, _TYPE, _NOTHING = 1, 2, 3, 4
_REASONS: Final = {
    _TRUNCATED: "is cut off or has bytes left over",
    _ORDER: "is not little-endian",
    _TYPE: "is neither a polygon nor a multipolygon",
    _NOTHING: "is missing",
}


def polygons_wkb(
    xy: NDArray[np.float64], ring_offsets: NDArray[np.int64], polygon_offsets: NDArray[np.int64]
) -> "pa.BinaryArray":
    """Polygons as ISO WKB, little-endian; the layout of `shapely.from_ragged_array`.

    Args:
        xy: (n vertices, 2) coordinates; a ring's last vertex is its first again.
        ring_offsets: (n rings + 1,) first vertex of each ring.
        polygon_offsets: (n polygons + 1,) first ring of each polygon.

    Raises:
        ParameterError: If they take more than 2 GiB, which one Arrow array cannot hold.

    Example:
        >>> square = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)])
        >>> polygons_wkb(square, np.array([0, 4]), np.array([0, 1]))[0].as_py()[:9].hex()
        '010300000001000000'
    """
    return _wkb(xy, ring_offsets, polygon_offsets, None)


def multipolygons_wkb(
    xy: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    part_offsets: NDArray[np.int64],
    polygon_offsets: NDArray[np.int64],
) -> "pa.BinaryArray":
    """Multipolygons as ISO WKB, little-endian; the layout of `shapely.from_ragged_array`.

    Args:
        xy: (n vertices, 2) coordinates; a ring's last vertex is its first again.
        ring_offsets: (n rings + 1,) first vertex of each ring.
        part_offsets: (n parts + 1,) first ring of each part.
        polygon_offsets: (n multipolygons + 1,) first part of each multipolygon.

    Raises:
        ParameterError: If they take more than 2 GiB, which one Arrow array cannot hold.
    """
    return _wkb(xy, ring_offsets, part_offsets, polygon_offsets)


def _wkb(
    xy: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    part_offsets: NDArray[np.int64],
    multi_offsets: NDArray[np.int64] | None,
) -> "pa.BinaryArray":
    """Parts as polygons, or gathered into multipolygons where there are offsets for them."""
    import pyarrow as pa

    rings, parts = (np.ascontiguousarray(o, dtype=np.int64) for o in (ring_offsets, part_offsets))
    multi = np.zeros(0, dtype=np.int64)
    if multi_offsets is not None:
        multi = np.asarray(multi_offsets, dtype=np.int64)
        parts, multi = parts[multi[0] : multi[-1] + 1], multi - multi[0]
    # where each part would begin if parts lay one behind the other; then each feature's own header comes in between
    at = _HEADER * np.arange(len(parts)) + 4 * parts + 16 * rings[parts]
    features = at
    if multi_offsets is not None:
        features = at[multi] + _HEADER * np.arange(len(multi))
        at[:-1] += _HEADER * np.repeat(np.arange(1, len(multi)), np.diff(multi))
    size = int(features[-1] - features[0])
    if size > LARGEST_BATCH:
        raise ParameterError(
            f"{len(features) - 1} polygons take {size / 2**30:.1f} GiB, one Arrow array holds 2: cut them into batches"
        )
    values = np.empty(size, dtype=np.uint8)
    coordinates = np.ascontiguousarray(xy, dtype=np.float64).ravel()
    _write(
        coordinates, rings, parts, multi, at - features[0], features - features[0], values, _numbers(values, np.float64)
    )
    offsets = (features - features[0]).astype(np.int32)
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(features) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    )


@njit(nogil=True, cache=True)
def _put_header(values: NDArray[np.uint8], at: int, kind: np.uint32, count: int) -> int:
    """Byte order, type and count; returns where the next byte goes."""
    values[at] = 1
    values[at + 1] = kind
    for k in range(2, 5):
        values[at + k] = 0
    for k in range(4):
        values[at + 5 + k] = (count >> (8 * k)) & 255
    return at + 9


@njit(nogil=True, cache=True)
def _write(
    coordinates: NDArray[np.float64],
    rings: NDArray[np.int64],
    parts: NDArray[np.int64],
    multi: NDArray[np.int64],
    part_at: NDArray[np.int64],
    feature_at: NDArray[np.int64],
    values: NDArray[np.uint8],
    numbers: NDArray[np.float64],
) -> None:
    for feature in range(len(multi) - 1):
        _put_header(values, feature_at[feature], _MULTIPOLYGON, multi[feature + 1] - multi[feature])
    for part in range(len(parts) - 1):
        at = _put_header(values, part_at[part], _POLYGON, parts[part + 1] - parts[part])
        for ring in range(parts[part], parts[part + 1]):
            count = rings[ring + 1] - rings[ring]
            for k in range(4):
                values[at + k] = (count >> (8 * k)) & 255
            at += 4
            # eight bytes at a time, wherever they lie: a fifth of the time of single bytes, or less
            byte, word, first = at & 7, at >> 3, 2 * rings[ring]
            for k in range(2 * count):
                numbers[byte, word + k] = coordinates[first + k]
            at += 16 * count


def wkb_bounds(array: "pa.Array") -> NDArray[np.float64]:
    """Bounds (left, bottom, right, top) of each polygon, (n, 4); NaN where it is empty.

    Raises:
        ParameterError: As for :func:`wkb_scan`.
    """
    return wkb_scan(array)[0]


def wkb_hashes(array: "pa.Array") -> NDArray[np.uint64]:
    """One number per polygon from its edges to the last bit.

    Alike for any direction, order and first vertex of its rings, and for a multipolygon of one part and that part:
    formats turn rings round, list them in another order and promote. A hole counts otherwise than a shell; minus zero
    is zero; of coordinates with z or m, x and y count.

    Raises:
        ParameterError: As for :func:`wkb_scan`.
    """
    return wkb_scan(array)[1]


def wkb_counts(array: "pa.Array") -> NDArray[np.int64]:
    """Parts, rings and vertices of each polygon, (n, 3); a closed ring's last vertex is counted.

    Raises:
        ParameterError: As for :func:`wkb_scan`.
    """
    return wkb_scan(array)[2]


def wkb_scan(array: "pa.Array") -> tuple[NDArray[np.float64], NDArray[np.uint64], NDArray[np.int64]]:
    """Bounds, hashes and counts of polygons in one pass.

    Args:
        array: Little-endian WKB of polygons and multipolygons, ISO or extended (with z, m or a CRS number); of binary
            or large binary values.

    Returns:
        What :func:`wkb_bounds`, :func:`wkb_hashes` and :func:`wkb_counts` return.

    Raises:
        ParameterError: If a geometry is missing, damaged, big-endian or no polygon, with its number.
    """
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if array.type not in (pa.binary(), pa.large_binary()):
        raise ParameterError(f"geometries of type {array.type} are no WKB: give binary values")
    n = len(array)
    bounds = np.full((n, 4), np.nan)
    hashes, counts = np.zeros(n, dtype=np.uint64), np.zeros((n, 3), dtype=np.int64)
    if n:
        offsets, data = offsets_and_bytes(array)
        reason, index = _scan(
            data, _numbers(data, np.uint64), _numbers(data, np.float64), offsets, bounds, hashes, counts
        )
        if reason:
            raise ParameterError(f"geometry {index} of {n} {_REASONS[reason]}")
    return bounds, hashes, counts


def _numbers(data: NDArray[np.uint8], dtype: type[Any]) -> NDArray[Any]:
    """(8, n) numbers of eight bytes from any byte on: the one from ``p`` on is at ``[p & 7, p >> 3]``."""
    whole = np.lib.stride_tricks.as_strided(
        data[:0].view(dtype), (8, len(data) // 8), (1, 8), writeable=data.flags.writeable
    )
    return np.asarray(whole)


def offsets_and_bytes(array: "pa.Array") -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Where each value of a binary or text array begins, (n + 1,), and the bytes; a missing value is an empty one."""
    import pyarrow as pa

    wide = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
    _, offsets_buffer, values = array.buffers()
    stored: NDArray[Any] = np.frombuffer(offsets_buffer, dtype=np.int64 if wide else np.int32)
    offsets = stored[array.offset : array.offset + len(array) + 1].astype(np.int64)
    data = np.frombuffer(values if values is not None else b"", dtype=np.uint8)
    data.flags.writeable = False  # as some buffers are: kernels are compiled once, for both
    return offsets, data


_NONE, _SHELL, _HOLE = np.uint64(0), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x9E3779B97F4A7C15)
_OF_X: Final = np.uint64(0xD6E8FEB86659FD93)
_SHIFTS: Final = np.uint64(30), np.uint64(27), np.uint64(31)
_FACTORS: Final = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@njit(nogil=True, cache=True)
def mix(value: Any) -> Any:
    """The finalizer of splitmix64 (Steele, Lea and Flood 2014): each bit of the input moves half of the output's."""
    mixed = (value ^ (value >> _SHIFTS[0])) * _FACTORS[0]
    mixed = (mixed ^ (mixed >> _SHIFTS[1])) * _FACTORS[1]
    return mixed ^ (mixed >> _SHIFTS[2])


@njit(nogil=True, cache=True)
def _uint32(data: NDArray[np.uint8], at: int) -> Any:
    return (
        np.uint32(data[at])
        | (np.uint32(data[at + 1]) << np.uint32(8))
        | (np.uint32(data[at + 2]) << np.uint32(16))
        | (np.uint32(data[at + 3]) << np.uint32(24))
    )


@njit(nogil=True, cache=True)
def _head(data: NDArray[np.uint8], at: int, end: int) -> tuple[Any, Any, Any, Any, Any]:
    """Reason against it, 3 or 6 for the type, bytes per vertex, count, and where the first ring or part begins."""
    if at + 9 > end:
        return 1, 0, 0, 0, at
    if data[at] != 1:
        return 2, 0, 0, 0, at
    kind = _uint32(data, at + 1)
    # extended WKB has z, m and the CRS number as the highest bits, ISO WKB z and m as thousands
    extended, iso = kind >> np.uint32(29), (kind & np.uint32(0x1FFFFFFF)) // np.uint32(1000)
    base = (kind & np.uint32(0x1FFFFFFF)) % np.uint32(1000)
    if (base != _POLYGON and base != _MULTIPOLYGON) or iso > 3:
        return 3, 0, 0, 0, at
    has_z, has_m = (extended & 4) != 0 or (iso & 1) != 0, (extended & 2) != 0 or (iso & 2) != 0
    at += 5 + (4 if (extended & 1) != 0 else 0)
    if at + 4 > end:
        return 1, 0, 0, 0, at
    return 0, np.int64(base), 16 + 8 * np.int64(has_z) + 8 * np.int64(has_m), np.int64(_uint32(data, at)), at + 4


@njit(nogil=True, cache=True)
def _scan(
    data: NDArray[np.uint8],
    bits: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    offsets: NDArray[np.int64],
    bounds: NDArray[np.float64],
    hashes: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> tuple[int, int]:
    """Fill the arrays; returns a reason and the index of the first bad geometry, or zeros."""
    for i in range(len(offsets) - 1):
        at, end = offsets[i], offsets[i + 1]
        if at == end:
            return 4, i
        reason, kind, stride, n_parts, after = _head(data, at, end)
        if reason != 0:
            return reason, i
        if kind == 6:
            at = after
        else:
            n_parts = 1
        total = _NONE
        for _ in range(n_parts):
            reason, kind, stride, n_rings, at = _head(data, at, end)
            if reason != 0:
                return reason, i
            if kind != 3:
                return 3, i
            for ring in range(n_rings):
                n: Any = np.int64(_uint32(data, at)) if at + 4 <= end else np.int64(0)
                if at + 4 + n * stride > end:
                    return 1, i
                total += _ring(bits, numbers, at + 4, n, stride // 8, ring == 0, i, bounds)
                counts[i, 2] += n
                at += 4 + n * stride
            counts[i, 1] += n_rings
        if at != end:
            return 1, i
        counts[i, 0] = n_parts
        hashes[i] = mix(total + np.uint64(counts[i, 2]))
    return 0, 0


@njit(nogil=True, cache=True)
def _ring(
    bits: NDArray[np.uint64],
    numbers: NDArray[np.float64],
    at: int,
    n: int,
    step: int,
    is_shell: bool,
    i: int,
    bounds: NDArray[np.float64],
) -> np.uint64:
    """Sum over the edges of a number that both directions share; grows the bounds."""
    # not zero, which a product would not see
    role = _SHELL if is_shell else _HOLE
    total = before = _NONE
    byte, word = at & 7, at >> 3
    west, south, east, north = bounds[i, 0], bounds[i, 1], bounds[i, 2], bounds[i, 3]
    for k in range(n):
        x, y = numbers[byte, word], numbers[byte, word + 1]
        # minus zero is zero
        bits_x = bits[byte, word] if x != 0.0 else _NONE
        bits_y = bits[byte, word + 1] if y != 0.0 else _NONE
        vertex = mix(bits_x * _OF_X + bits_y) + role
        if k > 0:
            total += before * vertex
        before = vertex
        word += step
        # written so that the NaN of the beginning gives way
        if not west <= x:
            west = x
        if not south <= y:
            south = y
        if not east >= x:
            east = x
        if not north >= y:
            north = y
    bounds[i, 0], bounds[i, 1], bounds[i, 2], bounds[i, 3] = west, south, east, north
    return total
