"""What is left of a series: all outputs of a place, into one folder."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import rasterio

from geoseg import __version__
from geoseg.change.block_change import map_areas
from geoseg.change.series import Series
from geoseg.change.series_features import first_change_features
from geoseg.change.series_tables import area_series, interval_intensity, interval_matrices, series_summary
from geoseg.jobs.change_options import MapInput
from geoseg.jobs.polygons import Patches, scene_vectorizer
from geoseg.jobs.series_blocks import LAYERS, GoneThrough
from geoseg.jobs.series_options import SeriesOptions, SeriesResult
from geoseg.legend import Legend
from geoseg.outputs.aside import Published
from geoseg.outputs.cog import write_class_cog, write_confidence_cog
from geoseg.outputs.parts import Part, iter_strips
from geoseg.outputs.series_picture import SeriesView, write_series_picture
from geoseg.outputs.stac import ItemInfo, write_item
from geoseg.outputs.tables import write_areas
from geoseg.outputs.vectors import FORMATS, write_polygons
from geoseg.vector.vectorizer import Drawn

__all__ = ["SeriesPublisher"]

_PICTURE_PX = 800
_FILES = {"first": "first_change", "last": "last_change", "count": "changes", "final": "final"}
_SAID = {
    "first": "date of the first change",
    "last": "date of the last change",
    "count": "number of changes",
    "final": "land cover on the last date observed",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeriesPublisher:
    """Writes all outputs of a series."""

    maps: Sequence[MapInput]
    """By date."""
    found: GoneThrough
    """What was found."""
    options: SeriesOptions
    """What the user chose."""
    key: str
    """Of maps and options."""
    executor: Executor
    """Runs the work on blocks."""
    at_once: int
    """Blocks that it works on at the same time."""

    @property
    def series(self) -> Series:
        """The maps and rules."""
        return self.found.series

    def publish(self, stage: Path, final: Path) -> SeriesResult:
        """All outputs into the staging folder."""
        name, timeline, geobox = final.name, self.series.timeline, self.series.geobox
        metadata = {
            "GEOSEG_VERSION": __version__,
            "GEOSEG_DATES": ", ".join(timeline.labels),
            "GEOSEG_MAPS": ", ".join(Path(m.classes).name for m in self.maps),
            "GEOSEG_KEY": self.key,
        }
        assets: dict[str, Published] = {}
        legends = {
            "first": timeline.date_legend(),
            "last": timeline.date_legend("last"),
            "count": timeline.count_legend(),
            "final": self.series.legend,
        }
        for kind in LAYERS:
            path = stage / f"{name}_{_FILES[kind]}.tif"
            assets[kind] = self._raster(path, self.found.parts[kind], legends[kind], metadata, _SAID[kind])
        confidence = None
        if self.series.model is not None:
            confidence = stage / f"{name}_confidence.tif"
            parts = self.found.parts["first"]
            assets["confidence"] = write_confidence_cog(confidence, parts, geobox=geobox, metadata=metadata)
        if self.options.maps:
            for t, (label, file) in enumerate(zip(timeline.labels, self._map_names(), strict=True)):
                path, said = stage / f"{name}_classes_{file}.tif", f"land cover {label}"
                key = f"classes_{file}"
                legends[key] = self.series.legend
                assets[key] = self._raster(path, self.found.parts[str(t)], legends[key], metadata, said)
        drawn = self._polygons(stage, name, legends["first"], confidence, metadata, assets)
        areas = self._tables(stage, name, assets)
        if self.options.picture:
            view = SeriesView(
                first=self._thinned("first"),
                count=self._thinned("count"),
                first_legend=legends["first"],
                count_legend=legends["count"],
                areas=areas,
                legend=self.series.legend,
                times=timeline.times,
            )
            assets["picture"] = write_series_picture(view, stage / f"{name}_picture.png")
        notes: tuple[str, ...] = ()
        if drawn is not None and drawn.area_change is not None:
            outlines = self.options.outlines
            if outlines.smooth or outlines.simplify is not None:
                notes = (str(drawn.area_change),)
        self._item(stage / f"{name}.json", assets, legends)
        return SeriesResult(
            folder=final,
            n_polygons=None if drawn is None else drawn.n,
            pixels=int(geobox.shape[0]) * int(geobox.shape[1]),
            notes=notes,
        )

    def _raster(
        self, path: Path, parts: Sequence[Part], legend: Legend, metadata: dict[str, str], said: str
    ) -> Published:
        return write_class_cog(
            path, parts, geobox=self.series.geobox, legend=legend, metadata=metadata, description=said
        )

    def _map_names(self) -> list[str]:
        """Of the class maps of the dates, as parts of file names."""
        timeline = self.series.timeline
        if timeline.times is None:
            return [f"{i:02}" for i in range(1, len(timeline) + 1)]
        return [label.replace("-", "").replace(":", "") for label in timeline.labels]

    def _polygons(
        self,
        stage: Path,
        name: str,
        legend: Legend,
        confidence: Path | None,
        metadata: dict[str, str],
        assets: dict[str, Published],
    ) -> Drawn | None:
        if not self.options.formats:
            return None
        patches = replace(legend, classes=legend.classes[1:], nodata=0)
        whole = scene_vectorizer(
            self.series.geobox,
            legend,
            self.options.outlines,
            classes=stage / f"{name}_{_FILES['first']}.tif",
            confidence=confidence,
        )
        vectorizer = replace(whole, legend=patches, read=Patches(read=whole.read, nodata=legend.nodata))
        drawn = Drawn()
        features = first_change_features(
            vectorizer.features(self.executor, at_once=self.at_once, drawn=drawn), self.series.timeline
        )
        for i, kind in enumerate(self.options.formats):
            assets["polygons" if i == 0 else f"polygons_{kind}"] = write_polygons(
                features,
                stage / f"{name}_polygons{FORMATS[kind].suffix}",
                format=kind,
                legend=patches,
                layer="first_change",
                metadata=metadata,
                column="first_id",
            )
        return drawn

    def _tables(self, stage: Path, name: str, assets: dict[str, Published]) -> "object":
        counts, legend, timeline = self.found.counts, self.series.legend, self.series.timeline
        unit = map_areas(self.series.geobox).unit_m2
        tables = {
            "areas": area_series(counts, legend, timeline, unit),
            "matrices": interval_matrices(counts.intervals, legend, timeline, unit),
            "summary": series_summary(counts, timeline, unit),
            "intensity": interval_intensity(counts, legend, timeline),
        }
        if counts.plain is not None:
            tables["matrices_plain"] = interval_matrices(counts.plain, legend, timeline, unit)
        for kind, table in tables.items():
            assets[kind] = write_areas(table, stage / f"{name}_{kind}.csv")
        return tables["areas"]

    def _thinned(self, layer: str) -> "np.ndarray":
        """Every n-th pixel of a raster, few enough for a picture."""
        shape = tuple(int(n) for n in self.series.geobox.shape)
        step = max(1, -(-max(shape) // _PICTURE_PX))
        out = np.full([-(-n // step) for n in shape], 255, dtype=np.uint8)
        for part in self.found.parts[layer]:
            for row, pixels in iter_strips(part, "classes"):
                top, left = part.block.row_off + row, part.block.col_off
                thin = pixels[-top % step :: step, -left % step :: step]
                at = -(-top // step), -(-left // step)
                out[at[0] : at[0] + thin.shape[0], at[1] : at[1] + thin.shape[1]] = thin
        return out

    def _item(self, path: Path, assets: dict[str, Published], legends: dict[str, Legend]) -> None:
        timeline, shifts = self.series.timeline, self.series.stack.shifts
        write_item(
            path,
            assets,
            ItemInfo(
                id=path.stem,
                geobox=self.series.geobox,
                legend=legends["first"],
                legends=legends,
                processed=datetime.now(UTC),
                period=None if timeline.times is None else (timeline.times[0], timeline.times[-1]),
                software={"geoseg": __version__, "gdal": rasterio.__gdal_version__},
                parameters=self.options.parameters
                | {"shifts_px": [None if s is None else [s.rows, s.cols] for s in shifts]}
                | {"key": self.key, "dates": list(timeline.labels)}
                | {"inputs": [Path(m.classes).name for m in self.maps]},
            ),
        )
