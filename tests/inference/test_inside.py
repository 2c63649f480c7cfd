"""An area of interest on the pixel grid: centres decide, whatever window is looked at."""

from typing import Any

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.inference.inside import Inside
from geoseg.inference.lattice import Block, Lattice

places = st.one_of(
    st.integers(-8, 40).map(float),
    st.integers(-16, 80).map(lambda n: n / 2),
    st.floats(-8, 40).map(lambda n: round(n, 9)),  # the square of 1e-188 is too small for GEOS, which says so
)
corners = st.tuples(places, places)


@st.composite
def areas(draw: st.DrawFn) -> Any:
    """Polygons with holes and several parts, some on pixel centres and corners, some beyond the scene."""
    rings = draw(st.lists(st.lists(corners, min_size=3, max_size=7), min_size=1, max_size=3))
    outlines = [shapely.make_valid(shapely.Polygon(ring), method="structure", keep_collapsed=False) for ring in rings]
    whole = shapely.union_all(outlines[:1])
    for i, outline in enumerate(outlines[1:]):
        whole = whole.difference(outline) if i % 2 else whole.union(outline)
    return shapely.MultiPolygon([p for p in shapely.get_parts(whole) if p.geom_type == "Polygon" and p.area > 1e-6])


def inside(area: Any, height: int = 30, width: int = 28) -> Inside:
    return Inside(height=height, width=width, outline=shapely.to_wkb(area), digest="", label="test")


@settings(max_examples=80)
@given(areas(), st.integers(0, 29), st.integers(0, 27), st.integers(1, 30), st.integers(1, 28))
def test_a_window_of_the_mask_is_that_window_of_the_whole_mask(
    area: Any, row: int, col: int, height: int, width: int
) -> None:
    asked = inside(area)
    whole = asked.mask(0, 0, 30, 28)
    height, width = min(height, 30 - row), min(width, 28 - col)
    np.testing.assert_array_equal(asked.mask(row, col, height, width), whole[row : row + height, col : col + width])
    assert asked.n_pixels == whole.sum()
    part = asked.within(Block(row_off=row, col_off=col, height=height, width=width))
    window = whole[row : row + height, col : col + width]
    if part is None:
        assert not window.any()
    else:
        rows, cols = np.flatnonzero(window.any(axis=1)), np.flatnonzero(window.any(axis=0))
        assert (part.row_off, part.row_end) == (row + rows[0], row + rows[-1] + 1)
        assert (part.col_off, part.col_end) == (col + cols[0], col + cols[-1] + 1)


@settings(max_examples=80)
@given(areas())
def test_the_mask_is_true_where_the_centre_of_a_pixel_is_in_the_area(area: Any) -> None:
    rows, cols = np.mgrid[0:30, 0:28]
    centres = shapely.points(cols + 0.5, rows + 0.5)
    # on the outline itself either answer is right: a pixel there belongs to one of two areas that share it
    off = shapely.distance(shapely.boundary(area), centres) > 1e-9
    np.testing.assert_array_equal(inside(area).mask(0, 0, 30, 28)[off], shapely.contains(area, centres)[off])


@settings(max_examples=40)
@given(st.integers(1, 27), st.integers(1, 29))
def test_areas_that_share_a_border_share_no_pixel_and_leave_none_out(col: float, row: int) -> None:
    left = inside(shapely.Polygon([(0, 0), (col + 0.5, 0), (col - 0.5, 30), (0, 30)]))
    right = inside(shapely.Polygon([(col + 0.5, 0), (28, 0), (28, 30), (col - 0.5, 30)]))
    assert (left.mask(0, 0, 30, 28) ^ right.mask(0, 0, 30, 28)).all()
    above, below = (inside(shapely.box(0, a, 28, b)) for a, b in ((0, row - 0.5), (row - 0.5, 30)))
    assert (above.mask(0, 0, 30, 28) ^ below.mask(0, 0, 30, 28)).all()


@settings(max_examples=60)
@given(areas(), st.integers(1, 12), st.floats(0, 0.8))
def test_windows_that_are_touched_are_those_with_a_pixel(area: Any, window: int, overlap: float) -> None:
    asked = inside(area)
    lattice = Lattice.cover(30, 28, window=window, overlap=overlap)
    mask = asked.mask(0, 0, 30, 28)
    expected = [[mask[r : r + window, c : c + window].any() for c in lattice.cols.starts] for r in lattice.rows.starts]
    np.testing.assert_array_equal(asked.touched(lattice), np.array(expected))


def test_the_whole_scene_is_known_as_such() -> None:
    assert inside(shapely.box(-1, -1, 50, 50)).is_whole
    assert not inside(shapely.box(-1, -1, 27.4, 50)).is_whole
