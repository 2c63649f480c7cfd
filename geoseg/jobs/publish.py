"""The task that turns a scene's finished parts into its outputs, all appearing together."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import rasterio
from rasterio.errors import RasterioIOError

from geoseg import __version__
from geoseg.area.class_areas import class_table
from geoseg.area.zone_areas import zone_areas
from geoseg.errors import PartError, SceneError, printable
from geoseg.inference.lattice import Block
from geoseg.inference.recipe import Recipe
from geoseg.jobs.block import Computed, pixel_areas
from geoseg.jobs.cluster import helpers
from geoseg.jobs.mapping_unit import merge_parts
from geoseg.jobs.outcome import Options
from geoseg.jobs.polygons import patches_only, scene_vectorizer
from geoseg.outputs.aside import Published
from geoseg.outputs.cog import write_class_cog, write_confidence_cog, write_probability_cog
from geoseg.outputs.parts import Part, check_part
from geoseg.outputs.stac import ItemInfo, write_item
from geoseg.outputs.staging import staging
from geoseg.outputs.tables import write_areas
from geoseg.outputs.vectors import FORMATS, write_polygons
from geoseg.scene.class_raster import open_class_raster
from geoseg.scene.open import current_fingerprint
from geoseg.vector.vectorizer import Drawn, Outlines

__all__ = ["DamagedPartsError", "SceneResult", "damaged_blocks", "publish_scene"]


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
        named = _Names(stage, folder.name)
        change = recipe.model.card.dates > 1
        assets = _write_rasters(named, parts, recipe, metadata, probabilities=options.probabilities)
        drawn = Drawn() if options.formats else None
        if drawn is not None:
            vectorizer = scene_vectorizer(
                geobox,
                legend,
                options.outlines,
                classes=named(f"{recipe.model.map_name}.tif"),
                confidence=named("confidence.tif"),
                probabilities=named("probabilities.tif") if options.probabilities else None,
            )
            if change:
                vectorizer = patches_only(vectorizer)
            features = vectorizer.features(executor, at_once=at_once, drawn=drawn)
            for i, name in enumerate(options.formats):
                # the first format is the main one; further ones say which they are
                assets["polygons" if i == 0 else f"polygons_{name}"] = write_polygons(
                    features,
                    named(f"polygons{FORMATS[name].suffix}"),
                    format=name,
                    legend=vectorizer.legend,
                    metadata=metadata,
                    **({"layer": "change"} if change else {}),
                )
        assets["areas"] = write_areas(table, named("areas.csv"))
        notes = _notes(options.outlines, drawn)
        if options.zones is not None:
            zones = zone_areas(open_class_raster(named(f"{recipe.model.map_name}.tif"), legend=legend), options.zones)
            assets["zones"] = write_areas(zones.table, named("zones.csv"))
            notes = (*notes, *(note for note in zones.notes if note not in options.zones.notes))
        # the item last: a folder that has it is complete
        write_item(
            stage / f"{folder.name}.json",
            assets,
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
    return SceneResult(folder=folder, n_polygons=None if drawn is None else drawn.n, notes=notes)


def _is_of(folder: Path, recipe: Recipe) -> bool:
    """Whether what is in a folder came of this recipe: whoever runs has seen before that nothing else was there."""
    try:
        with rasterio.open(folder / f"{folder.name}_{recipe.model.map_name}.tif") as dataset:
            return bool(dataset.tags().get("GEOSEG_KEY") == recipe.key)
    except RasterioIOError:
        return False


@dataclass(frozen=True, slots=True)
class _Names:
    """Paths of a scene's outputs in the staging folder."""

    stage: Path
    scene_id: str

    def __call__(self, ending: str) -> Path:
        return self.stage / f"{self.scene_id}_{ending}"


def _write_rasters(
    named: _Names, parts: Sequence[Part], recipe: Recipe, metadata: dict[str, str], *, probabilities: bool
) -> dict[str, Published]:
    geobox, legend = recipe.geobox, recipe.legend
    with ThreadPoolExecutor(2) as pool:
        classes = pool.submit(
            write_class_cog,
            named(f"{recipe.model.map_name}.tif"),
            parts,
            geobox=geobox,
            legend=legend,
            metadata=metadata,
            **({"description": "land-cover change"} if recipe.model.card.dates > 1 else {}),
        )
        confidence = pool.submit(write_confidence_cog, named("confidence.tif"), parts, geobox=geobox, metadata=metadata)
        assets: dict[str, Published] = {recipe.model.map_name: classes.result(), "confidence": confidence.result()}
    if probabilities:
        assets["probabilities"] = write_probability_cog(
            named("probabilities.tif"), parts, geobox=geobox, legend=legend, metadata=metadata
        )
    return assets


def _notes(outlines: Outlines, drawn: Drawn | None) -> tuple[str, ...]:
    """What drawing did to the areas."""
    if drawn is None or drawn.area_change is None or not (outlines.smooth or outlines.simplify is not None):
        return ()
    return (str(drawn.area_change),)
