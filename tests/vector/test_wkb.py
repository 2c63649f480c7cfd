"""Well-known binary: shapely writes the same bytes, and what is read from them is what shapely says."""

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import ParameterError
from geoseg.vector import wkb
from geoseg.vector.wkb import multipolygons_wkb, polygons_wkb, wkb_bounds, wkb_counts, wkb_hashes

coordinate = st.floats(-1e9, 1e9) | st.sampled_from([0.0, -0.0, 1.0])


@st.composite
def ring(draw: st.DrawFn) -> list[tuple[float, float]]:
    vertices = draw(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=6))
    return [*vertices, vertices[0]]


@st.composite
def polygon(draw: st.DrawFn) -> Any:
    """A polygon that need not be valid: bytes do not care."""
    return shapely.Polygon(draw(ring()), draw(st.lists(ring(), max_size=3)))


polygons = st.lists(polygon(), min_size=1, max_size=6)
multipolygons = st.lists(polygons.map(shapely.MultiPolygon), min_size=1, max_size=4)


def to_wkb(geometries: Any, **options: Any) -> pa.Array:
    return pa.array(shapely.to_wkb(np.array(geometries, object), **{"flavor": "iso", "byte_order": 1} | options))


@given(geometries=polygons | multipolygons)
def test_bytes_are_those_of_shapely(geometries: list[Any]) -> None:
    kind, xy, offsets = shapely.to_ragged_array(geometries)
    written = (multipolygons_wkb if kind == shapely.GeometryType.MULTIPOLYGON else polygons_wkb)(xy, *offsets)
    written.validate(full=True)
    assert written.equals(to_wkb(geometries))


@given(geometries=multipolygons, data=st.data())
def test_a_run_of_a_longer_table_can_be_written_alone(geometries: list[Any], data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(geometries)))
    end = data.draw(st.integers(begin, len(geometries)))
    _, xy, (rings, parts, multi) = shapely.to_ragged_array(geometries)
    assert (
        multipolygons_wkb(xy, rings, parts, multi[begin : end + 1]).to_pylist()
        == to_wkb(geometries)[begin:end].to_pylist()
    )
    begin, end = parts[multi[begin]], parts[multi[end]]
    single = shapely.get_parts(geometries)
    written = polygons_wkb(xy, rings, parts)
    assert written.equals(to_wkb(single))
    assert polygons_wkb(xy, rings, parts[1:]).equals(written[1:])


def test_no_polygons_are_an_empty_array() -> None:
    nothing, zero = np.empty((0, 2)), np.zeros(1, np.int64)
    assert polygons_wkb(nothing, zero, zero).to_pylist() == []
    assert multipolygons_wkb(nothing, zero, zero, zero).to_pylist() == []
    assert wkb_bounds(pa.array([], pa.binary())).shape == (0, 4)


def test_more_than_an_arrow_array_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wkb, "LARGEST_BATCH", 300)
    _, xy, offsets = shapely.to_ragged_array(shapely.box(np.arange(3), 0, 9, 9))
    assert len(polygons_wkb(xy, offsets[0], offsets[1][:4])) == 3
    _, xy, offsets = shapely.to_ragged_array(shapely.box(np.arange(4), 0, 9, 9))
    with pytest.raises(ParameterError, match=r"4 polygons take .* GiB, one Arrow array holds 2: cut them into batches"):
        polygons_wkb(xy, *offsets)


@settings(max_examples=30)
@given(geometries=polygons | multipolygons, begin=st.integers(0, 3))
@pytest.mark.parametrize("flavor", ["iso", "extended", "srid", "z", "large"])
def test_bounds_and_counts_are_those_of_shapely(geometries: list[Any], begin: int, flavor: str) -> None:
    options: dict[str, Any] = {"flavor": "iso" if flavor == "iso" else "extended"}
    stored = np.array(geometries, object)
    if flavor == "srid":
        stored, options = shapely.set_srid(stored, 32633), options | {"include_srid": True}
    if flavor == "z":
        stored, options = shapely.force_3d(stored, 5.0), {"flavor": "iso", "output_dimension": 3}
    array = to_wkb(stored, **options)
    array = (array.cast(pa.large_binary()) if flavor == "large" else array)[begin:]
    seen = geometries[begin:]
    # of all vertices: shapely looks at shells only, and these holes may lie outside
    vertices = [shapely.MultiPoint(shapely.get_coordinates(g)) for g in seen]
    np.testing.assert_array_equal(wkb_bounds(array), shapely.bounds(vertices).reshape(-1, 4))
    parts = [shapely.get_parts(g) for g in seen]
    expected = [
        (len(p), len(p) + shapely.get_num_interior_rings(p).sum(), shapely.get_num_coordinates(p).sum()) for p in parts
    ]
    np.testing.assert_array_equal(wkb_counts(array), np.array(expected, np.int64).reshape(-1, 3))
    np.testing.assert_array_equal(wkb_hashes(array), wkb_hashes(to_wkb(geometries))[begin:])


