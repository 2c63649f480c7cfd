"""The task that turns a scene's finished parts into its outputs, all appearing together."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from geoseg import __version__
from geoseg.area.class_areas import class_table
from geoseg.area.sums import ClassTotals, component_sums
from geoseg.errors import OutputError, SceneError, printable
from geoseg.inference.recipe import Recipe
from geoseg.jobs.block import pixel_areas
from geoseg.outputs.aside import Published
from geoseg.outputs.cog import write_class_cog, write_confidence_cog
from geoseg.outputs.parts import Part
from geoseg.outputs.stac import ItemInfo, write_item
from geoseg.outputs.staging import staging
from geoseg.outputs.tables import write_areas
from geoseg.scene.open import fingerprint

__all__ = ["SceneResult", "finished_areas", "publish_scene"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneResult:
    """What became of one scene."""

    folder: Path
    """Where its outputs are."""
    areas: Any
    """Area table, a DataFrame."""
    n_polygons: int | None
    """None where polygons were not asked for."""


def publish_scene(
    recipe: Recipe,
    parts: Sequence[Part],
    totals: ClassTotals,
    folder: Path,
    formats: Sequence[str],
    overwrite: bool,
) -> SceneResult:
    """Write all outputs of a scene into a staging folder and rename it into place.

    Args:
        recipe: What was computed.
        parts: All blocks.
        totals: Sums over all blocks.
        folder: Final folder; its name is the scene's id.
        formats: Of the polygons; none for no polygons.
        overwrite: Whether an existing folder is replaced.

    Raises:
        OutputError: If anything cannot be written or does not read back; then nothing appears.
    """
    if fingerprint(recipe.scene.href) != recipe.scene.fingerprint:
        raise SceneError(
            f"{printable(recipe.scene.href)}: changed while it was read, so its results would mix two contents; "
            "run again when it is at rest"
        )
    scene_id = folder.name
    geobox, legend = recipe.scene.geobox, recipe.model.legend
    areas = pixel_areas(geobox)
    metadata = {
        "GEOSEG_VERSION": __version__,
        "GEOSEG_MODEL": f"{recipe.model.card.name} {recipe.model.card.version}",
        "GEOSEG_KEY": recipe.key,
    }
    table = class_table(totals, legend, areas.unit_m2)
    with staging(folder, overwrite=overwrite) as stage:
        class_path = stage / f"{scene_id}_classes.tif"
        confidence_path = stage / f"{scene_id}_confidence.tif"
        with ThreadPoolExecutor(2) as pool:
            classes = pool.submit(write_class_cog, class_path, parts, geobox=geobox, legend=legend, metadata=metadata)
            confidence = pool.submit(write_confidence_cog, confidence_path, parts, geobox=geobox, metadata=metadata)
            assets: dict[str, Published] = {"classes": classes.result(), "confidence": confidence.result()}
        n_polygons = None
        if formats:
            polygons = _polygons(recipe, class_path, confidence_path)
            n_polygons = len(polygons)
            assets |= _write_polygons(polygons, stage, scene_id, formats, recipe, metadata)
        assets["areas"] = write_areas(table, stage / f"{scene_id}_areas.csv")
        # the item last: a folder that has it is complete
        write_item(
            stage / f"{scene_id}.json",
            assets,
            ItemInfo(
                id=scene_id,
                geobox=geobox,
                legend=legend,
                processed=datetime.now(UTC),
                acquired=recipe.scene.acquired,
                model=metadata["GEOSEG_MODEL"],
                software={"geoseg": __version__, "gdal": rasterio.__gdal_version__},
                parameters=recipe.parameters | {"model_digest": recipe.model.digest},
                source=recipe.scene.href,
            ),
        )
    return SceneResult(folder=folder, areas=table, n_polygons=n_polygons)


def _read(path: Path) -> Any:
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            return dataset.read(1)
    except rasterio.errors.RasterioError as error:
        raise OutputError(f"{path.name} does not read back: {error}; check the disk, then run again") from error


def _polygons(recipe: Recipe, class_path: Path, confidence_path: Path) -> Any:
    """A GeoDataFrame of all polygons, with true areas that add up to the area table."""
    import geopandas as gpd
    import pandas as pd

    from geoseg.vector.perimeter import perimeters_m
    from geoseg.vector.polygonize import polygonize

    geobox, legend = recipe.scene.geobox, recipe.model.legend
    polygons = polygonize(_read(class_path), transform=geobox.transform, nodata=legend.nodata)
    areas = pixel_areas(geobox)
    sums = component_sums(polygons.labels, len(polygons), areas, confidence=_read(confidence_path))
    names = dict(zip(legend.values, legend.names, strict=True))
    crs = geobox.crs
    assert crs is not None  # open_scene refuses scenes without one
    return gpd.GeoDataFrame(
        {
            "class_id": polygons.class_id.astype(np.int32),
            "class_name": pd.Series(polygons.class_id).map(names).astype("str"),
            "area_m2": sums.area_m2(areas.unit_m2),
            "perim_m": perimeters_m(polygons.rings, transform=geobox.transform, crs=crs.proj),
            "mean_conf": sums.mean_conf(),
        },
        geometry=polygons.geometry,
        crs=crs.proj,
    )


def _write_polygons(
    polygons: Any, stage: Path, scene_id: str, formats: Sequence[str], recipe: Recipe, metadata: dict[str, str]
) -> dict[str, Published]:
    from geoseg.outputs.vectors import FORMATS, write_polygons

    return {
        # the first format is the main one; further ones say which they are
        ("polygons" if i == 0 else f"polygons_{name}"): write_polygons(
            polygons,
            stage / f"{scene_id}_polygons{FORMATS[name].suffix}",
            format=name,
            legend=recipe.model.legend,
            metadata=metadata,
        )
        for i, name in enumerate(dict.fromkeys(formats))
    }


def finished_areas(folder: Path, key: str, formats: Sequence[str]) -> Any | None:
    """The area table of a folder that holds the finished results of this very run; None if it holds anything else.

    Args:
        folder: Of a scene.
        key: The recipe's.
        formats: Polygon formats that have to be there.
    """
    import pandas as pd

    from geoseg.outputs.vectors import FORMATS

    try:
        item = json.loads((folder / f"{folder.name}.json").read_text("utf-8"))
        if item["properties"]["geoseg:parameters"]["key"] != key:
            return None
        sizes = {folder / asset["href"]: asset["file:size"] for asset in item["assets"].values()}
        wanted = [folder / f"{folder.name}_polygons{FORMATS[name].suffix}" for name in formats]
        if any(path.stat().st_size != size for path, size in sizes.items()) or not all(p.is_file() for p in wanted):
            return None
        # a class may be called None or NA: only an empty number is a missing one
        empty = {"percent": [""], "mean_conf": [""]}
        table = folder / f"{folder.name}_areas.csv"
        return pd.read_csv(table, dtype={"class_name": "str"}, keep_default_na=False, na_values=empty)
    except (OSError, ValueError, KeyError, TypeError):
        return None
