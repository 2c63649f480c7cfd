"""Parts made again from finished rasters: what depends on them is redone without running the model."""

import json
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.area.expected import ExpectedTotals, expected_totals
from geoseg.area.sums import ClassTotals, class_totals
from geoseg.errors import OutputError, printable
from geoseg.inference.lattice import TILE, Block
from geoseg.inference.recipe import Recipe
from geoseg.jobs.block import BlockResult, pixel_areas
from geoseg.outputs.aside import sha256_of
from geoseg.outputs.parts import PartWriter

__all__ = ["restore_block", "undamaged_rasters"]

_KINDS = ("classes", "confidence", "probabilities")


def undamaged_rasters(folder: Path, *, probabilities: bool) -> bool:
    """Whether the finished rasters of a scene are, byte by byte, what its record says.

    Args:
        folder: Of the scene.
        probabilities: Whether those of the classes are needed, too.
    """
    try:
        assets = json.loads((folder / f"{folder.name}.json").read_text("utf-8"))["assets"]
        wanted = [assets[kind] for kind in (_KINDS if probabilities else _KINDS[:2])]
        return all(asset["file:checksum"].endswith(sha256_of(folder / asset["href"])) for asset in wanted)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def restore_block(
    recipe: Recipe, block: Block, path: Path, probabilities: bool = False, *, folder: Path
) -> BlockResult:
    """The part of a block as the model left it, from the finished rasters of the scene; see `compute_block`.

    Args:
        recipe: Scene, and model for its legend.
        block: Which pixels.
        path: Final name of the part file.
        probabilities: Whether the part holds those of all classes, too.
        folder: Of the finished results.

    Raises:
        OutputError: If a raster cannot be read, or the part not written.
    """
    areas = pixel_areas(recipe.geobox)
    n = len(recipe.legend) if probabilities else 0
    totals, expected = ClassTotals.zero(), ExpectedTotals.zero(n)
    with PartWriter(path, block=block, n_probabilities=n) as writer:
        for row in range(block.row_off, block.row_end, TILE):
            rows = Block(row_off=row, col_off=block.col_off, height=min(TILE, block.row_end - row), width=block.width)
            classes, confidence = (_read(folder, kind, rows)[0] for kind in _KINDS[:2])
            shares = _read(folder, "probabilities", rows) if probabilities else None
            writer.write_rows(classes, confidence, shares)
            totals = totals + class_totals(classes, areas, row_off=row, col_off=block.col_off, confidence=confidence)
            if shares is not None:
                expected = expected + expected_totals(shares, areas, row_off=row, col_off=block.col_off)
        return BlockResult(part=writer.finish(), totals=totals, expected=expected if probabilities else None)


def _read(folder: Path, kind: str, rows: Block) -> NDArray[np.uint8]:
    """(band, row, col) of a finished raster."""
    path = folder / f"{folder.name}_{kind}.tif"
    try:
        with rasterio.open(path, driver="GTiff") as dataset:
            pixels = dataset.read(window=Window(rows.col_off, rows.row_off, rows.width, rows.height))
    except rasterio.errors.RasterioError as error:
        raise OutputError(
            f"{printable(path)} does not read back: {error}; remove its folder, then run again"
        ) from error
    return np.asarray(pixels)
