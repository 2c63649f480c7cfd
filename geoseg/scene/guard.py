"""The one door through which rasters are opened, with what is checked before and right after.

Files come from strangers. Before GDAL sees a name: it must be a regular file or a URL, and the driver follows from the
suffix, because GDAL would read a VRT under a ``.tif`` name and through it any file of the machine. Right after opening:
declared sizes are held against the file's size and against limits, before anything is allocated.
"""

import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from geoseg.errors import SceneError, printable, reason_of
from geoseg.scene.allowed import is_allowed
from geoseg.scene.archive import archive_of, member_size
from geoseg.scene.envi import SUFFIXES as ENVI_SUFFIXES
from geoseg.scene.envi import header_of

__all__ = ["DRIVERS", "driver_for", "is_raster_file", "is_remote", "open_raster", "store_of", "variables_of",
           "without_query", "without_token"]  # fmt: skip

DRIVERS = {
    ".tif": "GTiff",
    ".tiff": "GTiff",
    ".gtiff": "GTiff",
    ".jp2": "JP2OpenJPEG",
    ".j2k": "JP2OpenJPEG",
    ".vrt": "VRT",
    ".img": "HFA",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".nc": "netCDF",
    ".zarr": "Zarr",
}
"""Suffix to the one GDAL driver that may open it, where it is no ENVI raster: see `is_raster_file`."""

_STORES = {"netCDF": "netCDF file", "Zarr": "Zarr store"}
"""Drivers of files that hold variables, and what these are."""
_VARIABLE = re.compile(r'(?:NETCDF|ZARR):"(?P<file>[^"]+)":(?P<name>/?[^":]+)$')
_REMOTE = ("http://", "https://", "s3://", "gs://", "az://", "/vsicurl/", "/vsis3/", "/vsigs/", "/vsiaz/")
_MAX_BANDS = 4096
_MAX_BLOCK_BYTES = 1 << 30
_SUSPICIOUS_BYTES = 1 << 30
_MAX_RATIO = 100_000  # an honest empty class map reaches some 60,000 to 1
_MAX_VRT_BYTES = 16 << 20
_VRT_SUBCLASSES = {"", "vrtsourcedrasterband", "vrtwarpeddataset", "vrtwarpedrasterband"}
_VRT_REFUSED = ("pixelfunction", "processingsteps", "dempath")
_VRT_NAMING = {"sourcefilename", "sourcedataset"}
_TIFF_STARTS = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
_FILTERS = threading.Lock()

# A hung server must not hang the run: GDAL has no timeout of its own.
_REMOTE_OPTIONS = {
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no listing request per file; side-car files are a local matter
    "VSI_CACHE": "TRUE",
}
# side files in an archive are not looked at: what they lead to could not be checked, and no product has any
_ARCHIVE_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}


def is_remote(href: str) -> bool:
    """Whether a name means something on a network: a URL or one of GDAL's network file systems."""
    return href.startswith(_REMOTE)


def without_query(href: str) -> str:
    """A URL without what follows its question mark, a token more often than not; a file may have one in its name."""
    return href.split("?", 1)[0] if is_remote(href) else href


def without_token(text: str, href: str) -> str:
    """A text that names a URL, without what follows a question mark in it: a token more often than not.

    It reaches no log and no record.
    """
    query = printable(href).partition("?")[2] if is_remote(href) else ""
    return text.replace(f"?{query}", "?...") if query else text


def store_of(href: str) -> str | None:
    """The netCDF file or Zarr store that a variable's name of `variables_of` leads into; None for any other name."""
    match = _VARIABLE.match(href)
    return None if match is None else match["file"]


