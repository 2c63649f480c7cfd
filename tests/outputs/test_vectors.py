"""Polygons: every format gives back what was written, and QGIS finds its style."""

import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.errors import OutputError, ParameterError
from geoseg.legend import Legend, LegendClass
from geoseg.outputs import vectors
from geoseg.outputs.vectors import FORMATS, VectorFormat, write_polygons
from geoseg.outputs.vectors_check import check_features, geometry_hashes


def squares(n: int, legend: Legend, *, seed: int = 0) -> Any:
    """Squares with a hole; every tenth feature is of two squares."""
    rng = np.random.default_rng(seed)
    geometries = []
    for i, (x, y, s) in enumerate(rng.random((n, 3)) * 1000):
        hole = [(x + s / 4, y + s / 4), (x + s / 2, y + s / 4), (x + s / 2, y + s / 2)]
        square = shapely.Polygon([(x, y), (x + s, y), (x + s, y + s), (x, y + s)], [hole])
        geometries.append(
            shapely.MultiPolygon([square, shapely.box(x - 9, y, x - 8, y + 1)]) if i % 10 == 3 else square
        )
    classes = rng.integers(0, len(legend), n)
    columns = {
        "class_id": np.array(legend.values, np.uint8)[classes],
        "class_name": [legend.names[c] for c in classes],
        "area_m2": rng.random(n) * 1e10,
        "perim_m": rng.random(n) / 3,
        "mean_conf": rng.random(n) * 100,
    }
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(geometries, crs=32633), crs=32633)


def read(path: Path) -> Any:
    if path.suffix == ".parquet":
        return gpd.read_parquet(path)
    return pyogrio.read_dataframe(path, **({"layer": "landcover"} if path.suffix == ".gpkg" else {}))


@pytest.fixture(params=sorted(FORMATS))
def format_(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_features_come_back(tmp_path: Path, legend: Legend, format_: str) -> None:
    meant = squares(57, legend)
    path = tmp_path / f"s_polygons{FORMATS[format_].suffix}"
    published = write_polygons(meant, path, format=format_, legend=legend, metadata={"model": "m", "note": "é <x>"})
    found = read(path)
    assert published.size == path.stat().st_size
    assert found.crs == meant.crs
    assert shapely.area(found.geometry).sum() == pytest.approx(shapely.area(meant.geometry).sum(), rel=1e-12)
    for name in meant.columns.drop("geometry"):
        wanted, got = sorted(meant[name]), sorted(found[name])
        assert wanted == got if name.startswith("class") else np.allclose(wanted, got, rtol=1e-9)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_an_empty_map_gives_an_empty_layer(tmp_path: Path, legend: Legend, format_: str) -> None:
    path = tmp_path / f"s{FORMATS[format_].suffix}"
    write_polygons(squares(3, legend).iloc[:0], path, format=format_, legend=legend)
    found = read(path)
    assert len(found) == 0
    assert list(found.columns) == ["class_id", "class_name", "area_m2", "perim_m", "mean_conf", "geometry"]
    assert found.crs.to_epsg() == 32633


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(0, 40), seed=st.integers(0, 1000))
def test_any_number_of_features_reads_back(tmp_path: Path, legend: Legend, format_: str, n: int, seed: int) -> None:
    path = tmp_path / f"s{FORMATS[format_].suffix}"
    write_polygons(squares(n, legend, seed=seed), path, format=format_, legend=legend)
    assert len(read(path)) == n


@pytest.mark.parametrize("name", ["gpkg", "fgb", "parquet"])
@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:4326",
        "EPSG:3035",
        "ESRI:54008",
        "+proj=longlat +a=6371229 +b=6371229 +no_defs",
        "+proj=lcc +lat_1=25 +lat_0=25 +lon_0=265 +R=6371200 +units=m +no_defs",
        "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371229 +no_defs",
        'LOCAL_CS["site",UNIT["metre",1],AXIS["e",EAST],AXIS["n",NORTH]]',
    ],
)
def test_unusual_crs_come_back(tmp_path: Path, legend: Legend, name: str, crs: str) -> None:
    meant = squares(5, legend).set_crs(pyproj.CRS(crs), allow_override=True)
    path = tmp_path / f"s{FORMATS[name].suffix}"
    write_polygons(meant, path, format=name, legend=legend)
    assert read(path).crs is not None


