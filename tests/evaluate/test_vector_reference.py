"""References of polygons and points."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from geoseg.errors import InputError, ParameterError
from geoseg.evaluate.vector_reference import is_vector, read_vector_reference
from geoseg.inference.lattice import Block, blocks
from tests.evaluate.conftest import UTM

GRID = GeoBox((60, 80), UTM, "EPSG:32633")


def polygons(column: str, labels: list[Any]) -> gpd.GeoDataFrame:
    rng = np.random.default_rng(5)
    centres = rng.uniform([500_000, 4_999_400], [500_800, 5_000_000], (len(labels), 2))
    shapes = [shapely.Point(*c).buffer(90, quad_segs=3) for c in centres]
    return gpd.GeoDataFrame({column: labels}, geometry=shapes, crs="EPSG:32633")


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
def test_polygons_are_rasterized_by_pixel_centres_in_any_cut_and_crs(tmp_path: Path, crs: str) -> None:
    frame = polygons("kind", ["wet", "Dry", "wet", "dry", "bare", "wet"])
    frame.to_crs(crs).to_file(tmp_path / "a.gpkg")
    found = read_vector_reference(f"{tmp_path / 'a.gpkg'}:a", column="kind").on(GRID)
    assert (found.named, found.legend.names) == (True, ("wet", "Dry", "bare"))
    whole = found.read(Block(row_off=0, col_off=0, height=60, width=80))[0]
    # those that come first in the file lie below
    order = {"wet": 1, "dry": 2, "bare": 3}
    shapes = [(g, order[k.casefold()]) for g, k in zip(frame.geometry, frame.kind, strict=True)]
    expected = rasterize(shapes, out_shape=(60, 80), transform=UTM, fill=255, dtype="uint8")
    np.testing.assert_array_equal(whole, expected)
    for b in blocks(60, 80, block_height=17, block_width=23):
        part = whole[b.row_off : b.row_end, b.col_off : b.col_end]
        np.testing.assert_array_equal(found.read(b)[0], part)


def test_numbers_are_values_without_names_and_points_are_the_pixels_that_hold_them(tmp_path: Path) -> None:
    points = gpd.GeoDataFrame(
        {"class": [3, 1, None, 2]},
        geometry=gpd.points_from_xy([500_005, 500_795, 500_100, 600_000], [4_999_995, 4_999_405, 4_999_900, 5_000_000]),
        crs="EPSG:32633",
    )
    points.to_file(tmp_path / "p.geojson", driver="GeoJSON")
    found = read_vector_reference(str(tmp_path / "p.geojson"), column="class").on(GRID)
    assert (found.named, found.legend.values) == (False, (1, 2, 3))
    whole = found.read(Block(row_off=0, col_off=0, height=60, width=80))[0]
    assert [tuple(map(int, at)) for at in np.argwhere(whole != 255)] == [(0, 0), (59, 79)]
    assert (whole[0, 0], whole[59, 79]) == (3, 1)


def test_a_file_that_cannot_be_a_reference_is_refused_with_the_reason(tmp_path: Path) -> None:
    frame = polygons("kind", ["a", "b"])
    frame.to_file(tmp_path / "a.gpkg")
    with pytest.raises(ParameterError, match="has no column 'class'"):
        read_vector_reference(str(tmp_path / "a.gpkg"), column="class")
    far = read_vector_reference(str(tmp_path / "a.gpkg"), column="kind")
    with pytest.raises(InputError, match="has nothing on the map"):
        far.on(GeoBox((60, 80), UTM @ UTM.translation(1000, 0), "EPSG:32633"))
    lines = gpd.GeoDataFrame({"kind": ["a"]}, geometry=[shapely.LineString([(0, 0), (1, 1)])], crs="EPSG:32633")
    lines.to_file(tmp_path / "l.gpkg")
    with pytest.raises(InputError, match="polygon"):
        read_vector_reference(str(tmp_path / "l.gpkg"), column="kind")
    polygons("kind", [None, None]).to_file(tmp_path / "u.geojson", driver="GeoJSON")
    with pytest.raises(InputError, match="none of its polygons has a class"):
        read_vector_reference(str(tmp_path / "u.geojson"), column="kind")
    points = gpd.GeoDataFrame({"kind": [None]}, geometry=[shapely.Point(0, 0)], crs="EPSG:32633")
    points.to_file(tmp_path / "n.geojson", driver="GeoJSON")
    with pytest.raises(InputError, match="none of its points"):
        read_vector_reference(str(tmp_path / "n.geojson"), column="kind")


def test_vector_files_are_known_by_their_suffix() -> None:
    assert [is_vector(n) for n in ("a.gpkg", "a.GPKG:roads", "x/a.shp", "a.tif", "folder", "https://h/a.tif")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_what_no_polygon_covers_is_not_known_or_is_the_class_it_is_said_to_be(tmp_path: Path) -> None:
    polygons("kind", ["house", "house"]).to_file(tmp_path / "a.gpkg")
    block = Block(row_off=0, col_off=0, height=60, width=80)
    plain, rest = (
        read_vector_reference(str(tmp_path / "a.gpkg"), column="kind", elsewhere=elsewhere).on(GRID)
        for elsewhere in (None, "background")
    )
    assert (plain.legend.names, rest.legend.names) == (("house",), ("house", "background"))
    one, other = plain.read(block)[0], rest.read(block)[0]
    np.testing.assert_array_equal(other, np.where(one == 255, 2, one))
    assert set(np.unique(other)) == {1, 2}
    points = gpd.GeoDataFrame({"kind": ["house"]}, geometry=[shapely.Point(500_005, 4_999_995)], crs="EPSG:32633")
    points.to_file(tmp_path / "p.gpkg")
    with pytest.raises(ParameterError, match="leave --elsewhere out"):
        read_vector_reference(str(tmp_path / "p.gpkg"), column="kind", elsewhere="background")
