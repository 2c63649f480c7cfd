"""A class map with its minimum mapping unit applied as it is read, block by block."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.area.pixel_area import PixelAreas
from geoseg.errors import ParameterError
from geoseg.inference.lattice import Block
from geoseg.vector.mapping_unit import apply, merge_small
from geoseg.vector.measure import Pixels
from geoseg.vector.min_area import MinArea
from geoseg.vector.regions import BlockRegions, block_regions, join_regions
from geoseg.vector.unite import Grid

__all__ = ["Merged", "merged"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Merged:
    """Reads the pixels of a block, with small regions in the class of the neighbours they were merged into."""

    read: Callable[[Block], Pixels]
    """Of the map as it was."""
    new_class: Mapping[Block, NDArray[np.uint8]]
    """For each block the class of each of its components."""
    nodata: int
    """Class value that means "no observation"."""

    def __call__(self, block: Block) -> Pixels:
        """The pixels of one of the blocks."""
        pixels, new_class = self.read(block), self.new_class[block]
        own = np.arange(len(new_class), dtype=np.int32)
        return replace(pixels, classes=apply(pixels.classes, own, new_class, nodata=self.nodata))


def merged(
    grid: Grid, read: Callable[[Block], Pixels], min_area: MinArea, executor: Executor, *, nodata: int
) -> Merged:
    """The map with every region below the minimum merged into a neighbour.

    Memory: some 200 bytes for each region of the map, and the blocks in work.

    Args:
        grid: The blocks it is read in.
        read: Gives the pixels of a block, with their areas where the minimum is an area.
        min_area: The smallest region that stays.
        executor: Runs the work on blocks.
        nodata: Class value that means "no observation".

    Raises:
        ParameterError: If the minimum is an area, and the map has no CRS to tell areas.
        ResourceError: If there are more regions than can be counted.
    """
    width = sum(block.width for block in grid.blocks[: grid.n_cols])
    found = list(executor.map(_regions, *zip(*((read, b, width, nodata, min_area) for b in grid.blocks), strict=True)))
    units = {unit for _, unit in found}
    graph, region_of = join_regions([regions for regions, _ in found])
    new_class = merge_small(graph, min_area.threshold(units.pop()))
    by_block = {block: new_class[regions] for block, regions in zip(grid.blocks, region_of, strict=True)}
    return Merged(read=read, new_class=by_block, nodata=nodata)


def _regions(
    read: Callable[[Block], Pixels], block: Block, width: int, nodata: int, min_area: MinArea
) -> tuple[BlockRegions, float | None]:
    """Regions of a block, and square metres per unit of their sizes."""
    pixels = read(block)
    areas: PixelAreas | None = pixels.areas if min_area.kind == "m2" else None
    if areas is None and min_area.kind == "m2":
        raise ParameterError("a smallest area in m2 needs a map with a CRS: give it in px")
    units = None if areas is None else areas.units(block.row_off, block.col_off, block.height, block.width)
    regions = block_regions(
        pixels.classes, row_off=block.row_off, col_off=block.col_off, scene_width=width, nodata=nodata, units=units
    )
    return regions, None if areas is None else areas.unit_m2
