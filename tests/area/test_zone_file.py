"""Files of zones: formats, layers, columns, and what is not opened."""

import os
import shutil
import sqlite3
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from geoseg.area.vector_file import FORMATS
from geoseg.area.zone_file import read_zones
from geoseg.errors import GeosegError, InputError, ParameterError

FARMS = gpd.GeoDataFrame(
    {"name": ["Nord", "Süd", "West"], "no": np.array([3, 1, 2], dtype="int32"), "text": ["x"] * 3},
    geometry=[shapely.box(i, 50, i + 0.9, 51) for i in range(3)],
    crs=4326,
)


def written(path: Path, frame: gpd.GeoDataFrame = FARMS, layer: str | None = None) -> Path:
    if path.suffix in (".parquet", ".geoparquet"):
        frame.to_parquet(path)
    else:
        frame.to_file(path, **({} if layer is None else {"layer": layer}))
    return path


@pytest.mark.parametrize("suffix", [*FORMATS, ".GPKG", ".GeoJSON"])
def test_every_format_gives_the_same_zones(tmp_path: Path, suffix: str) -> None:
    made = written(tmp_path / f"farms{suffix.lower()}")
    path = made.rename(tmp_path / f"farms{suffix}")
    zones = read_zones(str(path), id_column="name")
    assert sorted(zones.ids) == ["Nord", "Süd", "West"]  # FlatGeobuf sorts by place
    assert zones.crs == FARMS.crs
    assert shapely.area(zones.geometries).tolist() == pytest.approx([0.9] * 3)
    assert zones.notes == ()
    assert read_zones(str(path), id_column="no").ids.dtype.kind == "i"


def test_one_layer_is_taken_and_styles_and_tables_are_none(tmp_path: Path) -> None:
    path = written(tmp_path / "farms.gpkg")
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, styleQML TEXT)")
        database.execute("CREATE TABLE owners (id INTEGER PRIMARY KEY, name TEXT)")
    database.close()
    assert len(read_zones(str(path), id_column="name")) == 3
    with pytest.raises(ParameterError, match=r"no layer of polygons 'owners': choose one of farms"):
        read_zones(f"{path}:owners", id_column="name")


def test_of_several_layers_one_is_to_be_named(tmp_path: Path) -> None:
    path = written(written(tmp_path / "land.gpkg", layer="farms"), FARMS.iloc[:1], layer="parks")
    with pytest.raises(InputError, match=r"has 2 layers, farms, parks: name one, for example .*land.gpkg:farms"):
        read_zones(str(path), id_column="name")
    assert len(read_zones(f"{path}:parks", id_column="name")) == 1
    assert len(read_zones(f"{path}:farms", id_column="name")) == 3


def test_a_file_with_a_colon_in_its_name_goes_before_a_layer(tmp_path: Path) -> None:
    written(tmp_path / "a.gpkg", FARMS.iloc[:1])
    made = written(tmp_path / "b.geojson")
    path = made.rename(tmp_path / "a.gpkg:b.geojson")
    assert len(read_zones(str(path), id_column="name")) == 3


def test_the_row_number_of_a_geopackage_may_be_the_name(tmp_path: Path) -> None:
    assert read_zones(str(written(tmp_path / "farms.gpkg")), id_column="fid").ids.tolist() == [1, 2, 3]


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson", ".fgb", ".parquet"])
def test_a_column_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"farms{suffix}")
    with pytest.raises(ParameterError, match="has no column 'parcel' of names: choose one of name, no, text"):
        read_zones(str(path), id_column="parcel")


