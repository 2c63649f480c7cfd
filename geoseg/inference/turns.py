"""Test-time augmentation: a window seen from several sides; what the network says of each is turned back and averaged.

There is no up on a satellite image, but a network that was trained on few images may think so. Logits are averaged,
like those of windows that overlap: softmax, calibration and decision come after.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

__all__ = ["TTAS", "Turn", "averaged", "turns_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A symmetry of the square: quarter turns, then a mirror."""

    quarters: int
    """Quarter turns to the left, 0 to 3."""
    mirrored: bool
    """Whether left and right change places after that."""

    def apply(self, windows: "torch.Tensor") -> "torch.Tensor":
        """(N, C, H, W) turned; without a copy where nothing changes."""
        turned = windows.rot90(self.quarters, (2, 3)) if self.quarters else windows
        return turned.flip(3) if self.mirrored else turned

    def undo(self, windows: "torch.Tensor") -> "torch.Tensor":
        """What `apply` turned, turned back."""
        plain = windows.flip(3) if self.mirrored else windows
        return plain.rot90(-self.quarters, (2, 3)) if self.quarters else plain


_BOTH = (False, True)
_TURNS: Final[dict[str, tuple[Turn, ...]]] = {
    "none": (Turn(quarters=0, mirrored=False),),
    # half a turn and a mirror change top and bottom
    "flips": tuple(Turn(quarters=quarters, mirrored=mirrored) for quarters in (0, 2) for mirrored in _BOTH),
    "d4": tuple(Turn(quarters=quarters, mirrored=mirrored) for quarters in range(4) for mirrored in _BOTH),
}
TTAS: Final = tuple(_TURNS)
"""Names of sets of turns; none is the window as it is, flips are four forward passes, d4 eight."""


def turns_of(name: str) -> tuple[Turn, ...]:
    """The turns of a set, the window as it is first."""
    return _TURNS[name]


def averaged(mean: "torch.Tensor | None", value: "torch.Tensor", n: int) -> "torch.Tensor":
    """The mean of n values from that of those before; of equal values it is that value, to the bit.

    A sum divided by n would not be: three times a number is rounded.
    """
    return value if mean is None else mean + (value - mean) / n
