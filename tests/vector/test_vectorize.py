import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from pyproj import Geod

from geoseg.errors import ParameterError
from geoseg.legend import Legend, LegendClass
from geoseg.vector import vectorize

pytestmark = pytest.mark.filterwarnings(
    "ignore:Use `@` matmul:PendingDeprecationWarning"  # odc-geo multiplies affines in the way of affine 2
)

UTM = GeoBox((3, 4), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32633")
CLASSES = np.array([[1, 1, 2, 2], [1, 3, 2, 255], [1, 1, 255, 2]], dtype=np.uint8)
CONFIDENCE = np.array([[90, 80, 60, 255], [70, 10, 40, 255], [100, 60, 255, 255]], dtype=np.uint8)
LEGEND = Legend(
    classes=(
        LegendClass(value=3, name="water", color="#0000ff"),
        LegendClass(value=1, name="forest", color="#00ff00"),
        LegendClass(value=2, name="Straße", color="#ff0000"),
        LegendClass(value=9, name="ice", color="#ffffff"),
    )
)


def class_map(values: np.ndarray = CLASSES, geobox: GeoBox = UTM, nodata: int | None = 255) -> xr.DataArray:
    return wrap_xr(values, geobox, nodata=nodata)


def test_the_table_has_a_row_per_component_with_names_and_the_crs_of_the_map() -> None:
    table = vectorize(class_map(), legend=LEGEND)
    assert list(table.columns) == ["class_id", "class_name", "area_m2", "perim_m", "mean_conf", "geometry"]
    assert table.crs == "EPSG:32633"
    assert table.class_id.tolist() == [1, 2, 3, 2]
    assert table.class_name.tolist() == ["forest", "Straße", "water", "Straße"]
    assert table.area.tolist() == [500.0, 300.0, 100.0, 100.0]
    np.testing.assert_allclose(table.area_m2, table.area / 0.9996**2, rtol=1e-6)  # on the central meridian
    assert table.mean_conf.isna().all()
    assert table.geometry.is_valid.all()


def test_without_a_legend_classes_are_named_by_their_values() -> None:
    assert vectorize(class_map()).class_name.tolist() == ["class 1", "class 2", "class 3", "class 2"]


def test_mean_confidence_is_over_the_pixels_that_have_one() -> None:
    table = vectorize(class_map(), confidence=wrap_xr(CONFIDENCE, UTM, nodata=255))
    np.testing.assert_array_equal(table.mean_conf, [400 / 5, 100 / 2, 10.0, np.nan])


def test_a_dask_map_gives_the_same_table_as_a_numpy_map() -> None:
    confidence = wrap_xr(CONFIDENCE, UTM, nodata=255)
    eager = vectorize(class_map(), confidence=confidence)
    lazy = vectorize(class_map().chunk(2), confidence=confidence.chunk(3))
    assert eager.equals(lazy)


def test_the_maps_own_nodata_counts_where_there_is_no_legend() -> None:
    values = np.where(CLASSES == 255, 0, CLASSES).astype(np.uint8)
    assert vectorize(class_map(values, nodata=1)).class_id.tolist() == [2, 3, 0, 0, 2]


def test_a_map_of_nodata_gives_an_empty_table_with_all_columns() -> None:
    table = vectorize(class_map(np.full((3, 4), 255, dtype=np.uint8)), legend=LEGEND)
    assert len(table) == 0
    assert list(table.columns) == ["class_id", "class_name", "area_m2", "perim_m", "mean_conf", "geometry"]
    assert table.crs == "EPSG:32633"


def test_a_rotated_map_has_its_polygons_where_its_pixels_are() -> None:
    geobox = GeoBox((3, 4), Affine(8, -6, 500_000, -6, -8, 5_000_000), "EPSG:32633")
    table = vectorize(class_map(geobox=geobox))
    x, y = 500_000 + 8 * 1.5 - 6 * 1.5, 5_000_000 - 6 * 1.5 - 8 * 1.5
    assert table[table.contains(shapely.Point(x, y))].class_id.tolist() == [3]
    assert shapely.coverage_is_valid(table.geometry.array)


def test_values_that_the_legend_lacks_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"values 7, which the legend \(3, 1, 2, 9; nodata 255\) lacks"):
        vectorize(class_map(np.full((3, 4), 7, dtype=np.uint8)), legend=LEGEND)


def test_a_legend_with_another_nodata_is_refused() -> None:
    with pytest.raises(ParameterError, match="nodata is 0 in the class map and 255 in the legend: make them agree"):
        vectorize(class_map(nodata=0), legend=LEGEND)


def test_a_map_that_is_not_uint8_is_refused() -> None:
    with pytest.raises(
        ParameterError, match=r"the class map is an array of float32 .* give uint8 with rows and columns"
    ):
        vectorize(class_map(CLASSES.astype(np.float32)))


def test_a_confidence_on_another_grid_is_refused() -> None:
    shifted = GeoBox((3, 4), Affine(10, 0, 500_010, 0, -10, 5_000_000), "EPSG:32633")
    with pytest.raises(ParameterError, match="give both on the same CRS, transform and shape"):
        vectorize(class_map(), confidence=wrap_xr(CONFIDENCE, shifted))


@pytest.mark.parametrize("dims", [("a", "b"), ("x", "y")])
def test_an_array_that_is_not_on_a_grid_of_rows_and_columns_is_refused(dims: tuple[str, str]) -> None:
    with pytest.raises(ParameterError, match="attach CRS and transform"):
        vectorize(xr.DataArray(CLASSES, dims=dims))


def test_perimeters_are_geodesic_and_holes_count() -> None:
    table = vectorize(class_map(np.array([[1, 1, 1, 1], [1, 2, 1, 1], [1, 1, 1, 1]], dtype=np.uint8)))
    geod = Geod(ellps="WGS84")
    for row in table.to_crs(4326).itertuples():
        rings = [row.geometry.exterior, *row.geometry.interiors]
        expected = sum(geod.geometry_length(ring) for ring in rings)
        assert row.perim_m == pytest.approx(expected, rel=1e-8)
    assert table.perim_m.tolist() == pytest.approx([(14 + 4) * 10 / 0.9996, 4 * 10 / 0.9996], rel=1e-4)


def test_a_map_that_states_its_classes_is_named_by_them() -> None:
    values = class_map()
    values.attrs |= {"flag_values": [1, 2, 9], "flag_meanings": "forest bare_soil ice"}
    assert vectorize(values).class_name.tolist() == ["forest", "bare soil", "class 3", "bare soil"]
    values.attrs["flag_meanings"] = "forest"
    assert vectorize(values).class_name.tolist() == ["class 1", "class 2", "class 3", "class 2"]
