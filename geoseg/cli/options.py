"""Options that several commands share: each is defined once and means one thing everywhere."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import yaml

if TYPE_CHECKING:
    from geoseg.area.aoi import Aoi
    from geoseg.area.zones import Zones
    from geoseg.jobs.outcome import Options
    from geoseg.legend import Legend
    from geoseg.models.choose import Choice
    from geoseg.models.load import Model
    from geoseg.scene.target import Target
    from geoseg.vector.min_area import MinArea
    from geoseg.vector.vectorizer import Outlines

__all__ = [
    "aoi_of",
    "aoi_options",
    "band_files_option",
    "band_options",
    "by_user",
    "chosen_of",
    "clouds_option",
    "cluster_options",
    "comma_separated",
    "compute_options",
    "decision_of",
    "decision_options",
    "drawing_options",
    "formats_of",
    "legend_option",
    "min_area_of",
    "min_area_option",
    "mosaic_of",
    "mosaic_options",
    "of_one_date",
    "outline_options",
    "outlines_of",
    "output_option",
    "outside_option",
    "polygon_options",
    "read_config",
    "refuse_idle_outlines",
    "segment_options",
    "segment_options_of",
    "target_of",
    "target_options",
    "trust_option",
    "zone_options",
    "zones_of",
]

F = TypeVar("F", bound=Callable[..., Any])

_FORMATS = ("gpkg", "shp", "fgb", "parquet", "geojson")


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


def read_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    """Options from a YAML file, as defaults: what the command line says wins."""
    if value is None:
        return
    try:
        content = yaml.safe_load(value.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise click.BadParameter(f"{value} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise click.BadParameter(f"{value} is not a mapping of options to values, such as 'overlap: 0.5'")
    options = {
        o.lstrip("-").replace("-", "_"): p.name for p in ctx.command.params for o in (*p.opts, *p.secondary_opts)
    }
    defaults = {}
    negated = {o.lstrip("-").replace("-", "_") for p in ctx.command.params for o in p.secondary_opts}
    for key, setting in content.items():
        name = options.get(str(key).replace("-", "_"))
        if name is None or name in ("config", "inputs"):
            known = ", ".join(sorted(o.replace("_", "-") for o in options if len(o) > 1 and o != "config"))
            raise click.BadParameter(f"{value}: option {key!r} is not known; known are {known}")
        if name == "bands" and isinstance(setting, list):
            setting = ",".join(map(str, setting))
        elif str(key).replace("-", "_") in negated:
            if not isinstance(setting, bool):
                raise click.BadParameter(f"{value}: option {key!r} is true or false, not {setting!r}")
            setting = not setting
        defaults[name] = setting
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


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


def compute_options(command: F) -> F:
    """How and where the network is run."""
    from geoseg.inference.blend import BLENDS

    for option in (
        click.option("--threads", type=click.IntRange(1), help="CPU threads of the network in each process."),
        click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto",
                     help="Arithmetic of the network; auto is bfloat16 on GPUs that have it, else float32."),
        click.option("--device", default="auto", metavar="[auto|cpu|cuda[:N]|mps]", help="Where the network runs."),
        click.option("--batch-size", type=click.IntRange(1),
                     help="Windows per forward pass; a network may round otherwise in other batches [1; 16 on GPUs]."),
        click.option("--blend", type=click.Choice(BLENDS), help="Weight shape where windows overlap [the model's]."),
        click.option("--overlap", type=click.FloatRange(0, 1, max_open=True),
                     help="Share of a window that two neighbours have in common [the model's]."),
        click.option("--window", type=click.IntRange(1), help="Pixels along a side of a window [the model's]."),
    ):  # fmt: skip
        command = option(command)
    return command


def output_option(command: F) -> F:
    """Where the results of many inputs go."""
    kind: Any = click.Path(path_type=Path, file_okay=False)
    text = "Folder of the results; made if missing."
    return click.option("-o", "--output", type=kind, required=True, help=text)(command)


def cluster_options(command: F) -> F:
    """Where the work is done: arguments of `geoseg.jobs.cluster.connect`."""
    for option in (
        click.option("--scheduler-file", type=click.Path(exists=True, dir_okay=False),
                     help="Its connection file instead."),
        click.option("--scheduler", metavar="ADDRESS", help="A running Dask scheduler, such as tcp://host:8786."),
        click.option("-j", "--workers", type=click.IntRange(0), default=0, show_default=True,
                     help="Processes on this machine; 0 computes in this one and opens no port."),
    ):  # fmt: skip
        command = option(command)
    return command


def segment_options(command: F) -> F:
    """How scenes are segmented, beside their bands and the network; `segment_options_of` makes a value of all."""
    for option in (
        click.option("--native-grid", is_flag=True,
                     help="Results on the grid of the scene's own pixels where these are resampled for the model."),
        click.option("--force", is_flag=True, help="Go on where unit or pixels do not fit the model; take any size."),
        click.option("--restart", is_flag=True,
                     help="Compute again what a run that died had finished of a scene; with --overwrite what is "
                          "finished and unchanged, too."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
                     help="Of the pixels that kmeans looks at."),
        click.option("--block-size", type=int, metavar="PX", help="Side of a block, a multiple of 512 [planned]."),
    ):  # fmt: skip
        command = option(command)
    return command


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


def trust_option(command: F) -> F:
    """Whether formats that can run code are accepted."""
    text = "Accept a model that is a program (TorchScript, .pt2, module:Class): it can do whatever you can."
    return click.option("--trust-model", is_flag=True, help=text)(command)


def segment_options_of(asked: dict[str, Any], *, decided: dict[str, Any] | None = None, **more: Any) -> "Options":
    """What `band_options`, `compute_options` and `segment_options` say of a run.

    Args:
        asked: What was parsed; with ``--overwrite``, and ``--scheduler`` and ``--scheduler-file`` where there are such.
        decided: How classes are chosen, what `decision_of` gave; the most likely one by default.
        more: The other options of the run.

    Raises:
        ParameterError: If a value cannot be used, or the device is not there.
    """
    from geoseg.inference.engine import choose_device
    from geoseg.inference.recipe import Choices
    from geoseg.jobs.outcome import Options

    # the devices of a cluster are its workers' own: this machine need not have one like them
    elsewhere = asked.get("scheduler") or asked.get("scheduler_file")
    device = asked["device"] if elsewhere else str(choose_device(asked["device"]))
    names = ("window", "overlap", "blend", "batch_size", "precision", "threads", "seed", "force", "native_grid")
    return Options(
        choices=Choices(**{name: asked[name] for name in names}, device=device, **(decided or {})),
        **{
            name: asked[name]
            for name in ("bands", "scale", "offset", "mask_clouds", "block_size", "overwrite", "restart")
        },
        **more,
    )


def by_user(name: str) -> bool:
    """Whether the command line itself gives an option."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def chosen_of(asked: dict[str, Any], rasters: "Sequence[str]") -> "Choice":
    """The shipped model that is taken for some rasters where none is named."""
    from geoseg.models.choose import choose_model
    from geoseg.scene.open import open_scene

    pixels = {name: asked[name] for name in ("bands", "scale", "offset", "mask_clouds")}
    return choose_model(rasters, lambda href: open_scene(href, **pixels))


