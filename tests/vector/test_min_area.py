import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ParameterError
from geoseg.vector.min_area import MinArea, parse_min_area


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("0.5ha", "m2", 5000),
        ("100 m2", "m2", 100),
        ("2km2", "m2", 2e6),
        ("9px", "px", 9),
        (" .5 HA ", "m2", 5000),
        ("1e-3 km²", "m2", 1000),
        ("3 m²", "m2", 3),
        ("0.07ha", "m2", 700),  # 0.07 * 10000 is more as floats
        ("+2.5px", "px", 2.5),
        ("0px", "px", 0),
    ],
)
def test_an_amount_and_its_unit_are_read(text: str, kind: str, amount: float) -> None:
    assert parse_min_area(text) == MinArea(kind=kind, amount=amount)


@pytest.mark.parametrize(
    "text", ["", "5", "ha", "5 acres", "nan ha", "inf px", "5 m", "1,5ha", "5ha2", "5 ha ha", "٣px"]
)
def test_what_is_not_an_amount_with_a_unit_is_refused_with_the_units(text: str) -> None:
    with pytest.raises(ParameterError, match="one of px, m2, ha, km2"):
        parse_min_area(text)


@pytest.mark.parametrize("text", ["-1px", "-0.5 ha", "1e999 km2"])
def test_an_amount_below_nothing_or_without_end_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="give a number from 0"):
        parse_min_area(text)


def test_control_characters_do_not_reach_the_terminal() -> None:
    with pytest.raises(ParameterError) as refused:
        parse_min_area("\x1b[2J5")
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("amount", [-1.0, math.nan, math.inf])
def test_an_amount_that_is_none_is_refused(amount: float) -> None:
    with pytest.raises(ParameterError, match="give a number from 0"):
        MinArea(kind="px", amount=amount)


def test_another_kind_is_refused() -> None:
    with pytest.raises(ParameterError, match="px or m2"):
        MinArea(kind="ha", amount=1)


@given(st.floats(0, 1e9), st.integers(-40, 10), st.integers(0, 2**53))
def test_the_threshold_parts_sizes_as_the_amount_parts_areas(amount: float, exponent: int, size: int) -> None:
    unit_m2 = math.ldexp(1, exponent)  # a power of two, so the product below is exact
    threshold = MinArea(kind="m2", amount=amount).threshold(unit_m2)
    for near in (size, threshold - 1, threshold, threshold + 1):
        if near < 2**53:
            assert (near < threshold) == (near * unit_m2 < amount)


def test_pixels_need_no_unit_and_a_part_of_a_pixel_counts_as_one() -> None:
    assert parse_min_area("9px").threshold() == 9
    assert parse_min_area("9px").threshold(0.25) == 9
    assert parse_min_area("2.5px").threshold() == 3


def test_a_threshold_beyond_any_scene_still_fits_a_size() -> None:
    assert parse_min_area("1e300 km2").threshold(2.0**-40) == 2**63 - 1


@pytest.mark.parametrize("unit_m2", [None, 0.0, math.nan])
def test_an_area_needs_the_area_of_pixels(unit_m2: float | None) -> None:
    with pytest.raises(ParameterError, match="or the smallest area in px"):
        parse_min_area("1ha").threshold(unit_m2)
