from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.area import ClassTotals, PixelAreas, Sums, class_totals
from geoseg.area.sums import run_sums
from geoseg.errors import ParameterError
from geoseg.vector.label import Runs, find_runs

SHAPE = (23, 31)
AREAS = PixelAreas.of(GeoBox(SHAPE, Affine(5000, -900, 2e5, -900, -5000, 6e6), "EPSG:32633"))
BY_ROW = PixelAreas.of(GeoBox(SHAPE, Affine(0.3, 0, 170, 0, -0.3, 75), "EPSG:4326"))
FIELDS = ("pixels", "units", "conf_sum", "conf_pixels")

maps = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 7, 255]))
confidences = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 33, 100, 255]))
cuts = st.tuples(st.sets(st.integers(1, SHAPE[0] - 1), max_size=4), st.sets(st.integers(1, SHAPE[1] - 1), max_size=4))
areas_of = st.sampled_from([AREAS, BY_ROW])


def blocks(cut: tuple[set[int], set[int]]) -> list[tuple[slice, slice]]:
    rows, cols = ([0, *sorted(c), n] for c, n in zip(cut, SHAPE, strict=True))
    return [(slice(*r), slice(*c)) for r in pairwise(rows) for c in pairwise(cols)]


def sums_of(runs: Runs, areas: PixelAreas, confidence: NDArray[np.uint8] | None, **place: int) -> Sums:
    n = len(runs.class_id)
    return run_sums(runs.shape, runs.rows, runs.cols, runs.labels, n, areas, confidence=confidence, **place)


def assert_equal(a: Sums, b: Sums) -> None:
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)


@settings(deadline=None)
@given(maps, confidences, cuts, areas_of, st.randoms(use_true_random=False))
def test_totals_do_not_depend_on_the_cut_nor_on_the_order_of_blocks(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8], cut: Any, areas: PixelAreas, random: Any
) -> None:
    whole = class_totals(classes, areas, confidence=confidence)
    parts = [
        class_totals(classes[r, c], areas, row_off=r.start, col_off=c.start, confidence=confidence[r, c])
        for r, c in blocks(cut)
    ]
    random.shuffle(parts)
    assert_equal(sum(parts, ClassTotals.zero()), whole)


@settings(deadline=None)
@given(maps, confidences, areas_of)
def test_sums_of_polygons_are_those_of_numpy_and_add_up_to_the_class_to_the_last_digit(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8], areas: PixelAreas
) -> None:
    runs = find_runs(classes)
    labels = runs.painted().labels
    # the block lies in the scene's lower right part, so that its place counts
    r, c = slice(5, None), slice(8, None)
    part = find_runs(classes[r, c])
    units, percent = areas.units(0, 0, *SHAPE), np.where(confidence == 255, 0, confidence)
    for found, group, at in (
        (sums_of(runs, areas, confidence), labels, (slice(None), slice(None))),
        (sums_of(part, areas, confidence[r, c], row_off=5, col_off=8), part.painted().labels, (r, c)),
    ):
        for field, weights in (("pixels", None), ("units", units[at]), ("conf_sum", percent[at]),
                               ("conf_pixels", confidence[at] != 255)):  # fmt: skip
            expected = np.zeros(len(found) + 1, dtype=np.int64)
            np.add.at(expected, group, 1 if weights is None else weights)
            np.testing.assert_array_equal(getattr(found, field), expected[1:], err_msg=field)
    totals = class_totals(classes, areas, confidence=confidence)
    for field in FIELDS:
        by_class = np.zeros(256, dtype=np.int64)
        np.add.at(by_class, runs.class_id, getattr(sums_of(runs, areas, confidence), field))
        by_class[255] = getattr(totals, field)[255]  # nodata has no polygons
        np.testing.assert_array_equal(by_class, getattr(totals, field))


@settings(deadline=None)
@given(maps, confidences, areas_of)
def test_totals_are_those_of_numpy_pixel_by_pixel(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8], areas: PixelAreas
) -> None:
    units = areas.units(0, 0, *SHAPE)
    totals = class_totals(classes, areas, confidence=confidence)
    assert totals.units.sum() == units.sum()
    for value in (0, 1, 7, 255):
        here, has_confidence = classes == value, confidence != 255
        assert totals.pixels[value] == here.sum()
        assert totals.units[value] == units[here].sum()
        assert totals.conf_sum[value] == confidence[here & has_confidence].sum(dtype=np.int64)
        assert totals.conf_pixels[value] == (here & has_confidence).sum()


def test_without_confidence_there_is_no_mean() -> None:
    totals = class_totals(np.full(SHAPE, 4, dtype=np.uint8), AREAS)
    assert totals.conf_pixels.sum() == 0
    assert np.isnan(totals.mean_conf()).all()


def test_the_mean_is_over_pixels_that_have_a_confidence() -> None:
    classes = np.zeros((1, 4), dtype=np.uint8)
    totals = class_totals(classes, AREAS, confidence=np.array([[10, 255, 20, 60]], dtype=np.uint8))
    assert totals.mean_conf()[0] == 30.0


def test_an_empty_block_adds_nothing() -> None:
    assert class_totals(np.zeros((0, 5), dtype=np.uint8), AREAS).pixels.sum() == 0


def test_a_confidence_of_another_shape_is_refused() -> None:
    with pytest.raises(ParameterError, match="give rows and columns, the same for both"):
        class_totals(np.zeros((2, 3), dtype=np.uint8), AREAS, confidence=np.zeros((3, 2), dtype=np.uint8))


def test_a_block_outside_the_scene_is_refused() -> None:
    with pytest.raises(ParameterError, match="is not within the scene of 23 x 31 px"):
        class_totals(np.zeros((2, 3), dtype=np.uint8), AREAS, row_off=22)


def test_sums_of_other_groups_do_not_add_up() -> None:
    with pytest.raises(ParameterError, match="sums of 3 and 2 groups do not add up"):
        Sums.zeros(3) + Sums.zeros(2)


def test_class_values_that_are_not_uint8_are_refused() -> None:
    with pytest.raises(ParameterError, match="class values are int64: give uint8"):
        class_totals(np.zeros((2, 3), dtype=np.int64), AREAS)


def test_sums_that_could_round_are_refused() -> None:
    floats: dict[str, Any] = {f: np.zeros(2) for f in FIELDS}
    with pytest.raises(ParameterError, match="give int64 with shape"):
        Sums(**floats)
    with pytest.raises(ParameterError, match="totals of 2 class values: give all 256"):
        ClassTotals.zeros(2)