def turned(vertices: Any, by: int, back: bool) -> Any:
    """A ring that begins with another vertex, in the other direction if asked for."""
    open_ring = np.roll(np.asarray(vertices)[:-1], by, axis=0)[:: -1 if back else 1]
    return np.concatenate([open_ring, open_ring[:1]])


@given(shape=polygon(), by=st.integers(0, 5), back=st.booleans(), seed=st.randoms(use_true_random=False))
def test_hashes_do_not_see_direction_order_and_beginning_of_rings(shape: Any, by: int, back: bool, seed: Any) -> None:
    holes = [turned(hole.coords, by, not back) for hole in shape.interiors]
    seed.shuffle(holes)
    other = shapely.Polygon(turned(shape.exterior.coords, by, back), holes)
    before, after, multi = wkb_hashes(to_wkb([shape, other, shapely.MultiPolygon([shape])]))
    assert before == after == multi


@given(shape=polygon(), data=st.data())
def test_hashes_see_a_moved_vertex_to_the_last_bit(shape: Any, data: st.DataObject) -> None:
    xy = shapely.get_coordinates(shape.exterior)
    at, axis = data.draw(st.integers(1, len(xy) - 2)), data.draw(st.integers(0, 1))
    xy[at, axis] = np.nextafter(xy[at, axis] + 0.0, np.inf)
    moved = shapely.Polygon(xy, [hole.coords for hole in shape.interiors])
    before, after = wkb_hashes(to_wkb([shape, moved]))
    assert before != after


def test_hashes_tell_a_hole_from_a_shell_and_one_path_from_another() -> None:
    outer, inner = [(0, 0), (9, 0), (9, 9)], [(5, 1), (6, 1), (6, 2)]
    square = [(0, 0), (1, 0), (1, 1), (0, 1)]
    bow = [(0, 0), (1, 1), (1, 0), (0, 1)]
    shapes = [
        shapely.Polygon(outer, [inner]),
        shapely.MultiPolygon([shapely.Polygon(outer), shapely.Polygon(inner)]),
        shapely.Polygon(outer),
        shapely.Polygon(square),
        shapely.Polygon(bow),
    ]
    assert len(set(wkb_hashes(to_wkb(shapes)).tolist())) == len(shapes)


box = shapely.to_wkb(shapely.box(0, 0, 1, 1), byte_order=1)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (None, "geometry 1 of 2 is missing"),
        (box[:-1], "geometry 1 of 2 is cut off or has bytes left over"),
        (box[:7], "geometry 1 of 2 is cut off"),
        (box + b"\0", "geometry 1 of 2 is cut off or has bytes left over"),
        (box[:9] + struct.pack("<I", 2**32 - 1) + box[13:], "geometry 1 of 2 is cut off"),
        (box[:5] + struct.pack("<I", 2**32 - 1) + box[9:], "geometry 1 of 2 is cut off"),
        (shapely.to_wkb(shapely.box(0, 0, 1, 1), byte_order=0), "geometry 1 of 2 is not little-endian"),
        (shapely.to_wkb(shapely.Point(0, 0), byte_order=1), "geometry 1 of 2 is neither a polygon nor"),
        (struct.pack("<BII", 1, 6, 1) + shapely.to_wkb(shapely.Point(0, 0), byte_order=1), "neither a polygon nor"),
        (struct.pack("<BII", 1, 6, 1) + struct.pack("<BII", 1, 6, 0), "neither a polygon nor"),
    ],
)
def test_what_is_no_polygon_is_refused_by_its_number(value: bytes | None, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        wkb_bounds(pa.array([box, value], pa.binary()))


def test_texts_are_no_geometries() -> None:
    with pytest.raises(ParameterError, match="geometries of type string are no WKB"):
        wkb_bounds(pa.array(["POINT (0 0)"]))
