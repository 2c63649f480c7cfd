from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy import ndimage

from geoseg.errors import ParameterError
from geoseg.vector import label_components
from geoseg.vector.label import OUTSIDE, find_runs

unhurried = settings(deadline=None)  # the first call compiles
maps = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 3, 9, 255]))


def labels_by_scipy(classes: NDArray[np.uint8], nodata: int) -> NDArray[np.int64]:
    """Components of each class apart, then numbered by their first pixels."""
    apart = np.zeros(classes.shape, dtype=np.int64)
    for value in np.unique(classes[classes != nodata]):
        found, _ = ndimage.label(classes == value)
        apart[found > 0] = found[found > 0] + apart.max()
    _, first, inverse = np.unique(apart, return_index=True, return_inverse=True)
    has_nodata = bool((apart == 0).any())
    order = np.argsort(first[1:] if has_nodata else first)
    number = np.zeros(len(first), dtype=np.int64)
    number[order + has_nodata] = np.arange(len(order)) + 1
    return np.asarray(number[inverse].reshape(classes.shape))


@unhurried
@given(maps, st.sampled_from([255, 0]))
def test_components_are_those_of_scipy_in_the_order_of_their_first_pixels(
    classes: NDArray[np.uint8], nodata: int
) -> None:
    components = label_components(classes, nodata=nodata)
    expected = labels_by_scipy(classes, nodata)
    np.testing.assert_array_equal(components.labels, expected)
    np.testing.assert_array_equal(components.pixels, np.bincount(expected.ravel(), minlength=len(components) + 1)[1:])
    inside = components.labels > 0
    np.testing.assert_array_equal(components.class_id[components.labels[inside] - 1], classes[inside])
    np.testing.assert_array_equal(inside, classes != nodata)


@unhurried
@given(maps)
def test_labels_lie_in_a_frame_of_the_outside(classes: NDArray[np.uint8]) -> None:
    padded = label_components(classes).padded
    frame = np.ones(padded.shape, dtype=bool)
    frame[1:-1, 1:-1] = False
    assert (padded[frame] == OUTSIDE).all()
    assert (padded[~frame] >= 0).all()


rows_of_any_length = arrays(
    np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 70)), elements=st.sampled_from([3, 255])
)


@unhurried
@given(rows_of_any_length, st.sampled_from([255, -1]))
def test_runs_begin_where_the_class_changes_along_a_row(classes: NDArray[np.uint8], nodata: int) -> None:
    runs = find_runs(classes, nodata=nodata)
    labels = labels_by_scipy(classes, nodata)
    for r in range(len(classes)):
        mine = slice(runs.rows[r], runs.rows[r + 1])
        np.testing.assert_array_equal(runs.cols[mine], np.flatnonzero(np.diff(classes[r], prepend=classes[r, 0] ^ 1)))
        np.testing.assert_array_equal(runs.labels[mine], labels[r, runs.cols[mine]])
        np.testing.assert_array_equal(runs.row(r), labels[r])
    for found, expected in zip(runs.sides, (labels[0], labels[-1], labels[:, 0], labels[:, -1]), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_arms_of_a_spiral_are_one_component() -> None:
    spiral = np.array(
        [
            [1, 1, 1, 1, 1, 1, 1],
            [0, 0, 0, 0, 0, 0, 1],
            [1, 1, 1, 1, 1, 0, 1],
            [1, 0, 0, 0, 1, 0, 1],
            [1, 0, 1, 1, 1, 0, 1],
            [1, 0, 0, 0, 0, 0, 1],
            [1, 1, 1, 1, 1, 1, 1],
        ],
        dtype=np.uint8,
    )
    assert len(label_components(spiral)) == 2


@pytest.mark.parametrize("example", ["connected_components/scipy_label_doc"], indirect=True)
def test_the_published_example_is_reproduced(example: dict[str, Any]) -> None:
    classes = np.array(example["inputs"]["a"], dtype=np.uint8)
    components = label_components(classes, nodata=0)
    assert len(components) == example["expected"]["conn4_count"]
    np.testing.assert_array_equal(components.labels, example["expected"]["conn4"])


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.int16), np.zeros(3, np.uint8), np.zeros((0, 4), np.uint8)])
def test_what_is_not_a_class_map_is_refused(wrong: NDArray[Any]) -> None:
    with pytest.raises(ParameterError, match="give class values as uint8 with rows and columns"):
        label_components(wrong)
