"""What geoseg raises on purpose.

GeosegError
├── ParameterError (ValueError)   a value that was asked for cannot be used
├── InputError (ValueError)       a file or folder cannot be used as what it was given for
│   ├── SceneError                a raster cannot become a scene
│   └── ModelError                a model cannot be loaded, or does not fit the scene
├── OutputError (OSError)         a result could not be written, or did not read back as it was meant
│   └── PartError                 a finished block does not hold any more what was written to it
└── ResourceError (MemoryError)   the plan does not fit the machine

A message says what is wrong, with which file, with the numbers, and how to mend it, in one or two lines.
"""

__all__ = [
    "GeosegError",
    "GeosegWarning",
    "InputError",
    "ModelError",
    "OutputError",
    "ParameterError",
    "PartError",
    "ResourceError",
    "SceneError",
    "printable",
    "reason_of",
]


class GeosegError(Exception):
    """Base of every error geoseg raises on purpose."""


class ParameterError(GeosegError, ValueError):
    """A value that was asked for cannot be used."""


class InputError(GeosegError, ValueError):
    """A file or folder cannot be used as what it was given for."""


class SceneError(InputError):
    """A raster cannot become a scene."""


class ModelError(InputError):
    """A model cannot be loaded, or does not fit the scene."""


class OutputError(GeosegError, OSError):
    """A result could not be written, or did not read back as it was meant."""


class PartError(OutputError):
    """A finished block does not hold any more what was written to it."""


class ResourceError(GeosegError, MemoryError):
    """The plan does not fit the machine."""


class GeosegWarning(UserWarning):
    """Base of every warning geoseg gives."""


def printable(text: object) -> str:
    r"""Text safe for a terminal or a log: control characters and lone surrogates as backslash escapes.

    Names of files and classes come from strangers; an escape sequence in one must not reach the terminal.

    Example:
        >>> printable("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    escaped = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in escaped)


def reason_of(error: BaseException) -> str:
    r"""What another library says went wrong, in one line to put into a message.

    GDAL's own words are those of the cause of rasterio's errors.

    Example:
        >>> reason_of(ValueError("TIFFReadEncodedTile()\n  failed."))
        'TIFFReadEncodedTile() failed'
    """
    return printable(" ".join(str(error.__cause__ or error).split())).removesuffix(".")
