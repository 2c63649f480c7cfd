"""The polygons of any categorical raster in a file: `geoseg vectorize` as a function."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geoseg import __version__
from geoseg.area.pixel_area import PixelAreas
from geoseg.errors import GeosegError, ParameterError, printable
from geoseg.inference.inside import Inside
from geoseg.inference.lattice import Block
from geoseg.jobs.allocator import keep_memory
from geoseg.jobs.outcome import Event
from geoseg.legend import Legend
from geoseg.outputs.together import together
from geoseg.outputs.vectors import FORMATS, write_polygons
from geoseg.scene.class_map import occurring
from geoseg.scene.class_raster import ClassRaster, ClassReader
from geoseg.vector.measure import Pixels
from geoseg.vector.merged import merged
from geoseg.vector.min_area import MinArea
from geoseg.vector.unite import Grid
from geoseg.vector.vectorizer import Drawn, Outlines, Vectorizer, blocks_over

__all__ = ["HELD_PX", "files_of", "format_of", "vectorize_raster"]

HELD_PX = 1 << 26
"""A map up to this many pixels is held in memory: a file is decoded once then, not twice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Map:
    """Reads blocks of a class raster, from memory where it is small."""

    raster: ClassRaster
    areas: PixelAreas
    inside: Inside | None
    held: NDArray[np.uint8] | None

    def __call__(self, block: Block) -> Pixels:
        if self.held is not None:
            classes = self.held[block.row_off : block.row_end, block.col_off : block.col_end]
        else:
            with ClassReader(self.raster) as reader:
                classes = _asked(reader, block, self.inside)
        return Pixels(classes=classes, areas=self.areas)


def _asked(reader: ClassReader, block: Block, inside: Inside | None) -> NDArray[np.uint8]:
    """Class values of a block; nodata, and not read where that can be, where they are not asked for."""
    if inside is None:
        return reader.read(block.row_off, block.col_off, block.height, block.width)
    classes = np.full((block.height, block.width), reader.raster.legend.nodata, np.uint8)
    part = inside.within(block)
    if part is not None:
        row, col = part.row_off - block.row_off, part.col_off - block.col_off
        np.copyto(
            classes[row : row + part.height, col : col + part.width],
            reader.read(part.row_off, part.col_off, part.height, part.width),
            where=inside.mask(part.row_off, part.col_off, part.height, part.width),
        )
    return classes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Teller:
    """Tells how far the work is, where anybody listens."""

    listen: Callable[[Event], None] | None
    name: str

    def __call__(self, kind: Literal["planned", "block"], *, n_blocks: int = 0, pixels: int = 0) -> None:
        if self.listen is not None:
            self.listen(Event(kind=kind, scene=self.name, n_blocks=n_blocks, pixels=pixels))


def format_of(path: Path) -> str:
    """The format that a file's suffix stands for.

    Raises:
        ParameterError: If there is none.
    """
    for name, kind in FORMATS.items():
        if path.suffix == kind.suffix:
            return name
    known = ", ".join(kind.suffix for kind in FORMATS.values())
    raise ParameterError(f"{printable(path.name)}: no polygon format ends like this: choose one of {known}")


def files_of(path: Path) -> list[Path]:
    """The file and those that its format puts beside it, such as the table and the style of a shapefile.

    Raises:
        ParameterError: As `format_of`.
    """
    return [path, *(path.with_suffix(side) for side in FORMATS[format_of(path)].sides)]


def vectorize_raster(
    raster: ClassRaster,
    paths: Sequence[Path],
    *,
    outlines: Outlines,
    min_area: MinArea | None = None,
    inside: Inside | None = None,
    threads: int | None = None,
    overwrite: bool = True,
    listen: Callable[[Event], None] | None = None,
) -> Drawn:
    """Write the polygons of a class map, block by block, into one file or several, which appear together.

    Args:
        raster: The class map.
        paths: Final names; their suffixes say the formats.
        outlines: How polygons are drawn.
        min_area: Smaller regions are merged into their neighbours first.
        inside: The pixels that are asked for, which count for nodata elsewhere; all by default.
        threads: Blocks in work at the same time; as many as there are cores by default.
        overwrite: Whether files that are there at the end are replaced.
        listen: Told how far the work is, under the file's name: every file goes through all blocks.

    Returns:
        What was drawn.

    Raises:
        ParameterError: If a suffix stands for no format.
        SceneError: If the map cannot be read.
        OutputError: If a file cannot be written, or does not read back.
    """
    formats = [format_of(path) for path in paths]
    keep_memory()  # blocks ask for the same arrays again and again
    threads = threads or os.cpu_count() or 1
    shape = raster.geobox.shape[0], raster.geobox.shape[1]
    small = shape[0] * shape[1] <= HELD_PX
    held = None
    if small:
        with ClassReader(raster) as reader:
            held = _asked(reader, Block(row_off=0, col_off=0, height=shape[0], width=shape[1]), inside)
    read = _Map(raster=raster, areas=PixelAreas.of(raster.geobox), inside=inside, held=held)
    grid = blocks_over(*shape)
    with ThreadPoolExecutor(threads, "geoseg-vector") as pool:
        vectorizer = Vectorizer(
            geobox=raster.geobox,
            legend=_legend(raster, read, grid),
            grid=grid,
            read=read,
            outlines=outlines,
            areas=read.areas,
        )
        if min_area is not None:
            smaller = merged(grid, read, min_area, pool, nodata=raster.legend.nodata)
            vectorizer = replace(vectorizer, read=smaller)
        drawn = Drawn()
        tell = _Teller(listen=listen, name=Path(raster.href).name)
        tell("planned", n_blocks=len(grid) * len(paths), pixels=shape[0] * shape[1])
        features = vectorizer.features(
            pool, at_once=threads, drawn=drawn, done=lambda b: tell("block", pixels=b.height * b.width)
        )
        with together(paths, overwrite=overwrite) as names:
            for name, kind in zip(names, formats, strict=True):
                try:
                    write_polygons(
                        features,
                        name,
                        format=kind,
                        legend=vectorizer.legend,
                        metadata={"GEOSEG_VERSION": __version__},
                        checksum=False,
                    )
                except GeosegError as error:
                    if str(printable(name)) in str(error):
                        raise
                    raise type(error)(f"{printable(name)}: {error}") from error
    return drawn


def _legend(raster: ClassRaster, read: _Map, grid: Grid) -> Legend:
    """The legend, with classes that occur and have no name added."""
    if not raster.named:  # then it was made from all values
        return raster.legend
    present = np.zeros(256, dtype=np.bool_)
    if read.held is not None:
        present[occurring(read.held)] = True
    else:
        with ClassReader(raster) as reader:
            for b in grid.blocks:
                present[occurring(_asked(reader, b, read.inside))] = True
    return raster.legend_of(v for v in np.flatnonzero(present).tolist() if v != raster.legend.nodata)
