"""What the user names -> Scene: a raster file, or a product of many files that is recognised by its own metadata."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from geoseg.errors import ParameterError
from geoseg.scene.assemble import files_fingerprint
from geoseg.scene.mosaic import mosaic_fingerprint
from geoseg.scene.names import COMMON_NAMES
from geoseg.scene.products.naip import ORDER, is_unnamed_quad
from geoseg.scene.products.recognise import opener_of, scene_name
from geoseg.scene.products.wanted import Wanted
from geoseg.scene.raster import fingerprint, open_file
from geoseg.scene.scene import Scene

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["COMMON_NAMES", "current_fingerprint", "fingerprint", "open_scene", "scene_name"]


def open_scene(
    path: "str | os.PathLike[str] | xr.DataArray | xr.Dataset",
    *,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    mask_clouds: bool = False,
) -> Scene:
    """The scene in a raster file, a product of many files, or an array: bands, grid and validity; no pixels are read.

    Of a raster file, band names come from the band descriptions, else from the colour interpretation, else they are
    ``band 1``, ``band 2`` ... Validity comes from nodata values (per band), NaN, an alpha band, and internal or
    side-car masks, all together. Rotated and south-up grids are kept as they are: every output gets the same grid.

    Of a product, names, scale and offset come from its metadata. Its bands are laid on the finest of their grids.

    Args:
        path: A file or URL of a format in `guard.DRIVERS`; a product: the folder or archive of a Sentinel-2 (SAFE) or
            Landsat (Collection 2) product, the folder and name of an HLS granule; or a path with ``{band}`` in its last
            part, for one file per band. Or an xarray object with a CRS, see `scene_of_array`.
        bands: Names for the file's bands in file order, alpha not counted, instead of the file's own.
        scale: Physical value per stored unit for all bands, instead of the file's own.
        offset: Physical value of a stored 0 for all bands, instead of the file's own.
        mask_clouds: Whether what the product's own mask calls cloud or cloud shadow is no observation.

    Raises:
        SceneError: If it cannot be opened, or has no CRS, no position, only control points, complex or palette pixels;
            if a product is incomplete; if there is no mask of clouds where one is asked for.
        ParameterError: If ``bands`` does not fit the file, or scale is 0 or not finite.
    """
    wanted = Wanted(bands=None if bands is None else tuple(bands), scale=scale, offset=offset, mask_clouds=mask_clouds)
    if not isinstance(path, str | os.PathLike):
        from geoseg.scene.arrays import scene_of_array

        return scene_of_array(path, wanted)
    href = os.fspath(path)
    opener = opener_of(href)
    if opener is not None:
        scene = opener(href, wanted)
        return replace(scene, href=href, id=scene.id or scene_name(href))
    wanted.refuse_clouds(href, "a plain raster has no mask of clouds of its own")
    scene = open_file(href, bands=bands, scale=scale, offset=offset)
    if bands is None and is_unnamed_quad(scene):
        with suppress(ParameterError):  # a quad of another number of bands is a raster like any other
            named = open_file(href, bands=ORDER, scale=scale, offset=offset)
            scene = replace(named, product="NAIP quarter quad: red, green, blue, nir by its name")
    return replace(scene, id=scene_name(href))


def current_fingerprint(scene: Scene) -> str:
    """What `open_scene` would say identifies the content of a scene, as it is now.

    Raises:
        SceneError: If a file cannot be read any more.
    """
    if scene.members:
        return mosaic_fingerprint(scene.members, [current_fingerprint(m.scene) for m in scene.members])
    if scene.sources:
        same = all(current_fingerprint(source) == source.fingerprint for source in scene.sources)
        return scene.fingerprint if same else ""
    return files_fingerprint(scene.files) if scene.files else fingerprint(scene.href)
