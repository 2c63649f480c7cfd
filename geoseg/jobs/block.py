"""The task of one block: compute it, write its part file, and count what is in it."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from odc.geo.geobox import GeoBox

from geoseg.area.expected import ExpectedTotals, expected_totals
from geoseg.area.pixel_area import PixelAreas
from geoseg.area.sums import ClassTotals, class_totals
from geoseg.inference.lattice import Block
from geoseg.inference.recipe import Recipe
from geoseg.jobs.allocator import give_back
from geoseg.outputs.crash import crash_point
from geoseg.outputs.parts import Part, PartWriter

__all__ = ["BlockResult", "Computed", "compute_block", "pixel_areas"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult:
    """What a finished block leaves: its file and its sums, so that areas need no second read."""

    part: Part
    """Classes and confidence on disk, and probabilities where they are made."""
    totals: ClassTotals
    """Pixels, areas and confidence of each class."""
    expected: ExpectedTotals | None = None
    """Probabilities times areas of each class, where probabilities are made."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """All files of the block."""
        return (self.part,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What all finished blocks of a scene leave together."""

    parts: tuple[Part, ...]
    """Their files."""
    totals: ClassTotals
    """Sums of the scene."""
    expected: ExpectedTotals | None
    """Likewise, where probabilities are made."""

    @classmethod
    def of(cls, results: Iterable[BlockResult]) -> "Computed":
        """The files of all blocks, and their sums added up one by one: a block's are large beside its file's record."""
        parts, totals, expected = [], ClassTotals.zero(), None
        for result in results:
            parts.append(result.part)
            totals = totals + result.totals
            if result.expected is not None:
                expected = result.expected if expected is None else expected + result.expected
        return cls(parts=tuple(parts), totals=totals, expected=expected)


@lru_cache(maxsize=4)
def pixel_areas(geobox: GeoBox) -> PixelAreas:
    """True pixel areas of a scene, made once per process."""
    return PixelAreas.of(geobox)


def compute_block(recipe: Recipe, block: Block, path: Path, probabilities: bool = False) -> BlockResult:
    """Run the model over a block and leave a verified part file.

    Args:
        recipe: Scene, model and how to run it.
        block: Which pixels.
        path: Final name of the part file.
        probabilities: Whether the part holds those of all classes, too, and their expected areas are summed.

    Raises:
        GeosegError: If the scene cannot be read, the model not run, or the part not written.
    """
    try:
        return _compute(recipe, block, path, probabilities)
    finally:
        give_back()


def _compute(recipe: Recipe, block: Block, path: Path, probabilities: bool) -> BlockResult:
    from geoseg.inference.rows import ClassRows, class_rows

    crash_point(f"block_{block.row_off}_{block.col_off}")
    areas = pixel_areas(recipe.geobox)
    totals = ClassTotals.zero()
    n = len(recipe.legend) if probabilities else 0
    expected = ExpectedTotals.zero(n)

    with (
        PartWriter(path, block=block, n_probabilities=n) as writer,
        ThreadPoolExecutor(1, "geoseg-write") as thread,
    ):

        def take(rows: ClassRows) -> None:
            nonlocal totals, expected
            writer.write_rows(rows.classes, rows.confidence, rows.probabilities)
            totals = totals + class_totals(
                rows.classes, areas, row_off=rows.row_off, col_off=block.col_off, confidence=rows.confidence
            )
            if rows.probabilities is not None:
                expected = expected + expected_totals(
                    rows.probabilities, areas, row_off=rows.row_off, col_off=block.col_off
                )

        # one step behind the network: what is computed is written while the next rows are computed
        pending: Future[None] | None = None
        for rows in class_rows(recipe, block, probabilities=probabilities):
            if pending is not None:
                pending.result()
            pending = thread.submit(take, rows)
        if pending is not None:
            pending.result()
        return BlockResult(part=writer.finish(), totals=totals, expected=expected if probabilities else None)
