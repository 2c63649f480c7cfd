"""How two maps are compared: the rules, and the plan that the work on blocks follows."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.change.codes import ChangeCodes
from geoseg.change.grids import Alignment, align
from geoseg.change.images import Image
from geoseg.change.index import NONE, places
from geoseg.change.legends import CommonLegend, CrosswalkRow, common_legend
from geoseg.change.maps import ClassSource
from geoseg.change.plausible import PlausibleRow, implausible_pairs
from geoseg.change.posterior import PairWeights
from geoseg.change.posterior_rule import PosteriorRule, pair_weights
from geoseg.change.registration import Shift, border_shift, image_shift, moved, window_offsets
from geoseg.change.sampling import ReadMap
from geoseg.change.shares import ClassShares
from geoseg.change.tolerance import check_tolerance
from geoseg.change.transitions import Transitions
from geoseg.errors import InputError
from geoseg.inference.lattice import Block
from geoseg.legend import Legend

__all__ = ["Comparison", "Evidence", "Rules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What counts as change, and what classes count as."""

    crosswalk: tuple[CrosswalkRow, ...] = ()
    """Classes that count as others."""
    tolerance: int = 0
    """Pixels of misregistration that are no change."""
    plausible: tuple[PlausibleRow, ...] = ()
    """Which transitions can be; what cannot is no change."""
    align: bool = False
    """Whether the second map is moved by the shift that its image, or else its class borders, show."""
    posterior: PosteriorRule | None = None
    """How the class probabilities of both dates decide; None where the classes do."""

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    @property
    def is_plain(self) -> bool:
        """Whether every difference of the maps is change."""
        return self.tolerance == 0 and not self.plausible and self.posterior is None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """The class probabilities of both dates, and what pairs of classes weigh."""

    before: ClassShares
    """Of the first map."""
    after: ClassShares
    """Of the second."""
    weights: PairWeights
    """Of the pairs of the common legend."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """All that the work on a block has to know; travels to workers."""

    before: ReadMap
    """Reads the first map, in its own blocks."""
    after: ReadMap
    """Reads the second."""
    after_nodata: int
    """Of the second map."""
    alignment: Alignment
    """The grid they have in common."""
    common: CommonLegend
    """The legend they have in common."""
    codes: ChangeCodes
    """Of the change map."""
    tolerance: int
    """Pixels of misregistration that are no change."""
    implausible: NDArray[np.bool_] | None
    """(256, 256) pairs of places that are no change."""
    evidence: Evidence | None = None
    """What decides in place of the classes."""
    shift: Shift | None = None
    """How far the second map lies from the first, as it is compared; None where that cannot be told."""
    notes: tuple[str, ...] = field(default=())
    """What was decided."""

    @classmethod
    def of(cls, before: ClassSource, after: ClassSource, rules: Rules) -> Self:
        """How two maps are compared.

        Raises:
            InputError: If they do not overlap, or one lacks the probabilities that are to decide.
            ParameterError: If their legends have nothing in common, or the rules name a class that neither has.
        """
        names = (before.name, after.name)
        alignment = align(before.geobox, after.geobox, names=names)
        common = common_legend(
            before.legend, after.legend, named=(before.named, after.named), crosswalk=rules.crosswalk, names=names
        )
        implausible = implausible_pairs(common.legend, rules.plausible) if rules.plausible else None
        n = len(common.legend)
        # what cannot be named in bytes gets codes when it is known which pairs occur
        every: list[tuple[int, int]] | None = None if n * (n - 1) < NONE else []
        made = cls(
            before=before.read,
            after=after.read,
            after_nodata=after.legend.nodata,
            alignment=alignment,
            common=common,
            codes=ChangeCodes.of(common.legend, every),
            tolerance=rules.tolerance,
            implausible=implausible,
            evidence=_evidence(before, after, rules, common.legend, implausible),
        )
        images = None if before.image is None or after.image is None else (before.image, after.image)
        (shift, by), said = made.measured_shift(images), ""
        if rules.align and shift is not None:
            grid = moved(after.geobox, shift, made.geobox)
            made = replace(made, alignment=align(before.geobox, grid, names=names))
            # of the maps, whose pixels are moved whole
            rest, _ = made.measured_shift()
            said = f"by its {by}, {after.name} lies {shift} of {before.name} and is moved back"
            said += "" if rest is None else f"; by class borders, what is left is {rest}"
            shift = rest
        elif shift is None:
            said = f"how well the maps lie on each other cannot be told from their {by}"
        else:
            said = f"by its {by}, {after.name} lies {shift} of {before.name}"
        return replace(made, shift=shift, notes=(*made.alignment.notes, *common.notes, said))

    def measured_shift(self, images: tuple[Image, Image] | None = None) -> tuple[Shift | None, str]:
        """How far the second map lies from the first, by windows of both, and by what in them.

        Args:
            images: What both maps were made from: it tells better than class borders do.
        """
        shape = int(self.geobox.shape[0]), int(self.geobox.shape[1])
        windows = [
            Block(row_off=row, col_off=col, height=height, width=width)
            for row, col, height, width in window_offsets(shape)
        ]
        if images is not None:
            shift = image_shift((images[0].on(self.geobox, w), images[1].on(self.geobox, w)) for w in windows)
            if shift is not None:
                return shift, "image"
        return border_shift((self.places_before(w), self.places_after(w)) for w in windows), "class borders"

    @property
    def is_plain(self) -> bool:
        """Whether every difference of the maps is change."""
        return self.tolerance == 0 and self.implausible is None and self.evidence is None

    @property
    def geobox(self) -> GeoBox:
        """The common grid."""
        return self.alignment.geobox

    @property
    def needs_codes(self) -> bool:
        """Whether codes wait for the pairs that occur."""
        return not len(self.codes) and len(self.common.legend) > 1

    def in_before(self, block: Block) -> Block:
        """A block of the common grid in the first map."""
        return replace(
            block, row_off=block.row_off + self.alignment.row_off, col_off=block.col_off + self.alignment.col_off
        )

    def places_before(self, block: Block) -> NDArray[np.uint8]:
        """(rows, cols) places of the first date in the legend, in a block of the common grid."""
        return places(self.before(self.in_before(block))[0], self.common.before)[0]

    def places_after(self, block: Block) -> NDArray[np.uint8]:
        """(rows, cols) places of the second date, likewise."""
        values, _ = self.alignment.after.take(block, self.after, self.after_nodata)
        return places(values, self.common.after)[0]

    def with_codes_for(self, counts: Transitions) -> "Comparison":
        """With codes for the pairs that occur."""
        return replace(self, codes=ChangeCodes.of(self.common.legend, counts.occurring()))


def _evidence(
    before: ClassSource, after: ClassSource, rules: Rules, legend: Legend, implausible: NDArray[np.bool_] | None
) -> Evidence | None:
    if rules.posterior is None:
        return None
    for source in (before, after):
        if source.shares is None:
            raise InputError(
                f"{source.name} comes without class probabilities: map it with geoseg run --probabilities, or let the "
                "classes decide"
            )
    assert before.shares is not None
    assert after.shares is not None
    weights = pair_weights(legend, rules.posterior, implausible)
    return Evidence(before=before.shares, after=after.shares, weights=weights)
