"""The masks that are measured on: the same in any cut, as dense at any size."""

import mmap
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.change_labels import RULES, score_labels
from benchmarks.masks import KINDS, N_CLASSES, make_mask
from benchmarks.measure import measured
from geoseg.errors import ParameterError


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


def test_labels_of_change_are_scored_where_there_are_any(tmp_path: Path) -> None:
    before = np.full((40, 40), 1, np.uint8)
    after, labels = before.copy(), np.zeros((40, 40), np.uint8)
    after[5:15, 5:15] = 2  # right
    after[30:34, 5:15] = 3  # nobody looked at half of it
    labels[5:15, 5:25] = 1
    labels[30:32] = 255
    profile = {"driver": "GTiff", "height": 40, "width": 40, "count": 1, "dtype": "uint8", "nodata": 255}
    profile |= {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 6e5, 0, -10, 5e6)}
    paths = [tmp_path / f"{name}.tif" for name in ("before", "after", "labels")]
    for path, pixels in zip(paths, (before, after, labels), strict=True):
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(pixels, 1)
            if path is not paths[2]:
                dataset.update_tags(CLASSES="1=forest, 2=built, 3=water")
    found = score_labels(*paths)
    assert set(found) == set(RULES)
    percent, precision, recall, f1 = found["plain differencing"]
    assert (percent, precision, recall) == (100 * 120 / (1600 - 80), 100 / 120, 0.5)
    assert f1 == 2 * 100 / (120 + 200)
    assert found["--tolerance 1"] == found["plain differencing"]
    assert score_labels(*paths, to=["Built"])["plain differencing"][1:3] == (1, 0.5)
    with pytest.raises(ParameterError, match="no class 'ice' in the maps"):
        score_labels(*paths, to=["ice"])


def test_memory_and_time_of_a_piece_of_work_are_those_of_the_work() -> None:
    def run() -> int:
        # memory of its own: an allocator may have some left from before
        with mmap.mmap(-1, 1 << 25) as held:
            held.write(b"\1" * len(held))
            time.sleep(0.05)
            return held[-1]

    found, cost = measured(run)
    assert found == 1
    assert cost.seconds >= 0.05
    assert 0 < cost.cpu_s < cost.seconds + 1
    assert cost.added_bytes >= 1 << 24
