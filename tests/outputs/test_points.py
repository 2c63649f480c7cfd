from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
from pyproj import CRS

from geoseg.errors import OutputError, ParameterError
from geoseg.outputs.points import write_points

LAEA = CRS.from_proj4("+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84 +units=m")


def points(crs: object = "EPSG:32633", n: int = 5) -> gpd.GeoDataFrame:
    rng = np.random.default_rng(2)
    return gpd.GeoDataFrame(
        {
            "id": np.arange(n),
            "truth": pd.Series([None] * n, dtype=object),
            "class_name": ["Wald", "Wasser, tief", "=1", "ž", ""][:n],
            "stratum_m2": rng.random(n) * 1e9,
        },
        geometry=gpd.points_from_xy(*rng.random((2, n)) * 1e6),
        crs=crs,
    )


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", LAEA], ids=["UTM", "degrees", "no code"])
def test_points_come_back_as_they_were(tmp_path: Path, crs: object) -> None:
    meant = points(crs)
    write_points(meant, tmp_path / "a.gpkg", metadata={"seed": "7"})
    found = pyogrio.read_dataframe(tmp_path / "a.gpkg", layer="a")
    assert (found.geometry == meant.geometry).all()
    assert found.stratum_m2.tolist() == meant.stratum_m2.tolist()
    assert found.truth.isna().all()
    assert pyogrio.read_info(tmp_path / "a.gpkg")["dtypes"][1] == "object"  # a text, to be filled in
    assert CRS(found.crs).equals(CRS(meant.crs), ignore_axis_order=True)
    assert pyogrio.read_info(tmp_path / "a.gpkg")["layer_metadata"]["seed"] == "7"
    assert [p.name for p in tmp_path.iterdir()] == ["a.gpkg"]


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"name a\.shp with \.gpkg"):
        write_points(points(), tmp_path / "a.shp")


def test_points_that_read_back_otherwise_are_not_published(tmp_path: Path) -> None:
    twice = points(n=2)
    twice.columns = ["id", "truth", "ID", "stratum_m2", "geometry"]  # GeoPackage columns differ in more than case
    with pytest.raises(OutputError):
        write_points(twice, tmp_path / "a.gpkg")
    assert list(tmp_path.iterdir()) == []
