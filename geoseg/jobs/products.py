"""The files of one map, whatever it was made of: rasters, polygons and tables, written into a staging folder."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox

from geoseg.area.zone_areas import zone_areas
from geoseg.jobs.outcome import Options
from geoseg.jobs.polygons import patches_only, scene_vectorizer
from geoseg.legend import Legend
from geoseg.outputs.aside import Published
from geoseg.outputs.cog import write_class_cog, write_confidence_cog, write_probability_cog
from geoseg.outputs.parts import Part
from geoseg.outputs.tables import write_areas
from geoseg.outputs.vectors import FORMATS, write_polygons
from geoseg.scene.class_raster import open_class_raster
from geoseg.vector.vectorizer import Drawn, Outlines

__all__ = ["MapProduct", "Named", "Written", "write_products"]


@dataclass(frozen=True, slots=True)
class Named:
    """Paths of a map's files in the staging folder."""

    stage: Path
    scene_id: str

    def __call__(self, ending: str) -> Path:
        """``<stage>/<id>_<ending>``."""
        return self.stage / f"{self.scene_id}_{ending}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapProduct:
    """A finished map that has no files yet but its parts."""

    geobox: GeoBox
    """Its pixel grid."""
    legend: Legend
    """Its classes."""
    parts: Sequence[Part]
    """They cover it, each pixel once."""
    table: Any
    """Its areas, a DataFrame."""
    metadata: Mapping[str, str]
    """Tags of its files."""
    name: str = "classes"
    """What its raster of classes is called: ``change`` where these are changes between two dates."""
    probabilities: bool = False
    """Whether the parts hold those of all classes, too."""

    @property
    def is_change(self) -> bool:
        """Whether its classes are changes."""
        return self.name == "change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a map."""

    assets: dict[str, Published]
    """By what they are."""
    n_polygons: int | None
    """None where polygons were not asked for."""
    notes: tuple[str, ...]
    """What was found out meanwhile."""


def write_products(product: MapProduct, named: Named, options: Options, executor: Executor, at_once: int) -> Written:
    """Write rasters, polygons and tables of a map.

    Args:
        product: The map.
        named: Where its files go.
        options: What the user chose.
        executor: Runs the work on blocks of polygons.
        at_once: How many at once.

    Raises:
        OutputError: If anything cannot be written or does not read back.
    """
    assets = _write_rasters(product, named)
    drawn = Drawn() if options.formats else None
    if drawn is not None:
        vectorizer = scene_vectorizer(
            product.geobox,
            product.legend,
            options.outlines,
            classes=named(f"{product.name}.tif"),
            confidence=named("confidence.tif"),
            probabilities=named("probabilities.tif") if product.probabilities else None,
        )
        if product.is_change:
            vectorizer = patches_only(vectorizer)
        features = vectorizer.features(executor, at_once=at_once, drawn=drawn)
        for i, name in enumerate(options.formats):
            # the first format is the main one; further ones say which they are
            assets["polygons" if i == 0 else f"polygons_{name}"] = write_polygons(
                features,
                named(f"polygons{FORMATS[name].suffix}"),
                format=name,
                legend=vectorizer.legend,
                metadata=product.metadata,
                layer="change" if product.is_change else "landcover",
            )
    assets["areas"] = write_areas(product.table, named("areas.csv"))
    notes = _notes(options.outlines, drawn)
    if options.zones is not None:
        classes = open_class_raster(named(f"{product.name}.tif"), legend=product.legend)
        zones = zone_areas(classes, options.zones)
        assets["zones"] = write_areas(zones.table, named("zones.csv"))
        notes = (*notes, *(note for note in zones.notes if note not in options.zones.notes))
    return Written(assets=assets, n_polygons=None if drawn is None else drawn.n, notes=notes)


def _write_rasters(product: MapProduct, named: Named) -> dict[str, Published]:
    parts, geobox, metadata = product.parts, product.geobox, product.metadata
    with ThreadPoolExecutor(2) as pool:
        classes = pool.submit(
            write_class_cog,
            named(f"{product.name}.tif"),
            parts,
            geobox=geobox,
            legend=product.legend,
            metadata=metadata,
            **({"description": "land-cover change"} if product.is_change else {}),
        )
        confidence = pool.submit(write_confidence_cog, named("confidence.tif"), parts, geobox=geobox, metadata=metadata)
        assets: dict[str, Published] = {product.name: classes.result(), "confidence": confidence.result()}
    if product.probabilities:
        assets["probabilities"] = write_probability_cog(
            named("probabilities.tif"), parts, geobox=geobox, legend=product.legend, metadata=metadata
        )
    return assets


def _notes(outlines: Outlines, drawn: Drawn | None) -> tuple[str, ...]:
    """What drawing did to the areas."""
    if drawn is None or drawn.area_change is None or not (outlines.smooth or outlines.simplify is not None):
        return ()
    return (str(drawn.area_change),)
