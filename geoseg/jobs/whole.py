"""The finished maps of a run as one, on one grid in any CRS: what `geoseg run --dst-crs` leaves beside the scenes.

Each scene is mapped on its own grid, where its pixels were measured. Then each pixel of the one grid takes the class of
the scene's pixel that its centre lies in, of the first scene that has one there: no pixel between scenes is left out or
counted twice, and areas and polygons are those of the one map.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from geoseg import __version__
from geoseg.area.class_areas import class_table
from geoseg.area.sums import class_totals
from geoseg.change.grids import Alignment, align
from geoseg.change.maps import FileMap
from geoseg.errors import InputError, printable
from geoseg.inference.lattice import Block, blocks
from geoseg.jobs.block import BlockResult, Computed, pixel_areas
from geoseg.jobs.change_maps import find_map
from geoseg.jobs.change_options import MapInput
from geoseg.jobs.cluster import helpers
from geoseg.jobs.finished import parts_folder, standing
from geoseg.jobs.mapping_unit import merge_parts
from geoseg.jobs.outcome import Options
from geoseg.jobs.products import MapProduct, Named, write_products
from geoseg.jobs.results import read_item
from geoseg.jobs.words import counted
from geoseg.legend import NODATA, Legend
from geoseg.outputs.parts import Part, PartWriter
from geoseg.outputs.stac import ItemInfo, write_item
from geoseg.outputs.staging import staging
from geoseg.scene.class_raster import open_class_raster
from geoseg.scene.target import Target, target_grid

__all__ = ["WHOLE", "WholeResult", "whole_map"]

WHOLE = "whole"
"""Folder of the maps of all scenes, in the output folder: one for each CRS that was asked for."""
_FORMAT = 1
"""Of the outputs: another one makes finished results others."""
_BLOCK_PX = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeResult:
    """What became of the one map."""

    folder: Path
    """Where its outputs are."""
    n_polygons: int | None
    """None where polygons were not asked for."""
    pixels: int
    """Of its grid."""
    notes: tuple[str, ...] = ()
    """What was decided and found out."""
    unchanged: bool = False
    """Whether the same was finished before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A finished scene and where it lies on the one grid."""

    read: FileMap
    at: Alignment

    def within(self, block: Block) -> Block | None:
        """The part of a block that the scene may cover."""
        height, width = (int(n) for n in self.at.geobox.shape)
        top, left = max(block.row_off, self.at.row_off), max(block.col_off, self.at.col_off)
        bottom, right = min(block.row_end, self.at.row_off + height), min(block.col_end, self.at.col_off + width)
        if top >= bottom or left >= right:
            return None
        return Block(row_off=top, col_off=left, height=bottom - top, width=right - left)


def whole_map(scenes: Sequence[Path], output: Path, target: Target, legend: Legend, options: Options) -> WholeResult:
    """Put the finished maps of scenes on one grid, and leave a folder of outputs, which appear together.

    Work goes on in blocks, on the workers of the cluster that this runs on, else in threads. A finished folder of the
    same maps and options is left as it is; one of others is replaced, for it is made of nothing but the scenes.

    Args:
        scenes: Folders of finished scenes. Where several have a class, the first has it; with ``newest`` mosaics that
            which was taken last.
        output: The folder to be; its name is that of the outputs. Its parent is made if missing.
        target: CRS and resolution.
        legend: Of all scenes.
        options: What the user chose.

    Raises:
        InputError: If the scenes do not fit on one map.
        OutputError: If the folder holds something else, or anything cannot be written or does not read back.
    """
    maps = [find_map(folder) for folder in scenes]
    if options.mosaic == "newest":
        maps.sort(key=lambda m: np.inf if m.acquired is None else -m.acquired.timestamp())
    rasters = [open_class_raster(m.classes, legend=legend) for m in maps]
    geobox = target_grid([r.geobox for r in rasters], target, names=[m.name for m in maps])
    pixels = int(geobox.shape[0]) * int(geobox.shape[1])
    done = standing(output, _key(maps, geobox, options), lambda _: _finished(output, pixels), overwrite=True)
    if done is not None:
        return done
    placed = [
        _Placed(read=FileMap(raster=r, confidence=m.confidence), at=align(geobox, r.geobox, names=("the map", m.name)))
        for r, m in zip(rasters, maps, strict=True)
    ]
    with helpers() as (executor, at_once), parts_folder(output) as folder:
        cut = blocks(*geobox.shape, block_height=_BLOCK_PX, block_width=_BLOCK_PX)
        futures = [executor.submit(_whole_block, placed, geobox, legend.nodata, block, folder) for block in cut]
        try:
            computed = Computed.of(future.result() for future in futures)
        finally:
            for future in futures:  # after an error, what has not begun is of no use
                future.cancel()
        parts: Sequence[Part] = computed.parts
        totals = computed.totals
        if options.min_area is not None:
            parts, totals = merge_parts(parts, options.min_area, geobox, legend.nodata, executor)
        model = next((m.model for m in maps if m.model), "")
        key = _key(maps, geobox, options)
        metadata = {"GEOSEG_VERSION": __version__, "GEOSEG_MODEL": model, "GEOSEG_KEY": key}
        product = MapProduct(
            geobox=geobox,
            legend=legend,
            parts=parts,
            table=class_table(totals, legend, pixel_areas(geobox).unit_m2),
            metadata=metadata,
        )
        with staging(output, overwrite=True) as stage:
            written = write_products(product, Named(stage, output.name), options, executor, at_once)
            times = sorted(m.acquired for m in maps if m.acquired is not None)
            write_item(
                stage / f"{output.name}.json",
                written.assets,
                ItemInfo(
                    id=output.name,
                    geobox=geobox,
                    legend=legend,
                    processed=datetime.now(UTC),
                    period=(times[0], times[-1]) if len(times) == len(maps) else None,
                    model=model,
                    software={"geoseg": __version__, "gdal": rasterio.__gdal_version__},
                    parameters=options.parameters | {"key": key, "scenes": [m.name for m in maps]},
                ),
            )
    shown = f"{geobox.shape[1]} x {geobox.shape[0]} px of {geobox.affine.a:.10g} {_units(geobox)}"
    note = f"one map of {counted(len(maps), 'scene')} in {printable(target.crs)}, {shown}: {printable(output)}"
    return WholeResult(folder=output, n_polygons=written.n_polygons, pixels=pixels, notes=(note, *written.notes))


def _units(geobox: GeoBox) -> str:
    assert geobox.crs is not None
    unit = geobox.crs.proj.axis_info[0].unit_name
    return {"metre": "m", "degree": "degrees"}.get(unit, printable(unit))


def _finished(folder: Path, pixels: int) -> WholeResult:
    return WholeResult(folder=folder, n_polygons=None, pixels=pixels, unchanged=True)


def _key(maps: Sequence[MapInput], geobox: GeoBox, options: Options) -> str:
    """SHA-256 of all that shapes the outputs: the contents of the maps in their order, the grid and the options."""
    assert geobox.crs is not None
    inputs = []
    for m in maps:
        item = read_item(Path(m.classes).parent)
        if item is None:
            raise InputError(f"{printable(m.classes)}: its record has gone; run again")
        inputs.append([item["assets"][kind]["file:checksum"] for kind in ("classes", "confidence")])
    content = {
        "format": _FORMAT,
        "maps": inputs,
        "grid": [geobox.crs.proj.to_wkt(), list(geobox.affine[:6]), [int(n) for n in geobox.shape]],
        "parameters": options.parameters,
        "formats": options.formats,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _whole_block(placed: Sequence[_Placed], geobox: GeoBox, nodata: int, block: Block, folder: Path) -> BlockResult:
    """The part of a block of the one grid, from all scenes that lie there."""
    classes = np.full((block.height, block.width), nodata, np.uint8)
    percent = np.full((block.height, block.width), NODATA, np.uint8)
    for scene in placed:
        part = scene.within(block)
        if part is None:
            continue
        inside = np.s_[
            part.row_off - block.row_off : part.row_end - block.row_off,
            part.col_off - block.col_off : part.col_end - block.col_off,
        ]
        if (classes[inside] != nodata).all():
            continue
        there = replace(part, row_off=part.row_off - scene.at.row_off, col_off=part.col_off - scene.at.col_off)
        found, confidence = scene.at.after.take(there, scene.read, nodata)
        fresh = (classes[inside] == nodata) & (found != nodata)
        classes[inside][fresh] = found[fresh]
        if confidence is not None:
            percent[inside][fresh] = confidence[fresh]
    totals = class_totals(
        classes, pixel_areas(geobox), row_off=block.row_off, col_off=block.col_off, confidence=percent
    )
    with PartWriter(folder / f"{block.row_off}_{block.col_off}.tif", block=block) as writer:
        writer.write_rows(classes, percent)
        return BlockResult(part=writer.finish(), totals=totals)
