"""Class areas in zones: worked examples, the intersection with every pixel, other CRSs, odd zones, real files."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from pyproj import CRS, Geod, Transformer
from shapely import wkt

from geoseg.area import PixelAreas, class_areas
from geoseg.area.zone_areas import ZoneAreas, zone_areas
from geoseg.area.zone_file import read_zones
from geoseg.area.zone_grid import DEVIATION_PX, geodesic_areas, place_zones
from geoseg.area.zone_sums import zone_sums
from geoseg.area.zones import Zones, zones_of
from geoseg.errors import InputError, ParameterError
from geoseg.legend import Legend
from geoseg.outputs.tables import write_areas
from tests.area.test_coverage import polygons, true_fractions

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
UTM = GeoBox((90, 70), Affine(10, 0, 600_000, 0, -10, 6_600_000), "EPSG:32633")
SMALL = {
    "UTM": UTM,
    "UTM, rotated": GeoBox((50, 60), Affine(8, -6, 600_000, -6, -8, 5_000_040), "EPSG:32633"),
    "UTM, sheared and south-up": GeoBox((50, 60), Affine(8, 3, 600_000, 0, 8, 5_000_040), "EPSG:32633"),
    "Web Mercator at 60 N": GeoBox((80, 70), Affine(30, 0, 1_113_194, 0, -30, 8_399_737), "EPSG:3857"),
    "geographic": GeoBox((40, 60), Affine(0.01, 0, 5, 0, -0.01, 60), "EPSG:4326"),
    "geographic, south-up": GeoBox((40, 60), Affine(0.01, 0, 5, 0, 0.01, 60), "EPSG:4326"),
    "polar, with the pole": GeoBox((80, 81), Affine(10_000, 0, -4e5, 0, -10_000, 4e5), "EPSG:3413"),
}


def random_map(geobox: GeoBox, *, seed: int = 0, nodata_share: float = 0.1) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 5, geobox.shape).astype(np.uint8)
    values[rng.random(geobox.shape) < nodata_share] = 255
    return wrap_xr(values, geobox, nodata=255)


def to_map(geometry: Any, geobox: GeoBox) -> Any:
    """From (column, row) to the coordinates of a grid."""
    return shapely.transform(geometry, lambda xy: np.column_stack(geobox.transform @ (xy[:, 0], xy[:, 1])))


def zones(geometries: list[Any], crs: Any, ids: list[Any] | None = None) -> Zones:
    frame = gpd.GeoDataFrame({"id": range(len(geometries)) if ids is None else ids}, geometry=geometries, crs=crs)
    return zones_of(frame, "id")


def wide(found: ZoneAreas, column: str = "area_m2") -> pd.DataFrame:
    """Zones by classes, as an analyst pivots the table."""
    return found.table.pivot_table(index="zone", columns="class_id", values=column, sort=False)


def circle(col: float, row: float, radius: float) -> Any:
    return shapely.Point(col, row).buffer(radius)


# Worked examples


def worked(values: Any, polygon: str) -> pd.DataFrame:
    """The table of a zone over a grid of unit squares from (0, 0), null being nodata."""
    array = np.array([[255 if v is None else v for v in row] for row in values], dtype=np.uint8)
    geobox = GeoBox((len(array), len(array[0])), Affine(1, 0, 0, 0, -1, len(array)), "EPSG:6933")
    found = zone_areas(wrap_xr(array, geobox, nodata=255), zones([wkt.loads(polygon)], "EPSG:6933"))
    table = found.table.assign(share=found.table.pixels / found.table.pixels.sum())
    # the projection is equal-area, so that true areas are square metres
    np.testing.assert_allclose(table.area_m2, table.pixels, rtol=1e-6, atol=1e-9)
    return table


@pytest.mark.parametrize("example", ["zonal_coverage/class_fractions"], indirect=True)
def test_published_class_fractions(example: dict[str, Any]) -> None:
    table = worked(example["inputs"]["values"], example["inputs"]["polygon_wkt"])
    expected = example["expected"]
    assert table.pixels.sum() == pytest.approx(expected["count"], rel=1e-9)
    by_class = table.set_index(table.class_id.astype(str))
    assert by_class.pixels.to_dict() == pytest.approx(expected["class_area"], rel=1e-9)
    assert (by_class.percent / 100).to_dict() == pytest.approx(expected["class_fraction"], rel=1e-6)
    assert int(table.class_id.iloc[int(table.pixels.argmax())]) == expected["mode"]


@pytest.mark.parametrize(
    "example", ["zonal_coverage/basic_stats_3x3", "zonal_coverage/stats_with_nodata"], indirect=True
)
def test_published_statistics_follow_from_the_class_table(example: dict[str, Any]) -> None:
    """Class numbers taken for values, though they mean nothing as such: their weights are those of the table.

    Median and quantiles are not asked: they interpolate between values, and geoseg has classes. For the same reason
    ``weighted_variance`` is not here at all: its values are negative and fractional, and its weights no coverage.
    """
    table = worked(example["inputs"]["values"], "POLYGON ((0.5 0.5, 2.5 0.5, 2.5 2.5, 0.5 2.5, 0.5 0.5))")
    expected = example["expected"]
    value, weight = table.class_id.to_numpy(), table.pixels.to_numpy()
    mean = np.average(value, weights=weight)
    assert weight.sum() == pytest.approx(expected["count"], rel=1e-9)
    assert (value * weight).sum() == pytest.approx(expected["sum"], rel=1e-9)
    assert mean == pytest.approx(expected["mean"], rel=1e-9)
    if "variance" in expected:
        assert np.average((value - mean) ** 2, weights=weight) == pytest.approx(expected["variance"], rel=1e-9)
    else:
        assert value[weight > 0].min() == expected["min"]
        assert value[weight > 0].max() == expected["max"]
    assert value[weight.argmax()] == expected["mode"]
    assert value[weight.argmin()] == expected["minority"]
    assert (weight > 0).sum() == expected["variety"]


# Against the intersection with every pixel


@pytest.mark.parametrize("geobox", SMALL.values(), ids=SMALL)
def test_areas_are_covered_fractions_times_true_pixel_areas(geobox: GeoBox) -> None:
    classes = random_map(geobox)
    drawn = [circle(20, 20, 9.3), shapely.box(3, 4, 30, 31).difference(circle(12, 12, 5)), circle(0, 30, 8)]
    found = zone_areas(classes, zones([to_map(g, geobox) for g in drawn], geobox.crs))
    areas = PixelAreas.of(geobox)
    true_m2 = areas.units(0, 0, *geobox.shape) * areas.unit_m2
    for zone, drawing in enumerate(drawn):
        fractions = fractions_on(drawing, geobox)
        table = found.table[found.table.zone == zone].set_index("class_id")
        for value in range(1, 5):
            here = classes.values == value
            assert table.pixels[value] == pytest.approx(fractions[here].sum(), rel=1e-9)
            assert table.area_m2[value] == pytest.approx((fractions * true_m2)[here].sum(), rel=1e-9)
        assert table.percent.sum() == pytest.approx(100)
    on_grid = found.table[found.table.zone < 2].drop_duplicates("zone")
    inside = [float((fractions_on(g, geobox) * true_m2).sum()) for g in drawn[:2]]
    np.testing.assert_allclose(on_grid.zone_area_m2, inside, rtol=1e-9)
    classed = found.table.groupby("zone").area_m2.sum()
    np.testing.assert_allclose(
        found.table.drop_duplicates("zone").covered_percent,
        100 * classed / found.table.drop_duplicates("zone").zone_area_m2.to_numpy(),
    )


def fractions_on(drawing: Any, geobox: GeoBox) -> NDArray[np.float64]:
    upside = shapely.transform(drawing, lambda xy: xy * [1, -1])
    return true_fractions(upside, int(geobox.shape[0]), int(geobox.shape[1]))


@settings(max_examples=60)
@given(
    st.lists(polygons(), min_size=1, max_size=3),
    st.tuples(st.integers(1, 13), st.integers(1, 11)),
    st.integers(0, 2**16),
)
def test_the_sums_are_the_same_whatever_the_blocks(drawn: list[Any], block: tuple[int, int], seed: int) -> None:
    geobox = GeoBox((13, 11), UTM.transform, UTM.crs)
    classes = random_map(geobox, seed=seed).values
    areas = PixelAreas.of(geobox)
    upright = [to_map(shapely.transform(g, lambda xy: xy * [1, -1]), geobox) for g in drawn]
    placed = place_zones(zones(upright, geobox.crs), geobox)

    def sums(rows: int, cols: int) -> dict[int, NDArray[np.float64]]:
        def read(row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
            assert row + height <= 13
            assert col + width <= 11
            return classes[row : row + height, col : col + width]

        found = zone_sums(read, placed, areas, n_zones=len(drawn), block=(rows, cols))
        return {v: (found.whole + found.part)[:, k] for k, v in enumerate(found.values)}

    whole, cut = sums(13, 11), sums(*block)
    nothing = np.zeros((len(drawn), 2))
    for value in {*whole, *cut}:
        np.testing.assert_allclose(cut.get(value, nothing), whole.get(value, nothing), rtol=1e-9, atol=1e-9)


def test_every_block_near_a_zone_is_read_once_and_no_other() -> None:
    areas = PixelAreas.of(UTM)
    drawn = [to_map(circle(12, 12, 6), UTM), to_map(circle(15, 12, 6), UTM), to_map(circle(60, 75, 5), UTM)]
    read_blocks: list[tuple[int, int]] = []

    def read(row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        assert height <= 10
        assert width <= 10
        read_blocks.append((row, col))
        return np.ones((height, width), dtype=np.uint8)

    sums = zone_sums(read, place_zones(zones(drawn, UTM.crs), UTM), areas, n_zones=3, block=(10, 10))
    near = {(row, col) for row in (0, 10) for col in (0, 10, 20)} | {(70, 50), (70, 60)}
    assert sorted(read_blocks) == sorted(near)
    np.testing.assert_allclose((sums.whole + sums.part)[:, 0, 0], [circle(0, 0, r).area for r in (6, 6, 5)], rtol=1e-9)


def test_a_zone_of_whole_pixels_equals_the_class_table_to_the_last_digit() -> None:
    geobox = GeoBox((200, 150), UTM.transform, UTM.crs)
    classes = random_map(geobox)
    part = classes[17:180, 5:149]
    found = zone_areas(classes, zones([to_map(shapely.box(5, 17, 149, 180), geobox)], geobox.crs)).table
    whole = zone_areas(classes, zones([to_map(shapely.box(-9, -9, 200, 300), geobox)], geobox.crs)).table
    table = class_areas(classes)
    assert whole.pixels.tolist() == table.pixels.tolist()
    assert whole.area_m2.tolist() == table.area_m2.tolist()
    assert found.pixels.tolist() == class_areas(part).pixels.tolist()


@pytest.mark.parametrize("zones_crs", ["EPSG:32633", "EPSG:4326", "EPSG:3035"])
def test_zones_that_share_out_the_map_share_out_its_areas(zones_crs: str) -> None:
    geobox = GeoBox((300, 260), Affine(30, 0, 600_000, 0, -30, 6_600_000), "EPSG:32633")
    classes = random_map(geobox)
    rng = np.random.default_rng(1)
    seeds = shapely.MultiPoint(rng.random((40, 2)) * [260, 300])
    parts = shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=shapely.box(-60, -60, 320, 360)))
    frame = gpd.GeoDataFrame({"id": range(40)}, geometry=[to_map(p, geobox) for p in parts], crs=geobox.crs)
    # straight in the other CRS: a share of the map all the same, because neighbours move together
    found = zone_areas(classes, zones_of(frame.to_crs(zones_crs), "id"))
    np.testing.assert_allclose(wide(found).sum(), class_areas(classes).area_m2, rtol=1e-6)
    np.testing.assert_allclose(wide(found, "pixels").sum(), class_areas(classes).pixels, rtol=1e-6)


@pytest.mark.parametrize("name", ["Web Mercator at 60 N", "geographic", "polar, with the pole", "UTM, rotated"])
def test_the_area_of_a_zone_is_that_of_its_geodesic_outline(name: str) -> None:
    geobox = SMALL[name]
    zone = to_map(shapely.segmentize(shapely.box(1.5, 2.25, 38.25, 37.5), 0.5), geobox)
    found = zone_areas(random_map(geobox, nodata_share=0), zones([zone], geobox.crs)).table
    (outline,) = geodesic_areas(np.array([zone], dtype=object), CRS(geobox.crs))
    assert found.area_m2.sum() == pytest.approx(outline, rel=2e-6)
    assert found.covered_percent.tolist() == pytest.approx([100] * 4, rel=1e-12)


# Other CRSs


def test_long_edges_are_bent_with_the_map() -> None:
    geobox = GeoBox((1200, 1200), Affine(100, 0, 540_000, 0, -100, 6_900_000), "EPSG:32633")
    rough = shapely.box(16, 61.3, 17.8, 62.1)
    dense = shapely.segmentize(rough, 1e-4)
    (placed,) = place_zones(zones([rough], "EPSG:4326"), geobox).pieces
    onto = Transformer.from_crs(4326, 32633, always_xy=True)
    true = shapely.transform(
        dense,
        lambda ll: np.column_stack(~geobox.transform @ onto.transform(ll[:, 0], ll[:, 1])) * [1, -1],
    )
    assert shapely.get_num_coordinates(placed) < shapely.get_num_coordinates(dense) / 10
    off = shapely.distance(shapely.points(shapely.get_coordinates(true)), shapely.boundary(placed))
    assert off.max() <= DEVIATION_PX
    straight = shapely.transform(
        rough, lambda ll: np.column_stack(~geobox.transform @ onto.transform(ll[:, 0], ll[:, 1])) * [1, -1]
    )
    assert shapely.hausdorff_distance(straight, true) > 1  # what would be lost


def test_zones_of_the_whole_world_are_cut_to_a_map_of_a_part() -> None:
    geobox = GeoBox((100, 100), Affine(1000, 0, 400_000, 0, -1000, 6_600_000), "EPSG:32633")
    quarters = [shapely.box(-180, -90, 15, 90), shapely.box(15, -90, 180, 90)]
    classes = random_map(geobox)
    found = zone_areas(classes, zones(quarters, "EPSG:4326"))
    np.testing.assert_allclose(wide(found).sum(), class_areas(classes).area_m2, rtol=1e-6)
    assert "wider than half the globe: 0" in found.notes[0]


@pytest.mark.parametrize(("west", "east"), [(-180, 15), (15, 180), (-180, 180), (10, 11)])
def test_zones_of_any_part_of_the_world_have_their_area(west: float, east: float) -> None:
    (found,) = geodesic_areas(np.array([shapely.box(west, -90, east, 90)], dtype=object), CRS(4326))
    assert found == pytest.approx((east - west) / 360 * 510_065_621_724_088.4, rel=1e-6)


def test_a_zone_to_the_south_pole_is_counted_on_a_map_that_ends_before() -> None:
    geobox = GeoBox((80, 80), Affine(500_000, 0, -20e6, 0, -500_000, 20e6), "EPSG:3857")
    halves = [shapely.box(-170, -90, 0, 0), shapely.box(0, -90, 170, 0)]
    found = zone_areas(random_map(geobox), zones(halves, "EPSG:4326"))
    per_zone = wide(found, "pixels").sum(axis=1)
    covered = 40 * (170 / 180) * (20037508.342789244 / 500_000)
    np.testing.assert_allclose(per_zone, [covered * 0.9] * 2, rtol=0.05)  # a tenth is nodata


@pytest.mark.parametrize("shift", [-360, 0, 360])
def test_longitudes_may_be_counted_from_anywhere(shift: int) -> None:
    geobox = GeoBox((50, 100), Affine(0.1, 0, 175, 0, -0.1, -10), "EPSG:4326")
    classes = random_map(geobox)
    zone = shapely.box(178.03, -14.2, 181.77, -11.1)
    expected = zone_areas(classes, zones([zone], "EPSG:4326")).table
    moved = shapely.transform(zone, lambda xy: np.add(xy, [shift, 0]))
    found = zone_areas(classes, zones([moved], "EPSG:4326")).table
    np.testing.assert_allclose(found.area_m2, expected.area_m2, rtol=1e-6)
    assert found.covered_percent[0] == pytest.approx(expected.covered_percent[0], rel=1e-5)


def test_zones_across_the_antimeridian_on_maps_across_it() -> None:
    zone = shapely.box(179.95, 65, 180.05, 65.04)
    geobox = GeoBox((100, 100), Affine(0.01, 0, 179.5, 0, -0.01, 65.5), "EPSG:4326")
    onto = Transformer.from_crs(4326, 32660, always_xy=True)
    metres = shapely.transform(
        shapely.segmentize(zone, 1e-3), lambda ll: np.column_stack(onto.transform(ll[:, 0], ll[:, 1]))
    )
    one = wrap_xr(np.ones((100, 100), np.uint8), geobox, nodata=255)
    far = wrap_xr(np.ones((100, 100), np.uint8), geobox.translate_pix(36_000, 0), nodata=255)  # counted to 540
    expected = zone_areas(one, zones([zone], 4326)).table.area_m2[0]
    assert zone_areas(one, zones([metres], 32660)).table.area_m2[0] == pytest.approx(expected, rel=1e-6)
    assert zone_areas(far, zones([metres], 32660)).table.area_m2[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:6933", "EPSG:3994"])
def test_zones_on_a_cylindrical_map_that_goes_on_beyond_its_edge(crs: str) -> None:
    onto = Transformer.from_crs(4326, crs, always_xy=True)
    origin, middle = (onto.transform(lon, -18)[0] for lon in (0, 100))
    per_degree = (middle - origin) / 100
    geobox = GeoBox((80, 100), Affine(1000, 0, origin + 179.8 * per_degree, 0, -1000, onto.transform(0, -17)[1]), crs)
    # of Fiji, cut at 180 as GeoJSON has it, and beyond it only
    both = shapely.multipolygons([shapely.box(179.85, -17.5, 180, -17.2), shapely.box(-180, -17.5, -179.9, -17.2)])
    beyond = shapely.box(-179.98, -17.4, -179.8, -17.3)
    found = zone_areas(wrap_xr(np.ones((80, 100), np.uint8), geobox, nodata=255), zones([both, beyond], 4326))
    assert not found.notes
    geodesic = geodesic_areas(np.array([both, beyond], dtype=object), CRS(4326))
    np.testing.assert_allclose(found.table.area_m2, geodesic, rtol=1e-4)  # its edges are other lines
    np.testing.assert_allclose(found.table.covered_percent, 100)


def test_a_zone_that_crosses_the_edge_of_a_world_map_is_refused_by_name() -> None:
    world = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    onto = Transformer.from_crs(4326, 32660, always_xy=True)
    zone = shapely.transform(
        shapely.box(178, 60, 182, 63), lambda ll: np.column_stack(onto.transform(ll[:, 0], ll[:, 1]))
    )
    with pytest.raises(ParameterError, match="zones Chukotka cross the edge of the map's projection"):
        zone_areas(random_map(world), zones([zone], 32660, ids=["Chukotka"]))


def test_a_zone_where_the_map_has_no_coordinates_is_refused_by_name() -> None:
    geobox = GeoBox((14, 14), Affine(1e6, 0, -7e6, 0, -1e6, 7e6), "+proj=ortho +lat_0=0 +lon_0=0 +type=crs")
    with pytest.raises(ParameterError, match="zones far reach where the CRS of the map has no coordinates"):
        zone_areas(random_map(geobox), zones([shapely.box(0, 0, 120, 10)], 4326, ids=["far"]))


# Odd zones


def test_overlapping_zones_each_get_all_that_is_theirs() -> None:
    classes = random_map(UTM)
    one, two = to_map(circle(30, 30, 12.2), UTM), to_map(circle(36, 33, 9.1), UTM)
    both = zone_areas(classes, zones([one, two], UTM.crs))
    for zone, shape in enumerate((one, two)):
        alone = zone_areas(classes, zones([shape], UTM.crs)).table
        found = both.table[both.table.zone == zone]
        np.testing.assert_allclose(found.area_m2, alone.area_m2, rtol=1e-12)


def test_zones_outside_and_empty_ones_are_listed_with_zeros_and_said() -> None:
    legend = Legend.unnamed((1, 2, 3, 4))
    drawn = [to_map(circle(-300, 20, 9), UTM), shapely.MultiPolygon(), to_map(circle(20, 20, 5), UTM)]
    found = zone_areas(random_map(UTM), zones(drawn, UTM.crs, ids=["out", "none", "in"]), legend=legend)
    assert found.table.zone.tolist() == ["out"] * 4 + ["none"] * 4 + ["in"] * 4
    by_zone = found.table.groupby("zone")
    assert by_zone.area_m2.sum()[["out", "none"]].tolist() == [0, 0]
    assert by_zone.percent.first()[["out", "none"]].isna().all()
    assert by_zone.covered_percent.first()["out"] == 0
    assert by_zone.zone_area_m2.first()["none"] == 0
    (outline,) = geodesic_areas(np.array(drawn[:1], dtype=object), CRS(UTM.crs))
    assert by_zone.zone_area_m2.first()["out"] == pytest.approx(outline)
    assert any("1 zone without a polygon" in note and "none" in note for note in found.notes)
    assert "1 of 3 zones lie outside the map: out" in found.notes


def test_what_lies_beyond_the_map_shows_in_the_covered_share() -> None:
    classes = random_map(UTM, nodata_share=0)
    found = zone_areas(classes, zones([to_map(shapely.box(-30, 10, 30, 40), UTM)], UTM.crs)).table
    assert found.covered_percent.tolist() == pytest.approx([50] * 4, rel=1e-4)


def test_rows_of_one_name_are_one_zone_and_what_overlaps_counts_once() -> None:
    classes = random_map(UTM)
    parts = [shapely.box(5, 5, 20, 20), shapely.box(40, 40, 50, 50), shapely.box(10, 10, 30, 18)]
    made = zones([to_map(g, UTM) for g in parts], UTM.crs, ids=["a", "b", "a"])
    assert made.ids.tolist() == ["a", "b"]
    assert made.notes == ("the zones: 1 zone in several rows, united into one each: a",)
    found = zone_areas(classes, made).table
    expected = zone_areas(classes, zones([to_map(parts[0].union(parts[2]), UTM)], UTM.crs)).table
    np.testing.assert_allclose(found.area_m2[found.zone == "a"], expected.area_m2, rtol=1e-9)


def test_invalid_zones_are_repaired_and_said() -> None:
    bow_tie = shapely.Polygon([(5, 5), (25, 25), (25, 5), (5, 25)])
    made = zones([to_map(bow_tie, UTM), to_map(circle(40, 40, 5), UTM)], UTM.crs, ids=[7, 8])
    assert made.notes == ("the zones: 1 zone had invalid geometries and was repaired: 7",)
    found = zone_areas(random_map(UTM, nodata_share=0), made).table
    assert found.pixels[found.zone == 7].sum() == pytest.approx(200, rel=1e-6)


def test_heights_and_collections_do_no_harm() -> None:
    flat = shapely.box(5, 5, 25, 25)
    mixed = shapely.GeometryCollection([shapely.box(5, 5, 15, 15), shapely.box(10, 5, 20, 15), shapely.Point(1, 1)])
    made = zones([to_map(shapely.force_3d(flat, 4.0), UTM), to_map(mixed, UTM)], UTM.crs)
    assert not shapely.has_z(made.geometries).any()
    assert made.notes == ("the zones: of geometry collections only the polygons count: 1",)
    pixels = wide(zone_areas(random_map(UTM, nodata_share=0), made), "pixels").sum(axis=1)
    assert pixels.tolist() == pytest.approx([400, 150], rel=1e-6)


def test_identifiers_keep_their_type() -> None:
    drawn = [to_map(circle(20, 20, 5), UTM), to_map(circle(40, 40, 5), UTM)]
    for ids in (pd.Series([7, 3], dtype="int32"), pd.Series(["01", "02"], dtype="str"), pd.Series([1.5, 2.5])):
        frame = gpd.GeoDataFrame({"id": ids}, geometry=drawn, crs=UTM.crs)
        found = zone_areas(random_map(UTM), zones_of(frame, "id")).table
        assert found.zone.dtype == ids.dtype
        assert found.zone.drop_duplicates().tolist() == ids.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crs": None}, "my zones has no CRS"),
        ({"ids": ["a", None]}, r"my zones has 1 rows without a value in 'id' \(rows 2\)"),
        ({"ids": [" ", "b"]}, r"without a value in 'id' \(rows 1\)"),
        ({"ids": [np.nan, 2.0]}, r"without a value in 'id' \(rows 1\)"),
        ({"geometry": [shapely.Point(1, 1), shapely.box(0, 0, 1, 1)]}, r"not polygons, such as a Point \(zones a\)"),
        ({"geometry": [shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (1, 1)])]}, r"LineString \(zones b\)"),
        ({"geometry": [shapely.box(0, 0, np.inf, 1)] * 2}, r"coordinates that are not numbers \(zones a, b\)"),
        ({"geometry": [], "ids": []}, "my zones has no polygons"),
    ],
)
def test_zones_that_cannot_be_used_are_refused(changes: dict[str, Any], message: str) -> None:
    given = {"ids": ["a", "b"], "geometry": [shapely.box(0, 0, 1, 1)] * 2, "crs": 4326, **changes}
    frame = gpd.GeoDataFrame({"id": given["ids"]}, geometry=given["geometry"], crs=given["crs"])
    with pytest.raises(InputError, match=message) as error:
        zones_of(frame, "id", name="my zones")
    assert "\n" not in str(error.value)


def test_a_column_that_is_not_there_is_answered_with_those_that_are() -> None:
    frame = gpd.GeoDataFrame({"name": ["a"], "no": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    with pytest.raises(ParameterError, match="no column 'id' of names: choose one of name, no"):
        zones_of(frame, "id")


def test_a_map_with_a_value_that_the_legend_lacks_is_refused() -> None:
    with pytest.raises(ParameterError, match="the values 4, which the legend"):
        zone_areas(random_map(UTM), zones([to_map(circle(9, 9, 5), UTM)], UTM.crs), legend=Legend.unnamed((1, 2, 3)))


def test_pixel_areas_of_another_map_are_refused() -> None:
    made = zones([to_map(circle(9, 9, 5), UTM)], UTM.crs)
    with pytest.raises(ParameterError, match=r"pixel areas of \(50, 60\) px and a class map of \(90, 70\) px"):
        zone_areas(random_map(UTM), made, areas=PixelAreas.of(SMALL["UTM, rotated"]))


def test_zones_on_a_plan_without_a_place_are_refused() -> None:
    plan = 'LOCAL_CS["site plan",UNIT["metre",1]]'
    with pytest.raises(ParameterError, match="no way from the CRS of the zones, 'site plan', to that of the map"):
        zone_areas(random_map(UTM), zones([shapely.box(0, 0, 1, 1)], plan))


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_where_no_zone_is_on_the_map_there_are_zeros(crs: str) -> None:
    made = zones([shapely.MultiPolygon(), shapely.box(-10, -10, -9, -9)], crs)
    found = zone_areas(random_map(UTM), made, legend=Legend.unnamed((1, 2)))
    assert found.table.area_m2.tolist() == [0] * 4
    assert len(found.notes) == 2


# Files


def test_a_raster_file_and_the_array_in_memory_agree(write_scene: Any, tmp_path: Path) -> None:
    geobox = GeoBox((300, 500), Affine(10, 0, 399_960, 0, -10, 5_000_040), "EPSG:32633")
    classes = random_map(geobox)
    made = zones([to_map(circle(200, 150, 90.7), geobox), to_map(circle(20, 20, 60), geobox)], geobox.crs)
    expected = zone_areas(classes, made).table
    for options in ({}, {"tiled": True, "blockxsize": 128, "blockysize": 64}, {"blockysize": 7}):
        path = write_scene("map.tif", pixels=classes.values[None], nodata=255, **options)
        found = zone_areas(path, made).table
        np.testing.assert_allclose(found.area_m2, expected.area_m2, rtol=1e-12)
    chunked = classes.chunk({"y": 100, "x": 130})
    np.testing.assert_allclose(zone_areas(chunked, made).table.area_m2, expected.area_m2, rtol=1e-12)
    write_areas(expected, tmp_path / "zones.csv")
    read = pd.read_csv(tmp_path / "zones.csv")
    pd.testing.assert_frame_equal(read, expected, check_dtype=False, rtol=0, atol=0)


def test_farms_on_a_photograph_of_them(tmp_path: Path) -> None:
    folder = DATA / "swellendam-rgb-zones"
    if not folder.is_dir():
        pytest.skip("the data are not here")
    import rasterio

    with rasterio.open(folder / "3320D_2010_315_RGB_LATLNG.tif") as photo:
        geobox = GeoBox(photo.shape, photo.transform, photo.crs.to_wkt())
        green = (photo.read(2) // 64 + 1).astype(np.uint8)
    classes = wrap_xr(green, geobox, nodata=255)
    farms = read_zones(f"{folder / 'farms.gpkg'}:farms", id_column="fid")
    found = zone_areas(classes, farms)
    frame = gpd.read_file(folder / "farms.gpkg")
    first = found.table.drop_duplicates("zone")
    assert len(first) == len(frame) == 8
    # on a plane that keeps area, bent with the map; UTM's own is off by half a percent here
    frame = frame.segmentize(100).to_crs(6933)
    np.testing.assert_allclose(first.zone_area_m2, frame.area, rtol=1e-6)
    shown = gpd.GeoSeries([shapely.box(*geobox.boundingbox.bbox)], crs=4326).to_crs(6933)[0]
    inside = frame.intersection(shown).area
    np.testing.assert_allclose(wide(found).sum(axis=1), inside, rtol=1e-6, atol=0.01)
    np.testing.assert_allclose(first.covered_percent, 100 * inside / frame.area, rtol=1e-5, atol=1e-5)


def test_a_published_class_map_in_quarters() -> None:
    path = DATA / "class-maps" / "usda_cdl_2021_30m_nw.tif"
    if not path.is_file():
        pytest.skip("the data are not here")
    import rasterio

    with rasterio.open(path) as dataset:
        values, crs, transform = dataset.read(1), dataset.crs.to_wkt(), dataset.transform
    boxes = [shapely.box(c, r, c + 250, r + 250) for r in (0, 250) for c in (0, 250)]
    geobox = GeoBox(values.shape, transform, crs)
    found = zone_areas(path, zones([to_map(b, geobox) for b in boxes], crs)).table
    counted = found.groupby("class_id").pixels.sum()
    for value in counted.index:
        assert counted[value] == (values == value).sum()


@pytest.mark.parametrize(
    "example",
    [f"geodesic_area/{name}" for name in ("planimeter0_pole", "planimeter0_equator", "planimeter5", "antimeridian")],
    indirect=True,
)
def test_areas_of_geodesic_polygons_are_the_published_ones(example: dict[str, Any]) -> None:
    # a zone's edges are straight in its CRS: the geodesics between the vertices are given to it in short pieces
    corners = [(lon, lat) for lat, lon in example["inputs"]["vertices_lat_lon"]]
    geod = Geod(ellps="WGS84")
    points = [
        point
        for first, last in zip(corners, corners[1:] + corners[:1], strict=True)
        for point in [first, *geod.npts(*first, *last, 400)]
    ]
    # on both sides of the antimeridian, and around the pole
    lat, lon = (90, 0) if corners[0][1] > 80 else (np.mean([c[1] for c in corners]), corners[0][0])
    plane = CRS(f"+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84")
    xy = Transformer.from_crs(4326, plane, always_xy=True).transform(*np.transpose(points))
    (found,) = geodesic_areas(np.array([shapely.Polygon(np.transpose(xy))]), plane)
    assert found == pytest.approx(example["expected"]["area_m2"], rel=1e-6)