def variables_of(href: str) -> dict[str, str]:
    """The rasters in a netCDF file or a Zarr store: names of variables, and what `open_raster` takes for each.

    Raises:
        SceneError: If it cannot be opened, is on a network, or a variable has several times or levels.
    """
    driver = driver_for(href)
    _check_store(href, driver)
    if '"' in href:
        raise SceneError(f"{printable(href)}: has a quotation mark in its path, which GDAL cannot read; rename it")
    try:
        with _open(href, driver) as dataset:
            listed = dataset.subdatasets
            if not listed:
                name = dataset.tags(1).get("NETCDF_VARNAME") or Path(href).stem if dataset.count else ""
                if dataset.count > 1:
                    _refuse_layers(href, name, dataset.count)
                return {name: href} if name else {}
        names = [each.rsplit(":", 1)[-1] for each in listed]
        found = {name.lstrip("/"): f'{driver.upper()}:"{href}":{name}' for name in names if not set('":') & set(name)}
        for name, inside in list(found.items()):
            with _open(inside, driver) as dataset:
                if dataset.crs is None:
                    del found[name]  # bounds of times, and other tables
                elif dataset.count > 1:
                    _refuse_layers(href, name, dataset.count)
    except (RasterioError, ValueError, CPLE_BaseError) as error:
        if isinstance(error, SceneError):
            raise
        raise SceneError(
            f"{printable(href)}: cannot be opened as {driver}: {reason_of(error)}; "
            "check with gdalinfo that it is whole and is what its name says"
        ) from error
    return found


def _refuse_layers(href: str, name: str, n_layers: int) -> None:
    raise SceneError(
        f"{printable(href)}: its variable {printable(name)} has {n_layers} layers (times or levels); write the one "
        "that is meant to a file, with gdal_translate -b, or select it in Python with xarray and open_scene"
    )


def _check_store(path: str, driver: str) -> int:
    """Bytes of a netCDF file or of all files of a Zarr store."""
    if is_remote(path):
        raise SceneError(f"{printable(path)}: a {_STORES[driver]} from the network is not read; download it")
    if driver != "Zarr":
        return _check_file(path).st_size
    if not Path(path).is_dir():
        raise SceneError(f"{printable(path)}: not a folder, as a Zarr store is; check the path")
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file() and not file.is_symlink())


def is_raster_file(href: str) -> bool:
    """Whether a file has a raster's suffix, or is an ENVI raster by its header."""
    return Path(href).suffix.lower() in DRIVERS or header_of(href) is not None


def driver_for(href: str) -> str:
    """The GDAL driver that may open this file, by its suffix, or by the header of ENVI beside it.

    Raises:
        SceneError: If the suffix is not one of a raster that geoseg opens.
    """
    href = store_of(href) or href
    suffix = Path(without_query(href)).suffix.lower()
    if suffix in ENVI_SUFFIXES and header_of(href) is not None:
        return "ENVI"
    if suffix in ENVI_SUFFIXES and suffix not in DRIVERS:
        raise SceneError(
            f"{printable(href)}: has no header of ENVI beside it ({printable(Path(href).with_suffix('.hdr').name)}); "
            "copy it there, too, or convert the file with gdal_translate"
        )
    if suffix not in DRIVERS:
        raise SceneError(
            f"{printable(href)}: {suffix or 'no suffix'!r} is not a raster format geoseg opens ({', '.join(DRIVERS)}); "
            "convert it with gdal_translate, or rename it if it is one of these"
        )
    return DRIVERS[suffix]


def _check_file(href: str) -> os.stat_result:
    """Stat of a regular, non-empty file.

    A named pipe would hang the opening for ever, a device never ends, so the kind is asked first.
    """
    try:
        href.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SceneError(
            f"{printable(href)}: its name is not text in UTF-8, which GDAL needs it to be; rename it"
        ) from error
    try:
        info = Path(href).stat()
    except ValueError as error:  # a zero byte in the name
        raise SceneError(f"{printable(href)}: not a name that a file can have; check the path") from error
    except OSError as error:
        if Path(href).is_symlink():
            raise SceneError(
                f"{printable(href)}: a symbolic link to a file that does not exist; restore the file or remove the link"
            ) from error
        reason = error.strerror or str(error)
        raise SceneError(f"{printable(href)}: cannot be read: {reason.lower()}; check the path") from error
    if not stat.S_ISREG(info.st_mode):
        raise SceneError(
            f"{printable(href)}: not a regular file but a folder, pipe or device; name a raster file, or a folder that "
            "is a product"
        )
    if info.st_size == 0:
        raise SceneError(f"{printable(href)}: an empty file of 0 bytes, not a raster; copy or download it again")
    return info


