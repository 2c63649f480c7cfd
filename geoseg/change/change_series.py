"""A series of class maps in memory: `geoseg.change_series`."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geoseg.change.block_change import map_areas
from geoseg.change.maps import shares_of_array, source_of_array
from geoseg.change.registration import Shift
from geoseg.change.series import Series, SeriesRules, Timeline
from geoseg.change.series_block import SeriesCounts, series_block
from geoseg.change.series_features import first_change_table
from geoseg.change.series_tables import area_series, interval_intensity, interval_matrices, series_summary
from geoseg.change.temporal import TemporalRule
from geoseg.errors import ParameterError
from geoseg.inference.lattice import Block
from geoseg.legend import NODATA, Legend
from geoseg.vector.vectorizer import Outlines, vectorize_array

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import xarray as xr

__all__ = ["ChangeSeries", "change_series"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChangeSeries:
    """What became of every pixel of a series of maps."""

    first_change: "xr.DataArray"
    """(rows, cols) number of the date on which the first change was seen, 0 for never, 255 where fewer than two dates
    were observed. Dates are numbered from 0; `timeline` has them, and the attributes of the array their names."""
    last_change: "xr.DataArray"
    """(rows, cols) likewise of the last change."""
    n_changes: "xr.DataArray"
    """(rows, cols) how many dates have another class than the one observed before; 255 likewise."""
    final: "xr.DataArray"
    """(rows, cols) class value on the last date that was observed."""
    classes: "xr.DataArray"
    """(time, rows, cols) class value on each date, as it counts."""
    confidence: "xr.DataArray | None"
    """(rows, cols) percent: the posterior of the whole history of a pixel; None where each map stands for itself."""
    timeline: Timeline
    """The dates."""
    legend: Legend
    """Of all dates."""
    counts: SeriesCounts
    """Of all intervals."""
    shifts: tuple[Shift | None, ...]
    """How far each map lies from the first."""
    notes: tuple[str, ...]
    """How grids and legends were matched."""

    @property
    def matrices(self) -> "pd.DataFrame":
        """Transition matrices, see `geoseg.change.series_tables.interval_matrices`."""
        return interval_matrices(self.counts.intervals, self.legend, self.timeline, self._unit_m2)

    @property
    def areas(self) -> "pd.DataFrame":
        """The area of each class on each date, see `geoseg.change.series_tables.area_series`."""
        return area_series(self.counts, self.legend, self.timeline, self._unit_m2)

    @property
    def summary(self) -> "pd.DataFrame":
        """When land changed first and how often, see `geoseg.change.series_tables.series_summary`."""
        return series_summary(self.counts, self.timeline, self._unit_m2)

    @property
    def intensity(self) -> "pd.DataFrame":
        """Intensity analysis, see `geoseg.change.series_tables.interval_intensity`."""
        return interval_intensity(self.counts, self.legend, self.timeline)

    def polygons(self, outlines: Outlines | None = None) -> "gpd.GeoDataFrame":
        """The patches that changed first on the same date: a valid coverage; what never changed is no polygon.

        Args:
            outlines: Connectivity, smoothing and simplification.

        Returns:
            ``first_id`` (number of the date), ``prev_date``, ``seen_date``, ``area_m2`` (sum of true pixel areas),
            ``mean_conf`` (percent, NaN where there is none) and ``geometry``, in the order of their first pixels.
        """
        dates = self.timeline.date_legend()
        first = self.first_change.to_numpy()
        pixels = np.where(first == NODATA, np.uint8(0), first)
        percent = None if self.confidence is None else self.confidence.to_numpy()
        geobox = self.first_change.odc.geobox
        table = vectorize_array(
            pixels,
            geobox,
            replace(dates, classes=dates.classes[1:], nodata=0),
            areas=map_areas(geobox),
            confidence=percent,
            outlines=outlines,
        )
        return first_change_table(table, self.timeline)

    @property
    def _unit_m2(self) -> float:
        return map_areas(self.first_change.odc.geobox).unit_m2


def change_series(
    maps: "Sequence[xr.DataArray] | xr.DataArray",
    *,
    times: Sequence[Any] | None = None,
    legend: Legend | None = None,
    probabilities: "Sequence[xr.DataArray] | None" = None,
    rules: SeriesRules | None = None,
) -> ChangeSeries:
    """What became of every pixel of three class maps or more: when it changed, how often, and what it is.

    Maps on other grids are brought onto that of the first, and the area of all is looked at; `ChangeSeries.notes` say
    so. Classes are matched by name. A date without an observation is passed over: no class, and no change. Work goes on
    in blocks in as many threads as there are cores; the maps are held whole (for files: ``geoseg series``).

    Args:
        maps: (rows, cols) uint8 class maps with a CRS, by date; or all in one array along ``time``.
        times: When each was taken, anything that numpy takes for a datetime; by default the coordinate ``time`` of each
            map, where all have one. Without, transitions of the prior are those from date to date.
        legend: Classes of all maps. By default the names in the maps' attributes, else the values that are there.
        probabilities: Class probabilities of each map, as in `geoseg.detect_change`. With them all dates decide
            together what each was, unless ``rules.temporal`` says otherwise.
        rules: Crosswalk, tolerance, plausible transitions, and how dates decide together.

    Raises:
        ParameterError: If a map is no class map on a grid with a CRS, the dates are not in order, or legends or rules
            do not fit each other.
        InputError: If the maps have no area in common.

    Example:
        >>> series = change_series([m2015, m2018, m2023], times=["2015", "2018", "2023"])  # doctest: +SKIP
        >>> series.first_change, series.areas, series.polygons()  # doctest: +SKIP
    """
    every = _layers(maps)
    when = _times(every, times)
    names = [f"map {i}" for i in range(1, len(every) + 1)]
    timeline = Timeline.of(names, when)
    sources = [
        source_of_array(n, m.drop_vars("time", errors="ignore"), legend) for n, m in zip(names, every, strict=True)
    ]
    rules = rules or SeriesRules()
    if probabilities is not None:
        if len(probabilities) != len(sources):
            raise ParameterError(
                f"probabilities of {len(probabilities)} dates for {len(sources)} maps: give all or none"
            )
        sources = [replace(s, shares=shares_of_array(s, p)) for s, p in zip(sources, probabilities, strict=True)]
        rules = replace(rules, temporal=rules.temporal or TemporalRule())
    series = Series.of(sources, timeline, rules)
    return _gone_through(series)


def _layers(maps: "Sequence[xr.DataArray] | xr.DataArray") -> "list[xr.DataArray]":
    import xarray as xr

    if not isinstance(maps, xr.DataArray):
        return list(maps)
    if "time" not in maps.dims:
        raise ParameterError(f"an array of dimensions {maps.dims}: give maps along time, or a list of maps")
    return list(maps.transpose("time", ...))


def _times(maps: "Sequence[xr.DataArray]", times: Sequence[Any] | None) -> list[datetime | None]:
    if times is not None and len(times) != len(maps):
        raise ParameterError(f"{len(times)} times for {len(maps)} maps: give one for each")
    if times is None:
        times = [
            m.coords["time"].to_numpy() if "time" in m.coords and not m.coords["time"].ndim else None for m in maps
        ]
    return [None if t is None else _moment(t) for t in times]


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    try:
        stamp = np.datetime64(value).astype("datetime64[us]").astype(datetime)
    except (ValueError, TypeError) as error:
        raise ParameterError(f"{value!r} is no time: give dates such as 2023-06-17") from error
    if not isinstance(stamp, datetime):
        raise ParameterError(f"{value!r} is no time: give dates such as 2023-06-17")
    return stamp.replace(tzinfo=UTC)


def _gone_through(series: Series) -> ChangeSeries:
    shape = int(series.geobox.shape[0]), int(series.geobox.shape[1])
    d = len(series.timeline)
    layers = {name: np.empty(shape, np.uint8) for name in ("first", "last", "count", "final", "confidence")}
    classes = np.empty((d, *shape), np.uint8)
    values = np.full(256, series.legend.nodata, dtype=np.uint8)
    values[: len(series.legend)] = series.legend.values
    counts = SeriesCounts.zero(series)
    cut = series.cut()
    work: Callable[[Block], Any] = lambda block: series_block(series, block)  # noqa: E731
    with ThreadPoolExecutor(os.cpu_count() or 1, "geoseg-change") as pool:
        for block, found in zip(cut, pool.map(work, cut), strict=True):
            at = slice(block.row_off, block.row_end), slice(block.col_off, block.col_end)
            for name in ("first", "last", "count"):
                layers[name][at] = getattr(found.trajectory, name)
            layers["final"][at] = values[found.trajectory.final]
            classes[(slice(None), *at)] = values[found.places]
            if found.confidence is not None:
                layers["confidence"][at] = found.confidence
            counts = counts + found.counts
    timeline, legend = series.timeline, series.legend
    return ChangeSeries(
        first_change=_wrapped(series, layers["first"], timeline.date_legend(), "date of the first change"),
        last_change=_wrapped(series, layers["last"], timeline.date_legend("last"), "date of the last change"),
        n_changes=_wrapped(series, layers["count"], timeline.count_legend(), "number of changes"),
        final=_wrapped(series, layers["final"], legend, "land cover on the last date observed"),
        classes=_stacked(series, classes),
        confidence=None if series.model is None else _percent(series, layers["confidence"]),
        timeline=timeline,
        legend=legend,
        counts=counts,
        shifts=series.stack.shifts,
        notes=series.notes,
    )


def _wrapped(series: Series, pixels: NDArray[np.uint8], legend: Legend, name: str) -> "xr.DataArray":
    from odc.geo.xr import wrap_xr

    array = wrap_xr(pixels, series.geobox, nodata=legend.nodata)
    array.attrs.update(long_name=name, **_flags(legend))
    return array


def _flags(legend: Legend) -> dict[str, Any]:
    """A legend as CF flag attributes."""
    return {
        "flag_values": list(legend.values),
        "flag_meanings": " ".join(n.replace(" ", "_") for n in legend.names),
        "flag_colors": " ".join(c.color for c in legend),
    }


def _stacked(series: Series, classes: NDArray[np.uint8]) -> "xr.DataArray":
    from odc.geo.xr import wrap_xr

    times = series.timeline.times
    along: Any = (
        list(series.timeline.labels) if times is None else [np.datetime64(t.replace(tzinfo=None), "ns") for t in times]
    )
    array = wrap_xr(classes, series.geobox, nodata=series.legend.nodata, axis=1, time=None)
    array = array.rename({array.dims[0]: "time"}).assign_coords(time=along)
    array.attrs.update(long_name="land cover", **_flags(series.legend))
    return array


def _percent(series: Series, percent: NDArray[np.uint8]) -> "xr.DataArray":
    from odc.geo.xr import wrap_xr

    array = wrap_xr(percent, series.geobox, nodata=NODATA)
    array.attrs.update(long_name="posterior of the whole history", units="percent")
    return array
