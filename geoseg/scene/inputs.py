"""What the user named -> a sorted list of rasters and products: files, folders (recursive), globs, URLs."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from geoseg.errors import InputError, SceneError, printable
from geoseg.scene.guard import DRIVERS, is_raster_file, is_remote
from geoseg.scene.products.band_files import BAND, band_patterns
from geoseg.scene.products.recognise import is_product_folder, looks_like_product, products_among
from geoseg.scene.stac import is_item_name, item_names

__all__ = ["find_rasters"]


def _walk(folder: Path, excluded: Path | None, band_files: str | None) -> Iterator[Path]:
    """Products and files below a folder with a raster's suffix; links to folders are not followed: one could loop."""
    for base, folders, names in os.walk(folder):
        if is_product_folder(Path(base)):
            folders.clear()  # its rasters are bands, not scenes
            yield Path(base)
            continue
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and (excluded is None or Path(base, f).resolve() != excluded)
        )
        seen = [name for name in names if not name.startswith(".")]
        if band_files is not None:
            yield from map(Path, band_patterns(Path(base), seen, band_files))
            continue
        products = products_among(Path(base), seen)
        taken = {name for files in products.values() for name in files}
        alone = [Path(base, name) for name in seen if name not in taken and _is_input(Path(base, name))]
        yield from sorted([*map(Path, products), *alone])


def _is_input(path: Path) -> bool:
    """Whether a file that nobody named is one to process."""
    return is_raster_file(str(path)) or looks_like_product(path)


def _of_pattern(item: str) -> list[str]:
    """The scenes of a path whose last part has ``{band}`` in it, and perhaps stars."""
    folder, name = os.path.split(item)
    folders = [folder or "."]
    if glob.has_magic(folder) and not os.path.lexists(folder):
        folders = sorted(f for f in glob.glob(folder, recursive=True) if Path(f).is_dir())  # noqa: PTH207
    elif "*" not in name:
        return [item]  # opening it says what is wrong with it
    found: list[str] = []
    for each in folders:
        if Path(each).is_dir():
            found += band_patterns(Path(each), os.listdir(each), name)  # noqa: PTH208
    return found


def _behind(item: str, excluded: Path | None, band_files: str | None) -> Iterator[str]:
    """What one name of the user's stands for."""
    path = Path(item)
    if is_item_name(item):
        try:
            yield from item_names(item)
        except SceneError:
            yield item  # opening it says what is wrong with it, and the other inputs are not held up
    elif is_remote(item):
        yield item
    elif BAND in path.name:
        yield from _of_pattern(item)
    elif path.is_dir():
        yield from map(str, _walk(path, excluded, band_files))
    elif glob.has_magic(item) and not os.path.lexists(item):
        for match in sorted(glob.glob(item, recursive=True)):  # noqa: PTH207 - pathlib's glob is relative only
            if excluded is not None and Path(match).resolve().is_relative_to(excluded):
                continue
            if Path(match).is_dir():
                yield from map(str, _walk(Path(match), excluded, band_files))
            elif _is_input(Path(match)):
                yield match
    else:
        yield item


def find_rasters(
    named: Iterable[str | os.PathLike[str]], *, exclude: Path | None = None, band_files: str | None = None
) -> list[str]:
    """The rasters and products that files, folders, globs and URLs name, each once, as named and sorted within.

    Folders and globs are searched for files with a raster's suffix (`guard.DRIVERS`) and for those of ENVI
    (`envi.SUFFIXES`) with a header beside them, folders through all levels. A
    folder that is a product (Sentinel-2 SAFE) is one input, and so is an archive that is named like one. Files that
    belong together (Landsat bundles, HLS granules, files called after bands) are one input each. A path with ``{band}``
    in its last part names the files of a scene, one per band. Side
    files (``.ovr``, ``.msk``, ``.aux.xml``) and hidden files are not inputs. A file that is named itself is taken
    whatever it is called, so that opening it can say what is wrong.

    Args:
        named: What the user gave.
        exclude: A folder that is not searched: the output folder, when it lies inside an input folder.
        band_files: How files are called that are bands of one scene, such as ``B{band}.tif``: then folders are searched
            for these only.

    Raises:
        ParameterError: If ``band_files`` is no such pattern.
        InputError: If nothing at all was found, or the excluded folder is itself one that is named.
    """
    if band_files is not None:
        band_patterns(Path(), (), band_files)  # a pattern that is none is refused where no folder is searched, too
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
        found.update(dict.fromkeys(_behind(item, excluded, band_files)))
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
