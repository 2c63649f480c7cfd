from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from pyproj import Transformer

from geoseg.area import ClassTotals, PixelAreas, class_areas, class_table, class_totals
from geoseg.errors import ParameterError
from geoseg.legend import Legend, LegendClass

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use `@` matmul:PendingDeprecationWarning"  # odc-geo multiplies affines in the way of affine 2
)

GRID = GeoBox((40, 60), Affine(0.25, 0, 10, 0, -0.25, 65), "EPSG:4326")
RNG = np.random.default_rng(5)
CLASSES = RNG.choice(np.array([1, 2, 255], dtype=np.uint8), GRID.shape)
CONFIDENCE = np.where(CLASSES == 255, 255, RNG.integers(0, 101, GRID.shape)).astype(np.uint8)
LEGEND = Legend(
    classes=(
        LegendClass(value=2, name="water", color="#0000ff"),
        LegendClass(value=9, name="ice", color="#ffffff"),
        LegendClass(value=1, name="forest", color="#00ff00"),
    )
)
COLUMNS = ["class_id", "class_name", "pixels", "area_m2", "area_ha", "percent", "mean_conf"]


def class_map(values: Any = CLASSES) -> xr.DataArray:
    return wrap_xr(values, GRID, nodata=255)


def confidence_map() -> xr.DataArray:
    return wrap_xr(CONFIDENCE, GRID, nodata=255)


def test_the_table_has_every_class_of_the_legend_in_its_order() -> None:
    table = class_areas(class_map(), legend=LEGEND, confidence=confidence_map())
    assert list(table.columns) == COLUMNS
    assert table.class_id.tolist() == [2, 9, 1]
    assert table.class_name.tolist() == ["water", "ice", "forest"]
    assert table.pixels.tolist() == [(CLASSES == 2).sum(), 0, (CLASSES == 1).sum()]
    assert table.area_m2[1] == table.percent[1] == 0
    assert np.isnan(table.mean_conf[1])
    np.testing.assert_allclose(table.area_ha * 10_000, table.area_m2, rtol=1e-15)
    assert table.percent.sum() == pytest.approx(100, rel=1e-14)
    assert table.mean_conf[0] == CONFIDENCE[CLASSES == 2].mean()


def test_areas_are_ellipsoidal_and_nodata_does_not_count() -> None:
    table = class_areas(class_map())
    edges = np.sin(np.radians(65 - 0.25 * np.arange(41)))
    e2, a = 0.0066943799901413165, 6378137.0
    e = np.sqrt(e2)
    q = (1 - e2) * (edges / (1 - e2 * edges**2) + np.arctanh(e * edges) / e)
    by_row = a**2 / 2 * np.radians(0.25) * (q[:-1] - q[1:])
    for value, area in zip(table.class_id, table.area_m2, strict=True):
        assert area == pytest.approx((np.equal(CLASSES, value) * by_row[:, None]).sum(), rel=1e-11)
    assert table.class_name.tolist() == ["class 1", "class 2"]


@settings(max_examples=20, deadline=None)
@given(st.integers(5, 40), st.integers(7, 60), st.integers(9, 60))
def test_a_dask_map_gives_the_same_table_whatever_its_chunks(rows: int, cols: int, other: int) -> None:
    with dask.config.set(scheduler="sync"):
        lazy = class_areas(
            class_map().chunk({"latitude": rows, "longitude": cols}), confidence=confidence_map().chunk(other)
        )
    assert lazy.equals(class_areas(class_map(), confidence=confidence_map()))


@pytest.mark.parametrize(("lazy_classes", "lazy_confidence"), [(True, False), (False, True)])
def test_a_dask_map_goes_with_a_numpy_map(lazy_classes: bool, lazy_confidence: bool) -> None:
    classes, confidence = class_map(), confidence_map()
    mixed = class_areas(
        classes.chunk(17) if lazy_classes else classes,
        confidence=confidence.chunk(13) if lazy_confidence else confidence,
    )
    assert mixed.equals(class_areas(classes, confidence=confidence))


def test_totals_of_blocks_give_the_table_of_the_whole() -> None:
    areas = PixelAreas.of(GRID)
    top = class_totals(CLASSES[:13], areas, confidence=CONFIDENCE[:13])
    bottom = class_totals(CLASSES[13:], areas, row_off=13, confidence=CONFIDENCE[13:])
    table = class_table(top + bottom, LEGEND, areas.unit_m2)
    assert table.equals(class_areas(class_map(), legend=LEGEND, confidence=confidence_map()))


def test_a_map_of_nodata_has_classes_without_area_and_no_percent() -> None:
    nothing = class_map(np.full(GRID.shape, 255, dtype=np.uint8))
    table = class_areas(nothing, legend=LEGEND)
    assert table.area_m2.tolist() == [0, 0, 0]
    assert table.percent.isna().all()
    assert list(class_areas(nothing).columns) == COLUMNS
    assert len(class_areas(nothing)) == 0


def test_values_that_the_legend_lacks_are_refused() -> None:
    strange = class_map(np.full(GRID.shape, 77, dtype=np.uint8))
    with pytest.raises(ParameterError, match=r"values 77, which the legend \(2, 9, 1; nodata 255\) lacks"):
        class_areas(strange, legend=LEGEND)
    totals = ClassTotals.zero()
    totals.pixels[77] = 1
    with pytest.raises(ParameterError, match="add them to the legend"):
        class_table(totals, LEGEND, 1.0)


def test_the_same_fields_have_the_same_area_on_two_maps() -> None:
    """Web Mercator and geographic grids with shared outlines: a square of one degree, 10 to 11 east, 60 to 61 north."""
    geographic = GeoBox((50, 50), Affine(0.02, 0, 10, 0, -0.02, 61), "EPSG:4326")
    x, y, x_end, y_end = Transformer.from_crs(4326, 3857, always_xy=True).transform_bounds(10, 60, 11, 61)
    mercator = GeoBox((70, 90), Affine((x_end - x) / 90, 0, x, 0, (y - y_end) / 70, y_end), "EPSG:3857")
    one, other = (
        class_areas(wrap_xr(np.ones(grid.shape, dtype=np.uint8), grid, nodata=255)).area_m2[0]
        for grid in (geographic, mercator)
    )
    assert one == pytest.approx(6123140878.74572, rel=1e-10)
    assert other == pytest.approx(one, rel=1e-8)
