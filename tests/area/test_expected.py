"""Expected areas: exact sums of probability times area, whatever the cut; all classes together are the mapped area."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geoseg.area import PixelAreas, class_table, class_totals
from geoseg.area.expected import ExpectedTotals, expected_totals
from geoseg.errors import ParameterError
from geoseg.legend import Legend

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use `@` matmul:PendingDeprecationWarning"  # odc-geo multiplies affines in the way of affine 2
)


def probabilities_of(seed: int, n_classes: int, height: int, width: int) -> NDArray[np.uint8]:
    """Random bytes (class, row, col) that add up to 254, some sure, with some nodata."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(n_classes, 0.3), (height, width)).transpose(2, 0, 1)
    steps = np.floor(254 * shares).astype(np.uint8)
    steps[0] += 254 - steps.sum(axis=0, dtype=int).astype(np.uint8)
    steps[:, rng.random((height, width)) < 0.1] = 255
    return steps


def by_hand(probabilities: NDArray[np.uint8], areas: PixelAreas) -> tuple[int, ...]:
    """The sums by Python's integers, pixel by pixel: the oracle."""
    units = areas.units(0, 0, *probabilities.shape[1:])
    return tuple(
        sum(int(p) * int(u) for p, u in zip(band.ravel(), units.ravel(), strict=True) if p != 255)
        for band in probabilities
    )


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 99),
    n_classes=st.integers(1, 5),
    rows=st.sets(st.integers(1, 29), max_size=3),
    cols=st.sets(st.integers(1, 39), max_size=3),
    data=st.data(),
)
def test_sums_are_exact_and_the_same_for_every_cut_and_order(
    seed: int, n_classes: int, rows: set[int], cols: set[int], data: st.DataObject
) -> None:
    areas = PixelAreas.of(GeoBox.from_bbox((5, 45, 9, 48), crs="EPSG:4326", shape=(30, 40)))
    probabilities = probabilities_of(seed, n_classes, 30, 40)
    pieces = list(
        itertools.product(
            itertools.pairwise([0, *sorted(rows), 30]),
            itertools.pairwise([0, *sorted(cols), 40]),
        )
    )
    total = ExpectedTotals.zero(n_classes)
    for (top, bottom), (left, right) in data.draw(st.permutations(pieces)):
        piece = probabilities[:, top:bottom, left:right]
        total = total + expected_totals(piece, areas, row_off=top, col_off=left)
    assert total == expected_totals(probabilities, areas)
    assert total.weighted_units == by_hand(probabilities, areas)


def test_all_classes_together_have_the_mapped_area_to_the_last_unit(grid: GeoBox) -> None:
    areas = PixelAreas.of(grid)
    height, width = min(grid.shape[0], 40), min(grid.shape[1], 50)
    probabilities = probabilities_of(3, 4, height, width)
    total = expected_totals(probabilities, areas)
    assert total.weighted_units == by_hand(probabilities, areas)
    mapped = class_totals((probabilities[0] == 255).astype(np.uint8), areas)
    assert sum(total.weighted_units) == 254 * int(mapped.units[0])
    assert total.area_m2(areas.unit_m2).sum() == pytest.approx(mapped.area_m2(areas.unit_m2)[0], rel=1e-14)


def test_areas_that_do_not_fit_64_bits_are_added_exactly() -> None:
    areas = PixelAreas.of(GeoBox.from_bbox((-180, -90, 180, 90), crs="EPSG:4326", shape=(1, 1)))
    units = int(areas.units(0, 0, 1, 1)[0, 0])
    assert 254 * units > 2**63
    total = expected_totals(np.full((1, 1, 1), 254, dtype=np.uint8), areas)
    assert total.weighted_units == (254 * units,)
    thousand = sum((total for _ in range(999)), total)
    assert thousand.area_m2(areas.unit_m2)[0] == float(1000 * units * Fraction(areas.unit_m2))


def test_the_table_has_expected_hectares_beside_those_of_the_map() -> None:
    areas = PixelAreas.of(GeoBox.from_bbox((0, 0, 2, 1), crs="EPSG:4326", resolution=1))
    legend = Legend.unnamed((7, 2))
    classes = np.array([[7, 7]], dtype=np.uint8)
    probabilities = np.array([[[254, 127]], [[0, 127]]], dtype=np.uint8)
    totals, expected = class_totals(classes, areas), expected_totals(probabilities, areas)
    table = class_table(totals, legend, areas.unit_m2, expected=expected)
    assert list(table.columns) == [*class_table(totals, legend, areas.unit_m2).columns, "expected_ha"]
    pixel_ha = table.area_ha[0] / 2
    assert table.expected_ha.tolist() == pytest.approx([1.5 * pixel_ha, 0.5 * pixel_ha], rel=1e-14)
    assert table.area_ha.tolist() == [2 * pixel_ha, 0]


def test_no_pixels_are_no_area() -> None:
    areas = PixelAreas.of(GeoBox.from_bbox((0, 0, 2, 1), crs="EPSG:4326", resolution=1))
    assert expected_totals(np.zeros((2, 0, 2), dtype=np.uint8), areas) == ExpectedTotals.zero(2)
    assert expected_totals(np.full((2, 1, 2), 255, dtype=np.uint8), areas) == ExpectedTotals.zero(2)


def test_what_does_not_fit_is_refused() -> None:
    areas = PixelAreas.of(GeoBox.from_bbox((0, 0, 2, 1), crs="EPSG:4326", resolution=1))
    wrong: list[tuple[Any, str]] = [
        (np.zeros((2, 1, 2)), "float64"),
        (np.zeros((1, 2), dtype=np.uint8), r"give uint8 \(class, rows, cols\)"),
        (np.zeros((2, 2, 2), dtype=np.uint8), "not within the scene"),
    ]
    for probabilities, match in wrong:
        with pytest.raises(ParameterError, match=match):
            expected_totals(probabilities, areas)
    with pytest.raises(ParameterError, match="sums of 2 and 3 classes do not add up"):
        ExpectedTotals.zero(2) + ExpectedTotals.zero(3)
    totals = class_totals(np.array([[7, 7]], dtype=np.uint8), areas)
    with pytest.raises(ParameterError, match="expected areas of 3 classes for a legend of 1"):
        class_table(totals, Legend.unnamed((7,)), areas.unit_m2, expected=ExpectedTotals.zero(3))
