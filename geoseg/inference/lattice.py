"""Where windows and blocks lie: pure integers, fixed by the scene alone.

Windows lie on a product lattice: window starts along rows times window starts along columns. They never depend on how
the scene is cut into blocks, so every block sees the same windows and the cut cannot show in the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from geoseg.errors import ParameterError

__all__ = ["TILE", "Axis", "Block", "Lattice", "blocks", "starts"]

TILE = 512
"""Pixels along one internal tile of the outputs; block edges lie on multiples of it."""


def starts(length: int, *, window: int, stride: int) -> tuple[int, ...]:
    """Offsets of the windows that cover one axis of a raster.

    The last window is moved back to end on the last pixel, so that every pixel is covered and no window leaves the
    raster. An axis shorter than a window has one window at 0, which reaches beyond the end: the engine pads it.

    Args:
        length: Pixels along the axis, at least 1.
        window: Pixels along one window.
        stride: Pixels between two starts; ``window - stride`` is the overlap.

    Returns:
        Strictly increasing offsets, from 0 to ``max(length - window, 0)``.

    Raises:
        ParameterError: If windows of this size and stride cannot cover the axis.

    Example:
        >>> starts(15, window=8, stride=6)
        (0, 6, 7)
    """
    if length < 1:
        raise ParameterError(f"an axis of {length} px cannot be covered: a raster has at least one pixel each way")
    if not 1 <= stride <= window:
        raise ParameterError(
            f"stride {stride} px with windows of {window} px leaves gaps: choose a stride from 1 to {window}"
        )
    if window >= length:
        return (0,)
    return (*range(0, length - window, stride), length - window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A rectangle of output pixels: the unit of work, of checkpoint and of retry."""

    row_off: int
    """First row in the scene."""
    col_off: int
    """First column in the scene."""
    height: int
    """Rows, at least 1."""
    width: int
    """Columns, at least 1."""

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ParameterError(f"a block needs at least one pixel, got {self}")
        if self.row_off < 0 or self.col_off < 0:
            raise ParameterError(f"a block starts inside the scene, got {self}")

    @property
    def row_end(self) -> int:
        """Row after the last."""
        return self.row_off + self.height

    @property
    def col_end(self) -> int:
        """Column after the last."""
        return self.col_off + self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Windows along one axis."""

    length: int
    """Pixels of the scene along this axis."""
    window: int
    """Pixels of a window."""
    stride: int
    """Pixels between two starts."""

    def __post_init__(self) -> None:
        starts(self.length, window=self.window, stride=self.stride)

    @property
    def starts(self) -> tuple[int, ...]:
        """Window offsets, strictly increasing."""
        return starts(self.length, window=self.window, stride=self.stride)

    def touching(self, first: int, end: int) -> tuple[int, ...]:
        """Indices of the windows that share a pixel with ``[first, end)``, in increasing order."""
        return tuple(i for i, s in enumerate(self.starts) if s < end and s + self.window > first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """All windows of a scene: every row start with every column start."""

    rows: Axis
    """Windows along rows."""
    cols: Axis
    """Windows along columns."""

    @classmethod
    def cover(cls, height: int, width: int, *, window: int, overlap: float, output_stride: int = 1) -> "Lattice":
        """The lattice that covers a scene.

        The stride is rounded down to a multiple of the network's output stride, so that its deepest grid lands alike
        in every window except the last of an axis, which ends with the scene.

        Args:
            height: Rows of the scene.
            width: Columns of the scene.
            window: Pixels along a side of the square window.
            overlap: Share of the window that two neighbours have in common, 0 to below 1.
            output_stride: Pixels per step of the network's deepest grid.

        Raises:
            ParameterError: If the overlap is not in ``[0, 1)`` or the window is smaller than 1 px.
        """
        if not 0 <= overlap < 1:
            raise ParameterError(f"overlap {overlap} is not a share of the window: choose one from 0 to below 1")
        if window < 1:
            raise ParameterError(f"window of {window} px: choose at least 1")
        stride = max(1, round(window * (1 - overlap)))
        if stride > output_stride:
            stride -= stride % output_stride
        return cls(
            rows=Axis(length=height, window=window, stride=stride),
            cols=Axis(length=width, window=window, stride=stride),
        )

    @property
    def n_windows(self) -> int:
        """Windows of the whole scene, each counted once."""
        return len(self.rows.starts) * len(self.cols.starts)

    def n_windows_of(self, block: Block) -> int:
        """Windows a block has to compute."""
        return len(self.rows.touching(block.row_off, block.row_end)) * len(
            self.cols.touching(block.col_off, block.col_end)
        )


def blocks(height: int, width: int, *, block_height: int, block_width: int) -> Iterator[Block]:
    """Blocks that cover a scene row by row; the last of a row or column is cut at the scene's edge.

    Example:
        >>> [b.width for b in blocks(1, 5, block_height=4, block_width=2)]
        [2, 2, 1]
    """
    if block_height < 1 or block_width < 1:
        raise ParameterError(f"blocks of {block_height} x {block_width} px: choose at least 1 x 1")
    for row in range(0, height, block_height):
        for col in range(0, width, block_width):
            yield Block(
                row_off=row,
                col_off=col,
                height=min(block_height, height - row),
                width=min(block_width, width - col),
            )
