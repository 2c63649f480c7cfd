"""Legends: what a class may be, and the published ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ParameterError
from geoseg.legend import NODATA, Legend, LegendClass
from geoseg.legends import WELL_KNOWN, recognised, well_known

RGB = tuple[int, int, int]


def one(value: int = 1, name: str = "water", color: str = "#0000ff") -> LegendClass:
    return LegendClass(value=value, name=name, color=color)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": -1}, "value -1: choose one from 0 to 255"),
        ({"value": 256}, "value 256: choose one from 0 to 255"),
        ({"name": " \n"}, "value 1 has no name"),
        ({"color": "blue"}, "write it as '#rrggbb'"),
        ({"color": "#0000ff\n"}, "write it as '#rrggbb'"),
    ],
)
def test_a_class_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        one(**changes)  # type: ignore[arg-type]


def test_255_is_a_class_where_another_value_is_nodata() -> None:
    legend = Legend(classes=(one(0, "ground"), one(255, "building")), nodata=254)
    assert (legend.values, legend.nodata) == ((0, 255), 254)
    with pytest.raises(ParameterError, match="nodata 255 is a class value"):
        Legend(classes=legend.classes)
    assert Legend.unnamed((0, 255), nodata=7).names == ("class 0", "class 255")


@pytest.mark.parametrize("nodata", [-1, 256])
def test_nodata_is_a_byte(nodata: int) -> None:
    with pytest.raises(ParameterError, match="outside 0 to 255"):
        Legend(classes=(one(),), nodata=nodata)


@pytest.mark.parametrize(
    ("name", "n", "nodata", "some"),
    [
        ("worldcover", 11, 0, {10: ("Tree cover", "#006400"), 95: ("Mangroves", "#00cf75")}),
        ("dynamic-world", 9, NODATA, {0: ("Water", "#419bdf"), 8: ("Snow and ice", "#b39fe1")}),
        ("nlcd", 20, 0, {11: ("Open Water", "#466b9f"), 82: ("Cultivated Crops", "#ab6c28")}),
        ("corine", 44, NODATA, {1: ("Continuous urban fabric", "#e6004d"), 44: ("Sea and ocean", "#e6f2ff")}),
        ("cdl", 133, 0, {1: ("Corn", "#ffd400"), 24: ("Winter Wheat", "#a87000"), 176: ("Grass/Pasture", "#e9ffbe")}),
    ],
)
def test_published_legends_have_their_classes(name: str, n: int, nodata: int, some: dict[int, tuple[str, str]]) -> None:
    legend = well_known(name)
    assert (len(legend), legend.nodata) == (n, nodata)
    classes = {c.value: (c.name, c.color) for c in legend}
    assert {v: classes[v] for v in some} == some
    assert list(legend.values) == sorted(legend.values)
    assert well_known(name.upper().replace("-", "_")) == legend


def test_an_unknown_legend_is_refused_with_those_there_are() -> None:
    with pytest.raises(ParameterError, match=r"no legend is called 'clc': choose one of worldcover, .*corine"):
        well_known("clc")


def palette_of(name: str) -> dict[int, RGB]:
    """As GeoTIFF keeps it: 256 entries, filled up with black."""
    return dict.fromkeys(range(256), (0, 0, 0)) | {c.value: c.rgb for c in well_known(name)}


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_a_published_palette_is_recognised(name: str) -> None:
    assert recognised(palette_of(name)) == name


@given(st.sampled_from(WELL_KNOWN), st.integers(0, 2**32 - 1))
def test_a_palette_a_few_levels_off_is_recognised_and_one_of_other_colours_is_not(name: str, seed: int) -> None:
    values = well_known(name).values
    colors = np.array([c.rgb for c in well_known(name)])
    shifted = np.clip(colors + np.random.default_rng(seed).integers(-4, 5, colors.shape), 0, 255)
    assert recognised({v: (r, g, b) for v, (r, g, b) in zip(values, shifted.tolist(), strict=True)}) == name
    inverted = 255 - shifted
    assert recognised({v: (r, g, b) for v, (r, g, b) in zip(values, inverted.tolist(), strict=True)}) is None


def test_a_palette_with_a_colour_for_another_value_or_with_few_classes_is_not_recognised() -> None:
    worldcover = palette_of("worldcover")
    assert recognised(worldcover | {11: (9, 9, 9)}) is None
    assert recognised({v: worldcover[v] for v in (10, 20, 30, 40, 50, 60, 70)}) is None
    assert recognised({v: worldcover[v] for v in (10, 20, 30, 40, 50, 60, 70, 80)}) == "worldcover"
    assert recognised({}) is None
