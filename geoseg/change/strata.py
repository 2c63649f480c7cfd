"""Strata for a reference sample of change: the kinds of change, no change near them, and no change elsewhere.

Change that a map misses mostly lies beside change that it has. If all that did not change is one large stratum, one
such point stands for very much land, and the interval of the area of change becomes wide. A stratum of its own around
mapped change keeps that small (Olofsson et al. 2020, Remote Sens. Environ. 236:111492).
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.change.codes import NO_CHANGE, ChangeCodes
from geoseg.errors import ParameterError
from geoseg.legend import Legend, LegendClass

__all__ = ["MOST_BUFFER", "check_buffer", "strata_legend", "strata_of"]

MOST_BUFFER: Final = 64
"""Widest buffer in pixels: blocks are read with a margin this wide on every side."""
_COLOR: Final = "#b8b0a0"


def check_buffer(pixels: int) -> None:
    """Refuse a buffer that is none.

    Raises:
        ParameterError: If it is not from 1 to `MOST_BUFFER`.
    """
    if not 1 <= pixels <= MOST_BUFFER:
        raise ParameterError(f"a buffer of {pixels} px around change: choose one from 1 to {MOST_BUFFER}, 3 for most")


def strata_legend(codes: ChangeCodes) -> Legend:
    """The codes of change and, behind them, that of no change near change.

    Raises:
        ParameterError: If bytes have no room for it.
    """
    legend, value = codes.change_legend(), len(codes) + 1
    if value >= legend.nodata:
        raise ParameterError(
            f"{len(codes)} kinds of change leave no number for the stratum around them: unite classes with a crosswalk"
        )
    return replace(legend, classes=(*legend, LegendClass(value=value, name="no change near change", color=_COLOR)))


def strata_of(
    codes: NDArray[np.uint8], *, nodata: int, near: int, buffer: int, inside: tuple[slice, slice] | None = None
) -> NDArray[np.uint8]:
    """Codes, with another one for no change within so many rows and columns of change.

    Args:
        codes: (rows, cols) change codes, with a margin of ``buffer`` pixels where the map goes on.
        nodata: Of the codes.
        near: Code of no change near change.
        buffer: Rows and columns.
        inside: Rows and columns without the margin; all by default.

    Returns:
        (rows, cols) of the inside. It does not depend on how the map is cut into blocks.

    Example:
        >>> strata_of(np.array([[7, 0, 0, 0, 255]], np.uint8), nodata=255, near=99, buffer=2).tolist()
        [[7, 99, 99, 0, 255]]
    """
    from scipy.ndimage import maximum_filter

    check_buffer(buffer)
    changed = ((codes != NO_CHANGE) & (codes != nodata)).view(np.uint8)
    around = maximum_filter(changed, size=2 * buffer + 1, mode="constant", cval=0)
    strata = np.where((codes == NO_CHANGE) & (around > 0), np.uint8(near), codes)
    return strata if inside is None else strata[inside]