def _check_side_files(href: str) -> None:
    """Refuse side files that would hang GDAL, or that lead it elsewhere: it opens a mask by content, a VRT too."""
    for suffix in (".msk", ".aux.xml", ".ovr"):
        side = Path(href + suffix)
        if not os.path.exists(side):  # noqa: PTH110 False for names too long for the disk, which no file can have
            continue
        _check_file(str(side))
        if suffix != ".aux.xml":
            with side.open("rb") as stream:
                start = stream.read(4)
            if start not in _TIFF_STARTS:
                raise SceneError(
                    f"{printable(side)}: not a TIFF, as this side file has to be; remove it or make it again"
                )


def _check_vrt(path: Path) -> tuple[int, bool]:
    """Refuse a VRT that runs code, reads raw bytes, or leaves its own folder for where the user did not allow it.

    Returns the bytes of its sources, and whether some of these are on a network and not counted.

    GDAL finds names of elements in any case of letters, and takes an attribute where it looks for an element.
    """
    name = printable(path)
    if path.stat().st_size > _MAX_VRT_BYTES:
        raise SceneError(f"{name}: a VRT of more than {_MAX_VRT_BYTES >> 20} MiB; build a smaller one")
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise SceneError(f"{name}: a VRT with a document type or entities is not opened; write it with gdalbuildvrt")
    try:
        root = ET.fromstring(text)  # noqa: S314 - entities were refused above
    except ET.ParseError as error:
        raise SceneError(f"{name}: not a VRT: {error}; build it again with gdalbuildvrt") from error
    total, remote = 0, False
    for node in root.iter():
        tag = _plain(node.tag)
        attributes = {_plain(key): value for key, value in node.items()}
        subclass = attributes.get("subclass", "").strip().lower()
        if subclass not in _VRT_SUBCLASSES or tag.startswith(_VRT_REFUSED):
            raise SceneError(
                f"{name}: a VRT with raw bands, pixel functions or the like reads any bytes or runs code; "
                "write its result to a GeoTIFF with gdal_translate"
            )
        if _VRT_NAMING & set(attributes) or tag == "relativetovrt":
            raise SceneError(f"{name}: a VRT that names its sources in an unusual way; write it with gdalbuildvrt")
        if tag in _VRT_NAMING:
            size = _check_vrt_source(path, (node.text or "").strip(), attributes.get("relativetovrt") == "1")
            total, remote = total + (size or 0), remote or size is None
    return total, remote


def _plain(name: str) -> str:
    """Name of an element or attribute without its namespace, in lower case."""
    return name.rsplit("}", 1)[-1].rsplit(":", 1)[-1].lower()


def _check_vrt_source(path: Path, source: str, relative: bool) -> int | None:
    folder = path.resolve().parent
    target = (folder / source) if relative else Path(source)
    shown = f"{printable(path)}: its source {printable(source)!r}"
    elsewhere = is_remote(source) and not relative
    known = (
        is_allowed(source)
        if elsewhere
        else not set(":<") & set(source) and (target.resolve().is_relative_to(folder) or is_allowed(str(target)))
    )
    if not known:
        place = source.removeprefix("/vsicurl/").rpartition("/")[0] if elsewhere else target.resolve().parent
        raise SceneError(
            f"{shown} lies outside the folder of the VRT and is not followed; put both into one folder, or pass "
            f"--allow-outside {printable(place)} if you know its author"
        )
    if DRIVERS.get(Path(without_query(source)).suffix.lower(), "VRT") == "VRT":
        raise SceneError(f"{shown} is not a GeoTIFF or another plain raster; point the VRT at the files themselves")
    try:
        with open_raster(source if elsewhere else str(target)):
            pass
    except SceneError as error:
        raise SceneError(f"{shown} cannot be used: {error}") from error
    return None if elsewhere else target.stat().st_size


