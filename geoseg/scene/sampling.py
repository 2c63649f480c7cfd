"""One grid under another: which pixel of a file lies under each pixel of a scene."""

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.scene.scene import Sampling

__all__ = ["sampling_of", "source_cols", "source_rows"]

_TURNED = 1e-3
"""Pixels by which rows may lean over the whole scene before they count as turned."""


def sampling_of(scene: GeoBox, file: GeoBox) -> Sampling | None:
    """How the grid of a file lies under that of a scene in the same CRS; None where they are one grid.

    Raises:
        ValueError: If the grids are turned against each other.

    Example:
        >>> scene = GeoBox((4, 6), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
        >>> sampling = sampling_of(scene, GeoBox((2, 3), Affine(20, 0, 500000, 0, -20, 4000000), "EPSG:32633"))
        >>> source_cols(sampling, 0, 6).tolist()
        [0, 0, 1, 1, 2, 2]
    """
    if scene == file:
        return None
    under: Affine = ~file.transform @ scene.transform
    height, width = (int(n) for n in scene.shape)
    if max(abs(under.b) * height, abs(under.d) * width) > _TURNED or under.a <= 0 or under.e <= 0:
        raise ValueError("its rows and columns do not run along those of the others")
    # floats of a transform are rounded in files: a thousandth of a pixel off is the same place
    row_start, col_start = round(under.f, 3), round(under.c, 3)
    row_step, col_step = _plain(under.e, height), _plain(under.a, width)
    sampling = Sampling(
        height=int(file.shape[0]), width=int(file.shape[1]), row_step=row_step, row_start=row_start,
        col_step=col_step, col_start=col_start,
    )  # fmt: skip
    if (row_step, col_step, row_start, col_start) == (1.0, 1.0, 0.0, 0.0) and file.shape == scene.shape:
        return None
    return sampling


def _plain(step: float, length: int) -> float:
    """The step of a whole ratio where it is one but for the rounding of transforms."""
    for plain in (round(step), 1 / max(round(1 / step), 1)):
        if plain and abs(step - plain) * length < _TURNED:
            return float(plain)
    return step


def source_rows(sampling: Sampling, row: int, height: int) -> NDArray[np.intp]:
    """The file's row under the middle of each row of the scene; outside the file where it has none."""
    return _sources(row, height, sampling.row_step, sampling.row_start)


def source_cols(sampling: Sampling, col: int, width: int) -> NDArray[np.intp]:
    """The file's column under the middle of each column of the scene; outside the file where it has none."""
    return _sources(col, width, sampling.col_step, sampling.col_start)


def _sources(start: int, length: int, step: float, origin: float) -> NDArray[np.intp]:
    # a centre on the very border of two pixels goes to the later one, however its last digits were rounded
    under: NDArray[np.intp] = np.floor((np.arange(start, start + length) + 0.5) * step + origin + 1e-6).astype(np.intp)
    return under
