"""The change between two class maps in memory: `geoseg.detect_change`."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.change.block_change import block_change, map_areas, recounted
from geoseg.change.codes import ChangeCodes
from geoseg.change.comparison import Comparison, Rules
from geoseg.change.features import change_table
from geoseg.change.images import images_of
from geoseg.change.maps import shares_of_array, source_of_array
from geoseg.change.posterior_rule import PosteriorRule
from geoseg.change.registration import Shift
from geoseg.change.segmented import ready, years_between
from geoseg.change.tables import component_table, intensity_table, matrix_table, pair_table, summary_table
from geoseg.change.transitions import Transitions
from geoseg.errors import ParameterError
from geoseg.inference.lattice import Block, blocks
from geoseg.legend import Legend
from geoseg.vector.mapping_unit import merge_small_components
from geoseg.vector.min_area import MinArea
from geoseg.vector.vectorizer import Outlines, vectorize_array

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import xarray as xr

    from geoseg.inference.recipe import Choices
    from geoseg.models.load import Model
    from geoseg.scene.scene import Scene

__all__ = ["Change", "detect_change"]

_SIDE = 1024


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """What became what between two maps."""

    codes: "xr.DataArray"
    """(rows, cols) change code of each pixel, 0 where nothing changed, with CRS; codes and names are its attributes."""
    confidence: "xr.DataArray | None"
    """(rows, cols) percent that both labels are right, if their errors are independent, or, by probabilities, the
    posterior of what the code says; None where it is not known."""
    change_codes: ChangeCodes
    """Which pair of classes each code is."""
    counts: Transitions
    """Of the change map."""
    plain: Transitions
    """Of the two maps as they are: without tolerance, implausible pairs and smallest area."""
    years: float | None
    """Between the dates."""
    shift: Shift | None
    """How far the second map lies from the first, by its image or class borders; None where that cannot be told."""
    notes: tuple[str, ...]
    """How grids and legends were matched."""

    @property
    def legend(self) -> Legend:
        """Of both dates."""
        return self.change_codes.legend

    @property
    def matrix(self) -> "pd.DataFrame":
        """The transition matrix, see `geoseg.change.tables.matrix_table`."""
        return matrix_table(self.counts, self.legend, self._unit_m2)

    @property
    def pairs(self) -> "pd.DataFrame":
        """Every pair of classes that occurs, see `geoseg.change.tables.pair_table`."""
        return pair_table(self.counts, self.plain, self.change_codes, self._unit_m2)

    @property
    def components(self) -> "pd.DataFrame":
        """Gain, loss, net and swap of each class, see `geoseg.change.tables.component_table`."""
        return component_table(self.counts, self.legend, self._unit_m2)

    @property
    def summary(self) -> "pd.DataFrame":
        """The change of the whole map, see `geoseg.change.tables.summary_table`."""
        return summary_table(self.counts, self.plain, self._unit_m2, years=self.years)

    @property
    def intensity(self) -> "pd.DataFrame":
        """Intensity analysis, see `geoseg.change.tables.intensity_table`."""
        return intensity_table(self.counts, self.legend, years=self.years)

    def polygons(self, outlines: Outlines | None = None) -> "gpd.GeoDataFrame":
        """The patches of change: a valid coverage; what did not change is no polygon.

        Args:
            outlines: Connectivity, smoothing and simplification.

        Returns:
            ``change_id``, ``from_id``, ``from_name``, ``to_id``, ``to_name``, ``area_m2`` (sum of true pixel areas),
            ``mean_conf`` (percent, NaN where there is none) and ``geometry``, in the order of their first pixels.

        Raises:
            ParameterError: If there are too many kinds of change for polygons.
        """
        legend = self.change_codes.polygon_legend() or Legend.unnamed((1,), nodata=0)
        codes = self.codes.to_numpy()
        pixels = np.where(codes == self.change_codes.nodata, 0, codes).astype(np.uint8)
        percent = None if self.confidence is None else self.confidence.to_numpy()
        geobox = self.codes.odc.geobox
        table = vectorize_array(pixels, geobox, legend, areas=map_areas(geobox), confidence=percent, outlines=outlines)
        return change_table(table, self.change_codes)

    @property
    def _unit_m2(self) -> float:
        return map_areas(self.codes.odc.geobox).unit_m2


def detect_change(
    before: "xr.DataArray | Scene | str | os.PathLike[str]",
    after: "xr.DataArray | Scene | str | os.PathLike[str]",
    *,
    model: "Model | None" = None,
    choices: "Choices | None" = None,
    legend: Legend | None = None,
    after_legend: Legend | None = None,
    confidence: "tuple[xr.DataArray, xr.DataArray] | None" = None,
    probabilities: "tuple[xr.DataArray, xr.DataArray] | None" = None,
    rules: Rules | None = None,
    min_area: MinArea | None = None,
    years: float | None = None,
) -> Change:
    """What became what between two class maps in memory, or two scenes, which a model then segments first.

    A second map on another grid is brought onto that of the first, and the common area is compared; `Change.notes` say
    so. Classes are matched by name. Work goes on in blocks in as many threads as there are cores; the maps themselves
    are held whole (for files of any size: ``geoseg change``).

    Args:
        before: (rows, cols) uint8 class map with a CRS, numpy or dask; or a scene or its path.
        after: The map or scene of the second date.
        model: What segments scenes.
        choices: How it is run.
        legend: Classes of the first map, and of the second unless ``after_legend`` says otherwise. By default the names
            in the maps' attributes, else the values that are there. Those of scenes are the model's.
        after_legend: Classes of the second map.
        confidence: uint8 percent of both maps, each on the grid of its map, 255 where there is none.
        probabilities: Class probabilities of both maps, each on the grid of its map: (class, rows, cols) uint8, 254 for
            1, as `segment` gives them, named along ``class`` or else in the order of the legend. With them, they decide
            what changed, and the maps only say where there is an observation. Those of scenes are made where
            ``rules`` has a prior for them.
        rules: Crosswalk, tolerance, plausible transitions, and the prior and costs for probabilities.
        min_area: Smaller patches, of change and of no change, are merged into their neighbours.
        years: Between the dates, for yearly intensities; by default that of two scenes that say when they were taken.

    Raises:
        ParameterError: If a map is no class map on a grid with a CRS, the legends have no class in common, or ``rules``
            do not fit them.
        InputError: If the maps do not overlap.

    Example:
        >>> change = detect_change("y2019.tif", "y2023.tif", model=load_model("spectral"))  # doctest: +SKIP
        >>> change = detect_change(before.classes, after.classes, rules=Rules(tolerance=1))  # doctest: +SKIP
        >>> change.summary, change.polygons()  # doctest: +SKIP
    """
    if years is not None and not years > 0:
        raise ParameterError(f"{years} years between the dates: give a number above 0")
    rules = rules or Rules()
    wanted = rules.posterior is not None and probabilities is None
    dates = (
        ready("the date before", before, legend, model, choices, probabilities=wanted),
        ready("the date after", after, after_legend or legend, model, choices, probabilities=wanted),
    )
    if model is not None and all(d.scene is None for d in dates):
        raise ParameterError("a model is of no use for two class maps: leave it out, or give scenes")
    confidence = confidence or _both(*(d.confidence for d in dates))
    probabilities = probabilities or _both(*(d.probabilities for d in dates))
    conf = (None, None) if confidence is None else confidence
    one = source_of_array("the map before", dates[0].classes, dates[0].legend, conf[0])
    two = source_of_array("the map after", dates[1].classes, dates[1].legend, conf[1])
    years = years or years_between(*(d.scene for d in dates))
    images = images_of(*(d.scene for d in dates))
    if images is not None:
        one, two = replace(one, image=images[0]), replace(two, image=images[1])
    if probabilities is not None:
        one, two = (replace(s, shares=shares_of_array(s, p)) for s, p in zip((one, two), probabilities, strict=True))
        rules = replace(rules, posterior=rules.posterior or PosteriorRule())
    comparison = Comparison.of(one, two, rules)
    height, width = (int(n) for n in comparison.geobox.shape)
    cut = list(blocks(height, width, block_height=_SIDE, block_width=_SIDE))
    with ThreadPoolExecutor(os.cpu_count() or 1, "geoseg-change") as pool:
        if comparison.needs_codes:
            counted = pool.map(lambda b: block_change(comparison, b).counts, cut)
            comparison = comparison.with_codes_for(sum(counted, Transitions.zero(len(comparison.common.legend))))
        codes = np.empty((height, width), dtype=comparison.codes.dtype)
        known = confidence is not None or comparison.evidence is not None
        percent = np.full((height, width), 255, dtype=np.uint8) if known else None
        plain = counts = Transitions.zero(len(comparison.common.legend))
        for block, found in zip(cut, pool.map(lambda b: block_change(comparison, b), cut), strict=True):
            at = slice(block.row_off, block.row_end), slice(block.col_off, block.col_end)
            codes[at] = found.codes
            if percent is not None and found.confidence is not None:
                percent[at] = found.confidence
            counts, plain = counts + found.counts, plain + found.plain
        if min_area is not None:
            codes = _merged(codes, comparison, min_area)

            def count(block: Block) -> Transitions:
                at = slice(block.row_off, block.row_end), slice(block.col_off, block.col_end)
                return recounted(comparison, block, codes[at], None if percent is None else percent[at])

            counts = sum(pool.map(count, cut), Transitions.zero(len(comparison.common.legend)))
    return Change(
        codes=_wrapped(codes, comparison),
        confidence=None if percent is None else _plain(percent, comparison),
        change_codes=comparison.codes,
        counts=counts,
        plain=plain,
        years=years,
        shift=comparison.shift,
        notes=comparison.notes,
    )


def _both(one: "xr.DataArray | None", two: "xr.DataArray | None") -> "tuple[xr.DataArray, xr.DataArray] | None":
    return None if one is None or two is None else (one, two)


def _merged(codes: Any, comparison: Comparison, min_area: MinArea) -> Any:
    comparison.codes.change_legend()  # refuses more kinds of change than bytes can tell apart
    areas = map_areas(comparison.geobox)
    by_area = min_area.kind == "m2"
    return merge_small_components(
        codes,
        at_least=min_area.threshold(areas.unit_m2 if by_area else None),
        nodata=comparison.codes.nodata,
        units=areas.units(0, 0, *codes.shape) if by_area else None,
    )


def _wrapped(codes: Any, comparison: Comparison) -> "xr.DataArray":
    from odc.geo.xr import wrap_xr

    made = comparison.codes
    array = wrap_xr(codes, comparison.geobox, nodata=made.nodata)
    array.attrs.update(
        long_name="land-cover change",
        flag_values=list(range(len(made) + 1)),
        flag_meanings=" ".join(n.replace(" ", "_") for n in ("no change", *made.names)),
        flag_colors=" ".join(("#e8e8e4", *made.colors)),
    )
    return array


def _plain(percent: Any, comparison: Comparison) -> "xr.DataArray":
    from odc.geo.xr import wrap_xr

    array = wrap_xr(percent, comparison.geobox, nodata=255)
    array.attrs.update(long_name="confidence of change", units="percent")
    return array
