"""The task that turns a scene's finished parts into its outputs, all appearing together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import rasterio
from rasterio.errors import RasterioIOError

from geoseg import __version__
from geoseg.area.class_areas import class_table
from geoseg.errors import PartError, SceneError, printable
from geoseg.inference.lattice import Block
from geoseg.inference.recipe import Recipe
from geoseg.jobs.block import Computed, pixel_areas
from geoseg.jobs.cluster import helpers
from geoseg.jobs.mapping_unit import merge_parts
from geoseg.jobs.outcome import Options
from geoseg.jobs.products import MapProduct, Named, write_products
from geoseg.outputs.parts import Part, check_part
from geoseg.outputs.stac import ItemInfo, write_item
from geoseg.outputs.staging import staging
from geoseg.scene.open import current_fingerprint

__all__ = ["DamagedPartsError", "SceneResult", "damaged_blocks", "publish_scene"]

_EMPTY = (
    "warning: no pixel got a class, so the map is nodata everywhere: a pixel needs a value in every band the "
    "model takes; look at the bands and their nodata values with geoseg info"
)


class DamagedPartsError(PartError):
    """Finished blocks that do not hold any more what was written to them."""

    def __init__(self, message: str, blocks: tuple[Block, ...]) -> None:
        """Say which.

        Args:
            message: What is wrong.
            blocks: All that are damaged.
        """
        super().__init__(message, blocks)  # both, so that it travels from a worker
        self.blocks = blocks

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneResult:
    """What became of one scene."""

    folder: Path
    """Where its outputs are."""
    n_polygons: int | None
    """None where polygons were not asked for."""
    notes: tuple[str, ...] = ()
    """What was found out while the outputs were made."""


def publish_scene(recipe: Recipe, computed: Computed, folder: Path, options: Options) -> SceneResult:
    """Write all outputs of a scene into a staging folder and rename it into place.

    Args:
        recipe: What was computed.
        computed: What its blocks left.
        folder: Final folder; its name is the scene's id.
        options: What the user chose.

    Raises:
        DamagedPartsError: If parts do not hold what was written to them; nothing appears.
        OutputError: If anything cannot be written or does not read back; nothing appears.
    """
    try:
        return _publish(recipe, computed, folder, options)
    except PartError as error:
        raise DamagedPartsError(str(error), damaged_blocks(computed.parts)) from error


def damaged_blocks(parts: Sequence[Part]) -> tuple[Block, ...]:
    """The blocks whose parts are not, byte by byte, as they were."""
    found = []
    for part in parts:
        try:
            check_part(part, quick=True)
        except PartError:
            found.append(part.block)
    return tuple(found)


def _publish(recipe: Recipe, computed: Computed, folder: Path, options: Options) -> SceneResult:
    if current_fingerprint(recipe.scene) != recipe.scene.fingerprint:
        raise SceneError(
            f"{printable(recipe.scene.href)}: changed while it was read, so its results would mix two contents; "
            "run again when it is at rest"
        )
    geobox, legend = recipe.geobox, recipe.legend
    metadata = {
        "GEOSEG_VERSION": __version__,
        "GEOSEG_MODEL": f"{recipe.model.card.name} {recipe.model.card.version}",
        "GEOSEG_KEY": recipe.key,
    }
    # a worker may die after the rename and before its answer is fetched: the task is then given to another one
    again = options.overwrite or _is_of(folder, recipe)
    with helpers() as (executor, at_once), staging(folder, overwrite=again) as stage:
        parts: Sequence[Part] = computed.parts
        totals = computed.totals
        if options.min_area is not None:
            parts, totals = merge_parts(parts, options.min_area, geobox, legend.nodata, executor)
        table = class_table(totals, legend, pixel_areas(geobox).unit_m2, expected=computed.expected)
        product = MapProduct(
            geobox=geobox,
            legend=legend,
            parts=parts,
            table=table,
            metadata=metadata,
            name=recipe.model.map_name,
            probabilities=options.probabilities,
        )
        written = write_products(product, Named(stage, folder.name), options, executor, at_once)
        # the item last: a folder that has it is complete
        write_item(
            stage / f"{folder.name}.json",
            written.assets,
            ItemInfo(
                id=folder.name,
                geobox=geobox,
                legend=legend,
                processed=datetime.now(UTC),
                acquired=recipe.scene.acquired,
                period=recipe.scene.period,
                model=metadata["GEOSEG_MODEL"],
                software={"geoseg": __version__, "gdal": rasterio.__gdal_version__},
                parameters=recipe.parameters | options.parameters | {"model_digest": recipe.model.digest},
                source=recipe.scene.href,
            ),
        )
    empty = () if totals.pixels[list(legend.values)].any() else (_EMPTY,)
    return SceneResult(folder=folder, n_polygons=written.n_polygons, notes=(*empty, *written.notes))


def _is_of(folder: Path, recipe: Recipe) -> bool:
    """Whether what is in a folder came of this recipe: whoever runs has seen before that nothing else was there."""
    try:
        with rasterio.open(folder / f"{folder.name}_{recipe.model.map_name}.tif") as dataset:
            return bool(dataset.tags().get("GEOSEG_KEY") == recipe.key)
    except RasterioIOError:
        return False