def of_one_date(model: "Model") -> "Model":
    """The model, where it takes one scene at a time.

    Raises:
        ModelError: If it takes several dates, as no scene can be segmented by it.
    """
    if model.card.dates > 1:
        from geoseg.errors import ModelError

        raise ModelError(
            f"model {model.card.name} takes {model.card.dates} dates: give both with geoseg change BEFORE AFTER --model"
        )
    return model


def decision_options(command: F) -> F:
    """How classes are chosen from what the network says; `decision_of` makes values of them."""
    from geoseg.inference.turns import TTAS

    for option in (
        click.option("--min-confidence", type=click.FloatRange(0, 1, min_open=True), metavar="P",
                     help="Leave pixels undecided whose most likely class is less probable than this, such as 0.6."),
        click.option("--cost-matrix", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="CSV",
                     help="Decide at least expected cost: a row for each decision, a column for each truth."),
        click.option("--tta", type=click.Choice(TTAS), default="none", show_default=True,
                     help="Test-time augmentation: average over flips (4 times the time), or turns, too (8 times)."),
    ):  # fmt: skip
        command = option(command)
    return command


def decision_of(asked: dict[str, Any], legend: "Legend") -> dict[str, Any]:
    """Arguments of `geoseg.inference.recipe.Choices` for how classes are chosen.

    Args:
        asked: What the command was asked.
        legend: Of the model, whose classes the cost matrix names.

    Raises:
        InputError: If the cost matrix cannot be used.
    """
    from geoseg.inference.decision import read_costs

    if asked["cost_matrix"] is not None and asked["min_confidence"] is not None:
        raise click.UsageError(
            "--min-confidence and --cost-matrix exclude one another: give the matrix a row 'reject' with its cost"
        )
    costs = None if asked["cost_matrix"] is None else read_costs(asked["cost_matrix"], legend)
    return {"costs": costs, "min_confidence": asked["min_confidence"], "tta": asked["tta"]}


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
                     help="Simplify shared borders together, with a tolerance such as 10m or 1.5px, after --min-area "
                          "and --smooth; all polygons are held in memory for it."),
        click.option("--smooth", is_flag=True,
                     help="Round the stairs of pixels, on shared borders together, after --min-area."),
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
