"""Random tables of polygons: each format gives back what geopandas holds, batch by batch as at once."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import ParameterError
from geoseg.legend import Legend
from geoseg.outputs.vectors import FORMATS, write_polygons
from geoseg.vector.features import Features

# no control characters, which some formats drop, and no lone surrogates, which Arrow does not have
text = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn")), max_size=20)
number = st.floats(allow_infinity=False, min_value=-1e15, max_value=1e15)


@st.composite
def tables(draw: st.DrawFn) -> Any:
    """Squares on a lattice, with holes and second parts, with names, gaps and odd numbers."""
    n = draw(st.integers(0, 12))
    shapes = []
    for i in range(n):
        x, y = 10.0 * draw(st.integers(0, 30)), 20.0 * i
        holes = [
            shapely.box(x + 1 + 3 * k, y + 1, x + 3 + 3 * k, y + 3).exterior for k in range(draw(st.integers(0, 2)))
        ]
        square = shapely.Polygon(shapely.box(x, y, x + 9, y + 9).exterior, holes)
        shapes.append(
            shapely.MultiPolygon([square, shapely.box(x, y + 11, x + 5, y + 12)]) if draw(st.booleans()) else square
        )
    frame = pd.DataFrame(
        {
            "class_id": np.array(draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=n, max_size=n)), np.int32),
            "class_name": pd.Series(draw(st.lists(text | st.none(), min_size=n, max_size=n)), dtype="str"),
            "area_m2": np.array(draw(st.lists(number, min_size=n, max_size=n)), np.float64),
            "p_1": np.array(draw(st.lists(st.floats(0, 1) | st.just(np.nan), min_size=n, max_size=n)), np.float64),
        }
    )
    return gpd.GeoDataFrame(frame, geometry=np.array(shapes, object), crs=32633)


def in_batches(frame: Any, rows: int) -> Features:
    """The same features, a few at a time."""
    features = Features.of(frame)

    def batches() -> Any:
        for batch in features.batches():
            yield from (batch.slice(i, rows) for i in range(0, len(batch), rows))

    return dataclasses.replace(features, batches=batches)


def plain(frame: Any) -> Any:
    """In the order of the rows' places, texts without the difference between empty and missing, all multipolygons."""
    order = np.lexsort(shapely.bounds(frame.geometry.array).reshape(-1, 4).T[:2])
    frame = frame.iloc[order].reset_index(drop=True)
    parts, owner = shapely.get_parts(frame.geometry.array, return_index=True)
    shapes = shapely.multipolygons(parts, indices=owner) if len(frame) else []
    frame = frame.set_geometry(gpd.GeoSeries(shapely.normalize(shapes), crs=frame.crs))
    return frame.assign(class_name=frame.class_name.fillna("").astype("str"))


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(max_examples=40)
@given(frame=tables(), rows=st.integers(1, 13))
def test_each_format_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, legend: Legend, name: str, frame: Any, rows: int
) -> None:
    path = tmp_path_factory.mktemp("any") / f"s{FORMATS[name].suffix}"
    write_polygons(in_batches(frame, rows), path, format=name, legend=legend)
    layer = "landcover" if name == "gpkg" else None
    found = gpd.read_parquet(path) if name == "parquet" else pyogrio.read_dataframe(path, layer=layer)
    if name == "geojson" and not len(frame):
        assert list(found.columns) == ["geometry"]
        return
    assert list(found.columns) == list(frame.columns)
    if name == "geojson":
        assert found.crs == 4326
        back = found.to_crs(32633)
        assert shapely.hausdorff_distance(back.geometry.array, frame.geometry.array).max() < 0.001
        # a column of gaps only has no type in JSON
        found = found.assign(p_1=found.p_1.astype(float)).set_geometry(gpd.GeoSeries(frame.geometry.array, crs=32633))
    meant = plain(frame)
    if name == "shp":  # 15 digits, no spaces around texts
        meant = meant.assign(class_name=meant.class_name.str.strip(" "))
        np.testing.assert_allclose(plain(found).area_m2, meant.area_m2, rtol=1e-14, atol=1e-15)
        np.testing.assert_allclose(plain(found).p_1, meant.p_1, rtol=1e-14, atol=1e-15)
        found = found.drop(columns=["area_m2", "p_1"])
        meant = meant.drop(columns=["area_m2", "p_1"])
    assert_geodataframe_equal(plain(found), meant, check_dtype=False, check_less_precise=False)


