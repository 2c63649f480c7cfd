"""Polygons: every format gives back what was written, and QGIS finds its style."""

import dataclasses
import hashlib
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
from geoseg.outputs import vectors_shp
from geoseg.outputs.vectors import FORMATS, Context, VectorFormat, write_polygons
from geoseg.outputs.vectors_check import Tally, check_crs
from geoseg.outputs.vectors_ogr import open_ogr
from geoseg.vector.features import Features, regrouped
from geoseg.vector.wkb import wkb_counts


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
    if format_ == "geojson":
        assert found.crs == 4326
        found = found.to_crs(meant.crs)
        assert shapely.area(found.geometry).sum() == pytest.approx(shapely.area(meant.geometry).sum(), rel=1e-6)
        found = found.set_geometry(meant.geometry)  # the order is the one that was given
    assert found.crs == meant.crs
    assert shapely.area(found.geometry).sum() == pytest.approx(shapely.area(meant.geometry).sum(), rel=1e-12)
    for name in meant.columns.drop("geometry"):
        wanted, got = sorted(meant[name]), sorted(found[name])
        assert wanted == got if name.startswith("class") else np.allclose(wanted, got, rtol=1e-9)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_names_may_have_characters_of_addresses(tmp_path: Path, legend: Legend, format_: str) -> None:
    folder = tmp_path / "maps!; 1"
    folder.mkdir()
    suffix = FORMATS[format_].suffix
    path = folder / f"to be sent!; 1\n{suffix}"
    write_polygons(squares(5, legend), path, format=format_, legend=legend)
    # others may not open it by this name
    for file in list(folder.iterdir()):
        file.rename(tmp_path / f"plain{file.name.removeprefix(path.stem)}")
    assert len(read(tmp_path / f"plain{suffix}")) == 5


def test_an_empty_map_gives_an_empty_layer(tmp_path: Path, legend: Legend, format_: str) -> None:
    path = tmp_path / f"s{FORMATS[format_].suffix}"
    write_polygons(squares(3, legend).iloc[:0], path, format=format_, legend=legend)
    found = read(path)
    assert len(found) == 0
    # GeoJSON has columns only where it has features
    columns = [] if format_ == "geojson" else ["class_id", "class_name", "area_m2", "perim_m", "mean_conf"]
    assert list(found.columns) == [*columns, "geometry"]
    assert found.crs.to_epsg() == (4326 if format_ == "geojson" else 32633)


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


def test_pages_of_a_geopackage_are_large_unless_the_user_has_set_them(tmp_path: Path, legend: Legend) -> None:
    def page_size(name: str) -> int:
        write_polygons(squares(5, legend), tmp_path / name, format="gpkg", legend=legend)
        with closing(sqlite3.connect(tmp_path / name)) as db:
            return int(db.execute("PRAGMA page_size").fetchone()[0])

    assert page_size("ours.gpkg") == 32768
    pyogrio.set_gdal_config_options({"OGR_SQLITE_PRAGMA": "page_size=8192"})
    try:
        assert page_size("theirs.gpkg") == 8192
        assert pyogrio.get_gdal_config_option("OGR_SQLITE_PRAGMA") == "page_size=8192"
    finally:
        pyogrio.set_gdal_config_options({"OGR_SQLITE_PRAGMA": None})


def test_a_checksum_is_taken_unless_none_is_asked_for(tmp_path: Path, legend: Legend) -> None:
    path = tmp_path / "p.gpkg"
    with_one = write_polygons(squares(5, legend), path, format="gpkg", legend=legend)
    assert with_one.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert write_polygons(squares(5, legend), path, format="gpkg", legend=legend, checksum=False).sha256 == ""


@pytest.mark.parametrize("name", ["shp", "fgb", "geojson"])
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


def test_the_log_of_an_old_geopackage_is_not_written_into_the_new_one(tmp_path: Path, legend: Legend) -> None:
    path = tmp_path / "s.gpkg"
    write_polygons(squares(4000, legend), path, format="gpkg", legend=legend)
    with closing(sqlite3.connect(path)) as db:  # as QGIS has it open, and leaves it when it crashes
        db.execute("PRAGMA journal_mode = wal")
        db.execute("UPDATE layer_styles SET description = 'mine'")
        db.execute("CREATE TABLE theirs AS SELECT * FROM landcover")
        db.commit()
        log = Path(f"{path}-wal").read_bytes()
    Path(f"{path}-wal").write_bytes(log)
    write_polygons(squares(5000, legend), path, format="gpkg", legend=legend)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(read(path)) == 5000
    assert [p.name for p in tmp_path.iterdir()] == ["s.gpkg"]


def test_the_index_of_an_old_shapefile_hides_nothing_of_the_new_one(tmp_path: Path, legend: Legend) -> None:
    path = tmp_path / "s.shp"
    pyogrio.write_dataframe(squares(400, legend), path, SPATIAL_INDEX="YES")
    assert path.with_suffix(".qix").exists()
    new = squares(57, legend)
    write_polygons(new, path, format="shp", legend=legend)
    assert len(pyogrio.read_dataframe(path, bbox=tuple(new.total_bounds))) == 57
    assert {p.suffix for p in tmp_path.iterdir()} == {".shp", ".shx", ".dbf", ".prj", ".cpg", ".qml"}


