"""netCDF files and Zarr stores: every variable that is a raster is a band."""

from pathlib import Path

from geoseg.errors import SceneError, printable
from geoseg.scene.assemble import Layer, QualityLayer, assemble
from geoseg.scene.guard import variables_of
from geoseg.scene.names import common_name
from geoseg.scene.products.band_files import QUALITY
from geoseg.scene.products.wanted import Wanted
from geoseg.scene.scene import Scene

__all__ = ["open_variables"]


def open_variables(href: str, wanted: Wanted) -> Scene:
    """The scene of the variables of a netCDF file or a Zarr store, on the finest of their grids.

    Bands are called by their variables; scale, offset and nodata are the variables' own (``scale_factor``,
    ``add_offset``, ``_FillValue``). Variables called SCL, QA_PIXEL or Fmask are masks of clouds.

    Args:
        href: The file, or the folder of the store.
        wanted: What the user asks for.

    Raises:
        SceneError: If it cannot be opened, holds no variables, or some of several times or levels.
        ParameterError: If bands are named that have names.
    """
    variables = variables_of(href)
    bands = {name: inside for name, inside in variables.items() if name.lower() not in QUALITY}
    masks = [
        QualityLayer(href=inside, title=known.title, values=known.values, bits=known.bits)
        for name, inside in variables.items()
        if (known := QUALITY.get(name.lower())) is not None
    ]
    if not bands:
        raise SceneError(f"{printable(href)}: holds no variable that is a raster; check with gdalinfo what it holds")
    names = [common_name(name) for name in bands]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise SceneError(
            f"{printable(href)}: several of its variables ({printable(', '.join(bands))}) are {', '.join(twice)}; "
            "write those that are meant to a file of their own"
        )
    wanted.refuse_names(href, names)
    if not masks:
        wanted.refuse_clouds(href, f"has no variable called {', '.join(q.title for q in QUALITY.values())}")
    scale, offset = wanted.scaling(1.0, 0.0) if wanted.scaled else (None, None)
    layers = [
        Layer(name=name, href=inside, title=variable, scale=scale, offset=offset)
        for name, (variable, inside) in zip(names, bands.items(), strict=True)
    ]
    kind = "Zarr store" if Path(href).is_dir() else "netCDF file"
    return assemble(
        href,
        layers,
        scene_id="",
        product=f"{kind}: {', '.join(printable(b) for b in bands)}",
        quality=masks[:1] if wanted.mask_clouds else (),
        clouds=f"{masks[0].title}: cloud and shadow" if masks else "",
        scaled=True if wanted.scaled else None,
    )