def test_the_geopackage_carries_style_index_and_provenance(tmp_path: Path, legend: Legend) -> None:
    path = tmp_path / "s_polygons.gpkg"
    write_polygons(squares(20, legend), path, format="gpkg", legend=legend, metadata={"model": "m é"})
    info = pyogrio.read_info(path, layer="landcover")
    assert (info["geometry_type"], info["layer_metadata"]["model"]) == ("MultiPolygon", "m é")
    with closing(sqlite3.connect(path)) as db:
        style = db.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchone()
        columns = [row[1] for row in db.execute("PRAGMA table_info(layer_styles)")]
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master")]
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert db.execute("SELECT data_type FROM gpkg_contents WHERE table_name = 'layer_styles'").fetchone() == (
            "attributes",
        )
    assert style[:3] == ("landcover", "geom", 1)
    assert {"f_table_catalog", "f_table_schema", "styleName", "styleSLD", "owner", "ui", "update_time"} <= set(columns)
    assert "rtree_landcover_geom" in tables
    qml = ET.fromstring(style[3])
    assert [(c.get("value"), c.get("label")) for c in qml.iter("category")] == [(str(c.value), c.name) for c in legend]
    assert qml.find("renderer-v2").attrib["attr"] == "class_id"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["shp", "fgb"])
def test_a_style_lies_beside_formats_that_cannot_carry_one(tmp_path: Path, legend: Legend, name: str) -> None:
    published = write_polygons(squares(3, legend), tmp_path / f"s.{name}", format=name, legend=legend)
    assert tmp_path / "s.qml" in published.sides
    if name == "shp":
        assert sorted(p.suffix for p in published.sides) == [".cpg", ".dbf", ".prj", ".qml", ".shx"]
        assert (tmp_path / "s.cpg").read_text() == "UTF-8"


def test_geoparquet_has_a_bbox_covering_and_provenance(tmp_path: Path, legend: Legend) -> None:
    import pyarrow.parquet as pq

    write_polygons(squares(3, legend), tmp_path / "s.parquet", format="parquet", legend=legend, metadata={"model": "m"})
    geo = pq.read_schema(tmp_path / "s.parquet").metadata[b"geo"]
    assert b'"version": "1.1.0"' in geo
    assert b'"covering"' in geo
    assert gpd.read_parquet(tmp_path / "s.parquet").attrs == {"model": "m"}


def test_overwriting_leaves_no_file_of_the_old_set(tmp_path: Path, legend: Legend) -> None:
    for n in (40, 3):
        write_polygons(squares(n, legend), tmp_path / "s.shp", format="shp", legend=legend)
    assert len(read(tmp_path / "s.shp")) == 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda g: g.iloc[1:], "8 of 9 features"),
        (lambda g: g.assign(class_id=g.class_id.to_numpy()[::-1]), "column class_id"),
        (lambda g: g.assign(area_m2=np.nextafter(g.area_m2, 0)), "column area_m2"),
        (lambda g: g.assign(class_name="x"), "column class_name"),
        (lambda g: g.drop(columns="perim_m"), "column perim_m did not read back"),
        (lambda g: g.set_geometry(g.geometry.translate(1e-9, 0)), "outlines of some features"),
        (lambda g: g.set_geometry(g.geometry.exterior.map(shapely.Polygon)), "outlines of some features"),
        (lambda g: g.to_crs(32634), "the CRS read back as EPSG:32634"),
    ],
)
def test_a_difference_is_seen(legend: Legend, change: Any, match: str) -> None:
    meant = squares(12, legend)
    meant = meant[meant.geometry.geom_type == "Polygon"].iloc[:9].reset_index(drop=True)
    check_features(meant, meant.iloc[::-1], float_tolerance=0, crs=True)
    with pytest.raises(OutputError, match=match):
        check_features(meant, change(meant), float_tolerance=0, crs=True)


