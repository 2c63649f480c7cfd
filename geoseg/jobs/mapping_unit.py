"""The minimum mapping unit of a scene: its parts written anew, with small regions merged into their neighbours."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.area.sums import ClassTotals, class_totals
from geoseg.inference.lattice import TILE, Block, blocks
from geoseg.jobs.block import pixel_areas
from geoseg.outputs.parts import Part, PartWriter, iter_strips, read_window
from geoseg.vector.mapping_unit import apply, merge_small
from geoseg.vector.min_area import MinArea
from geoseg.vector.regions import BlockRegions, block_regions, join_regions

__all__ = ["merge_parts"]

_PIECE = 4 * TILE
"""Side of the pieces that parts are labelled in: 25 bytes a pixel."""


def merge_parts(
    parts: Sequence[Part], min_area: MinArea, geobox: GeoBox, nodata: int, executor: Executor
) -> tuple[list[Part], ClassTotals]:
    """The parts of a scene with its minimum mapping unit applied, beside the old ones, and their totals.

    Classes change, confidence and probabilities stay those of the model. Memory: some 200 bytes for each region of the
    scene.

    Args:
        parts: All blocks of the scene.
        min_area: The smallest region that stays.
        geobox: Of the scene.
        nodata: Class value that means "no observation".
        executor: Runs the work on parts.

    Raises:
        OutputError: If a part cannot be read or written.
        ResourceError: If there are more regions than can be counted.
    """
    by_area = min_area.kind == "m2"
    threshold = min_area.threshold(pixel_areas(geobox).unit_m2 if by_area else None)
    surveys = [executor.submit(_survey, part, geobox, nodata, by_area) for part in parts]
    found = [survey.result() for survey in surveys]
    graph, region_of = join_regions([regions for pieces in found for regions in pieces])
    new_class = merge_small(graph, threshold)
    rest = iter(region_of)
    written: list[Future[tuple[Part, ClassTotals]]] = []
    for part, pieces in zip(parts, found, strict=True):
        changed = [new_class[next(rest)] for _ in pieces]
        written.append(executor.submit(_rewrite, part, changed, geobox, nodata))
    results = [future.result() for future in written]
    return [part for part, _ in results], sum((totals for _, totals in results), ClassTotals.zero())


def _pieces(part: Part) -> Iterator[Block]:
    """The pieces of a part, row by row; offsets count in the part."""
    return blocks(part.block.height, part.block.width, block_height=_PIECE, block_width=_PIECE)


def _read(part: Part, piece: Block) -> NDArray[np.uint8]:
    return read_window(part, "classes", piece.row_off, piece.col_off, piece.height, piece.width)


def _survey(part: Part, geobox: GeoBox, nodata: int, by_area: bool) -> list[BlockRegions]:
    found = []
    for piece in _pieces(part):
        row_off, col_off = part.block.row_off + piece.row_off, part.block.col_off + piece.col_off
        units = pixel_areas(geobox).units(row_off, col_off, piece.height, piece.width) if by_area else None
        found.append(
            block_regions(
                _read(part, piece),
                row_off=row_off,
                col_off=col_off,
                scene_width=geobox.shape[1],
                nodata=nodata,
                units=units,
            )
        )
    return found


def _rewrite(part: Part, new_class: list[NDArray[np.uint8]], geobox: GeoBox, nodata: int) -> tuple[Part, ClassTotals]:
    """The part with new classes; ``new_class`` has those of the components of each piece."""
    block, areas = part.block, pixel_areas(geobox)
    totals = ClassTotals.zero()
    path = part.path.with_name(f"{part.path.stem}_merged{part.path.suffix}")
    confidence = (strip for _, strip in iter_strips(part, "confidence"))
    probabilities = (strip for _, strip in iter_strips(part, "probabilities")) if part.n_probabilities else None
    with PartWriter(Path(path), block=block, n_probabilities=part.n_probabilities) as writer:
        band = np.empty((0, block.width), dtype=np.uint8)
        for piece, classes_of in zip(_pieces(part), new_class, strict=True):
            if piece.col_off == 0:
                band = np.empty((piece.height, block.width), dtype=np.uint8)
            merged = apply(_read(part, piece), np.arange(len(classes_of), dtype=np.int32), classes_of, nodata=nodata)
            band[:, piece.col_off : piece.col_end] = merged
            if piece.col_end < block.width:
                continue
            for down in range(0, piece.height, TILE):
                rows, percent = band[down : down + TILE], next(confidence)
                writer.write_rows(rows, percent, None if probabilities is None else next(probabilities))
                totals = totals + class_totals(
                    rows,
                    areas,
                    row_off=block.row_off + piece.row_off + down,
                    col_off=block.col_off,
                    confidence=percent,
                )
        return writer.finish(), totals
