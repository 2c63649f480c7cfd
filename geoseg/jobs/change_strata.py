"""The raster of strata of a change map, for a reference sample."""

import shutil
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from geoseg.change.block_change import with_margin
from geoseg.change.codes import ChangeCodes
from geoseg.change.strata import strata_legend, strata_of
from geoseg.inference.lattice import Block
from geoseg.outputs.aside import Published
from geoseg.outputs.cog import write_class_cog
from geoseg.outputs.parts import Part, PartWriter
from geoseg.scene.class_raster import ClassRaster

__all__ = ["write_strata"]


def write_strata(
    path: Path,
    change: ClassRaster,
    codes: ChangeCodes,
    *,
    buffer: int,
    blocks: list[Block],
    metadata: dict[str, str],
    executor: Executor,
) -> Published:
    """Kinds of change, no change within ``buffer`` pixels of them, and no change elsewhere, as a class map.

    Memory: three bytes a pixel for each block in work.

    Args:
        path: Final name, ``.tif``.
        change: The finished change map.
        codes: Of it.
        buffer: Rows and columns around change.
        blocks: That cover the map; edges lie on multiples of the output tile.
        metadata: Tags.
        executor: Runs the work on blocks.

    Raises:
        ParameterError: If bytes have no room for a further stratum.
        OutputError: If it cannot be written or does not read back.
    """
    legend = strata_legend(codes)
    folder = path.with_name(".strata")
    folder.mkdir()
    try:
        futures = [
            executor.submit(_part, folder / f"{b.row_off}_{b.col_off}.tif", change, b, len(codes) + 1, buffer)
            for b in blocks
        ]
        parts = [future.result() for future in futures]
        return write_class_cog(
            path,
            parts,
            geobox=change.geobox,
            legend=legend,
            metadata=metadata,
            description="strata for a reference sample of change",
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _part(path: Path, change: ClassRaster, block: Block, near: int, buffer: int) -> Part:
    inner, outer = with_margin(block, change.geobox, buffer)
    codes = change.read(outer.row_off, outer.col_off, outer.height, outer.width)
    strata = strata_of(codes, nodata=change.legend.nodata, near=near, buffer=buffer, inside=inner)
    with PartWriter(path, block=block) as writer:
        writer.write_rows(np.ascontiguousarray(strata), np.full(strata.shape, 255, np.uint8))
        return writer.finish()
