"""How well borders lie: boundary IoU, boundary F1, surface distance; counts that add up over blocks, with a halo.

What lies beyond the map, or was not observed on either side, is unknown: it is no background, and its edge no border.
Distances are true ones: a step on the grid is as long as the metric tensor of the map says where it is.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.change.block_change import with_margin
from geoseg.evaluate.border_sums import N_BORDER_SUMS, borders_of
from geoseg.evaluate.plan import Plan
from geoseg.evaluate.ruler import Ruler
from geoseg.inference.lattice import Block, blocks

__all__ = ["BORDER_BLOCK_PX", "BorderScores", "border_blocks", "border_scores", "count_borders", "in_metres"]

BORDER_BLOCK_PX: Final = 1024
"""Side of a block: some 30 bytes a pixel in each that is in work, with its halo."""
(
    _BAND_BOTH, _BAND_REF, _BAND_MAP, _EDGE_REF, _EDGE_REF_HIT, _EDGE_MAP, _EDGE_MAP_HIT,
    _LENGTH_REF, _LENGTH_MAP, _AWAY_REF, _AWAY_MAP, _NEAR, _LOST,
) = range(N_BORDER_SUMS)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BorderScores:
    """Of each class; NaN where there is nothing to divide by."""

    iou: NDArray[np.float64]
    """Boundary IoU: of the bands inside the class along its border (Cheng et al. 2021)."""
    precision: NDArray[np.float64]
    """Share of the mapped border within the tolerance of the true one."""
    recall: NDArray[np.float64]
    """Share of the true border within the tolerance of the mapped one."""
    f1: NDArray[np.float64]
    """Boundary F1 (Csurka et al. 2013); 0 where one side only has a border."""
    asd_m: NDArray[np.float64]
    """Average surface distance in metres, both ways together; what is beyond reach counts as at its end. NaN where
    either side has no border."""
    surface_dice: NDArray[np.float64]
    """Share of the length of both borders within the tolerance of the other (Nikolov et al. 2018)."""
    beyond: NDArray[np.float64]
    """Share of the length of both borders for which there was none of the other within reach."""


def in_metres(sums: NDArray[np.int64], ruler: Ruler) -> NDArray[np.float64]:
    """Sums (K, 13) with lengths in metres, and lengths times distances in square metres: those of scenes add up."""
    out = sums.astype(np.float64)
    out[:, _LENGTH_REF:] /= ruler.scale
    return out


def border_scores(sums: NDArray[np.float64]) -> BorderScores:
    """Scores from sums (..., K, 13) in metres; leading axes are those of several maps."""
    s = np.moveaxis(sums, -1, 0)
    either = (s[_EDGE_REF] > 0) | (s[_EDGE_MAP] > 0)
    precision, recall = _ratio(s[_EDGE_MAP_HIT], s[_EDGE_MAP]), _ratio(s[_EDGE_REF_HIT], s[_EDGE_REF])
    length = s[_LENGTH_REF] + s[_LENGTH_MAP]
    surfaces = (s[_LENGTH_REF] > 0) & (s[_LENGTH_MAP] > 0)
    return BorderScores(
        iou=_ratio(s[_BAND_BOTH], s[_BAND_REF] + s[_BAND_MAP] - s[_BAND_BOTH]),
        precision=precision,
        recall=recall,
        f1=np.where(either, np.nan_to_num(_ratio(2 * precision * recall, precision + recall)), np.nan),
        asd_m=np.where(surfaces, _ratio(s[_AWAY_REF] + s[_AWAY_MAP], length), np.nan),
        surface_dice=np.where(surfaces, _ratio(s[_NEAR], length), np.nan),
        beyond=np.where(surfaces, _ratio(s[_LOST], length), np.nan),
    )


def border_blocks(plan: Plan) -> list[Block]:
    """The blocks of the common grid for borders."""
    return list(blocks(*plan.shape, block_height=BORDER_BLOCK_PX, block_width=BORDER_BLOCK_PX))


def count_borders(plan: Plan, ruler: Ruler, block: Block) -> NDArray[np.int64]:
    """Sums (K, 13) of a block, integers that add up over blocks; borders beyond it are looked for in its halo."""
    inner, outer = with_margin(block, plan.geobox, ruler.halo)
    both = plan.pixels(outer)
    return borders_of(both.truth, both.mapped, inner, ruler, len(plan.legend), (outer.row_off, outer.col_off))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
