"""Which pixel of a file lies under each pixel of a scene."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.scene.sampling import sampling_of, source_cols, source_rows

SCENE = Affine(10, 0, 399_960, 0, -10, 5_800_020)


@settings(max_examples=50)
@given(
    scale=st.tuples(st.sampled_from([0.5, 1, 1.5, 2, 3, 6]), st.sampled_from([1, 2, 2.5, 6])),
    shift=st.tuples(st.integers(-30, 30), st.integers(-30, 30)),
    angle=st.sampled_from([0.0, 30.0, 180.0]),
)
def test_the_middle_of_each_pixel_lies_in_the_pixel_that_is_taken(
    scale: tuple[float, float], shift: tuple[int, int], angle: float
) -> None:
    turn = Affine.translation(399_960, 5_800_020) @ Affine.rotation(angle) @ Affine.scale(10, -10)
    file = turn @ Affine.translation(shift[0] / 4, shift[1] / 4) @ Affine.scale(*scale)
    scene_box = GeoBox((40, 50), turn, "EPSG:32633")
    sampling = sampling_of(scene_box, GeoBox((20, 30), file, "EPSG:32633"))
    assert sampling is not None
    rows, cols = source_rows(sampling, 5, 35), source_cols(sampling, 7, 43)
    # an independent way: the middles on the map, and back into the file
    col, row = np.meshgrid(np.arange(7, 50) + 0.5, np.arange(5, 40) + 0.5)
    x, y = turn @ (col, row)
    in_col, in_row = ~file @ (x, y)
    for got, exact in ((rows[:, None] + 0 * cols, in_row), (cols[None, :] + 0 * rows[:, None], in_col)):
        assert (got <= exact + 1e-5).all()
        assert (exact - 1e-5 <= got + 1).all()


def test_one_grid_with_rounded_coordinates_is_the_same_grid() -> None:
    scene = GeoBox((1000, 1000), Affine(0.00027777777, 0, 15, 0, -0.00027777777, 52), "EPSG:4326")
    file = GeoBox((1000, 1000), Affine(0.0002777777701, 0, 15.00000001, 0, -0.00027777777, 52), "EPSG:4326")
    assert sampling_of(scene, file) is None
    assert sampling_of(scene, scene) is None


def test_a_grid_that_is_turned_against_the_scene_is_refused() -> None:
    for file in (SCENE @ Affine.rotation(1), SCENE @ Affine.scale(1, -1)):
        with pytest.raises(ValueError, match="rows and columns do not run along"):
            sampling_of(GeoBox((10, 10), SCENE, "EPSG:32633"), GeoBox((10, 10), file, "EPSG:32633"))
