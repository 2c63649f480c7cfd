"""One raster file -> Scene: bands with names, validity, georeference; or the reason why not."""

import hashlib
import math
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from geoseg.errors import ParameterError, SceneError, printable, reason_of
from geoseg.scene.archive import archive_of
from geoseg.scene.guard import driver_for, is_remote, open_raster, store_of, without_query, without_token
from geoseg.scene.names import common_name, landsat_names
from geoseg.scene.read import has_mask
from geoseg.scene.scene import Band, Scene

__all__ = ["acquired_of", "date_in", "fingerprint", "grid_of", "open_file", "percent_in", "time_in"]

_COLOR_NAMES = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)")
_EXIF_DATE = re.compile(r"^(\d{4}):(\d\d):(\d\d)(?= )")
_SAMPLE_BYTES = 1 << 16
_SAMPLE_SIDE = 64


def open_file(
    href: str,
    *,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    identified: bool = False,
) -> Scene:
    """The scene in a raster file: its bands, grid and validity; no pixels are read.

    Band names come from the file's band descriptions, else from its colour interpretation, else they are
    ``band 1``, ``band 2`` ... Validity comes from nodata values (per band), NaN, an alpha band, and internal or
    side-car masks, all together. Rotated and south-up grids are kept as they are: every output gets the same grid.

    Args:
        href: A file or URL of a format in `guard.DRIVERS`.
        bands: Names for the file's bands in file order, alpha not counted, instead of the file's own.
        scale: Physical value per stored unit for all bands, instead of the file's own.
        offset: Physical value of a stored 0 for all bands, instead of the file's own.
        identified: Whether something else tells its content apart: then no pixels of a remote file are read for it.

    Raises:
        SceneError: If it cannot be opened, or has no CRS, no position, only control points, complex or palette pixels.
        ParameterError: If ``bands`` does not fit the file.
    """
    with open_raster(href) as dataset:
        name = printable(href)
        _check_pixels(dataset, name)
        geobox = grid_of(dataset, name)
        alpha = [i for i, c in enumerate(dataset.colorinterp, 1) if c is ColorInterp.alpha and dataset.count > 1]
        spectral = [i for i in dataset.indexes if i not in alpha]
        if bands is not None and len(bands) == dataset.count:
            # four names for four bands of which GDAL takes one for alpha: the user knows better
            spectral, alpha = list(dataset.indexes), []
        stated = None
        if scale is not None or offset is not None:
            stated = (1.0 if scale is None else scale, 0.0 if offset is None else offset)
        named = tuple(
            _band(dataset, href, index, band_name, stated)
            for index, band_name in zip(spectral, _band_names(dataset, spectral, bands, name), strict=True)
        )
        return Scene(
            id=Path(without_query(href)).stem,
            href=href,
            geobox=geobox,
            bands=named,
            driver=driver_for(href),
            validity="mask" if alpha or any(has_mask(dataset, i) for i in spectral) else "values",
            block_shape=_block_shape(dataset),
            scaled=scale is not None or offset is not None or any((b.scale, b.offset) != (1.0, 0.0) for b in named),
            acquired=acquired_of(dataset, href),
            fingerprint="" if identified else _fingerprint(href, dataset),
        )


def fingerprint(href: str) -> str:
    """What `open_file` says identifies the content of a raster, as it is now.

    Raises:
        SceneError: If it cannot be opened any more.
    """
    with open_raster(href) as dataset:
        return _fingerprint(href, dataset)


def _check_pixels(dataset: DatasetReader, name: str) -> None:
    if any(t.startswith("complex") for t in dataset.dtypes):
        raise SceneError(f"{name}: complex pixels are not supported; compute the magnitude or intensity first")
    if dataset.colorinterp[0] is ColorInterp.palette:
        raise SceneError(
            f"{name}: a palette image: its pixels are indices of colours, not measurements; "
            "expand it with gdal_translate -expand rgb"
        )
    if len(dataset.subdatasets) > 1:
        raise SceneError(
            f"{name}: holds {len(dataset.subdatasets)} images; write the one that is meant to a file of its own, "
            f"for example gdal_translate {printable(dataset.subdatasets[0])} one.tif"
        )


