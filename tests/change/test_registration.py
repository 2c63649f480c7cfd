"""The shift between two maps, found from their class borders."""

from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as shifted

import geoseg
from geoseg.change.comparison import Rules
from geoseg.change.index import NONE
from geoseg.change.registration import Shift, border_shift, image_shift, moved, window_offsets
from tests.change.test_detect import LEGEND, UTM, array


def fields(shape: tuple[int, int] = (300, 320), *, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return np.stack([gaussian_filter(rng.standard_normal(shape), 5.0) for _ in range(4)])


def classed(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(np.argmax(values, axis=0), dtype=np.uint8)


@pytest.mark.parametrize(("rows", "cols"), [(0, 0), (0.35, -0.45), (-0.5, 0.5), (3, -7), (1.25, 0.1)])
def test_a_shift_is_found_to_a_twentieth_of_a_pixel(rows: float, cols: float) -> None:
    land = fields()
    after = classed(np.stack([shifted(f, (rows, cols), order=3, mode="nearest") for f in land]))
    found = border_shift([(classed(land), after)])
    assert found is not None
    assert [found.rows, found.cols] == pytest.approx([rows, cols], abs=0.05)


def test_real_change_and_missing_pixels_do_not_hide_it() -> None:
    land, other = fields(), fields(seed=9)
    before = classed(land)
    after = classed(np.stack([shifted(f, (0.4, -0.3), order=3, mode="nearest") for f in land]))
    places = gaussian_filter(np.random.default_rng(3).standard_normal(before.shape), 12) > 0.01
    after[places] = classed(other)[places]
    before[:60, :80] = NONE
    found = border_shift([(before, after)])
    assert found is not None
    assert [found.rows, found.cols] == pytest.approx([0.4, -0.3], abs=0.1)


def pictured(land: NDArray[np.float64], levels: Any, *, seed: int) -> NDArray[np.float32]:
    """(band, rows, cols) of ground of even brightness, seen with a blur and with noise."""
    bands = np.array(levels, float)[:, classed(land)]
    noise = np.random.default_rng(seed).normal(0, 20, bands.shape)
    return np.asarray(gaussian_filter(bands, (0, 0.7, 0.7)) + noise, dtype=np.float32)


DRY, LUSH = ([300, 800, 1500, 2200], [2000, 1400, 600, 900]), ([700, 400, 900, 150], [300, 2400, 2900, 1300])


@pytest.mark.parametrize(("rows", "cols"), [(0, 0), (0.35, -0.45), (-0.5, 0.5), (3, -7)])
def test_images_tell_it_in_any_light_and_season_with_change_and_missing_pixels(rows: float, cols: float) -> None:
    land = fields()
    now = np.stack([shifted(f, (rows, cols), order=3, mode="nearest") for f in land])
    places = gaussian_filter(np.random.default_rng(3).standard_normal(land.shape[1:]), 12) > 0.02
    now[:, places] = fields(seed=9)[:, places]
    after = pictured(now, LUSH, seed=2) * np.linspace(0.01, 0.02, land.shape[2], dtype=np.float32)
    after[:, :60, :80] = np.nan
    found = image_shift([(pictured(land, DRY, seed=1), after)])
    assert found is not None
    assert [found.rows, found.cols] == pytest.approx([rows, cols], abs=0.06)


def test_of_unrelated_or_empty_images_nothing_is_said() -> None:
    one, other = pictured(fields(), DRY, seed=1), pictured(fields(seed=9), DRY, seed=2)
    for pair in ((one, other), (one, np.zeros_like(one)), (one, np.full_like(one, np.nan)), (one[:, :20],) * 2):
        assert image_shift([pair]) is None


@pytest.mark.parametrize(
    "pair",
    [
        (classed(fields()), classed(fields(seed=5))),
        (np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)),
        (np.full((100, 100), NONE, np.uint8), classed(fields((100, 100)))),
        (classed(fields((20, 400))), classed(fields((20, 400)))),
    ],
    ids=["unrelated", "no borders", "nothing observed", "too narrow"],
)
def test_where_it_cannot_be_told_nothing_is_said(pair: Any) -> None:
    assert border_shift([pair]) is None


def test_windows_lie_evenly_and_inside() -> None:
    found = window_offsets((5000, 1000))
    assert len(found) == 6
    assert found[0] == (0, 0, 512, 512)
    assert found[3] == (2244, 488, 512, 512)
    assert found[-1] == (5000 - 512, 1000 - 512, 512, 512)


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_a_grid_is_moved_back_by_the_shift(crs: str) -> None:
    before = GeoBox((100, 120), UTM, "EPSG:32633")
    after = before if crs == "EPSG:32633" else GeoBox((100, 120), Affine(1e-4, 0, 15, 0, -1e-4, 45.15), crs)
    found = moved(after, Shift(rows=2.0, cols=-1.5, peak=1.0), before)
    if crs == "EPSG:32633":
        assert found.affine == Affine(10, 0, 500_015, 0, -10, 5_000_020)
    else:
        assert found.affine.f - after.affine.f == pytest.approx(20 / 111_130, rel=0.01)
        assert found.affine.c - after.affine.c == pytest.approx(15 / 78_700, rel=0.01)


def test_maps_are_told_apart_and_aligned_when_asked() -> None:
    land = fields()
    before = classed(land) + np.uint8(1)
    after = np.roll(before, (2, -3), axis=(0, 1))
    plain = geoseg.detect_change(array(before), array(after), legend=LEGEND)
    assert plain.shift is not None
    assert (plain.shift.rows, plain.shift.cols) == (2, -3)
    assert "the map after lies 2.00 px down and 3.00 px left of the map before" in plain.notes[-1]
    aligned = geoseg.detect_change(array(before), array(after), legend=LEGEND, rules=Rules(align=True))
    assert aligned.shift is not None
    assert aligned.shift.pixels < 0.05
    assert aligned.counts.n_changed == 0 < plain.counts.n_changed
    assert aligned.codes.shape == (298, 317)
    assert "the map after lies 2.00 px down and 3.00 px left of the map before and is moved back" in aligned.notes[-1]
