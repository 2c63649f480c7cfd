"""GeoJSON as RFC 7946 wants it, read as plain JSON and by GDAL."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from geoseg.errors import ParameterError
from geoseg.legend import Legend
from geoseg.outputs.vectors import write_polygons
from geoseg.outputs.vectors_lonlat import LONGEST_M


def written(path: Path, legend: Legend, geometries: Any, crs: Any, **columns: Any) -> Any:
    """The document and the GeoDataFrame of what was written."""
    frame = gpd.GeoDataFrame({"class_id": range(len(geometries)), **columns}, geometry=geometries, crs=crs)
    write_polygons(frame, path / "s.geojson", format="geojson", legend=legend, metadata={"model": "é"})
    return json.loads((path / "s.geojson").read_text("utf-8")), pyogrio.read_dataframe(path / "s.geojson")


def test_it_is_a_feature_collection_with_names_numbers_and_gaps(tmp_path: Path, legend: Legend) -> None:
    names = ['a "quoted" \\ name', "水\n\x1b", None]
    numbers = [0.1 + 0.2, float("nan"), 5e-324]
    document, found = written(
        tmp_path, legend, shapely.box([0, 1, 2], 0, [1, 2, 3], 1), 4326, class_name=names, area_m2=numbers, inf=np.inf
    )
    assert (document["type"], document["name"]) == ("FeatureCollection", "landcover")
    assert json.loads(document["description"]) == {"model": "é"}
    assert "crs" not in document  # RFC 7946 has one CRS only
    assert [f["type"] for f in document["features"]] == ["Feature"] * 3
    properties = [f["properties"] for f in document["features"]]
    assert [p["class_name"] for p in properties] == names
    assert [p["area_m2"] for p in properties] == [0.1 + 0.2, None, 5e-324]
    assert [p["inf"] for p in properties] == [None] * 3
    assert found.crs == 4326


def test_whole_numbers_stay_floats(tmp_path: Path, legend: Legend) -> None:
    _, found = written(tmp_path, legend, [shapely.box(0, 0, 1, 1)], 4326, area_m2=[100.0], large=[1e300])
    assert (found.area_m2.dtype, found.large.dtype, found.class_id.dtype) == (np.float64, np.float64, np.int32)


def test_shells_run_counter_clockwise_and_holes_clockwise(tmp_path: Path, legend: Legend) -> None:
    hole = shapely.box(2, 2, 3, 3).exterior.coords
    given_ = [
        shapely.Polygon(shapely.box(0, 0, 9, 9, ccw=ccw).exterior, [hole if turn else hole[::-1]])
        for ccw in (True, False)
        for turn in (True, False)
    ]
    document, _ = written(tmp_path, legend, given_, 4326)
    for feature in document["features"]:
        shell, inner = feature["geometry"]["coordinates"]
        assert shapely.is_ccw(shapely.LinearRing(shell))
        assert not shapely.is_ccw(shapely.LinearRing(inner))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(x=200_000.0, y=7_999_883.0, size=14_890.0)
@given(x=st.floats(2e5, 7e5), y=st.floats(1e6, 8e6), size=st.floats(0.1, 30_000))
def test_coordinates_are_those_of_proj_and_edges_shared(
    tmp_path: Path, legend: Legend, x: float, y: float, size: float
) -> None:
    boxes = shapely.box([x, x + size], y, [x + size, x + 2 * size], y + size)
    _, found = written(tmp_path, legend, boxes, 32633)
    to_lonlat = pyproj.Transformer.from_crs(32633, 4326, always_xy=True)
    lonlat = np.array(to_lonlat.transform(*shapely.get_coordinates(boxes[0]).T)).T
    corners = shapely.get_coordinates(found.geometry[0])
    gap = np.abs(corners[:, None] - lonlat).max(axis=2).min(axis=0)
    assert gap.max() < 0.6e-9
    assert shapely.coverage_is_valid(found.geometry.array)
    # Halfway along each edge, the line in longitude and latitude is where the line on the map is: a parallel of 1000 m
    # at 72.4 degrees is off by its length squared x tan(latitude) / 8 radii of the earth, 0.062 m.
    middle = (corners[1:] + corners[:-1]) / 2
    to_map = pyproj.Transformer.from_crs(4326, 32633, always_xy=True)
    on_map = shapely.points(np.array(to_map.transform(*middle.T)).T)
    assert shapely.distance(on_map, boxes[0].exterior).max() < 0.065
    lengths = np.hypot(*np.diff(np.array(to_map.transform(*corners.T)), axis=1))
    assert lengths.max() < LONGEST_M + 0.01


ANTIMERIDIAN = {
    "UTM zone 1 west of its edge": (32601, shapely.box(240_000, 5_000_000, 290_000, 5_030_000)),
    "polar stereographic": (3413, shapely.box(-1_800_000, 1_700_000, -1_700_000, 1_800_000)),
    "longitudes up to 360": (4326, shapely.box(170, 10, 190, 20)),
    "longitudes below -180": (4326, shapely.box(-190, 10, -170, 20)),
    "Pacific Mercator": (3832, shapely.box(3_000_000, 0, 4_000_000, 1_000_000)),
}


@pytest.mark.parametrize("case", ANTIMERIDIAN)
def test_polygons_are_cut_at_the_antimeridian(tmp_path: Path, legend: Legend, case: str) -> None:
    crs, shape = ANTIMERIDIAN[case]
    west, south, east, north = shape.bounds
    hole = shapely.box(west + (east - west) / 4, south + (north - south) / 4, east - (east - west) / 4, north - 1e-3)
    meant = shapely.Polygon(shape.exterior, [hole.exterior.coords])
    document, found = written(tmp_path, legend, [meant], crs)
    assert document["features"][0]["geometry"]["type"] == "MultiPolygon"
    cut = found.geometry[0]
    assert shapely.is_valid(cut)
    left, _, right, _ = cut.bounds
    assert (left, right) == (-180, 180)
    for part in cut.geoms:
        assert part.bounds[2] - part.bounds[0] < 90
        assert shapely.is_ccw(part.exterior)
    geod = pyproj.Geod(ellps="WGS84")
    area = sum(abs(geod.geometry_area_perimeter(part)[0]) for part in cut.geoms)
    to_lonlat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    dense = meant.segmentize(max(east - west, north - south) / 500)
    same = shapely.transform(shapely.orient_polygons(dense), lambda xy: np.array(to_lonlat.transform(*xy.T)).T)
    assert area == pytest.approx(abs(geod.geometry_area_perimeter(same)[0]), rel=5e-3)


_SQUARE = shapely.box(-1e5, -1e5, 1e5, 1e5)
_AROUND = shapely.box(-4e4, -5e4, 4e4, 3e4)
POLE = {
    "inside": [_SQUARE],
    "in the hole of one and inside another": [shapely.difference(_SQUARE, _AROUND), _AROUND],
    "at corners and on an edge": [
        shapely.box(-1e5, -1e5, 0, 0), shapely.box(0, -1e5, 1e5, 0), shapely.box(-1e5, 0, 1e5, 1e5),
    ],
    "at the corner of a hole": [
        shapely.difference(_SQUARE, shapely.box(0, 0, 5e4, 5e4)), shapely.box(0, 0, 5e4, 5e4),
    ],
    "beside holes, one of them on the antimeridian": [
        shapely.difference(_SQUARE, shapely.MultiPolygon([shapely.box(-9e4, y, -5e4, y + 3e4) for y in (-7e4, 5e4)])),
        shapely.box(-9e4, -7e4, -5e4, -4e4), shapely.box(-9e4, 5e4, -5e4, 8e4), shapely.box(2e5, 2e5, 3e5, 3e5),
    ],
}  # fmt: skip


@pytest.mark.parametrize("crs", [3413, 3995, 3031])
@pytest.mark.parametrize("case", POLE)
def test_polygons_at_a_pole_are_closed_along_it(tmp_path: Path, legend: Legend, case: str, crs: int) -> None:
    shapes = np.array(POLE[case])
    _, found = written(tmp_path, legend, list(shapes), crs)
    pole = -90 if crs == 3031 else 90
    assert shapely.is_valid(found.geometry.array).all()
    assert shapely.coverage_is_valid(found.geometry.array)
    west, south, east, north = found.total_bounds
    assert (west, east) == (-180, 180)
    assert pole in (south, north)
    # on planes of equal area, one for the map and one for longitude and latitude
    planes = [f"+proj=laea +lat_0={pole} +ellps=WGS84", "EPSG:6933"]
    areas = []
    for source, plane, each in zip((crs, 4326), planes, (shapes, found.geometry.array), strict=True):
        to_plane = pyproj.Transformer.from_crs(source, plane, always_xy=True)
        dense = shapely.segmentize(np.asarray(each), 500 if source == crs else 0.1)
        areas.append(shapely.area(shapely.transform(dense, lambda xy, by=to_plane: np.array(by.transform(*xy.T)).T)))
    np.testing.assert_allclose(areas[1], areas[0], rtol=1e-3)
    # and each lies where it is on the map
    to_map = pyproj.Transformer.from_crs(4326, crs, always_xy=True)
    for shape, lonlat in zip(shapes, found.geometry, strict=True):
        parts = shapely.get_parts([lonlat])
        points = shapely.get_coordinates(shapely.point_on_surface(parts))
        assert shapely.contains_xy(shape, *to_map.transform(*points.T)).all()


def test_polygons_beside_the_antimeridian_are_not_cut(tmp_path: Path, legend: Legend) -> None:
    boxes = shapely.box([170, 180, -180, -190, 200], 0, [180, 190, -170, -180, 210], 5)
    document, found = written(tmp_path, legend, boxes, 4326)
    assert {f["geometry"]["type"] for f in document["features"]} == {"Polygon"}
    edges = [b[::2] for b in shapely.bounds(found.geometry.array).tolist()]
    assert edges == [[170, 180], [-180, -170], [-180, -170], [170, 180], [-160, -150]]


def test_the_whole_world_is_not_cut(tmp_path: Path, legend: Legend) -> None:
    for crs, edge in ((4326, 180.0), (3857, 20037508.342789244)):
        document, found = written(tmp_path, legend, [shapely.box(-edge, -edge / 3, edge, edge / 3)], crs)
        assert document["features"][0]["geometry"]["type"] == "Polygon"
        assert found.total_bounds[[0, 2]].tolist() == [-180, 180]


@pytest.mark.parametrize(
    ("crs", "shape", "match"),
    [
        (None, shapely.box(0, 0, 1, 1), "the polygons have no CRS: assign one first or choose another format"),
        (
            pyproj.CRS('LOCAL_CS["site",UNIT["metre",1],AXIS["e",EAST],AXIS["n",NORTH]]'),
            shapely.box(0, 0, 1, 1),
            "to which nothing leads from site: choose another format",
        ),
        (4326, shapely.box(-300, 0, 300, 1), "a polygon is wider than the world"),
        ("+proj=ortho", shapely.box(3e7, 0, 4e7, 1e6), "has no longitude and latitude: choose another format"),
    ],
)
def test_what_has_no_place_in_geojson_is_refused(
    tmp_path: Path, legend: Legend, crs: Any, shape: Any, match: str
) -> None:
    with pytest.raises(ParameterError, match=match):
        written(tmp_path, legend, [shape], crs)
    assert not list(tmp_path.iterdir())
