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
_OWN_ROWS = 128  # of the scene's own grid, held and worked on at once


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
        recipe, inside = self.recipe, self.recipe.seen_inside
        if inside is not None:
            return int(inside.touched(recipe.lattice).sum())
        height, width = recipe.shape
        return recipe.lattice.n_windows_of(recipe.seen(Block(row_off=0, col_off=0, height=height, width=width)))

    @property
    def n_forward(self) -> int:
        """Windows that are computed at most: those on block borders once for each block."""
        # blocks are the product of spans of rows and spans of columns, and so are their windows
        lattice, inside, seen_inside = self.recipe.lattice, self.recipe.inside, self.recipe.seen_inside
        if inside is not None and seen_inside is not None:
            touched = seen_inside.touched(lattice)
            asked = [part for block in self.blocks if (part := inside.within(block)) is not None]
            parts = [self.recipe.seen(part) for part in asked]
            return sum(
                int(
                    touched[
                        np.ix_(lattice.rows.touching(p.row_off, p.row_end), lattice.cols.touching(p.col_off, p.col_end))
                    ].sum()
                )
                for p in parts
            )
        seen = [self.recipe.seen(b) for b in self.blocks]
        rows = {(b.row_off, b.row_end) for b in seen}
        cols = {(b.col_off, b.col_end) for b in seen}
        return sum(len(lattice.rows.touching(*r)) for r in rows) * sum(len(lattice.cols.touching(*c)) for c in cols)

    def memory_bytes(self, batch_size: int, *, probabilities: bool = False) -> int:
        """Most memory one block takes beside the network itself: strips, source rows, batch and outputs.

        Args:
            batch_size: Windows per forward pass.
            probabilities: Whether those of all classes are made, too.
        """
        recipe = self.recipe
        window, n_bands, n_classes = recipe.lattice.rows.window, len(recipe.bands), recipe.model.n_classes
        made = max(b.width for b in self.blocks)
        width = max(recipe.seen(b).width for b in self.blocks)
        source_width = max(min(width + 2 * window, recipe.scene.width), window)
        strips = 2 * 4 * n_classes * window * width
        # as they are stored, or float32; and where they are valid
        stored = min(max(np.dtype(b.dtype).itemsize for b in recipe.bands), 4)
        pieces = (stored * n_bands + 1) * source_width * (3 * window + min(recipe.scene.block_shape[0], 1024))
        batch = 4 * batch_size * window**2 * (n_bands + 2 * n_classes)
        outputs = 8 * TILE * made
        # rows of the results that one lattice row makes
        rows = window * recipe.shape[0] // recipe.scene.height + 1
        if probabilities:
            # the rows of two lattice rows, one decided and one written, and the writer's strip of tiles
            outputs += len(recipe.legend) * (2 * rows + TILE) * made
        if recipe.native:
            # classes, confidence, and where pixels are observed; and the probabilities of the rows that are worked on
            outputs += 3 * 2 * rows * made + 4 * 4 * (n_classes + 1) * _OWN_ROWS * made
        return strips + pieces + batch + outputs + (_RESAMPLING if recipe.scene.source is not None else 0)


def plan_blocks(
    scene: Scene,
    *,
    block_size: int | None = None,
    at_once: int = 1,
    native: bool = False,
    shape: tuple[int, int] | None = None,
) -> tuple[Block, ...]:
    """The blocks of a scene's results, row by row; edges lie on multiples of the output tile.

    A window on a border between blocks is computed for both, which costs a share of about ``window / block`` along each
    axis. So blocks are as large as memory allows, which their width decides; height only sets how much is lost with a
    block, and how many can run at once.

    Args:
        scene: What is cut.
        block_size: Pixels along a side instead, a multiple of 512.
        at_once: Blocks that can compute at the same time: a scene is cut into at least twice as many.
        native: Whether the results are on the grid of the scene's own pixels, where these are resampled.
        shape: Rows and columns of the results, where they are of a part of the scene.

    Raises:
        ParameterError: If the block size is not a multiple of the output tile.
    """
    made = scene.source if native and scene.source is not None else scene
    rows, cols = shape or (made.height, made.width)
    if block_size is not None:
        check_block_size(block_size)
        height = width = block_size
    else:
        width = _even(cols, _max_width(scene, native))
        height = _even(rows, _MAX_BLOCK_HEIGHT)
        if at_once > 1:
            down = math.ceil(2 * at_once / math.ceil(cols / width))
            # rounded down to whole tiles: rounded up, there would be fewer than asked for
            height = min(height, max(TILE, rows // down // TILE * TILE))
    return tuple(blocks(rows, cols, block_height=height, block_width=width))


def _max_width(scene: Scene, native: bool) -> int:
    """Most columns of a block: fewer where each is the mean of several that are read, or of several that are made."""
    if scene.source is None:
        return _MAX_BLOCK_WIDTH
    read_per_seen = scene.source.width / scene.width
    factor = max(1.0, 1 / read_per_seen if native else read_per_seen)
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
