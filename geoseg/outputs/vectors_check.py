"""Whether polygons read back are the polygons that were meant, whatever the order and batches a format keeps them in.

Both sides are added up, feature by feature, into a few numbers: each feature is mixed into one 64-bit number, and sums
of such numbers do not depend on the order. Two different sets of features have equal sums by chance once in 2**64.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import OutputError, ParameterError, printable
from geoseg.kernels import njit
from geoseg.vector.features import GEOMETRY
from geoseg.vector.wkb import mix, offsets_and_bytes, wkb_scan

__all__ = ["Tally", "check_crs"]

_MODULUS: Final = 2**64
_GOLDEN: Final = 0x9E3779B97F4A7C15
_NONE, _FNV_BASIS, _FNV_PRIME = np.uint64(0), np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


class Tally:
    """Sums over features that tell whether two sets of them are equal.

    Number of features, bounds, a sum over the outlines, one per column over the values together with the outlines they
    belong to, and one over whole rows. A missing text counts as an empty one and NaN as a missing number, because
    formats keep only one of each; an integer counts alike in any type.
    """

    def __init__(self, schema: Any) -> None:
        """Nothing added yet.

        Args:
            schema: Arrow schema of what is meant. What was read is tallied by the same one, as types differ by format.

        Raises:
            ParameterError: If a column is neither of numbers nor of texts.
        """
        self._schema = schema
        self._kinds = {field.name: _kind(field) for field in schema if field.name != GEOMETRY}
        self.clear()

    def clear(self) -> None:
        """Forget what was added."""
        self.n = 0
        self.bounds = np.full(4, np.nan)
        self.outlines = self.rows = 0
        self.columns = dict.fromkeys(self._kinds, 0)

    def add(self, batch: Any) -> None:
        """Add the features of a record batch; columns that are not in the schema are left aside.

        Raises:
            ParameterError: If a geometry is missing, damaged or no polygon, or a value does not fit the type meant.
        """
        bounds, hashes, _ = wkb_scan(batch.column(GEOMETRY))
        self.n += len(hashes)
        if len(hashes):
            self.bounds[:2] = np.fmin(self.bounds[:2], np.fmin.reduce(bounds[:, :2]))
            self.bounds[2:] = np.fmax(self.bounds[2:], np.fmax.reduce(bounds[:, 2:]))
        self.outlines = (self.outlines + _sum(hashes)) % _MODULUS
        rows = hashes.copy()
        for i, (name, kind) in enumerate(self._kinds.items()):
            salt = np.uint64((i + 1) * _GOLDEN % _MODULUS)
            bound = _bind(hashes, _values(batch.column(name), name, kind), salt, rows)
            self.columns[name] = (self.columns[name] + int(bound)) % _MODULUS
        self.rows = (self.rows + _sum(rows)) % _MODULUS

    def adding(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches as they are, each added in another thread while the caller works on it."""
        with ThreadPoolExecutor(1, "geoseg-tally") as pool:
            waiting: Future[None] | None = None
            for batch in batches:
                if waiting is not None:
                    waiting.result()
                waiting = pool.submit(self.add, batch)
                yield batch
            if waiting is not None:
                waiting.result()

    def check(self, batches: Iterable[Any], names: Iterable[str], bounds: Any = None) -> None:
        """Whether what was read is what was added here.

        Args:
            batches: Features in any order.
            names: Columns that were read.
            bounds: (left, bottom, right, top) that the file states; None where it states none.

        Raises:
            OutputError: With the first difference.
        """
        lost = [name for name in self._kinds if name not in set(names)]
        if lost and self.n:  # some formats have columns only where they have features
            raise OutputError(f"the column {printable(lost[0])} did not read back")
        found = Tally([] if lost else self._schema)
        try:
            for _ in found.adding(batches):
                pass
        except ParameterError as error:
            raise OutputError(f"some features read back otherwise: {error}") from error
        if found.n != self.n:
            raise OutputError(f"{found.n} of {self.n} features read back")
        if found.outlines != self.outlines:
            raise OutputError("the outlines of some features read back otherwise")
        if self.n == 0:
            return
        for name, total in self.columns.items():
            if found.columns[name] != total:
                raise OutputError(f"values of the column {printable(name)} read back otherwise")
        if found.rows != self.rows:
            raise OutputError("values of some features read back as those of others")
        # GeoPackage keeps 15 digits of them
        if bounds is not None and not np.allclose(
            bounds, self.bounds, rtol=1e-13, atol=1e-13 * np.abs(self.bounds).max()
        ):
            raise OutputError(f"the file states the bounds {list(map(float, bounds))} for {self.bounds.tolist()}")


def check_crs(meant: Any, found: Any) -> None:
    """Whether two CRSs are the same one, x before y in both.

    Raises:
        OutputError: If they are not.
    """
    if meant != found and not (meant and meant.equals(found, ignore_axis_order=True)):
        raise OutputError(f"the CRS read back as {found}")


def _kind(field: Any) -> str:
    import pyarrow as pa

    kind = field.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    raise ParameterError(f"the column {printable(field.name)} is of type {kind}: turn it into numbers or texts first")


def _values(column: Any, name: str, kind: str) -> NDArray[np.uint64]:
    """A 64-bit number for each value of a column, the same for values that count as equal."""
    import pyarrow as pa

    types = {"integer": pa.int64(), "float": pa.float64(), "text": pa.string()}
    try:
        column = column.cast(types[kind])
    except pa.ArrowException as error:
        raise ParameterError(f"values of the column {printable(name)} are not of kind {kind}: {error}") from error
    if kind == "text":
        hashes = np.empty(len(column), dtype=np.uint64)
        _hash_texts(*offsets_and_bytes(column.fill_null("")), hashes)
        return hashes
    if kind == "integer":
        missing = column.is_null().to_numpy(zero_copy_only=False)
        return np.where(missing, np.uint64(_GOLDEN), column.fill_null(0).to_numpy().view(np.uint64))
    floats = column.to_numpy(zero_copy_only=False)
    # one NaN for all, + 0.0: minus zero becomes zero
    return np.where(np.isnan(floats), np.nan, floats + 0.0).view(np.uint64)


def _sum(values: NDArray[np.uint64]) -> int:
    return int(np.add.reduce(mix.py_func(values)))


@njit(nogil=True, cache=True)
def _bind(
    hashes: NDArray[np.uint64], values: NDArray[np.uint64], salt: np.uint64, rows: NDArray[np.uint64]
) -> np.uint64:
    """Sum over a column of each value mixed with its outline; adds the values to those of their rows."""
    total = _NONE
    for i in range(len(hashes)):
        value = mix(values[i] + salt)
        rows[i] += value
        total += mix(hashes[i] + value)
    return total


@njit(nogil=True, cache=True)
def _hash_texts(offsets: NDArray[np.int64], data: NDArray[np.uint8], hashes: NDArray[np.uint64]) -> None:
    for i in range(len(hashes)):
        value = _FNV_BASIS  # FNV-1a
        for k in range(offsets[i], offsets[i + 1]):
            value = (value ^ data[k]) * _FNV_PRIME
        hashes[i] = mix(value)
