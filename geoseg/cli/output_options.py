"""Options of what is made of a class map, shared by several commands: where, polygons, areas in zones."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geoseg.cli.options import by_user

if TYPE_CHECKING:
    from geoseg.area.zones import Zones
    from geoseg.vector.min_area import MinArea
    from geoseg.vector.vectorizer import Outlines

__all__ = [
    "drawing_options",
    "formats_of",
    "min_area_of",
    "min_area_option",
    "outline_options",
    "outlines_of",
    "output_option",
    "polygon_options",
    "refuse_idle_outlines",
    "zone_options",
    "zones_of",
]

F = TypeVar("F", bound=Callable[..., Any])

_FORMATS = ("gpkg", "shp", "fgb", "parquet", "geojson")


def output_option(command: F) -> F:
    """Where the results of many inputs go."""
    kind: Any = click.Path(path_type=Path, file_okay=False)
    text = "Folder of the results; made if missing."
    return click.option("-o", "--output", type=kind, required=True, help=text)(command)


def polygon_options(command: F) -> F:
    """Whether polygons are made, and in which formats; `formats_of` makes a value of them."""
    for option in (
        click.option("--polygons/--no-polygons", default=True, show_default=True, help="Whether to make polygons."),
        click.option("-f", "--format", "formats", multiple=True, type=click.Choice(_FORMATS), default=("gpkg",),
                     show_default=True, help="Of the polygons; may be given several times."),
    ):  # fmt: skip
        command = option(command)
    return command


def refuse_idle_outlines(asked: dict[str, Any]) -> None:
    """Refuse options of polygons where none are made.

    Raises:
        UsageError: With the first of them.
    """
    drawn = [f"--{name}" for name in ("smooth", "simplify", "connectivity", "formats") if by_user(name)]
    if drawn and not asked["polygons"]:
        raise click.UsageError(
            f"{drawn[0].replace('formats', 'format')} is of no use with --no-polygons: leave one out"
        )


def formats_of(asked: dict[str, Any]) -> tuple[str, ...]:
    """The formats of the polygons, each once; none for no polygons."""
    return tuple(dict.fromkeys(asked["formats"])) if asked["polygons"] else ()


def outline_options(command: F) -> F:
    """How polygons are drawn, and the smallest; `outlines_of` makes values of them."""
    return min_area_option(drawing_options(command))


def min_area_option(command: F) -> F:
    """The smallest region that stays; `min_area_of` makes a value of it."""
    text = (
        "Merge smaller regions into the neighbour with the longest shared border, before all else: 0.5ha, 400m2, 1km2, "
        "9px."
    )
    return click.option("--min-area", metavar="AREA", help=text)(command)


def min_area_of(asked: dict[str, Any]) -> "MinArea | None":
    """The smallest region that stays, where that is asked for.

    Raises:
        ParameterError: If it is no area.
    """
    from geoseg.vector.min_area import parse_min_area

    smallest = asked.get("min_area")
    return None if smallest is None else parse_min_area(smallest)


def drawing_options(command: F) -> F:
    """How polygons are drawn; `outlines_of` makes values of them."""
    for option in (
        click.option("--connectivity", type=click.Choice(["4", "8"]), default="4", show_default=True,
                     help="With 8, pixels that touch at a corner are one multipolygon."),
        click.option("--simplify", metavar="DISTANCE",
                     help="Simplify shared borders together, with a tolerance such as 10m or 1.5px, after "
                          "--smooth; all polygons are held in memory for it."),
        click.option("--smooth", is_flag=True,
                     help="Round the stairs of pixels, on shared borders together."),
    ):  # fmt: skip
        command = option(command)
    return command


def outlines_of(asked: dict[str, Any]) -> tuple["Outlines", "MinArea | None"]:
    """How polygons are drawn, and the smallest region that stays.

    Raises:
        ParameterError: If a distance or an area is none.
    """
    from geoseg.vector.simplify import parse_distance
    from geoseg.vector.vectorizer import Outlines

    outlines = Outlines(
        connectivity=8 if asked["connectivity"] == "8" else 4,
        smooth=asked["smooth"],
        simplify=None if asked["simplify"] is None else parse_distance(asked["simplify"]),
    )
    return outlines, min_area_of(asked)


def zone_options(command: F) -> F:
    """For which zones areas are wanted; `zones_of` reads them."""
    for option in (
        click.option("--zone-id", metavar="COLUMN", help="Their column of names or numbers."),
        click.option("--zones", metavar="FILE[:LAYER]",
                     help="Polygons to give the areas of classes in; of pixels on a border the part inside counts."),
    ):  # fmt: skip
        command = option(command)
    return command


def zones_of(asked: dict[str, Any]) -> "Zones | None":
    """The zones of ``--zones`` and ``--zone-id``, read and checked.

    Raises:
        GeosegError: If they cannot be used.
    """
    source, column = asked["zones"], asked["zone_id"]
    if source is None and column is None:
        return None
    if source is None or column is None:
        raise click.UsageError("--zones and --zone-id go together: give the file of the zones and their column")
    from geoseg.area.zone_file import read_zones

    return read_zones(source, id_column=column)
