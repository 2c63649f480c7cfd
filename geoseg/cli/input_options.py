"""Options of what is read, shared by several commands: which files, what pixels mean, which part, on which grid."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geoseg.cli.options import by_user

if TYPE_CHECKING:
    from geoseg.area.aoi import Aoi
    from geoseg.scene.target import Target

__all__ = [
    "aoi_of",
    "aoi_options",
    "band_files_option",
    "band_options",
    "clouds_option",
    "comma_separated",
    "legend_option",
    "mosaic_of",
    "mosaic_options",
    "outside_option",
    "target_of",
    "target_options",
]

F = TypeVar("F", bound=Callable[..., Any])


def comma_separated(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """``blue,green,red`` as a tuple of names."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    if not all(names):
        raise click.BadParameter("write names separated by commas, such as blue,green,red,nir")
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise click.BadParameter(f"{twice[0]!r} is named twice: name each once")
    return names


def band_options(command: F) -> F:
    """What the pixels of the files mean."""
    for option in (
        click.option("--offset", type=float, help="Physical value of a stored 0, for all bands."),
        click.option("--scale", type=float, help="Physical value per stored unit, for all bands, such as 0.0001."),
        click.option("--bands", callback=comma_separated, metavar="NAME,...",
                     help="Names of the files' bands in file order, such as blue,green,red,nir."),
    ):  # fmt: skip
        command = option(command)
    return outside_option(command)


def outside_option(command: F) -> F:
    """Where files may lead; set for the process, so commands are not given it."""
    text = (
        "Where VRTs and STAC items may lead beyond their own folder; can be repeated. Only for files whose author you "
        "know: they could read anything there."
    )
    return click.option(
        "--allow-outside", multiple=True, metavar="DIR|URL", expose_value=False, callback=_allow, help=text
    )(command)


def _allow(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        from geoseg.scene.allowed import allow_outside

        allow_outside(value)


def clouds_option(command: F) -> F:
    """What of a product is left out."""
    text = "Cloud and shadow, by the product's own mask, become nodata."
    return click.option("--mask-clouds", is_flag=True, help=text)(command)


def band_files_option(command: F) -> F:
    """Which files of a folder belong together."""
    text = "How files are called that are bands of one scene: 'B{band}.tif', '*_{band}.tif'."
    return click.option("--band-files", metavar="PATTERN", help=text)(command)


def mosaic_options(command: F) -> F:
    """Whether files that touch are one scene; `mosaic_of` makes values of them."""
    for option in (
        click.option("--mosaic-outputs", type=click.Choice(["whole", "each"]), default="whole", show_default=True,
                     help="One result for a mosaic, or one for each of its files, cut from it without a seam."),
        click.option("--mosaic", type=click.Choice(["order", "newest", "least-cloud"]),
                     help="Files that touch or overlap on one pixel grid are one scene; where several are valid, the "
                          "first named, the newest or that with least cloud is taken."),
    ):  # fmt: skip
        command = option(command)
    return command


def mosaic_of(asked: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `geoseg.jobs.outcome.Options` for mosaics."""
    if by_user("mosaic_outputs") and asked["mosaic"] is None:
        raise click.UsageError("--mosaic-outputs is of no use without --mosaic: say which file goes first")
    return {"mosaic": asked["mosaic"], "mosaic_outputs": asked["mosaic_outputs"]}


def aoi_options(command: F) -> F:
    """Which part of the scenes is wanted; `aoi_of` reads it."""
    for option in (
        click.option("--bbox-crs", metavar="CRS", help="What the box is in, x before y, such as EPSG:32633 [degrees]."),
        click.option("--bbox", metavar="W,S,E,N",
                     help="A box in longitude and latitude instead; W beyond E crosses the antimeridian."),
        click.option("--aoi", metavar="FILE[:LAYER]",
                     help="Polygons, in any CRS: only windows that touch them are read, outside of them is nodata."),
    ):  # fmt: skip
        command = option(command)
    return command


def aoi_of(asked: dict[str, Any]) -> "Aoi | None":
    """The area of interest of ``--aoi``, or of ``--bbox`` and ``--bbox-crs``, read and checked.

    Raises:
        GeosegError: If it cannot be used.
    """
    source, box, crs = asked["aoi"], asked["bbox"], asked["bbox_crs"]
    if source is not None and box is not None:
        raise click.UsageError("--aoi and --bbox exclude one another: give one of them")
    if crs is not None and box is None:
        raise click.UsageError("--bbox-crs is of no use without --bbox: a file of --aoi has its own CRS")
    if source is None and box is None:
        return None
    from geoseg.area.aoi import LON_LAT, bbox_aoi, file_aoi

    if source is not None:
        return file_aoi(source)
    try:
        bounds = [float(part) for part in str(box).strip("[]").split(",")]
    except ValueError:
        bounds = []
    if len(bounds) != 4:
        raise click.UsageError(f"--bbox {box}: write west,south,east,north, such as --bbox=12.9,50.1,13.3,50.4")
    return bbox_aoi(bounds, crs or LON_LAT)


def target_options(command: F) -> F:
    """On which grid the maps of all scenes are wanted as one; `target_of` makes a value of them."""
    for option in (
        click.option("--dst-res", type=click.FloatRange(0, min_open=True), metavar="UNITS",
                     help="Its pixels, in units of that CRS [as gdalwarp, of the finest scene]."),
        click.option("--dst-crs", metavar="CRS",
                     help="Also put the maps of all scenes on one grid, such as EPSG:3035: one class map with its "
                          "polygons and areas, in the folder whole."),
    ):  # fmt: skip
        command = option(command)
    return command


def target_of(asked: dict[str, Any]) -> "Target | None":
    """The grid of ``--dst-crs`` and ``--dst-res``.

    Raises:
        ParameterError: If the CRS is not known, or none of a map.
    """
    if asked["dst_crs"] is None:
        if asked["dst_res"] is not None:
            raise click.UsageError("--dst-res is of no use without --dst-crs: give the CRS that it counts in")
        return None
    from geoseg.scene.target import Target

    return Target(crs=asked["dst_crs"], resolution=asked["dst_res"])


def legend_option(command: F) -> F:
    """Names for a raster that has none."""
    text = "A well-known legend to take class names from: worldcover, dynamic-world, nlcd, corine, cdl [the file's]."
    return click.option("--legend", metavar="NAME", help=text)(command)