@pytest.mark.parametrize("name", ["gpkg", "shp", "fgb", "parquet"])
def test_a_truncated_file_does_not_pass(
    tmp_path: Path, legend: Legend, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = FORMATS[name]

    def write(gdf: Any, path: Path, context: vectors.Context) -> None:
        kind.write(gdf, path, context)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])

    monkeypatch.setitem(FORMATS, name, dataclasses.replace(kind, write=write))
    with pytest.raises(OutputError, match=r"cannot write|read back"):
        write_polygons(squares(400, legend), tmp_path / f"s{kind.suffix}", format=name, legend=legend)
    assert not list(tmp_path.iterdir())


def test_hashes_do_not_see_the_direction_and_order_of_rings() -> None:
    a = shapely.Polygon([(0, 0), (9, 0), (9, 9)], [[(5, 1), (6, 1), (6, 2)], [(7, 1), (8, 1), (8, 2)]])
    b = shapely.Polygon(list(a.exterior.coords)[::-1], [a.interiors[1].coords, a.interiors[0].coords])
    assert geometry_hashes(np.array([a])) == geometry_hashes(np.array([b]))
    assert geometry_hashes(np.array([a])) != geometry_hashes(np.array([shapely.Polygon(a.exterior)]))
    assert geometry_hashes(np.array([a, b])).shape == (2,)


@pytest.mark.parametrize(
    ("frame", "path", "name", "match"),
    [
        (lambda g: g, "s.xyz", "xyz", "no polygon format 'xyz': choose one of fgb, gpkg, parquet, shp"),
        (lambda g: g, "s.shp", "gpkg", r"s\.shp does not end with \.gpkg"),
        (lambda g: g.rename(columns={"area_m2": "area_of_it_m2"}), "s.shp", "shp", "rename 'area_of_it_m2' first"),
        (lambda g: g.set_geometry(g.geometry.centroid), "s.gpkg", "gpkg", "2 of 2 rows have no polygon"),
        (lambda g: g.set_geometry([None] * len(g)), "s.gpkg", "gpkg", "2 of 2 rows have no polygon"),
        (lambda g: g.set_geometry([shapely.Polygon()] * len(g)), "s.gpkg", "gpkg", "or an empty one: drop them first"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, legend: Legend, frame: Any, path: str, name: str, match: str
) -> None:
    with pytest.raises(ParameterError, match=match):
        write_polygons(frame(squares(2, legend)), tmp_path / path, format=name, legend=legend)
    assert not list(tmp_path.iterdir())


def test_a_shapefile_that_would_be_too_large_is_refused_before_it_is_written(
    tmp_path: Path, legend: Legend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "SHAPEFILE_LIMIT", 5000)
    with pytest.raises(OutputError, match=r"50 polygons make a shapefile of .* choose --format gpkg"):
        write_polygons(squares(50, legend), tmp_path / "s.shp", format="shp", legend=legend)


def test_a_class_name_too_long_for_a_shapefile_is_refused(tmp_path: Path) -> None:
    long = Legend(classes=(LegendClass(value=1, name="é" * 128, color="#000000"),))
    with pytest.raises(OutputError, match="a text of 256 bytes in class_name does not fit a shapefile"):
        write_polygons(squares(2, long), tmp_path / "s.shp", format="shp", legend=long)
    write_polygons(squares(2, long), tmp_path / "s.gpkg", format="gpkg", legend=long)


def test_a_stranger_adds_a_format_in_one_place(tmp_path: Path, legend: Legend, monkeypatch: pytest.MonkeyPatch) -> None:
    geojson = VectorFormat(
        suffix=".geojson",
        write=lambda gdf, path, context: pyogrio.write_dataframe(gdf, path, driver="GeoJSON", layer=context.layer),
        read=lambda path, _: pyogrio.read_dataframe(path),
        float_tolerance=1e-9,
    )
    monkeypatch.setitem(FORMATS, "geojson", geojson)
    corners = squares(3, legend).set_crs(4326, allow_override=True)
    corners = corners.set_geometry(shapely.set_precision(corners.geometry.array, 0.5))
    write_polygons(
        corners[corners.geometry.geom_type == "Polygon"], tmp_path / "s.geojson", format="geojson", legend=legend
    )
    assert (tmp_path / "s.geojson").exists()
