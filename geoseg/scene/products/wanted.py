"""What the user says of the pixels of a scene, beside what its files say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from geoseg.errors import ParameterError, SceneError, printable

__all__ = ["Wanted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for when a scene is opened."""

    bands: tuple[str, ...] | None = None
    """Names for its bands, in their order."""
    scale: float | None = None
    """Physical value per stored unit, for all bands."""
    offset: float | None = None
    """Physical value of a stored 0, for all bands."""
    mask_clouds: bool = False
    """Whether what the scene's own mask calls cloud or shadow is no observation."""

    def __post_init__(self) -> None:
        for what, value in (("scale", self.scale), ("offset", self.offset)):
            if value is not None and (not math.isfinite(value) or (what == "scale" and value == 0)):
                raise ParameterError(
                    f"{what} {value} cannot turn stored pixels into physical values: give a finite number"
                )

    def scaling(self, scale: float, offset: float) -> tuple[float, float]:
        """Scale and offset of a product's metadata, or those that the user gives instead."""
        if self.scale is None and self.offset is None:
            return scale, offset
        return 1.0 if self.scale is None else self.scale, 0.0 if self.offset is None else self.offset

    @property
    def scaled(self) -> bool:
        """Whether the user gives scale or offset."""
        return self.scale is not None or self.offset is not None

    def refuse_names(self, href: str, names: Sequence[str]) -> None:
        """Refuse names for bands that the product itself names.

        Raises:
            ParameterError: If names are given.
        """
        if self.bands is not None:
            raise ParameterError(
                f"{printable(href)}: its bands are named by its metadata ({', '.join(names)}); leave out --bands"
            )

    def refuse_clouds(self, href: str, why: str) -> None:
        """Refuse to leave out clouds that nothing tells.

        Raises:
            SceneError: If clouds should be left out.
        """
        if self.mask_clouds:
            raise SceneError(
                f"{printable(href)}: {why}, so clouds cannot be told from the ground; leave out --mask-clouds"
            )
