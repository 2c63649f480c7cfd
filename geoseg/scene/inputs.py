"""What the user named -> a sorted list of rasters and products: files, folders (recursive), globs, URLs."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from geoseg.errors import InputError, printable
from geoseg.scene.guard import DRIVERS, is_remote
from geoseg.scene.products.recognise import is_product_folder, looks_like_product

__all__ = ["find_rasters"]


def _walk(folder: Path, excluded: Path | None) -> Iterator[Path]:
    """Products and files below a folder with a raster's suffix; links to folders are not followed: one could loop."""
    for base, folders, names in os.walk(folder):
        if is_product_folder(Path(base)):
            folders.clear()  # its rasters are bands, not scenes
            yield Path(base)
            continue
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and (excluded is None or Path(base, f).resolve() != excluded)
        )
        for name in sorted(names):
            if not name.startswith(".") and _is_input(Path(base, name)):
                yield Path(base, name)


def _is_input(path: Path) -> bool:
    """Whether a file that nobody named is one to process."""
    return path.suffix.lower() in DRIVERS or looks_like_product(path)


def find_rasters(named: Iterable[str | os.PathLike[str]], *, exclude: Path | None = None) -> list[str]:
    """The rasters and products that files, folders, globs and URLs name, each once, as named and sorted within.

    Folders and globs are searched for files with a raster's suffix (`guard.DRIVERS`), folders through all levels. A
    folder that is a product (Sentinel-2 SAFE) is one input; so is a zip file that is named like one. Side
    files (``.ovr``, ``.msk``, ``.aux.xml``) and hidden files are not inputs. A file that is named itself is taken
    whatever it is called, so that opening it can say what is wrong.

    Args:
        named: What the user gave.
        exclude: A folder that is not searched: the output folder, when it lies inside an input folder.

    Raises:
        InputError: If nothing at all was found, or the excluded folder is itself one that is named.
    """
    excluded = exclude.resolve() if exclude is not None else None
    found: dict[str, None] = {}
    names = [os.fspath(n) for n in named]
    for item in names:
        if excluded is not None and excluded.is_dir() and os.path.realpath(item) == str(excluded):
            raise InputError(
                f"{printable(item)} is the input folder and the output folder: results would be taken for inputs the "
                f"next time; choose another --output, such as {printable(Path(item, 'out'))}"
            )
    for item in names:
        path = Path(item)
        if is_remote(item):
            found[item] = None
        elif path.is_dir():
            found.update((str(p), None) for p in _walk(path, excluded))
        elif glob.has_magic(item) and not os.path.lexists(item):
            for match in sorted(glob.glob(item, recursive=True)):  # noqa: PTH207 - pathlib's glob is relative only
                if excluded is not None and Path(match).resolve().is_relative_to(excluded):
                    continue
                if Path(match).is_dir():
                    found.update((str(p), None) for p in _walk(Path(match), excluded))
                elif _is_input(Path(match)):
                    found[match] = None
        else:
            found[item] = None
    if not found:
        shown = ", ".join(printable(n) for n in names) or "nothing"
        raise InputError(f"no rasters found in {shown}: name files or folders with {', '.join(DRIVERS)} files")
    # one file that was named twice, as a.tif and ./a.tif, is one input
    places = {_place(item): item for item in reversed(found)}
    return [item for item in found if places[_place(item)] == item]


def _place(item: str) -> str:
    """Where a file lies, whatever it was called; links to files stay what they are."""
    if is_remote(item):
        return item
    folder, name = os.path.split(item)
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 - pathlib's resolve raises where links loop
