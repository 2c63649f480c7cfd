"""`geoseg.evaluate_map`: how good a class map in memory or in a file is."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from geoseg.area.zones import Zones
from geoseg.change.maps import ClassSource, source_of_array, source_of_file
from geoseg.errors import ParameterError
from geoseg.evaluate.evaluation import Evaluation
from geoseg.evaluate.plan import Matching
from geoseg.evaluate.ruler import BorderRule
from geoseg.evaluate.scene_scores import score_scene
from geoseg.evaluate.vector_reference import is_vector, read_vector_reference
from geoseg.legend import Legend
from geoseg.scene.class_raster import open_class_raster

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["evaluate_map"]


def evaluate_map(
    prediction: "xr.DataArray | str | os.PathLike[str]",
    reference: "xr.DataArray | str | os.PathLike[str]",
    *,
    legend: Legend | None = None,
    reference_legend: Legend | None = None,
    confidence: "xr.DataArray | str | os.PathLike[str] | None" = None,
    class_column: str = "class",
    elsewhere: str | None = None,
    matching: Matching | None = None,
    borders: BorderRule | None = None,
    instances: Sequence[str] = (),
    zones: Zones | None = None,
    level: float = 0.95,
) -> Evaluation:
    """How good a class map is, held against a reference.

    A prediction on another grid is brought onto that of the reference, and the common area is scored; classes are
    matched by name. Work goes on in blocks in as many threads as there are cores; maps in files are read block by
    block, those in memory are held whole.

    Args:
        prediction: (rows, cols) uint8 class map with a CRS, or a raster file.
        reference: What is true, likewise; or a vector file of polygons or points.
        legend: Classes of the prediction; by default the names it comes with, else the values that are there.
        reference_legend: Classes of the reference, likewise.
        confidence: uint8 percent on the grid of the prediction, 255 where there is none; an array for an array, a file
            for a file.
        class_column: Of a reference of polygons or points: their class, a name or a value.
        elsewhere: Of a reference of polygons: the class of what none covers; None where it is not known.
        matching: Crosswalk, and classes to leave out.
        borders: What is a border in the right place, where that is wanted.
        instances: Classes, by name or value, whose objects are to be found.
        zones: Where scores are wanted for, too.
        level: Of the intervals, a share.

    Raises:
        ParameterError: If a map is no class map on a grid with a CRS, or the legends have no class in common.
        InputError: If a file cannot be used, or the maps do not overlap.

    Example:
        >>> found = evaluate_map("out/scene/scene_classes.tif", "truth/scene.tif")  # doctest: +SKIP
        >>> found.summary_table(), found.class_table()  # doctest: +SKIP
    """
    one = _source("the prediction", prediction, legend, confidence)
    if isinstance(reference, str | os.PathLike) and is_vector(os.fspath(reference)):
        vectors = read_vector_reference(os.fspath(reference), column=class_column, elsewhere=elsewhere)
        vectors.check_names(one, matching or Matching())
        two = vectors.on(one.geobox)
    else:
        two = _source("the reference", reference, reference_legend, None)
    with ThreadPoolExecutor(os.cpu_count() or 1, "geoseg-evaluate") as pool:
        found = score_scene("map", one, two, pool, matching=matching, borders=borders, instances=instances, zones=zones)
    return Evaluation.of([found], level=level, zone_ids=() if zones is None else zones.ids)


def _source(
    name: str,
    classes: "xr.DataArray | str | os.PathLike[str]",
    legend: Legend | None,
    confidence: "xr.DataArray | str | os.PathLike[str] | None",
) -> ClassSource:
    if isinstance(classes, str | os.PathLike):
        if not (confidence is None or isinstance(confidence, str | os.PathLike)):
            raise ParameterError("a prediction in a file has its confidence in a file: name that")
        return source_of_file(open_class_raster(classes, legend=legend), confidence)
    if isinstance(confidence, str | os.PathLike):
        raise ParameterError("a prediction in memory has its confidence in memory: give the array")
    return source_of_array(name, classes, legend, confidence)