def _check_declared(dataset: DatasetReader, file_bytes: int | None) -> None:
    """Hold declared sizes against limits and against the file, before anything is allocated."""
    name = printable(dataset.name)
    if dataset.count < 1 or dataset.width < 1 or dataset.height < 1:
        raise SceneError(f"{name}: declares no pixels ({dataset.count} bands); name its subdataset, or repair the file")
    if dataset.count > _MAX_BANDS:
        raise SceneError(f"{name}: declares {dataset.count} bands, more than {_MAX_BANDS}; select bands first")
    itemsize = max(_itemsize(t) for t in dataset.dtypes)
    rows, cols = dataset.block_shapes[0]
    if rows * cols * itemsize > _MAX_BLOCK_BYTES:
        raise SceneError(
            f"{name}: declares blocks of {cols} x {rows} px, {rows * cols * itemsize >> 20} MiB each, "
            "too big to decode; rewrite it in tiles with gdal_translate -co TILED=YES"
        )
    declared = dataset.width * dataset.height * dataset.count * itemsize
    if file_bytes is not None and declared > _SUSPICIOUS_BYTES and declared > _MAX_RATIO * file_bytes:
        raise SceneError(
            f"{name}: declares {dataset.width} x {dataset.height} px, {declared >> 20} MiB, in a file of {file_bytes} "
            "bytes: a size beyond reason; if it is honest, rewrite it with gdal_translate"
        )


def _check_whole(dataset: DatasetReader, file_bytes: int | None) -> None:
    """Refuse an ENVI raster with fewer bytes than its header declares: GDAL takes what is missing for zeros."""
    declared = dataset.width * dataset.height * sum(_itemsize(t) for t in dataset.dtypes)
    if file_bytes is not None and file_bytes < declared:
        raise SceneError(
            f"{printable(dataset.name)}: has {file_bytes} bytes where its header declares {declared}; copy or download "
            "it again (or, where it is compressed, convert it with gdal_translate)"
        )


def _itemsize(dtype: str) -> int:
    # complex_int16 is GDAL's alone; numpy does not know it
    return 4 if dtype == "complex_int16" else np.dtype(dtype).itemsize


def _open(href: str, driver: str) -> DatasetReader:
    # whether a raster is georeferenced is asked by open_scene, which says it better; the filters of warnings belong to
    # the whole process, so only one thread at a time may change them and put them back
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(href, driver=driver)


@contextmanager
def open_raster(href: str) -> Iterator[DatasetReader]:
    """A raster, opened through every check of this module and closed at the end.

    Use and close the dataset in the thread that opened it: GDAL's handles and settings belong to one thread.

    Args:
        href: A path, a URL, or what `archive.member_href` gives for a file in an archive.

    Raises:
        SceneError: If it is not a regular file or URL, not what its suffix says, or declares sizes beyond reason.
    """
    driver = driver_for(href)
    remote, archive = is_remote(href), archive_of(href)
    if archive is not None:
        _check_file(archive)
        if driver == "VRT":
            raise SceneError(f"{printable(href)}: a VRT in an archive is not followed; unpack it with its sources")
        if driver in _STORES:
            raise SceneError(f"{printable(href)}: a {_STORES[driver]} in an archive is not read; unpack it")
        size: int | None = member_size(href)
    elif driver in _STORES:
        size = _check_store(store_of(href) or href, driver)
    else:
        size = None if remote else _check_file(href).st_size
    if driver == "VRT":
        if size is None:
            raise SceneError(f"{printable(href)}: a VRT from the network is not followed; download it with its sources")
        more, remote = _check_vrt(Path(href))
        size = None if remote else size + more
    if not is_remote(href) and archive is None and driver not in _STORES:
        _check_side_files(href)
    # what the user sets for GDAL in the environment comes first
    network = {key: value for key, value in _REMOTE_OPTIONS.items() if key not in os.environ}
    options = network if remote else _ARCHIVE_OPTIONS if archive is not None else {}
    with rasterio.Env(**options):
        try:
            dataset = _open(href, driver)
        except (RasterioError, ValueError) as error:
            reason = reason_of(error)
            message = (
                f"{printable(href)}: cannot be opened as {driver}: {reason}; "
                "check with gdalinfo that the file is whole and is what its name says"
            )
            raise SceneError(without_token(message, href)) from error
        with dataset:
            _check_declared(dataset, size)
            if driver == "ENVI":
                _check_whole(dataset, size)
            try:
                yield dataset
            except CPLE_BaseError as error:
                # GDAL's own errors surface anywhere a property is asked of a damaged file, bare of the file's name
                message = f"{printable(href)}: damaged: {reason_of(error)}; copy or download it again"
                raise SceneError(without_token(message, href)) from error
