"""How far two dates are from lying on each other: phase correlation of class borders or of images, below a pixel.

Of the cross-power spectrum of the borders of both dates, or of the edges in their images, only the phase is kept
(Kuglin and Hines 1975), because what changed has other amplitudes, not other places; high frequencies, where borders
are noise, weigh less. The peak is found to a hundredth of a pixel by evaluating the transform around it
(Guizar-Sicairos, Thurman and Fienup 2008, Optics Letters 33:156-158).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.change.index import NONE

__all__ = ["Shift", "border_shift", "image_shift", "moved", "window_offsets"]

_WINDOW: Final = 512  # pixels along a side: its transform takes 4 MB
_ALONG: Final = 3  # windows along each axis
_SMALLEST: Final = 32
_LOW_PASS: Final = 0.15  # standard deviation of the weights, in cycles per pixel
_STEP: Final = 0.01
_REACH: Final = 1.5
_LEAST_PEAK: Final = 0.1
_SURE: Final = 6.0  # times what two unrelated maps have


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Where the second map lies, seen from the first."""

    rows: float
    """Pixels downwards."""
    cols: float
    """Pixels to the right."""
    peak: float
    """How much of the borders or edges of both dates agrees on it, 0 to 1."""

    @property
    def pixels(self) -> float:
        """Its length."""
        return math.hypot(self.rows, self.cols)

    def __str__(self) -> str:
        down, right = ("down" if self.rows >= 0 else "up"), ("right" if self.cols >= 0 else "left")
        return f"{abs(self.rows):.2f} px {down} and {abs(self.cols):.2f} px {right}"


