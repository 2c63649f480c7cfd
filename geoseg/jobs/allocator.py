"""The C library's allocator, told to keep the memory that a network gives back and asks for again."""

import ctypes
import os
import sys

__all__ = ["give_back", "keep_memory", "memory_environment"]

# Names and numbers from glibc's malloc.h. By default every thread gets an arena of its own that cannot hold the large
# arrays between two layers: each is mapped anew, page by page, and unmapped again. A Unet on the CPU runs 10 to 20 %
# faster without, and the process stays smaller, because threads share what is free.
_SETTINGS = {
    "MALLOC_ARENA_MAX": (-8, 1),
    "MALLOC_MMAP_THRESHOLD_": (-3, 32 << 20),  # the largest that glibc takes
    "MALLOC_TRIM_THRESHOLD_": (-1, 1 << 30),
}


def keep_memory() -> None:
    """Apply the settings to this process, for threads that are started from now on; nothing where there is no glibc.

    Settings that the user made in the environment are kept.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return
    for name, (parameter, value) in _SETTINGS.items():
        if name not in os.environ:
            mallopt(parameter, value)


def memory_environment() -> dict[str, str]:
    """The same settings as environment variables for processes that are yet to start."""
    return {name: str(value) for name, (_, value) in _SETTINGS.items() if name not in os.environ}


def give_back() -> None:
    """Return to the system the pages that nothing in this process uses; nothing where there is no glibc.

    For the end of a block: between what is still in use the heap keeps gaps, into which the arrays of the next block do
    not fit exactly, so that block after block the process grew, by 100 MB over the four blocks of 16,384 x 16,384 px.
    The next block maps the pages again, which takes some hundredths of a second.
    """
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # musl has none
        trim(0)