def tally_of(gdf: Any) -> Tally:
    features = Features.of(gdf)
    tally = Tally(features.schema)
    for batch in features.batches():
        tally.add(batch)
    return tally


def check(meant: Any, found: Any, *, rows: int = 5) -> None:
    """Compare two GeoDataFrames as a written file is compared."""
    features = Features.of(found)
    batches = regrouped(features.batches(), rows=rows)
    tally_of(meant).check(batches, features.schema.names, found.total_bounds if len(found) else None)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda g: g.iloc[1:], "8 of 9 features"),
        (lambda g: g.assign(class_id=g.class_id.to_numpy()[::-1]), "column class_id"),
        (lambda g: g.assign(class_id=g.class_id + 0.5), "column class_id are not of kind integer"),
        (lambda g: g.assign(area_m2=np.nextafter(g.area_m2, 0)), "column area_m2"),
        (lambda g: g.assign(mean_conf=[np.nan, *g.mean_conf[1:]]), "column mean_conf"),
        (lambda g: g.assign(class_name="x"), "column class_name"),
        (lambda g: g.drop(columns="perim_m"), "column perim_m did not read back"),
        (lambda g: g.set_geometry(g.geometry.translate(1e-9, 0)), "outlines of some features"),
        (lambda g: g.set_geometry(g.geometry.exterior.map(shapely.Polygon)), "outlines of some features"),
        (lambda g: g.set_geometry(g.geometry.map(as_two_shells)), "outlines of some features"),
    ],
)
def test_a_difference_is_seen(legend: Legend, change: Any, match: str) -> None:
    meant = squares(12, legend)
    meant = meant[meant.geometry.geom_type == "Polygon"].iloc[:9].reset_index(drop=True)
    check(meant, meant.iloc[::-1])
    with pytest.raises(OutputError, match=match):
        check(meant, change(meant))


def as_two_shells(polygon: Any) -> Any:
    """The hole of a polygon as a polygon of its own: the same rings."""
    return shapely.MultiPolygon([shapely.Polygon(polygon.exterior), shapely.Polygon(polygon.interiors[0])])


def test_values_that_change_places_between_equal_outlines_are_seen() -> None:
    meant = gpd.GeoDataFrame({"a": [1, 2], "b": ["x", "y"]}, geometry=[shapely.box(0, 0, 1, 1)] * 2)
    with pytest.raises(OutputError, match="values of some features read back as those of others"):
        check(meant, meant.assign(b=["y", "x"]))


def test_a_file_that_states_other_bounds_is_seen(legend: Legend) -> None:
    meant = squares(9, legend)
    features = Features.of(meant)
    with pytest.raises(OutputError, match=r"the file states the bounds \[0.0, 0.0, 1.0, 1.0\] for"):
        tally_of(meant).check(features.batches(), features.schema.names, (0, 0, 1, 1))


def test_another_crs_is_seen() -> None:
    check_crs(pyproj.CRS(32633), pyproj.CRS.from_wkt(pyproj.CRS(32633).to_wkt()))
    check_crs(None, None)
    for found in (pyproj.CRS(32634), None):
        with pytest.raises(OutputError, match="the CRS read back as"):
            check_crs(pyproj.CRS(32633), found)


@given(cut=st.integers(1, 30), n=st.integers(0, 30), n_bytes=st.integers(1, 9000))
def test_sums_do_not_depend_on_batches_and_order(legend: Legend, cut: int, n: int, n_bytes: int) -> None:
    meant = squares(n, legend)
    features = Features.of(meant.sample(frac=1, random_state=cut))
    batches = list(regrouped(features.batches(), rows=cut, n_bytes=n_bytes))[::-1]
    tally_of(meant).check(batches, features.schema.names)
    assert sum(map(len, batches)) == n


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_truncated_file_does_not_pass(
    tmp_path: Path, legend: Legend, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])

    spoil(monkeypatch, name, cut)
    with pytest.raises(OutputError, match=r"cannot write|read back"):
        write_polygons(squares(400, legend), tmp_path / f"s{FORMATS[name].suffix}", format=name, legend=legend)
    assert not list(tmp_path.iterdir())


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, damage: Any) -> None:
    """Let a format do damage to its file once it is written."""
    kind = FORMATS[name]

    def write(features: Features, path: Path, context: Context) -> None:
        kind.write(features, path, context)
        damage(path)

    monkeypatch.setitem(FORMATS, name, dataclasses.replace(kind, write=write))