def grid_of(dataset: DatasetReader, name: str) -> GeoBox:
    """The pixel grid of an open raster.

    Raises:
        SceneError: If it has no place on the earth; the message starts with ``name``.
    """
    transform = dataset.transform
    placed = not transform.is_identity
    if not placed and (dataset.gcps[0] or dataset.rpcs is not None):
        kind = f"{len(dataset.gcps[0])} ground control points" if dataset.gcps[0] else "a sensor model (RPC)"
        raise SceneError(f"{name}: has {kind} but no geotransform; warp it onto a map grid first, with gdalwarp")
    if dataset.crs is None:
        raise SceneError(
            f"{name}: has no CRS (coordinate reference system), so nothing says where it lies; "
            "set it with gdal_edit.py -a_srs EPSG:CODE"
        )
    if not placed:
        raise SceneError(f"{name}: has a CRS but no geotransform, so no position; set it with gdal_edit.py -a_ullr")
    if transform.is_degenerate or not all(map(math.isfinite, transform[:6])):
        raise SceneError(f"{name}: its geotransform {tuple(transform[:6])} gives pixels of no size; repair it")
    try:
        geobox = GeoBox((dataset.height, dataset.width), transform, dataset.crs.to_wkt())
    except (CRSError, ValueError) as error:
        raise SceneError(
            f"{name}: its CRS cannot be used: {reason_of(error)}; set another with gdal_edit.py"
        ) from error
    crs = geobox.crs
    if crs is None or not (crs.projected or crs.geographic):
        raise SceneError(f"{name}: its CRS is a local one, with no place on the earth; set another with gdal_edit.py")
    if crs.geographic and crs.units[1].startswith("degree"):
        corners = [transform @ (col, row) for col in (0, dataset.width) for row in (0, dataset.height)]
        lats = [lat for _, lat in corners]
        if min(lats) >= 90 or max(lats) <= -90:
            raise SceneError(
                f"{name}: lies at latitudes from {min(lats):g} to {max(lats):g} by its CRS, {crs}, beyond the pole: "
                "these are coordinates of another one; set it with gdal_edit.py -a_srs EPSG:CODE"
            )
    return geobox


def _band_names(dataset: DatasetReader, spectral: list[int], asked: Sequence[str] | None, name: str) -> list[str]:
    """Names in the order of ``spectral``: 1. what the user says, 2. descriptions, 3. colours, 4. numbers."""
    if asked is not None:
        if len(asked) != len(spectral):
            raise ParameterError(
                f"{name}: {len(asked)} band names for {len(spectral)} bands ({', '.join(asked)}); name each band once"
            )
        names = landsat_names([common_name(a) for a in asked])
        if "" in names:
            raise ParameterError(
                f"{name}: band {spectral[names.index('')]} is given an empty name; name each band once"
            )
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ParameterError(f"{name}: the band name {', '.join(twice)} is given twice; make each one unique")
        return names
    described = landsat_names([common_name(dataset.descriptions[i - 1] or _variable(dataset, i)) for i in spectral])
    colored = [_COLOR_NAMES.get(dataset.colorinterp[i - 1], "") for i in spectral]
    if len(spectral) != 3 or set(colored) != {"red", "green", "blue"}:
        colored = [""] * len(spectral)  # GDAL calls the first three of any four byte bands red, green, blue
    names = described if any(described) else colored
    unique = [n if n and names.count(n) == 1 else f"band {i}" for n, i in zip(names, spectral, strict=True)]
    # a description may be the number of another band
    return unique if len(set(unique)) == len(unique) else [f"band {i}" for i in spectral]


def _band(dataset: DatasetReader, href: str, index: int, name: str, stated: tuple[float, float] | None = None) -> Band:
    """One band; ``stated`` is the scale and offset that the user gives instead of the file's."""
    dtype = dataset.dtypes[index - 1]
    nodata = dataset.nodatavals[index - 1]
    if nodata is not None and np.dtype(dtype).kind != "f" and not float(nodata).is_integer():
        nodata = None  # GDAL keeps NaN or 0.5 on an integer band; no pixel can equal it
    scale, offset = stated or (float(dataset.scales[index - 1]), float(dataset.offsets[index - 1]))
    if not (math.isfinite(scale) and math.isfinite(offset)) or scale == 0:
        raise SceneError(
            f"{printable(href)}: band {index} declares scale {scale} and offset {offset}, which give no "
            "value; pass --scale and --offset"
        )
    title = dataset.descriptions[index - 1] or _variable(dataset, index)
    return Band(name=name, href=href, index=index, dtype=dtype, scale=scale, offset=offset, nodata=nodata, title=title)


