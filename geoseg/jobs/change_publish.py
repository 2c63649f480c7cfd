"""What is left of a comparison: all outputs of a pair, into one folder."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from geoseg import __version__
from geoseg.change.block_change import map_areas, stable_places
from geoseg.change.codes import ChangeCodes
from geoseg.change.features import change_features
from geoseg.change.index import NONE
from geoseg.change.tables import component_table, intensity_table, matrix_table, pair_table, summary_table
from geoseg.change.zone_table import zone_change_table
from geoseg.inference.lattice import Block
from geoseg.jobs.change_blocks import Compared, plan_blocks
from geoseg.jobs.change_options import ChangeOptions, ChangeResult, MapInput
from geoseg.jobs.change_strata import write_strata
from geoseg.jobs.polygons import patches_only, scene_vectorizer
from geoseg.legend import Legend
from geoseg.outputs.aside import Published
from geoseg.outputs.change_picture import ChangeView, write_change_picture
from geoseg.outputs.cog import write_class_cog, write_confidence_cog
from geoseg.outputs.parts import iter_strips
from geoseg.outputs.stac import ItemInfo, write_item
from geoseg.outputs.tables import write_areas
from geoseg.outputs.vectors import FORMATS, write_polygons
from geoseg.scene.class_raster import open_class_raster
from geoseg.vector.vectorizer import Drawn

__all__ = ["Publisher"]

_YEAR_S = 365.25 * 86_400
_PICTURE_PX = 800


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Publisher:
    """Writes all outputs of a comparison."""

    maps: Sequence[MapInput]
    """Before and after."""
    compared: Compared
    """What was found."""
    options: ChangeOptions
    """What the user chose."""
    key: str
    """Of maps and options."""
    executor: Executor
    """Runs the work on blocks."""
    at_once: int
    """Blocks that it works on at the same time."""

    @property
    def codes(self) -> ChangeCodes:
        """Of the change map."""
        return self.compared.comparison.codes

    @property
    def years(self) -> float | None:
        """Between the dates, where both are known and are not one."""
        one, two = (m.acquired for m in self.maps)
        if one is None or two is None or one == two:
            return None
        return abs((two - one).total_seconds()) / _YEAR_S

    def publish(self, stage: Path, final: Path, *, with_confidence: bool) -> ChangeResult:
        """All outputs into the staging folder."""
        compared, geobox, name = self.compared, self.compared.comparison.geobox, final.name
        legend, shift = self._occurring(), compared.comparison.shift
        metadata = {
            "GEOSEG_VERSION": __version__,
            "GEOSEG_BEFORE": Path(self.maps[0].classes).name,
            "GEOSEG_AFTER": Path(self.maps[1].classes).name,
            "GEOSEG_KEY": self.key,
        }
        change = stage / f"{name}_change.tif"
        assets = {
            "change": write_class_cog(
                change, compared.parts, geobox=geobox, legend=legend, metadata=metadata, description="land-cover change"
            )
        }
        confidence = stage / f"{name}_confidence.tif" if with_confidence else None
        if confidence is not None:
            assets["confidence"] = write_confidence_cog(confidence, compared.parts, geobox=geobox, metadata=metadata)
        drawn = self._polygons(stage, name, change, confidence, legend, metadata, assets)
        summary, pairs = self._tables(stage, name, assets)
        notes = self._zones(stage, name, change, assets)
        if self.options.strata_buffer is not None:
            assets["strata"] = write_strata(
                stage / f"{name}_strata.tif",
                open_class_raster(change, legend=legend),
                self.codes,
                buffer=self.options.strata_buffer,
                blocks=plan_blocks(compared.comparison),
                metadata=metadata | {"GEOSEG_STRATA_OF": change.name},
                executor=self.executor,
            )
        if self.options.picture:
            assets["picture"] = write_change_picture(self._view(legend), stage / f"{name}_picture.png")
        if drawn is not None and drawn.area_change is not None:
            outlines = self.options.outlines
            if outlines.smooth or outlines.simplify is not None:
                notes = (*notes, str(drawn.area_change))
        dates = sorted(m.acquired for m in self.maps if m.acquired is not None)
        write_item(
            stage / f"{name}.json",
            assets,
            ItemInfo(
                id=name,
                geobox=geobox,
                legend=legend,
                processed=datetime.now(UTC),
                period=(dates[0], dates[1]) if len(dates) == 2 else None,
                software={"geoseg": __version__, "gdal": rasterio.__gdal_version__},
                parameters=self.options.parameters
                | {"shift_px": None if shift is None else [shift.rows, shift.cols]}
                | {"key": self.key, "before": metadata["GEOSEG_BEFORE"], "after": metadata["GEOSEG_AFTER"]},
            ),
        )
        return ChangeResult(
            folder=final,
            pairs=pairs,
            summary=summary,
            n_polygons=None if drawn is None else drawn.n,
            pixels=int(geobox.shape[0]) * int(geobox.shape[1]),
            notes=notes,
        )

    def _occurring(self) -> Legend:
        """The kinds of change that are there: a palette of all would be long and mostly of no use.

        But all where a reference sample is to come: it may find what the map has nowhere.
        """
        legend = self.codes.change_legend()
        if self.options.strata_buffer is not None:
            return legend
        there = {0, *(int(self.codes.table[i, j]) for i, j in self.compared.counts.occurring())}
        return replace(legend, classes=tuple(c for c in legend if c.value in there))

    def _polygons(
        self,
        stage: Path,
        name: str,
        change: Path,
        confidence: Path | None,
        legend: Legend,
        metadata: dict[str, str],
        assets: dict[str, Published],
    ) -> Drawn | None:
        if not self.options.formats:
            return None
        vectorizer = patches_only(
            scene_vectorizer(
                self.compared.comparison.geobox, legend, self.options.outlines, classes=change, confidence=confidence
            )
        )
        drawn = Drawn()
        features = change_features(vectorizer.features(self.executor, at_once=self.at_once, drawn=drawn), self.codes)
        for i, kind in enumerate(self.options.formats):
            assets["polygons" if i == 0 else f"polygons_{kind}"] = write_polygons(
                features,
                stage / f"{name}_polygons{FORMATS[kind].suffix}",
                format=kind,
                legend=vectorizer.legend,
                layer="change",
                metadata=metadata,
                column="change_id",
            )
        return drawn

    def _tables(self, stage: Path, name: str, assets: dict[str, Published]) -> tuple[Any, Any]:
        counts, plain, legend = self.compared.counts, self.compared.plain, self.codes.legend
        unit = map_areas(self.compared.comparison.geobox).unit_m2
        tables = {
            "matrix": matrix_table(counts, legend, unit),
            "pairs": pair_table(counts, plain, self.codes, unit),
            "components": component_table(counts, legend, unit),
            "summary": summary_table(counts, plain, unit, years=self.years),
            "intensity": intensity_table(counts, legend, years=self.years),
        }
        if not (self.options.rules.is_plain and self.options.min_area is None):
            tables["matrix_plain"] = matrix_table(plain, legend, unit)
        for kind, table in tables.items():
            assets[kind] = write_areas(table, stage / f"{name}_{kind}.csv")
        return tables["summary"], tables["pairs"]

    def _view(self, legend: Legend) -> ChangeView:
        """Every n-th pixel of the maps, few enough for a picture."""
        comparison, counts = self.compared.comparison, self.compared.counts
        step = max(1, -(-max(int(n) for n in comparison.geobox.shape) // _PICTURE_PX))
        shape = tuple(-(-int(n) // step) for n in comparison.geobox.shape)
        layers = np.full((3, *shape), NONE, dtype=np.uint8)
        for part in self.compared.parts:
            b = part.block
            for row, codes in iter_strips(part, "classes"):
                strip = replace(b, row_off=b.row_off + row, height=len(codes))
                down, across = -strip.row_off % step, -b.col_off % step
                if down >= strip.height or across >= b.width:
                    continue
                pixels = (comparison.places_before(strip), comparison.places_after(strip), codes)
                thin = [p[down::step, across::step] for p in pixels]
                top, left = (strip.row_off + down) // step, (b.col_off + across) // step
                height, width = thin[0].shape
                layers[:, top : top + height, left : left + width] = thin
        return ChangeView(
            before=layers[0],
            after=layers[1],
            codes=layers[2],
            legend=self.codes.legend,
            change_legend=legend,
            flows_ha=counts.units[:-1, :-1] * map_areas(comparison.geobox).unit_m2 / 10_000,
            titles=(f"Before: {self.maps[0].name}", f"After: {self.maps[1].name}"),
        )

    def _zones(self, stage: Path, name: str, change: Path, assets: dict[str, Published]) -> tuple[str, ...]:
        zones = self.options.zones
        if zones is None:
            return ()
        comparison = self.compared.comparison
        coded = open_class_raster(change, legend=self._occurring())

        def read(block: Block) -> tuple[Any, Any]:
            codes = coded.read(block.row_off, block.col_off, block.height, block.width)
            return codes, stable_places(comparison, block)

        inner = self.compared.counts.pixels[:-1, :-1]
        table, notes = zone_change_table(
            read, zones, self.codes, np.argwhere(inner), comparison.geobox, map_areas(comparison.geobox)
        )
        assets["zones"] = write_areas(table, stage / f"{name}_zones.csv")
        return notes
