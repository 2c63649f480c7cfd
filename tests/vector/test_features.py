"""Features: what a GeoDataFrame gives comes back from the batches, however they are cut."""

from itertools import pairwise
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ParameterError
from geoseg.vector import features as module
from geoseg.vector.features import Features, geometry_field, regrouped


def table(n: int, *, multi: bool = False) -> Any:
    shapes = shapely.box(np.arange(n), 0, np.arange(n) + 1, 1)
    if multi and n:
        shapes[0] = shapely.MultiPolygon([shapes[0], shapely.box(0, 5, 1, 6)])
    names = pd.Series([None if i % 3 == 2 else f"klasse ä {i % 5}" for i in range(n)], dtype="str")
    columns = {"class_id": np.arange(n, dtype=np.int32), "class_name": names, "area_m2": np.arange(n) / 7}
    frame = gpd.GeoDataFrame(columns, geometry=shapes, crs=32633)
    frame.loc[frame.class_id % 4 == 1, "area_m2"] = np.nan
    return frame


@given(n=st.integers(0, 20), multi=st.booleans(), rows=st.integers(1, 7))
def test_a_table_comes_back(n: int, multi: bool, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", rows)
        frame = table(n, multi=multi)
        features = Features.of(frame)
        assert features.geometry_type == ("MultiPolygon" if multi and n else "Polygon")
        assert [len(b) for b in features.batches()] == [min(rows, n - i) for i in range(0, n, rows)]
        for _ in range(2):
            back = features.to_geodataframe()
            kinds = set(back.geometry.geom_type)
            assert kinds <= {features.geometry_type}
            back = back.set_geometry(frame.geometry if shapely.equals(back.geometry, frame.geometry).all() else None)
            assert_geodataframe_equal(back, frame, check_like=True)


def test_columns_get_plain_types_and_gaps_are_null() -> None:
    frame = table(4).assign(
        kind=pd.Categorical(["a", "b", "a", None]), nothing=pd.Series([None] * 4, dtype=object), flag=[True, False] * 2
    )
    features = Features.of(frame)
    assert {f.name: str(f.type) for f in features.schema} == {
        "geometry": "binary",
        "class_id": "int32",
        "class_name": "string",
        "area_m2": "double",
        "kind": "string",
        "nothing": "string",
        "flag": "bool",
    }
    assert features.schema.field("geometry").metadata == {b"ARROW:extension:name": b"geoarrow.wkb"}
    (batch,) = features.batches()
    assert batch.column("area_m2").null_count == 1
    assert batch.column("kind").to_pylist() == ["a", "b", "a", None]


@given(
    sizes=st.lists(st.integers(0, 9), max_size=8),
    rows=st.integers(1, 12),
    n_bytes=st.integers(1, 800),
    skip=st.booleans(),
)
def test_regrouped_batches_are_full_and_in_order(sizes: list[int], rows: int, n_bytes: int, skip: bool) -> None:
    (whole,) = Features.of(table(100)).batches()
    ends = np.cumsum([int(skip), *sizes])
    given_batches = [whole.slice(a, b - a) for a, b in pairwise(ends.tolist())]
    found = list(regrouped(given_batches, rows=rows, n_bytes=n_bytes))
    ids = [i for b in found for i in b.column("class_id").to_pylist()]
    assert ids == list(range(int(skip), int(ends[-1])))
    outline = 93  # bytes of a square
    most = min(rows, max(1, n_bytes // outline))
    assert all(1 <= len(b) <= most for b in found)
    # no two neighbours would have fitted together, unless they were slices of one that had to be cut
    if max(sizes, default=0) <= most:
        assert all(len(a) + len(b) > most or max(sizes) > most - len(a) for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        (
            lambda g: g.set_geometry(g.geometry.centroid),
            "3 of 3 rows have no polygon, or an empty one: drop them first",
        ),
        (lambda g: g.set_geometry([None, *g.geometry[1:]]), "1 of 3 rows have no polygon"),
        (lambda g: g.rename(columns={"area_m2": 7}), "columns need texts as names, got 7: rename it first"),
    ],
)
def test_tables_that_are_no_features_are_refused(frame: Any, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        Features.of(frame(table(3)))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ([("a", pa.int32())], "need one binary column 'geometry'"),
        ([("geometry", pa.string())], "need one binary column 'geometry'"),
        ([geometry_field(), ("a", pa.int32()), ("a", pa.int32())], "need columns of different names"),
    ],
)
def test_schemas_without_outlines_are_refused(fields: list[Any], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        Features(schema=pa.schema(fields), geometry_type="Polygon", crs=None, batches=lambda: iter(()))