def _variable(dataset: DatasetReader, index: int) -> str:
    """What a variable of netCDF is called; nothing for other bands."""
    return dataset.tags(index).get("NETCDF_VARNAME", "") if dataset.driver == "netCDF" else ""


def _block_shape(dataset: DatasetReader) -> tuple[int, int]:
    rows, cols = dataset.block_shapes[0]
    return int(rows), int(cols)


def acquired_of(dataset: DatasetReader, href: str) -> datetime | None:
    """Acquisition time: 1. tags that say so, 2. a date in the file's name, 3. the TIFF's own time; else not known.

    The TIFF's time is often that of processing. Where it falls on the day in the name, it is more exact than the name.
    """
    tags = dataset.tags()
    for key in ("ACQUISITION_DATE", "DATE_ACQUIRED", "acquired", "datetime"):
        if (stated := time_in(tags.get(key, ""))) is not None:
            return stated
    written = time_in(tags.get("TIFFTAG_DATETIME", ""))
    named = date_in(Path(href).stem)
    if named is None or (written is not None and written.date() == named.date()):
        return written
    return named


def percent_in(stated: str | float | None) -> float | None:
    """What metadata state as a percentage; None where that is none: nothing is refused for it."""
    try:
        value = math.nan if stated is None else float(stated)
    except (TypeError, ValueError):
        return None
    return value if 0 <= value <= 100 else None


def time_in(tag: str) -> datetime | None:
    """A time that a tag holds, in UTC; one without a time zone is taken for UTC. None where it holds none."""
    try:
        stated = datetime.fromisoformat(_EXIF_DATE.sub(r"\1-\2-\3", tag.strip()))
    except ValueError:
        return None
    return stated.astimezone(UTC) if stated.tzinfo else stated.replace(tzinfo=UTC)


def date_in(name: str) -> datetime | None:
    """The first date in a name, such as ``20240501`` or ``2024-05-01``; None where there is none."""
    match = _DATE.search(name.replace("_", " "))
    if match is None:
        return None
    try:
        return datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
    except ValueError:  # 31 February
        return None


def _fingerprint(href: str, dataset: DatasetReader) -> str:
    """SHA-256 over what identifies the content without reading all of it.

    Local files: size, time of change, head and tail, of each file of the dataset (side-car masks count). Remote
    files, and VRTs of such: the name, the declared shape, and the pixels of five small windows.
    """
    digest = hashlib.sha256(f"{dataset.shape} {dataset.count} {dataset.dtypes} {dataset.transform[:6]}".encode())
    if is_remote(href):
        digest.update(without_query(href).encode("utf-8", "surrogateescape"))
        _sample(href, dataset, digest)
        return digest.hexdigest()
    # GDAL lists the members of an archive, and of a store its metadata: what has a size and times is taken instead
    outer = archive_of(href) or store_of(href) or (href if dataset.driver in ("netCDF", "Zarr") else None)
    files = dataset.files if outer is None else [outer]
    if outer is not None and Path(outer).is_dir():
        files = [str(path) for path in Path(outer).rglob("*") if path.is_file()]
    if any(map(is_remote, files)):
        _sample(href, dataset, digest)
    for file in sorted(file for file in files if not is_remote(file)):
        digest.update(Path(file).name.encode("utf-8", "surrogateescape"))
        with Path(file).open("rb") as stream:
            info = os.fstat(stream.fileno())
            digest.update(f"{info.st_size} {info.st_mtime_ns}".encode())
            digest.update(stream.read(_SAMPLE_BYTES))
            stream.seek(max(0, info.st_size - _SAMPLE_BYTES))
            digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _sample(href: str, dataset: DatasetReader, digest: "hashlib._Hash") -> None:
    """Add the pixels of five small windows to a digest."""
    for down, across in ((0, 0), (0, 1), (0.5, 0.5), (1, 0), (1, 1)):
        side = min(_SAMPLE_SIDE, *dataset.shape)
        row, col = int(down * (dataset.height - side)), int(across * (dataset.width - side))
        try:
            digest.update(dataset.read(window=Window(col, row, side, side)).tobytes())
        except RasterioError as error:
            reason = reason_of(error)
            message = f"{printable(href)}: cannot be read: {reason}; try again, or download it"
            raise SceneError(without_token(message, href)) from error