def test_geometries_are_checked_as_in_a_table(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        nowhere = written(tmp_path / "nowhere.gpkg", FARMS.set_crs(None, allow_override=True))
    with pytest.raises(InputError, match=r"nowhere.gpkg has no CRS"):
        read_zones(str(nowhere), id_column="name")
    points = written(tmp_path / "points.gpkg", FARMS.set_geometry(shapely.centroid(FARMS.geometry.array)))
    with pytest.raises(InputError, match="3 geometries that are not polygons, such as a Point"):
        read_zones(str(points), id_column="name")
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    broken = written(tmp_path / "broken.gpkg", gpd.GeoDataFrame({"name": ["x"]}, geometry=[bow_tie], crs=4326))
    assert "1 zone had invalid geometries and was repaired: x" in read_zones(str(broken), id_column="name").notes[0]
    missing = gpd.GeoDataFrame({"name": ["x", "y"]}, geometry=[None, shapely.box(0, 0, 1, 1)], crs=4326)
    read = read_zones(str(written(tmp_path / "missing.gpkg", missing)), id_column="name")
    assert "1 zone without a polygon, so without area: x" in read.notes[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zones.csv", r"'.csv' is not a format geoseg reads zones from"),
        ("zones", "'no suffix' is not a format"),
        ("missing.gpkg", "cannot be read: no such file or directory; check the path"),
        ("https://example.com/zones.gpkg", "read from local files only; download the file first"),
        ("/vsicurl/https://example.com/zones.gpkg", "read from local files only"),
        ("a\0b.gpkg", "check the path"),
        ("x" * 300 + ".gpkg", "cannot be read: file name too long"),
        ("farms.parquet:layer", "a Parquet file has no layers"),
    ],
)
def test_what_is_no_file_of_zones_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zones.csv").write_text("name,wkt\n")
    (tmp_path / "zones").write_text("")
    written(tmp_path / "farms.parquet")
    with pytest.raises(GeosegError, match=message) as error:
        read_zones(name, id_column="name")
    assert "\n" not in str(error.value)
    assert "\0" not in str(error.value)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_is_opened_only_as_what_its_suffix_says(tmp_path: Path, suffix: str) -> None:
    secret = written(tmp_path / "secret.gpkg")
    path = tmp_path / f"zones{suffix}"
    path.write_text(
        f'<OGRVRTDataSource><OGRVRTLayer name="secret"><SrcDataSource>{secret}</SrcDataSource></OGRVRTLayer>'
        "</OGRVRTDataSource>"
    )
    with pytest.raises(InputError, match="does not start as a"):
        read_zones(str(path), id_column="name")
    path.write_bytes(b"")
    with pytest.raises(InputError, match="damaged or empty"):
        read_zones(str(path), id_column="name")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"farms{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if suffix != ".shp" else whole[:50])
    with pytest.raises(GeosegError) as error:
        read_zones(str(path), id_column="name")
    assert "farms" in str(error.value)
    assert "\n" not in str(error.value)


def test_folders_and_pipes_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "folder.gpkg").mkdir()
    with pytest.raises(InputError, match="not a regular file but a folder, pipe or device"):
        read_zones(str(tmp_path / "folder.gpkg"), id_column="name")
    os.mkfifo(tmp_path / "pipe.geojson")
    with pytest.raises(InputError, match="not a regular file"):
        read_zones(str(tmp_path / "pipe.geojson"), id_column="name")
    path = written(tmp_path / "farms.shp")
    path.with_suffix(".dbf").unlink()
    os.mkfifo(path.with_suffix(".dbf"))
    with pytest.raises(InputError, match=r"farms.dbf: not a regular file"):
        read_zones(str(path), id_column="name")


def test_a_shapefile_without_its_table_is_one_clear_line(tmp_path: Path) -> None:
    path = written(tmp_path / "farms.shp")
    shutil.move(path.with_suffix(".dbf"), tmp_path / "elsewhere.dbf")
    with pytest.raises(ParameterError, match="has no column 'name'"):
        read_zones(str(path), id_column="name")


def test_a_parquet_table_without_geometry_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"name": ["a"]}).to_parquet(tmp_path / "table.parquet")
    with pytest.raises(InputError, match=r"table.parquet: cannot be read"):
        read_zones(str(tmp_path / "table.parquet"), id_column="name")
