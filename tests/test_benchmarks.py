"""The masks that are measured on: the same in any cut, as dense at any size."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.masks import KINDS, N_CLASSES, make_mask


@given(
    kind=st.sampled_from(sorted(KINDS)),
    row=st.integers(0, 40_000),
    col=st.integers(0, 40_000),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    down=st.integers(0, 20),
    right=st.integers(0, 20),
)
def test_a_window_of_a_mask_does_not_depend_on_the_cut(
    kind: str, row: int, col: int, height: int, width: int, down: int, right: int
) -> None:
    whole = KINDS[kind].window(row, col, height + down, width + right)
    np.testing.assert_array_equal(KINDS[kind].window(row + down, col + right, height, width), whole[down:, right:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_as_dense_at_any_place_and_has_all_classes_alike(kind: str) -> None:
    density, shares = [], []
    n_classes = KINDS[kind].rivals or N_CLASSES
    for row, col in ((0, 0), (5000, 300), (30_000, 30_000)):
        classes = KINDS[kind].window(row, col, 2048, 2048)
        density.append(float((classes[1:] != classes[:-1]).mean() + (classes[:, 1:] != classes[:, :-1]).mean()))
        shares.append(np.bincount(classes.ravel(), minlength=n_classes + 1)[1:] / classes.size)
    assert max(density) <= 1.05 * min(density)
    np.testing.assert_allclose(shares, 1 / n_classes, atol=0.04)


def test_a_mask_on_disk_is_the_window_from_the_corner(tmp_path: Path) -> None:
    with rasterio.open(make_mask(tmp_path, "blocky", 700)) as dataset:
        np.testing.assert_array_equal(dataset.read(1), KINDS["blocky"].window(0, 0, 700, 700))
    assert [p.name for p in tmp_path.iterdir()] == ["mask_blocky_700.tif"]
