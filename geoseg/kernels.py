"""Compiled kernels, kept between runs in files that may be damaged or missing: they are then compiled anew.

numba keeps the machine code of a kernel in a folder beside the module, or in one of the user's. It trusts these files
and that folder: a file cut off by a full disk ends in an error of unpickling or in a crash, and a read-only
installation without a home folder ends the import. So files are sealed with a checksum here, and nothing about them is
an error.
"""

import hashlib
import io
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

__all__ = ["njit"]

_log = logging.getLogger(__name__)
_said = threading.Event()
_SEAL = 16


class _DamagedError(Exception):
    pass


class _SealedFile(IndexDataCacheFile):
    """Index and data of a kernel, each with a checksum in front."""

    def __init__(self, cache_path: str, filename_base: str, source_stamp: object) -> None:
        # names of its own: numba's files have no seal
        super().__init__(cache_path, f"geoseg-{filename_base}", source_stamp)

    def _load_index(self) -> dict[Any, str]:
        try:
            stamp, overloads = self._read(self._index_path)
        except FileNotFoundError:
            return {}
        return overloads if stamp == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        with self._open_for_write(self._index_path) as file:
            file.write(self._dump(((self._version, self._source_stamp), overloads)))

    def _load_data(self, name: str) -> Any:
        return self._read(self._data_path(name))

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[Any]:
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(_seal(content.getbuffer()))
            file.write(content.getbuffer())

    def _read(self, path: str) -> Any:
        content = memoryview(Path(path).read_bytes())
        if content[:_SEAL] != _seal(content[_SEAL:]):
            raise _DamagedError
        return pickle.loads(content[_SEAL:])  # noqa: S301 - as numba does, and from where the code is run from anyway


def _seal(content: memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=_SEAL).digest()


class _Cache(FunctionCache):
    """The files of a kernel, none of whose troubles is an error."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _SealedFile(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except OSError:  # writing will say it
            return None
        except Exception:  # noqa: BLE001 - a damaged file can fail in any way
            _say(f"compiled kernels in {self._cache_path} do not read back: they are compiled anew")
            self._try(self.flush)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        self._try(super().save_overload, sig, data)

    def _try(self, write: Callable[..., None], *args: Any) -> None:
        try:
            write(*args)
        except Exception as error:  # noqa: BLE001 - nothing about these files is an error
            _say(
                f"compiled kernels cannot be kept in {self._cache_path}, and every start compiles them: {error}; "
                "set NUMBA_CACHE_DIR to a folder with room"
            )


def _say(what: str) -> None:
    """The first trouble of a process: there are many kernels."""
    if not _said.is_set():
        _said.set()
        _log.warning(what)


if TYPE_CHECKING:
    from numba import njit
else:

    def njit(*, cache=False, **options):
        """`numba.njit`, with ``cache=True`` in files that may be damaged, missing or not writable."""

        def decorate(function):
            kernel = numba.njit(**options)(function)
            if cache:
                try:
                    kernel._cache = _Cache(function)  # noqa: SLF001 - as its enable_caching does
                except RuntimeError:  # no folder can be written
                    _say("compiled kernels cannot be kept, as no folder can be written: every start compiles them; "
                         "set NUMBA_CACHE_DIR to a folder that can")  # fmt: skip
            return kernel

        return decorate
