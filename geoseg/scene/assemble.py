"""Bands in many files -> one Scene, on the finest of their grids."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from odc.geo.geobox import GeoBox

from geoseg.errors import SceneError, printable
from geoseg.scene.archive import archive_of, member_size
from geoseg.scene.guard import DRIVERS, is_remote, store_of, without_query
from geoseg.scene.raster import fingerprint, open_file
from geoseg.scene.sampling import sampling_of
from geoseg.scene.scene import Band, Quality, Sampling, Scene

__all__ = ["Layer", "QualityLayer", "assemble", "files_fingerprint"]

_IDENTITY = "sha256:"
"""Marks, among the files of a scene, what identifies those that are not looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A band as its product describes it."""

    name: str
    """Its common name, unique in the scene."""
    href: str
    """What GDAL opens."""
    title: str
    """What the product calls it."""
    index: int = 1
    """Band in the file."""
    scale: float | None = None
    """Physical value per stored unit; None leaves what the file says."""
    offset: float | None = None
    """Physical value of a stored 0; None leaves what the file says."""
    nodata: float | None = None
    """Stored value that means "no observation"; None leaves what the file says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLayer:
    """A band of quality as its product describes it; see `Quality`."""

    href: str
    """What GDAL opens."""
    title: str
    """What the product calls it."""
    index: int = 1
    """Band in the file."""
    values: tuple[int, ...] = ()
    """These are no observations."""
    bits: int = 0
    """Nor are those with any of these bits set."""


def assemble(
    href: str,
    layers: Sequence[Layer],
    *,
    scene_id: str,
    product: str,
    quality: Sequence[QualityLayer] = (),
    clouds: str = "",
    acquired: datetime | None = None,
    cloud_percent: float | None = None,
    metadata: Sequence[str] = (),
    scaled: bool | None = None,
    identity: str = "",
) -> Scene:
    """The scene of bands in several files.

    Its grid is the finest of theirs, the first where several are as fine. All the others are laid under it: each pixel
    of the scene takes the value of the file's pixel that its centre lies in.

    Args:
        href: What the user named.
        layers: The bands, at least one, in their order.
        scene_id: Name of the outputs.
        product: What it is, in words.
        quality: What makes pixels invalid beside their own values.
        clouds: What the mask of clouds is, in words.
        acquired: When it was taken; None takes what the first file says.
        cloud_percent: How much of it is cloud, where the product says so.
        metadata: Files beside the rasters that shape the scene.
        scaled: Whether scale and offset are known; None asks the files.
        identity: What tells the content of remote files apart, instead of some of their pixels.

    Raises:
        SceneError: If a file cannot be opened, has another CRS than the others, or lies turned against them.
    """
    hrefs = dict.fromkeys([*(each.href for each in layers), *(each.href for each in quality)])
    known = {each for each in hrefs if identity and is_remote(each)}
    opened = {each: open_file(each, identified=each in known) for each in hrefs}
    finest = min((opened[each.href] for each in layers), key=lambda s: abs(s.geobox.transform.determinant))
    bands = tuple(_band(each, opened[each.href], finest.geobox, href) for each in layers)
    files = tuple(each for each in hrefs if each not in known)
    on_grid = [opened[b.href] for b in bands if b.sampling is None]
    return Scene(
        id=scene_id,
        href=href,
        geobox=finest.geobox,
        bands=bands,
        driver=finest.driver,
        validity=_validity(list(opened.values())),
        block_shape=max(s.block_shape for s in on_grid),
        scaled=any(opened[b.href].scaled for b in bands) if scaled is None else scaled,
        acquired=acquired or opened[layers[0].href].acquired,
        cloud_percent=cloud_percent,
        masks=tuple(_quality(each, opened[each.href], finest.geobox, href) for each in quality),
        clouds=clouds,
        product=product,
        files=(*files, *metadata, *((f"{_IDENTITY}{identity}",) if identity else ())),
        fingerprint=_joined(
            [*(opened[f].fingerprint for f in files), *map(_content, metadata), *((identity,) if identity else ())]
        ),
    )


def files_fingerprint(files: Sequence[str]) -> str:
    """What `assemble` says identifies the content of files, as it is now.

    Raises:
        SceneError: If one cannot be read any more.
    """
    return _joined(
        [
            f.removeprefix(_IDENTITY) if f.startswith(_IDENTITY) else fingerprint(f) if _is_raster(f) else _content(f)
            for f in files
        ]
    )


def _is_raster(href: str) -> bool:
    return store_of(href) is not None or Path(without_query(href)).suffix.lower() in DRIVERS


def _joined(prints: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(prints).encode()).hexdigest()


def _content(href: str) -> str:
    """Digest of a file of metadata; a URL is taken by its name, and a member of an archive by its size."""
    if is_remote(href):
        return without_query(href)
    archive = archive_of(href)
    if archive is not None:
        return f"{Path(href).name} {member_size(href)}"
    try:
        return hashlib.sha256(Path(href).read_bytes()).hexdigest()
    except OSError as error:
        raise SceneError(f"{printable(href)}: cannot be read: {error.strerror or error}; check the path") from error


def _validity(scenes: Sequence[Scene]) -> Literal["values", "mask"]:
    return "mask" if any(s.validity == "mask" for s in scenes) else "values"


def _band(layer: Layer, file: Scene, grid: GeoBox, href: str) -> Band:
    own = _own(file, layer.index, href)
    return replace(
        own,
        name=layer.name,
        title=layer.title,
        scale=own.scale if layer.scale is None else layer.scale,
        offset=own.offset if layer.offset is None else layer.offset,
        nodata=own.nodata if layer.nodata is None else layer.nodata,
        sampling=_sampling(file, grid, href),
    )


def _quality(layer: QualityLayer, file: Scene, grid: GeoBox, href: str) -> Quality:
    own = _own(file, layer.index, href)
    if own.dtype.startswith("float"):
        raise SceneError(f"{printable(layer.href)}: a band of quality of type {own.dtype}; it should hold integers")
    # a value that the file calls nodata is judged by the values of quality alone
    band = replace(own, name=layer.title, title=layer.title, nodata=None, sampling=_sampling(file, grid, href))
    return Quality(band=band, values=layer.values, bits=layer.bits)


def _own(file: Scene, index: int, href: str) -> Band:
    for band in file.bands:
        if band.index == index:
            return band
    raise SceneError(
        f"{printable(href)}: {printable(file.href)} has no band {index} with measurements; it has "
        f"{', '.join(str(b.index) for b in file.bands)}"
    )


def _sampling(file: Scene, grid: GeoBox, href: str) -> Sampling | None:
    if file.geobox.crs != grid.crs:
        raise SceneError(
            f"{printable(href)}: its files have different CRSs: {printable(Path(file.href).name)} is in "
            f"{_named(file.geobox)}, others in {_named(grid)}; bring them to one with gdalwarp -t_srs"
        )
    try:
        return sampling_of(grid, file.geobox)
    except ValueError as error:
        raise SceneError(
            f"{printable(href)}: {printable(Path(file.href).name)} does not fit the others: {error}; warp it onto "
            "their grid with gdalwarp"
        ) from error


def _named(box: GeoBox) -> str:
    assert box.crs is not None  # open_file refuses what has none
    return f"EPSG:{box.crs.to_epsg()}" if box.crs.to_epsg() else printable(box.crs.proj.name)