@pytest.mark.filterwarnings("ignore")  # GDAL has much to say about damaged files
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_seen_or_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, legend: Legend, format_: str, where: float, bit: int
) -> None:
    meant = squares(30, legend)
    path = tmp_path_factory.mktemp("flip") / f"s{FORMATS[format_].suffix}"
    write_polygons(meant, path, format=format_, legend=legend)
    whole = read(path)

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(where * len(data))] ^= 1 << bit
        path.write_bytes(data)

    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, format_, flip)
        try:
            write_polygons(meant, path, format=format_, legend=legend)
        except OutputError:
            return
    found = read(path)
    assert list(found.columns) == list(whole.columns)
    for name in whole.columns.drop("geometry"):
        assert whole[name].equals(found[name])
    assert shapely.equals_identical(found.geometry.array, whole.geometry.array).all()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE landcover SET area_m2 = area_m2 * 1.0000001 WHERE fid = 7",
        "UPDATE landcover SET class_name = 'x' WHERE fid = 7",
        "UPDATE landcover SET mean_conf = NULL WHERE fid = 7",
        "UPDATE gpkg_contents SET max_x = max_x + 1",
        "DROP TABLE rtree_landcover_geom",
        "DELETE FROM layer_styles",
        "UPDATE gpkg_geometry_columns SET srs_id = -1",
    ],
)
def test_a_changed_geopackage_does_not_pass(
    tmp_path: Path, legend: Legend, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db, db:
            triggers = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
            for trigger in triggers:  # they call functions of GDAL's
                db.execute(f'DROP TRIGGER "{trigger}"')
            db.execute(statement)

    spoil(monkeypatch, "gpkg", change)
    with pytest.raises(OutputError, match=r"read back|damaged|states the bounds|cannot write"):
        write_polygons(squares(20, legend), tmp_path / "s.gpkg", format="gpkg", legend=legend)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frame", "path", "name", "match"),
    [
        (lambda g: g, "s.xyz", "xyz", "no polygon format 'xyz': choose one of fgb, geojson, gpkg, parquet, shp"),
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
    monkeypatch.setattr(vectors_shp, "SHAPEFILE_LIMIT", 5000)
    with pytest.raises(OutputError, match=r"50 polygons make a shapefile of .* choose --format gpkg"):
        write_polygons(squares(50, legend), tmp_path / "s.shp", format="shp", legend=legend)
    assert not list(tmp_path.iterdir())


def test_a_shapefile_is_given_up_at_the_batch_that_passes_the_limit(
    tmp_path: Path, legend: Legend, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Features.of(squares(9, legend))
    (batch,) = given.batches()
    asked = []

    def batches() -> Any:
        for i in range(40_000):
            asked.append(i)
            yield batch

    monkeypatch.setattr(vectors_shp, "SHAPEFILE_LIMIT", 30_000_000)
    with pytest.raises(OutputError, match="choose --format gpkg"):
        write_polygons(dataclasses.replace(given, batches=batches), tmp_path / "s.shp", format="shp", legend=legend)
    assert not list(tmp_path.iterdir())
    assert len(asked) < 35_000


def test_a_shapefile_is_as_large_as_estimated(tmp_path: Path, legend: Legend) -> None:
    meant = squares(50, legend)
    write_polygons(meant, tmp_path / "s.shp", format="shp", legend=legend)
    (batch,) = Features.of(meant).batches()
    _, rings, vertices = wkb_counts(batch.column("geometry")).sum(axis=0)
    assert (tmp_path / "s.shp").stat().st_size == 100 + 52 * 50 + 4 * rings + 16 * vertices
    assert (tmp_path / "s.dbf").stat().st_size < 50 * (80 + 4 * 24) + 1000


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(1e-3, 1e12) | st.floats(-1e22, 1e22), min_size=1, max_size=30))
def test_a_shapefile_keeps_numbers_to_1e_9(tmp_path: Path, legend: Legend, values: list[float]) -> None:
    meant = gpd.GeoDataFrame({"area_m2": values}, geometry=[shapely.box(0, 0, 1, 1)] * len(values), crs=32633)
    write_polygons(meant, tmp_path / "s.shp", format="shp", legend=legend)
    np.testing.assert_allclose(read(tmp_path / "s.shp").area_m2, values, rtol=1e-14, atol=1e-15)


def test_a_class_name_too_long_for_a_shapefile_is_refused(tmp_path: Path) -> None:
    long = Legend(classes=(LegendClass(value=1, name="é" * 128, color="#000000"),))
    with pytest.raises(OutputError, match="a text of 256 bytes in class_name does not fit a shapefile"):
        write_polygons(squares(2, long), tmp_path / "s.shp", format="shp", legend=long)
    write_polygons(squares(2, long), tmp_path / "s.gpkg", format="gpkg", legend=long)


def test_a_stranger_adds_a_format_in_one_place(tmp_path: Path, legend: Legend, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = VectorFormat(
        suffix=".geojsonl",
        write=lambda features, path, context: pyogrio.write_dataframe(
            features.to_geodataframe(), path, driver="GeoJSONSeq", layer=context.layer
        ),
        open=open_ogr,
    )
    monkeypatch.setitem(FORMATS, "geojsonl", lines)
    corners = squares(3, legend).set_crs(4326, allow_override=True)
    corners = corners.set_geometry(shapely.set_precision(corners.geometry.scale(0.01, 0.01).array, 0.5))
    write_polygons(corners.iloc[:3], tmp_path / "s.geojsonl", format="geojsonl", legend=legend)
    assert (tmp_path / "s.geojsonl").exists()
