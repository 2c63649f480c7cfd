"""`geoseg vectorize`: any categorical raster as polygons."""

from pathlib import Path
from typing import Any

import click

from geoseg.cli.input_options import aoi_options, legend_option, outside_option
from geoseg.cli.manner import talk_options
from geoseg.cli.output_options import outline_options

__all__ = ["vectorize"]


@click.command()
@click.argument("classes", metavar="CLASSES.tif")
@click.option(
    "-o",
    "--output",
    "outputs",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    multiple=True,
    help="File of the polygons: .gpkg, .shp, .fgb, .parquet or .geojson; may be given several times.",
)
@aoi_options
@legend_option
@outside_option
@outline_options
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@talk_options
def vectorize(classes: str, outputs: tuple[Path, ...], **asked: Any) -> None:
    """Polygons of CLASSES.tif, any raster of classes: a valid coverage with true areas.

    Names and colours are those of the file, where it has them.
    """
    from geoseg.cli.talk import Talk, set_up_logging
    from geoseg.errors import InputError, OutputError, printable

    verbosity = -1 if asked["quiet"] else asked["verbose"]
    set_up_logging(verbosity, asked["log_format"])
    if len({output.absolute() for output in outputs}) < len(outputs):
        raise click.UsageError("the same --output is given twice: give each file once")

    from geoseg.cli.input_options import aoi_of
    from geoseg.cli.output_options import outlines_of
    from geoseg.jobs.vectorize import HELD_PX, files_of, vectorize_raster
    from geoseg.outputs.aside import check_folder
    from geoseg.scene.class_raster import open_class_raster

    for output in outputs:
        check_folder(output)
        taken = [file for file in files_of(output) if file.exists()]
        if taken and not asked["overwrite"]:
            # a table or a style with the name of a side file is somebody's work, too
            beside = "" if taken[0] == output else f", beside which {printable(output)} would be written,"
            raise OutputError(
                f"{printable(taken[0])}{beside} is there already: name another --output, or give --overwrite"
            )
    outlines, min_area = outlines_of(asked)
    aoi = aoi_of(asked)
    raster = open_class_raster(classes, legend=asked["legend"], hold_px=HELD_PX)
    inside = None if aoi is None else aoi.inside(raster.geobox)
    if aoi is not None and inside is None:
        raise InputError(
            f"{printable(classes)}: lies outside of the area of interest ({aoi.label}): check its coordinates and CRS"
        )
    with Talk(verbosity=verbosity, log_format=asked["log_format"]) as talk:
        for note in () if aoi is None else aoi.zones.notes:
            talk.say(note)
        for note in raster.notes:
            talk.say(f"{printable(classes)}: {note}")
        drawn = vectorize_raster(
            raster,
            outputs,
            outlines=outlines,
            min_area=min_area,
            inside=inside,
            overwrite=asked["overwrite"],
            listen=talk,
        )
        if outlines.smooth or outlines.simplify is not None:
            talk.say(str(drawn.area_change or ""))
        talk.say(f"{drawn.n} polygons in {', '.join(str(printable(o)) for o in outputs)}")
