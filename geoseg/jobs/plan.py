"""What a run is going to do, decided before anything is computed: a value that can be printed, counted and tested."""

import math
from dataclasses import dataclass

import numpy as np

from geoseg.errors import ParameterError
from geoseg.inference.lattice import TILE, Block, blocks
from geoseg.inference.recipe import Recipe
from geoseg.scene.scene import Scene

__all__ = ["ScenePlan", "check_block_size", "plan_blocks"]

# Width decides the memory: 4608 px keep a scene of any size close to what one of 4096 px takes. Height decides
# only how much is lost with a block.
_MAX_BLOCK_WIDTH = 9 * TILE
_MAX_BLOCK_HEIGHT = 32 * TILE
_RESAMPLING = 224 << 20  # rows of the source that are held, and those that are weighted


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenePlan:
    """One scene's work."""

    recipe: Recipe
    """What is computed."""
    blocks: tuple[Block, ...]
    """In which pieces."""

    @property
    def n_windows(self) -> int:
        """Windows of the scene, each counted once; of an area of interest those that touch it."""
        recipe = self.recipe
        return recipe.lattice.n_windows if recipe.inside is None else int(recipe.inside.touched(recipe.lattice).sum())

    @property
    def n_forward(self) -> int:
        """Windows that are computed at most: those on block borders once for each block."""
        # blocks are the product of spans of rows and spans of columns, and so are their windows
        lattice, inside = self.recipe.lattice, self.recipe.inside
        if inside is not None:
            touched = inside.touched(lattice)
            parts = [part for block in self.blocks if (part := inside.within(block)) is not None]
            return sum(
                int(
                    touched[
                        np.ix_(lattice.rows.touching(p.row_off, p.row_end), lattice.cols.touching(p.col_off, p.col_end))
                    ].sum()
                )
                for p in parts
            )
        rows = {(b.row_off, b.row_end) for b in self.blocks}
        cols = {(b.col_off, b.col_end) for b in self.blocks}
        return sum(len(lattice.rows.touching(*r)) for r in rows) * sum(len(lattice.cols.touching(*c)) for c in cols)

    def memory_bytes(self, batch_size: int, *, probabilities: bool = False) -> int:
        """Most memory one block takes beside the network itself: strips, source rows, batch and outputs.

        Args:
            batch_size: Windows per forward pass.
            probabilities: Whether those of all classes are made, too.
        """
        recipe = self.recipe
        window, n_bands, n_classes = recipe.lattice.rows.window, len(recipe.bands), recipe.model.n_classes
        width = max(b.width for b in self.blocks)
        source_width = max(min(width + 2 * window, recipe.scene.width), window)
        strips = 2 * 4 * n_classes * window * width
        # as they are stored, or float32; and where they are valid
        stored = min(max(np.dtype(b.dtype).itemsize for b in recipe.bands), 4)
        pieces = (stored * n_bands + 1) * source_width * (3 * window + min(recipe.scene.block_shape[0], 1024))
        batch = 4 * batch_size * window**2 * (n_bands + 2 * n_classes)
        outputs = 8 * TILE * width
        if probabilities:
            # the rows of two lattice rows, one decided and one written, and the writer's strip of tiles
            outputs += len(recipe.legend) * (2 * window + TILE) * width
        return strips + pieces + batch + outputs + (_RESAMPLING if recipe.scene.source is not None else 0)


def plan_blocks(scene: Scene, *, block_size: int | None = None, at_once: int = 1) -> tuple[Block, ...]:
    """The blocks of a scene, row by row; edges lie on multiples of the output tile.

    A window on a border between blocks is computed for both, which costs a share of about ``window / block`` along each
    axis. So blocks are as large as memory allows, which their width decides; height only sets how much is lost with a
    block, and how many can run at once.

    Args:
        scene: What is cut.
        block_size: Pixels along a side instead, a multiple of 512.
        at_once: Blocks that can compute at the same time: a scene is cut into at least twice as many.

    Raises:
        ParameterError: If the block size is not a multiple of the output tile.
    """
    if block_size is not None:
        check_block_size(block_size)
        height = width = block_size
    else:
        width = _even(scene.width, _max_width(scene))
        height = _even(scene.height, _MAX_BLOCK_HEIGHT)
        if at_once > 1:
            down = math.ceil(2 * at_once / math.ceil(scene.width / width))
            # rounded down to whole tiles: rounded up, there would be fewer than asked for
            height = min(height, max(TILE, scene.height // down // TILE * TILE))
    return tuple(blocks(scene.height, scene.width, block_height=height, block_width=width))


def _max_width(scene: Scene) -> int:
    """Most columns of a block: fewer where each is the mean of several columns that are read."""
    if scene.source is None:
        return _MAX_BLOCK_WIDTH
    factor = max(1.0, scene.source.width / scene.width)
    return max(2 * TILE, int(_MAX_BLOCK_WIDTH / factor) // TILE * TILE)


def check_block_size(block_size: int) -> None:
    """Refuse a block size whose blocks would share output tiles.

    Raises:
        ParameterError: If it is not a multiple of the output tile.
    """
    if block_size < TILE or block_size % TILE:
        raise ParameterError(f"block size {block_size} px: choose a multiple of {TILE}, the tile of the outputs")


def _even(length: int, at_most: int) -> int:
    """Length of equal blocks rather than long ones and a sliver at the end, rounded up to whole tiles."""
    n = math.ceil(length / at_most)
    return math.ceil(length / n / TILE) * TILE