def window_offsets(shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Windows that are looked at, (row, column, height, width): nine at most, evenly over the map.

    Example:
        >>> window_offsets((100, 200))
        [(0, 0, 100, 200)]
    """
    axes = []
    for length in shape:
        side = min(length, _WINDOW)
        n = min(_ALONG, -(-length // _WINDOW))
        axes.append([(round(i * (length - side) / max(n - 1, 1)), side) for i in range(n)])
    return [(row, col, height, width) for row, height in axes[0] for col, width in axes[1]]


def border_shift(pairs: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> Shift | None:
    """The shift of class maps that fits all windows best.

    Args:
        pairs: (rows, cols) places in the legend on both dates, all of one shape.

    Returns:
        The shift; None where it cannot be told: windows below 32 px, too few borders, or maps that have none in common.
    """
    return _shift_of(_borders(one, two) for one, two in pairs)


def image_shift(pairs: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Shift | None:
    """The shift of images that fits all windows best.

    What is correlated is the strength of edges, summed over bands: it is there in any unit and light, and whether the
    brighter side of an edge is still the brighter one.

    Args:
        pairs: (band, rows, cols) pixels of both dates, NaN where there is no observation, all of one shape.

    Returns:
        The shift; None where it cannot be told: windows below 32 px, no edges, or images that have none in common.
    """
    return _shift_of(_edges(one, two) for one, two in pairs)


_Lines = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
"""(rows, cols) borders or edges of both dates, and where both are known."""


def _shift_of(windows: Iterable[_Lines]) -> Shift | None:
    total: NDArray[np.complex128] | None = None
    for before, after, known in windows:
        if min(before.shape) < _SMALLEST:
            return None
        spectrum = _cross_phase(before, after, known)
        total = spectrum if total is None else total + spectrum
    if total is None or not np.abs(total).any():
        return None
    whole = np.abs(total).sum()
    correlation = np.fft.ifft2(total).real
    at = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
    row, col = ((int(v) + n // 2) % n - n // 2 for v, n in zip(at, total.shape, strict=True))
    steps = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
    rows, cols = row + steps, col + steps
    across = np.exp(2j * np.pi * np.outer(np.fft.fftfreq(total.shape[1]), cols))
    down = np.exp(2j * np.pi * np.outer(rows, np.fft.fftfreq(total.shape[0])))
    fine = (down @ total @ across).real
    i, j = np.unravel_index(int(np.argmax(fine)), fine.shape)
    peak = float(fine[i, j] / whole)
    # of unrelated maps each frequency has a phase of its own, and the peak is that of a random walk
    n_free = 2 * math.pi * _LOW_PASS**2 * total.size
    if peak < max(_LEAST_PEAK, _SURE / math.sqrt(n_free)):
        return None
    return Shift(rows=round(float(rows[i]), 2), cols=round(float(cols[j]), 2), peak=peak)


def moved(after: GeoBox, shift: Shift, before: GeoBox) -> GeoBox:
    """The grid of the second map, moved back by a shift that was found in pixels of the first."""
    if before.crs is None or after.crs is None:
        return after
    height, width = before.shape
    ends = [before.affine @ (width / 2, height / 2), before.affine @ (width / 2 + shift.cols, height / 2 + shift.rows)]
    to_after = Transformer.from_crs(before.crs.proj, after.crs.proj, always_xy=True)
    (x0, y0), (x1, y1) = (to_after.transform(*end) for end in ends)
    a = after.affine
    return GeoBox(after.shape, Affine(a.a, a.b, a.c - (x1 - x0), a.d, a.e, a.f - (y1 - y0)), after.crs)


def _cross_phase(
    before: NDArray[np.float64], after: NDArray[np.float64], known: NDArray[np.bool_]
) -> NDArray[np.complex128]:
    """Phase of the cross-power spectrum of the lines of both dates, weighted by frequency."""
    if not known.any():
        return np.zeros(before.shape, dtype=np.complex128)
    taper = np.outer(np.hanning(before.shape[0]), np.hanning(before.shape[1]))
    one, two = (np.fft.fft2(_centred(lines, known) * taper) for lines in (before, after))
    cross = np.conj(one) * two
    size = np.abs(cross)
    rows, cols = (np.fft.fftfreq(n) for n in before.shape)
    weights = np.exp(-(rows[:, None] ** 2 + cols[None, :] ** 2) / (2 * _LOW_PASS**2))
    return np.where(size > 1e-9 * size.max(), weights * cross / np.maximum(size, 1e-300), 0)


def _centred(lines: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Without their mean, 0 where nothing is known."""
    return np.where(known, lines - lines[known].mean(), 0)


def _borders(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> _Lines:
    """How many of two neighbours, right and below, have another class, on both dates."""
    known = (before != NONE) & (after != NONE)
    lines = []
    for places in (before, after):
        out = np.zeros(places.shape)
        out[:, :-1] += (places[:, 1:] != places[:, :-1]) & known[:, 1:] & known[:, :-1]
        out[:-1] += (places[1:] != places[:-1]) & known[1:] & known[:-1]
        lines.append(out)
    return lines[0], lines[1], known


def _edges(before: NDArray[np.float32], after: NDArray[np.float32]) -> _Lines:
    """How steep both images are, each band in units of its own mean steepness."""
    known: NDArray[np.bool_] = np.isfinite(np.concatenate([before, after])).all(axis=0)
    # the slope at a pixel takes in its neighbours
    inner = known.copy()
    for axis in (0, 1):
        inner &= _neighbours(known, axis)
    lines = []
    for image in (before, after):
        out = np.zeros(known.shape)
        for band in image if min(known.shape) >= _SMALLEST else ():
            down, across = np.gradient(np.where(known, band, 0).astype(np.float64))
            steep = np.hypot(down, across)
            mean = steep[inner].mean() if inner.any() else 0.0
            if mean > 0:
                out += np.where(inner, steep / mean, 0)
        lines.append(out)
    return lines[0], lines[1], inner


def _neighbours(known: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Whether both neighbours along an axis are known; outside the window they count as known."""
    moved_axis = np.moveaxis(known, axis, 0)
    out = np.ones_like(moved_axis)
    out[1:] &= moved_axis[:-1]
    out[:-1] &= moved_axis[1:]
    return np.moveaxis(out, 0, axis)