@settings(max_examples=25)  # each writes and reads several files
@given(frame=tables(), rows=st.integers(1, 13))
def test_geoparquet_is_what_geopandas_writes(
    tmp_path_factory: pytest.TempPathFactory, legend: Legend, frame: Any, rows: int
) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    ours, theirs = folder / "s.parquet", folder / "t.parquet"
    write_polygons(in_batches(frame, rows), ours, format="parquet", legend=legend)
    promoted = Features.of(frame).to_geodataframe()
    promoted.to_parquet(theirs, index=False, schema_version="1.1.0", write_covering_bbox=True)
    assert_geodataframe_equal(gpd.read_parquet(ours), gpd.read_parquet(theirs))
    box = (0, 15, 100, 90)
    assert_geodataframe_equal(gpd.read_parquet(ours, bbox=box), gpd.read_parquet(theirs, bbox=box))
    geo, other = (json.loads(pq.read_metadata(p).metadata[b"geo"]) for p in (ours, theirs))
    for one in (geo, other):
        one.pop("creator")
        if not len(frame):  # geopandas cannot know of what type an empty table is
            one["columns"]["geometry"].pop("geometry_types")
    assert geo == other


def test_a_row_group_is_a_batch_of_some_size(tmp_path: Path, legend: Legend) -> None:
    n = 70_000
    corners = np.arange(n) % 300 * 10.0, np.arange(n) // 300 * 10.0
    frame = gpd.GeoDataFrame(
        {"class_id": np.ones(n, np.int32)}, geometry=shapely.box(*corners, corners[0] + 9, corners[1] + 9), crs=32633
    )
    write_polygons(in_batches(frame, 100), tmp_path / "s.parquet", format="parquet", legend=legend)
    groups = pq.read_metadata(tmp_path / "s.parquet")
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [65_536, 4_464]
    assert groups.row_group(0).column(0).compression == "ZSTD"
    assert len(gpd.read_parquet(tmp_path / "s.parquet", bbox=(0, 0, 8, 8))) == 1


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_columns_of_other_types_come_back(tmp_path: Path, legend: Legend, name: str) -> None:
    columns = {
        "u8": np.array([0, 255], np.uint8),
        "i64": [-(2**53), 2**53],
        "f32": np.array([0.1, np.nan], np.float32),
        "flag": [True, False],
        "gap": pd.array([None, 7], dtype="Int32"),
        "kind": pd.Categorical(["a", None]),
    }
    frame = gpd.GeoDataFrame(columns, geometry=shapely.box([0, 1], 0, [1, 2], 1), crs=4326)
    path = tmp_path / f"s{FORMATS[name].suffix}"
    write_polygons(frame, path, format=name, legend=legend)
    layer = "landcover" if name == "gpkg" else None
    found = gpd.read_parquet(path) if name == "parquet" else pyogrio.read_dataframe(path, layer=layer)
    found = found.iloc[np.argsort(shapely.bounds(found.geometry.array)[:, 0])]
    assert found.u8.tolist() == [0, 255]
    assert found.i64.tolist() == [-(2**53), 2**53]
    assert found.f32.astype(np.float32).tolist()[0] == np.float32(0.1)
    assert found[["f32", "gap", "kind"]].isna().to_numpy().tolist() == [[False, True, False], [True, False, True]]
    assert [bool(flag) for flag in found.flag] == [True, False]


def test_columns_that_no_format_keeps_are_refused(tmp_path: Path, legend: Legend) -> None:
    frame = gpd.GeoDataFrame({"when": [pd.Timestamp("2024-01-01")]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    with pytest.raises(ParameterError, match=r"the column when is of type timestamp.* turn it into numbers or texts"):
        write_polygons(frame, tmp_path / "s.gpkg", format="gpkg", legend=legend)
    frame = gpd.GeoDataFrame({"bbox": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    with pytest.raises(ParameterError, match="has a column 'bbox' of its own: rename yours first"):
        write_polygons(frame, tmp_path / "s.parquet", format="parquet", legend=legend)
    assert not list(tmp_path.iterdir())


def test_an_error_among_the_batches_is_the_error_that_is_raised(tmp_path: Path, legend: Legend) -> None:
    features = in_batches(gpd.GeoDataFrame({"a": [1, 2]}, geometry=[shapely.box(0, 0, 1, 1)] * 2, crs=32633), 1)

    def broken() -> Any:
        yield next(features.batches())
        raise KeyboardInterrupt

    for name, kind in FORMATS.items():
        with pytest.raises(KeyboardInterrupt):
            write_polygons(
                dataclasses.replace(features, batches=broken), tmp_path / f"s{kind.suffix}", format=name, legend=legend
            )
        assert not list(tmp_path.iterdir())
